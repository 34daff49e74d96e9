"""What a document says of needs and digests in, packages with details out: so that one SBOM can be turned into another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pratique.inventory.digests import hexadecimal
from pratique.inventory.sbom.bill import Bill
from pratique.model.inventory import Checksum, Package, PackageDetails

# How CycloneDX and SPDX write the names of digests; others are left out.
ALGORITHMS = {
    "MD5": "md5", "SHA-1": "sha1", "SHA1": "sha1", "SHA-256": "sha256", "SHA256": "sha256",
    "SHA-384": "sha384", "SHA384": "sha384", "SHA-512": "sha512", "SHA512": "sha512",
}  # fmt: skip
_OTHERS = frozenset(("h1", "q1"))  # what our own documents keep beside them
MAX_VALUE = 200


def checksum(algorithm: str, value: str) -> tuple[Checksum, ...]:
    """Return a digest as a document states it, nothing where it is none."""
    if algorithm in _OTHERS:
        return (Checksum(algorithm, value),) if 0 < len(value) <= MAX_VALUE and value.isascii() and value.isprintable() else ()
    return hexadecimal(ALGORITHMS.get(algorithm.upper(), ""), value.lower())


def detailed(packages: Sequence[Package], bill: Bill, refs: Mapping[str, str]) -> list[Package]:
    """Give packages what their components say; `refs` names the package of each component."""
    depends: dict[str, set[str]] = {}
    known: dict[str, set[str]] = {}
    hashes: dict[str, list[set[Checksum]]] = {}
    for component in bill.components:
        purl = refs.get(component.ref, "")
        if not purl:
            continue
        hashes.setdefault(purl, []).append(set(component.hashes))
        needed = bill.needs.get(component.ref)
        state = bill.known.get(component.ref, "unknown" if needed is None else "complete" if bill.sure else "incomplete")
        known.setdefault(purl, set()).add(state)
        depends.setdefault(purl, set()).update(refs[ref] for ref in needed or () if ref in refs)
    brought: dict[str, set[str]] = {}
    for package in packages:
        brought.setdefault(package.owner, set()).add(package.purl)
    found = []
    for package in packages:
        states = known.get(package.purl, {"unknown"})
        details = PackageDetails(
            depends=tuple(sorted(depends.get(package.purl, set()) - brought.get(package.purl, set()) - {package.purl})),
            relations=states.pop() if len(states) == 1 else "incomplete",  # type: ignore[arg-type]  # one of the three
            hashes=tuple(sorted(set.intersection(*hashes.get(package.purl, [set()])))),
        )
        found.append(msgspec.structs.replace(package, details=details))
    return found
