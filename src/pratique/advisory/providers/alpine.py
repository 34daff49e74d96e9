"""Alpine's security database in, advisories out: one feed a branch and repository.

https://secdb.alpinelinux.org/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pratique.advisory import secdb
from pratique.model.advisory import Feed, FeedRecord

_UPSTREAM = "https://secdb.alpinelinux.org"
# The largest has 250 KB.
_MAX_BYTES = 32 << 20
_OLDEST, _NEWEST = 9, 24
_BRANCHES = (*(f"v3.{minor}" for minor in range(_OLDEST, _NEWEST + 1)), "edge")


class Alpine:
    """Feeds `alpine/v3.20/main` and so on; ecosystem "Alpine:v3.20"."""

    name = "alpine"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name=f"alpine/{branch}/{repository}",
                path=f"alpine/{branch}/{repository}.json",
                url=f"{_UPSTREAM}/{branch}/{repository}.json",
                max_bytes=_MAX_BYTES,
                ecosystems=(f"Alpine:{branch}",),
                licence="facts",
            )
            for branch in _BRANCHES
            for repository in ("main", "community")
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        return secdb.parse(feed, body, self.name)


PROVIDER = Alpine()
