"""The collection of endoflife.date in, one record a release of a product out: until when it gets security fixes.

https://endoflife.date/docs/api/v1/ ; ecosystem "End of life", which OSV does not define. A record lists the release ("3.8") as
its one version, and the day as its note: "ended" where support is over and nobody says since when.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec

from pratique.advisory.archive import unreadable
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord
from pratique.model.ecosystems import LIFE_CYCLES
from pratique.model.errors import ParseError

# 450 products with some 6,000 releases: about 5 MB.
_MAX_BYTES = 64 << 20
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_MAX_NAME = 100
ENDED = "ended"


class _Release(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    label: str = ""
    is_eol: bool | None = None
    eol_from: str | None = None


class _Product(msgspec.Struct, frozen=True):
    name: str
    label: str = ""
    releases: list[msgspec.Raw] = []


class _Document(msgspec.Struct, frozen=True):
    result: list[msgspec.Raw]
    generated_at: str = ""


class EndOfLife:
    """One feed for all products; names are those of endoflife.date ("python", "nodejs")."""

    name = "endoflife"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name="endoflife/products",
                path="endoflife/api/v1/products/full",
                url="https://endoflife.date/api/v1/products/full",
                max_bytes=_MAX_BYTES,
                ecosystems=(LIFE_CYCLES,),
                licence="MIT",
            )
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        product, release = msgspec.json.Decoder(_Product), msgspec.json.Decoder(_Release)
        try:
            document = msgspec.json.decode(body.read(feed.max_bytes), type=_Document)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ParseError(f"{feed.name}: not the list of products: {error}") from error
        for raw in document.result:
            try:
                one = product.decode(raw)
                found = [_advisory(one, release.decode(each)) for each in one.releases]
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                yield unreadable(feed.name, bytes(raw)[:60].decode(errors="replace"), str(error))
                continue
            yield from (advisory for advisory in found if advisory is not None)


def _advisory(product: _Product, release: _Release) -> Advisory | None:
    """Return the record of a release whose end is known; a day to come is known, too."""
    until = release.eol_from or ""
    if until and not _DAY.match(until):
        until = ""
    if not until and not release.is_eol:
        return None
    label = f"{product.label or product.name} {release.label or release.name}"
    return Advisory(
        id=f"EOL-{product.name}-{release.name}"[:_MAX_NAME],
        source="endoflife",
        summary=" ".join(label.split())[:_MAX_NAME],
        references=(f"https://endoflife.date/{product.name}",),
        affected=(
            Affected(
                ecosystem=LIFE_CYCLES,
                name=product.name,
                versions=(release.name,),
                state="end-of-life",
                note=until or ENDED,
            ),
        ),
    )


PROVIDER = EndOfLife()
