"""Photon OS' list of CVEs by package in, advisories out: one document a release.

https://packages.broadcom.com/photon/photon_cve_metadata/ ; ecosystem "Photon OS:5.0"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import msgspec

from pratique.advisory.archive import unreadable
from pratique.model.advisory import Advisory, Affected, Feed, FeedRecord, VersionRange
from pratique.model.errors import ParseError

# The largest has 5 MB.
_MAX_BYTES = 128 << 20
_RELEASES = ("1.0", "2.0", "3.0", "4.0", "5.0")
_NO_VERSION = frozenset({"", "NA", "N/A", "None", "-"})
# CVSS v3.1, section 5: the list has scores and no vectors.
_RATINGS = ((9.0, "CRITICAL"), (7.0, "HIGH"), (4.0, "MEDIUM"), (0.1, "LOW"))


class _Entry(msgspec.Struct, frozen=True):
    cve_id: str
    pkg: str
    res_ver: str | None = None
    cve_score: float | None = None
    status: str = ""


class Photon:
    """One feed a release. Packages are source packages, some of them binary ones."""

    name = "photon"

    def feeds(self) -> Sequence[Feed]:
        return [
            Feed(
                name=f"photon/{release}",
                path=f"photon/photon_cve_metadata/cve_data_photon{release}.json",
                url=f"https://packages.broadcom.com/photon/photon_cve_metadata/cve_data_photon{release}.json",
                max_bytes=_MAX_BYTES,
                ecosystems=(f"Photon OS:{release}",),
                licence="as Broadcom publishes it",
            )
            for release in _RELEASES
        ]

    def parse(self, feed: Feed, body: BinaryIO) -> Iterator[FeedRecord]:
        decode = msgspec.json.Decoder(_Entry).decode
        try:
            listed = msgspec.json.decode(body.read(feed.max_bytes), type=list[msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ParseError(f"{feed.name}: not a list of CVEs: {error}") from error
        for raw in listed:
            try:
                entry = decode(raw)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                yield unreadable(feed.name, bytes(raw)[:60].decode(errors="replace"), str(error))
                continue
            if entry.cve_id.startswith("CVE-"):
                yield Advisory(id=entry.cve_id, source="photon", affected=(_affected(entry, feed.ecosystems[0]),))
            else:
                yield unreadable(feed.name, entry.cve_id, "is no CVE")


def _affected(entry: _Entry, ecosystem: str) -> Affected:
    if entry.status.lower() == "not affected":
        return Affected(ecosystem=ecosystem, name=entry.pkg, state="not-affected")
    fix = (entry.res_ver or "").strip()
    known = fix not in _NO_VERSION
    return Affected(
        ecosystem=ecosystem,
        name=entry.pkg,
        ranges=(VersionRange("", fix) if known else VersionRange(),),
        severity=next((word for least, word in _RATINGS if (entry.cve_score or 0) >= least), ""),
        state="" if known else "unfixed",
    )


PROVIDER = Photon()
