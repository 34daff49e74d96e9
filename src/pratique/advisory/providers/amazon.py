"""Amazon Linux' update notices (updateinfo.xml of a repository) in, advisories out: one a notice, which covers its CVEs.

https://alas.aws.amazon.com/ ; ecosystems "Amazon Linux:2" and "Amazon Linux:2023", which OSV does not define
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin

from pratique.advisory.archive import unreadable
from pratique.advisory.feeds import Step
from pratique.advisory.keys import Keys
from pratique.advisory.xml import Bounded, elements, text
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord, VersionRange
from pratique.model.errors import ParseError

if TYPE_CHECKING:
    from lxml.etree import _Element

_UPSTREAM = "https://cdn.amazonlinux.com"
# Both have about 2 MB, inflated 60 MB.
_MAX_BYTES = 128 << 20
_RELEASES = {"2": "2/core/latest/x86_64/mirror.list", "2023": "al2023/core/mirrors/latest/x86_64/mirror.list"}
_CVE = re.compile(r"CVE-\d{4}-\d{4,19}")
_NOT_INSTALLED = ("-debuginfo", "-debugsource", "-debuginfo-common")


class Amazon:
    """One feed a release, of its core repository. Packages of AL2's "extras" are in repositories of their own and not read."""

    name = "amazon"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name=f"amazon/{release}",
                path=f"amazon/{release}/updateinfo.xml.gz",
                url=f"{_UPSTREAM}/{address}",
                max_bytes=_MAX_BYTES,
                ecosystems=(f"Amazon Linux:{release}",),
                licence="as Amazon publishes it",
            )
            for release, address in _RELEASES.items()
        ]

    def route(self, _: Feed) -> Sequence[Step]:
        """From the list of mirrors to the repository's index, and from there to the notices."""
        return _repository, _notices

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        keys = Keys(feed.ecosystems[0])
        try:
            with gzip.GzipFile(fileobj=body) as stream:
                for element in elements(Bounded(stream, feed.name), "update", "updates", feed.name):
                    if element.get("type") != "security":
                        continue
                    try:
                        yield _advisory(element, feed.ecosystems[0], keys)
                    except ValueError as error:
                        yield unreadable(feed.name, text(element, "id") or "a notice", str(error))
        except (OSError, EOFError, zlib.error) as error:
            raise ParseError(f"{feed.name}: not a gzip file, or cut short: {error}") from error


def _repository(url: str, content: bytes) -> str:
    """The first line is the repository of this day."""
    base = content.decode("ascii", "replace").split("\n", 1)[0].strip().replace("$basearch", "x86_64")
    return urljoin(url, base.rstrip("/") + "/repodata/repomd.xml")


def _notices(url: str, content: bytes) -> str:
    for data in elements(io.BytesIO(content), "data", "repomd", url):
        location = data.find("{*}location")
        if data.get("type") == "updateinfo" and location is not None:
            checksum = data.find("{*}checksum")
            known = checksum is not None and checksum.get("type") == "sha256"
            digest = f"#sha256={checksum.text}" if known and checksum is not None else ""
            return urljoin(url, "../" + (location.get("href") or "")) + digest
    raise ParseError(f"{url}: lists no update notices")


def _advisory(element: _Element, ecosystem: str, keys: Keys) -> Advisory:
    name = text(element, "id")
    if not name:
        raise ValueError("has no id")
    fixes: dict[str, str] = {}
    for package in element.iterfind("{*}pkglist/{*}collection/{*}package"):
        label, version, release = package.get("name"), package.get("version"), package.get("release")
        if not label or not version or not release:
            raise ValueError("lists a package without name or version")
        if label.endswith(_NOT_INSTALLED):
            continue
        epoch = package.get("epoch") or "0"
        fix = f"{version}-{release}" if epoch == "0" else f"{epoch}:{version}-{release}"
        # Architectures that were rebuilt have a later release of the same fix.
        fixes[label] = min(fix, fixes.get(label, fix), key=lambda one: keys(one) or b"")
    references = element.findall("{*}references/{*}reference")
    cves = [one.get("id") or "" for one in references if one.get("type") == "cve"]
    issued, updated = element.find("{*}issued"), element.find("{*}updated")
    return Advisory(
        id=name,
        source="amazon",
        related=tuple(dict.fromkeys(cve for cve in cves if _CVE.fullmatch(cve))),
        summary=text(element, "title")[:240],
        severity=text(element, "severity"),
        published=_date(issued),
        modified=_date(updated if updated is not None else issued),
        affected=tuple(
            Affected(ecosystem=ecosystem, name=label, ranges=(VersionRange("", fix),)) for label, fix in sorted(fixes.items())
        ),
    )


def _date(element: _Element | None) -> str:
    """2024-07-01 20:41:00 or ISO -> RFC 3339."""
    moment = (element.get("date") or "") if element is not None else ""
    if re.fullmatch(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?Z?", moment):
        moment = moment.rstrip("Z").replace(" ", "T")
        return f"{moment}Z" if moment.count(":") == 2 else f"{moment}:00Z"
    return ""


PROVIDER = Amazon()
