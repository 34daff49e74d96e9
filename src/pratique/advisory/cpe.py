"""CPE match conditions of an NVD record in, the versions of known programs out.

https://nvd.nist.gov/developers/vulnerabilities (configurations); names are CPE 2.3: cpe:2.3:part:vendor:product:version:update
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pratique.model.advisory import Affected, RangeState, VersionRange
from pratique.model.programs import CPES, PROGRAMS

_KNOWN = frozenset(cpe for program in PROGRAMS.values() for cpe in program.cpes)
# A colon ends a field unless it is quoted.
_FIELDS = re.compile(r"(?<!\\):")
_COUNT = 13
# Systems that are not in a container of Linux: a program on (or for) one of them is another.
_ELSEWHERE = frozenset(("windows", "windows_nt", "macos", "mac_os_x", "mac_os", "iphone_os", "ipados", "android", "chrome_os"))
_MOST = 500  # statements of one record about one program; the longest lists of single versions have some 300


class Match(msgspec.Struct, frozen=True, rename="camel"):
    """One condition; bounds are "" where there is none."""

    criteria: str
    vulnerable: bool = True
    version_start_including: str = ""
    version_start_excluding: str = ""
    version_end_including: str = ""
    version_end_excluding: str = ""


class Node(msgspec.Struct, frozen=True, rename="camel"):
    """Conditions of which one must hold."""

    cpe_match: list[Match] = []
    negate: bool = False


class Configuration(msgspec.Struct, frozen=True):
    """Nodes that must hold together, or of which one must."""

    nodes: list[Node] = []
    operator: str = ""


def affected(configurations: Sequence[Configuration], *, disputed: bool) -> tuple[Affected, ...]:
    """Return the rows, one a program. What has no version at all, or is disputed, is undetermined."""
    ranges: dict[str, list[VersionRange]] = {}
    versions: dict[str, list[str]] = {}
    for configuration in configurations:
        for name, one in _statements(configuration):
            if isinstance(one, VersionRange):
                ranges.setdefault(name, []).append(one)
            else:
                versions.setdefault(name, []).append(one)
    return tuple(
        _row(name, ranges.get(name, ()), versions.get(name, ()), disputed=disputed) for name in sorted({*ranges, *versions})
    )


def _row(name: str, ranges: Iterable[VersionRange], versions: Iterable[str], *, disputed: bool) -> Affected:
    kept = tuple(dict.fromkeys(ranges))[:_MOST]
    listed = tuple(dict.fromkeys(versions))[:_MOST]
    bounded = tuple(one for one in kept if one != VersionRange())
    vague = not bounded and not listed
    state: RangeState = "undetermined" if disputed or vague else ""
    return Affected(
        ecosystem=CPES,
        name=name,
        ranges=kept if vague else bounded,
        versions=listed,
        state=state,
        note="disputed" if disputed else "",
    )


def _statements(configuration: Configuration) -> Iterator[tuple[str, VersionRange | str]]:
    fields = [(match, _fields(match.criteria)) for node in configuration.nodes if not node.negate for match in node.cpe_match]
    systems = [parts[4] for match, parts in fields if parts[2] == "o" and not match.vulnerable]
    if systems and _ELSEWHERE.issuperset(systems):
        return
    for match, parts in fields:
        name = f"{parts[3]}:{parts[4]}"
        if match.vulnerable and parts[2] == "a" and name in _KNOWN and parts[10] not in _ELSEWHERE:
            statement = _statement(match, parts)
            if statement is not None:
                yield name, statement


def _fields(criteria: str) -> list[str]:
    parts = _FIELDS.split(criteria)
    return parts if len(parts) == _COUNT else [""] * _COUNT


def _statement(match: Match, parts: Sequence[str]) -> VersionRange | str | None:
    """Return a range, a single version, or None for a version that does not apply ("-").

    An excluded beginning is taken as included: that one version too many is known to have had the code before the flaw.
    """
    version, update = (part.replace("\\", "") for part in parts[5:7])
    if version == "-":
        return None
    if version != "*":
        return version if update in {"*", "-", ""} else f"{version}-{update}"
    start = match.version_start_including or match.version_start_excluding
    if match.version_end_excluding:
        return VersionRange(start, match.version_end_excluding)
    return VersionRange(start, "", match.version_end_including)
