"""Java archives in, the digests of each and of those inside it, and what Maven's metadata says that they need, out.

A pom.xml lists what its artifact was built with. Tests, what a server provides and what is optional need not be there; where an
artifact's version comes from does not matter, since what lies in the image is what it runs with.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pratique.inventory.digests import digests
from pratique.inventory.java.archive import Archive
from pratique.inventory.lockfiles.documents import xml
from pratique.inventory.zipped import Member, ReadAt, content
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.inventory import DetailEvidence
from pratique.model.ports import File, Interest

SUFFIXES = (".jar", ".war", ".ear", ".par", ".sar", ".jpi", ".hpi", ".kar", ".nar")
MAX_BYTES = 1 << 30  # as for the archives themselves
MAX_DEPTH = 5  # likewise
MAX_ARCHIVES = 20_000  # likewise
MAX_NESTED = 256 << 20  # of an archive that must be unpacked to be looked into; likewise
MAX_READ = 2 << 30  # all that is read of one file to make digests: a distribution of 500 MB and all of its parts
MAX_POM = 2 << 20
MAX_POMS = 1_000  # of one archive; merged ones have had 400
MAX_NAMES = 1_000
_MAVEN = b"META-INF/maven/"
_UNREADABLE = (ParseError, BudgetExceededError, ValueError, KeyError, IndexError, struct.error, RecursionError)
_ELSEWHERE = frozenset(("test", "provided", "system", "import"))


class JavaDetails:
    """Inspects Java archives."""

    name = "details_java"
    version = 1
    interest = Interest(suffixes=SUFFIXES, max_bytes=MAX_BYTES, scope="details")

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield digests by place, relations by coordinates. What cannot be read is a gap of the archive's own inspector."""
        if file.read_at(0, 2) == b"PK":
            yield from _archive(_Place(file.read_at, file.size, "", 0), [MAX_READ, MAX_ARCHIVES])


class _Place(NamedTuple):
    read_at: ReadAt
    size: int
    inner: str
    depth: int


def _archive(place: _Place, left: list[int]) -> Iterator[DetailEvidence]:
    """`left` are the bytes and the archives that may still be read of the outermost file."""
    left[0] -= place.size
    left[1] -= 1
    if min(left) < 0:
        return
    yield DetailEvidence(type="maven", name="", inner=place.inner, hashes=digests(place.read_at, place.size))
    try:
        archive = Archive(place.read_at, place.size)
        yield from _poms(place, archive)
        nested = list(archive.containing(b"ar", _is_archive)) if place.depth < MAX_DEPTH else []
    except _UNREADABLE:
        return
    for member in nested:
        name = member.name.decode("utf-8", "replace")
        inner = f"{place.inner}!/{name}" if place.inner else name
        try:
            read_at, size = archive.window(member) or _unpacked(archive, member)
        except _UNREADABLE:
            continue
        yield from _archive(_Place(read_at, size, inner, place.depth + 1), left)


def _is_archive(name: bytes) -> bool:
    return name.endswith((b".jar", b".war", b".sar", b".par", b".rar"))


def _unpacked(archive: Archive, member: Member) -> tuple[ReadAt, int]:
    if member.size > MAX_NESTED:
        raise BudgetExceededError("a nested archive that is larger than any is unpacked")
    data = archive.unpacked(member)
    return (lambda offset, length: data[offset : offset + length]), len(data)


def _poms(place: _Place, archive: Archive) -> Iterator[DetailEvidence]:
    for number, member in enumerate(
        archive.containing(_MAVEN, lambda name: name.endswith(b"/pom.xml") and name.count(b"/") == 4)
    ):
        if number >= MAX_POMS:
            return
        group, artifact = (part.decode("utf-8", "replace") for part in member.name.split(b"/")[2:4])
        try:
            needed = tuple(dict.fromkeys(requirements(content(place.read_at, member, MAX_POM), group)))
        except _UNREADABLE:
            continue
        yield DetailEvidence(type="maven", namespace=group, name=artifact, inner=place.inner, requires=needed[:MAX_NAMES])


def requirements(data: bytes, group: str) -> Iterator[str]:
    """Yield `group:artifact` of what a pom.xml needs to run. Raises ParseError."""
    root = xml(data)
    space = root.tag.partition("}")[0] + "}" if str(root.tag).startswith("{") else ""
    for dependency in root.iterfind(f"{space}dependencies/{space}dependency"):
        said = {str(child.tag).rpartition("}")[2]: (child.text or "").strip() for child in dependency}
        other, artifact = said.get("groupId", ""), said.get("artifactId", "")
        if other in ("${project.groupId}", "${pom.groupId}", "${groupId}"):
            other = group
        if not other or not artifact or "${" in other + artifact or said.get("scope", "").strip() in _ELSEWHERE:
            continue
        yield ("?" if said.get("optional") == "true" else "") + f"{other}:{artifact}"


INSPECTOR = JavaDetails()
