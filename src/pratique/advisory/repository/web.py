"""The address of a repository on a web server in, pieces of its files out, bounded in silence and in redirects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pratique._kit import http
from pratique.advisory.repository.shelf import checked

if TYPE_CHECKING:
    import httpx2

# A server that is busy is asked three times; a scan waits for it.
_ATTEMPTS = 3


class Web:
    """A repository below one address. What it says is believed only as far as it is signed, so plain HTTP is as good."""

    def __init__(self, address: str, client: httpx2.Client | None = None) -> None:
        self.name = address.rstrip("/")
        host = urlsplit(address).hostname or ""
        self._client = client or http.make_client(direct=host in {"localhost", "127.0.0.1", "::1"})

    def close(self) -> None:
        self._client.close()

    def open(self, path: str, offset: int = 0) -> Iterator[bytes]:
        import httpx2

        headers = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            request = self._client.build_request("GET", f"{self.name}/{quote(checked(path))}", headers=headers)
        except httpx2.InvalidURL as error:
            raise http.Unreachable(f"it is no address: {error}", "protocol") from error
        response = http.exchange(self._client, request, attempts=_ATTEMPTS)
        try:
            if response.status_code in {403, 404, 410}:  # storage services say 403 for what they do not have
                raise FileNotFoundError(path)
            if response.status_code == 416:
                return
            if response.status_code not in {200, 206}:
                raise http.Unreachable(f"answers with status {response.status_code}", "protocol")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise http.Unreachable("answers in a content coding that was not asked for", "protocol")
            yield from _from(response, offset)
        finally:
            response.close()


def _from(response: httpx2.Response, offset: int) -> Iterator[bytes]:
    """Yield the body from `offset` on, whether the server took the range or gave everything."""
    import httpx2

    skip = offset
    if response.status_code == 206:
        span = response.headers.get("content-range", "")
        if not span.removeprefix("bytes ").startswith(f"{offset}-"):
            raise http.Unreachable("answers with a range that was not asked for", "protocol")
        skip = 0
    try:
        for piece in response.iter_raw():  # as it comes, so that a slow server is noticed
            if skip >= len(piece):
                skip -= len(piece)
                continue
            yield piece[skip:]
            skip = 0
    except httpx2.TransportError as error:
        raise http.explain(error) from error
