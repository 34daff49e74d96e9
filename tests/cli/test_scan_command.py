"""`pratique scan` as the contract has it: exit codes, outputs, what is shown and what is decided."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imagebuilder

NOW = ("--offline", "--now", "2024-06-01")
Call = Callable[..., Any]


def test_allowed_without_a_rule(call: Call, image: str) -> None:
    """Findings alone refuse nothing: they are shown, and the exit is 0."""
    ran = call("scan", image, *NOW, "-f", "json")
    ids = {finding["id"] for finding in ran.json["findings"]}
    assert ran.code == 0
    assert {"CVE-2023-4911", "CVE-2024-3651"} <= ids
    assert ran.json["verdict"]["decision"] == "allow"


@pytest.mark.parametrize("rules", [["low"], ["HIGH"], ["kev"], ["critical,kev"], ["critical", "--fail-on", "gaps"]])
def test_refused(call: Call, image: str, rules: list[str]) -> None:
    """A rule that holds gives 1, in any letter case, repeated or in a list."""
    ran = call("scan", image, *NOW, "--fail-on", *rules, "-f", "json")
    assert ran.code == 1
    assert ran.json["verdict"]["decision"] == "deny"
    assert ran.json["verdict"]["reasons"]


def test_rules_that_do_not_hold(call: Call, image: str, clean: str) -> None:
    """The control beside it is allowed; an end of life counts from its day on."""
    assert call("scan", clean, *NOW, "--fail-on", "unknown", "--fail-on", "kev").code == 0
    assert call("scan", image, *NOW, "--fail-on", "eol").code == 0
    assert call("scan", image, "--offline", "--now", "2040-01-01", "--fail-on", "eol").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan"],
        ["scan", "IMAGE", "--fail-on", "dreadful"],
        ["scan", "IMAGE", "--severity", "dreadful"],
        ["scan", "IMAGE", "-f", "pdf"],
        ["scan", "IMAGE", "-o", "json="],
        ["scan", "IMAGE", "-o", "json=/nowhere/at/all.json"],
        ["scan", "IMAGE", "-o", "json=/"],
        ["scan", "IMAGE", "--now", "yesterday"],
        ["scan", "IMAGE", "--max-age", "long"],
        ["scan", "IMAGE", "--platform", "linux"],
        ["scan", "IMAGE", "--what"],
        ["explode"],
    ],
)
def test_bad_usage(call: Call, image: str, arguments: list[str]) -> None:
    """One line on standard error and 2, nothing inspected, nothing on standard output."""
    ran = call(*[image if word == "IMAGE" else word for word in arguments])
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.strip().splitlines()) == 1


def test_output_is_checked_before_the_scan(call: Call) -> None:
    """An output that cannot be written is found out before the target is even looked for."""
    assert call("scan", "rootfs:/does/not/exist", "-o", "json=/nowhere/at/all.json", "--offline").code == 2


def test_could_not(call: Call, tmp_path: Path) -> None:
    """No target, and nothing usable in it: 3."""
    assert call("scan", f"docker-archive:{tmp_path}/none.tar", *NOW).code == 3
    (tmp_path / "empty").mkdir()
    ran = call("scan", f"rootfs:{tmp_path}/empty", *NOW, "-f", "json")
    assert (ran.code, ran.json["verdict"]["decision"]) == (3, "unknown")


def test_no_command(call: Call) -> None:
    """No command at all is bad usage; the help is shown."""
    ran = call()
    assert ran.code == 2
    assert "Usage: pratique" in ran.out + ran.err


def test_several_outputs(call: Call, image: str, tmp_path: Path) -> None:
    """A file and the screen at once; the file has what the screen would have."""
    ran = call("scan", image, *NOW, "-o", f"json={tmp_path}/report.json", "-o", "table")
    assert ran.code == 0
    assert ran.out.startswith("docker-archive:")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == call("scan", image, *NOW, "--format", "json").out


def test_what_is_shown_decides_nothing(call: Call, image: str) -> None:
    """--severity and --only-fixed filter every format and change neither verdict nor exit."""
    every = call("scan", image, *NOW, "-f", "json", "--fail-on", "high")
    for filters in (["--severity", "low"], ["--severity", "Critical,LOW"], ["--only-fixed"]):
        ran = call("scan", image, *NOW, "-f", "json", "--fail-on", "high", *filters)
        assert ran.code == every.code == 1
        assert ran.json["verdict"] == every.json["verdict"]
        assert len(ran.json["findings"]) <= len(every.json["findings"])
    shown = call("scan", image, *NOW, "-f", "json", "--severity", "high,critical").json["findings"]
    assert shown
    assert {finding["severity"] for finding in shown} <= {"high", "critical"}


def test_same_bytes(image: str, tmp_path: Path) -> None:
    """Working directory, time zone and hash seed change nothing."""
    outputs = set()
    for seed, zone, folder in (("1", "Asia/Tokyo", tmp_path), ("2", "America/Lima", Path("/"))):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "XDG_CACHE_HOME": str(tmp_path / seed)}
        command = [sys.executable, "-m", "pratique.cli.main", "scan", image, *NOW, "-f", "json"]
        outputs.add(subprocess.run(_program(command), cwd=folder, env=environment, check=True, capture_output=True).stdout)
    assert len(outputs) == 1


def _program(command: list[str]) -> list[str]:
    return [command[0], "-c", "from pratique.cli.main import main; main()", *command[3:]]


def test_environment(call: Call, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PRATIQUE_FAIL_ON with commas; a flag goes before it."""
    monkeypatch.setenv("PRATIQUE_FAIL_ON", "critical,kev")
    assert call("scan", image, *NOW).code == 1
    assert call("scan", image, *NOW, "--fail-on", "eol").code == 0


def test_no_colours(call: Call, image: str) -> None:
    """What is no terminal gets no escape sequence and no progress; --quiet says nothing more."""
    ran = call("scan", image, *NOW)
    assert "\x1b" not in ran.out + ran.err
    assert call("scan", image, *NOW, "--quiet").err == ""


def _on_a_terminal(image: str, environment: dict[str, str]) -> bytes:
    import pty

    leader, follower = pty.openpty()
    command = _program([sys.executable, "", "", "scan", image, *NOW])
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, env={**os.environ, **environment}) as process:
        os.close(follower)
        seen = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen += part
        os.close(leader)
        assert process.wait() == 0
    return seen


def test_colours_on_a_terminal(image: str) -> None:
    """A terminal gets colours, unless NO_COLOR is set or it is dumb."""
    assert b"\x1b[" in _on_a_terminal(image, {"TERM": "xterm"})
    assert b"\x1b[" not in _on_a_terminal(image, {"TERM": "xterm", "NO_COLOR": "1"})
    assert b"\x1b[" not in _on_a_terminal(image, {"TERM": "dumb"})


def test_interrupt(tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and one line, without a traceback; a file that was to be written does not appear."""
    command = _program([sys.executable, "", "", "scan", "-", "--offline", "-o", f"json={tmp_path}/report.json"])
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        assert process.poll() is None  # it waits for the archive on its standard input, which does not come
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, b"pratique: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_documents_are_whole(call: Call, image: str, tmp_path: Path) -> None:
    """JSON ends with a newline and is one document."""
    call("scan", image, *NOW, "-o", f"json={tmp_path}/report.json")
    text = (tmp_path / "report.json").read_text()
    assert text.endswith("}\n")
    json.loads(text)


def test_all_platforms_in_one_document(call: Call, tmp_path: Path) -> None:
    """Several platforms make one JSON document; formats that hold one report are refused before anything is scanned."""
    release = {"etc/os-release": b"ID=debian\nVERSION_ID=12\n"}
    made = [imagebuilder.image([imagebuilder.layer(release)], platform=("linux", kind, "")) for kind in ("amd64", "arm64")]
    imagebuilder.oci_layout_of(tmp_path / "image", [(one, "") for one in made])
    ran = call("scan", f"oci-dir:{tmp_path / 'image'}", "--all-platforms", *NOW, "-f", "json")
    assert [report["target"]["platform"] for report in ran.json["reports"]] == ["linux/amd64", "linux/arm64"]
    refused = call("scan", f"oci-dir:{tmp_path / 'image'}", "--all-platforms", *NOW, "-f", "sarif")
    assert refused.code == 2
    assert "sarif" in refused.err


def test_an_output_keeps_its_permissions(call: Call, image: str, tmp_path: Path) -> None:
    """A report that only its owner may read stays so; a link stays, and what it names is replaced."""
    private, link = tmp_path / "private.json", tmp_path / "link.json"
    private.write_text("before")
    private.chmod(0o600)
    link.symlink_to(private)
    assert call("scan", image, "--offline", "-o", f"json={link}").code == 0
    assert link.is_symlink()
    assert private.stat().st_mode & 0o777 == 0o600
    assert json.loads(private.read_bytes())["packages"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.json", "private.json"]


def test_a_file_in_shared_memory_is_a_file(call: Call, image: str) -> None:
    """It is replaced when the new one is whole, as everywhere; what a shell leads to a file is written to."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        report, other = Path(folder, "report.json"), Path(folder, "other")
        report.write_text("before")
        assert call("scan", image, "--offline", "-o", "nonsense", "-o", f"json={report}").code == 2
        assert report.read_text() == "before"
        with report.open("rb") as former, other.open("wb") as led:
            assert call("scan", image, "--offline", "-o", f"json={report}", "-o", f"json=/dev/fd/{led.fileno()}").code == 0
            assert former.read() == b"before"
            assert other.stat().st_ino == os.fstat(led.fileno()).st_ino
        assert json.loads(report.read_text())["packages"] == json.loads(other.read_text())["packages"]


def test_no_link_is_followed_to_write(call: Call, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that others may write, nobody makes us overwrite another file: the name beside is new, or there is an error."""
    precious = tmp_path / "precious"
    precious.write_text("keep")
    monkeypatch.setattr("os.urandom", bytes)
    (tmp_path / f".out.json.{bytes(8).hex()}.new").symlink_to(precious)
    ran = call("scan", image, "--offline", "-o", f"json={tmp_path / 'out.json'}")
    assert (ran.code, precious.read_text()) == (2, "keep")


def test_one_file_for_two_formats_is_bad_usage(call: Call, image: str, tmp_path: Path) -> None:
    """One would replace the other."""
    ran = call("scan", image, "--offline", "-o", f"json={tmp_path / 'out'}", "-o", f"sarif={tmp_path / 'x' / '..' / 'out'}")
    assert ran.code == 2
    assert "named twice" in ran.err
    assert list(tmp_path.iterdir()) == []
