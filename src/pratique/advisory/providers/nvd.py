"""NVD's yearly feeds in, one record a CVE out: CVSS vectors, kinds of weakness and dates, for sources that give none.

https://nvd.nist.gov/vuln/data-feeds ; of the products that it names, those are kept that are programs without a package manager
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec

from pratique.advisory.archive import unreadable
from pratique.advisory.cpe import Configuration, affected
from pratique.advisory.feeds import Step
from pratique.advisory.xml import Bounded
from pratique.model.advisory import Advisory, Feed, FeedRecord
from pratique.model.errors import ParseError

_UPSTREAM = "https://nvd.nist.gov/feeds/json/cve/2.0"
# The year 2024 has 20 MB, inflated 180 MB, all of which is in memory at once.
_MAX_BYTES = 128 << 20
_MAX_INFLATED = 1 << 30
# The feed of 2002 holds everything before it, too.
_OLDEST, _NEWEST = 2002, 2026
_META = re.compile(rb"^sha256:\s*([0-9A-Fa-f]{64})\s*$", re.MULTILINE)
_REJECTED = "Rejected"


class _Metric(msgspec.Struct, frozen=True, rename="camel"):
    cvss_data: dict[str, msgspec.Raw]
    type: str = ""


class _Metrics(msgspec.Struct, frozen=True):
    v40: list[_Metric] = msgspec.field(name="cvssMetricV40", default_factory=list)
    v31: list[_Metric] = msgspec.field(name="cvssMetricV31", default_factory=list)
    v30: list[_Metric] = msgspec.field(name="cvssMetricV30", default_factory=list)
    v2: list[_Metric] = msgspec.field(name="cvssMetricV2", default_factory=list)


class _Text(msgspec.Struct, frozen=True):
    value: str = ""


class _Weakness(msgspec.Struct, frozen=True):
    description: list[_Text] = []


class _Tags(msgspec.Struct, frozen=True):
    tags: list[str] = []


class _Cve(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    published: str = ""
    last_modified: str = ""
    vuln_status: str = ""
    metrics: _Metrics = _Metrics()
    weaknesses: list[_Weakness] = []
    configurations: list[Configuration] = []
    cve_tags: list[_Tags] = []


class _Item(msgspec.Struct, frozen=True):
    cve: _Cve


class _Page(msgspec.Struct, frozen=True):
    vulnerabilities: list[msgspec.Raw]


class Nvd:
    """One feed a year. A full update brings them; a scan does not wait for them."""

    name = "nvd"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name=f"nvd/{year}",
                path=f"nvd/nvdcve-2.0-{year}.json.gz",
                url=f"{_UPSTREAM}/nvdcve-2.0-{year}.meta",
                max_bytes=_MAX_BYTES,
                licence="public domain (NVD)",
            )
            for year in range(_OLDEST, _NEWEST + 1)
        ]

    def route(self, _: Feed) -> Sequence[Step]:
        """The small file beside each feed says what it inflates to."""
        return (_described,)

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        decode = msgspec.json.Decoder(_Item).decode
        try:
            with gzip.GzipFile(fileobj=body) as stream:
                text = Bounded(stream, feed.name, _MAX_INFLATED).read()
            page = msgspec.json.decode(text, type=_Page)
        except (OSError, EOFError, zlib.error) as error:
            raise ParseError(f"{feed.name}: not a gzip file, or cut short: {error}") from error
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ParseError(f"{feed.name}: not a feed of CVEs: {error}") from error
        for raw in page.vulnerabilities:
            try:
                cve = decode(raw).cve
                advisory = _advisory(cve)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                yield unreadable(feed.name, bytes(raw)[:60].decode(errors="replace"), str(error))
                continue
            if cve.vuln_status != _REJECTED:
                yield advisory


def _described(url: str, content: bytes) -> str:
    found = _META.search(content)
    if found is None:
        raise ParseError(f"{url}: does not describe a feed")
    return f"{url.removesuffix('.meta')}.json.gz#sha256-inflated={found[1].decode().lower()}"


def _advisory(cve: _Cve) -> Advisory:
    """NVD's own vectors ("Primary") go before those of whoever gave the number; of each version one is kept."""
    vectors = []
    for metrics in (cve.metrics.v40, cve.metrics.v31, cve.metrics.v30, cve.metrics.v2):
        for metric in sorted(metrics, key=lambda one: one.type != "Primary")[:1]:
            vector = msgspec.json.decode(metric.cvss_data.get("vectorString", b'""'), type=str)
            vectors.append(vector)
    cwes = dict.fromkeys(text.value for one in cve.weaknesses for text in one.description if text.value.startswith("CWE-"))
    return Advisory(
        id=cve.id,
        source="nvd",
        cvss=tuple(vector for vector in vectors if vector),
        cwes=tuple(cwes),
        published=_utc(cve.published),
        modified=_utc(cve.last_modified),
        affected=affected(cve.configurations, disputed=any("disputed" in one.tags for one in cve.cve_tags)),
    )


def _utc(moment: str) -> str:
    """2024-03-29T17:15:21.150, in UTC -> RFC 3339."""
    return f"{moment.partition('.')[0]}Z" if moment else ""


PROVIDER = Nvd()
