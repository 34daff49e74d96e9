"""The fail-closed table, row by row, on a real engine: what happens to privileges, and to the baseline, when something breaks."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import engineimages
from dockerengine import Done, Engine, Person, connect, request
from dockergate import GatedEngine, docker

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox")

BASELINE = ["run", "--rm", "--network", "none", "app:1", "id", "-u"]
PRIVILEGED = ["run", "--rm", "--network", "none", "--privileged", "app:1", "id", "-u"]
BEYOND = ["run", "--rm", "--network", "none", "--pid", "host", "app:1", "id", "-u"]
POLICY = """
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: faults}}
spec:
  subjects: {{groups: [{mallory}, {alice}, {root}]}}
  baseline: {{profile: restricted, uid: {{min: 1000}}}}
  entitlements:
  - id: for-a-task
    privileges: [run.privileged, run.root, exec.root]
    maxTTL: 15m
    maxUses: 0
    approvals: {{count: 1, from: ["group:{oncall}"], strength: 1}}
"""


class Stand:
    """An engine behind the gate, its store on a disk of its own that can be filled."""

    def __init__(self, folder: Path) -> None:
        self.engine = GatedEngine(folder, policy=POLICY)
        self.alice = Person("alice")

    def run(self, words: list[str], seconds: float = 30) -> Done:
        """Run docker as an ordinary user."""
        return docker(self.engine, self.alice, *words, seconds=seconds)

    def works(self) -> bool:
        """Say whether the baseline is served."""
        done = self.run(BASELINE)
        return done.code == 0 and done.text.strip() == "1000"

    def elevated(self) -> Done:
        return self.run(PRIVILEGED)

    def reads(self) -> bool:
        """Say whether operators see what there is."""
        return self.run(["ps"]).code == 0


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it starts an engine of its own")
    folder = Path(tempfile.mkdtemp(prefix="pq-faults-"))
    folder.chmod(0o755)
    disk = folder / "store"
    disk.mkdir(mode=0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", disk], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("needs to mount a file system of its own")
    own = Stand(folder)
    try:
        own.engine.start().load(engineimages.archive(), own.alice.connect(own.engine.socket, 60))
        yield own
    finally:
        own.alice.close()
        own.engine.remove()
        subprocess.run(["umount", "-l", disk], check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def granted(stand: Stand) -> Iterator[Stand]:
    """A privilege is granted, and shown to work, before something breaks."""
    stand.engine.grant(stand.alice, ["run.privileged"], seconds=600, uses=0)
    assert _until(lambda: stand.elevated().code == 0)
    yield stand
    stand.engine.revoke_all()
    assert _until(stand.works), "what was broken is whole again"


def denied(done: Done, *words: str) -> bool:
    return done.code != 0 and "denied" in done.text and all(word in done.text for word in words)


def test_nobody_is_known(stand: Stand) -> None:
    """Past the front socket there is no identity: not even the baseline, as the policy does not let strangers in."""
    end = stand.alice.connect(stand.engine.own)
    status, body = request(end, "POST", "/containers/create", b'{"Image":"app:1","Cmd":["id"],"User":"1000:1000"}')
    assert status == 403
    assert b"nobody knows who asks" in body
    assert request(connect(stand.engine.own), "GET", "/containers/json")[0] == 200, "reading stays open"


def test_the_gate_is_killed(granted: Stand) -> None:
    """Then the engine has no plugin to ask, and serves nobody; a new gate goes on where it was."""
    granted.engine.stop_gate(signal.SIGKILL)
    try:
        for words in (BASELINE, PRIVILEGED, ["ps"]):
            assert granted.run(words).code != 0
        end = granted.alice.connect(granted.engine.own, 3)
        status, _ = request(end, "POST", "/containers/create?name=straight", b'{"Image":"app:1","User":"1000:1000"}')
        assert status == 0 or status >= 400, "the engine waits for its plugin, or says that it has none"
    finally:
        granted.engine.start_gate()
    assert _until(lambda: granted.elevated().code == 0), "the grant lives on in the store"
    assert granted.engine.look("/containers/straight/json") is None


def test_the_gate_hangs(granted: Stand) -> None:
    """Nothing starts while it hangs; who waited is served, or not, when it is back."""
    granted.engine.stop_gate(signal.SIGSTOP)
    try:
        assert granted.run(PRIVILEGED, seconds=3).code == 124
    finally:
        granted.engine.stop_gate(signal.SIGCONT)
    assert _until(granted.works)


def test_the_agent_is_gone_when_an_engine_starts_what_is_its_own(stand: Stand) -> None:
    """A restart policy asks nobody: without the agent only the strictest baseline comes back up."""
    hard = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "-u", "1000:1000"]
    given = {"plain": [*hard], "loose": ["-u", "1000:1000"]}
    for name, words in given.items():
        done = stand.run(
            ["run", "-d", "--name", name, "--network", "none", "--restart", "always", *words, "app:1", "sleep", "600"]
        )
        assert done.code == 0, done.text
    stand.engine.stop_gate(signal.SIGKILL)
    try:
        former = {name: _pid(stand, name) for name in given}
        for name in given:
            os.kill(former[name], signal.SIGKILL)
        assert _until(lambda: _pid(stand, "plain") not in (0, former["plain"])), "the strictest baseline needs no agent"
        assert _until(lambda: _pid(stand, "loose") != former["loose"])
        time.sleep(2)  # for the engine to try that one as well
        loose = _pid(stand, "loose")
    finally:
        stand.engine.start_gate()
    assert not loose, "what may gain privileges does"
    for name in given:
        stand.run(["rm", "-f", name])


def _pid(stand: Stand, name: str) -> int:
    """Find a container's first process by what runs in it: the engine answers nobody while its plugin is gone."""
    folder = next(
        path
        for path in (stand.engine.folder / "data/containers").iterdir()
        if f'"/{name}"' in (path / "config.v2.json").read_text()
    )
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if (
                process.name.isdigit()
                and folder.name in (process / "cgroup").read_text()
                and b"sleep" in (process / "cmdline").read_bytes()
            ):
                return int(process.name)
    return 0


def test_the_disk_is_full(granted: Stand) -> None:
    """What cannot be written down is not allowed; the baseline needs no writing, and grants can still be ended."""
    filler = granted.engine.store / "filler"
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(handle, b"\0" * 4096):
            pass
    os.close(handle)
    try:
        assert _until(lambda: denied(granted.elevated(), "ledger")), granted.elevated().text
        assert _until(granted.works)
        assert _until(granted.reads)
    finally:
        filler.unlink()
    assert _until(lambda: granted.elevated().code == 0)


def test_the_disk_is_nearly_full(granted: Stand) -> None:
    """What is left is for what is allowed: denials are counted, and written when there is room, or when the gate ends."""
    before = granted.engine.ledger()[-1].seq
    filler = granted.engine.store / "filler"
    free = os.statvfs(granted.engine.store)
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
    os.posix_fallocate(handle, 0, free.f_bavail * free.f_frsize - (190 << 10))
    os.close(handle)
    attempts: list[int] = []  # denials on record after each

    def counted() -> bool:
        assert denied(granted.run(BEYOND))
        attempts.append(sum(line.decision == "deny" for line in granted.engine.ledger(before)))
        return attempts[-2:] == attempts[-1:] * 2

    try:
        assert _until(counted), "a look at the disk is good for a second"
        assert granted.works()
        assert granted.elevated().code == 0, "what is allowed is on record"
        said = granted.engine.ledger(before)
        assert [line for line in said if line.event == "use"] != []
        assert sum(line.decision == "deny" for line in said) == attempts[-1]
    finally:
        filler.unlink()
    granted.engine.stop_gate()
    granted.engine.start_gate()
    assert sum(line.count or 1 for line in granted.engine.ledger(before) if line.decision == "deny") == len(attempts)


def test_the_gate_is_killed_after_a_denial(stand: Stand) -> None:
    """What was answered is on record, though nothing was synced yet: the kernel has it."""
    before = stand.engine.ledger()[-1].seq
    for _ in range(3):
        assert denied(stand.run(BEYOND))
        stand.engine.stop_gate(signal.SIGKILL)
        stand.engine.start_gate()
    assert len([line for line in stand.engine.ledger(before) if line.decision == "deny" and line.point == "docker"]) == 3
    assert "whole" in stand.engine.pratique("audit", "verify", "--store", str(stand.engine.store))


def test_the_ledger_cannot_be_written(granted: Stand) -> None:
    """A ledger that was damaged is not gone on with."""
    files = sorted((granted.engine.store / "ledger").iterdir())
    content = files[-1].read_bytes()
    files[-1].write_bytes(content[: len(content) // 2])
    try:
        assert denied(granted.elevated())
        assert _until(granted.works)
    finally:
        files[-1].write_bytes(content)
    assert _until(lambda: granted.elevated().code == 0)


def test_the_policy_is_damaged(granted: Stand) -> None:
    """The last good one holds for a day."""
    database = granted.engine.store / "grants.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if "polic" in name
        ]
        (table,) = tables
        column = next(row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] == "body")
        good = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
        connection.execute(f"UPDATE {table} SET {column} = ?", (b"kind: nothing",))
    try:
        assert _until(granted.works)
        assert _until(lambda: granted.elevated().code == 0), "the gate knows the last good one"
        granted.engine.stop_gate()
        granted.engine.start_gate()
        assert granted.works() or denied(granted.run(BASELINE)), "a new gate has it from the store, or the baseline alone"
    finally:
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            for row, body in good:
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (body, row))
    assert _until(lambda: granted.elevated().code == 0)


def test_the_store_is_locked(granted: Stand) -> None:
    """A use that cannot be counted is none; the baseline is served."""
    with contextlib.closing(sqlite3.connect(granted.engine.store / "grants.sqlite", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert denied(granted.elevated())
        assert _until(granted.works)
        connection.execute("ROLLBACK")
    assert _until(lambda: granted.elevated().code == 0)


def test_the_store_is_gone(granted: Stand) -> None:
    """No store, no grants; not even those that the gate has seen."""
    database, aside = granted.engine.store / "grants.sqlite", granted.engine.store / "aside"
    database.rename(aside)
    try:
        assert _until(lambda: denied(granted.elevated()))
    finally:
        aside.rename(database)
    assert _until(lambda: granted.elevated().code == 0)


def test_the_engine_is_restarted(granted: Stand) -> None:
    """The gate is still there, and what was elevated does not come back by itself when its grant has ended."""
    done = granted.run(["run", "-d", "--name", "elevated", "--network", "none", "--privileged", "app:1", "sleep", "600"])
    assert done.code == 0, done.text
    assert _pid(granted, "elevated")
    granted.engine.revoke_all()
    assert _until(lambda: not _pid(granted, "elevated"))
    granted.engine.kill()
    Engine.start(granted.engine)
    assert _until(granted.works)
    time.sleep(1)
    assert not _pid(granted, "elevated")
    granted.run(["rm", "-f", "elevated"])


def test_everything_that_was_denied_is_on_record(stand: Stand) -> None:
    """After all that, the ledger is whole."""
    assert "whole" in stand.engine.pratique("audit", "verify", "--store", str(stand.engine.store))


def _until(holds: object, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False
