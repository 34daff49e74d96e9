"""The formats of differences: hostile text is shown and never obeyed, a comment is never too long, the same bytes every time."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest

import hostilereport
import pratique.report.diff
import reporting
from pratique._kit.discover import offers
from pratique.changes.diff import diff
from pratique.model.report import Report
from pratique.report.diff import Compared
from pratique.report.diff.json import schema
from pratique.report.markdown import MAX_BYTES

FORMATS = offers(pratique.report.diff, "REPORTER")


def written(name: str, old: Report, new: Report) -> str:
    """Write the differences."""
    out = io.BytesIO()
    writer: Any = FORMATS[name]
    writer.write(Compared(diff(old, new), new), out)
    return out.getvalue().decode("utf-8")


def test_names() -> None:
    """The formats of the command are the modules there are."""
    assert sorted(FORMATS) == ["json", "markdown", "sarif", "table"]
    assert all(writer.name == name for name, writer in FORMATS.items())


@pytest.mark.parametrize("kind", hostilereport.REPORTS)
@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_obeyed(name: str, kind: str) -> None:
    """No control character and no mark that reorders leaves raw; Markdown has no markup of an image's making."""
    made = hostilereport.REPORTS[kind]()
    for old, new in ((hostilereport.empty(), made), (made, hostilereport.empty()), (made, hostilereport.rich())):
        text = written(name, old, new)
        assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]", text) is None
        if name == "markdown":
            assert "<script" not in text
            assert "](javascript:" not in text
            assert "@everyone" not in text
        assert written(name, old, new) == text


@pytest.mark.parametrize("kind", hostilereport.REPORTS)
def test_json_is_what_the_schema_says(kind: str) -> None:
    """Also of hostile reports, in both directions."""
    valid = jsonschema_rs.validator_for(schema())
    made = hostilereport.REPORTS[kind]()
    for old, new in ((hostilereport.empty(), made), (made, hostilereport.rich())):
        assert valid.is_valid(json.loads(written("json", old, new)))


def test_a_comment_is_never_too_long() -> None:
    """What does not fit is counted."""
    packages = tuple(reporting.pypi(f"package-{number}") for number in range(500))
    findings = [
        reporting.finding(f"CVE-2024-{number:05}", packages[number % 500], title="x" * 300, fingerprint=str(number))
        for number in range(3000)
    ]
    text = written("markdown", hostilereport.empty(), reporting.report(*findings, packages=packages))
    assert len(text.encode()) <= MAX_BYTES
    assert "are left out here" in text
    assert text.count("<details>") == text.count("</details>") >= 1


def test_a_table_says_everything_that_matters() -> None:
    """Introduced, gone, otherwise changed; causes, where it came in, what mends it; packages, layers, gaps, verdicts."""
    old = hostilereport.rich()
    changed = [msgspec.structs.replace(old.findings[0], status="under_investigation"), *old.findings[2:]]
    extra = reporting.finding("CVE-2025-1", reporting.pypi("brand-new"), "critical", fixed_in=("2.0",))
    target = msgspec.structs.replace(old.target, digest="sha256:other", layers=old.target.layers[:1])
    new = msgspec.structs.replace(
        old, findings=(*changed, extra), packages=(*old.packages, reporting.pypi("brand-new")), target=target, problems=()
    )
    text = written("table", old, new)
    for word in (
        "Introduced: 1", "CVE-2025-1", "image: brand-new 1.0 is new", "brought by RUN x", "Upgrade brand-new to 2.0", "Gone: 1",
        "Other changes of findings: 1", "status affected -> under_investigation", "added      pypi brand-new",
        "Layers: 1 changed", "inventory.unreadable", "Total: 1 finding introduced, 1 gone, 1 otherwise changed",
    ):  # fmt: skip
        assert word in text
    assert max(map(len, text.splitlines())) <= 100
