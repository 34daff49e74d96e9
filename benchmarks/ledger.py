"""A ledger of a million lines in, how long each thing takes out: `python benchmarks/ledger.py [LINES]`. Fails above budgets."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pratique.grant.asking import request_hash
from pratique.granting.desk import Desk
from pratique.model.privilege import Approval, Asked, Grant, Scope, Subject, Task
from pratique.store.grants import SqliteGrants
from pratique.store.ledger import Ledger
from pratique.store.line import Entry, Who
from pratique.store.place import Place, open_place
from pratique.store.verify import verify
from pratique.store.watch import Live, Watcher

LINES = 1_000_000
THREADS, EACH = 32, 400
RATE = 200
REVOCATIONS = 60
# Seconds: what was asked for. An append is one sync of the disk, which is the machine's.
VERIFY, SEEN = 10.0, 0.005

ENTRY = Entry(
    event="use",
    subject=Who("alice", "oidc", 2),
    decision="allow_with_grant",
    needed=("exec.root",),
    grant="g-0123456789ab",
    task="T-1",
    request="sha256:" + "a" * 64,
    effective="sha256:" + "b" * 64,
    policy="sha256:" + "c" * 64,
    point="docker",
    node="node-1",
    session="s" * 64,
)


def each(call: Callable[[], object], times: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of a call, in milliseconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1000)
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.99)]


def in_turns(own: Callable[[], object], other: Callable[[], object], times: int) -> tuple[list[float], list[float]]:
    """Time two calls in turns, at a steady rate of 200 a second together; return the milliseconds of each, sorted."""
    taken: tuple[list[float], list[float]] = [], []
    due = time.perf_counter()
    for number in range(2 * times):
        due += 1 / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        begun = time.perf_counter()
        (own, other)[number % 2]()
        taken[number % 2].append((time.perf_counter() - begun) * 1000)
    return sorted(taken[0]), sorted(taken[1])


def group(place: Place) -> float:
    """Return the entries a second of many threads that each wait for theirs to be on disk."""
    ledger = Ledger(place)
    threads = [threading.Thread(target=lambda: [ledger.append(ENTRY) for _ in range(EACH)]) for _ in range(THREADS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return THREADS * EACH / (time.perf_counter() - begun)


def fill(place: Place, lines: int) -> None:
    """Write many lines, in large batches."""
    ledger = Ledger(place)
    with ledger._writing() as writer:  # noqa: SLF001 - one lock and few syncs, as nothing waits for these lines
        for _ in range(lines // 500):
            writer.write([ENTRY] * 500)
    ledger.close()


def grant(number: int) -> Grant:
    asked = Asked(
        subject=Subject(id=f"user{number}", provider="oidc", strength=2),
        task=Task(id="T-1", purpose="x"),
        privileges=("exec.root",),
        scope=Scope(),
        lifetime=3600.0,
        uses=0,
        nonce=str(number),
    )
    now = time.time()
    hashed = request_hash(asked)
    given = Approval(by=Subject(id="olga", provider="oidc", strength=2), at=now, request=hashed)
    return Grant(
        id=f"g-{number:06}", asked=asked, request=hashed, state="active", requested_at=now, approvals=(given,), activated_at=now,
        expires_at=now + 3600,
    )  # fmt: skip


def watch(folder: str, said: multiprocessing.queues.Queue[float]) -> None:
    """Wait for changes as a gate does, and say when each was seen."""
    place = open_place(folder)
    live, watcher = Live(place), Watcher(place)
    live.current()
    said.put(0.0)
    seen = 0
    while seen < REVOCATIONS:
        if watcher.wait():
            gone = [name for name in live.current().changed or () if name not in live.current().grants]
            if gone:
                said.put(time.perf_counter())
                seen += len(gone)


def revocation(place: Place) -> list[float]:
    """Return the seconds from the call that revokes to a gate's having seen it, in another process."""
    store = SqliteGrants(place)
    said: multiprocessing.queues.Queue[float] = multiprocessing.Queue()
    gate = multiprocessing.Process(target=watch, args=(str(place.folder), said))
    gate.start()
    said.get()
    taken = []
    for number in range(REVOCATIONS):
        time.sleep(0.01)
        begun = time.perf_counter()
        store.change(f"g-{number:06}", lambda one: msgspec.structs.replace(one, state="revoked"))
        taken.append(said.get() - begun)
    gate.join()
    return sorted(taken)


def main() -> int:
    """Measure, print, and say whether it was fast enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", nargs="?", type=int, default=LINES, help="of the ledger that is verified at the end")
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as folder:
        place = open_place(Path(folder, "store"))
        ledger = Ledger(place)
        ledger.append(ENTRY)
        print("append, one thread: {:.2f} ms median, {:.2f} ms p99".format(*each(lambda: ledger.append(ENTRY), 2000)))
        denial = msgspec.structs.replace(ENTRY, event="decision", decision="deny")
        for name, taken in zip(
            ("an allow, on disk", "a denial, written"),
            in_turns(lambda: ledger.append(ENTRY), lambda: ledger.append(denial, sync=False), 1000),
            strict=True,
        ):
            print(f"{name}, at {RATE} a second in turns: {statistics.median(taken):.2f} ms median, {taken[990]:.2f} ms p99")
        print(f"append, {THREADS} threads: {group(place):,.0f} entries/s")
        store = SqliteGrants(place)
        with store.writing():
            for number in range(10_000):
                store.create(grant(number))
        live = Live(place)
        live.current()
        print("live grants, nothing changed: {:.4f} ms median, {:.4f} ms p99".format(*each(live.current, 5000)))
        print("broken glasses of all people: {:.3f} ms median, {:.3f} ms p99".format(*each(store.broken, 500)))
        with Desk(place) as desk:
            sessions = iter(range(10_000))
            use = lambda: desk.use("g-009999", f"s{next(sessions)}", ENTRY)  # noqa: E731
            print("a use, in the store and the ledger: {:.2f} ms median, {:.2f} ms p99".format(*each(use, 1000)))
        seen = revocation(place)
        print(f"a revocation, until a gate sees it: {seen[len(seen) // 2] * 1e3:.2f} ms median, {seen[-1] * 1e3:.2f} ms most")
        fill(place, lines)
        begun = time.perf_counter()
        outcome = verify(place)
        seconds = time.perf_counter() - begun
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"verify: {outcome.lines:,} lines in {outcome.segments} segments: {seconds:.2f} s, {memory} MiB at most")
    if outcome.problems:
        print(outcome.problems)
        return 1
    return 1 if seconds > VERIFY * outcome.lines / LINES or seen[len(seen) // 2] > SEEN else 0


if __name__ == "__main__":
    sys.exit(main())
