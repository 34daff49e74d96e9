"""A request line in, the one thing it asks of a registry out; what is unknown, or could be read in two ways, is refused.

Source: the OCI distribution specification 1.1, and the routes of distribution (docker-registry) beyond it. Paths are taken in
their plain form only: names, tags and digests hold nothing that needs an escape, so that a percent sign is somebody's attempt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from pratique.model.errors import ParseError

Kind = Literal[
    "base", "token", "catalog", "tags", "referrers", "manifest", "manifest-put", "manifest-delete", "blob", "blob-delete",
    "upload-begin", "upload-read", "upload-write", "upload-end", "upload-cancel",
]  # fmt: skip
Access = Literal["none", "pull", "push", "delete"]

MAX_TARGET = 8 << 10  # characters of a request line: upload states have some 400
MAX_NAME = 255  # as the specification has it
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_UPLOAD = r"[A-Za-z0-9_=-]{1,128}"
# Parts of paths that no repository may be named by: `a/blobs/uploads/manifests/x` has two readings.
_RESERVED = frozenset(("manifests", "blobs", "uploads", "tags", "referrers"))

_TABLE: tuple[tuple[str, str, Kind, Access, tuple[str, ...]], ...] = (
    ("GET|HEAD", r"/v2/", "base", "none", ()),
    ("GET", r"/v2/_catalog", "catalog", "none", ("n", "last")),
    ("GET", rf"/v2/({_NAME})/tags/list", "tags", "pull", ("n", "last")),
    ("GET", rf"/v2/({_NAME})/referrers/({_DIGEST})", "referrers", "pull", ("artifactType", "n", "last")),
    ("GET|HEAD", rf"/v2/({_NAME})/manifests/({_DIGEST}|{_TAG})", "manifest", "pull", ("ns",)),
    ("PUT", rf"/v2/({_NAME})/manifests/({_DIGEST}|{_TAG})", "manifest-put", "push", ()),
    ("DELETE", rf"/v2/({_NAME})/manifests/({_DIGEST}|{_TAG})", "manifest-delete", "delete", ()),
    ("GET|HEAD", rf"/v2/({_NAME})/blobs/({_DIGEST})", "blob", "pull", ("ns",)),
    ("DELETE", rf"/v2/({_NAME})/blobs/({_DIGEST})", "blob-delete", "delete", ()),
    ("POST", rf"/v2/({_NAME})/blobs/uploads/", "upload-begin", "push", ("mount", "from", "digest")),
    ("GET|HEAD", rf"/v2/({_NAME})/blobs/uploads/({_UPLOAD})", "upload-read", "push", ("_state",)),
    ("PATCH", rf"/v2/({_NAME})/blobs/uploads/({_UPLOAD})", "upload-write", "push", ("_state",)),
    ("PUT", rf"/v2/({_NAME})/blobs/uploads/({_UPLOAD})", "upload-end", "push", ("_state", "digest")),
    ("DELETE", rf"/v2/({_NAME})/blobs/uploads/({_UPLOAD})", "upload-cancel", "push", ("_state",)),
)
_ROUTES = [
    (frozenset(methods.split("|")), re.compile(pattern), kind, access, frozenset(keys))
    for methods, pattern, kind, access, keys in _TABLE
]
_PLAIN = re.compile(r"/[A-Za-z0-9._:/=-]*")
_repository = re.compile(_NAME)
_digest = re.compile(_DIGEST)


class Route(NamedTuple):
    """What is asked for: `reference` is a tag, a digest, or the id of an upload."""

    kind: Kind
    access: Access = "none"
    repository: str = ""
    reference: str = ""
    query: Mapping[str, str] = {}
    path: str = ""

    def upstream(self, **query: str | None) -> str:
        """Return the request line for the registry, spelled anew; `query` replaces parameters, None leaves one out."""
        said = {**self.query, **query}
        pairs = [f"{name}={quote(value, safe='')}" for name, value in said.items() if value is not None and name != "ns"]
        return self.path + ("?" + "&".join(pairs) if pairs else "")


def classify(method: str, target: str) -> Route:
    """Return the route of a request line. Raises ParseError where it is unknown, or could be read in two ways."""
    if len(target) > MAX_TARGET or not target.isascii():
        raise ParseError("the request line is too long, or holds what does not belong there")
    path, mark, text = target.partition("?")
    if path == "/v2":  # what some clients probe with; distribution redirects it
        path = "/v2/"
    if path == "/token" and method in ("GET", "POST"):
        return Route("token", path=path + mark + text)
    if not _PLAIN.fullmatch(path) or "//" in path or any(part in (".", "..") for part in path.split("/")):
        raise ParseError(f"the path {path[:100]!a} is not in its plain form")
    for methods, pattern, kind, access, keys in _ROUTES:
        if method in methods and (found := pattern.fullmatch(path)):
            groups = [*found.groups(), "", ""]
            if groups[0] and not is_repository(groups[0]):
                raise ParseError(f"{groups[0][:100]!a} is no name that a repository can have here")
            return Route(kind, access, groups[0], groups[1], _query(text, keys), path)
    raise ParseError(f"{method[:10]!a} {path[:100]!a} is no route that this gate knows")


def is_repository(name: str) -> bool:
    """Say whether a repository may have this name."""
    return len(name) <= MAX_NAME and bool(_repository.fullmatch(name)) and _RESERVED.isdisjoint(name.split("/"))


def is_digest(text: str) -> bool:
    """Say whether it is a digest, not a tag."""
    return bool(_digest.fullmatch(text))


def _query(text: str, allowed: frozenset[str]) -> dict[str, str]:
    """Read parameters: each once, none that the route does not know."""
    found: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        name, _, value = part.partition("=")
        if name not in allowed or name in found or ";" in part:
            raise ParseError(f"the parameter {name[:40]!a} is unknown here, or comes twice")
        found[name] = _decoded(value)
    for name in ("mount", "digest"):
        if name in found and not _digest.fullmatch(found[name]):
            raise ParseError(f"the parameter {name} is no digest")
    if "from" in found and not is_repository(found["from"]):
        raise ParseError("the parameter from is no name of a repository")
    return found


def _decoded(value: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise ParseError("a percent sign stands alone")
    try:
        text = unquote_to_bytes(value.replace("+", " ")).decode("ascii")
    except UnicodeDecodeError:
        raise ParseError("a parameter is not plain text") from None
    if any(letter < " " or letter == "\x7f" for letter in text):
        raise ParseError("a parameter holds what does not belong there")
    return text
