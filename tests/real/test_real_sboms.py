"""Real images: their SBOMs, of ours and of other tools where they are installed, give the findings of the image itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from advisorymirror import MIRROR
from real.test_real_images import PROGRAM, cache, image

__all__ = ["cache"]  # the fixture
NAMES = ("debian-bookworm", "python-app", "node-app")
WRITERS = {
    "syft": (["scan", "docker-archive:IMAGE", "-q"], ("cyclonedx-json", "spdx-json", "spdx-tag-value", "syft-json")),
    "trivy": (["image", "--input", "IMAGE", "--offline-scan", "-q"], ("cyclonedx", "spdx-json", "spdx")),
}


def findings(target: str, tmp_path: Path) -> set[tuple[Any, ...]]:
    """Scan with the advisories of the mirror, or with the starter set."""
    out = tmp_path / "report.json"
    command = [str(PROGRAM), "scan", target, "--cache-dir", str(tmp_path / "cache"), "-o", f"json={out}", "--offline"]
    command += ["--mirror", f"file://{MIRROR}"] if (MIRROR / "osv").is_dir() else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_bytes())["findings"]
    keys = ("kind", "id", "severity", "status", "fingerprint")
    return {(*(item[key] for key in keys), *item["fixed_in"], (item["package"] or {}).get("purl")) for item in found}


@pytest.mark.parametrize("name", NAMES)
def test_our_sbom_of_a_real_image(name: str, cache: Path, tmp_path: Path) -> None:
    """CycloneDX and both versions of SPDX."""
    target = f"docker-archive:{image(name, cache)}"
    expected = findings(target, tmp_path)
    assert expected
    for form in ("cyclonedx", "spdx", "spdx@3.0"):
        path = tmp_path / form
        command = [str(PROGRAM), "sbom", target, "--cache-dir", str(tmp_path / "cache"), "-o", f"{form}={path}"]
        subprocess.run(command, check=True, timeout=120)
        assert findings(f"sbom:{path}", tmp_path) == expected


@pytest.mark.parametrize("tool", [pytest.param(tool, marks=pytest.mark.needs(tool)) for tool in WRITERS])
@pytest.mark.parametrize("name", NAMES)
def test_sbom_of_other_tools(name: str, tool: str, cache: Path, tmp_path: Path) -> None:
    """Nothing is missing and nothing is doubled."""
    path = image(name, cache)
    expected = findings(f"docker-archive:{path}", tmp_path)
    arguments, forms = WRITERS[tool]
    for form in forms:
        made = tmp_path / form
        command = [tool, *(part.replace("IMAGE", str(path)) for part in arguments)]
        command += ["-o", f"{form}={made}"] if tool == "syft" else ["--format", form, "-o", str(made)]
        subprocess.run(command, check=True, timeout=300, capture_output=True)
        assert findings(f"sbom:{made}", tmp_path) == expected, form
