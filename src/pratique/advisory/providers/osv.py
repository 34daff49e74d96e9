"""OSV's archive of one ecosystem in, advisories out.

https://ossf.github.io/osv-schema/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote

import msgspec

from pratique.advisory import modules
from pratique.advisory.archive import MAX_ENTRY_BYTES, entries, unreadable
from pratique.advisory.events import Event, intervals
from pratique.advisory.keys import Keys
from pratique.advisory.redhat import place
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord, VersionRange
from pratique.model.ecosystems import base, normalize
from pratique.model.inventory import Gap

_UPSTREAM = "https://osv-vulnerabilities.storage.googleapis.com"
_MEBIBYTE = 1 << 20
# Archives grow by half in a bad year: each bound leaves several times the size of 2026.
_USUAL_BYTES = 256 * _MEBIBYTE
_LARGE_BYTES = 1024 * _MEBIBYTE
# The list of npm's records has some 12 MB.
_LIST_BYTES = 128 * _MEBIBYTE

# ecosystem -> licence of its records as their publishers state it
_ECOSYSTEMS = {
    "AlmaLinux": "MIT",
    "Alpaquita": "as BellSoft publishes it",
    "Azure Linux": "MIT",
    "BellSoft Hardened Containers": "as BellSoft publishes it",
    "Bitnami": "Apache-2.0",
    "CRAN": "CC-BY-4.0",
    "Debian": "MIT",
    "Echo": "as Echo publishes it",
    "GHC": "CC0-1.0",
    "GIT": "CC-BY-4.0",
    "GitHub Actions": "CC-BY-4.0",
    "Go": "CC-BY-4.0",
    "Hackage": "CC0-1.0",
    "Hex": "CC-BY-4.0",
    "Julia": "CC-BY-4.0",
    "Mageia": "CC-BY-SA-4.0",
    "Maven": "CC-BY-4.0",
    "MinimOS": "as Minimus publishes it",
    "NuGet": "CC-BY-4.0",
    "OSS-Fuzz": "CC-BY-4.0",
    "Packagist": "CC-BY-4.0",
    "Pub": "CC-BY-4.0",
    "PyPI": "CC-BY-4.0",
    "Red Hat": "CC-BY-4.0",
    "Rocky Linux": "BSD-3-Clause",
    "RubyGems": "CC-BY-4.0",
    "SUSE": "CC-BY-4.0",
    "SwiftURL": "CC-BY-4.0",
    "Ubuntu": "CC-BY-SA-4.0",
    "crates.io": "CC0-1.0",
    "npm": "CC-BY-4.0",
    "opam": "CC0-1.0",
    "openEuler": "as openEuler publishes it",
    "openSUSE": "CC-BY-4.0",
}
_LARGE = frozenset(
    {"npm", "PyPI", "Ubuntu", "Debian", "Maven", "GIT", "OSS-Fuzz", "Go", "MinimOS", "Red Hat", "SUSE", "openSUSE"}
)
# What most images hold: a database without these is not one.
_REQUIRED = frozenset({"PyPI", "npm", "Go", "Maven"})
# Bug fix and enhancement notices: AlmaLinux publishes them beside the security ones, none names a vulnerability.
_NOT_SECURITY = ("ALBA-", "ALEA-", "RLBA-", "RLEA-")
# Only a title is kept; a publisher that gives none has a text whose first sentence serves.
_TITLE_CHARACTERS = 240
_NOTE_CHARACTERS = 80
# https://cwe.mitre.org/data/definitions/506.html
_EMBEDDED_MALICE = "CWE-506"
# A report shows a handful of links; some records carry over a hundred.
_MAX_REFERENCES = 6
_MAX_URL = 400
_REFERENCE_ORDER = {"ADVISORY": 0, "FIX": 1, "REPORT": 2, "ARTICLE": 3, "EVIDENCE": 4, "WEB": 5, "DETECTION": 6, "DISCUSSION": 7}
# Distributors' records of one vulnerability each: what is upstream of them is that vulnerability under its other names.
_SINGULAR = ("AZL-", "ECHO-", "MINI-", "ALPAQUITA-", "BELL-CVE-", "CGA-", "UBUNTU-CVE-", "DEBIAN-CVE-", "ALPINE-CVE-")
# Distributions whose notices name each rebuild of one fix.
_REBUILT = frozenset({"AlmaLinux", "Rocky Linux"})
_SEVERITY_PREFIXES = ("Critical:", "Important:", "Moderate:", "Low:")


class _Package(msgspec.Struct, frozen=True):
    name: str
    ecosystem: str


class _Range(msgspec.Struct, frozen=True):
    type: str
    events: list[Event] = []


class _Severity(msgspec.Struct, frozen=True):
    type: str = ""
    score: str = ""


class _Reference(msgspec.Struct, frozen=True):
    type: str = ""
    url: str = ""


class _Affected(msgspec.Struct, frozen=True):
    package: _Package | None = None
    ranges: list[_Range] | None = None
    versions: list[str] | None = None
    severity: list[_Severity] | None = None
    ecosystem_specific: Any = None
    database_specific: Any = None


class _Record(msgspec.Struct, frozen=True):
    id: str
    modified: str = ""
    published: str | None = None
    withdrawn: str | None = None
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    related: list[str] | None = None
    summary: str | None = None
    details: str | None = None
    severity: list[_Severity] | None = None
    affected: list[_Affected] | None = None
    references: list[_Reference] | None = None
    database_specific: Any = None


class Osv:
    """One feed an ecosystem: `osv/<Ecosystem>/all.zip`. Of a record only what concerns that ecosystem is taken."""

    name = "osv"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name=f"osv/{ecosystem}",
                path=f"osv/{ecosystem}/all.zip",
                url=f"{_UPSTREAM}/{quote(ecosystem)}/all.zip",
                max_bytes=_LARGE_BYTES if ecosystem in _LARGE else _USUAL_BYTES,
                ecosystems=(ecosystem,),
                licence=licence,
                required=ecosystem in _REQUIRED,
            )
            for ecosystem, licence in _ECOSYSTEMS.items()
        ]

    def listing(self, feed: Feed) -> Feed:
        """The list of an ecosystem's records, newest first."""
        return _beside(feed, "modified_id.csv", "list", _LIST_BYTES)

    def single(self, feed: Feed, identifier: str) -> Feed:
        """One record of an ecosystem."""
        return _beside(feed, f"{identifier}.json", identifier, MAX_ENTRY_BYTES)

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        read = self.reader(feed)
        for entry in entries(body, feed.name):
            if isinstance(entry, Gap):
                yield entry
            else:
                yield from read(*entry)

    def reader(self, feed: Feed) -> Callable[[str, bytes], Iterator[FeedRecord]]:
        """Return what reads one record of the archive: see `members.ByMember`."""
        return _Reader(feed).read


def _beside(feed: Feed, file: str, name: str, max_bytes: int) -> Feed:
    return msgspec.structs.replace(
        feed,
        name=f"{feed.name}.{name}",
        path=f"{feed.path.rpartition('/')[0]}/{file}",
        url=f"{feed.url.rpartition('/')[0]}/{quote(file)}",
        max_bytes=max_bytes,
    )


class _Reader:
    """Reads records of one ecosystem; keeps its version keys, which sorting events needs."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed.name
        self._ecosystem = feed.ecosystems[0]
        self._keys = Keys(self._ecosystem)
        self._decode = msgspec.json.Decoder(_Record).decode

    def read(self, name: str, content: bytes) -> Iterator[FeedRecord]:
        """Yield the record, nothing for one that is withdrawn, and a Gap for what could not be read of it.

        A record that names no version (commits only) still tells aliases and severity.
        """
        try:
            record = self._decode(content)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            yield unreadable(self._feed, name, str(error))
            return
        if record.withdrawn or record.id.startswith(_NOT_SECURITY):
            return
        advisory = self._advisory(record)
        yield advisory
        if not advisory.affected and any(one.package for one in record.affected or ()):
            yield unreadable(self._feed, record.id, "names no version of its package")

    def _advisory(self, record: _Record) -> Advisory:
        specific = record.database_specific if isinstance(record.database_specific, dict) else {}
        aliases, related = _relatives(record)
        vectors = _vectors(record)
        return Advisory(
            id=record.id,
            source="osv",
            aliases=aliases,
            related=related,
            summary=_title(record),
            cvss=vectors,
            severity=_word(record, specific, bool(vectors)),
            references=_links(record.references or ()),
            cwes=_strings(specific.get("cwe_ids") or specific.get("cwe")),
            published=record.published or "",
            modified=record.modified,
            affected=self._affected(record),
            kind="malware" if _is_malware(record, specific, aliases) else "vulnerability",
        )

    def _affected(self, record: _Record) -> tuple[Affected, ...]:
        found: list[Affected] = []
        for one in record.affected or ():
            if one.package is None or base(one.package.ecosystem) != self._ecosystem:
                continue
            ranges: list[VersionRange] = []
            for block in one.ranges or ():
                if block.type != "GIT":
                    ranges += intervals(block.events, self._keys)
            if not ranges and not one.versions:
                continue
            severity, note = _local(one)
            if not note and ranges and not any(r.fixed or r.last_affected or r.limit for r in ranges):
                note = _known_until(one)
            if one.package.ecosystem.startswith("Ubuntu:Pro:") and any(r.fixed for r in ranges):
                note = "with Ubuntu Pro"
            found += (
                Affected(
                    ecosystem=place(one.package.ecosystem),
                    name=name,
                    ranges=tuple(ranges),
                    versions=tuple(one.versions or ()),
                    severity=severity,
                    note=note,
                )
                for name in self._names(one.package, ranges, record)
            )
        return _one_per_package(found, self._keys)

    def _names(self, package: _Package, ranges: Iterable[VersionRange], record: _Record) -> tuple[str, ...]:
        name = normalize(package.ecosystem, package.name)
        if self._ecosystem not in _REBUILT:
            return (name,)
        return modules.names(name, " ".join(one.fixed for one in ranges), record.summary or "")


def _one_per_package(found: list[Affected], keys: Keys) -> tuple[Affected, ...]:
    """Join what a record says of one package in several blocks.

    A notice of an RPM distribution lists one block for each rebuild of the same fix (`.el8_4`, `.el8_5`): whoever has the lowest
    has the fix, so blocks that all begin at the beginning and differ in their fix only are one range up to the lowest. Other
    blocks are unions, as OSV says.
    """
    if len({(a.ecosystem, a.name) for a in found}) == len(found):
        return tuple(found)
    groups: dict[tuple[str, str], list[Affected]] = {}
    for one in found:
        groups.setdefault((one.ecosystem, one.name), []).append(one)
    return tuple(blocks[0] if len(blocks) == 1 else _joined(blocks, keys) for blocks in groups.values())


def _joined(blocks: list[Affected], keys: Keys) -> Affected:
    ranges = [r for block in blocks for r in block.ranges]
    if base(blocks[0].ecosystem) in _REBUILT and all(r.fixed and not r.introduced for r in ranges):
        ranges = [min(ranges, key=lambda r: keys(r.fixed) or b"")]
    versions = tuple(dict.fromkeys(v for block in blocks for v in block.versions))
    return msgspec.structs.replace(blocks[0], ranges=tuple(dict.fromkeys(ranges)), versions=versions)


def _local(one: _Affected) -> tuple[str, str]:
    """Return severity and note that a publisher adds to one package."""
    general = one.database_specific if isinstance(one.database_specific, dict) else {}
    special = one.ecosystem_specific if isinstance(one.ecosystem_specific, dict) else {}
    kind = general.get("informational")
    if isinstance(kind, str) and kind:
        return "", f"informational: {kind}"
    word = special.get("severity") or special.get("urgency")
    return (word if isinstance(word, str) else ""), ""


def _known_until(one: _Affected) -> str:
    """Return how far GitHub knows an open range to hold: later versions count all the same, as OSV says, and people are told.

    https://github.com/github/advisory-database: database_specific.last_known_affected_version_range
    """
    known = one.database_specific.get("last_known_affected_version_range") if isinstance(one.database_specific, dict) else None
    return f"known for {known[:_NOTE_CHARACTERS]}" if isinstance(known, str) and known else ""


def _is_malware(record: _Record, specific: dict[str, Any], aliases: Iterable[str]) -> bool:
    """OpenSSF's malicious packages say so by their id; GitHub's malware advisories by the weakness "embedded malicious code"."""
    if record.id.startswith("MAL-") or any(alias.startswith("MAL-") for alias in aliases):
        return True
    return record.id.startswith("GHSA-") and _EMBEDDED_MALICE in _strings(specific.get("cwe_ids"))


def _relatives(record: _Record) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return aliases and related ids. UBUNTU-CVE-x and the like are the CVE itself: their upstream is an alias."""
    aliases = list(record.aliases or ())
    related = list(record.related or ())
    for upstream in record.upstream or ():
        same = record.id.endswith(upstream) or record.id.startswith(_SINGULAR)
        (aliases if same else related).append(upstream)
    own = {record.id}
    return _unique(aliases, own), _unique(related, own)


def _unique(names: Iterable[str], without: set[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name and name not in without}))


def _vectors(record: _Record) -> tuple[str, ...]:
    listed = [*(record.severity or ()), *(s for one in record.affected or () for s in one.severity or ())]
    return tuple(dict.fromkeys(s.score for s in listed if s.type.startswith("CVSS") and s.score))


def _word(record: _Record, specific: dict[str, Any], scored: bool) -> str:  # noqa: FBT001 - private, one caller
    """Return the publisher's own severity word; of a bare score, where there is no vector, the word that CVSS gives it."""
    for one in record.severity or ():
        if one.type and not one.type.startswith("CVSS"):
            return one.score
    word = specific.get("severity")
    if isinstance(word, str):
        return word
    if record.summary and record.summary.startswith(_SEVERITY_PREFIXES):
        return record.summary.partition(":")[0]
    if not scored:
        for field in ("cvss_v4_score", "cvss_v3_score", "cvss_v2_score"):
            if isinstance(score := specific.get(field), int | float):
                return _rating(float(score))
    return ""


def _rating(score: float) -> str:
    """Qualitative severity rating scale of CVSS v3.1, section 5."""
    for least, word in ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MEDIUM"), (0.1, "LOW")):
        if score >= least:
            return word
    return ""


# "TensorFlow is an open source platform for ...": what the software is, not what is wrong with it.
_INTRODUCTION = re.compile(
    r"[^,;]{1,60} (?:is|are) (?:an?|the) (?!.*(?:vulnerab|denial|overflow|inject|leak|bypass|attack))", re.IGNORECASE
)


def _title(record: _Record) -> str:
    text = " ".join((record.summary or (record.details or "")[: 4 * _TITLE_CHARACTERS]).split())
    if not record.summary:
        sentences = text.lstrip("# ").split(". ")
        telling = next((sentence for sentence in sentences if not _INTRODUCTION.match(sentence)), sentences[0])
        text = telling if telling.endswith(".") or len(sentences) == 1 else f"{telling}."
    return text if len(text) <= _TITLE_CHARACTERS else text[: _TITLE_CHARACTERS - 1].rstrip() + "…"


def _links(references: Iterable[_Reference]) -> tuple[str, ...]:
    usable = [
        r for r in references if r.type != "PACKAGE" and r.url.startswith(("https://", "http://")) and len(r.url) <= _MAX_URL
    ]
    usable.sort(key=lambda r: _REFERENCE_ORDER.get(r.type, 9))
    return tuple(dict.fromkeys(r.url for r in usable))[:_MAX_REFERENCES]


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


PROVIDER = Osv()
