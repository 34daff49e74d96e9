"""The address of a feed in, a complete local file out, or the word that nothing changed. Written once, for every provider.

Conditional requests, resumed downloads, back-off, size and time bounds, redirects to https only. A download lies beside the
database until it is whole; what is stopped half-way stays there to be resumed and is never read.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote, unquote, urlsplit

import msgspec

from pratique._kit.http import explain
from pratique.advisory import proof
from pratique.advisory.download import bounded, discard, gunzip, note, retry_after
from pratique.advisory.feeds import BESIDE, Step
from pratique.advisory.line import ANSWER_SECONDS, Line
from pratique.advisory.members import Increment
from pratique.model.advisory import Feed
from pratique.model.errors import FeedError, ParseError

if TYPE_CHECKING:
    import httpx2

# An upstream that is busy is asked again after 1, 2, 4 s and a little, or when it says; nobody waits longer than a minute.
ATTEMPTS = 4
# Upstreams ask for few connections at a time; more bring nothing, as one feed's transfer fills most lines.
PARALLEL = 4
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
# On the average, once a download has gone on for a while: what is slower than a modem is no upstream, and holds everybody up.
_SLOWEST = 4 << 10  # bytes a second
_SETTLING_SECONDS = 60.0
# One feed in all: the largest (300 MB) over 3 Mbit/s.
_TOTAL_SECONDS = 900.0
_MAX_REDIRECTS = 5
# What a step reads is a name or a short list.
_STEP_BYTES = 1 << 20
_PACKED = (".zip", ".gz", ".bz2", ".zst")
_MISSING = frozenset({404, 410})
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
# Of what `_kit.http.explain` tells apart.
_LASTING = frozenset({"name", "tls", "proxy"})
_TRUST = "an authority of your own is trusted by SSL_CERT_FILE"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

Progress = Callable[[str, int, int], None]  # feed, bytes so far, bytes in all (0: not known)


class Validators(msgspec.Struct, frozen=True):
    """What makes a request conditional; `encoding` is the content coding of a partial download."""

    url: str = ""
    etag: str = ""
    last_modified: str = ""
    encoding: str = ""


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A feed that was asked with success. `path` is None when nothing changed; `temporary` says that the caller may remove it.

    `increment` holds single records instead, where upstream offers them: see `update`.
    """

    path: Path | None
    validators: Validators
    temporary: bool = True
    increment: Increment | None = None


class MissingError(FeedError):
    """There is nothing at that address."""


class _BusyError(Exception):
    """Worth another try, after `pause` seconds if the other side named a time."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.pause = pause


class _StartOverError(Exception):
    """What was downloaded so far does not belong to what is there now."""


def address(feed: Feed, mirror: str) -> str:
    """Return where to fetch: upstream, or the same path below the mirror's base address. Raises FeedError for an odd mirror."""
    if not mirror:
        return feed.url
    if urlsplit(mirror).scheme not in {"http", "https", "file"}:
        raise FeedError(f"{mirror!r} is no mirror address", hint="http://, https:// and file:// are understood")
    return f"{mirror.rstrip('/')}/{quote(feed.path)}"


class Fetcher:
    """Fetches feeds into `folder`. One may be used from several threads; `stop` ends all of them, also those that wait."""

    def __init__(self, folder: Path, *, mirror: str = "", attempts: int = ATTEMPTS, progress: Progress | None = None) -> None:
        self._folder = folder
        self._mirror = mirror
        self._attempts = attempts
        self._progress = progress
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._gate = threading.BoundedSemaphore(PARALLEL)
        self._lines: list[Line] = []
        self._idle: list[Line] = []

    def stop(self) -> None:
        """Make every fetch under way raise FeedError soon: who waits for a dead server is woken by the end of the connection."""
        self._stopped.set()
        with self._lock:
            for line in self._lines:
                line.hang_up()

    def close(self) -> None:
        with self._lock:
            for line in self._lines:
                line.close()

    @property
    def is_local(self) -> bool:
        """Whether feeds come from a folder of this machine."""
        return self._mirror.startswith("file:")

    def address(self, feed: Feed) -> str:
        """Return where a feed is fetched from, its route apart."""
        return address(feed, self._mirror)

    def validators(self, feed: Feed) -> Validators | None:
        """Ask what a conditional request for a feed would be made with; None where that, or the feed, cannot be had."""
        import httpx2

        url = address(feed, self._mirror)
        try:
            until = time.monotonic() + ANSWER_SECONDS
            with self._gate, self._open(url, {"Accept-Encoding": _codings(feed)}, until, "HEAD") as response:
                found = Validators(url, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))
                return found if response.status_code == 200 and (found.etag or found.last_modified) else None
        except (httpx2.HTTPError, FeedError):
            return None  # the request that matters says what is wrong

    def fetch(self, feed: Feed, known: Validators, route: Sequence[Step] = ()) -> Fetched:
        """Bring the feed, unless it is still what `known` describes. Raises FeedError, whatever went wrong.

        `route` leads from the feed's address to the feed, step by step; a mirror has the feed itself in its place.
        """
        deadline = time.monotonic() + _TOTAL_SECONDS
        url, digest = address(feed, self._mirror), ""
        if not self._mirror:
            for step in route:
                url, digest = self._step(feed, url, step, deadline)
        fetched = self._fetch(feed, url, known if known.url == url else Validators(), deadline)
        if digest and fetched.path is not None:
            proof.verify(fetched.path, self._beside(feed, url, deadline) if digest == BESIDE else digest, url)
        return fetched

    def small(self, feed: Feed, url: str, deadline: float | None = None, max_bytes: int = _STEP_BYTES) -> bytes:
        """Bring a small file that belongs to a feed, whole and in memory. Raises FeedError."""
        deadline = time.monotonic() + _TOTAL_SECONDS if deadline is None else deadline
        part = f"{feed.name}.{hashlib.sha256(url.encode()).hexdigest()[:16]}"  # its own place, as several come at once
        fetched = self._fetch(msgspec.structs.replace(feed, name=part, max_bytes=max_bytes), url, Validators(), deadline)
        if fetched.path is None:
            raise FeedError(f"{url}: gave nothing")
        try:
            return fetched.path.read_bytes()
        finally:
            if fetched.temporary:
                fetched.path.unlink(missing_ok=True)

    def _step(self, feed: Feed, url: str, step: Step, deadline: float) -> tuple[str, str]:
        try:
            target, _, fragment = step(url, self.small(feed, url, deadline)).partition("#")
        except ParseError as error:
            raise FeedError(error.message) from error
        there, here = urlsplit(target), urlsplit(url)
        if (there.scheme, there.netloc) != (here.scheme, here.netloc):
            raise FeedError(f"{url}: names {target!r}, which is elsewhere")
        return target, fragment

    def _beside(self, feed: Feed, url: str, deadline: float) -> str:
        """Return what the file beside a feed says of it; nothing where there is no such file."""
        try:
            found = proof.listed(self.small(feed, f"{url}.sha256", deadline))
        except MissingError:
            return ""
        if not found:
            raise FeedError(f"{url}.sha256: is no digest")
        return f"sha256={found}"

    def _fetch(self, feed: Feed, url: str, known: Validators, deadline: float) -> Fetched:
        if url.startswith("file:"):
            return _local(feed, url, known)
        part = self._folder / f"{feed.name.replace('/', '-').replace(' ', '_')}.part"
        for attempt in range(1, self._attempts + 1):
            try:
                return self._try(feed, url, known, part, deadline)
            except _StartOverError:
                discard(part)
            except _BusyError as error:
                if attempt == self._attempts:
                    raise FeedError(f"{url}: {error}") from error
                self._pause(error.pause, attempt, deadline, url)
            except OSError as error:
                raise FeedError(f"{part.parent} cannot be written: {error}") from error
        raise FeedError(f"{url}: changed while it was being downloaded")

    def _pause(self, asked: float | None, attempt: int, deadline: float, url: str) -> None:
        """Wait as long as is asked for; a feed that wants more than a minute keeps its last good data, and is left alone."""
        pause = asked if asked is not None else _FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311
        if pause > _LONGEST_PAUSE:
            raise FeedError(f"{url}: is busy, and asks to be left alone for {pause:.0f} s")
        if time.monotonic() + pause > deadline:
            raise FeedError(f"{url}: too slow")
        if self._stopped.wait(pause):
            raise FeedError(f"{url}: stopped")

    @contextlib.contextmanager
    def _line(self) -> Iterator[Line]:
        """Borrow a line that nobody uses; there are no more than `PARALLEL`, as the gate is passed before."""
        with self._lock:
            line = self._idle.pop() if self._idle else None
            if line is None:
                self._lines.append(line := Line(self._lines[0].trust if self._lines else None))
        try:
            yield line
        finally:
            with self._lock:
                self._idle.append(line)

    def _try(self, feed: Feed, url: str, known: Validators, part: Path, deadline: float) -> Fetched:
        import httpx2

        begun = _begun(part, url)
        try:
            with self._gate, self._open(url, _headers(feed, known, begun, part), deadline) as response:
                if response.status_code == 304 and begun is None and (known.etag or known.last_modified):
                    return Fetched(path=None, validators=known)
                if response.status_code in _BUSY:
                    raise _BusyError(f"answered {response.status_code}", retry_after(response.headers.get("Retry-After", "")))
                if response.status_code == 416 and begun is not None:
                    raise _StartOverError
                if response.status_code not in {200, 206}:
                    kind = MissingError if response.status_code in _MISSING else FeedError
                    raise kind(f"{url}: answered {response.status_code}")
                validators = self._save(feed, response, url, part, deadline)
                if wrong := proof.differs(part, proof.stated(response.headers)):
                    discard(part)
                    raise _BusyError(f"what came is not what was announced: its {wrong} differs")
        except httpx2.TransportError as error:
            raise _trouble(url, error) from error
        except httpx2.HTTPError as error:
            raise FeedError(f"{url}: {error}") from error
        return Fetched(path=_decoded(feed, part, validators), validators=validators)

    @contextlib.contextmanager
    def _open(self, url: str, headers: dict[str, str], deadline: float, method: str = "GET") -> Iterator[httpx2.Response]:
        """Follow redirects by hand: to https, or within the same loopback host."""
        at = url
        for _ in range(_MAX_REDIRECTS + 1):
            if self._stopped.is_set():
                raise FeedError(f"{url}: stopped")
            seconds = max(0.0, deadline - time.monotonic())
            with self._line() as line, line.ask(method, at, headers, seconds) as response:
                if not response.has_redirect_location:
                    yield response
                    return
                target = str(response.url.join(response.headers["Location"]))
            there, here = urlsplit(target), urlsplit(at)
            same_loopback = there.scheme == "http" and there.hostname in _LOOPBACK and there.hostname == here.hostname
            if there.scheme != "https" and not same_loopback:
                raise FeedError(f"{url}: led to {target!r}, which is not https")
            at = target
        raise FeedError(f"{url}: more than {_MAX_REDIRECTS} redirects")

    def _save(self, feed: Feed, response: httpx2.Response, url: str, part: Path, deadline: float) -> Validators:
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        validators = Validators(url, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""), encoding)
        offset = 0
        if response.status_code == 206:
            offset = part.stat().st_size
            begun = _begun(part, url)
            span = response.headers.get("Content-Range", "")
            if begun is None or begun.encoding != encoding or not span.startswith(f"bytes {offset}-"):
                raise _StartOverError
        length = int(response.headers.get("Content-Length", "0") or 0)
        bounded(feed, offset + length)
        note(part).write_bytes(msgspec.json.encode(validators))
        with part.open("r+b" if offset else "wb") as stream:
            stream.seek(offset)
            self._pour(feed, response, stream, offset, deadline)
            stream.truncate()
        return validators

    def _pour(self, feed: Feed, response: httpx2.Response, stream: BinaryIO, done: int, deadline: float) -> None:
        begun, total = done, done + int(response.headers.get("Content-Length", "0") or 0)
        started = time.monotonic()
        for chunk in response.iter_raw():
            done += len(chunk)
            bounded(feed, done)
            stream.write(chunk)
            if self._progress is not None:
                self._progress(feed.name, done, total)
            if self._stopped.is_set():
                raise FeedError(f"{feed.name}: stopped")
            if time.monotonic() > deadline:
                raise FeedError(f"{feed.name}: not complete after {_TOTAL_SECONDS:.0f} s; the next update goes on from there")
            passed = time.monotonic() - started
            if passed > _SETTLING_SECONDS and done - begun < passed * _SLOWEST:
                raise FeedError(f"{feed.name}: slower than {_SLOWEST} bytes a second; the next update goes on from there")


def _trouble(url: str, error: Exception) -> Exception:
    """Say what is wrong with a connection: what another try would meet again is final."""
    found = explain(error)
    if found.kind not in _LASTING:
        return _BusyError(found.message)
    hint = _TRUST if found.kind == "tls" else found.hint
    return FeedError(f"{url}: {found.message}" + (f" ({hint})" if hint else ""))


def _codings(feed: Feed) -> str:
    """Archives are compressed already; documents shrink tenfold."""
    return "identity" if feed.path.endswith(_PACKED) else "gzip, identity;q=0.5"


def _headers(feed: Feed, known: Validators, begun: Validators | None, part: Path) -> dict[str, str]:
    headers = {"Accept-Encoding": _codings(feed)}
    if begun is not None:
        headers["Accept-Encoding"] = begun.encoding
        headers["Range"] = f"bytes={part.stat().st_size}-"
        headers["If-Range"] = begun.etag or begun.last_modified
        return headers
    if known.etag:
        headers["If-None-Match"] = known.etag
    if known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    return headers


def _begun(part: Path, url: str) -> Validators | None:
    """Return the validators of a partial download that can be resumed; a weak ETag cannot vouch for bytes (RFC 9110, 13.1.5)."""
    try:
        begun = msgspec.json.decode(note(part).read_bytes(), type=Validators)
        size = part.stat().st_size
    except (OSError, msgspec.MsgspecError):
        return None
    strong = begun.etag if not begun.etag.startswith("W/") else ""
    return begun if size and begun.url == url and (strong or (begun.last_modified and not begun.etag)) else None


def _decoded(feed: Feed, part: Path, validators: Validators) -> Path:
    """Return the complete file, its content coding undone; the partial one is gone."""
    whole = part.with_suffix(".whole")
    if validators.encoding == "identity":
        part.replace(whole)
    elif validators.encoding == "gzip":
        gunzip(feed, part, whole)
    else:
        discard(part)
        raise FeedError(f"{validators.url}: in the unknown coding {validators.encoding!r}")
    discard(part)
    return whole


def _local(feed: Feed, url: str, known: Validators) -> Fetched:
    """Take a feed from a mirror on this machine: nothing is copied, size and time of change serve as validators."""
    path = Path(unquote(urlsplit(url).path))
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise MissingError(f"{url}: not there") from error
    except OSError as error:
        raise FeedError(f"{url}: {error.strerror}") from error
    if not path.is_file():
        raise FeedError(f"{url}: not a file")
    bounded(feed, stat.st_size)
    seen = Validators(url, f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"')
    if seen.etag == known.etag:
        return Fetched(path=None, validators=known, temporary=False)
    return Fetched(path=path, validators=seen, temporary=False)
