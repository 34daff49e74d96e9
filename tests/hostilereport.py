"""Reports of all sizes for the tests of formats: nothing in them, everything in them, and everything hostile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

import reporting
from pratique.model.finding import FindingLocation
from pratique.model.inventory import Gap, Location
from pratique.model.report import PolicyRef, Reason, Report, Verdict

NASTY = (
    "=cmd|'/c calc'!A1 <script>alert(1)</script> ]]> --> &amp; \\n | `x` [a](javascript:x) @everyone #1 "
    "\x00\x01\x1b[31m\x9b31m\u202edrow\u2028\ufeff\ufffe\uffff\U000e0041 \"'{{7*7}} %s \r\n\t end"
)
NOWHERE = "javascript:alert(1)//\x1b"


def empty() -> Report:
    """Make a report of nothing."""
    return reporting.report()


def rich() -> Report:
    """Make a report with every member, of several ecosystems and kinds."""
    debs = [reporting.deb(name) for name in ("libssl3", "openssl", "libssl-dev")]
    own = msgspec.structs.replace(reporting.pypi("requests", "2.28.1"), owner=debs[0].purl, licenses=("Apache 2.0",))
    free = msgspec.structs.replace(reporting.pypi("urllib3", "1.25"), licenses=("MIT", "Apache-2.0 OR BSD-3-Clause"))
    main = msgspec.structs.replace(reporting.pypi("shop"), role="main", licenses=("mit",), declared=True)
    found = [
        *(reporting.finding("CVE-2024-0001", package, fixed_in=("3.0.12",)) for package in debs),
        reporting.full("CVE-2024-0002", free),
        msgspec.structs.replace(reporting.full("CVE-2024-0003", free), waiver=None),
        reporting.finding("GHSA-xxxx-yyyy-zzzz", free, "low", status="under_investigation"),
        reporting.finding("CVE-2024-0004", free, "negligible", status="not_affected"),
        reporting.finding("CVE-2024-0005", free, "critical", status="fixed"),
        reporting.finding("MAL-2024-1", free, "critical", kind="malware"),
        reporting.finding("EOL-debian-12", None, "high", kind="eol", location=None),
        reporting.finding("S-1", None, "unknown", kind="secret", location=FindingLocation(path="a b/ü#?.env", line=3)),
    ]
    gaps = (
        Gap(code="inventory.unreadable", message="not sound", path="a/b"),
        Gap(code="advisories.stale", message="old", source="x"),
    )
    verdict = Verdict(decision="deny", policy=PolicyRef("p", "sha256:00"), reasons=(Reason("r", "because", ("x",)),))
    return reporting.report(*found, packages=(*debs, own, free, main), problems=gaps, complete=False, verdict=verdict)


def hostile(text: str = NASTY) -> Report:
    """Make a report in which every text that an image or an advisory could choose is hostile."""
    package = msgspec.structs.replace(
        reporting.pypi("x"), name=text, version=text, licenses=(text, "LicenseRef-a"), locations=(Location(text, "sha256:22"),)
    )
    of = reporting.full(text, package)
    facts: dict[str, Any] = {"title": text, "message": text, "aliases": (text,), "references": (NOWHERE, text), "published": text}
    facts |= {"fixed_in": (text,), "waiver": {"id": text, "owner": text}, "id": text}
    facts["location"] = FindingLocation(path=text, layer="sha256:2222222222222222", instruction=text)
    found = msgspec.structs.replace(of, **facts)
    other = msgspec.structs.replace(found, kind="secret", package=None, waiver=None)
    open_one = msgspec.structs.replace(found, id=f"{text}2", waiver=None)
    gap = Gap(code="inventory.unreadable", message=text, path=text)
    verdict = Verdict(decision="deny", reasons=(Reason(text, text),))
    made = reporting.report(
        found, open_one, other, packages=(package,), problems=(gap,), complete=False, verdict=verdict, reference=text
    )
    layers = tuple(msgspec.structs.replace(layer, created_by=text) for layer in made.target.layers)
    return msgspec.structs.replace(made, target=msgspec.structs.replace(made.target, layers=layers))


REPORTS: dict[str, Callable[[], Report]] = {
    "empty": empty,
    "rich": rich,
    "hostile": hostile,
    "halves": lambda: hostile("a\udc80\ud800b"),
}
