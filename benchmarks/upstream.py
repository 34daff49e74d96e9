"""A mirror of advisories in, an upstream whose records change on demand out: served on the loopback interface, bytes counted.

OSV's archives, lists and single records are kept in memory as they would be published; every other feed is read from the mirror.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SEED = 20261125


class Upstream:
    """What is published now; `sent` counts bytes of bodies, `requests` all requests."""

    def __init__(self, mirror: Path) -> None:
        self._mirror = mirror
        self._chance = random.Random(SEED)
        self.records: dict[str, dict[str, bytes]] = {}
        for path in sorted(mirror.glob("osv/*/all.zip")):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".json")]
                self.records[path.parent.name] = {name.removesuffix(".json"): archive.read(name) for name in names}
        self._modified = {
            ecosystem: {name: json.loads(content)["modified"] for name, content in records.items()}
            for ecosystem, records in self.records.items()
        }
        self._files: dict[str, bytes] = {}
        self.sent = self.requests = 0

    def change(self, count: int, stamp: str) -> dict[str, int]:
        """Change `count` records, chosen at random among all, as of `stamp`; return how many of each ecosystem.

        What changes is the title, and the version with the fix of the first range that has one: a row of hits, an advisory.
        """
        every = [(ecosystem, name) for ecosystem, records in self.records.items() for name in records]
        touched: dict[str, int] = {}
        for ecosystem, name in self._chance.sample(every, count):
            record = json.loads(self.records[ecosystem][name])
            record["modified"] = self._modified[ecosystem][name] = stamp
            record["summary"] = f"{record.get('summary', name)} ({stamp[:10]})"
            _move(record)
            self.records[ecosystem][name] = json.dumps(record).encode()
            touched[ecosystem] = touched.get(ecosystem, 0) + 1
        self._files = {path: body for path, body in self._files.items() if path.split("/")[1] not in touched}
        return touched

    def pack(self) -> None:
        """Make every archive that is not there yet, so that nobody waits for it."""
        for ecosystem in self.records:
            self.body(f"osv/{ecosystem}/all.zip")

    def body(self, path: str) -> bytes | None:
        """Return what lies at a path; None where nothing does."""
        if path in self._files:
            return self._files[path]
        folder, _, rest = path.partition("/")
        ecosystem, _, file = rest.partition("/")
        if folder == "osv" and ecosystem in self.records:
            return self._osv(path, ecosystem, file)
        place = self._mirror / path
        return place.read_bytes() if place.is_file() else None

    def _osv(self, path: str, ecosystem: str, file: str) -> bytes | None:
        if file == "all.zip":
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
                for name, content in self.records[ecosystem].items():
                    target.writestr(f"{name}.json", content)
            self._files[path] = out.getvalue()
        elif file == "modified_id.csv":
            lines = sorted(((modified, name) for name, modified in self._modified[ecosystem].items()), reverse=True)
            self._files[path] = "".join(f"{modified},{name}\n" for modified, name in lines).encode()
        else:
            return self.records[ecosystem].get(file.removesuffix(".json"))
        return self._files[path]


def malicious_record(number: int, chance: random.Random) -> dict[str, Any]:
    """Return a record in the form of OpenSSF's malicious packages: names and versions are made up, all else is as it is there.

    https://github.com/ossf/malicious-packages
    """
    name = "".join(chance.choice("bdfgklmnprstv") + chance.choice("aeiou") for _ in range(chance.randint(2, 6)))
    name = f"@{name}/{name[::-1]}-{number}" if chance.random() < 0.5 else f"{name}-{number}"
    day = f"2025-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}T{chance.randint(0, 23):02}:00:00Z"
    digest = hashlib.sha256(name.encode()).hexdigest()
    ghsa = "GHSA-" + "-".join("".join(chance.choices("23456789cfghjmpqrvwx", k=4)) for _ in range(3))
    affected: dict[str, Any] = {
        "package": {"ecosystem": "npm", "name": name},
        "database_specific": {"cwes": [{"cweId": "CWE-506", "name": "Embedded Malicious Code"}]},
    }
    if chance.random() < 0.4:
        affected["ranges"] = [{"type": "SEMVER", "events": [{"introduced": "0"}]}]
    else:
        affected["versions"] = [
            f"{chance.randint(0, 99)}.{chance.randint(0, 9)}.{at}" for at in range(chance.choice((1, 1, 2, 5)))
        ]
    return {
        "id": f"MAL-2025-{number}",
        "modified": day,
        "published": day,
        "schema_version": "1.7.4",
        "aliases": [ghsa],
        "summary": f"Malicious code in {name} (npm)",
        "details": f"## Source: ghsa-malware ({digest})\nAny computer that has this package installed is to be considered lost.",
        "affected": [affected],
        "references": [{"type": "ADVISORY", "url": f"https://github.com/advisories/{ghsa}"}],
        "database_specific": {"malicious-packages-origins": [{"sha256": digest, "source": "ghsa-malware", "id": ghsa}]},
    }


def _move(record: dict[str, Any]) -> None:
    for affected in record.get("affected") or ():
        for block in affected.get("ranges") or ():
            for event in block.get("events") or ():
                if "fixed" in event and block.get("type") != "GIT":
                    event["fixed"] = f"{event['fixed']}.1"
                    return


@contextmanager
def serving(upstream: Upstream) -> Iterator[str]:
    """Serve until the end of the block: GET and HEAD, with entity tags."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                body = upstream.body(urllib.parse.unquote(self.path.lstrip("/")))
                upstream.requests += 1
            if body is None:
                return self._answer(404, "", b"")
            tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
            if self.headers.get("If-None-Match") == tag:
                return self._answer(304, tag, b"")
            return self._answer(200, tag, body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, status: int, tag: str, body: bytes) -> None:
            self.send_response(status)
            if tag:
                self.send_header("ETag", tag)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
                upstream.sent += len(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
