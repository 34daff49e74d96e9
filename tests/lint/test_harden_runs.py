"""Proposals, tried: containers are run with the flags that are proposed for them, and still do what they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import hardening
import imagebuilder as ib
from pratique.cli.main import run

SECONDS = 60.0
# Machines differ in what Podman needs to run at all: as it is, with another runtime, without control groups.
WAYS = ((), ("--runtime", "runc", "--cgroup-manager", "cgroupfs"), ("--cgroup-manager", "cgroupfs"))
pytestmark = pytest.mark.needs("podman", "busybox")


class Podman(NamedTuple):
    """A way in which Podman runs containers here."""

    way: tuple[str, ...]

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
        command = ["podman", *self.way, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment)


class Images(NamedTuple):
    """A store of images of its own, as far as Podman lets us have one, and what was put into it."""

    podman: Podman
    folder: Path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """Find a way to run containers, and take away afterwards what was made."""
    folder = tmp_path_factory.mktemp("images")
    busybox = Path(shutil.which("busybox") or "").resolve().read_bytes()
    # Without numbers of users of one's own (/etc/subuid) no other user than oneself runs, or owns a file.
    probe = hardening.base(busybox, data__=hardening.owned(10001, 0o700))
    hardening.write(folder / "probe.tar", probe, {"Cmd": ["/bin/sh", "-c", "exit 7"]}, "localhost/pratique-probe:1")
    store = ("--root", str(folder / "root"), "--runroot", str(folder / "runroot"))
    podman, said = None, ""
    for way in WAYS:
        candidate = Podman((*store, *way))
        loaded = candidate("load", "-q", "-i", str(folder / "probe.tar"))
        ran = candidate(
            "run", "--rm", "--pull", "never", "--network", "none", "--user", "10001:10001", "localhost/pratique-probe:1"
        )
        if ran.returncode == 7:
            podman = candidate
            break
        said = (loaded if loaded.returncode else ran).stderr.strip()[-300:]
    if podman is None:
        pytest.skip(f"podman runs no container here: {said}")
    yield Images(podman, folder)
    podman("rmi", "--all", "--force")


def flags(capfd: pytest.CaptureFixture[str], archive: Path, *more: str) -> list[str]:
    """Return what is proposed."""
    capfd.readouterr()
    assert run(["harden", str(archive), *more, "--quiet"]) == 0
    return capfd.readouterr().out.split()


def started(images: Images, name: str, files: ib.Files, config: Mapping[str, object]) -> Path:
    """Make an image and load it; return its archive."""
    busybox = Path(shutil.which("busybox") or "").resolve().read_bytes()
    more = {key.replace("/", "__"): content for key, content in files.items()}
    archive = hardening.write(images.folder / f"{name}.tar", hardening.base(busybox, **more), config, f"localhost/{name}:1")
    loaded = images.podman("load", "-q", "-i", str(archive))
    assert loaded.returncode == 0, loaded.stderr
    return archive


def test_a_web_server_on_port_80_as_root(images: Images, capfd: pytest.CaptureFixture[str]) -> None:
    """On trial it runs as nobody, without any capability, on a read-only root, and still answers on port 80."""
    config = {"Cmd": ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"], "ExposedPorts": {"80/tcp": {}}}
    archive = started(images, "pratique-web", {"www/index.html": "hello\n"}, config)
    proposed = flags(capfd, archive, "--attempt")
    assert {"--cap-drop=ALL", "--read-only", "--user=10001:10001"} <= set(proposed)
    name = f"pratique-{uuid.uuid4().hex[:8]}"
    assert images.podman("run", "-d", "--name", name, "--network", "none", *proposed, "localhost/pratique-web:1").returncode == 0
    try:
        until = time.monotonic() + 60
        while (got := images.podman("exec", name, "wget", "-qO-", "http://127.0.0.1/")).returncode and time.monotonic() < until:
            time.sleep(0.2)
        assert got.stdout == "hello\n", got.stderr
        status = images.podman("exec", name, "cat", "/proc/1/status").stdout
        assert "NoNewPrivs:\t1" in status
        assert "CapBnd:\t0000000000000000" in status
        assert images.podman("exec", name, "touch", "/www/x").returncode != 0
    finally:
        images.podman("rm", "-f", "-t", "0", name)


def test_without_the_bound_the_port_stays_closed(images: Images, capfd: pytest.CaptureFixture[str]) -> None:
    """The bound of ports is there for a reason: without it the same server does not start."""
    config = {"Cmd": ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"], "ExposedPorts": {"80/tcp": {}}}
    archive = started(images, "pratique-closed", {}, config)
    proposed = [flag for flag in flags(capfd, archive, "--attempt") if not flag.startswith("--sysctl")]
    ran = images.podman("run", "--rm", "--network", "none", "--sysctl", "net.ipv4.ip_unprivileged_port_start=1024", *proposed,
                        "localhost/pratique-closed:1")  # fmt: skip
    assert ran.returncode != 0
    assert "ermission denied" in ran.stderr


def test_an_application_with_an_account(images: Images, capfd: pytest.CaptureFixture[str]) -> None:
    """What it may write is writable, and nothing else is; that follows from files alone."""
    script = "#!/bin/sh\nset -e\ntouch /data/x /tmp/y\nif touch /app/z 2>/dev/null; then exit 3; fi\nid -u\n"
    files: dict[str, ib.Content] = {
        "app/": b"",
        "app/main.sh": ib.executable(script.encode()),
        "data/": hardening.owned(1000, 0o700),
    }
    archive = started(images, "pratique-app", files, {"User": "app", "Cmd": ["/app/main.sh"], "WorkingDir": "/app"})
    proposed = flags(capfd, archive)
    assert "--read-only" in proposed
    ran = images.podman("run", "--rm", "--network", "none", *proposed, "localhost/pratique-app:1")
    assert (ran.returncode, ran.stdout) == (0, "1000\n"), ran.stderr


def test_a_script_that_hands_over(images: Images, capfd: pytest.CaptureFixture[str]) -> None:
    """With the capabilities that its script needs, and no other, an entrypoint that begins as root works."""
    script = '#!/bin/sh\nset -e\nchown -R app /data\nexec su app -c "touch /data/x && id -u"\n'
    files: dict[str, ib.Content] = {
        "entry.sh": ib.executable(script.encode()),
        "data/": b"",
        "data/old/": hardening.owned(1002, 0o700),
    }
    archive = started(images, "pratique-entry", files, {"Entrypoint": ["/entry.sh"]})
    proposed = flags(capfd, archive)
    assert {"--cap-drop=ALL", "--cap-add=CHOWN", "--cap-add=SETUID", "--cap-add=SETGID"} <= set(proposed)
    ran = images.podman("run", "--rm", "--network", "none", *proposed, "localhost/pratique-entry:1")
    assert (ran.returncode, ran.stdout) == (0, "1000\n"), ran.stderr
    for needed in ("CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE"):
        fewer = [flag for flag in proposed if flag != f"--cap-add={needed}"]
        ran = images.podman("run", "--rm", "--network", "none", *fewer, "localhost/pratique-entry:1")
        assert ran.returncode != 0, f"{needed} is not needed"


def test_a_tool_that_needs_raw_sockets(images: Images, capfd: pytest.CaptureFixture[str]) -> None:
    """A program with a capability of its own keeps that one, and its container has no other."""
    busybox = Path(shutil.which("busybox") or "").resolve().read_bytes()
    config = {"User": "app", "Entrypoint": ["/usr/bin/ping"], "Cmd": ["-c", "1", "127.0.0.1"]}
    archive = started(images, "pratique-ping", {"usr/": b"", "usr/bin/": b"", "usr/bin/ping": hardening.capable(busybox)}, config)
    proposed = flags(capfd, archive)
    assert "--cap-add=NET_RAW" in proposed
    assert "--security-opt=no-new-privileges" not in proposed
    closed = ("--sysctl", "net.ipv4.ping_group_range=1 0")  # so that only a raw socket will do
    ran = images.podman("run", "--rm", "--network", "none", *closed, *proposed, "localhost/pratique-ping:1")
    assert ran.returncode == 0, ran.stderr
    without = [flag for flag in proposed if flag != "--cap-add=NET_RAW"]
    assert images.podman("run", "--rm", "--network", "none", *closed, *without, "localhost/pratique-ping:1").returncode != 0


@pytest.fixture
def proving(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `podman` be the one that runs containers here."""
    program = tmp_path / "podman"
    words = " ".join(f"'{word}'" for word in images.podman.way)
    program.write_text(f"#!/bin/sh\nexec '{shutil.which('podman')}' {words} \"$@\"\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PODMAN_IGNORE_CGROUPSV1_WARNING", "1")


def proven(capfd: pytest.CaptureFixture[str], archive: Path, *more: str) -> tuple[int, list[str]]:
    """Try what is proposed; return the exit code and what is said of it."""
    capfd.readouterr()
    code = run(["harden", str(archive), "--prove", "podman", "--prove-seconds", "3", *more])
    said = capfd.readouterr().err.split("tried with podman:\n")[-1]
    return code, [line.removeprefix("#   - ") for line in said.splitlines()]


@pytest.mark.usefixtures("proving")
def test_proof_that_holds(images: Images, capfd: pytest.CaptureFixture[str]) -> None:
    """It is up with the flags as it was without, and does what it is for; a job ends as it did."""
    serving = {"User": "app", "Cmd": ["busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]}
    archive = started(images, "proof-serves", {"www/index.html": "hello"}, serving)
    code, said = proven(capfd, archive, "--prove-check", "wget -qO- http://127.0.0.1:8080/ | grep hello")
    assert (code, said) == (0, ["as it is: it is up", "with these flags: it is up"])
    job = started(images, "proof-job", {}, {"User": "app", "Cmd": ["id"]})
    assert proven(capfd, job) == (0, ["as it is: it ended with 0", "with these flags: it ended with 0"])
    assert not images.podman("ps", "--all", "--quiet", "--filter", "name=pratique-prove").stdout.strip()


@pytest.mark.usefixtures("proving")
def test_proof_that_does_not_hold(images: Images, capfd: pytest.CaptureFixture[str]) -> None:
    """It says what it lost, and which flags are to blame."""
    files = {"state/": hardening.owned(1000), "state/old": hardening.owned(1000, 0o644, b"x")}
    command = ["sh", "-c", "touch /state/new && exec sleep 60"]
    archive = started(images, "proof-writes", files, {"User": "app", "Cmd": command})
    code, said = proven(capfd, archive, "--attempt")
    assert code == 1
    assert said[1].startswith("with these flags: it ended with 1")
    assert any("Read-only file system" in line for line in said)
    assert [line for line in said if line.startswith("without ")] == ["without --read-only --tmpfs=/tmp:mode=1777 it holds"]


@pytest.mark.usefixtures("proving")
def test_proof_of_nothing(images: Images, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An image that does not run as it is shows nothing; nor does another one under its name."""
    broken = started(images, "proof-broken", {}, {"User": "app", "Cmd": ["sh", "-c", "echo no database >&2; exit 4"]})
    code, said = proven(capfd, broken)
    assert code == 3
    assert said[2].startswith("that shows nothing")
    assert "it says: no database" in said
    other = hardening.write(tmp_path / "other.tar", hardening.base(), {"Cmd": ["sh"]}, "localhost/proof-broken:1")
    code, said = proven(capfd, other)
    assert code == 3
    assert "another image under the name localhost/proof-broken:1" in said[-1]
    absent = hardening.write(tmp_path / "absent.tar", hardening.base(), {"Cmd": ["sh"]}, "localhost/proof-absent:1")
    assert proven(capfd, absent)[0] == 3


@pytest.mark.usefixtures("proving")
def test_a_proof_that_is_ended_leaves_nothing(images: Images) -> None:
    """Whoever ends it, a service manager or a terminal that is closed, finds no container of it afterwards."""
    archive = started(images, "proof-lasts", {}, {"User": "app", "Cmd": ["sleep", "600"]})
    command = [sys.executable, "-m", "pratique", "harden", str(archive), "--prove", "podman", "--prove-seconds", "600"]
    there = ("ps", "--all", "--quiet", "--filter", "name=pratique-prove")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None and not images.podman(*there).stdout.strip():
                time.sleep(0.1)
            process.terminate()
            assert process.wait(SECONDS) == 130
        finally:
            process.kill()
    assert not images.podman(*there).stdout.strip()


@pytest.mark.usefixtures("proving")
def test_what_a_container_says_does_not_fill_the_memory(images: Images, capfd: pytest.CaptureFixture[str]) -> None:
    """A check that never stops to print is a check that fails when its time is over; of a log the end counts."""
    script = "head -c 300000 /dev/zero | tr '\\0' x; echo; echo at the end; exit 4"
    archive = started(images, "proof-says", {}, {"User": "app", "Cmd": ["sh", "-c", script]})
    code, said = proven(capfd, archive)
    assert code == 3
    assert said[-1] == "it says: at the end"
    up = started(images, "proof-up", {}, {"User": "app", "Cmd": ["sleep", "60"]})
    code, said = proven(capfd, up, "--prove-check", "head -c 50000000 /dev/zero")
    assert (code, said) == (0, ["as it is: it is up", "with these flags: it is up"])
