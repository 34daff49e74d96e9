"""pom.properties, pom.xml and MANIFEST.MF in, Maven coordinates and attributes out.

Formats: java.util.Properties; Maven's POM reference (inheritance from the parent that the file itself names, properties); the JAR
file specification, "JAR Manifest". What cannot be resolved within the file is empty.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pratique.model.errors import ParseError

# Properties may refer to properties; real files nest two or three deep.
MAX_INTERPOLATION = 8
# Coordinates are file names at last; longer values would only let references multiply.
MAX_VALUE = 200

_REFERENCE = re.compile(r"\$\{([^${}]{1,200})\}")


class Coordinates(NamedTuple):
    """groupId, artifactId and version; empty where not known."""

    group: str
    artifact: str
    version: str

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return bool(self.group and self.artifact and self.version)


def read_properties(data: bytes) -> Coordinates:
    """Return what a pom.properties says."""
    values: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        if line[:1] not in {"#", "!"}:
            key, equals, value = line.partition("=")
            if equals:
                values[key.strip()] = value.strip().replace("\\", "")
    return Coordinates(*(_resolved(values.get(key, "")) for key in ("groupId", "artifactId", "version")))


def read_manifest(data: bytes) -> dict[str, str]:
    """Return the main section's attributes; continued lines are joined, names keep their letter case."""
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n").partition(b"\n\n")[0].replace(b"\n ", b"")
    pairs = (line.partition(":") for line in text.decode("utf-8", "replace").split("\n"))
    return {name: value.strip() for name, colon, value in pairs if colon}


def read_pom(data: bytes) -> Coordinates:
    """Return what a pom.xml says of itself. Raises ParseError."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True)
    if b"<!DOCTYPE" in data:
        raise ParseError("a pom.xml with a document type is not read")
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ParseError(f"pom.xml: {error}") from error
    top: dict[str, str] = {}
    parent: dict[str, str] = {}
    properties: dict[str, str] = {}
    for child in (child for child in root if isinstance(child.tag, str)):
        name = etree.QName(child).localname
        if name in {"groupId", "artifactId", "version"}:
            top[name] = (child.text or "").strip()
        elif name in {"parent", "properties"}:
            into = parent if name == "parent" else properties
            into.update({etree.QName(item).localname: (item.text or "").strip() for item in child if isinstance(item.tag, str)})
    group, version = top.get("groupId") or parent.get("groupId", ""), top.get("version") or parent.get("version", "")
    known = {key: value for key, value in properties.items() if len(value) <= MAX_VALUE}
    for prefix in ("project.", "pom.", ""):
        known |= {f"{prefix}groupId": group, f"{prefix}version": version, f"{prefix}artifactId": top.get("artifactId", "")}
        known |= {f"{prefix}parent.{key}": value for key, value in parent.items()}
    return Coordinates(*(_resolved(_interpolate(value, known)) for value in (group, top.get("artifactId", ""), version)))


def _interpolate(value: str, known: dict[str, str]) -> str:
    for _ in range(MAX_INTERPOLATION):
        if "${" not in value or len(value) > 5 * MAX_VALUE:
            break
        value = _REFERENCE.sub(lambda found: known.get(found[1], ""), value)
    return value


def _resolved(value: str) -> str:
    """Return the value, or nothing where a build tool left its placeholder (${...}, @...@) or something that is no coordinate."""
    return "" if "${" in value or value[:1] == "@" or " " in value or len(value) > MAX_VALUE else value
