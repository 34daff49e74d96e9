"""Wolfi's and Chainguard's security databases in, advisories out: Alpine's form, with the distributor's own CGA ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pratique.advisory import secdb
from pratique.model.advisory import Feed, FeedRecord

# Both have about 2 MB.
_MAX_BYTES = 128 << 20


class Wolfi:
    """Feeds `wolfi/os` and `chainguard/main`; both distributions roll, so their ecosystems have no release."""

    name = "wolfi"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name="wolfi/os",
                path="wolfi/os/security.json",
                url="https://packages.wolfi.dev/os/security.json",
                max_bytes=_MAX_BYTES,
                ecosystems=("Wolfi",),
                licence="Apache-2.0",
            ),
            Feed(
                name="chainguard/main",
                path="chainguard/security.json",
                url="https://packages.cgr.dev/chainguard/security.json",
                max_bytes=_MAX_BYTES,
                ecosystems=("Chainguard",),
                licence="Apache-2.0",
            ),
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        return secdb.parse(feed, body, self.name)


PROVIDER = Wolfi()
