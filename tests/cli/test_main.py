"""The front door as shells and scripts meet it: one line an error, and no exit code that means something else."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pratique.cli import main as door
from pratique.cli.main import run

ONE_PACKAGE = "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1.2.13\n\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "var/lib/dpkg").mkdir(parents=True)
    (folder / "var/lib/dpkg/status").write_text(ONE_PACKAGE, encoding="ascii")
    return folder


def _arguments(root: Path, *more: str) -> list[str]:
    return ["scan", f"rootfs:{root}", "--offline", "--quiet", "--cache-dir", str(root.parent / "cache"), *more]


def _program(root: Path, redirections: str, *more: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from pratique.cli.main import main; main()", *_arguments(root, *more)]
    return subprocess.run(
        ["/bin/sh", "-c", f'"$@" {redirections}', "sh", *command], capture_output=True, check=False, timeout=120
    )


@pytest.mark.parametrize("arguments", [["scan"], ["nonsense"], ["scan", "x", "--nonsense"], ["scan", "--timeout"]])
def test_a_usage_error_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """It names the command whose help tells more."""
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pratique: ")
    assert err.count("\n") == 1
    assert "--help" in err


@pytest.mark.parametrize("error", [ZeroDivisionError("x\ny"), PermissionError(13, "Permission denied", "/x")])
def test_what_nobody_foresaw_is_not_a_refusal(
    error: Exception, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A defect is one line and exit 3; with --debug it shows where."""

    def fail(_: list[str]) -> int:
        raise error

    monkeypatch.setattr(door, "_invoke", fail)
    assert run(_arguments(root)) == 3
    err = capsys.readouterr().err
    assert err.startswith("pratique: ")
    assert err.count("\n") == 1
    with pytest.raises(type(error)):
        run(_arguments(root, "--debug"))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str, root: Path) -> None:
    """The exit code alone is asked for then; nothing lands in a file that took a stream's number."""
    done = _program(root, closed)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"zlib" in done.stdout or b"1 package" in done.stdout) is (">&-" not in closed.replace("2>&-", ""))


def test_nobody_reads_the_output(root: Path) -> None:
    """As other programs do: ended by the broken pipe, silently."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from pratique.cli.main import main; main()", *_arguments(root)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written(root: Path) -> None:
    """A full device is told in one line, and a device stays what it is."""
    for done in (_program(root, ">/dev/full"), _program(root, "", "-o", "json=/dev/full")):
        assert done.returncode == 3
        assert done.stderr.startswith(b"pratique: ")
        assert done.stderr.count(b"\n") == 1
    assert not Path("/dev/full").is_file()
    assert _program(root, "", "-o", "json=/dev/null").returncode == 0
    assert not Path("/dev/null").is_file()
    done = _program(root, "", "-o", "json=/dev/stdout")
    assert (done.returncode, done.stdout[:1]) == (0, b"{")


def test_output_through_a_link(root: Path, tmp_path: Path) -> None:
    """What the link names is written; nothing else is left beside it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link.json").symlink_to("real.json")
    assert run(_arguments(root, "-o", f"json={tmp_path / 'out' / 'link.json'}")) == 0
    assert (tmp_path / "out" / "link.json").is_symlink()
    assert (tmp_path / "out" / "real.json").read_bytes().startswith(b"{")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["link.json", "real.json"]


def test_truncated_archive_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An archive that ends in the middle is called that, not something else."""
    path = tmp_path / "image.tar"
    (tmp_path / "blob").write_bytes(b"x" * 50_000)
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "blob", "blob")
    path.write_bytes(path.read_bytes()[:20_000])
    assert run(["scan", str(path), "--offline"]) == 3
    assert "ends" in capsys.readouterr().err


def test_odd_mirror_is_a_usage_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is found out before anything is inspected."""
    assert run(_arguments(root, "--mirror", "gopher://example")) == 2
    assert run(["db", "update", "--mirror", "/srv/mirror"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_errors_call_an_archive_by_its_own_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not by that of the temporary file in which it was unpacked."""
    path = tmp_path / "notes.txt.gz"
    path.write_bytes(gzip.compress(b"hello\n"))
    assert run(["scan", str(path), "--offline", "--cache-dir", str(tmp_path / "cache")]) == 3
    assert f"pratique: {path} is no image archive" in capsys.readouterr().err


def test_a_missing_file_is_called_that(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no file is asked of a registry: the error says so, for it may be a slip."""
    assert run(["scan", "missing.tar", "--offline"]) == 3
    assert "no file here is called missing.tar" in capsys.readouterr().err
