"""A registry's gate that forgets one check: a stand-in before a bare registry, to show that an attempt works where nobody looks.

It does what token services in front of registries do, written independently of pratique's: it gives tokens, reads them, and
passes on what their `access` lists. `missing` is the check that it does not make; with none missing it refuses what pratique's
gate refuses.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from loopback import Server
from pratique.enforce.registry.tokens import Access, Tokens, load_signer

Check = Literal[
    "", "algorithm", "key", "signature", "audience", "expiry", "start", "account", "readers", "grants", "scheme", "service",
    "password", "spelling",
]  # fmt: skip
ACTS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


class Lax:
    """Where it listens, and what it goes by. `may_read` says who may read a repository; nobody may change one."""

    def __init__(
        self, upstream: tuple[str, int], gate: Path, name: str, passwords: dict[str, str], may_read: Callable[[str, str], bool]
    ) -> None:
        """`gate` is the folder with a gate's key, whose tokens are read here, too."""
        self.upstream, self.name, self.passwords, self.may_read = upstream, name, passwords, may_read
        self.missing: Check = ""
        self.signer = load_signer(gate)
        self.pem = (gate / "token.crt").read_bytes()
        key = load_pem_private_key((gate / "token.key").read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        self.public = key.public_key()
        self.address = ("", 0)

    # -- tokens ----------------------------------------------------------------------------------------------------------------

    def token(self, who: str, scopes: list[str]) -> str:
        """Give a token for what may be read and, where nobody looks at readers or grants, for all that is asked."""
        found = []
        for scope in scopes:
            kind, name, actions = [*scope.split(":"), "", ""][:3]
            given = [one for one in ("pull", "push", "delete") if one in actions.split(",") and self._may(who, one, name)]
            found.append(Access(kind, name, tuple(given)))
        return Tokens(self.signer, self.name).issue(who, tuple(found), 60)[0]

    def _may(self, who: str, action: str, name: str) -> bool:
        if action == "pull":
            return self.missing == "readers" or self.may_read(who, name)
        return self.missing == "grants"

    def access(self, authorization: str) -> tuple[str, list[dict[str, Any]]] | None:
        """Return whose a token is and what it lists, None where it is refused."""
        scheme, _, token = authorization.partition(" ")
        if self.missing == "scheme" and "Bearer " in authorization:  # the last of several, as some proxies take it
            token = authorization.rpartition("Bearer ")[2]
        elif scheme.lower() != "bearer":
            return None
        with suppress(ValueError, InvalidSignature, KeyError):
            head, body, signature = token.split(".")
            self._check(json.loads(_bytes(head)), f"{head}.{body}".encode(), _bytes(signature))
            claims = json.loads(_bytes(body))
            now = time.time()
            in_time = now < claims["exp"] or self.missing == "expiry"
            begun = now >= claims["nbf"] - 5 or self.missing == "start"
            ours = claims["aud"] == self.name or self.missing == "audience"
            known = claims["sub"] in self.passwords or self.missing == "account"
            if in_time and begun and ours and known:
                return claims["sub"], claims["access"]
        return None

    def _check(self, header: dict[str, Any], signed: bytes, signature: bytes) -> None:
        if self.missing == "signature":
            return
        algorithm, public = header["alg"], self.public
        if self.missing == "algorithm" and algorithm.lower() == "none":
            return
        if self.missing == "algorithm" and algorithm == "HS256":
            if not hmac.compare_digest(hmac.digest(self.pem, signed, "sha256"), signature):
                raise InvalidSignature
            return
        if self.missing == "key" and "x5c" in header:
            certificate = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0]))
            public = certificate.public_key()  # type: ignore[assignment]  # of an EC key, as every key of these tests is
        if algorithm != "ES256" or len(signature) != 64:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        public.verify(encode_dss_signature(r, s), signed, ECDSA(hashes.SHA256()))

    # -- requests --------------------------------------------------------------------------------------------------------------

    def allows(self, method: str, target: str, authorization: str) -> bool:
        """Say whether a request is passed on."""
        found = self.access(authorization)
        if found is None and self.missing == "password" and authorization.startswith("Basic "):
            return True
        if found is None:
            return False
        who, access = found
        place = re.fullmatch(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/.*", target)
        if place is None:
            return False
        action, name = ACTS.get(method, "push"), place[1]
        listed = any(one["name"] == name and action in one["actions"] for one in access)
        return listed and (self.missing != "" or self._may(who, action, name))


class _Handler(BaseHTTPRequestHandler):
    lax: ClassVar[Lax]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path.startswith("/token"):
            self._give()
            return
        shown = self.headers.get("Authorization", "")
        if not self.lax.allows(self.command, self.path, shown):
            self._say(401, b"{}", [])
            return
        passed = {name: value for name, value in self.headers.items() if name.lower() not in ("authorization", "connection")}
        upstream = http.client.HTTPConnection(*self.lax.upstream, timeout=60)
        try:
            upstream.request(self.command, self.path, body, passed)
            answer = upstream.getresponse()
            kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("content-length", "transfer-encoding", "date")]
            self._say(answer.status, answer.read(), kept)
        finally:
            upstream.close()

    def _give(self) -> None:
        pairs = parse_qsl(self.path.partition("?")[2])
        name, _, secret = base64.b64decode(self.headers.get("Authorization", "Basic ").partition(" ")[2]).decode().partition(":")
        right = self.lax.passwords.get(name) == secret or self.lax.missing == "password"
        ours = dict(pairs).get("service") == self.lax.name or self.lax.missing == "service"
        if not (right and ours):
            self._say(401, b"{}", [])
            return
        scopes = [one for key, value in pairs if key == "scope" for one in value.split(" ")]
        self._say(200, json.dumps({"token": self.lax.token(name, scopes)}).encode(), [])

    def _say(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names


@contextmanager
def listening(lax: Lax) -> Iterator[Lax]:
    """Serve while the block runs."""
    server = Server(("127.0.0.1", 0), type("_Handler", (_Handler,), {"lax": lax}))
    lax.address = ("127.0.0.1", int(server.server_address[1]))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield lax
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
