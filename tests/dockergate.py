"""A Docker engine behind pratique's gate, put together as an operator does it: the gate's command, plugin, runtime, policy."""

from __future__ import annotations

import contextlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from dockerengine import GROUP, PEOPLE, START_SECONDS, Done, Engine, Person
from pratique.grant.lifecycle import Revoke
from pratique.granting.desk import Desk
from pratique.model.errors import GrantError
from pratique.model.privilege import Asked, Grant, Scope, Subject, Task
from pratique.store.interface import Wanted
from pratique.store.line import Line
from pratique.store.place import open_place
from pratique.store.reading import lines

REPOSITORY = Path(__file__).parents[1]
HOST = "testhost"
# Where the gate in front of the runtime is put: the engine finds it by the name of the runtime, whatever runtime is asked for.
_RUNTIME = """#!{python} -ISB
import sys
sys.path.insert(0, {source!r})
import pratique_runtime.gate as gate
sys.exit(gate.main(config={config!r}))
"""
POLICY = """
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: tests}}
spec:
  subjects: {{groups: [{mallory}, {alice}, {root}]}}
  baseline:
    profile: restricted
    uid: {{min: 1000}}
    mounts: ["{shared}/**:ro", "{work}/**:rw"]
    privileges: [build.run, cp.write, "run.hostport:1024-65535"]
  rules:
  - id: no-engine-socket
    deny: spec.mounts.exists(m, m.source.endsWith('docker.sock') || m.source.endsWith('containerd.sock'))
  entitlements:
  - id: debug-root
    privileges: [run.root, run.privileged, "run.mount:/**:rw", volume.hostbind, exec.root, exec.any, attach, build.insecure]
    maxTTL: 15m
    maxUses: 0
    approvals: {{count: 1, from: ["group:{oncall}"], strength: 1}}
"""


class Gate:
    """One gate's process, the store that it decides by, and the gate in front of a runtime."""

    def __init__(self, folder: Path, words: Sequence[str], policy: str) -> None:
        """`words` follow `pratique gate`; the folder of the gate's sockets, store and policy is `folder`."""
        self.store = folder / "store"
        self.shared, self.work = folder / "shared", folder / "work"
        self.gate_log = folder / "gate.log"
        self._folder = folder
        self._words = words
        self._policy = policy
        self._gate: subprocess.Popen[bytes] | None = None

    def set_up(self) -> None:
        """Make the folders that the policy lets everybody use, the runtime's gate, the store, and start the gate."""
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for path, mode in ((self.shared, 0o755), (self.work, 0o1777)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)
        (self.shared / "notes").write_text("for everybody\n")
        self._install_runtime()
        file = self._folder / "policy.yaml"
        file.write_text(self._policy.format(**PEOPLE, shared=self.shared, work=self.work))
        self.pratique("grant", "policy", "set", str(file), "--store", str(self.store))
        self.start_gate()

    def _install_runtime(self) -> None:
        config = self._folder / "runtime.conf"
        real = next(path for path in ("/usr/sbin/runc", "/usr/bin/runc") if Path(path).exists())
        config.write_text(f"runtime={real}\nagent={self._folder / 'agent.sock'}\nfolders={self._folder / 'data'}\n")
        config.chmod(0o644)
        wrapper = self._folder / "bin" / "runc"
        wrapper.parent.mkdir(exist_ok=True)
        text = _RUNTIME.format(python=sys.executable, source=str(REPOSITORY / "src"), config=str(config))
        wrapper.write_text(text)
        wrapper.chmod(0o755)

    def pratique(self, *words: str, check: bool = True) -> str:
        """Run pratique's command as root; return what it says."""
        done = subprocess.run(
            [sys.executable, "-m", "pratique", *words], capture_output=True, text=True, check=False, cwd="/", timeout=60
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"pratique {shlex.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def start_gate(self) -> None:
        """Start the gate's process and wait until it stands."""
        desk = str(self._folder / "desk.sock")
        own = ["--store", str(self.store), "--host", HOST, "--desk", desk]
        words = [sys.executable, "-m", "pratique", "gate", *self._words, *own]
        with self.gate_log.open("ab") as log:
            start = self.gate_log.stat().st_size
            self._gate = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._gate.poll() is None:
            if b"the gate stands" in self.gate_log.read_bytes()[start:]:
                return
            time.sleep(0.02)
        raise RuntimeError(f"the gate did not start: {self.gate_log.read_text(errors='replace')[-3000:]}")

    def stop_gate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the gate a signal, and wait for its end where it is one that ends."""
        if self._gate is not None and self._gate.poll() is None:
            self._gate.send_signal(number)
            if number not in (signal.SIGSTOP, signal.SIGCONT):
                self._gate.wait(60)

    def ledger(self, after: int = 0) -> list[Line]:
        """Return the ledger's lines behind number `after`."""
        return [line for line in lines(open_place(self.store, create=False)) if line.seq > after]

    def grant(self, person: Person, privileges: Sequence[str], *, seconds: float = 60, uses: int = 1, **scope: Any) -> Grant:
        """Have something asked for by one person and approved by another."""
        with Desk(open_place(self.store)) as desk:
            wanted = desk.request(
                Asked(
                    subject=subject(person.name), task=Task(id="T-1", purpose="a test"), privileges=tuple(privileges),
                    scope=Scope(**scope), lifetime=float(seconds), uses=uses,
                )
            )  # fmt: skip
            return desk.approve(wanted.id, subject("oncall"))

    def revoke_all(self) -> None:
        """Leave nobody with any grant."""
        with Desk(open_place(self.store)) as desk:
            for kept in desk.store.find(Wanted(states=("requested", "approved", "active", "exhausted"))):
                with contextlib.suppress(GrantError):  # time has ended it meanwhile
                    desk.act(kept.grant.id, Revoke(subject("oncall"), "the test is over"))


class GatedEngine(Engine, Gate):
    """An engine and its gate. `socket` is the front socket, `own` the engine's."""

    def __init__(
        self,
        folder: Path,
        *,
        policy: str = POLICY,
        observe: bool = False,
        extra: Sequence[str] = (),
        more: Sequence[str] = (),
    ) -> None:
        """`extra` are words for the engine, `more` for the gate."""
        Engine.__init__(self, folder, extra=["--authorization-plugin", "pratique", *extra], path=str(folder / "bin"))
        self.socket = folder / "front.sock"
        words = [
            "docker", "--engine", str(self.own), "--front", str(self.socket), "--plugin", str(self.plugins / "pratique.sock"),
            "--agent", str(folder / "agent.sock"), "--group", GROUP, *(["--observe"] if observe else []), *more,
        ]  # fmt: skip
        Gate.__init__(self, folder, words, policy)

    def start(self) -> Self:
        """Begin with the gate: an engine that finds no plugin serves nobody."""
        self.set_up()
        return super().start()

    def stop(self) -> None:
        """Stop the engine first: what it still asks on its way out is answered."""
        super().stop()
        self.stop_gate()


def subject(name: str) -> Subject:
    """Return who a person is to the gate."""
    return Subject(id=PEOPLE[name], provider="unix", groups=(PEOPLE[name],), strength=1)


def docker(engine: Engine, person: Person, *words: str, env: Mapping[str, str] | None = None, **more: Any) -> Done:
    """Run docker's command line as somebody against an engine's socket for people."""
    given = {
        "DOCKER_HOST": f"unix://{engine.socket}",
        "DOCKER_CONFIG": "/nonexistent",
        "BUILDKIT_PROGRESS": "plain",
        **(env or {}),
    }
    return person.run(["docker", *words], env=given, **more)
