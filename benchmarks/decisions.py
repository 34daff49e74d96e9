"""A thousand rules and ten thousand grants in, how long decisions take out: `python benchmarks/decisions.py`. Fails over budget.

Each decision is of a request that no cache has seen: its paths, labels and digests are new. The budget is for the processor time
of the thread, with whatever the collector of garbage adds; wall clock is shown beside it, and is the machine's own business.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from pratique.grant.asking import request
from pratique.grant.decide import decide
from pratique.grant.index import GrantIndex
from pratique.grant.lifecycle import Approve, transition
from pratique.grant.policy import PrivilegePolicy, load
from pratique.grant.request import Request, Target
from pratique.model.privilege import Asked, Grant, Moment, Scope, Subject, Task
from pratique.workload import docker_create
from pratique.workload.spec import Spec

RULES, ENTITLEMENTS, GRANTS = 1_000, 200, 10_000
TIMES = 3_000
P99 = 1.0  # milliseconds: what was asked for
NOW = Moment(1_800_000_000.0, 1000.0, "boot")
BOB = Subject(id="bob", provider="oidc", groups=("oncall",), strength=2)


def subject(number: int) -> Subject:
    return Subject(id=f"user{number}", provider="oidc", groups=("devs", f"team{number % 50}"), strength=2)


def policy() -> PrivilegePolicy:
    """Rules as people write them: most name a place or a path, a tenth has to be asked each time."""
    kinds = (
        "target.namespace == 'ns{n}' && spec.privileged",
        "spec.mounts.exists(m, m.source == '/srv/secret{n}')",
        "target.image == 'reg.example/app{n}' && 'NET_ADMIN' in spec.capabilities",
        "spec.namespaces.exists(name, name == 'pid') && target.namespace == 'ns{n}'",
        "subject.id == 'user{n}' && request.action == 'exec'",
        "target.name == 'repo{n}'",
        "spec.runtime_{n}",
        "spec.devices.exists(d, d == '/dev/sd{n}')",
        "spec.user == 'root{n}'",
        "size(spec.capabilities) > 4 && subject.strength < {m}",
    )
    rules = []
    for number in range(RULES):
        text = kinds[number % len(kinds)].format(n=number, m=number % 3)
        if "runtime_" in text:
            text = f"spec.image == 'reg.example/old{number}'"
        rules.append(f'  - {{id: r{number}, deny: "{text}"}}')
    entitlements = [
        f"  - {{id: e{number}, privileges: [exec.root, run.root, 'run.cap:NET_ADMIN', 'run.mount:/srv/team{number}/**:rw'], "
        f"maxTTL: 1h, maxUses: 0, when: \"'team{number % 50}' in subject.groups\", approvals: {{from: ['group:oncall']}}}}"
        for number in range(ENTITLEMENTS)
    ]
    head = "apiVersion: pratique/v1\nkind: PrivilegePolicy\nmetadata: {name: big}\nspec:\n"
    return load("big.yaml", "\n".join([head + "  rules:", *rules, "  entitlements:", *entitlements, ""]).encode())


def grants(rules: PrivilegePolicy, people: int) -> list[Grant]:
    """Ten thousand live grants of so many people, of every scope."""
    found = []
    for number in range(GRANTS):
        person = subject(number % people)
        scopes = (
            Scope(),
            Scope(images=(f"sha256:{number:064x}",)),
            Scope(container=f"{number:064x}"),
            Scope(namespaces=(f"ns{number}",)),
        )
        privileges = (("exec.root",), ("run.root",), ("run.cap:NET_ADMIN",))[number % 3]
        entitlement = f"e{(number % people) % 50}"
        asked = Asked(
            subject=person, task=Task(id="T-1", purpose="x"), privileges=privileges, scope=scopes[1 + number % 3],
            lifetime=3000.0, uses=0, nonce=str(number), entitlement=entitlement,
        )  # fmt: skip
        grant = request(asked, rules, NOW)
        found.append(transition(grant, Approve(BOB, grant.request), rules, NOW))
    return found


def bodies() -> Iterator[Spec]:
    """What people run: mostly within the baseline, with a few paths and variables."""
    number = 0
    while True:
        number += 1
        host = {
            "Binds": [f"/srv/data{number}:/data:ro"] if number % 4 == 0 else [],
            "CapAdd": ["NET_ADMIN"] if number % 3 == 0 else [],
            "CapDrop": ["ALL"],
            "Privileged": number % 50 == 0,
        }
        user = "0" if number % 5 == 0 else "1000"
        env = [f"A{one}={number}" for one in range(20)]
        yield docker_create.extract({"User": user, "Image": f"reg.example/app{number % 100}", "Env": env, "HostConfig": host})


def requests(people: int, kind: str) -> Iterator[Request]:
    for number, spec in enumerate(bodies(), 1):
        person = subject(number % people)
        of = number % GRANTS
        target = Target(
            namespace=f"ns{number % 300}", reference="reg.example/app1", digest=f"sha256:{of:064x}", container=f"{of:064x}"
        )
        if kind == "exec":
            body = {"User": "0" if number % 2 else "1000", "Cmd": ["sh"]}
            yield Request(subject=person, action="exec", point="docker", target=target, spec=docker_create.extract_exec(body))
        else:
            yield Request(subject=person, action="run", point="docker", target=target, spec=spec)


def times(call: Callable[[Request], object], asked: Iterator[Request]) -> tuple[list[float], list[float]]:
    """Return processor time and wall clock of many calls, in milliseconds, sorted."""
    processor, wall = [], []
    for request_ in itertools.islice(asked, TIMES):
        begun, began = time.thread_time(), time.perf_counter()
        call(request_)
        processor.append((time.thread_time() - begun) * 1e3)
        wall.append((time.perf_counter() - began) * 1e3)
    return sorted(processor), sorted(wall)


def main() -> int:
    """Measure, print, and say whether it was fast enough."""
    rules = policy()
    begun = time.perf_counter()
    policy()
    print(f"reading the policy of {RULES} rules and {ENTITLEMENTS} entitlements: {time.perf_counter() - begun:.2f} s")
    worst = 0.0
    for people in (500, 20, 1):
        held = grants(rules, people)
        begun = time.perf_counter()
        index = GrantIndex(held)
        built = time.perf_counter() - begun
        for kind in ("run", "exec"):
            asked = requests(people, kind)
            rulings: dict[str, int] = {}

            def one(request_: Request) -> None:
                ruling = decide(request_, rules, index, NOW).ruling  # noqa: B023 - called before the next turn
                rulings[ruling] = rulings.get(ruling, 0) + 1  # noqa: B023

            processor, wall = times(one, asked)
            most = processor[int(TIMES * 0.99)]
            worst = max(worst, most)
            print(
                f"{kind}, {GRANTS} grants of {people}: {statistics.median(processor):.3f} ms median, {most:.3f} ms p99, "
                f"{processor[-1]:.3f} ms most; by the wall {statistics.median(wall):.3f} and {wall[int(TIMES * 0.99)]:.3f} ms "
                f"(index built in {built * 1e3:.0f} ms; {rulings})"
            )
    return 1 if worst > P99 else 0


if __name__ == "__main__":
    sys.exit(main())
