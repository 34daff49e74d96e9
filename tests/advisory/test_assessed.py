"""CISA's answers, from the archive to the finding, the explanation and the policy."""

from __future__ import annotations

import datetime as dt
import io
import json
import zipfile
from pathlib import Path

import pytest

from feedsim import CASES, archive, record
from imagebuilder import docker_archive, layer
from pratique import api
from pratique.advisory.update import Options, update
from pratique.cli.main import run

_NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
_METADATA = "usr/lib/python3/dist-packages/flask-1.0.dist-info/METADATA"
_POLICY = """\
apiVersion: pratique/v1
kind: Policy
metadata: {name: example}
spec:
  rules:
    - id: exploited-by-machines
      when: finding.exploitation == 'poc' && finding.automatable == 'yes' && finding.impact == 'partial'
      effect: deny
"""


def _repository() -> bytes:
    """As GitHub packs it: everything below a folder, and other files beside."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        target.writestr("vulnrichment-develop/.github/settings.json", "[]")
        for path in (CASES / "vulnrichment/documented/records").iterdir():
            target.writestr(f"vulnrichment-develop/2024/10xxx/{path.name}", path.read_bytes())
    return out.getvalue()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Lay out a mirror, a database that has the assessments, and an image with one package."""
    mirror = tmp_path / "mirror"
    files = {
        "cisa/vulnrichment/develop.zip": _repository(),
        "osv/PyPI/all.zip": archive([record("PYSEC-1", "flask", "2.0", aliases=["CVE-2024-10001"])]),
    }
    for path, content in files.items():
        (mirror / path).parent.mkdir(parents=True, exist_ok=True)
        (mirror / path).write_bytes(content)
    names = ["cisa/vulnrichment", "osv/PyPI"]
    outcomes = update(tmp_path / "cache", names, Options(mirror=mirror.as_uri()), now=lambda: _NOW)
    assert [(one.status, one.records, one.skipped) for one in outcomes] == [("updated", 3, 1), ("updated", 1, 0)]
    target = tmp_path / "image.tar"
    target.write_bytes(docker_archive([layer({_METADATA: "Metadata-Version: 2.1\nName: flask\nVersion: 1.0\n"})]))
    return target


def test_a_finding_carries_the_answers(image: Path) -> None:
    """The newest of two assessments; the feed is among the sources of the report."""
    report = api.scan(f"docker-archive:{image}", offline=True, cache_dir=image.parent / "cache", now=_NOW)
    (found,) = report.findings
    assert found.ssvc is not None
    assert (found.ssvc.exploitation, found.ssvc.automatable, found.ssvc.impact) == ("poc", "yes", "partial")
    assert "cisa/vulnrichment" in {source.name for source in report.meta.database.sources}
    late = api.scan(f"docker-archive:{image}", offline=True, cache_dir=image.parent / "cache", now=_NOW + dt.timedelta(days=9))
    assert "cisa/vulnrichment" in {gap.source for gap in late.problems if gap.code == "advisories.stale"}


def test_explain_and_policies_know_them(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words, and as names in conditions."""
    common = ["--offline", "--cache-dir", str(image.parent / "cache"), "--now", "2026-11-25"]
    assert run(["explain", f"docker-archive:{image}", "CVE-2024-10001", *common]) == 0
    assert "exploitation poc, automatable yes, impact partial (CISA, 2024-03-01)" in capsys.readouterr().out
    policy = image.parent / "policy.yaml"
    policy.write_text(_POLICY)
    assert run(["scan", f"docker-archive:{image}", "--policy", str(policy), "-f", "json", *common]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [reason["rule"] for reason in document["verdict"]["reasons"]] == ["exploited-by-machines"]
    assert document["findings"][0]["ssvc"] == {
        "exploitation": "poc",
        "automatable": "yes",
        "impact": "partial",
        "date": "2024-03-01",
    }
