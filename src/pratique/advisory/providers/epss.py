"""FIRST's daily EPSS scores in, one score a CVE out.

https://www.first.org/epss/data_stats
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from pratique.advisory.archive import unreadable
from pratique.model.advisory import ExploitScore, Feed, FeedRecord
from pratique.model.errors import ParseError

# The file has 2.5 MB, inflated 10 MB.
_MAX_BYTES = 64 << 20
_MAX_INFLATED = 512 << 20


class Epss:
    """One feed; one line a CVE below a comment with the date and a header."""

    name = "epss"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name="epss/current",
                path="epss/epss_scores-current.csv.gz",
                url="https://epss.empiricalsecurity.com/epss_scores-current.csv.gz",
                max_bytes=_MAX_BYTES,
                licence="free to use with attribution to FIRST.org",
            )
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        try:
            with gzip.GzipFile(fileobj=body) as stream:
                text = stream.read(_MAX_INFLATED + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ParseError(f"{feed.name}: not a gzip file, or cut short: {error}") from error
        if len(text) > _MAX_INFLATED:
            raise ParseError(f"{feed.name}: inflates to more than {_MAX_INFLATED} bytes")
        lines = text.decode("ascii", "replace").splitlines()
        date = _date(lines)
        if date is None:
            raise ParseError(f"{feed.name}: does not begin with the score date and the header cve,epss,percentile")
        for line in lines[2:]:
            try:
                cve, score, percentile = line.split(",")
                value, place = float(score), float(percentile)
            except ValueError as error:
                yield unreadable(feed.name, line, str(error))
                continue
            if 0 <= value <= 1 and 0 <= place <= 1:
                yield ExploitScore(cve=cve, score=value, percentile=place, date=date)
            else:
                yield unreadable(feed.name, line, "not between 0 and 1")


def _date(lines: list[str]) -> str | None:
    if len(lines) < 2 or not lines[0].startswith("#") or not lines[1].startswith("cve,epss,percentile"):
        return None
    for part in lines[0].lstrip("#").split(","):
        name, _, value = part.partition(":")
        if name.strip() == "score_date":
            return value.strip()[:10]
    return None


PROVIDER = Epss()
