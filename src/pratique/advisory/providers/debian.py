"""The Debian security tracker's one document in, advisories out: by source package, vulnerability and release.

https://security-team.debian.org/security_tracker.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

import msgspec

from pratique.advisory.archive import unreadable
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord, RangeState, VersionRange
from pratique.model.errors import ParseError

# The document has about 70 MB.
_MAX_BYTES = 512 << 20
_TITLE_CHARACTERS = 240

# https://www.debian.org/releases/ ; a code name that is not listed stays as it is
_RELEASES = {
    "squeeze": "6",
    "wheezy": "7",
    "jessie": "8",
    "stretch": "9",
    "buster": "10",
    "bullseye": "11",
    "bookworm": "12",
    "trixie": "13",
    "forky": "14",
    "duke": "15",
}
# "Not yet assigned" is no severity; "end-of-life" is a state.
_NO_SEVERITY = frozenset({"not yet assigned", "end-of-life", ""})


class _Release(msgspec.Struct, frozen=True):
    status: Literal["resolved", "open", "undetermined"]
    urgency: str = ""
    fixed_version: str | None = None
    nodsa: str | None = None
    nodsa_reason: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    releases: dict[str, _Release]
    description: str | None = None


class Debian:
    """One feed for all releases; ecosystems "Debian:12" and, for what never gets a number, "Debian:sid"."""

    name = "debian"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name="debian/tracker",
                path="debian/tracker/data/json",
                url="https://security-tracker.debian.org/tracker/data/json",
                max_bytes=_MAX_BYTES,
                ecosystems=("Debian",),
                licence="facts",
                required=True,
            )
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        entry = msgspec.json.Decoder(_Entry)
        try:
            # Raw, so that one odd entry costs itself only.
            packages = msgspec.json.decode(body.read(feed.max_bytes), type=dict[str, dict[str, msgspec.Raw]])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ParseError(f"{feed.name}: not the tracker's document: {error}") from error
        for package, entries in packages.items():
            for name, raw in entries.items():
                try:
                    decoded = entry.decode(raw)
                except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                    yield unreadable(feed.name, f"{package} {name}", str(error))
                    continue
                yield _advisory(package, name, decoded)


def _advisory(package: str, name: str, entry: _Entry) -> Advisory:
    return Advisory(
        id=name,
        source="debian",
        summary=_title(entry.description or ""),
        affected=tuple(_affected(package, codename, release) for codename, release in entry.releases.items()),
    )


def _affected(package: str, codename: str, release: _Release) -> Affected:
    state, ranges, note = _verdict(release)
    return Affected(
        ecosystem=f"Debian:{_RELEASES.get(codename, codename)}",
        name=package,
        ranges=ranges,
        severity="" if release.urgency in _NO_SEVERITY else release.urgency.rstrip("*"),
        state=state,
        note=note,
    )


def _verdict(release: _Release) -> tuple[RangeState, tuple[VersionRange, ...], str]:
    """Return state, ranges and note. Fixed version "0" says that the release never had the vulnerable code.

    `nodsa` means that no advisory of its own is worth it; with reason "postponed" the fix waits for one, "ignored" says there is
    to be none.
    """
    if release.status == "resolved":
        if release.fixed_version == "0":
            return "not-affected", (), ""
        return "", (VersionRange("", release.fixed_version or ""),), ""
    everything = (VersionRange(),)
    note = " ".join(": ".join(part for part in (release.nodsa_reason, release.nodsa) if part).split())[:_TITLE_CHARACTERS]
    if release.status == "undetermined":
        return "undetermined", everything, note
    if release.urgency == "end-of-life":
        return "end-of-life", everything, note
    if release.nodsa_reason == "ignored":
        return "wont-fix", everything, note
    return "unfixed", everything, note


def _title(text: str) -> str:
    text = " ".join(text[: 4 * _TITLE_CHARACTERS].split())
    end = text.find(". ")
    text = text[: end + 1] if end > 0 else text
    return text if len(text) <= _TITLE_CHARACTERS else text[: _TITLE_CHARACTERS - 1].rstrip() + "…"


PROVIDER = Debian()
