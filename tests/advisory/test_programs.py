"""Programs that no package manager installed, from the file to the finding: by Bitnami's records, by NVD's names, or by a gap."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from feedsim import CASES, archive, record
from imagebuilder import docker_archive, layer
from pratique import api
from pratique.advisory import cpe
from pratique.advisory.update import Options, update
from pratique.model.advisory import VersionRange
from pratique.model.programs import PROGRAMS
from pratique.model.report import Report

_NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
_HEADER = "usr/local/include/node/node_version.h"


def _node(version: str) -> dict[str, str]:
    parts = zip(("MAJOR", "MINOR", "PATCH"), version.split("."), strict=True)
    return {_HEADER: "".join(f"#define NODE_{name}_VERSION {number}\n" for name, number in parts)}


def _scan(folder: Path, files: Mapping[str, str], feeds: Mapping[str, bytes]) -> Report:
    mirror = folder / "mirror"
    mirror.mkdir()
    for path, content in feeds.items():
        place = mirror / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    address = mirror.as_uri()
    names = [name for name, path in (("nvd/2024", "nvd/nvdcve-2.0-2024.json.gz"),) if path in feeds]
    update(folder / "cache", names, Options(mirror=address), now=lambda: _NOW)
    target = folder / "image.tar"
    target.write_bytes(docker_archive([layer(dict(files))]))
    return api.scan(f"docker-archive:{target}", offline=True, mirror=address, cache_dir=folder / "cache", now=_NOW)


def _found(report: Report) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.id, one.status, one.fixed_in) for one in report.findings if one.kind == "vulnerability"]


_BITNAMI = {
    "osv/Bitnami/all.zip": archive([record("BIT-node-2024-10001", "node", "18.20.5", "Bitnami", aliases=["CVE-2024-10001"])])
}
_NVD = {"nvd/nvdcve-2.0-2024.json.gz": gzip.compress((CASES / "nvd/documented/feed").read_bytes())}


def test_node_is_matched_by_bitnamis_records(tmp_path: Path) -> None:
    """A runtime below /usr/local, which no package database knows."""
    report = _scan(tmp_path, _node("18.20.4"), _BITNAMI)
    assert _found(report) == [("CVE-2024-10001", "affected", ("18.20.5",))]
    assert [one.because.ecosystem for one in report.findings if one.because and one.kind != "eol"] == ["Bitnami"]
    assert not [gap for gap in report.problems if gap.code == "advisories.no-source" or gap.source == "CPE"]


@pytest.mark.parametrize(("version", "fixed"), [("18.20.4", ("18.20.5",)), ("20.18.0", ()), ("22.0.0", ()), ("18.20.5", None)])
def test_node_is_matched_by_nvds_names_where_they_are_there(tmp_path: Path, version: str, fixed: tuple[str, ...] | None) -> None:
    """Ranges and single versions of the CPE."""
    assert _found(_scan(tmp_path, _node(version), _NVD)) == ([] if fixed is None else [("CVE-2024-10001", "affected", fixed)])


def test_both_sources_make_one_finding(tmp_path: Path) -> None:
    """They speak of one CVE."""
    report = _scan(tmp_path, _node("18.20.4"), {**_BITNAMI, **_NVD})
    (found,) = [one for one in report.findings if one.kind == "vulnerability"]
    assert found.because is not None
    assert {found.because.source, *(other.source for other in found.because.also)} == {"osv/Bitnami", "nvd/2024"}


def test_without_a_feed_it_is_a_gap(tmp_path: Path) -> None:
    """Never a silent zero; CPEs are extra, and their absence is none."""
    report = _scan(tmp_path, _node("18.20.4"), {"cisa/known_exploited_vulnerabilities.json": b'{"vulnerabilities": []}'})
    assert {"Bitnami", "CPE"} & {gap.source for gap in report.problems if gap.code == "advisories.starter-only"} == {"Bitnami"}


def _configurations(document: str) -> list[cpe.Configuration]:
    import msgspec

    return msgspec.json.decode(document, type=list[cpe.Configuration])


def test_one_version_of_every_known_program_is_read() -> None:
    """Vendor and product are matched as they are written, quoted signs included."""
    for program in PROGRAMS.values():
        for name in program.cpes:
            criteria = f"cpe:2.3:a:{name}:*:*:*:*:*:*:*:*"
            document: list[dict[str, Any]] = [{"nodes": [{"cpeMatch": [{"criteria": criteria, "versionEndExcluding": "2.0"}]}]}]
            (row,) = cpe.affected(_configurations(json.dumps(document)), disputed=False)
            assert (row.name, row.ranges) == (name, (VersionRange("", "2.0"),))
