"""What VEX statements settle, as each format shows it; and what became of the statements, for people."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from lxml import etree

import reporting
from pratique.model.finding import VexNote
from pratique.model.report import Report
from pratique.model.vex import VexDocument, VexReport, VexUnapplied
from pratique.report import gitlab, html, junit, markdown, sarif, spdx, table

NOTE = VexNote(
    document="https://acme.example/vex-1",
    statement=7,
    author="Acme \x1b[31mSecurity",
    status="not_affected",
    signer="acme.pub",
    justification="component_not_present",
    impact="not built in",
)
SAID = "not affected, says Acme"


def settled(*, unapplied: int = 0, documents: int = 1) -> Report:
    """A report of two packages with one vulnerability, of which one is not affected."""
    one, two = reporting.deb("libssl3"), reporting.deb("openssl")
    read = VexDocument(
        source="a.json", id="x", format="openvex", author="Acme", version="1", timestamp="", signer="", statements=9, applied=1
    )
    left = VexUnapplied(
        document="x",
        statement=1,
        vulnerability="CVE-1",
        status="fixed",
        product="pkg:npm/x",
        code="version-differs",
        message="why",
    )
    vex = VexReport(
        documents=(read,) * documents, unapplied=(left,) * unapplied, counts={"version-differs": unapplied} if unapplied else {}
    )
    findings = (
        reporting.finding("CVE-2024-0001", one, status="not_affected", vex=NOTE, fixed_in=("9",)),
        reporting.finding("CVE-2024-0001", two, fixed_in=("9",)),
    )
    return reporting.report(*findings, packages=(one, two), vex=vex)


def written(reporter: Any, report: Report) -> str:
    """Write a report."""
    out = io.BytesIO()
    reporter.write(report, out)
    return out.getvalue().decode()


def test_the_table_keeps_statuses_apart() -> None:
    """Packages of one source are one row, unless one is affected and the other is not."""
    text = written(table.REPORTER, settled())
    rows = [line.split() for line in text.splitlines() if "CVE-2024-0001 " in line and "3.0.11-1" in line]
    assert sorted((row[0], row[2]) for row in rows) == [("HIGH", "openssl"), ("HIGH-", "libssl3")]
    assert "- not affected or fixed, says a VEX statement" in text
    assert "2 with a fix, 0 known to be exploited, 1 not affected or fixed" in text
    told = " ".join(text.split())
    assert f"CVE-2024-0001 libssl3: {SAID}" in told
    assert "(statement 7 of https://acme.example/vex-1, verified by acme.pub): component not present: not built in" in told
    assert "\x1b" not in text


def test_what_was_not_applied_is_counted_and_some_of_it_told() -> None:
    """The nearest ones; the rest by number."""
    text = " ".join(written(table.REPORTER, settled(unapplied=30, documents=25)).split())
    assert "not applied: 30 about another version" in text
    assert text.count("statement 1 on CVE-1 in pkg:npm/x: why") == 5
    assert "5 more documents; --format json lists all" in text
    nothing = reporting.report(vex=VexReport(documents=(), unapplied=(), counts={}))
    assert "no document was found" in written(table.REPORTER, nothing)


@pytest.mark.parametrize("reporter", [markdown.REPORTER, html.REPORTER], ids=["markdown", "html"])
def test_pages_say_so(reporter: Any) -> None:
    """People who read a page see it beside the finding."""
    assert "not affected" in written(reporter, settled())


def test_tools_see_it_as_settled() -> None:
    """Suppressed in SARIF, skipped in JUnit, flagged in GitLab, stated in SPDX 3."""
    report = settled()
    results = json.loads(written(sarif.REPORTER, report))["runs"][0]["results"]
    reasons = [one["suppressions"][0]["justification"] for one in results if "suppressions" in one]
    assert len(reasons) == 1
    assert reasons[0].startswith(SAID)
    cases = etree.fromstring(written(junit.REPORTER, report).encode()).findall(".//testcase/skipped")
    assert [case.get("message", "").startswith(SAID) for case in cases] == [True]
    flags = [one.get("flags") for one in json.loads(written(gitlab.REPORTER, report))["vulnerabilities"]]
    assert sum(flag is not None for flag in flags) == 1
    assert SAID in written(spdx.REPORTER.at("3.0"), report)
