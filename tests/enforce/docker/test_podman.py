"""Root's Podman behind the gate in front of its runtime: who logged in asks, what ends with a grant is ended."""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique.enforce.docker import podman
from pratique.grant.lifecycle import Revoke
from pratique.granting.desk import Desk
from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from pratique.store.place import open_place
from pratique.store.reading import lines

pytestmark = pytest.mark.needs("podman", "runc", "busybox")

POLICY = """
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {name: podman}
spec:
  subjects: {groups: [games, news]}
  baseline: {profile: baseline, mounts: ["WORK/**:ro"]}
  entitlements:
  - id: for-a-task
    privileges: [exec.root, run.privileged]
    maxTTL: 10m
    maxUses: 0
    approvals: {count: 1, strength: 1, from: ["group:backup"]}
"""
WRAPPER = """#!{python} -ISB
import sys
sys.path.insert(0, {source!r})
import pratique_runtime.gate as gate
sys.exit(gate.main(config={config!r}))
"""


class Podman:
    """One store of Podman, with the gate in front of its runtime."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.work = folder / "work"
        self.work.mkdir()
        runtime = shutil.which("runc", path="/usr/sbin:/usr/bin")
        (folder / "runc.conf").write_text(f"runtime={runtime}\nagent={folder / 'agent.sock'}\n")
        wrapper = folder / "runc"
        source = str(Path(podman.__file__).parents[3])
        wrapper.write_text(WRAPPER.format(python=sys.executable, source=source, config=str(folder / "runc.conf")))
        wrapper.chmod(0o755)
        self._gate: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.folder / "policy.yaml").write_text(POLICY.replace("WORK", str(self.work)))
        words = [sys.executable, "-m", "pratique"]
        policy = self.folder / "policy.yaml"
        subprocess.run([*words, "grant", "policy", "set", policy, "--store", self.store], check=True, capture_output=True)
        agent = self.folder / "agent.sock"
        self._gate = subprocess.Popen(
            [
                *words,
                "gate",
                "podman",
                "--store",
                self.store,
                "--agent",
                agent,
                "--desk",
                self.folder / "desk.sock",
                "--host",
                "h",
            ],
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 60
        while not agent.exists() and time.monotonic() < until:
            time.sleep(0.02)

    def stop(self) -> None:
        if self._gate is not None:
            self._gate.terminate()
            self._gate.wait(20)

    def as_(self, name: str, *words: str, seconds: float = 40) -> subprocess.CompletedProcess[str]:
        """Run Podman as root, as whom somebody logged in; "" is nobody."""
        return subprocess.run(
            self.words(name, *words), capture_output=True, text=True, check=False, timeout=seconds, stdin=subprocess.DEVNULL
        )

    def words(self, name: str, *words: str) -> list[str]:
        login = f"echo {pwd.getpwnam(name).pw_uid} >/proc/self/loginuid && " if name else ""
        own = ["--root", self.folder / "root", "--runroot", self.folder / "run", "--runtime", self.folder / "runc"]
        given = ["--log-level", "error", "--cgroup-manager", "cgroupfs", "--events-backend", "none", *map(str, own), *words]
        return ["sh", "-c", f'{login}exec podman "$@"', "podman", *given]

    def grant(self, name: str, *privileges: str) -> Grant:
        with Desk(open_place(self.store)) as desk:
            asked = Asked(
                subject=_person(name), task=Task(id="T-1", purpose="a test"), privileges=privileges, scope=Scope(),
                lifetime=300.0, uses=0,
            )  # fmt: skip
            return desk.approve(desk.request(asked).id, _person("backup"))

    def revoke(self, grant: Grant) -> None:
        with Desk(open_place(self.store)) as desk:
            desk.act(grant.id, Revoke(_person("backup"), "over"))

    def denials(self) -> list[str]:
        return [line.reason for line in lines(open_place(self.store)) if line.decision == "deny"]


def _person(name: str) -> Subject:
    return Subject(id=name, provider="unix", groups=(name,), strength=1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Podman]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it starts containers as root")
    folder = Path(tempfile.mkdtemp(prefix="pq-podman-"))
    folder.chmod(0o755)
    own = Podman(folder)
    try:
        if own.as_("games", "version").returncode != 0:
            pytest.skip("needs a kernel that lets a process be logged in (loginuid)")
        made = subprocess.run(own.words("", "import", "-", "bb:1"), input=_image(), capture_output=True, check=False, timeout=60)
        assert made.returncode == 0, made.stderr
        own.start()
        yield own
    finally:
        own.as_("", "rm", "-f", "-a", "-t", "0")
        own.stop()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (where := line.split()[1]).startswith(f"{folder}/"):
                subprocess.run(["umount", "-l", where], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _image() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        program = shutil.which("busybox")
        assert program is not None
        archive.add(os.path.realpath(program), "bin/busybox")
        for name in ("sh", "id", "sleep", "cat", "ls"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for name, text in (("etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


@pytest.fixture
def running(engine: Podman) -> Iterator[str]:
    """Return a container that somebody else made."""
    made = engine.as_("news", "run", "-d", "--network", "none", "bb:1", "sleep", "600")
    assert made.returncode == 0, made.stderr
    yield made.stdout.strip()
    engine.as_("", "rm", "-f", "-t", "0", made.stdout.strip())


@pytest.mark.parametrize("words", [["-u", "1000"], [], ["-v", "WORK:/w:ro"], ["--cap-drop", "all"], ["--read-only"]])
def test_the_baseline_runs(engine: Podman, words: list[str]) -> None:
    given = [word.replace("WORK", str(engine.work)) for word in words]
    done = engine.as_("games", "run", "--rm", "--network", "none", *given, "bb:1", "id")
    assert (done.returncode, done.stdout[:4]) == (0, "uid="), done.stderr


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["--privileged"], "run.privileged"),
        (["-v", "/etc:/x"], "run.mount:/etc:rw"),
        (["-v", f"/proc/{os.getppid()}/root:/x:ro"], "run.mount:/:ro"),
        (["--cap-add", "SYS_ADMIN"], "run.cap:SYS_ADMIN"),
        (["--pid", "host"], "run.hostns:pid"),
        (["--ipc", "host"], "run.hostns:ipc"),
        (["--security-opt", "seccomp=unconfined"], "run.unconfined:seccomp"),
        (["--device", "/dev/vda"], "run.device"),
        (["--annotation", "run.oci.keep_original_groups=1"], "run."),
    ],
)
def test_beyond_the_baseline_does_not(engine: Podman, words: list[str], needed: str) -> None:
    if "/dev/vda" in words and not Path("/dev/vda").exists():
        pytest.skip("needs /dev/vda")
    before = len(engine.denials())
    done = engine.as_("games", "run", "--rm", "--network", "none", *words, "bb:1", "id")
    assert done.returncode == 126, done.stdout
    assert "pratique: denied: " in done.stderr
    assert f"this needs {needed}" in done.stderr
    assert done.stderr.count("pratique grant request") + done.stderr.count("nothing entitles to it") >= 1
    assert len(engine.denials()) == before + 1


def test_a_volume_that_is_a_path_of_the_machine(engine: Podman) -> None:
    name = f"v{time.monotonic_ns()}"
    made = engine.as_("games", "volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/etc", name)
    assert made.returncode == 0, made.stderr
    done = engine.as_("games", "run", "--rm", "--network", "none", "-v", f"{name}:/x", "bb:1", "ls", "/x")
    assert done.returncode == 126, done.stdout
    assert "this needs run.mount:/etc:rw" in done.stderr


def test_another_names_container_is_not_entered(engine: Podman, running: str) -> None:
    assert engine.as_("news", "exec", running, "id").returncode == 0
    done = engine.as_("games", "exec", running, "id")
    assert done.returncode != 0
    assert "this needs exec.root" in done.stderr


def test_who_is_not_logged_in_gets_the_containers_own_and_no_more(engine: Podman, running: str) -> None:
    """A health check is started by a timer: nobody is logged in, and it asks for nothing that the container has not."""
    assert engine.as_("", "exec", running, "id").returncode == 0
    assert engine.as_("", "exec", "--privileged", running, "id").returncode != 0
    assert engine.as_("", "run", "--rm", "--network", "none", "--privileged", "bb:1", "id").returncode == 126


def test_what_is_granted_runs_and_ends_with_the_grant(engine: Podman, running: str) -> None:
    grant = engine.grant("games", "exec.root", "run.privileged")
    name = f"c{time.monotonic_ns()}"
    made = engine.as_("games", "run", "-d", "--name", name, "--network", "none", "--privileged", "bb:1", "sleep", "600")
    assert made.returncode == 0, made.stderr
    inside = subprocess.Popen(
        engine.words("games", "exec", running, "sh", "-c", "sleep 601 & sleep 602"),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert _until(lambda: len(_named("sleep", "601")) == 1 and len(_named("sleep", "602")) == 1)
        engine.revoke(grant)
        inside.communicate(timeout=20)
        assert _until(lambda: not _named("sleep", "601") and not _named("sleep", "602")), "all that it began ends with it"
        assert _until(lambda: engine.as_("", "inspect", "-f", "{{.State.Status}}", name).stdout.strip() == "exited")
        assert engine.as_("", "inspect", "-f", "{{.State.Status}}", running).stdout.strip() == "running"
        assert engine.as_("games", "exec", running, "id").returncode != 0
        ended = [line for line in lines(open_place(engine.store)) if line.event == "ended" and grant.id in line.grant]
        assert sorted(line.detail["done"] for line in ended) == ["killed 2 processes", "killed the container"]
    finally:
        with contextlib.suppress(OSError):
            inside.kill()
        inside.communicate()
        engine.as_("", "rm", "-f", "-t", "0", name)


def _until(holds: object, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def _named(*words: str) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and (folder / "cmdline").read_bytes() == b"".join(word.encode() + b"\0" for word in words):
                found.append(folder.name)
    return found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/var/lib/containers/storage/overlay-containers/{'a' * 64}/userdata/config.json",
         ("/var/lib/containers/storage", "overlay", "a" * 64, "")),
        (f"/g/vfs-containers/{'a' * 64}/userdata/{'b' * 64}/exec-process-1", ("/g", "vfs", "a" * 64, "b" * 64)),
        (f"/g/vfs-containers/{'a' * 63}/userdata/config.json", None),
        (f"/g/../vfs-containers/{'a' * 64}/userdata/config.json", None),
        (f"/run/containerd/io.containerd.runtime.v2.task/moby/{'a' * 64}/config.json", None),
    ],
)  # fmt: skip
def test_where_podman_keeps_containers(path: str, found: tuple[str, ...] | None) -> None:
    assert podman.bundle_of(path) == found
