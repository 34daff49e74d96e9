"""`pratique explain`: every reason for which something is, or is not, reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest

from pratique.cli.schemas import schema

NOW = ("--offline", "--now", "2024-06-01")
Call = Callable[..., Any]


def test_reported(call: Call, image: str) -> None:
    """Package, advisory, source, range, comparison, layer, fix and exploitation: exit 0."""
    ran = call("explain", image, "cve-2023-4911", *NOW)
    assert ran.code == 0
    for said in ("glibc 2.36-9", "2.36-9 < 2.36-9+deb12u3", "starter", "sha256:", "fixed in", "known to be exploited"):
        assert said in ran.out


def test_reported_as_a_document(call: Call, image: str) -> None:
    """JSON follows its schema and holds the finding of the scan itself."""
    ran = call("explain", image, "CVE-2024-3651", *NOW, "-f", "json")
    jsonschema_rs.validator_for(schema("explain")).validate(ran.json)
    assert (ran.code, ran.json["answer"]) == (0, "reported")
    found = call("scan", image, *NOW, "-f", "json").json["findings"]
    assert ran.json["findings"] == [finding for finding in found if finding["id"] == "CVE-2024-3651"]


@pytest.mark.parametrize(
    ("identifier", "why", "said"),
    [
        ("CVE-2018-20060", "outside", "1.25 >= 1.23"),
        ("CVE-2018-18074", "owned", "belongs to pkg:deb/debian/python3-requests"),
    ],
)
def test_not_reported(call: Call, image: str, identifier: str, why: str, said: str) -> None:
    """Outside of every range, or another's to answer for: exit 1, and each comparison is shown."""
    ran = call("explain", image, identifier, *NOW, "-f", "json")
    assert (ran.code, ran.json["answer"]) == (1, "not-reported")
    assert [package["why"] for package in ran.json["packages"]] == [why]
    assert said in call("explain", image, identifier, *NOW).out


def test_cannot_tell(call: Call, image: str) -> None:
    """An unknown id, and a known one about no package here while sources are missing: exit 3."""
    ran = call("explain", image, "CVE-1999-99999", *NOW, "-f", "json")
    assert (ran.code, ran.json["answer"]) == (3, "unknown")
    assert "not known" in ran.json["message"]
    ran = call("explain", image, "CVE-2021-44228", *NOW)
    assert ran.code == 3
    assert "advisories.starter-only" in ran.out


def test_target_that_is_not_there(call: Call) -> None:
    """As for scan: 3, and 2 for bad usage."""
    assert call("explain", "rootfs:/does/not/exist", "CVE-2021-44228", *NOW).code == 3
    assert call("explain", "rootfs:/").code == 2
