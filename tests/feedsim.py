"""Feeds in memory, served on the loopback interface: conditional requests, ranges, and how upstreams misbehave."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import ssl
import tarfile
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import zstandard

import loopback

CASES = Path(__file__).parent / "advisory" / "cases"


def archive(records: Mapping[str, Any] | list[dict[str, Any]]) -> bytes:
    """Return a zip as OSV publishes it; records by file name (bytes or JSON), or a list that names itself."""
    named = records if isinstance(records, Mapping) else {f"{record['id']}.json": record for record in records}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, record in named.items():
            content = record if isinstance(record, bytes) else json.dumps(record).encode()
            target.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def tarball(records: Mapping[str, bytes]) -> bytes:
    """Return a tar in zstd as Red Hat publishes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as target:
        for name, content in records.items():
            member = tarfile.TarInfo(f"2026/{name}")
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return zstandard.compress(out.getvalue())


def record(identifier: str, package: str, fixed: str, ecosystem: str = "PyPI", **more: Any) -> dict[str, Any]:
    """Return a small OSV record: everything below `fixed` is affected."""
    affected = {
        "package": {"ecosystem": ecosystem, "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
    }
    return {"id": identifier, "modified": "2026-01-01T00:00:00Z", "summary": f"{package} is bad", "affected": [affected], **more}


def tracker(entries: Mapping[str, Mapping[str, str]], release: str = "bookworm") -> bytes:
    """Return a Debian tracker document: package -> CVE -> fixed version."""
    return json.dumps(
        {
            package: {
                cve: {"releases": {release: {"status": "resolved", "fixed_version": fixed, "urgency": "low"}}}
                for cve, fixed in fixes.items()
            }
            for package, fixes in entries.items()
        }
    ).encode()


def small_mirror() -> dict[str, bytes]:
    """Return a mirror of a few feeds with a record or two each."""
    lines = "#model_version:v1,score_date:2026-01-02T00:00:00+0000\ncve,epss,percentile\nCVE-2020-1,0.51234,0.98765\n"
    exploited = {"vulnerabilities": [{"cveID": "CVE-2020-1", "dateAdded": "2020-02-02"}]}
    secdb = {"packages": [{"pkg": {"name": "zlib", "secfixes": {"1.2-r1": ["CVE-2020-1"]}}}]}
    return {
        "osv/PyPI/all.zip": archive(
            [record("PYSEC-1", "Flask", "2.0", aliases=["CVE-2020-1"]), record("PYSEC-2", "jinja2", "3.0")]
        ),
        "osv/npm/all.zip": archive([record("GHSA-n", "lodash", "4.0.0", "npm")]),
        "osv/Go/all.zip": archive([record("GO-1", "stdlib", "1.20.1", "Go")]),
        "osv/Maven/all.zip": archive([record("GHSA-m", "g:a", "2.17.1", "Maven")]),
        "osv/Debian/all.zip": archive([record("DSA-1-1", "openssl", "3.0.9-1", "Debian:12", related=["CVE-2020-1"])]),
        "debian/tracker/data/json": tracker({"openssl": {"CVE-2020-1": "3.0.9-1"}}),
        "alpine/v3.20/main.json": json.dumps(secdb).encode(),
        "alpine/v3.20/community.json": b'{"packages": []}',
        "cisa/known_exploited_vulnerabilities.json": json.dumps(exploited).encode(),
        "epss/epss_scores-current.csv.gz": gzip.compress(lines.encode(), mtime=0),
    }


class FeedServer:
    """What is served, what was asked, and how to misbehave. `plan` holds, per path, a list of faults for the next answers."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.plan: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        self.url = ""
        self.weak = False
        self.validators = True
        self.encode = False
        self.delay = 0.0

    def bodies(self) -> int:
        """Bytes of bodies sent so far."""
        return self.sent

    def tag(self, path: str) -> str:
        """The entity tag of a file."""
        return ("W/" if self.weak else "") + f'"{hashlib.sha256(self.files[path]).hexdigest()[:16]}"'


def _handler(state: FeedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            path = urllib.parse.unquote(self.path.lstrip("/"))
            state.asked.append((f"HEAD {path}", dict(self.headers)))
            if path not in state.files:
                return self._answer(404, {}, b"")
            return self._answer(200, {"ETag": state.tag(path)} if state.validators else {}, b"")

        def do_GET(self) -> None:
            path = urllib.parse.unquote(self.path.lstrip("/"))
            state.asked.append((path, dict(self.headers)))
            time.sleep(state.delay)
            faults = state.plan.get(path, [])
            fault = faults.pop(0) if faults else None
            if isinstance(fault, int):
                return self._answer(fault, {"Retry-After": "0"}, b"")
            if isinstance(fault, str):
                return self._answer(302, {"Location": fault}, b"")
            if path not in state.files:
                return self._answer(404, {}, b"")
            return self._file(path, fault)

        def _file(self, path: str, fault: Any) -> None:
            body, tag = state.files[path], state.tag(path)
            headers = {"ETag": tag} if state.validators else {}
            if state.validators and self.headers.get("If-None-Match") == tag:
                return self._answer(304, headers, b"")
            if callable(fault):
                return fault(self)  # type: ignore[no-any-return]
            status, cut = 200, len(body)
            span = self.headers.get("Range")
            if span and self.headers.get("If-Range") == tag:
                start = int(span.removeprefix("bytes=").rstrip("-"))
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                status, body = 206, body[start:]
                cut = len(body)
            elif state.encode and "gzip" in self.headers.get("Accept-Encoding", ""):
                body = gzip.compress(body, mtime=0)
                cut = len(body)
                headers["Content-Encoding"] = "gzip"
            if isinstance(fault, float):
                cut = int(len(body) * fault)
            return self._answer(status, headers, body, cut)

        def _answer(self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            sent = body[: len(body) if cut is None else cut]
            state.sent += len(sent)  # before the client can have it all, so that a test that has its answer sees the count
            self.wfile.write(sent)
            if len(sent) < len(body):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def serving(files: dict[str, bytes], tls: ssl.SSLContext | None = None) -> Iterator[FeedServer]:
    """Serve `files` until the end of the block, over TLS with `tls`."""
    state = FeedServer(files)
    server = loopback.Server(("127.0.0.1", 0), _handler(state))
    if tls is not None:  # the handshake is each connection's own affair, so that one that fails disturbs no other
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
