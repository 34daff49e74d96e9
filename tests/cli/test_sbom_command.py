"""`pratique sbom`, and its documents and those of other tools as targets of `pratique scan`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sbomimage

Call = Callable[..., Any]
DOCUMENTS = Path(__file__).parents[1] / "inventory" / "sbom" / "documents"
NOW = ("--offline", "--now", "2024-06-01")


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the image that the documents describe."""
    path = tmp_path_factory.mktemp("debian") / "image.tar"
    path.write_bytes(sbomimage.archive())
    return f"docker-archive:{path}"


def findings(call: Call, target: str) -> set[tuple[Any, ...]]:
    """Return what a scan finds, as far as an SBOM can know it: layers and paths are left out."""
    report = call("scan", target, *NOW, "-f", "json").json
    keys = ("kind", "id", "severity", "status", "fingerprint")
    return {(*(item[key] for key in keys), *item["fixed_in"], item["package"]["purl"]) for item in report["findings"]}


@pytest.mark.parametrize("name", ["cyclonedx", "cyclonedx@1.7", "spdx", "spdx@3.0"])
def test_our_own_gives_what_the_image_gives(call: Call, debian: str, tmp_path: Path, name: str) -> None:
    """An SBOM of ours, scanned, has the very findings of its image; so has the SBOM of the SBOM."""
    path, again = tmp_path / "a.json", tmp_path / "b.json"
    assert call("sbom", debian, "-o", f"{name}={path}").code == 0
    assert call("sbom", f"sbom:{path}", "-o", f"{name}={again}").code == 0
    expected = findings(call, debian)
    assert len(expected) > 5
    assert findings(call, f"sbom:{path}") == expected
    assert findings(call, f"sbom:{again}") == expected


@pytest.mark.parametrize("name", sorted(path.name for path in DOCUMENTS.iterdir() if path.name != "PROVENANCE.md"))
def test_others_give_what_the_image_gives(call: Call, debian: str, name: str) -> None:
    """So do Syft's and Trivy's, also where Syft's CycloneDX leaves out that Debian installed requests."""
    assert findings(call, f"sbom:{DOCUMENTS / name}") == findings(call, debian)


def test_the_time_of_a_reproducible_build(call: Call, debian: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SOURCE_DATE_EPOCH is the time of the document, --now goes before it, and what is no number is refused."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first, second = call("sbom", debian), call("sbom", debian)
    assert first.out == second.out
    assert first.json["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert call("sbom", debian, "--now", "2024-06-01").json["metadata"]["timestamp"] == "2024-06-01T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert call("sbom", debian).code == 2


def test_hash_seeds_change_nothing(debian: str) -> None:
    """Two processes, whose sets and tables are in other orders, write the same bytes in every format."""
    for name in ("cyclonedx", "spdx", "spdx@3.0", "json"):
        outputs = set()
        for seed in ("1", "2"):
            command = [
                sys.executable,
                "-m",
                "pratique",
                "sbom",
                debian,
                "-f",
                name,
                "--files",
                "--no-cache",
                "--now",
                "2024-06-01",
            ]
            done = subprocess.run(
                command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True, timeout=60
            )
            outputs.add(done.stdout)
        assert len(outputs) == 1, name


def test_touches_no_database(call: Call, debian: str, tmp_path: Path) -> None:
    """The default is CycloneDX on standard output, without a vulnerability, and without advisories on the disk."""
    ran = call("sbom", debian, "--cache-dir", tmp_path / "cache")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["bomFormat"] == "CycloneDX"
    assert "vulnerabilities" not in ran.json
    assert {path.name for path in (tmp_path / "cache").iterdir()} <= {"layers", "verified"}


def test_several_documents_at_once(call: Call, debian: str, tmp_path: Path) -> None:
    """Each format to its file, the last to standard output; a template of one's own, too."""
    pytest.importorskip("jinja2", reason="needs Jinja2, which -o template uses")
    page = tmp_path / "t.txt"
    page.write_text("{{ report.packages | length }} packages\n")
    ran = call(
        "sbom", debian, "-o", f"spdx={tmp_path / 's'}", "-o", f"json={tmp_path / 'j'}", "-o", "template", "--template", page
    )
    assert ran.out == "11 packages\n"
    assert json.loads((tmp_path / "s").read_bytes())["spdxVersion"] == "SPDX-2.3"
    document = json.loads((tmp_path / "j").read_bytes())
    assert (document["findings"], document["verdict"]["decision"], document["meta"]["database"]["kind"]) == (
        [],
        "unknown",
        "none",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["-f", "table"],
        ["-f", "sarif"],
        ["-f", "spdx@1.0"],
        ["-f", "json@2"],
        ["-f", "template"],
        ["-f", "template", "--template", "/none"],
    ],
)
def test_bad_usage(call: Call, debian: str, arguments: list[str]) -> None:
    """A format that tells of findings has nothing to tell here; versions that are none are refused."""
    ran = call("sbom", debian, *arguments)
    assert ran.code == 2
    assert ran.err.count("\n") == 1


def test_nothing_in_it(call: Call, tmp_path: Path) -> None:
    """A target without packages, one that is not there, and a file that is no SBOM."""
    (tmp_path / "etc").mkdir()
    ran = call("sbom", f"rootfs:{tmp_path}")
    assert ran.code == 3
    assert ran.json["components"] == []
    assert call("sbom", "rootfs:/nowhere/at/all").code == 3
    path = tmp_path / "x.json"
    path.write_text("{}")
    ran = call("scan", f"sbom:{path}", *NOW)
    assert ran.code == 3
    assert "none of CycloneDX, SPDX and Syft" in ran.err


@pytest.mark.parametrize(
    "name",
    [
        "sarif",
        "cyclonedx",
        "spdx",
        "openvex",
        "junit",
        "gitlab",
        "github",
        "html",
        "markdown",
        "csv",
        "cyclonedx@1.7",
        "spdx@3.0",
    ],
)
def test_every_format_of_a_scan(call: Call, debian: str, name: str, tmp_path: Path) -> None:
    """Every format can be had, and is the same on standard output and in a file."""
    path = tmp_path / "out"
    ran = call("scan", debian, *NOW, "-f", name)
    assert ran.code == 0
    assert "CVE-2023-45133" in ran.out or name == "github"
    assert call("scan", debian, *NOW, "-o", f"{name}={path}").code == 0
    assert path.read_bytes().decode() == ran.out
