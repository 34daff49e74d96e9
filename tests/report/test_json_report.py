"""The `json` document: its schema, its members, its bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from pratique.model.inventory import Gap
from pratique.model.report import PolicyRef, Reason, Report, Verdict
from pratique.report.json import REPORTER, schema
from reporting import deb, finding, full, pypi, report

# The contract's members, "a.b" for those within, "[]" for each of a list.
CONTRACT = [
    "schema",
    "complete",
    "meta.version",
    "meta.scanned_at",
    "meta.database.built_at",
    "meta.database.digest",
    "meta.database.sources[].name",
    "target.reference",
    "target.scheme",
    "target.digest",
    "target.platform",
    "target.distro.id",
    "target.distro.version",
    "target.distro.eol",
    "target.layers[].digest",
    "target.layers[].diff_id",
    "target.layers[].created_by",
    "target.layers[].size",
    "packages[].name",
    "packages[].version",
    "packages[].purl",
    "packages[].ecosystem",
    "packages[].source.name",
    "packages[].source.version",
    "packages[].licenses",
    "packages[].locations[].path",
    "packages[].locations[].layer",
    "findings[].kind",
    "findings[].id",
    "findings[].title",
    "findings[].message",
    "findings[].references",
    "findings[].aliases",
    "findings[].severity",
    "findings[].status",
    "findings[].package.purl",
    "findings[].fixed_in",
    "findings[].cvss[].vector",
    "findings[].epss.score",
    "findings[].kev",
    "findings[].location.path",
    "findings[].location.line",
    "findings[].location.layer",
    "findings[].location.instruction",
    "findings[].because.range",
    "findings[].fingerprint",
    "findings[].waiver",
    "problems[].code",
    "problems[].message",
    "problems[].path",
    "verdict.decision",
    "verdict.policy.name",
    "verdict.policy.digest",
    "verdict.reasons[].rule",
    "verdict.reasons[].message",
    "verdict.reasons[].findings",
]


def _document(made: Report) -> Any:
    out = io.BytesIO()
    REPORTER.write(made, out)
    return json.loads(out.getvalue())


@pytest.fixture(scope="module")
def rich() -> Report:
    """A report in which everything has a value."""
    verdict = Verdict(
        decision="deny", policy=PolicyRef("strict", "sha256:ff"), reasons=(Reason("kev", "one", ("print-of-CVE-1",)),)
    )
    gap = Gap(code="inventory.unreadable", message="x", path="y")
    package = deb("libssl3")
    return report(full("CVE-1", package), packages=(package,), problems=(gap,), verdict=verdict)


def test_valid(rich: Report) -> None:
    """Full and bare reports follow the schema; the reports read back as they were."""
    validator = jsonschema_rs.validator_for(schema())
    for made in (rich, report(finding("CVE-1", pypi("a")), finding("EOL-1", None, kind="eol", location=None)), report()):
        validator.validate(_document(made))
        assert msgspec.json.decode(msgspec.json.encode(_document(made)), type=Report) == made


@pytest.mark.parametrize("path", CONTRACT)
def test_members_of_the_contract(rich: Report, path: str) -> None:
    """Each member that the contract names is there."""
    place = [_document(rich)]
    for step in path.split("."):
        name, _, each = step.partition("[")
        place = [member[name] for member in place]
        if each:
            assert all(place)
            place = [item for member in place for item in member]
    assert place


def test_nothing_is_left_out() -> None:
    """What is not known is null or empty, not absent, so that nobody has to guess."""
    document = _document(report(finding("EOL-1", None, kind="eol", location=None)))
    (found,) = document["findings"]
    for member in ("package", "epss", "location", "because", "waiver"):
        assert found[member] is None
    assert document["verdict"]["policy"] is None
    assert (found["fixed_in"], found["cvss"], found["kev"]) == ([], [], False)


def test_schema_refuses(rich: Report) -> None:
    """A missing member, a wrong word and another schema's document are told."""
    validator = jsonschema_rs.validator_for(schema())
    changes: tuple[Callable[[Any], object], ...] = (
        lambda d: d["findings"][0].pop("waiver"),
        lambda d: d["findings"][0].update(severity="dreadful"),
        lambda d: d.update(schema="urn:pratique:schema:scan-2"),
        lambda d: d["verdict"].update(decision="maybe"),
        lambda d: d["target"].pop("distro"),
    )
    for change in changes:
        document = _document(rich)
        change(document)
        assert not validator.is_valid(document)
