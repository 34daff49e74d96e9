"""NuGet's packages.config and MSBuild project files in, entries out, as far as one file tells.

A version in a project file is the least that is wanted, and NuGet takes just that where nothing else asks for more; so it counts.
Ranges and floating versions do not. Versions that a central file (Directory.Packages.props) or an import decides are a Gap that
names the package, and so is what the direct references bring along.

https://learn.microsoft.com/nuget/consume-packages/package-references-in-project-files
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pratique.inventory.lockfiles.documents import xml
from pratique.inventory.lockfiles.entries import Entries
from pratique.model.errors import ParseError

if TYPE_CHECKING:
    from lxml.etree import _Element

_PROPERTY = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", re.ASCII)
_FIXED = re.compile(r"\[\s*([^\s,\[\]()]+)\s*\]")
_RANGE = re.compile(r"[\[\](),*]")


def config(data: bytes, entries: Entries) -> None:
    """Enter the packages of a packages.config; it lists indirect ones too. Raises ParseError."""
    root = xml(data)
    if _tag(root) != "packages":
        raise ParseError("a packages.config without packages")
    for item in root:
        if _tag(item) == "package":
            dev = item.get("developmentDependency", "").lower() == "true"
            _reference(item.get("id", ""), item.get("version", ""), "dev" if dev else "", entries)


def project(data: bytes, entries: Entries) -> None:
    """Enter the package references of a project file. Raises ParseError."""
    root = xml(data)
    if _tag(root) != "Project":
        raise ParseError("a project file without Project")
    properties: dict[str, str] = {}
    references: list[_Element] = []
    for group in root:
        if _tag(group) == "PropertyGroup":
            properties.update((_tag(item).lower(), (item.text or "").strip()) for item in group)
        elif _tag(group) == "ItemGroup":
            references += [item for item in group if _tag(item) == "PackageReference" and item.get("Include")]
    for item in references:
        # Facts stand in attributes or in elements below.
        facts = {_tag(child): (child.text or "").strip() for child in item} | {
            str(key): str(value) for key, value in item.items()
        }
        stated = facts.get("VersionOverride") or facts.get("Version") or ""
        version = _PROPERTY.sub(lambda found: properties.get(found[1].lower(), found[0]), stated)
        _reference(facts["Include"], version, "dev" if facts.get("PrivateAssets", "").lower() == "all" else "", entries)
    if references:
        entries.unresolved("what the listed packages bring along", "a project file names direct references only")


def _reference(name: str, version: str, role: str, entries: Entries) -> None:
    fixed = _FIXED.fullmatch(version)
    if "$(" in version or "$(" in name:
        entries.unresolved(name, f"its version {version} is a property that this file does not define")
    elif not version:
        entries.unresolved(name, "its version is decided elsewhere, which this file does not hold")
    elif fixed:
        entries.add(name, fixed[1], role=role)
    elif _RANGE.search(version):
        entries.unpinned(name, version)
    else:
        entries.add(name, version, role=role)


def _tag(element: _Element) -> str:
    return str(element.tag).rpartition("}")[2]
