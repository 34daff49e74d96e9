"""What the Docker gate costs: plugin, front socket, runtime gate, revocation; each beside the same without it, in one run.

    python benchmarks/gates.py [--rounds N] [--only requests|runtime|denials|revocation]

Needs root, dockerd, docker, runc and busybox. It starts two engines of its own, one behind the gate, without any network.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import engineimages
from dockerengine import Engine, Person, request
from dockergate import GatedEngine, subject
from pratique.grant.lifecycle import Revoke
from pratique.granting.desk import Desk
from pratique.store.place import open_place

POLICY = """
apiVersion: pratique/v1
kind: PrivilegePolicy
metadata: {{name: benchmark}}
spec:
  subjects: {{groups: [{mallory}, {alice}, {root}]}}
  baseline: {{profile: baseline}}
  entitlements:
  - id: for-a-task
    privileges: [exec.root, exec.any]
    maxTTL: 15m
    maxUses: 0
    approvals: {{count: 1, from: ["group:{oncall}"], strength: 1}}
"""
CREATE = json.dumps({"Image": "app:1", "Cmd": ["id"], "User": "1000:1000", "NetworkDisabled": True}).encode()
# No baseline gives these: two at a time they are 153 kinds of denial, and one subject has 300 lines before they are counted.
CAPABILITIES = (
    "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "SYS_BOOT", "SYS_TIME", "NET_ADMIN", "NET_RAW", "MAC_ADMIN", "BPF",
    "PERFMON", "SYSLOG", "WAKE_ALARM", "LEASE", "IPC_LOCK", "SYS_NICE", "SYS_RESOURCE", "SYS_PACCT",
)  # fmt: skip
DENIALS = 100


class Client:
    """One kept connection, as docker's clients keep theirs."""

    def __init__(self, end: socket.socket) -> None:
        self._connection = http.client.HTTPConnection("engine")
        self._connection.sock = end

    def ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, target, body or None, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def show(name: str, own: list[float], without: list[float], target: str) -> None:
    """Print the medians and 99th percentiles of both, and their difference."""
    p50 = statistics.median(own) - statistics.median(without)
    p99 = _p99(own) - _p99(without)
    print(
        f"{name:44} {statistics.median(own):8.2f} {_p99(own):8.2f} {statistics.median(without):8.2f} {_p99(without):8.2f}"
        f" {p50:+8.2f} {p99:+8.2f}   {target}"
    )


def _p99(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def pair(rounds: int, own: Callable[[], object], without: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Time both in turns."""
    for _ in range(20):
        own(), without()
    times = [(timed(own), timed(without)) for _ in range(rounds)]
    return [a for a, _ in times], [b for _, b in times]


def requests(gated: GatedEngine, bare: Engine, rounds: int, person: Person) -> None:
    front = Client(person.connect(gated.socket, 60))
    own = Client(person.connect(gated.own, 60))
    free = Client(person.connect(bare.own, 60))
    for name, target in (("GET /_ping", "/_ping"), ("GET /containers/json", "/containers/json")):
        show(
            f"front socket: {name}",
            *pair(rounds, partial(front.ask, "GET", target), partial(own.ask, "GET", target)),
            "p50 <= 0.3",
        )
        show(
            f"plugin: {name}",
            *pair(rounds, partial(own.ask, "GET", target), partial(free.ask, "GET", target)),
            "p50 <= 0.6, p99 <= 5",
        )
    networks = [json.loads(client.ask("POST", "/containers/create?name=named", CREATE)[1])["Id"] for client in (front, free)]
    names = iter(range(10**6))

    def rename(client: Client, identifier: str) -> None:
        assert client.ask("POST", f"/containers/{identifier}/rename?name=n{next(names)}")[0] == 204

    show(
        "plugin and front: a write in the baseline",
        *pair(rounds, lambda: rename(front, networks[0]), lambda: rename(free, networks[1])),
        "p50 <= 0.9, p99 <= 5",
    )

    def create(client: Client) -> None:
        status, body = client.ask("POST", "/containers/create", CREATE)
        assert status == 201, body
        client.ask("DELETE", f"/containers/{json.loads(body)['Id']}")

    some = max(20, rounds // 10)
    show("plugin and front: create and remove", *pair(some, lambda: create(front), lambda: create(free)), "")


def runtime(gated: GatedEngine, rounds: int) -> None:
    """Time the gate in front of a runtime that does nothing, with the specification of a real container."""
    bundle = gated.folder / "bundle"
    bundle.mkdir()
    subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    spec["process"]["capabilities"] = {}
    (bundle / "config.json").write_text(json.dumps(spec))
    config = gated.folder / "bench.conf"
    config.write_text(f"runtime=/bin/true\nagent={gated.folder / 'agent.sock'}\n")
    wrapper = gated.folder / "bench"
    wrapper.write_text((gated.folder / "bin/runc").read_text().replace(str(gated.folder / "runtime.conf"), str(config)))
    wrapper.chmod(0o755)
    some = max(30, rounds // 10)
    create = ["create", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), "0" * 64]
    for name, words in (("create", create), ("state", ["state", "0" * 64]), ("start", ["start", "0" * 64])):
        show(
            f"runtime gate: {name}",
            *pair(
                some,
                partial(subprocess.run, [wrapper, *words], check=False, capture_output=True),
                partial(subprocess.run, ["/bin/true", *words], check=False, capture_output=True),
            ),
            "<= 25",
        )


def revocation(gated: GatedEngine, people: dict[str, Person], rounds: int) -> None:
    """Time from the end of `revoke` to the answer of the next call, and to the end of the session that lived by the grant."""
    alice = people["alice"]
    body = {"Image": "app:1", "Cmd": ["sleep", "3000"], "User": "1000:1000", "NetworkDisabled": True}
    status, answer = request(alice.connect(gated.socket), "POST", "/containers/create", json.dumps(body).encode())
    assert status == 201, answer
    identifier = json.loads(answer)["Id"]
    assert request(alice.connect(gated.socket), "POST", f"/containers/{identifier}/start")[0] == 204
    command = json.dumps({"Cmd": ["sh", "-c", "sleep 300 & sleep 301"], "User": "0", "AttachStdout": True}).encode()
    target = f"/containers/{identifier}/exec"
    calls, sessions, ordinary, late = [], [], [], 0
    with Desk(open_place(gated.store)) as desk:
        for _ in range(max(10, rounds // 20)):
            grant = gated.grant(alice, ["exec.root"], seconds=300, uses=0)
            status, answer = request(alice.connect(gated.socket), "POST", target, command)
            assert status == 201, answer
            session = _session(alice.connect(gated.socket, 20), json.loads(answer)["Id"])
            ended: list[float] = []
            watching = threading.Thread(target=lambda end=session, ended=ended: ended.append(_end_of(end)))
            watching.start()
            time.sleep(0.2)
            desk.act(grant.id, Revoke(subject("oncall"), "benchmark"))
            at = time.perf_counter()
            status, _ = request(alice.connect(gated.socket), "POST", target, command)
            calls.append((time.perf_counter() - at) * 1000)
            late += status == 201
            watching.join(30)
            sessions.append((ended[0] - at) * 1000)
            session.close()
            ordinary.append(timed(lambda: request(alice.connect(gated.socket), "POST", target, command)))
    show("revoked: the next call's denial; any denial", calls, ordinary, f"+5; let through: {late} of {len(calls)}")
    print(f"{'revoked: the session is dead after':44} {statistics.median(sessions):8.2f} {_p99(sessions):8.2f}{'':37}<= 50")


def denials(gated: GatedEngine, bare: Engine, person: Person) -> None:
    """Time what is denied: of new kinds, each a line in the ledger, and of one kind again and again, which is counted."""
    own, free = Client(person.connect(gated.socket, 60)), Client(person.connect(bare.own, 60))
    kinds = iter(combinations(CAPABILITIES, 2))

    def denied(names: tuple[str, ...]) -> None:
        body = {"Image": "app:1", "User": "1000:1000", "NetworkDisabled": True, "HostConfig": {"CapAdd": names}}
        assert own.ask("POST", "/containers/create", json.dumps(body).encode())[0] == 403

    def missing() -> None:
        assert free.ask("POST", "/containers/create", b'{"Image":"none:1"}')[0] == 404

    show("a denial, on record; an engine's own refusal", *pair(DENIALS, lambda: denied(next(kinds)), missing), "p50 <= 5")
    show("a denial like many before it, counted", *pair(DENIALS, lambda: denied(("SYS_ADMIN",)), missing), "p50 <= 5")


def _session(end: socket.socket, command: str) -> socket.socket:
    """Start a command and take its connection over."""
    head = f"POST /exec/{command}/start HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\n"
    end.sendall(f"{head}Content-Length: 2\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n{{}}".encode())
    assert b" 101 " in end.recv(1000)
    return end


def _end_of(session: socket.socket) -> float:
    while session.recv(1000):
        pass
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--only", choices=("requests", "runtime", "denials", "revocation"), help="measure this part alone")
    given = parser.parse_args()
    rounds, only = given.rounds, given.only
    if os.geteuid() != 0:
        sys.exit("gates.py starts engines: run it as root")
    folder = Path(tempfile.mkdtemp(prefix="pq-bench-"))
    folder.chmod(0o755)
    people = {name: Person(name) for name in ("alice", "oncall")}
    gated, bare = GatedEngine(folder / "gated", policy=POLICY), Engine(folder / "bare")
    try:
        bare.start().load(engineimages.archive())
        gated.start().load(engineimages.archive(), people["alice"].connect(gated.socket, 60))
        print(f"{'milliseconds':44} {'p50':>8} {'p99':>8} {'without':>8} {'p99':>8} {'+p50':>8} {'+p99':>8}   target")
        if only in (None, "requests"):
            requests(gated, bare, rounds, people["alice"])
        if only in (None, "runtime"):
            runtime(gated, rounds)
        if only in (None, "denials"):
            denials(gated, bare, people["alice"])
        if only in (None, "revocation"):
            revocation(gated, people, rounds)
    finally:
        for person in people.values():
            person.close()
        bare.remove()
        gated.remove()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
