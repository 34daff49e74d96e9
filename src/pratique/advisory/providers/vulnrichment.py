"""CISA's Vulnrichment in, one record a CVE out: its answers to SSVC's decision points, and the vectors and CWEs that it adds.

https://github.com/cisagov/vulnrichment: one CVE record (https://cveproject.github.io/cve-schema/) a file, in which CISA's own
container ("CISA-ADP") is read and nothing else; no package is named, so that nothing is found by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import msgspec

from pratique.advisory.archive import entries, unreadable
from pratique.model.advisory import Advisory, Feed, FeedRecord, Ssvc
from pratique.model.inventory import Gap

# GitHub packs the whole repository on request: some 300 MB of 150,000 records.
_MAX_BYTES = 1 << 30
_FILE = re.compile(r"(?:^|/)(CVE-\d{4}-\d{4,19})\.json\Z")
_OWN = "CISA-ADP"
_VECTORS = ("cvssV4_0", "cvssV3_1", "cvssV3_0", "cvssV2_0")
# What CISA answers: https://www.cisa.gov/stakeholder-specific-vulnerability-categorization-ssvc
_ANSWERS = {
    "Exploitation": frozenset(("none", "poc", "active")),
    "Automatable": frozenset(("no", "yes")),
    "Technical Impact": frozenset(("partial", "total")),
}


class _Content(msgspec.Struct, frozen=True):
    options: list[dict[str, msgspec.Raw]] = []
    timestamp: str = ""


class _Other(msgspec.Struct, frozen=True):
    type: str = ""
    content: msgspec.Raw = msgspec.Raw(b"{}")


class _Description(msgspec.Struct, frozen=True, rename="camel"):
    cwe_id: str = ""


class _Problem(msgspec.Struct, frozen=True):
    descriptions: list[_Description] = []


class _Provider(msgspec.Struct, frozen=True, rename="camel"):
    short_name: str = ""
    date_updated: str = ""


class _Container(msgspec.Struct, frozen=True, rename="camel"):
    provider_metadata: _Provider = _Provider()
    metrics: list[dict[str, msgspec.Raw]] = []
    problem_types: list[_Problem] = []


class _Containers(msgspec.Struct, frozen=True):
    adp: list[_Container] = []


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    cve_id: str
    state: str = ""
    date_published: str = ""


class _Record(msgspec.Struct, frozen=True, rename="camel"):
    cve_metadata: _Metadata
    containers: _Containers = _Containers()


class Vulnrichment:
    """One feed. A full update brings it; a scan does not wait for it."""

    name = "vulnrichment"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name="cisa/vulnrichment",
                path="cisa/vulnrichment/develop.zip",
                url="https://github.com/cisagov/vulnrichment/archive/refs/heads/develop.zip",
                max_bytes=_MAX_BYTES,
                licence="CC0-1.0",
            )
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        decode = msgspec.json.Decoder(_Record).decode
        for entry in entries(body, feed.name):
            if isinstance(entry, Gap):
                yield entry
            elif _FILE.search(entry[0]):
                try:
                    found = _advisory(decode(entry[1]))
                except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                    yield unreadable(feed.name, entry[0], str(error))
                    continue
                if found is not None:
                    yield found


def _advisory(record: _Record) -> Advisory | None:
    """Return what CISA adds; None where it adds nothing, or the number was withdrawn."""
    own = [one for one in record.containers.adp if one.provider_metadata.short_name == _OWN]
    if not own or record.cve_metadata.state == "REJECTED":
        return None
    metrics = [metric for one in own for metric in one.metrics]
    cwes = (text.cwe_id for one in own for problem in one.problem_types for text in problem.descriptions)
    found = Advisory(
        id=record.cve_metadata.cve_id,
        source="vulnrichment",
        cvss=tuple(dict.fromkeys(_vectors(metrics))),
        cwes=tuple(dict.fromkeys(cwe for cwe in cwes if cwe)),
        published=_second(record.cve_metadata.date_published),
        modified=_second(own[-1].provider_metadata.date_updated),
        ssvc=_ssvc(metrics),
    )
    return found if found.ssvc is not None or found.cvss or found.cwes else None


def _vectors(metrics: Iterable[dict[str, msgspec.Raw]]) -> Iterator[str]:
    for metric in metrics:
        for kind in _VECTORS:
            if kind in metric:
                vector = msgspec.json.decode(metric[kind], type=dict[str, msgspec.Raw]).get("vectorString", b'""')
                yield msgspec.json.decode(vector, type=str)


def _ssvc(metrics: Iterable[dict[str, msgspec.Raw]]) -> Ssvc | None:
    """Return the newest answers; words that SSVC does not know are left out."""
    given = []
    for metric in metrics:
        other = msgspec.json.decode(metric["other"], type=_Other) if "other" in metric else _Other()
        if other.type == "ssvc":
            given.append(msgspec.json.decode(other.content, type=_Content))
    if not given:
        return None
    newest = max(given, key=lambda one: one.timestamp)
    answers = {name: _word(value) for option in newest.options for name, value in option.items() if name in _ANSWERS}
    kept = [word if (word := answers.get(name, "")) in known else "" for name, known in _ANSWERS.items()]
    return Ssvc(kept[0], kept[1], kept[2], newest.timestamp[:10]) if any(kept) else None


def _word(value: msgspec.Raw) -> str:
    return msgspec.json.decode(value, type=str).lower()


def _second(moment: str) -> str:
    """2024-04-18T13:31:14.941Z -> RFC 3339 to the second."""
    return f"{moment[:19]}Z" if len(moment) >= 19 else ""


PROVIDER = Vulnrichment()
