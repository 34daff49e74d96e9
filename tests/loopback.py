"""Servers on loopback for tests: what they have in common."""

from __future__ import annotations

import atexit
import contextlib
import socket
import socketserver
import ssl
import sys
import threading
from http.server import HTTPServer
from typing import Any

_held = contextlib.ExitStack()  # until this process ends
atexit.register(_held.close)
END_SECONDS = 30.0  # for what a handler still does when its connection is gone


def free_port() -> int:
    """Return a port for a program that cannot find one for itself; nobody else is given it until this process ends.

    It stays bound here, without listening: the kernel gives it to nobody who asks for any port, and lets a program have it that
    asks for it by number and may reuse addresses, as all servers do.
    """
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", 0))
    _held.enter_context(one)
    return int(one.getsockname()[1])


class Threads(socketserver.ThreadingMixIn):
    """A server whose clients may go away at any moment, and of which nothing is left when it is closed.

    A client that closes with something unread makes the kernel reset the connection. `socketserver` prints that to standard
    error, where a test that looks at what the program said would take it for the program's. A thread that still serves when the
    next test begins would be there, too, where a test looks at threads, or forks.
    """

    daemon_threads = True
    _closed = False
    _serving: tuple[tuple[threading.Thread, Any], ...] = ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread that is waited for at the end."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._serving = (*(one for one in self._serving if one[0].is_alive()), (thread, request))
        thread.start()

    def server_close(self) -> None:
        """Close, cut the connections that are open, and wait for who served them."""
        super().server_close()
        self._closed = True
        for thread, request in self._serving:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(request, socket.SHUT_RDWR)  # of the connection itself, whatever TLS is about to do
            if thread is not threading.current_thread():
                thread.join(END_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what the server itself did wrong, and nothing of a client that went away."""
        if not self._closed and not isinstance(sys.exception(), (ConnectionError, TimeoutError, ssl.SSLError)):
            super().handle_error(request, client_address)  # type: ignore[misc]  # of the server that this is mixed into


class Server(Threads, HTTPServer):
    """An HTTP server of that kind."""
