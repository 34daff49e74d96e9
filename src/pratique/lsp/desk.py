"""Open documents in, the answers about the newest version of each out, worked out beside the protocol's own thread."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from pratique.lint.checks.podsecurity import Version
from pratique.lsp.answers import Answers
from pratique.lsp.documents import Document, Documents

if TYPE_CHECKING:
    import asyncio


class Desk:
    """Open documents, and the answers about the newest version of each, worked out by one thread beside the protocol's own."""

    def __init__(self, version: Version) -> None:
        self.documents = Documents()
        self._version = version
        self._worker = ThreadPoolExecutor(1, "pratique-lsp")  # one: what waits and is not needed any more is dropped
        self._answers: dict[str, tuple[Document, asyncio.Future[Answers]]] = {}
        self._pending: dict[str, asyncio.Task[None]] = {}

    async def answers(self, uri: str) -> Answers | None:
        """Return the answers about a document as it is now. One that is closed or changed meanwhile has none."""
        import asyncio

        document = self.documents.get(uri)
        if document is None:
            return None
        known = self._answers.get(uri)
        if known is None or known[0] is not document:
            if known is not None:
                known[1].cancel()
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._worker, Answers, document, dt.datetime.now(dt.UTC), self._version)
            known = self._answers[uri] = document, work
        try:
            answers = await asyncio.shield(known[1])  # who stops waiting does not stop the others
        except asyncio.CancelledError:
            if known[1].cancelled():
                return None
            raise
        return answers if self.documents.get(uri) is document else None

    def later(self, uri: str, work: Callable[[], Awaitable[None]], pause: float) -> None:
        """Do something about a document after a pause, unless it changes again."""
        import asyncio

        async def wait() -> None:
            await asyncio.sleep(pause)
            await work()

        before = self._pending.pop(uri, None)
        if before is not None:
            before.cancel()
        self._pending[uri] = asyncio.get_running_loop().create_task(wait())

    def forget(self, uri: str) -> None:
        """Drop all that is known about a document."""
        self.documents.close(uri)
        self._answers.pop(uri, None)
        pending = self._pending.pop(uri, None)
        if pending is not None:
            pending.cancel()
