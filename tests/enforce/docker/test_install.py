"""The gate is put in front of an engine and taken away again, on a machine that is a folder: what was there before comes back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pratique.cli.gate_docker import _by_hand
from pratique.cli.main import run
from pratique.enforce.docker import install as installing
from pratique.enforce.docker.install import DAEMON, ENGINE, FRONT, RECORD, Machine, Options, plan

UNITS = "etc/systemd/system"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("usr/sbin/runc", "usr/bin/crun", "opt/pratique"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("#!/bin/sh\n")
        (tmp_path / path).chmod(0o755)
    (tmp_path / "etc/docker").mkdir(parents=True)
    return tmp_path


def pratique(*words: str, root: Path) -> int:
    program = ["--program", "/opt/pratique"] if words[0] == "install" else []
    return run(["gate", "docker", *words, *program, "--root", str(root)])


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def folders(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()}


@pytest.mark.parametrize("daemon", [None, b"", b'{"log-driver":"local","authorization-plugins":["other"]}\n'])
def test_there_and_back(root: Path, daemon: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    if daemon is not None:
        (root / DAEMON.lstrip("/")).write_bytes(daemon)
    before = files(root), folders(root)
    assert pratique("install", "--podman", root=root) == 0
    assert "systemctl enable --now pratique-gate-docker.service" in capsys.readouterr().out
    made = files(root)
    known = json.loads(made["etc/docker/daemon.json"])
    assert known["authorization-plugins"][-1] == "pratique"
    assert not daemon or known["log-driver"] == "local"
    unit = made[f"{UNITS}/pratique-gate-docker.service"].decode()
    assert (
        f"ExecStart=/opt/pratique gate docker --store /var/lib/pratique --engine {ENGINE} --front {FRONT} --group docker\n"
        in unit
    )
    assert f"ListenStream=\nListenStream={ENGINE}\nSocketMode=0600" in made[f"{UNITS}/docker.socket.d/50-pratique.conf"].decode()
    for name in ("docker", "containerd"):
        assert b"PATH=/usr/lib/pratique/bin:" in made[f"{UNITS}/{name}.service.d/50-pratique.conf"]
    assert made["etc/pratique/runc.conf"] == b"runtime=/usr/sbin/runc\nagent=/run/pratique/agent.sock\n"
    assert b'runtime = "crun"' in made["etc/containers/containers.conf.d/50-pratique.conf"]
    assert pratique("uninstall", root=root) == 0
    assert (files(root), folders(root)) == before


def test_the_gate_in_front_of_the_runtime_stands_alone(root: Path) -> None:
    """What is installed needs no part of pratique: it runs on the machine's Python, isolated."""
    assert pratique("install", root=root) == 0
    wrapper = root / "usr/lib/pratique/bin/runc"
    text = wrapper.read_text().replace("'/usr/lib", f"'{root}/usr/lib").replace("'/etc", f"'{root}/etc")
    wrapper.write_text(text)
    (root / "etc/pratique/runc.conf").write_text(f"runtime={root}/usr/sbin/runc\nagent=/nowhere\n")
    (root / "usr/sbin/runc").write_text('#!/bin/sh\necho "$@"\n')
    python = text.splitlines()[0].removeprefix("#!").split()[0]
    if not Path(python).exists():
        pytest.skip(f"needs {python}")
    done = subprocess.run([wrapper, "--root", "/x", "state", "abc"], capture_output=True, text=True, check=False, env={}, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, "--root /x state abc\n", "")
    done = subprocess.run([wrapper, "exec", "abc"], capture_output=True, text=True, check=False, env={}, cwd="/")
    assert done.returncode == 1
    assert "exec without --process" in done.stderr


def test_what_others_changed_since_is_left(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pratique("install", root=root)
    daemon, unit = root / DAEMON.lstrip("/"), root / UNITS / "pratique-gate-docker.service"
    daemon.write_text(json.dumps({"authorization-plugins": ["pratique", "other"], "debug": True}))
    unit.write_text("[Service]\n# mine\n")
    capsys.readouterr()
    assert pratique("uninstall", root=root) == 1
    assert "pratique-gate-docker.service was changed since" in capsys.readouterr().out
    assert json.loads(daemon.read_text()) == {"authorization-plugins": ["other"], "debug": True}
    assert unit.exists()
    assert not (root / "usr/lib/pratique").exists()
    assert pratique("uninstall", root=root) == 2


@pytest.mark.parametrize("written", range(12))
def test_an_installation_that_was_interrupted_is_undone(
    root: Path, written: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / DAEMON.lstrip("/")).write_text("{}\n")
    before = files(root), folders(root)
    write, count = Machine.write, 0

    def fails(self: Machine, path: str, content: bytes, mode: int) -> None:
        nonlocal count
        if path != RECORD:
            count += 1
            if count > written:
                raise OSError(28, "No space left on device", path)
        write(self, path, content, mode)

    monkeypatch.setattr(Machine, "write", fails)
    assert pratique("install", root=root) == 3
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.setattr(Machine, "write", write)
    assert pratique("uninstall", root=root) == 0
    assert (files(root), folders(root)) == before


def test_nothing_is_written_by_a_dry_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / DAEMON.lstrip("/")).write_text('{\n  "debug": true\n}\n')
    before = files(root)
    assert pratique("install", "--dry-run", root=root) == 0
    assert files(root) == before
    out = capsys.readouterr().out
    assert "--- a/etc/docker/daemon.json" in out
    assert '+  "authorization-plugins": [' in out


@pytest.mark.parametrize(
    ("daemon", "why"), [("{", "it is no JSON"), ("[]", "it holds no object"), ('{"authorization-plugins": "x"}', "is no list")]
)
def test_a_configuration_that_cannot_be_read_is_not_replaced(
    root: Path, daemon: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / DAEMON.lstrip("/")).write_text(daemon)
    before = files(root)
    assert pratique("install", root=root) == 3
    assert why in capsys.readouterr().err
    assert files(root) == before


def test_installed_again_it_is_run_otherwise(root: Path) -> None:
    """From observing to enforcing, with Podman and without: what was there before the first time comes back at the end."""
    (root / DAEMON.lstrip("/")).write_text('{"debug":true}')
    before = files(root), folders(root)
    unit, podman = root / UNITS / "pratique-gate-docker.service", root / "etc/containers/containers.conf.d/50-pratique.conf"
    assert pratique("install", "--observe", root=root) == 0
    assert "--observe" in unit.read_text()
    assert pratique("install", "--podman", root=root) == 0
    assert "--observe" not in unit.read_text()
    assert podman.exists()
    (root / "usr/lib/pratique/bin/runc").unlink()
    (root / DAEMON.lstrip("/")).write_text('{"debug":false, "authorization-plugins": ["pratique"]}')
    assert pratique("install", root=root) == 0
    assert not podman.exists()
    assert (root / "usr/lib/pratique/bin/runc").exists()
    assert pratique("uninstall", root=root) == 0
    assert json.loads((root / DAEMON.lstrip("/")).read_text()) == {"debug": False}, "what others changed since is kept"
    (root / DAEMON.lstrip("/")).write_text('{"debug":true}')
    assert (files(root), folders(root)) == before


def test_without_systemd_it_is_said_what_to_start(root: Path) -> None:
    """The same words as in the unit, and an engine that finds its runtimes' gates and listens where root alone gets."""
    said = _by_hand(plan(Machine(root), Options(program="/opt/pratique", store="/srv/a store", observe=True)))
    assert (
        f'/opt/pratique gate docker --store "/srv/a store" --engine {ENGINE} --front {FRONT} --group docker --observe\n' in said
    )
    assert f"PATH=/usr/lib/pratique/bin:$PATH dockerd -H unix://{ENGINE}\n" in said
    assert "systemctl" not in said


def test_what_others_changed_is_not_written_over_by_installing_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pratique("install", root=root) == 0
    (root / UNITS / "pratique-gate-docker.service").write_text("[Service]\n# mine\n")
    before = files(root)
    assert pratique("install", "--observe", root=root) == 2
    assert "pratique-gate-docker.service was changed since" in capsys.readouterr().err
    assert files(root) == before


@pytest.mark.parametrize("written", range(13))
def test_installing_again_that_was_interrupted_is_undone(root: Path, written: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / DAEMON.lstrip("/")).write_text("{}\n")
    before = files(root), folders(root)
    assert pratique("install", "--observe", root=root) == 0
    write, count = Machine.write, 0

    def fails(self: Machine, path: str, content: bytes, mode: int) -> None:
        nonlocal count
        count += 1
        if count > written:
            raise OSError(28, "No space left on device", path)
        write(self, path, content, mode)

    monkeypatch.setattr(Machine, "write", fails)
    assert pratique("install", "--podman", root=root) == 3
    monkeypatch.setattr(Machine, "write", write)
    assert pratique("uninstall", root=root) == 0
    assert (files(root), folders(root)) == before


def test_the_engines_configuration_stays_whose_it_is(root: Path) -> None:
    """It may hold what not everybody is to read: its mode and owner stay, and a link stays one."""
    daemon, real = root / DAEMON.lstrip("/"), root / "srv/daemon.json"
    real.parent.mkdir()
    real.write_text('{"debug":true}')
    real.chmod(0o640)
    daemon.symlink_to(real)
    if os.geteuid() == 0:
        os.chown(real, 12, 34)
    owned = real.stat()
    for words, plugins in (("install",), True), (("install", "--observe"), True), (("uninstall",), False):
        assert pratique(*words, root=root) == 0
        now = real.stat()
        assert (now.st_mode, now.st_uid, now.st_gid) == (owned.st_mode, owned.st_uid, owned.st_gid)
        assert daemon.is_symlink()
        assert ("authorization-plugins" in json.loads(real.read_text())) is plugins


def test_a_link_that_leads_elsewhere_is_not_followed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "daemon.json"
    other.write_text("{}")
    (root / DAEMON.lstrip("/")).symlink_to(other)
    assert pratique("install", root=root) == 2
    assert other.read_text() == "{}"
    assert not (root / UNITS).exists()


@pytest.mark.parametrize("path", ["opt/pratique", "opt"])
def test_a_program_that_others_may_change_is_not_run_as_root(root: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    (root / path).chmod(0o777)
    assert pratique("install", root=root) == 2
    assert "others than root can change" in capsys.readouterr().err


def test_no_runtime_no_gate(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("usr/sbin/runc", "usr/bin/crun"):
        (root / path).unlink()
    assert pratique("install", root=root) == 2
    assert "install the engine first" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(root: Path) -> None:
    program = shutil.which("true")
    assert program is not None
    for file in plan(Machine(root), Options(program=program, store="/var/lib/a folder", observe=True)):
        if file.path.endswith(installing.UNIT):
            (root / installing.UNIT).write_bytes(file.content)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(root / installing.UNIT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert installing.UNIT not in done.stderr
