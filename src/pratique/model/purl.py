"""A package URL in, its parts out. https://github.com/package-url/purl-spec; lenient where well-known writers are."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

from pratique.model.errors import ParseError

MAX_PURL = 8192  # characters; a Go pseudo-version with a long path has 200


class Purl(NamedTuple):
    """The decoded parts. `namespace` may hold slashes."""

    type: str
    namespace: str
    name: str
    version: str
    qualifiers: dict[str, str]
    subpath: str = ""


def parse(text: str) -> Purl:
    """Parse a purl. Raises ParseError."""
    scheme, colon, rest = text.partition(":")
    if scheme.lower() != "pkg" or not colon or len(text) > MAX_PURL:
        raise ParseError(f"{text[:100]!r} is no package URL")
    rest, _, subpath = rest.partition("#")
    rest, _, query = rest.partition("?")
    kind, slash, path = rest.strip("/").partition("/")
    head, name, version = _split(path)
    if not slash or not kind or not name:
        raise ParseError(f"{text[:100]!r} is no package URL: a type and a name are needed")
    namespace = "/".join(unquote(part) for part in head.split("/") if part)
    qualifiers = {}
    for pair in query.split("&"):
        key, equals, value = pair.partition("=")
        if equals and value:
            qualifiers[key.lower()] = unquote(value)
    return Purl(kind.lower(), namespace, unquote(name), unquote(version), qualifiers, unquote(subpath.strip("/")))


def _split(path: str) -> tuple[str, str, str]:
    """Return namespace, name and version, still encoded. A version may hold slashes, as writers do not encode them everywhere.

    A scope's @ (pkg:npm/@scope/name) is no version's; an encoded one is not seen here.
    """
    at = path.rfind("@")
    while at > 0 and path[at - 1] == "/":
        at = path.rfind("@", 0, at)
    if at <= 0:
        head, name = path.rpartition("/")[::2]
        return head, name, ""
    start = path.rfind("/", 0, at) + 1
    at = path.index("@", start + 1)
    return path[:start], path[start:at], path[at + 1 :]
