"""Why it was decided so, and what is attested: in short for people, whole for programs."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec

import hostilereport
import pratique.report
import reporting
from pratique._kit.discover import offers
from pratique.model.attestation import Attestation
from pratique.model.report import PolicyRef, Reason, Report, Verdict

REPORTERS = offers(pratique.report, "REPORTER")


def written(name: str, report: Report) -> bytes:
    """Write a report."""
    reporter: Any = REPORTERS[name]
    out = io.BytesIO()
    reporter.write(report, out)
    return out.getvalue()


def _judged(*reasons: Reason, attestations: tuple[Attestation, ...] | None = None) -> Report:
    verdict = Verdict(decision="deny", policy=PolicyRef("p", "sha256:1"), reasons=reasons)
    return msgspec.structs.replace(hostilereport.rich(), verdict=verdict, attestations=attestations)


def test_a_rule_that_fired_often_is_told_in_short() -> None:
    """People see the first few and the number; the JSON document has all."""
    often = tuple(Reason("often", f"message {number}", (), "deny", "") for number in range(40))
    report = _judged(*often, Reason("once", "warning: \x1b[1mmine", (), "warn", ""))
    text = written("table", report)
    assert sum(b"often: message" in line for line in text.splitlines()) == 5
    assert b"often: and 35 more" in text
    assert b"message 0 (and 39 more)" in b" ".join(written("markdown", report).split()).replace(b"**", b"")
    page = written("html", report)
    assert b'<b>often</b>: 40 times, <span class="soft">such as message 0</span></summary>' in page
    assert b'<span class="tag warn">warns</span> <b>once</b>: ' in page
    assert page.count(b"<li>message ") == 40
    assert len(json.loads(written("json", report))["verdict"]["reasons"]) == 41
    few = written("table", _judged(*often[:6]))
    assert few.count(b"often: message") == 6


def test_attestations_are_told() -> None:
    """What is verified by which key, and how many are not; nothing where nobody asked."""
    known = Attestation(predicate="https://slsa.dev/provenance/v1", signer="acme\x1b.pub", verified=True)
    for found, said in (
        ((), b"none"),
        ((known,), b"verified: https://slsa.dev/provenance/v1 by acme"),
        ((Attestation(predicate="p"),), b"none is verified; 1 that no key given verifies"),
    ):
        report = _judged(attestations=found)
        assert b"Attestations: " + said in b" ".join(written("table", report).split())
        assert b"<dt>Attested</dt><dd>" + said in written("html", report)
        assert b"\x1b" not in written("table", report)
    assert b"Attest" not in written("table", _judged()) + written("html", _judged())


def test_controls_are_told() -> None:
    """What a misconfiguration goes against in benchmarks: tags in SARIF, a line on the page."""
    found = reporting.finding(
        "df-user-root", None, "high", kind="misconfiguration", controls=("CIS Docker 4.1", "Hadolint DL3002")
    )
    report = reporting.report(found)
    (rule,) = json.loads(written("sarif", report))["runs"][0]["tool"]["driver"]["rules"]
    assert rule["properties"]["tags"][-2:] == ["CIS Docker 4.1", "Hadolint DL3002"]
    assert b"CIS Docker 4.1, Hadolint DL3002" in written("html", report)
