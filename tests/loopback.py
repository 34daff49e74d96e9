"""Servers on loopback for tests: what they have in common."""

from __future__ import annotations

import ssl
import sys
from http.server import ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """An HTTP server whose clients may go away at any moment, and whose threads end with the test.

    A client that closes with something unread makes the kernel reset the connection. `socketserver` prints that to standard
    error, where a test that looks at what the program said would take it for the program's.
    """

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what the server itself did wrong, and nothing of a client that went away."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError, ssl.SSLError)):
            super().handle_error(request, client_address)
