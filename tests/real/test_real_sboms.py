"""Real images: their SBOMs, of ours and of other tools where they are installed, ask of the advisories what the image asks.

Findings are compared, too, but agree easily where few packages are vulnerable: what counts is every (ecosystem, name, version,
package) that is asked about.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from benchmarks.tools import Tool

from advisorymirror import MIRROR
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_target
from pratique.match.find import subjects
from pratique.model.inventory import Inventory
from pratique.pipeline import ScanOptions, inspect
from real.test_real_images import PROGRAM, cache, image

__all__ = ["cache"]  # the fixture
NAMES = ("debian-bookworm", "python-app", "node-app", "languages", "vendor", "rocky", "alpine")
WRITERS = {
    "syft": (["scan", "docker-archive:IMAGE", "-q"], ("cyclonedx-json", "spdx-json", "spdx-tag-value", "syft-json")),
    "trivy": (
        [
            "image",
            "--input",
            "IMAGE",
            "--offline-scan",
            "--skip-db-update",
            "--skip-java-db-update",
            "-q",
            "--cache-dir",
            "CACHE",
        ],
        ("cyclonedx", "spdx-json", "spdx"),
    ),
}
# Syft writes the module of an rpm into its own format alone; the report of the others says that it is not known.
_MODULE_LESS = {("rocky", form) for form in ("cyclonedx-json", "spdx-json", "spdx-tag-value")}
# What a vendor's package brought: nobody else answers for it, so that whose it is makes no difference to what is found.
_VENDORS = {"vendor": {"pkg:npm/lodash@4.17.15", "pkg:pypi/jinja2@2.10", "pkg:pypi/pyyaml@5.3"}}
# Whose package brought these, no place, name or version tells: Syft's CycloneDX counts them to another of the distribution's.
_UNTOLD = {
    "pkg:npm/%40fastify/busboy@3.1.1",
    "pkg:npm/binary-search@1.3.6",
    "pkg:maven/commons-codec/commons-codec@1.15",
    "pkg:gem/ruby2_keywords@0.0.5",
}


def listed(target: str, tmp_path: Path) -> Inventory:
    """Return what is in a target."""
    how = ScanOptions(sources=SourceOptions(cache_dir=tmp_path / "cache"), now="2026-01-01T00:00:00Z")
    return inspect(parse_target(target), how)[0]


def asked(target: str, tmp_path: Path) -> set[tuple[str, ...]]:
    """Return what is asked about a target."""
    inventory = listed(target, tmp_path)
    found, _ = subjects(inventory.packages, inventory.release)
    return {(one.ecosystem, one.name, one.package.version, one.package.purl) for one in found}


def brought(target: str, tmp_path: Path) -> dict[str, str]:
    """Return the source package of whatever brought each package of a language: the one that advisories speak of, or do not."""
    packages = {package.purl: package for package in listed(target, tmp_path).packages}
    owners = {purl: packages[package.owner] for purl, package in packages.items() if package.owner in packages}
    return {purl: (owner.source or owner).name for purl, owner in owners.items()}


def reported(target: str, tmp_path: Path) -> tuple[set[tuple[Any, ...]], set[str]]:
    """Scan with the advisories of the mirror, or with the starter set; return findings and codes of problems."""
    out = tmp_path / "report.json"
    command = [str(PROGRAM), "scan", target, "--cache-dir", str(tmp_path / "cache"), "-o", f"json={out}", "--offline"]
    command += ["--mirror", f"file://{MIRROR}"] if (MIRROR / "osv").is_dir() else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_bytes())
    keys = ("kind", "id", "severity", "status", "fingerprint")
    found = {
        (*(item[key] for key in keys), *item["fixed_in"], (item["package"] or {}).get("purl")) for item in report["findings"]
    }
    return found, {problem["code"] for problem in report["problems"]}


def findings(target: str, tmp_path: Path) -> set[tuple[Any, ...]]:
    """Return the findings of a scan."""
    return reported(target, tmp_path)[0]


@pytest.mark.parametrize("name", NAMES)
def test_our_sbom_of_a_real_image(name: str, cache: Path, tmp_path: Path) -> None:
    """CycloneDX and both versions of SPDX, with and without files."""
    target = f"docker-archive:{image(name, cache)}"
    questions, expected = asked(target, tmp_path), findings(target, tmp_path)
    assert questions
    for form in ("cyclonedx", "spdx", "spdx@3.0"):
        for more in ([], ["--files"]):
            path = tmp_path / form
            command = [str(PROGRAM), "sbom", target, "--cache-dir", str(tmp_path / "cache"), "-o", f"{form}={path}", *more]
            subprocess.run(command, check=True, timeout=120)
            assert asked(f"sbom:{path}", tmp_path) == questions, form
        assert findings(f"sbom:{path}", tmp_path) == expected, form


def documents(tool: str, path: Path, tmp_path: Path) -> dict[str, Path]:
    """Have a tool write its SBOM of an image in each of its formats; several in one run where it can."""
    arguments, forms = WRITERS[tool]
    Tool("trivy", Path("trivy"), "").seed(tmp_path / "trivy")
    command = [tool, *(part.replace("IMAGE", str(path)).replace("CACHE", str(tmp_path / "trivy")) for part in arguments)]
    made = {form: tmp_path / form for form in forms}
    each = [["--format", form, "-o", str(file)] for form, file in made.items()]
    runs = [[word for form, file in made.items() for word in ("-o", f"{form}={file}")]] if tool == "syft" else each
    for words in runs:
        subprocess.run([*command, *words], check=True, timeout=300, capture_output=True)
    return made


@pytest.mark.parametrize("tool", [pytest.param(tool, marks=pytest.mark.needs(tool)) for tool in WRITERS])
@pytest.mark.parametrize("name", NAMES)
def test_sbom_of_other_tools(name: str, tool: str, cache: Path, tmp_path: Path) -> None:
    """Nothing is missing and nothing is doubled.

    What came with a package of the system is matched by itself where the distribution never speaks of that one. Trivy does not
    list it, so that its findings can only be those of all other packages: the report says so, wherever one could be missing.
    """
    path = image(name, cache)
    target = f"docker-archive:{path}"
    questions, everything, owners = asked(target, tmp_path), findings(target, tmp_path), brought(target, tmp_path)
    vendors = _VENDORS.get(name, set())
    left_out = owners.keys() | vendors if tool == "trivy" else set()
    expected = {finding for finding in everything if finding[-1] not in left_out}
    for form, made in documents(tool, path, tmp_path).items():
        differing = {one for one in asked(f"sbom:{made}", tmp_path) ^ questions if (name, form) not in _MODULE_LESS}
        assert {one for one in differing if one[-1] not in vendors} == set(), form
        found, problems = reported(f"sbom:{made}", tmp_path)
        assert found == expected or (name, form) in _MODULE_LESS, form
        assert found == everything or "inventory.brought-unlisted" in problems or (name, form) in _MODULE_LESS, form
        if tool == "syft":
            stated = brought(f"sbom:{made}", tmp_path)
            assert {purl for purl in owners.keys() & stated.keys() if owners[purl] != stated[purl]} <= _UNTOLD, form
        elif name == "vendor":
            assert found != everything, "the image does not show what it is made for"
