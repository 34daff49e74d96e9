"""dpkg's status files in, what each package needs and what other names it goes by out. https://www.debian.org/doc/debian-policy/ch-relationships.html."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.model.inventory import DetailEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

_STATUS = "var/lib/dpkg/status"
_STATUS_D = "var/lib/dpkg/status.d"
MAX_SUPPLIER = 200  # characters; names and addresses of teams have some eighty
MAX_NAMES = 2_000  # of one package; the largest metapackages need some 500

_FIELD = re.compile(
    rb"^(Package|Version|Architecture|Depends|Pre-Depends|Provides|Maintainer):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE
)
# A name may bear an architecture (python3:any) and a version in brackets, neither of which tells which package is meant.
_REST = re.compile(r":[a-z0-9-]+|\s*\([^)]*\)|\s*\[[^\]]*\]|\s*<[^>]*>")


class DpkgDetails:
    """Inspects `status` and `status.d`."""

    name = "details_dpkg"
    version = 1
    interest = Interest(paths=(_STATUS,), under=(_STATUS_D,), max_bytes=64 * MEBIBYTE, scope="details")

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield the relations of each package that states a name and a version."""
        if file.path.endswith(".md5sums"):
            return
        data = file.read()
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        for stanza in data.split(b"\n\n"):
            fields = {name: value.decode("utf-8", "replace") for name, value in _FIELD.findall(stanza)}
            if b"Package" in fields and b"Version" in fields:
                needs = ",".join(fields[name] for name in (b"Pre-Depends", b"Depends") if name in fields)
                yield DetailEvidence(
                    type="deb",
                    name=fields[b"Package"].strip(),
                    version=fields[b"Version"].strip(),
                    arch=fields.get(b"Architecture", "").strip(),
                    supplier=fields.get(b"Maintainer", "").strip()[:MAX_SUPPLIER],
                    requires=tuple(dict.fromkeys(relations(needs)))[:MAX_NAMES],
                    provides=tuple(dict.fromkeys(relations(fields.get(b"Provides", ""))))[:MAX_NAMES],
                )


def relations(text: str) -> Iterator[str]:
    """Yield the names in a list of relations, alternatives joined by `|`, without versions and architectures."""
    for part in _REST.sub("", text).split(","):
        names = [name.strip() for name in part.split("|")]
        if all(names):
            yield "|".join(names)


INSPECTOR = DpkgDetails()
