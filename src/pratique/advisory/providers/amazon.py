"""Amazon Linux' update notices (updateinfo.xml of a repository) in, advisories out: one a notice, which covers its CVEs.

https://alas.aws.amazon.com/ ; ecosystems "Amazon Linux:2" and "Amazon Linux:2023", which OSV does not define. What Amazon Linux 2
offers beside its core ("extras") has a repository a topic, under "Amazon Linux:2:extras". Nothing of a package tells which it is
from: a notice of a topic that names a series ("kernel-5.10") is about packages of that series only.
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
_HEAD_BYTES = 4096
_RELEASES = {"2": "2/core/latest/x86_64/mirror.list", "2023": "al2023/core/mirrors/latest/x86_64/mirror.list"}
# Topics with notices of security, without those whose packages the core has as well, under versions that tell them apart
# by nothing (vim, dnsmasq, ...).
_TOPICS = (
    "R4", "ansible2", "aws-nitro-enclaves-cli", "collectd", "corretto8", "docker", "ecs", "firefox", "golang1.19", "haproxy2",
    "httpd_modules", "java-openjdk11", "kernel-5.10", "kernel-5.15", "kernel-5.4", "livepatch", "lynis", "mariadb10.5",
    "memcached1.5", "mock", "nginx1", "php7.2", "php7.3", "php7.4", "php8.0", "php8.1", "php8.2", "postgresql10", "postgresql11",
    "postgresql12", "postgresql13", "postgresql14", "postgresql9.6", "python3.8", "redis4.0", "redis6", "ruby2.4", "ruby2.6",
    "ruby3.0", "rust1", "squid4", "tomcat8.5", "tomcat9", "unbound1.13", "unbound1.17",
)  # fmt: skip
EXTRAS = "Amazon Linux:2:extras"
_SERIES = re.compile(r"\d+(?:\.\d+)*\Z")
_CVE = re.compile(r"CVE-\d{4}-\d{4,19}")
_NOT_INSTALLED = ("-debuginfo", "-debugsource", "-debuginfo-common")


class Amazon:
    """One feed a release, of its core repository, and one a topic of the extras of Amazon Linux 2."""

    name = "amazon"

    def feeds(self) -> Sequence[Feed]:
        core = [(release, release, address, f"Amazon Linux:{release}") for release, address in _RELEASES.items()]
        extras = [(f"2-{one}", f"2/extras/{one}", f"2/extras/{one}/latest/x86_64/mirror.list", EXTRAS) for one in _TOPICS]
        return [
            Feed(
                name=f"amazon/{name}",
                path=f"amazon/{place}/updateinfo.xml.gz",
                url=f"{_UPSTREAM}/{address}",
                max_bytes=_MAX_BYTES,
                ecosystems=(ecosystem,),
                licence="as Amazon publishes it",
            )
            for name, place, address, ecosystem in [*core, *extras]
        ]

    def route(self, _: Feed) -> Sequence[Step]:
        """From the list of mirrors to the repository's index, and from there to the notices."""
        return _repository, _notices

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        keys = Keys(feed.ecosystems[0])
        series = _SERIES.search(feed.name.partition("/2-")[2])
        if _is_index(body):
            return
        try:
            with gzip.GzipFile(fileobj=body) as stream:
                for element in elements(Bounded(stream, feed.name), "update", "updates", feed.name):
                    if element.get("type") != "security":
                        continue
                    try:
                        yield _advisory(element, feed.ecosystems[0], keys, series[0] if series else "")
                    except ValueError as error:
                        yield unreadable(feed.name, text(element, "id") or "a notice", str(error))
        except (OSError, EOFError, zlib.error) as error:
            raise ParseError(f"{feed.name}: not a gzip file, or cut short: {error}") from error


def _repository(url: str, content: bytes) -> str:
    """The first line is the repository of this day."""
    base = content.decode("ascii", "replace").split("\n", 1)[0].strip().replace("$basearch", "x86_64")
    return urljoin(url, base.rstrip("/") + "/repodata/repomd.xml")


def _is_index(body: BinaryIO) -> bool:
    """Say whether it is the index of a repository that has no notices: see `_notices`."""
    head = body.read(_HEAD_BYTES)
    body.seek(0)
    return b"<repomd" in head


def _notices(url: str, content: bytes) -> str:
    """Return where the notices are; a topic that never had any has its index instead."""
    for data in elements(io.BytesIO(content), "data", "repomd", url):
        location = data.find("{*}location")
        if data.get("type") == "updateinfo" and location is not None:
            checksum = data.find("{*}checksum")
            known = checksum is not None and checksum.get("type") == "sha256"
            digest = f"#sha256={checksum.text}" if known and checksum is not None else ""
            return urljoin(url, "../" + (location.get("href") or "")) + digest
    if "/extras/" in url:
        return url
    raise ParseError(f"{url}: lists no update notices")


def _advisory(element: _Element, ecosystem: str, keys: Keys, series: str) -> Advisory:
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
            Affected(ecosystem=ecosystem, name=label, ranges=(VersionRange(_start(fix, series), fix),))
            for label, fix in sorted(fixes.items())
        ),
    )


def _start(fix: str, series: str) -> str:
    """Return where the series of a topic begins, if the version with the fix is of it: 3:10.5.10-2 of mariadb10.5 -> 3:10.5."""
    epoch, colon, version = fix.rpartition(":")
    return f"{epoch}{colon}{series}" if series and version.startswith((f"{series}.", f"{series}-")) else ""


def _date(element: _Element | None) -> str:
    """2024-07-01 20:41:00 or ISO -> RFC 3339."""
    moment = (element.get("date") or "") if element is not None else ""
    if re.fullmatch(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?Z?", moment):
        moment = moment.rstrip("Z").replace(" ", "T")
        return f"{moment}Z" if moment.count(":") == 2 else f"{moment}:00Z"
    return ""


PROVIDER = Amazon()
