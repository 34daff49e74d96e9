"""A request line in, the route that the engine will serve out; what the engine might read otherwise is refused.

Every route of the engine's API is listed with what it can do. A write that is not listed is refused, so an engine that is newer
than this gate gains nothing. Source: the Docker Engine API 1.51, and the routers of 26.1.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from pratique.model.errors import ParseError

# read: shows; ordinary: changes what is within everyone's baseline; engine: administers the engine itself.
# The others are decided one by one, by what the request holds.
Kind = Literal[
    "read", "ordinary", "engine", "create", "start", "restart", "update", "attach", "exec", "exec-start", "copy-in", "copy-out",
    "commit",
    "tag", "build", "session", "pull", "load", "save", "push", "volume", "network", "connect",
]  # fmt: skip

# The longest request line that the engine's own client sends has some kilobytes (filters, build arguments).
_MAX_URI = 64 << 10
_MAX_PARAMETERS = 500
_VERSION = re.compile(r"/v(\d{1,2}(?:\.\d{1,3}){0,2})(/.*)")
_SAFE_PATH = re.compile(r"(?:/[A-Za-z0-9_.:@+~=,-][A-Za-z0-9_.:@+~=, -]*)+/?")

_ID = "([^/]+)"
_NAME = "(.+)"
_TABLE: tuple[tuple[str, str, Kind], ...] = (
    ("GET|HEAD", "/_ping", "read"),
    ("GET", "/version|/info|/events|/system/df", "read"),
    ("POST", "/auth", "read"),
    ("GET", "/containers/json", "read"),
    ("POST", "/containers/create", "create"),
    ("POST", "/containers/prune", "ordinary"),
    ("HEAD", f"/containers/{_ID}/archive", "copy-out"),
    ("GET", f"/containers/{_ID}/(?:archive|export)", "copy-out"),
    ("PUT", f"/containers/{_ID}/archive", "copy-in"),
    ("GET", f"/containers/{_ID}/attach/ws", "attach"),
    ("POST", f"/containers/{_ID}/attach", "attach"),
    ("POST", f"/containers/{_ID}/exec", "exec"),
    ("POST", f"/containers/{_ID}/start", "start"),
    ("POST", f"/containers/{_ID}/(?:restart|unpause)", "restart"),
    ("POST", f"/containers/{_ID}/update", "update"),
    ("POST", f"/containers/{_ID}/(?:kill|pause|stop|wait|resize|rename)", "ordinary"),
    ("POST|DELETE", f"/containers/{_ID}/checkpoints(?:/[^/]+)?", "engine"),
    ("GET", f"/containers/{_ID}/(?:changes|checkpoints|json|logs|stats|top)", "read"),
    ("DELETE", f"/containers/{_ID}", "ordinary"),
    ("POST", "/commit", "commit"),
    ("GET", f"/exec/{_ID}/json", "read"),
    ("POST", f"/exec/{_ID}/start", "exec-start"),
    ("POST", f"/exec/{_ID}/resize", "ordinary"),
    ("POST", "/build", "build"),
    ("POST", "/build/(?:prune|cancel)", "ordinary"),
    ("POST", "/(?:session|grpc)", "session"),
    ("GET", f"/images/(?:get|{_NAME}/get)", "save"),
    ("GET", f"/images/(?:json|search|{_NAME}/(?:history|json|attestations))", "read"),
    ("GET", f"/distribution/{_NAME}/json", "read"),
    ("POST", "/images/create", "pull"),
    ("POST", "/images/load", "load"),
    ("POST", "/images/prune", "ordinary"),
    ("POST", f"/images/{_NAME}/push", "push"),
    ("POST", f"/images/{_NAME}/tag", "tag"),
    ("DELETE", f"/images/{_NAME}", "ordinary"),
    ("GET", f"/networks(?:/?|/{_ID})", "read"),
    ("POST", "/networks/create", "network"),
    ("POST", "/networks/prune", "ordinary"),
    ("POST", f"/networks/{_ID}/(?:connect|disconnect)", "connect"),
    ("DELETE", f"/networks/{_ID}", "ordinary"),
    ("GET", f"/volumes(?:/{_ID})?", "read"),
    ("POST", "/volumes/create", "volume"),
    ("POST", "/volumes/prune", "ordinary"),
    ("PUT", f"/volumes/{_ID}", "engine"),
    ("DELETE", f"/volumes/{_ID}", "ordinary"),
    ("GET", f"/plugins(?:/privileges|/{_NAME}/json)?", "read"),
    ("POST|DELETE", f"/plugins/{_NAME}", "engine"),
    ("GET", "/swarm/unlockkey", "engine"),
    ("GET", f"/(?:swarm|nodes|services|tasks|secrets|configs)(?:/{_ID}(?:/logs)?)?", "read"),
    ("POST|DELETE", f"/(?:swarm|nodes|services|secrets|configs)/{_NAME}", "engine"),
    ("GET|POST", "/debug/.*", "engine"),
    ("OPTIONS", "/.*", "read"),
)
_ROUTES = [(frozenset(methods.split("|")), re.compile(f"(?:{pattern})"), kind) for methods, pattern, kind in _TABLE]


class Route(NamedTuple):
    """What a request is for: `name` is the container, image, exec or volume in the path ("" where there is none)."""

    kind: Kind
    path: str
    name: str
    query: dict[str, list[str]]

    def one(self, key: str) -> str:
        """Return a parameter; "" where it is missing. The engine takes the first of several, so several are refused."""
        values = self.query.get(key, [])
        if len(values) > 1:
            raise ParseError(f"the parameter {key} comes more than once")
        return values[0] if values else ""


def classify(method: str, uri: str) -> Route:
    """Return the route of a request line. Raises ParseError where it is unknown, or could be read in two ways."""
    path, query = _split(uri)
    if versioned := _VERSION.fullmatch(path):
        path = versioned[2]
    for methods, pattern, kind in _ROUTES:
        if method in methods and (found := pattern.fullmatch(path)):
            return Route(kind, path, next((group for group in found.groups() if group), ""), _parameters(query))
    raise ParseError(f"{method[:10]!a} {path[:100]!a} is no route that this gate knows")


def _split(uri: str) -> tuple[str, str]:
    if len(uri) > _MAX_URI or not uri.isascii() or any(letter <= " " or letter == "\x7f" for letter in uri):
        raise ParseError("the request line is too long, or holds what does not belong there")
    if not uri.startswith("/") or uri.startswith("//") or "#" in uri:
        raise ParseError("the request line is not a path")
    raw, _, query = uri.partition("?")
    path = _decoded(raw)
    if any(part in (".", "..") for part in path.split("/")) or not _SAFE_PATH.fullmatch(path):
        raise ParseError(f"the path {path[:100]!a} is not in its plain form")
    return path, query


def _decoded(text: str) -> str:
    """Decode once, as the engine does; what would be decoded again, or is no text, is refused."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ParseError("a percent sign stands alone")
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise ParseError("the request line is not UTF-8") from None
    if "\0" in decoded:
        raise ParseError("the request line holds a NUL")
    return decoded


def _parameters(query: str) -> dict[str, list[str]]:
    """Split as Go does: `&` alone separates, `;` is an error, keys are case-sensitive."""
    found: dict[str, list[str]] = {}
    parts = [part for part in query.split("&") if part]
    if len(parts) > _MAX_PARAMETERS:
        raise ParseError("the request line has too many parameters")
    for part in parts:
        if ";" in part:
            raise ParseError("the request line holds a semicolon")
        key, _, value = part.partition("=")
        found.setdefault(_decoded(key.replace("+", " ")), []).append(_decoded(value.replace("+", " ")))
    return found
