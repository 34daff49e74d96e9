"""A registry on a loopback address, at protocol level: tokens, redirects, faults, and a record of all that it was asked."""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, urlsplit

import imagebuilder as ib
import loopback


class Asked(NamedTuple):
    """One request as it came: method, path with query, headers in lower case, body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to answer instead of the truth, or (`cut`) how much of the truth before the connection breaks."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int = -1


@dataclass
class Registry:
    """What it holds and how it behaves. `faults` maps a part of "METHOD path" to answers, each used once."""

    repositories: dict[str, dict[str, tuple[str, bytes]]] = field(default_factory=dict)
    referrers: dict[str, list[dict[str, object]]] | None = None  # by digest; None: a registry that does not know the way
    auth: Literal["none", "basic", "bearer"] = "none"
    users: dict[str, str] = field(default_factory=dict)
    identity_token: str = ""
    realm: str = ""
    redirect_blobs: str = ""
    head_manifests: bool = True
    ranges: bool = True
    tokens: set[str] = field(default_factory=set)
    faults: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    address: str = ""

    def add(self, repository: str, image: ib.Image, *tags: str) -> ib.Image:
        """Push an image."""
        held = self.repositories.setdefault(repository, {})
        for digest, data in image.blobs.items():
            held[digest] = (image.media_type if digest == image.digest else "application/octet-stream", data)
        for tag in tags:
            held[tag] = (image.media_type, image.manifest)
        return image

    def add_index(self, repository: str, images: list[ib.Image], *tags: str) -> str:
        """Push a multi-platform image; return the digest of its index."""
        for image in images:
            self.add(repository, image)
        data = ib.index([image.descriptor() for image in images])
        for name in (ib.digest(data), *tags):
            self.repositories[repository][name] = (ib.OCI_INDEX, data)
        return ib.digest(data)

    def paths(self, method: str = "") -> list[str]:
        """What was asked for, in order; of one method or all."""
        return [request.path for request in self.asked if request.method in (method or request.method)]

    # -- behaviour --------------------------------------------------------------------------------------------------------------

    def answer(self, request: Asked) -> Answer:
        """Answer a request."""
        url = urlsplit(request.path)
        for part, answers in self.faults.items():
            if part in f"{request.method} {url.path}" and answers and answers[0].cut < 0:
                return answers.pop(0)
        if url.path == "/token":
            return self._token(request, parse_qs(url.query or request.body.decode()))
        if self.auth != "none" and not self._allowed(request.headers.get("authorization", "")):
            scheme = (
                f'Bearer realm="{self.realm or self.address + "/token"}",service="sim"'
                if self.auth == "bearer"
                else 'Basic realm="sim"'
            )
            body = ib.encode({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})
            return Answer(401, {"WWW-Authenticate": scheme, "Content-Type": "application/json"}, body)
        if url.path == "/v2/":
            return Answer(200, {}, b"{}")
        match = re.fullmatch(r"/v2/(.+)/referrers/([^/]+)", url.path)
        if match and self.referrers is not None:
            return Answer(200, {"Content-Type": ib.OCI_INDEX}, ib.index(self.referrers.get(match[2], [])))
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", url.path)
        held = self.repositories.get(match[1], {}).get(match[3]) if match else None
        if match is None or held is None:
            return Answer(404, {}, ib.encode({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}))
        return self._manifest(request, *held) if match[2] == "manifests" else self._blob(request, held[1])

    def _allowed(self, authorization: str) -> bool:
        if self.auth == "basic":
            return self._is_user(authorization)
        return authorization.removeprefix("Bearer ") in self.tokens

    def _is_user(self, authorization: str) -> bool:
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return bool(authorization) and self.users.get(user) == password

    def _token(self, request: Asked, fields: dict[str, list[str]]) -> Answer:
        authorization = request.headers.get("authorization", "")
        if request.method == "POST":
            fine = bool(self.identity_token) and fields.get("refresh_token") == [self.identity_token]
        else:
            fine = self._is_user(authorization) if self.users or authorization else True
        if not fine:
            return Answer(401, {}, b"{}")
        token = f"token-{len(self.tokens)}"
        self.tokens.add(token)
        return Answer(200, {}, ib.encode({"token": token, "expires_in": 60}))

    def _manifest(self, request: Asked, media_type: str, data: bytes) -> Answer:
        if request.method == "HEAD" and not self.head_manifests:
            return Answer(405)
        return Answer(200, {"Content-Type": media_type, "Docker-Content-Digest": ib.digest(data)}, data)

    def _blob(self, request: Asked, data: bytes) -> Answer:
        if self.redirect_blobs:
            return Answer(307, {"Location": f"{self.redirect_blobs}/storage/{ib.digest(data)}"})
        return self.part(request, data)

    def part(self, request: Asked, data: bytes) -> Answer:
        """Answer with a blob, from an offset if that is asked for; a fault with `cut` breaks it off."""
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        start = int(match[1]) if match and self.ranges else 0
        if start >= len(data) > 0:
            return Answer(416)
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        cut = next((answers.pop(0).cut for part, answers in self.faults.items() if part in request.path and answers), -1)
        return Answer(206 if start else 200, headers, data[start:], cut)


class _UnixServer(loopback.Server):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """Bind without asking for a host name, which a socket file has not."""
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "unix", 0


@contextmanager
def serve(answer: Callable[[Asked], Answer], asked: list[Asked], path: Path | None = None) -> Iterator[str]:
    """Serve on a free port, or on a unix socket at `path`; yield the address http://127.0.0.1:PORT or unix://PATH."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            request = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            asked.append(request)
            found = answer(request)
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(found.body if found.cut < 0 else found.body[: found.cut])
            if found.cut >= 0:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = handle_any  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing: a test that fails shows what was asked."""

    server = _UnixServer(str(path), Handler) if path else loopback.Server(("127.0.0.1", 0), Handler)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"unix://{path}" if path else f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running(registry: Registry | None = None) -> Iterator[Registry]:
    """Run a registry; its `address` says where, `registry.host` is without the scheme."""
    registry = registry or Registry()
    with serve(registry.answer, registry.asked) as registry.address:
        yield registry


def host(registry: Registry) -> str:
    """127.0.0.1:PORT."""
    return registry.address.removeprefix("http://")


def docker_config(*logins: tuple[str, str, str]) -> bytes:
    """A Docker configuration with logins: (registry, user, password)."""
    pack = [(name, base64.b64encode(f"{user}:{password}".encode()).decode()) for name, user, password in logins]
    return json.dumps({"auths": {name: {"auth": value} for name, value in pack}}).encode()
