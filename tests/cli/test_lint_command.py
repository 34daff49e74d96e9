"""`pratique lint`, from the command line to the exit code."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

import imagebuilder

Call = Callable[..., Any]
NOW = ("--now", "2026-06-01")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a Dockerfile, a pod, a file of no interest and a link."""
    (tmp_path / "Dockerfile").write_text("FROM debian:12\nRUN sudo x\nUSER 1000\n")
    (tmp_path / "k8s").mkdir()
    (tmp_path / "k8s" / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {hostPID: true, containers: [{name: c}]}\n"
    )
    (tmp_path / "notes.yaml").write_text("hello: world\n")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "link.yaml").symlink_to("k8s/pod.yaml")
    return tmp_path


def test_document(call: Call, folder: Path) -> None:
    """The document is that of scan, valid by its schema, sorted and always the same."""
    ran = call("lint", folder, "--format", "json", *NOW)
    assert ran.code == 0
    jsonschema_rs.validate(call("schema", "scan").json, ran.json)
    findings = ran.json["findings"]
    assert {finding["kind"] for finding in findings} == {"misconfiguration"}
    assert {Path(finding["location"]["path"]).name for finding in findings} == {"Dockerfile", "pod.yaml"}
    assert {f["id"] for f in findings} >= {"df-sudo", "pss-host-namespaces"}
    assert (ran.json["complete"], ran.json["verdict"]["decision"], ran.json["packages"]) == (True, "allow", [])
    assert call("lint", folder, "-f", "json", *NOW).out == ran.out


@pytest.mark.parametrize("form", ["table", "json", "sarif", "junit", "markdown", "csv"])
def test_formats(call: Call, folder: Path, form: str) -> None:
    """Every format that is offered can be written, and names a finding."""
    ran = call("lint", folder, "-f", form, *NOW)
    assert ran.code == 0
    assert "df-sudo" in ran.out


def test_exit_codes(call: Call, folder: Path) -> None:
    """0 allowed, 1 refused, 2 bad usage, 3 nothing to check; what is shown decides nothing."""
    assert call("lint", folder / "Dockerfile", "--fail-on", "high", *NOW).code == 0
    assert call("lint", folder, "--fail-on", "HIGH", "--severity", "low", *NOW).code == 1
    assert call("lint", folder, "--severity", "awful").code == 2
    assert call("lint", folder, "--fail-on", "awful").code == 2
    assert call("lint", folder, "--kubernetes-version", "2.0").code == 2
    assert call("lint", folder, "-f", "cyclonedx").code == 2
    assert call("lint").code == 2
    assert call("lint", folder / "missing").code == 3
    empty = call("lint", folder / "notes.yaml", "-f", "json", *NOW)
    assert (empty.code, empty.json["problems"][0]["code"]) == (3, "lint.unknown")
    assert call("lint", folder / "node_modules" / "..", *NOW).code == 0


def test_accepted_findings_do_not_refuse(call: Call, folder: Path) -> None:
    """A comment that holds takes a finding out of the verdict, not out of the report."""
    path = folder / "Dockerfile"
    path.write_text("FROM debian:12\n# pratique: ignore=df-sudo tests need it until=2026-12-31\nRUN sudo x\nUSER 1000\n")
    ran = call("lint", path, "--fail-on", "medium", *NOW)
    assert ran.code == 0
    assert "accepted: id comment, reason tests need it, expires 2026-12-31" in " ".join(ran.out.split())
    assert call("lint", path, "--fail-on", "medium", "--now", "2027-01-01").code == 1


def test_standard_input(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is told from what is in it."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"services: {a: {privileged: true}}\n")))
    ran = call("lint", "-", "-f", "json", *NOW)
    assert "ct-privileged" in {finding["id"] for finding in ran.json["findings"]}


def test_gaps_refuse_when_asked(call: Call, folder: Path) -> None:
    """A file that cannot be read leaves the report incomplete."""
    (folder / "chart.yaml").write_text("apiVersion: v1\nkind: {{ .Values.kind }}\nx: [\n")
    ran = call("lint", folder, "-f", "json", *NOW)
    assert (ran.code, ran.json["complete"], ran.json["problems"][0]["code"]) == (0, False, "lint.template")
    assert call("lint", folder, "--fail-on", "gaps", *NOW).code == 1


def test_text_is_shown_not_sent(call: Call, tmp_path: Path) -> None:
    """Escape sequences of a file do not reach the terminal."""
    (tmp_path / "Dockerfile").write_text("FROM a:1\nRUN apt-get install -y sudo=\x1b[31m1\n")
    assert "\x1b" not in call("lint", tmp_path, *NOW).out


POLICY = """apiVersion: pratique/v1
kind: Policy
metadata: {name: files}
spec:
  rules:
  - id: no-sudo
    when: finding.id == 'df-sudo'
    effect: deny
    message: "{finding.id} at {finding.path}"
"""
WAIVERS = """apiVersion: pratique/v1
kind: Waivers
waivers:
- id: w-1
  vulnerability: df-sudo
  path: "*Dockerfile"
  owner: team
  reason: tests need it
  expires: 2026-12-31T00:00:00Z
"""


def test_policies_and_waivers_decide(call: Call, folder: Path) -> None:
    """The same rules as for scan: the stage is dev unless said otherwise, a waiver accepts, an ended one does not."""
    policy, waivers = folder / "files.yaml", folder / "accepted.yaml"
    policy.write_text(POLICY)
    ran = call("lint", folder, "--policy", policy, "-f", "json", *NOW)
    assert (ran.code, ran.json["verdict"]["decision"], ran.json["verdict"]["policy"]["name"]) == (1, "deny", "files")
    assert [reason["rule"] for reason in ran.json["verdict"]["reasons"]] == ["no-sudo"]
    waivers.write_text(WAIVERS)
    ran = call("lint", folder, "--policy", policy, "--waivers", waivers, "-f", "json", *NOW)
    assert (ran.code, ran.json["verdict"]["decision"]) == (0, "allow")
    (finding,) = [item for item in ran.json["findings"] if item["id"] == "df-sudo"]
    assert (finding["waiver"]["id"], finding["waiver"]["state"]) == ("w-1", "active")
    assert call("lint", folder, "--policy", policy, "--waivers", waivers, "--now", "2027-01-01").code == 1
    assert call("lint", folder, "--waivers", waivers, "--fail-on", "medium", "--now", "2027-01-01").code == 1
    assert call("lint", folder, "--policy", "recommended", *NOW).code == 0
    assert call("lint", folder, "--policy", "none-such", *NOW).code == 2


def test_the_stage_is_dev(call: Call, folder: Path) -> None:
    """Rules that are bound to a stage hold in that stage alone."""
    policy = folder / "files.yaml"
    policy.write_text(POLICY.replace("effect: deny", "effect: deny\n    stages: [dev]"))
    assert call("lint", folder, "--policy", policy, *NOW).code == 1
    assert call("lint", folder, "--policy", policy, "--stage", "ci", *NOW).code == 0


def test_a_comment_that_holds_stands_before_an_ended_waiver(call: Call, folder: Path) -> None:
    """What is accepted in the file stays so, whatever an older waiver says."""
    path, waivers = folder / "Dockerfile", folder / "accepted.yaml"
    path.write_text("FROM debian:12\n# pratique: ignore=df-sudo tests need it until=2027-12-31\nRUN sudo x\nUSER 1000\n")
    waivers.write_text(WAIVERS)
    assert call("lint", path, "--waivers", waivers, "--fail-on", "medium", "--now", "2027-01-01").code == 0


BEFORE = b"\xef\xbb\xbfFROM debian:12\r\nADD a.py /x\r\nRUN sudo x\r\nUSER 1\r\n"


def test_fix_rewrites_what_is_safe(call: Call, tmp_path: Path) -> None:
    """Other bytes stay, marks of the byte order and line ends too; permissions and links stay; a clean file is not touched."""
    path, link, clean = tmp_path / "Dockerfile", tmp_path / "Dockerfile.link", tmp_path / "Dockerfile.clean"
    path.write_bytes(BEFORE)
    path.chmod(0o640)
    link.symlink_to("Dockerfile")
    clean.write_text("FROM debian:12\nUSER 1\n")
    stamp = clean.stat().st_mtime_ns
    ran = call("lint", link, clean, "--fix", *NOW)
    assert ran.code == 0
    assert path.read_bytes() == BEFORE.replace(b"ADD", b"COPY")
    assert (link.is_symlink(), path.stat().st_mode & 0o777, clean.stat().st_mtime_ns) == (True, 0o640, stamp)
    assert "df-add-local: Write COPY" in ran.err
    assert "df-add-local" not in ran.out
    assert call("lint", path, "--fix", *NOW).err == ""
    assert call("lint", path, "--fix-unsafe", "-q", *NOW).err == ""
    assert path.read_bytes() == BEFORE.replace(b"ADD", b"COPY").replace(b"sudo ", b"")


def test_diff_writes_nothing(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The patch is one that git applies; exit 1 says that there is one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "Dockerfile"
    path.write_text("FROM debian:12\nUSER 1\nADD a.py /x")
    ran = call("lint", "Dockerfile", "--diff", *NOW)
    assert (ran.code, path.read_text()) == (1, "FROM debian:12\nUSER 1\nADD a.py /x")
    assert "+COPY a.py /x\n\\ No newline at end of file\n" in ran.out
    subprocess.run(["git", "apply", "-"], input=ran.out.encode(), check=True, cwd=tmp_path)
    assert path.read_text() == "FROM debian:12\nUSER 1\nCOPY a.py /x"
    assert call("lint", "Dockerfile", "--fix", "--diff", *NOW).code == 0
    assert call("lint", "-", "--fix").code == 2
    assert call("lint", "Dockerfile.missing", "--fix").code == 3


def test_images(call: Call, tmp_path: Path, folder: Path) -> None:
    """A built image is checked by its configuration: said by scheme, told by content, or as JSON; beside files."""
    layer = imagebuilder.layer({"app": b"x"})
    made = imagebuilder.image([layer], created_by=["RUN /bin/sh -c curl -s x | sh # buildkit"], config={"User": "root"})
    archive, config = tmp_path / "app.tar", tmp_path / "config.json"
    archive.write_bytes(imagebuilder.docker_archive_of([(made, ["app:1"])]))
    config.write_bytes(made.config)
    for given in (archive, f"docker-archive:{archive}", config):
        ran = call("lint", given, "-f", "json", *NOW)
        assert ran.code == 0
        ids = {finding["id"]: finding["location"] for finding in ran.json["findings"]}
        assert ids.keys() == {"df-pipe-to-shell", "df-user-root", "df-healthcheck"}
        assert ids["df-pipe-to-shell"]["layer"] == imagebuilder.digest(layer)
        assert ids["df-pipe-to-shell"]["path"] == str(given)
    assert call("lint", archive, folder / "Dockerfile", "--fail-on", "high", *NOW).code == 1
    assert call("lint", archive, "--fix", *NOW).code == 0
    assert call("lint", "docker-archive:missing.tar", *NOW).code == 3
    assert call("lint", archive, "--platform", "windows/nonsense/x/y", *NOW).code == 2
