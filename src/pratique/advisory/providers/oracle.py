"""Oracle's OVAL definitions in, advisories out: one a notice (ELSA), which covers its CVEs.

https://linux.oracle.com/security/oval/ ; ecosystems "Oracle Linux:8", which OSV does not define. Builds for Ksplice and FIPS have
version numbers of their own and stand under "Oracle Linux:8:ksplice" and "Oracle Linux:8:fips".
"""

from __future__ import annotations

import bz2
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from pratique.advisory import modules
from pratique.advisory.archive import unreadable
from pratique.advisory.keys import Keys
from pratique.advisory.xml import Bounded, elements, text
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord, VersionRange
from pratique.model.errors import ParseError

if TYPE_CHECKING:
    from lxml.etree import _Element

# All notices since 2006: about 8 MB, inflated 400 MB.
_MAX_BYTES = 256 << 20
_NOTICE = re.compile(r"(ELSA-\d{4}-\d+):\s*(.*)", re.DOTALL)
_RELEASE = re.compile(r"Oracle Linux (\d+)(?: is installed)?")
_FIX = re.compile(r"(\S+) is earlier than (\S+)")
_MODULE = re.compile(r"(?:Module )?([^\s:]+:[^\s:]+)(?::\S*)? is enabled")
_CHANNELS = ("ksplice", "fips")
_NOT_INSTALLED = ("-debuginfo", "-debugsource")
# Definitions nest three or four levels deep.
_MAX_DEPTH = 12


class _Context(NamedTuple):
    """What must hold for the packages of a branch: release, and module stream ("" for none)."""

    release: str
    module: str


class Oracle:
    """One feed for all releases."""

    name = "oracle"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name="oracle/oval",
                path="oracle/oval/com.oracle.elsa-all.xml.bz2",
                url="https://linux.oracle.com/security/oval/com.oracle.elsa-all.xml.bz2",
                max_bytes=_MAX_BYTES,
                ecosystems=("Oracle Linux",),
                licence="as Oracle publishes it",
            )
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        keys = Keys("Oracle Linux")
        try:
            with bz2.BZ2File(body) as stream:
                for element in elements(Bounded(stream, feed.name), "definition", "definitions", feed.name):
                    try:
                        yield _advisory(element, keys)
                    except ValueError as error:
                        yield unreadable(feed.name, element.get("id") or "a definition", str(error))
        except (OSError, EOFError) as error:
            raise ParseError(f"{feed.name}: not a bzip2 file, or cut short: {error}") from error


def _advisory(element: _Element, keys: Keys) -> Advisory:
    metadata = element.find("{*}metadata")
    if metadata is None:
        raise ValueError("has no metadata")
    title = _NOTICE.match(text(metadata, "title"))
    if title is None:
        raise ValueError("has no notice's title")
    platform = _RELEASE.search(" ".join(one.text or "" for one in metadata.iterfind("{*}affected/{*}platform")))
    criteria = element.find("{*}criteria")
    fixes: dict[tuple[str, str], str] = {}
    if criteria is not None:
        start = _Context(platform[1] if platform else "", "")
        for place, name, version in _fixes(criteria, start, 0):
            for label in (name,) if "/" in name else modules.names(name, version, title[2]):
                known = fixes.get((place, label), version)
                # Rebuilds of one fix, for one architecture or another: whoever has the lowest has the fix.
                fixes[place, label] = min(version, known, key=lambda one: keys(one) or b"")
    if not fixes:
        raise ValueError("names no version of a package")
    advisory = metadata.find("{*}advisory")
    references = [one.get("ref_id") or "" for one in metadata.iterfind("{*}reference") if one.get("source") == "CVE"]
    links = [one.get("ref_url") or "" for one in metadata.iterfind("{*}reference") if one.get("source") == "elsa"]
    issued = advisory.find("{*}issued") if advisory is not None else None
    return Advisory(
        id=title[1],
        source="oracle",
        related=tuple(dict.fromkeys(cve for cve in references if cve.startswith("CVE-"))),
        summary=" ".join(title[2].split())[:240],
        severity=text(advisory, "severity") if advisory is not None else "",
        references=tuple(link for link in links if link.startswith("https://"))[:1],
        published=_day(issued),
        modified=_day(issued),
        affected=tuple(
            Affected(ecosystem=place, name=name, ranges=(VersionRange("", version),))
            for (place, name), version in sorted(fixes.items())
        ),
    )


def _fixes(criteria: _Element, context: _Context, depth: int) -> Iterator[tuple[str, str, str]]:
    """Yield (ecosystem, package, first version with the fix) below `criteria`."""
    if depth > _MAX_DEPTH:
        raise ValueError("is nested too deep")
    comments = [one.get("comment") or "" for one in criteria.iterfind("{*}criterion")]
    if criteria.get("operator", "AND") == "AND":
        for comment in comments:
            if release := _RELEASE.match(comment):
                context = context._replace(release=release[1])
            elif module := _MODULE.fullmatch(comment):
                context = context._replace(module=module[1] + "/")
    for comment in comments:
        found = _FIX.fullmatch(comment)
        if found is None or found[1].endswith(_NOT_INSTALLED):
            continue
        if not context.release:
            raise ValueError("names no release")
        version = found[2].removeprefix("0:")
        channel = next((f":{word}" for word in _CHANNELS if word in version.lower()), "")
        yield f"Oracle Linux:{context.release}{channel}", context.module + found[1], version
    for child in criteria.iterfind("{*}criteria"):
        yield from _fixes(child, context, depth + 1)


def _day(element: _Element | None) -> str:
    day = (element.get("date") or "") if element is not None else ""
    return f"{day}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else ""


PROVIDER = Oracle()
