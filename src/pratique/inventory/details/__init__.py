"""What only an SBOM tells: one module a kind of package, each offers INSPECTOR. A scan without an SBOM asks none of them."""
