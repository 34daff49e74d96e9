"""Policies, people and grants for tests: short ways to what the rooms of privileges take."""

from __future__ import annotations

import textwrap
from typing import Any

import msgspec

from pratique.grant.asking import request
from pratique.grant.lifecycle import Approve, transition
from pratique.grant.policy import PrivilegePolicy, load
from pratique.grant.request import Request, Target
from pratique.model.privilege import Asked, Grant, Moment, Scope, Subject, Task
from pratique.workload.docker_create import extract
from pratique.workload.spec import Spec

NOW = Moment(1_800_000_000.0, 1000.0, "boot-1")
DIGEST = "sha256:" + "a" * 64
CONTAINER = "c" * 64
ALICE = Subject(id="alice", provider="oidc", groups=("devs",), strength=2)
BOB = Subject(id="bob", provider="oidc", groups=("oncall",), strength=2)
HEAD = "apiVersion: pratique/v1\nkind: PrivilegePolicy\nmetadata: {name: test}\nspec:\n"
WIDE = """
    entitlements:
    - id: wide
      privileges: [run.privileged, "run.mount:/**:rw", "run.hostns:pid", "run.hostns:net", exec.privileged, "run.cap:ALL",
        run.root, "run.hostport:*", "run.image:**@sha256:*", "run.device:/**", attach, cp.write, build.run, "run.sysctl:*",
        "registry.push:**"]
      maxTTL: 2h
      maxUses: 0
      approvals: {from: [group:oncall]}
"""


def policy(body: str = WIDE) -> PrivilegePolicy:
    return load("policy.yaml", (HEAD + textwrap.indent(textwrap.dedent(body).strip("\n"), "  ") + "\n").encode())


def later(seconds: float, now: Moment = NOW) -> Moment:
    return Moment(now.wall + seconds, now.boot + seconds, now.boot_id)


def asked(*privileges: str, **other: Any) -> Asked:
    given: dict[str, Any] = {
        "subject": ALICE, "task": Task(id="T-1", ticket="INC-1", purpose="mend it"), "scope": Scope(), "lifetime": 600.0,
        "uses": 0,
    }  # fmt: skip
    return Asked(privileges=privileges, **(given | other))


def granted(rules: PrivilegePolicy, *privileges: str, now: Moment = NOW, **other: Any) -> Grant:
    """Ask, and have it approved."""
    grant = request(asked(*privileges, **other), rules, now)
    return transition(grant, Approve(BOB, grant.request), rules, now) if grant.state == "requested" else grant


def spec(host: dict[str, Any] | None = None, **body: Any) -> Spec:
    return extract({"User": "1000:1000", **body, "HostConfig": host or {}})


def wants(what: Spec | None, action: Any = "run", **other: Any) -> Request:
    target = msgspec.structs.replace(Target(reference="reg.example/app:1", digest=DIGEST), **other.pop("target", {}))
    return Request(**{"subject": ALICE, "action": action, "point": "docker", "target": target, "spec": what, **other})
