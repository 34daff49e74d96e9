"""Requests in, bounded and checked bytes out: retries with back-off, redirects that leak nothing, downloads that resume.

Unreachable     no answer, or none in time; `kind` says why: name, refused, tls, timeout, protocol, proxy, slow
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pratique._version import __version__
from pratique.model.errors import CouldNotError, IntegrityError, TargetError

if TYPE_CHECKING:
    import ssl

    import httpx2

CONNECT_SECONDS = 10.0  # a server that takes longer to accept is down for a person who waits
READ_SECONDS = 60.0  # between two pieces; registries fetch cold blobs from slow storage before the first byte
ATTEMPTS = 5  # with the pauses below: about 15 seconds of trouble are sat out
FIRST_PAUSE = 0.5
MAX_PAUSE = 30.0  # a server that asks for more (Docker Hub: hours) is not waited for; the person is told
MAX_REDIRECTS = 5  # registry -> storage is one; some clouds make it two
MAX_FRUITLESS = 4  # breaks of a download in a row that brought nothing new
CHUNK = 1 << 20
BODY_SECONDS = 120.0  # for a small body in all: a server that drips byte by byte would else hold us for ever
GRACE_SECONDS = 600.0  # for a download of any size, and on top of it what the slowest rate asks for
SLOWEST = 10 << 10  # bytes a second; below that a layer takes days and somebody is being held up

RETRIED = frozenset({429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SECRETS = ("authorization", "cookie", "proxy-authorization")

Sleep = Callable[[float], None]


class Unreachable(CouldNotError):  # noqa: N818 - a state of the other side, as one says it
    """No answer came. `kind` is one of name, refused, tls, timeout, protocol, proxy, slow."""

    def __init__(self, message: str, kind: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


def make_client(*, verify: ssl.SSLContext | bool = True, direct: bool = False, socket: str = "") -> httpx2.Client:
    """Make a client with our time-outs. `direct` ignores proxies of the environment; `socket` is the path of a unix socket."""
    import httpx2

    timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    headers = {"User-Agent": f"pratique/{__version__}", "Accept-Encoding": "identity"}  # digests are of the bytes as stored
    transport = httpx2.HTTPTransport(uds=socket) if socket else None
    if direct and verify is True:  # without proxies, but with the authorities that SSL_CERT_FILE names
        verify = httpx2.create_ssl_context()
    return httpx2.Client(verify=verify, timeout=timeout, headers=headers, transport=transport, trust_env=not (direct or socket))


def explain(error: BaseException) -> Unreachable:
    """Turn an error of the HTTP client into one clear sentence without the host, which the caller puts in front."""
    import socket  # noqa: PLC0415
    import ssl

    import httpx2

    chain = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in chain) or "Name or service" in str(error):
        return Unreachable("the name is not known (DNS)", "name", hint="check the spelling and the network")
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = "trust its authority by SSL_CERT_FILE, or allow it with --insecure-registry"
            return Unreachable(f"its certificate is not trusted: {cause.verify_message or cause.reason}", "tls", hint=hint)
    if any(isinstance(cause, ssl.SSLError) for cause in chain) or "SSL" in str(error):
        return Unreachable("it does not speak TLS as it should", "tls", hint="plain HTTP has to be allowed for it")
    if isinstance(error, httpx2.TimeoutException):
        return Unreachable("it did not answer in time", "timeout")
    if isinstance(error, httpx2.ProxyError):
        return Unreachable(f"the proxy refused: {error}", "proxy", hint="see HTTPS_PROXY and NO_PROXY")
    if isinstance(error, httpx2.ConnectError):
        reason = next((cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror), str(error))
        return Unreachable(f"no connection: {reason}", "refused")
    return Unreachable(f"the connection broke: {error or type(error).__name__}", "protocol")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


# -- one exchange ---------------------------------------------------------------------------------------------------------------


def exchange(
    client: httpx2.Client, request: httpx2.Request, *, attempts: int = ATTEMPTS, sleep: Sleep = time.sleep
) -> httpx2.Response:
    """Send a request, try again with back-off on 429, 5xx and broken connections, follow redirects. Close what it returns.

    The last answer is returned whatever its status. Redirects are followed for GET and HEAD; credentials never leave the origin
    they were for, and nothing goes from https to http. Raises Unreachable, and IntegrityError for a redirect that is not allowed.
    """
    import httpx2

    for attempt in range(attempts):
        last = attempt == attempts - 1
        try:
            response = _follow(client, request)
        except httpx2.InvalidURL:
            raise Unreachable("it redirects to an address that is none", "protocol") from None
        except httpx2.TransportError as error:
            trouble = explain(error)
            if last or trouble.kind in ("name", "refused", "tls", "proxy"):
                raise trouble from error
            sleep(_back_off(attempt))
            continue
        pause = pause_of(response, attempt)
        if last or response.status_code not in RETRIED or pause > MAX_PAUSE:
            return response
        response.close()
        sleep(pause)
    raise AssertionError("the loop returns or raises")


def _back_off(attempt: int) -> float:
    return float(FIRST_PAUSE * 2**attempt * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, so that many do not come back at once


def pause_of(response: httpx2.Response, attempt: int = 0) -> float:
    """Return how long to wait: Retry-After in seconds or as a date (RFC 9110, 10.2.3), else the back-off of this attempt."""
    stated = response.headers.get("retry-after", "").strip()
    if stated.isdigit():
        return float(stated[:9])
    if stated:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415

        try:
            return max(0.0, parsedate_to_datetime(stated).timestamp() - time.time())
        except (ValueError, TypeError):
            pass
    return _back_off(attempt)


def _follow(client: httpx2.Client, request: httpx2.Request) -> httpx2.Response:
    for _ in range(MAX_REDIRECTS + 1):
        response = client.send(request, stream=True)
        target = response.headers.get("location", "")
        if response.status_code not in _REDIRECTS or not target or request.method not in ("GET", "HEAD"):
            return response
        response.close()
        request = _redirected(client, request, target)
    raise IntegrityError(f"{request.url.host} redirects more than {MAX_REDIRECTS} times")


def _redirected(client: httpx2.Client, request: httpx2.Request, target: str) -> httpx2.Request:
    url = request.url.join(target)
    if url.scheme not in ("http", "https") or (request.url.scheme == "https" and url.scheme != "https"):
        raise IntegrityError(f"{request.url.host} redirects to {url.scheme}://{url.host}, which is not allowed")
    keep = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
    if (url.scheme, url.host, url.port) != (request.url.scheme, request.url.host, request.url.port):
        keep = {name: value for name, value in keep.items() if name not in _SECRETS}
    return client.build_request(request.method, url, headers=keep)


def read_body(response: httpx2.Response, limit: int, what: str) -> bytes:
    """Read a whole body of at most `limit` bytes and close it. Raises TargetError beyond that, Unreachable if it breaks off."""
    import httpx2

    parts: list[bytes] = []
    have = 0
    end = time.monotonic() + BODY_SECONDS
    try:
        for piece in response.iter_raw(CHUNK):
            have += len(piece)
            if have > limit:
                raise TargetError(f"{what} is larger than the limit of {limit} bytes")
            parts.append(piece)
            if time.monotonic() > end:
                raise Unreachable(f"its answer took more than {BODY_SECONDS:g} seconds", "slow")
    except httpx2.TransportError as error:
        raise explain(error) from error
    finally:
        response.close()
    return b"".join(parts)


# -- downloads ------------------------------------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """What a download must be: its sha256 in hexadecimal digits, and its size in bytes."""

    sha256: str
    size: int
    what: str


OpenAt = Callable[[int], "httpx2.Response"]
"""Ask for the bytes from an offset on (a Range request unless it is 0); answers 206, or 200 with everything."""


def download(open_at: OpenAt, target: Path, wanted: Wanted, note: Callable[[int], None], sleep: Sleep = time.sleep) -> None:
    """Download into `target`, which appears only when digest and size are right. What a broken try left is gone on with.

    Two processes may want the same file: the second waits and finds it done. `note` is told the bytes that are there. Raises
    IntegrityError, Unreachable, and whatever `open_at` raises.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _alone(part) as descriptor:
        if target.exists() and target.stat().st_size == wanted.size:
            part.unlink(missing_ok=True)
            return
        resumed = os.fstat(descriptor).st_size > 0
        if not _fill(open_at, descriptor, wanted, note, sleep):
            if resumed:  # what was left may have been damaged: once more from the beginning
                os.ftruncate(descriptor, 0)
            if not resumed or not _fill(open_at, descriptor, wanted, note, sleep):
                part.unlink(missing_ok=True)
                raise IntegrityError(f"{wanted.what} was tampered with or damaged: what was downloaded has another digest")
        os.fsync(descriptor)
        part.replace(target)


@contextmanager
def _alone(part: Path) -> Iterator[int]:
    """Open the partial file with a lock on it. The file may be renamed or removed while one waits: then again."""
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)  # layers of private images, too
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                current = part.stat().st_ino == os.fstat(descriptor).st_ino
            except FileNotFoundError:
                current = False
            if current:
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _fill(open_at: OpenAt, descriptor: int, wanted: Wanted, note: Callable[[int], None], sleep: Sleep) -> bool:
    """Bring the file to its size, in as many requests as it takes; say whether the digest is right."""
    state, have = _rehash(descriptor, wanted.size)
    fruitless, best = 0, have
    note = _in_time(note, wanted)
    while have < wanted.size:
        try:
            have, state = _append(open_at, descriptor, (have, state), wanted, note)
            trouble = None
        except Unreachable as error:
            if error.kind == "slow":
                raise
            have, state = _again(descriptor)
            trouble = error
        if have < wanted.size:
            fruitless = 0 if have > best else fruitless + 1  # measured by the best so far: a server may send us round in circles
            best = max(best, have)
            if fruitless >= MAX_FRUITLESS:
                raise trouble or IntegrityError(f"{wanted.what} ends after {best} of {wanted.size} bytes")
            sleep(_back_off(fruitless))
    return state.hexdigest() == wanted.sha256


def _in_time(note: Callable[[int], None], wanted: Wanted) -> Callable[[int], None]:
    """Bound the whole download in time, however often it breaks and goes on."""
    end = time.monotonic() + GRACE_SECONDS + wanted.size / SLOWEST

    def noted(have: int) -> None:
        if time.monotonic() > end:
            raise Unreachable(f"slower than {SLOWEST >> 10} KiB a second", "slow")
        note(have)

    return noted


def _rehash(descriptor: int, limit: int) -> tuple[hashlib._Hash, int]:
    """Hash what is there; more than there should be is thrown away whole."""
    if os.fstat(descriptor).st_size > limit:
        os.ftruncate(descriptor, 0)
    have, state = _again(descriptor)
    return state, have


def _again(descriptor: int) -> tuple[int, hashlib._Hash]:
    state, have = hashlib.sha256(), 0
    while piece := os.pread(descriptor, CHUNK, have):
        state.update(piece)
        have += len(piece)
    return have, state


def _append(
    open_at: OpenAt, descriptor: int, reached: tuple[int, hashlib._Hash], wanted: Wanted, note: Callable[[int], None]
) -> tuple[int, hashlib._Hash]:
    """One request's worth. Raises Unreachable where the connection breaks, IntegrityError where more comes than was stated."""
    import httpx2

    have, state = reached
    response = open_at(have)
    try:
        if have and not (response.status_code == 206 and _starts_at(response, have)):
            os.ftruncate(descriptor, 0)
            have, state = 0, hashlib.sha256()
            if response.status_code != 200:
                return have, state  # an answer to a range that we did not mean; the next request asks for everything
        for piece in response.iter_raw():  # as it comes: what is gathered first is lost when the connection breaks
            if have + len(piece) > wanted.size:
                raise IntegrityError(f"{wanted.what} is longer than the {wanted.size} bytes that are stated")
            view = memoryview(piece)
            while view:
                count = os.pwrite(descriptor, view, have)
                state.update(view[:count])
                view, have = view[count:], have + count
            note(have)
    except httpx2.TransportError as error:
        raise explain(error) from error
    finally:
        response.close()
    return have, state


def _starts_at(response: httpx2.Response, offset: int) -> bool:
    stated: str = response.headers.get("content-range", "")
    return stated.removeprefix("bytes ").startswith(f"{offset}-")
