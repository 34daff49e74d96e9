"""Manifest and index of a VEX repository in, where its documents are out.

https://github.com/aquasecurity/vex-repo-spec (version 0.1). The manifest's versions are an object by name, or (as some write
them) a list.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pratique.attest.envelope import decode
from pratique.attest.limits import items, mapping, name
from pratique.model.errors import ParseError

MANIFEST = "vex-repository.json"
INDEX = "index.json"
WELL_KNOWN = f"/.well-known/{MANIFEST}"
MAX_MANIFEST = 1 << 20  # bytes; honest ones have 500
MAX_INDEX = 64 << 20  # bytes; the largest known has 2 MB
MAX_ENTRIES = 500_000  # of an index
MAX_LOCATIONS = 16
LEAST_INTERVAL = 3_600  # seconds; who asks for less would have every scan download the whole repository
DEFAULT_INTERVAL = 86_400
_MAJORS = (1, 0)  # versions of the specification that are read, the newest first
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Location(NamedTuple):
    """Where the archive of a repository is, and the folder in it that is the repository ("" for its top)."""

    address: str
    folder: str


class Manifest(NamedTuple):
    """A repository's name, locations in their order, and how often to ask for news, in seconds."""

    name: str
    locations: tuple[Location, ...]
    interval: float


class Entry(NamedTuple):
    """A document of a repository: the package (a purl without version) and the file, relative to the repository."""

    purl: str
    path: str


def manifest(data: bytes) -> Manifest:
    """Read a manifest. Raises ParseError."""
    given = mapping(decode(data))
    versions = given.get("versions")
    offered = items(versions) if isinstance(versions, list) else list(mapping(versions).values())
    for major in _MAJORS:
        for version in map(mapping, offered):
            if _major(version.get("spec_version")) == major:
                places = [_location(name(mapping(place).get("url"))) for place in items(version.get("locations"))]
                return Manifest(
                    name(given.get("name")),
                    tuple(place for place in places[:MAX_LOCATIONS] if "://" in place.address),
                    _interval(name(version.get("update_interval"))),
                )
    raise ParseError("a repository of no version that is read (0 or 1)")


def archive(address: str) -> Manifest:
    """Return what stands for a manifest where a person names the archive itself."""
    return Manifest("", (_location(address),), DEFAULT_INTERVAL)


def _major(given: Any) -> int:
    found = re.fullmatch(r"v?(\d{1,4})(?:\.\d{1,4}){0,2}", name(given))
    return int(found[1]) if found else -1


def _location(address: str) -> Location:
    """Split what follows a second // from the address."""
    scheme, separator, rest = address.partition("://")
    where, _, folder = rest.partition("//")
    return Location(scheme + separator + where, folder.strip("/"))


def _interval(written: str) -> float:
    """Read a duration as Go writes it: 24h, 1h30m."""
    parts = re.findall(r"(\d{1,9}(?:\.\d{1,9})?)(h|ms|us|µs|ns|m|s)", written[:60])
    if not parts or "".join(number + unit for number, unit in parts) != written:
        return DEFAULT_INTERVAL
    return max(sum(float(number) * _UNITS[unit] for number, unit in parts), LEAST_INTERVAL)


def index(data: bytes) -> tuple[Entry, ...]:
    """Read an index. Raises ParseError."""
    packages = items(mapping(decode(data)).get("packages"))
    if len(packages) > MAX_ENTRIES:
        raise ParseError(f"an index of more than {MAX_ENTRIES:,} packages")
    found = []
    for given in map(mapping, packages):
        purl, path = name(given.get("id")), name(given.get("location"))
        if purl.startswith("pkg:") and is_inside(path):
            found.append(Entry(purl, path))
    return tuple(found)


def is_inside(path: str) -> bool:
    """Say whether a path stays within its repository."""
    parts = PurePosixPath(path).parts
    return bool(path) and not path.startswith("/") and ".." not in parts and "\\" not in path and "\0" not in path
