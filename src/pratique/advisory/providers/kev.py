"""CISA's catalogue of known exploited vulnerabilities in, its entries out.

https://www.cisa.gov/known-exploited-vulnerabilities-catalog
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec

from pratique.advisory.archive import unreadable
from pratique.model.advisory import Exploited, Feed, FeedRecord
from pratique.model.errors import ParseError

# The catalogue has 1.3 MB.
_MAX_BYTES = 64 << 20


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    cve: str = msgspec.field(name="cveID")
    date_added: str
    due_date: str = ""
    known_ransomware_campaign_use: str = ""


class _Catalogue(msgspec.Struct, frozen=True):
    vulnerabilities: list[msgspec.Raw]


class Kev:
    """One feed."""

    name = "kev"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name="cisa/kev",
                path="cisa/known_exploited_vulnerabilities.json",
                url="https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
                max_bytes=_MAX_BYTES,
                licence="CC0-1.0",
            )
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        decoder = msgspec.json.Decoder(_Entry)
        try:
            catalogue = msgspec.json.decode(body.read(feed.max_bytes), type=_Catalogue)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ParseError(f"{feed.name}: not the catalogue: {error}") from error
        for raw in catalogue.vulnerabilities:
            try:
                entry = decoder.decode(raw)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                yield unreadable(feed.name, bytes(raw)[:60].decode(errors="replace"), str(error))
                continue
            yield Exploited(
                cve=entry.cve,
                added=entry.date_added,
                due=entry.due_date,
                ransomware=entry.known_ransomware_campaign_use == "Known",
            )


PROVIDER = Kev()
