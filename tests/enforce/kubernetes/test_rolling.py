"""Parts of the gate are exchanged, killed and brought back while an API server asks: no answer is wrong, and none is missing."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from kubeserver import Gate
from pratique.enforce.kubernetes import certificates
from pratique.model.privilege import Asked, Scope, Task
from reviewing import DEV, ONCALL, POLICY, creates, enters, pod

PATIENCE = 120  # seconds for a step on a machine that does much else
ENOUGH = 12  # answers between two steps
# What an answer may say of itself when it denies what it would allow: it had no time, or nobody to ask.
EXCUSES = ("no decision within", "does not answer", "answered 5", "cannot be read")


class Asking:
    """API servers that ask two relays, the other where one does not answer, until they are told to stop."""

    def __init__(self, doors: list[Gate]) -> None:
        self.doors = doors
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(3)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait(self, what: str, more: int = ENOUGH) -> None:
        """Wait until there are more answers of a sort."""
        wanted = self.counts[what] + more
        wait_for(lambda: bool(self.wrong) or self.counts[what] >= wanted, f"{more} more of {what}: {self.counts}")
        assert not self.wrong, self.wrong[:3]

    def _run(self, number: int) -> None:
        turn = 0
        while not self._stopped.is_set():
            turn += 1
            uid = f"u-{number}-{turn}"
            review, kind = (
                (creates(pod(), uid=uid), "harmless"),
                (creates(pod(securityContext={"privileged": True}), uid=uid), "privileged"),
                (enters(uid=uid), "granted"),
            )[turn % 3]
            answer = self._ask(review, number + turn)
            if answer is None:
                continue
            allowed, message = answer["allowed"], str(answer.get("status", {}).get("message", ""))
            excused = any(excuse in message for excuse in EXCUSES)
            with self._lock:
                self.counts[f"{kind} {'allowed' if allowed else 'denied'}"] += 1
                if (kind == "privileged" and allowed) or (kind != "privileged" and not allowed and not excused):
                    self.wrong.append(f"{kind}: {answer}")

    def _ask(self, review: dict[str, Any], turn: int) -> dict[str, Any] | None:
        for attempt in range(2):
            door = self.doors[(turn + attempt) % 2]
            request = urllib.request.Request(f"{door.address}/admit", json.dumps(review).encode())
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE, context=door.context()) as answer:
                    found: dict[str, Any] = json.loads(answer.read())["response"]
                    return found
            except (urllib.error.URLError, ConnectionError, ssl.SSLError, OSError):
                continue
        with self._lock:
            self.counts["nobody answered"] += 1
        return None


def wait_for(what: Callable[[], bool], says: str) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, f"never came: {says}"
        time.sleep(0.02)


def metric(gate: Gate, name: str) -> float:
    """Return one number of a gate's; -1 where it does not answer."""
    try:
        with urllib.request.urlopen(f"{gate.address}/metrics", timeout=PATIENCE, context=gate.context()) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return -1
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), -1)


def relay(folder: Path, gate: Gate, name: str, port: int = 0) -> Gate:
    """Return a relay with files of its own; one that was there before begins with what it kept."""
    made = folder / name
    if not made.exists():
        shutil.copytree(gate.folder / "keys", made / "keys")
    keys = made / "keys"
    words = (
        "--upstream", gate.address, "--upstream-ca", str(keys / "ca.crt"), "--upstream-cert", str(keys / "client.crt"),
        "--upstream-key", str(keys / "client.key"), "--keep", str(made / "policy"),
    )  # fmt: skip
    return Gate(made, *words, name=name, verb="relay", port=port)


def uses(gate: Gate) -> int:
    with gate.desk() as desk:
        files = sorted((desk.place.folder / "ledger").glob("*.jsonl"))
    return sum('"event":"use"' in line for file in files for line in file.read_text().splitlines())


def exchanged(door: Gate) -> None:
    """Exchange what a relay serves and shows, while it is asked."""
    keys = door.folder / "keys"
    ends = "pratique_gate_certificate_expires_timestamp_seconds"
    before = metric(door, ends)
    for name in ("tls.crt", "client.crt"):
        (keys / name).unlink()
    earlier = dt.datetime.now(dt.UTC) - dt.timedelta(days=10)  # so that it ends at another time
    assert certificates.make(keys, ("127.0.0.1", "localhost"), earlier).files == ("tls.crt", "client.crt")
    wait_for(lambda: 0 < metric(door, ends) < before, "the new certificate")


def test_no_answer_is_wrong_while_parts_come_and_go(tmp_path: Path) -> None:
    """Certificates are exchanged, a relay is killed and comes back, the store is killed and comes back, under load: what needs
    nothing goes on throughout, what was not granted never gets through, and each use of the grant is in the ledger.
    """
    gate = Gate(tmp_path / "gate")
    with gate.desk() as desk:
        desk.set_policy("policy.yaml", POLICY, ONCALL)
        task = Task(id="T-1", purpose="mend it")
        asked = Asked(subject=DEV, task=task, privileges=("exec.privileged",), scope=Scope(), lifetime=1500.0, uses=0)
        desk.approve(desk.request(asked).id, ONCALL)
    doors = [relay(tmp_path, gate, "a"), relay(tmp_path, gate, "b")]
    try:
        for door in doors:
            wait_for(lambda door=door: metric(door, "pratique_gate_ready") == 1, "a relay that has a policy")  # type: ignore[misc]
        with Asking(doors) as load:
            load.wait("granted allowed")
            exchanged(doors[0])
            load.wait("granted allowed")
            doors[1].kill()
            load.wait("harmless allowed")
            load.wait("granted allowed")
            doors[1] = relay(tmp_path, gate, "b", doors[1].port)
            load.wait("granted allowed")
            gate.kill()
            load.wait("granted denied")
            load.wait("harmless allowed")
            gate = Gate(tmp_path / "gate", port=gate.port)
            load.wait("granted allowed")
        assert not load.wrong, load.wrong[:3]
        assert not load.counts["nobody answered"], load.counts
        assert not load.counts["privileged allowed"]
        assert load.counts["privileged denied"]
        assert uses(gate) >= load.counts["granted allowed"]
    finally:
        for process in (*doors, gate):
            process.stop()
