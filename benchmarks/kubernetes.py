"""A gate with many grants in, how long an admission takes at 200 requests a second out: `python benchmarks/kubernetes.py`.

The gate is a process of its own, asked over TLS on loopback by a client with a certificate and connections that it keeps, at a
steady rate (a late answer does not slow the questions down). Fails above the budget.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kubeserver import Gate
from pratique.model.privilege import Asked, Scope, Task
from reviewing import DEV, ONCALL, POLICY, creates, enters, pod, recorded, sar

RATE, SECONDS, GRANTS = 200, 10, 1_000
# People do not enter pods 200 times a second; each time is two syncs of the disk, one after the other.
USES = 20
CONNECTIONS = 20
BUDGET_P99 = 6.0  # milliseconds, for an admission at this rate
_EXEC = {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "team-a", "name": "good"}


class Line:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def post(self, path: str, body: bytes) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: gate\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        await self._writer.drain()
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length"))
        return await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


async def load(gate: Gate, path: str, bodies: list[bytes], rate: int, seconds: int) -> list[float]:
    """Ask at a rate; return the milliseconds of each answer, from when it was due."""
    context: ssl.SSLContext = gate.context()
    context.check_hostname = False
    lines = [Line(*await asyncio.open_connection("127.0.0.1", gate.port, ssl=context)) for _ in range(CONNECTIONS)]
    free: asyncio.Queue[Line] = asyncio.Queue()
    for line in lines:
        free.put_nowait(line)
    taken: list[float] = []

    async def one(number: int, due: float) -> None:
        line = await free.get()
        await line.post(path, bodies[number % len(bodies)])
        taken.append((time.perf_counter() - due) * 1000)
        free.put_nowait(line)

    begun = time.perf_counter()
    running = []
    for number in range(rate * seconds):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        running.append(asyncio.create_task(one(number, max(due, time.perf_counter()))))
    await asyncio.gather(*running)
    for line in lines:
        line.close()
    return taken


def distinct(review: dict[str, Any], count: int, *, users: bool = False) -> list[bytes]:
    """Return reviews that differ in their uid, as an API server's do, and in who asks, so that no denial is like another."""
    made = []
    for number in range(count):
        one = copy.deepcopy(review)
        one["request"]["uid"] = f"uid-{number}"
        if users:
            one["request"]["userInfo"]["username"] = f"user-{number}"
        made.append(json.dumps(one).encode())
    return made


def cpu(gate: Gate) -> float:
    """Return the seconds of processor time that the gate has had: what a busy machine does not change."""
    fields = Path(f"/proc/{gate.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def figures(taken: list[float]) -> tuple[float, float, float]:
    """Return p50, p99 and the longest, in milliseconds."""
    ordered = sorted(taken)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]


def main() -> int:
    """Measure, print a table, and say whether the budget was kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    given = parser.parse_args()
    late = 0
    with tempfile.TemporaryDirectory(prefix="pq-bench-") as folder:
        gate = Gate(Path(folder))
        try:
            with gate.desk() as desk:
                desk.set_policy("policy.yaml", POLICY, ONCALL)
                for number in range(GRANTS):
                    subject = DEV if number % 10 == 0 else DEV.__class__(id=f"user-{number}", provider="k8s", strength=2)
                    task = Task(id=f"T-{number}", purpose="a benchmark")
                    uses = 0 if number == 0 else 1
                    asked = Asked(
                        subject=subject, task=task, privileges=("exec.privileged",), scope=Scope(), lifetime=1700.0, uses=uses
                    )
                    desk.approve(desk.request(asked).id, ONCALL)
            deployment = recorded("CREATE-deployments-")
            work = {
                "admission of a pod within the baseline": ("/admit", distinct(creates(pod()), 500), given.rate),
                "admission of a deployment, denied, on record": (
                    "/admit",
                    distinct(deployment, 500, users=True),
                    given.rate,
                ),
                "admission of the same again and again, counted": ("/admit", distinct(deployment, 500), given.rate),
                "authorisation without a grant": ("/authorize", [json.dumps(sar(**_EXEC, user="nobody")).encode()], given.rate),
                "exec by a grant, used and on record": ("/admit", distinct(enters(), 5_000), USES),
            }
            print(f"{GRANTS} grants, {given.seconds} s each; requests a second, then milliseconds: CPU, p50, p99, longest")
            for name, (path, bodies, rate) in work.items():
                asyncio.run(load(gate, path, bodies, rate, 1))
                before = cpu(gate)
                taken = asyncio.run(load(gate, path, bodies, rate, given.seconds))
                each = (cpu(gate) - before) * 1000 / len(taken)
                p50, p99, longest = figures(taken)
                verdict = "" if p99 <= BUDGET_P99 else f"   over {BUDGET_P99:g}"
                late += p99 > BUDGET_P99 and name.startswith("admission")
                print(f"{name:46} {rate:4} {each:7.2f} {p50:7.2f} {p99:7.2f} {longest:7.2f}{verdict}")
        finally:
            gate.stop()
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
