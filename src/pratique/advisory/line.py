"""Requests to upstreams in, answers out, one at a time; and whoever waits for one can be told to stop waiting."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pratique._version import __version__

if TYPE_CHECKING:
    import ssl

    import httpx2

# Between two packets. A connection that says nothing for this long is dead; one that is not made in this time never will be.
_SILENCE_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
# Until an answer has its headers. They may come byte by byte, each in time for the bound on silence, for days.
ANSWER_SECONDS = 60.0


class Line:
    """One user at a time. `hang_up` may be called by any thread; what is asked afterwards has a new connection."""

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        """Give it the `trust` of another line, as reading all authorities takes 50 ms."""
        import httpx2

        # Proxies and certificates come from the environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE).
        self.trust = trust or httpx2.create_ssl_context()
        self._client = httpx2.Client(
            verify=self.trust,
            timeout=httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
            follow_redirects=False,
            headers={"User-Agent": f"pratique/{__version__}"},
        )
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    @contextlib.contextmanager
    def ask(self, method: str, url: str, headers: dict[str, str], seconds: float) -> Iterator[httpx2.Response]:
        """Yield the answer to a request; the connection ends where it has not been read within `seconds`.

        Raises what the client raises: `httpx2.TransportError` also for a connection that was ended.
        """
        timer = self._ending(min(ANSWER_SECONDS, seconds))
        try:
            with self._client.stream(method, url, headers=headers, extensions={"trace": self._traced}) as response:
                timer.cancel()
                timer = self._ending(seconds)
                yield response
        finally:
            timer.cancel()

    def hang_up(self) -> None:
        """End every connection: who waits for a dead or dripping server is woken by an error."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):  # closed already
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _ending(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self.hang_up)
        timer.daemon = True
        timer.start()
        return timer

    def _traced(self, event: str, info: dict[str, Any]) -> None:
        """Remember each connection as it is made. See https://www.encode.io/httpcore/extensions/, "trace"."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._sockets.append(info["return_value"].get_extra_info("socket"))
