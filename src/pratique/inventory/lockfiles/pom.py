"""Maven's pom.xml in, entries out, as far as this one file tells.

Properties, `dependencyManagement` and the coordinates of project and parent are applied. What a parent or an imported list of
versions decides is a Gap that names the dependency; nothing is fetched. A pom names direct dependencies only, and a Gap says that
what they bring along is not known.

https://maven.apache.org/pom.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pratique.inventory.lockfiles.documents import xml
from pratique.inventory.lockfiles.entries import Entries
from pratique.model.errors import ParseError

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_ROUNDS = 16  # properties that stand for properties; those in use nest to 3
MAX_VALUE = 1_000  # characters of a value after substitution: longer is no version, and could grow with every round
_PROPERTY = re.compile(r"\$\{([^${}]+)\}")
_FIXED = re.compile(r"\[\s*([^\s,\[\]()]+)\s*\]")  # [1.2.3] is this version and no other
_FLOATING = ("LATEST", "RELEASE")


def read(data: bytes, entries: Entries) -> None:
    """Enter the project ("main") and its dependencies (scope test: "dev"). Raises ParseError."""
    root = xml(data)
    if _tag(root) != "project":
        raise ParseError("a pom.xml without project")
    project = _children(root)
    parent = _children(project.get("parent"))
    properties = _properties(project, parent)
    group, artifact, version = (_value(project.get(key), properties) for key in ("groupId", "artifactId", "version"))
    group, version = group or properties.get("project.groupId", ""), version or properties.get("project.version", "")
    if group and artifact and version and "${" not in group + artifact + version:
        entries.add(artifact, version, namespace=group, role="main")
    homes = [project, *(_children(profile) for profile in _items(project.get("profiles"), "profile"))]
    managed: dict[tuple[str, str], tuple[str, str]] = {}
    for home in homes:
        for item in _items(_children(home.get("dependencyManagement")).get("dependencies"), "dependency"):
            key, stated, scope = _coordinates(item, properties)
            managed.setdefault(key, (stated, scope))
    found = [_coordinates(item, properties) for home in homes for item in _items(home.get("dependencies"), "dependency")]
    for key, stated, scope in found:
        default = managed.get(key, ("", ""))
        _dependency(key, stated or default[0], scope or default[1], entries)
    if found:
        entries.unresolved("what the listed dependencies bring along", "a pom.xml names direct dependencies only")


def _dependency(key: tuple[str, str], version: str, scope: str, entries: Entries) -> None:
    group, artifact = key
    name = f"{group}:{artifact}"
    fixed = _FIXED.fullmatch(version)
    if "${" in name or "${" in version:
        entries.unresolved(name, f"its version {version} is a property that this file does not define")
    elif not version:
        entries.unresolved(name, "its version is decided by a parent or an imported list, which this file does not hold")
    elif fixed:
        entries.add(artifact, fixed[1], namespace=group, role="dev" if scope == "test" else "")
    elif version[0] in "[(" or "," in version or version in _FLOATING:
        entries.unpinned(name, version)
    else:
        entries.add(artifact, version, namespace=group, role="dev" if scope == "test" else "")


def _properties(project: dict[str, _Element], parent: dict[str, _Element]) -> dict[str, str]:
    found = {_tag(item): (item.text or "").strip() for item in project.get("properties", ())}
    for key in ("groupId", "artifactId", "version"):
        above = _text(parent.get(key))
        found[f"project.parent.{key}"] = found[f"parent.{key}"] = above
        own = _text(project.get(key)) or ("" if key == "artifactId" else above)
        found[f"project.{key}"] = found[f"pom.{key}"] = own
        found.setdefault(key, own)
    return {key: value for key, value in found.items() if value}


def _coordinates(item: _Element, properties: dict[str, str]) -> tuple[tuple[str, str], str, str]:
    parts = _children(item)
    group, artifact, version, scope = (
        _value(parts.get(key), properties) for key in ("groupId", "artifactId", "version", "scope")
    )
    return (group, artifact), version, scope


def _value(element: _Element | None, properties: dict[str, str]) -> str:
    """Return an element's text with properties put in, as often as they lead to others; unknown ones stay as written."""
    text = _text(element)
    for _ in range(MAX_ROUNDS):
        if "${" not in text or len(text) > MAX_VALUE:
            break
        replaced = _PROPERTY.sub(lambda found: properties.get(found[1].strip(), found[0]), text)
        if replaced == text:
            break
        text = replaced
    return text[:MAX_VALUE]


def _tag(element: _Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(element: _Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""


def _children(element: _Element | None) -> dict[str, _Element]:
    return {} if element is None else {_tag(child): child for child in element}


def _items(element: _Element | None, tag: str) -> list[_Element]:
    return [] if element is None else [child for child in element if _tag(child) == tag]
