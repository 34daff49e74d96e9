"""Java archives in (jar, war, ear and kin, nested to any sane depth), the Maven artifacts that they are and contain out.

Maven's own metadata (META-INF/maven/GROUP/ARTIFACT/pom.properties, else the pom.xml beside it) is believed; several of them are
artifacts that were merged into one archive, each of which counts. An archive without is told by name and manifest, with role
"inferred", and by the Gap `inventory.unidentified` where group, artifact and version cannot be known. Role "main" is for the
outermost archive of an application. An archive without code (sources, resources) or a part of a Java runtime needs no name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pratique.inventory.java import metadata, names
from pratique.inventory.java.archive import Archive
from pratique.inventory.java.metadata import Coordinates
from pratique.inventory.zipped import Member, ReadAt, content
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.inventory import Gap, PackageEvidence
from pratique.model.ports import File, Interest

SUFFIXES = (".jar", ".war", ".ear", ".par", ".sar", ".jpi", ".hpi", ".kar", ".nar")
# Suffixes that other formats use too; such a file that is no zip archive is not ours.
_SHARED_SUFFIXES = (".par", ".sar", ".kar", ".nar")
# Distributions with everything in one archive reach 500 MB; only tables and small members are read: this guards the spool.
MAX_BYTES = 1 << 30
# Application server > application > library > what the library carries: four, and one to spare.
MAX_DEPTH = 5
# The largest applications carry some 2,000 libraries.
MAX_ARCHIVES = 20_000
# A packed archive must be unpacked whole to see its table, which stands at its end; the largest libraries reach 200 MB.
MAX_NESTED = 256 << 20
# All that is unpacked from one file: two seconds' work, and more than any application that was met. What is stored unpacked comes
# on top, once a level: archives that overlap, to be read over and over, exceed that.
MAX_UNPACKED = 1 << 30
# Deflate cannot do better than 1,032 to 1; jars of classes reach 4 to 1, jars of text 20.
MAX_RATIO = 200
# Merged archives have had up to 400 artifacts.
MAX_MERGED = 5_000
# Signed archives list every member in their manifest (100 bytes each); a pom.xml of 100 KB is large, properties are a few lines.
MAX_MANIFEST = 32 << 20
MAX_POM = 2 << 20
MAX_PROPERTIES = 64 << 10

_MAVEN = b"META-INF/maven/"
_MANIFEST = b"META-INF/MANIFEST.MF"
_UNREADABLE = (ParseError, BudgetExceededError, ValueError, KeyError, IndexError, struct.error, RecursionError)
_METADATA = (
    (b"pom.properties", metadata.read_properties, MAX_PROPERTIES),
    (b"pom.xml", metadata.read_pom, MAX_POM),
)
_RUNTIME = "Java Runtime Environment"


class _Java:
    """The inspector: see the module's text."""

    name = "java"
    version = 2
    interest = Interest(suffixes=SUFFIXES, max_bytes=MAX_BYTES)

    def inspect(self, file: File) -> Iterator[PackageEvidence | Gap]:
        """Yield the artifacts of an archive and of those inside it, and Gaps for what cannot be read or named."""
        start = file.read_at(0, 4)
        if not start or (start[:2] != b"PK" and file.path.endswith(_SHARED_SUFFIXES)):
            return
        budget = _Budget(MAX_UNPACKED + MAX_DEPTH * file.size)
        yield from _archive(_Place(file.read_at, file.size, file.path, "", 0, budget))


INSPECTOR = _Java()


class _Budget:
    """What may still be read of one outermost file."""

    def __init__(self, size: int) -> None:
        self._bytes = size
        self._archives = MAX_ARCHIVES

    def spend(self, size: int) -> None:
        """Take the bytes of a member. Raises BudgetExceededError."""
        if size > self._bytes:
            raise BudgetExceededError(f"a member of {size} bytes is beyond what is read of one file")
        self._bytes -= size

    def enter(self, depth: int) -> None:
        """Take an archive. Raises BudgetExceededError."""
        self._archives -= 1
        if depth >= MAX_DEPTH or self._archives < 0:
            raise BudgetExceededError(f"more than {MAX_DEPTH} archives inside each other, or {MAX_ARCHIVES} in one file")


class _Place(NamedTuple):
    """An archive to look at; `inner` is its path inside the file, "" for the file itself."""

    read_at: ReadAt
    size: int
    path: str
    inner: str
    depth: int
    budget: _Budget

    @property
    def base(self) -> str:
        """The archive's file name without its suffix."""
        name = (self.inner or self.path).rpartition("/")[2]
        return name.rpartition(".")[0] or name


def _archive(place: _Place) -> Iterator[PackageEvidence | Gap]:
    """Yield what an archive is, then what its parts are."""
    archive = Archive(place.read_at, place.size)
    nested = list(archive.containing(b".jar", _is_jar))
    if not (place.inner or place.path).endswith(".jar"):
        nested += archive.containing(b"ar", _is_other_archive)
    yield from _identify(place, archive, has_parts=bool(nested))
    for member in nested:
        yield from _nested(place, archive, member)


def _nested(outer: _Place, archive: Archive, member: Member) -> Iterator[PackageEvidence | Gap]:
    name = member.name.decode("utf-8", "replace")
    inner = f"{outer.inner}!/{name}" if outer.inner else name
    try:
        outer.budget.enter(outer.depth + 1)
        outer.budget.spend(member.size)
        read_at, size = archive.window(member) or _unpack(archive, member)
        yield from _archive(_Place(read_at, size, outer.path, inner, outer.depth + 1, outer.budget))
    except BudgetExceededError as error:
        yield Gap(code="inventory.too-large", message=error.message, path=f"{outer.path}!/{inner}")
    except _UNREADABLE as error:
        yield Gap(code="inventory.unreadable", message=f"java: {error}", path=f"{outer.path}!/{inner}")


def _unpack(archive: Archive, member: Member) -> tuple[ReadAt, int]:
    if member.size > MAX_NESTED or member.size > MAX_RATIO * max(member.packed, 1):
        raise BudgetExceededError(f"an archive of {member.size} bytes (packed {member.packed}) is not unpacked")
    data = archive.unpacked(member)
    return (lambda offset, length: data[offset : offset + length]), len(data)


def _identify(place: _Place, archive: Archive, *, has_parts: bool) -> Iterator[PackageEvidence | Gap]:
    merged, gaps = _merged(place, archive)
    yield from gaps
    own = _own(place.base, merged)
    role = "main" if has_parts and not place.inner else ""
    for index, coordinates in enumerate(merged):
        if index == own:
            yield _evidence(_completed(coordinates, place, archive), place, role)
        else:
            yield _evidence(coordinates, place, "")
    if own is None:
        yield from _named(place, archive, role, whole=has_parts or len(merged) > 1)
    elif len(merged) == 1 and not place.base.startswith(merged[0].artifact):
        # A renamed archive, or an artifact without metadata that another one was merged into.
        found = names.identify(place.base, _manifest(place, archive))
        if found.complete and found.artifact != merged[0].artifact:
            yield _evidence(found, place, "inferred")


def _named(place: _Place, archive: Archive, role: str, *, whole: bool) -> Iterator[PackageEvidence | Gap]:
    """Tell an archive by its file name and manifest."""
    manifest = _manifest(place, archive)
    if manifest.get("Implementation-Title") == _RUNTIME:
        return
    stated = names.plugin(manifest)
    found = stated if stated.complete else names.identify(place.base, manifest)
    if found.complete:
        yield _evidence(found, place, role or ("" if stated.complete else "inferred"))
        for group, artifact in names.distributed(place.base, manifest):
            yield _evidence(Coordinates(group, artifact, found.version), place, "inferred")
    elif not whole and archive.has(b".class"):
        # An application whose parts are told is known by them; a lone library that nobody can name is a blind spot.
        if found.artifact and found.version:
            yield _evidence(found, place, "inferred")
        missing = "group" if found.version else "version" if found.group else "group and version"
        message = f"a Java archive without Maven metadata: its {missing} cannot be known, so that no advisory can match it"
        yield Gap(code="inventory.unidentified", message=message, path=_full_path(place))


def _merged(place: _Place, archive: Archive) -> tuple[list[Coordinates], list[Gap]]:
    """Return the artifacts that META-INF/maven names, in the archive's order, and what could not be read of it."""
    folders: dict[bytes, dict[bytes, Member]] = {}
    for member in archive.containing(_MAVEN, _is_maven):
        folder, _, base = member.name.rpartition(b"/")
        folders.setdefault(folder, {})[base] = member
        if len(folders) > MAX_MERGED:
            raise BudgetExceededError(f"more than {MAX_MERGED} artifacts in one archive")
    merged: list[Coordinates] = []
    gaps: list[Gap] = []
    for folder, files in folders.items():
        group, artifact = (part.decode("utf-8", "replace") for part in folder.split(b"/")[2:4])
        said = Coordinates("", "", "")
        for base, read, limit in _METADATA:
            file = files.get(base)
            if file is None or said.complete:
                continue
            try:
                more = read(_content(place, archive, file, limit))
                said = Coordinates(said.group or more.group, said.artifact or more.artifact, said.version or more.version)
            except _UNREADABLE as error:
                where = f"{_full_path(place)}!/{file.name.decode('utf-8', 'replace')}"
                gaps.append(Gap(code="inventory.unreadable", message=f"java: {error}", path=where))
        merged.append(Coordinates(said.group or group, said.artifact or artifact, said.version))
    return merged, gaps


def _own(base: str, merged: list[Coordinates]) -> int | None:
    """Return which of the merged artifacts the archive itself is: the only one, or the one with the longest name that the file's
    name begins with.
    """
    if len(merged) == 1:
        return 0
    named = [
        (len(item.artifact), index)
        for index, item in enumerate(merged)
        if base == item.artifact or base.startswith((f"{item.artifact}-", f"{item.artifact}_"))
    ]
    return max(named)[1] if named else None


def _completed(coordinates: Coordinates, place: _Place, archive: Archive) -> Coordinates:
    """Add the version of file name or manifest where Maven's metadata leaves it to a parent that is not there."""
    if coordinates.version:
        return coordinates
    return Coordinates(coordinates.group, coordinates.artifact, names.identify(place.base, _manifest(place, archive)).version)


def _manifest(place: _Place, archive: Archive) -> dict[str, str]:
    for member in archive.containing(_MANIFEST, _MANIFEST.__eq__):
        return metadata.read_manifest(_content(place, archive, member, MAX_MANIFEST))
    return {}


def _evidence(coordinates: Coordinates, place: _Place, role: str) -> PackageEvidence:
    group, artifact, version = coordinates
    return PackageEvidence(type="maven", namespace=group, name=artifact, version=version, inner=place.inner, role=role)


def _full_path(place: _Place) -> str:
    return f"{place.path}!/{place.inner}" if place.inner else place.path


def _content(place: _Place, archive: Archive, member: Member, limit: int) -> bytes:
    place.budget.spend(member.size)
    return content(archive.read_at, member, limit)


def _is_jar(name: bytes) -> bool:
    return name.endswith(b".jar")


def _is_other_archive(name: bytes) -> bool:
    return name.endswith((b".war", b".sar", b".par", b".rar"))


def _is_maven(name: bytes) -> bool:
    """META-INF/maven/GROUP/ARTIFACT/pom.properties or pom.xml; what lies deeper is an archetype's or a test's."""
    return name.startswith(_MAVEN) and name.count(b"/") == 4 and name.endswith((b"/pom.properties", b"/pom.xml"))
