"""A jar's file name and manifest in, Maven coordinates out where they can be known without guessing wrongly.

Many archives have no Maven metadata (Gradle and Ant write none). Their artifact and version are in the file name; the group is
not, and a wrong one would match nothing, in silence. It is taken from, in this order: what groups.toml lists;
a bundle name that ends in the artifact (Maven's bundle plugin writes group.artifact); a vendor id that another name confirms.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from pratique.inventory.java.metadata import Coordinates

# File systems take no more; an archive's table could state 65,535.
MAX_NAME = 255

# A version begins with a digit and has neither blanks nor placeholders.
_VERSION = re.compile(r"v?(\d[0-9A-Za-z.+_~-]{0,100})")
_SPLIT = re.compile(r"-(?=v?\d)")
# In log4j-1.2-api-2.17.1 the first number is part of the name: a word that is no qualifier stands between it and another version.
_WORD_BETWEEN = re.compile(r"v?\d[0-9.]*-([A-Za-z]{3,})-\d+\.\d")
_QUALIFIERS = frozenset(
    "alpha beta milestone snapshot final release jre android build pre preview incubating redhat jboss hadoop".split()  # noqa: SIM905 - a list of words reads best as one
)
_CLASSIFIER = re.compile(
    r"[-.](?:(?:linux|osx|windows|macosx|freebsd)[-_.][0-9A-Za-z_-]+|jar-with-dependencies|all|shaded|tests?|sources|javadoc|exec|boot"
    r"|plain|uber|fat|runner|no_aop|jdk\d+|natives-[a-z0-9-]+)$"
)
# Vendors' ids that are above their groups: org.apache is Log4j's and not its group.
_MIN_GROUP_PARTS = 3


class FileName(NamedTuple):
    """`stem` is the artifact, `version` empty where the name has none."""

    stem: str
    version: str


class _Table(msgspec.Struct, frozen=True):
    bundles: dict[str, str]
    families: dict[str, str]
    distributions: dict[str, list[str]]
    moved: dict[str, dict[str, str]]
    artifacts: dict[str, list[str]]


def split_name(base: str) -> FileName:
    """Split a file name without its suffix: guava-32.0.1-jre is guava and 32.0.1-jre, kafka_2.13-3.6.0 kafka_2.13 and 3.6.0."""
    if len(base) > MAX_NAME:
        return FileName(base, "")
    base = _CLASSIFIER.sub("", base)
    starts = [found.start() for found in _SPLIT.finditer(base)]
    for start in starts:
        between = _WORD_BETWEEN.match(base, start + 1)
        if between is None or between[1].lower() in _QUALIFIERS:
            return FileName(base[:start], _version(base[start + 1 :]))
    return FileName(base, "")


def identify(base: str, manifest: dict[str, str]) -> Coordinates:
    """Return what a jar named `base` (without suffix) with that manifest is; parts that cannot be known are empty."""
    stem, version = split_name(base)
    symbolic = manifest.get("Bundle-SymbolicName", "").partition(";")[0].strip()
    version = version or _version(manifest.get("Implementation-Version", "")) or _version(manifest.get("Bundle-Version", ""))
    bundle = _bundle(symbolic)
    if bundle:
        group, _, artifact = bundle.partition(":")
        return Coordinates(group, artifact, version)
    for artifact in (stem, manifest.get("Implementation-Title", ""), symbolic):
        group = _groups().get(artifact) or _moved(artifact, version)
        if group:
            return Coordinates(group, artifact, version)
    if "-" in stem and symbolic.endswith(f".{stem}"):
        return Coordinates(symbolic[: -len(stem) - 1], stem, version)
    vendor = manifest.get("Implementation-Vendor-Id", "")
    if vendor.count(".") + 1 >= _MIN_GROUP_PARTS and " " not in vendor:
        confirmed = (symbolic, manifest.get("Automatic-Module-Name", ""))
        if any(name == vendor or name.startswith((f"{vendor}.", f"{vendor}-")) for name in confirmed):
            return Coordinates(vendor, stem, version)
    return Coordinates("", stem, version)


def plugin(manifest: dict[str, str]) -> Coordinates:
    """Return the coordinates that the manifest of a Jenkins plugin states."""
    name = manifest.get("Short-Name") or manifest.get("Extension-Name", "")
    return Coordinates(manifest.get("Group-Id", ""), name, _version(manifest.get("Plugin-Version", "").partition(" ")[0]))


def distributed(base: str, manifest: dict[str, str]) -> list[tuple[str, str]]:
    """Return (group, artifact) of whole products that a jar of this name and title is the heart of: advisories name those too."""
    listed = _table().distributions.get(f"{base}:{manifest.get('Implementation-Title', '')}", [])
    return [(group, artifact) for group, _, artifact in (name.partition(":") for name in listed)]


def _version(text: str) -> str:
    found = _VERSION.fullmatch(text.strip())
    return found[1] if found and not found[1].endswith(".x") else ""


def _bundle(symbolic: str) -> str:
    """Return group:artifact of an OSGi bundle that the table knows by its name or by how that begins."""
    known = _table().bundles.get(symbolic, "")
    families = _table().families
    begins = max((begin for begin in families if symbolic.startswith(begin)), key=len, default="")
    return known or (families[begins] + symbolic[len(begins) :] if begins else "")


def _moved(artifact: str, version: str) -> str:
    """Return the group that had the artifact at that version, where it moved from one to another."""
    groups = _table().moved.get(artifact, {}) if version else {}
    return next(
        (groups[since] for since in sorted(groups, key=_numbers, reverse=True) if _numbers(since) <= _numbers(version)), ""
    )


def _numbers(version: str) -> list[int]:
    """Return the numbers that a version begins with: 0.9.5.3-jre is [0, 9, 5, 3]."""
    found = re.match(r"\d{1,9}(?:\.\d{1,9})*", version)
    return [int(part) for part in found[0].split(".")] if found else []


@cache
def _table() -> _Table:
    import tomllib  # noqa: PLC0415 - only for archives without Maven metadata

    return msgspec.convert(tomllib.loads(Path(__file__).with_name("groups.toml").read_text("utf-8")), _Table)


@cache
def _groups() -> dict[str, str]:
    return {artifact: group for group, artifacts in _table().artifacts.items() for artifact in artifacts}
