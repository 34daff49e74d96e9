"""The gate in front of an OCI runtime. Standard library only: it starts with every container, and must start fast."""
