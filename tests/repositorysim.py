"""A publisher with a small database and keys, a web server that can misbehave, and what an attacker with some keys can make."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, TargetFile

import loopback
from feedsim import archive, record, small_mirror
from pratique.advisory.feeds import sources
from pratique.advisory.lookup import open_database
from pratique.advisory.repository.keys import Ring
from pratique.advisory.repository.publish import How, Published, publish
from pratique.advisory.repository.shelf import Folder, Shelf
from pratique.advisory.update import Options, update

NOW = datetime(2026, 11, 25, tzinfo=UTC)
_PATHS = ("osv/PyPI/all.zip", "osv/npm/all.zip", "cisa/known_exploited_vulnerabilities.json", "epss/epss_scores-current.csv.gz")
# Enough records that a change is much less than the whole.
BULK = [record(f"PYSEC-2020-{number}", f"package-{number}", f"{number}.1", details="x") for number in range(300)]


class Publisher:
    """A database that is updated from a mirror in a folder, and published to another."""

    def __init__(self, folder: Path) -> None:
        self.mirror, self.cache, self.keys, self.dest = (folder / name for name in ("mirror", "cache", "keys", "dest"))
        self.shelf: Shelf = Folder(self.dest)
        if not folder.exists():
            for path in _PATHS:
                self.offer(path, small_mirror()[path])
            self.learn("2.0")

    @property
    def root(self) -> bytes:
        """The first root: what clients trust."""
        return (self.keys / "roots/1.root.json").read_bytes()

    def offer(self, path: str, content: bytes) -> None:
        """Put a file into the mirror."""
        place = self.mirror / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def learn(self, fixed: str) -> None:
        """Let upstream say that Flask is fixed in another version."""
        self.offer("osv/PyPI/all.zip", archive([*BULK, record("PYSEC-1", "Flask", fixed, aliases=["CVE-2020-1"])]))

    def publish(self, now: datetime = NOW, **how: Any) -> Published:
        """Update and publish."""
        names = sorted(name for name, source in sources().items() if source.feed.path in _PATHS)
        outcomes = update(self.cache, names, Options(mirror=self.mirror.as_uri()), now=lambda: now)
        assert all(outcome.status != "failed" for outcome in outcomes)
        return publish(self.cache, self.shelf, self.keys, How(now=now, **how))

    # -- what an attacker with keys does ----------------------------------------------------------------------------------------

    def role(self, role: str) -> tuple[Path, Metadata[Any]]:
        """Return the newest metadata of a role and where it lies."""
        folder = self.dest / "metadata"
        number = json.loads((folder / "timestamp.json").read_bytes())["signed"]["version"]
        path = folder / ("timestamp.json" if role == "timestamp" else f"{number}.{role}.json")
        return path, Metadata.from_bytes(path.read_bytes())

    def forge(self, role: str, change: Callable[[Any], None], signers: Ring | None = None) -> None:
        """Change what a role signed and sign it again, with it what vouches for it: by all keys of the ring that fit."""
        ring = signers or Ring.load(self.keys)
        chain = ("targets", "snapshot", "timestamp")
        content = b""
        for at, name in enumerate(chain[chain.index(role) :]):
            path, made = self.role(name)
            if at == 0:
                change(made.signed)
            elif name == "snapshot":
                made.signed.meta["targets.json"] = MetaFile.from_data(made.signed.version, content, ["sha256"])
            else:
                made.signed.snapshot_meta = MetaFile.from_data(made.signed.version, content, ["sha256"])
            keyids = list(made.signatures)
            made.signatures.clear()
            for keyid in keyids:
                made.sign(ring.signers[keyid], append=True)
            content = made.to_bytes()
            path.write_bytes(content)

    def target(self, part: str) -> tuple[str, TargetFile, Path]:
        """Return name, signed facts and place of the one target with `part` in its name."""
        (name,) = [name for name in self.role("targets")[1].signed.targets if part in name]
        target = self.role("targets")[1].signed.targets[name]
        folder, _, base = name.rpartition("/")
        return name, target, self.dest / "targets" / folder / f"{target.hashes['sha256']}.{base}"

    def replace(self, part: str, content: bytes) -> None:
        """Sign other content for a target."""
        name, _, path = self.target(part)
        new = TargetFile.from_data(name, content, ["sha256"])
        (path.parent / f"{new.hashes['sha256']}.{name.rpartition('/')[2]}").write_bytes(content)
        self.forge("targets", lambda signed: signed.targets.update({name: new}))


def fixed_in(cache: Path, package: str = "Flask") -> str:
    """Return what the database of `cache` says; "" where it knows nothing."""
    with open_database(cache) as database:
        hits = database.lookup("PyPI", [package]).get(package, []) if database.has("PyPI") else []
        return next((hit.ranges[0].upper for hit in hits if hit.ranges), "")


# -- the web server -------------------------------------------------------------------------------------------------------------

Fault = Callable[[BaseHTTPRequestHandler, bytes], None]


class Site:
    """A folder that is served. `faults` maps a part of a path to what is done instead of answering it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, Fault] = {}
        self.asked: list[str] = []
        self.ranges = True
        self.url = ""


def says(content: bytes) -> Fault:
    """Answer with this."""

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def truncated(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Answer with half, and call it the whole."""
    says(body[: len(body) // 2])(handler, body)


def breaks(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Promise the whole, and close after half of what is left."""
    at = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    handler.send_response(206 if at else 200)
    handler.send_header("Content-Range", f"bytes {at}-{len(body) - 1}/{len(body)}")
    handler.send_header("Content-Length", str(len(body) - at))
    handler.end_headers()
    handler.wfile.write(body[at : at + max(1, (len(body) - at) // 2)])
    handler.close_connection = True


def breaks_at_once(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Promise the whole, and send nothing."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    """Send without end, as fast as it goes."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    while True:
        handler.wfile.write(b"[" * 65536)


def slow(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Send a byte now and then."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for byte in body:
        handler.wfile.write(bytes((byte,)))
        time.sleep(0.02)


def status(code: int) -> Fault:
    """Refuse with a status."""

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.send_header("Retry-After", "0")
        handler.end_headers()

    return answer


@contextmanager
def web(folder: Path) -> Iterator[Site]:
    """Serve a folder until the end of the block."""
    site = Site(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            site.asked.append(path)
            file = site.folder / path
            body = file.read_bytes() if file.is_file() else b""
            fault = next((fault for part, fault in site.faults.items() if part in path), None)
            if fault is not None:
                fault(self, body)
            elif not file.is_file():
                status(404)(self, b"")
            else:
                says(body)(self, body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = loopback.Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
