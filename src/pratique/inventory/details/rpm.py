"""rpm's database in, what each package needs and provides out; a file that another needs by its path is provided, too."""

from __future__ import annotations

from collections.abc import Iterator

from pratique.inventory._rpmdb import blobs
from pratique.inventory._rpmdb.header import RpmRelations, parse_relations
from pratique.model.errors import ParseError
from pratique.model.inventory import DetailEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

_FOLDERS = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
MAX_PACKAGES = 50_000  # all of Fedora, as for the packages themselves
MAX_SUPPLIER = 200  # characters
MAX_NAMES = 20_000  # of one package; glibc-common and texlive provide some thousands
# What rpm itself provides: features of its format, and configuration that a package has anyway.
_OF_RPM = ("rpmlib(", "config(")


class RpmDetails:
    """Inspects the databases of rpm."""

    name = "details_rpm"
    version = 1
    interest = Interest(
        paths=tuple(f"{folder}/{name}" for folder in _FOLDERS for name in ("rpmdb.sqlite", "Packages.db", "Packages")),
        max_bytes=256 * MEBIBYTE,
        scope="details",
    )

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield the relations of each package whose header can be read; the others are gaps already."""
        found = []
        for number, blob in enumerate(blobs(file)):
            if number >= MAX_PACKAGES:
                break
            if isinstance(blob, ParseError):
                continue
            try:
                found.append(parse_relations(blob))
            except ParseError:
                continue
        paths = {name for one in found for name in one.requires if name.startswith("/")}
        for one in found:
            yield _details(one, paths)


def _details(one: RpmRelations, paths: set[str]) -> DetailEvidence:
    version = f"{one.version}-{one.release}"
    own = paths.intersection(f"/{folder}{name}" for folder, names in one.files.items() for name in names) if paths else ()
    return DetailEvidence(
        type="rpm",
        name=one.name,
        version=version if one.epoch < 0 else f"{one.epoch}:{version}",
        arch=one.arch,
        supplier=one.vendor[:MAX_SUPPLIER],
        requires=tuple(dict.fromkeys(_needed(one.requires)))[:MAX_NAMES],
        provides=tuple(dict.fromkeys([*one.provides, *sorted(own)]))[:MAX_NAMES],
    )


def _needed(names: list[str]) -> Iterator[str]:
    """Leave out what rpm provides; of conditions only `(a or b)` says something for sure."""
    for name in names:
        if name.startswith("("):
            words = name.strip("()").split(" or ")
            if len(words) > 1 and not any(" if " in word or " with" in word or " and " in word or "(" in word for word in words):
                yield "|".join(word.split(" ")[0] for word in words)
        elif name and not name.startswith(_OF_RPM):
            yield name


INSPECTOR = RpmDetails()
