"""At the prompt the same is said as at the gate, with the line of the key that asks for a privilege."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from grantable import REQUESTS, SPECS
from granted import ALICE, DIGEST, NOW, granted, policy
from pratique.grant.decide import decide
from pratique.grant.index import GrantIndex
from pratique.grant.privileges import FORMS, parse
from pratique.grant.prompt import Asker, Book, about_privilege, about_spec, findings
from pratique.grant.request import Request, Target
from pratique.model.finding import Severity
from pratique.model.privilege import Subject
from pratique.workload.read import specs
from pratique.workload.spec import Spec

RULES = policy(
    """
    rules:
    - {id: socket, deny: "spec.mounts.exists(m, m.source == '/var/run/docker.sock')", message: no engine in a container}
    entitlements:
    - {id: all, privileges: [run.root, run.privileged, "run.cap:ALL", "run.mount:/srv/**:rw", exec.root], maxUses: 0}
    """
)
COMPOSE = b"""services:
  web:
    image: a:1
    user: "0"
    cap_add: [NET_ADMIN]
    network_mode: host
    volumes:
      - /srv:/data
      - /etc:/etc:ro
    devices: [/dev/kvm]
    ports: ["80:80"]
  db:
    image: b:1
    user: "1000"
    volumes: ["/var/run/docker.sock:/x"]
"""


def book(*privileges: str, **other: Any) -> Book:
    return Book(RULES, GrantIndex([granted(RULES, *privileges, **other)] if privileges else []), NOW)


def test_a_file_says_where() -> None:
    """Each privilege is at the line of its own key, and the rule that denies at the mount that it is about."""
    answers = [(spec, about_spec(spec, Asker(ALICE), book())) for spec in specs("compose.yaml", COMPOSE)]
    found = findings("compose.yaml", answers)
    where = {one.title: (one.location.line if one.location else 0, one.severity) for one in found}
    assert where == {
        "needs run.root, which is not granted": (4, Severity.HIGH),
        "needs run.cap:NET_ADMIN, which is not granted": (5, Severity.HIGH),
        "needs run.hostns:net, which is not granted": (6, Severity.CRITICAL),
        "needs run.mount:/srv:rw, which is not granted": (8, Severity.CRITICAL),
        "needs run.mount:/etc:ro, which is not granted": (9, Severity.CRITICAL),
        "needs run.device:/dev/kvm, which is not granted": (10, Severity.CRITICAL),
        "needs run.hostport:80, which is not granted": (11, Severity.MEDIUM),
        "the rule socket denies it": (15, Severity.HIGH),
    }
    (asks,) = [one for one in found if "run.root" in one.title]
    command = "grant request --privilege run.cap:NET_ADMIN --privilege run.device:/dev/kvm --privilege run.mount:/srv:rw"
    assert command in asks.message
    assert len({one.fingerprint for one in found}) == len(found)
    moved = specs("compose.yaml", b"\n\n" + COMPOSE)
    again = findings("other.yaml", [(spec, about_spec(spec, Asker(ALICE), book())) for spec in moved])
    assert [one.fingerprint for one in again] == [one.fingerprint for one in found]


def test_with_a_grant_there_is_nothing_to_find() -> None:
    """What is granted for this image is allowed for it, and for no other."""
    text = f"services: {{a: {{image: 'reg/app@{DIGEST}', user: '0'}}}}".encode()
    (spec,) = specs("compose.yaml", text)
    from pratique.model.privilege import Scope

    allowed = about_spec(spec, Asker(ALICE), book("run.root", scope=Scope(images=(f"reg/app@{DIGEST}",))))
    assert allowed.decision.ruling == "allow_with_grant"
    other = about_spec(spec, Asker(ALICE), book("run.root", scope=Scope(images=("sha256:" + "b" * 64,))))
    assert other.decision.ruling == "deny"


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_privilege_can_be_asked_about(form: str) -> None:
    """Without a grant nobody has it, and the answer names it; the built-in policy has a command for each."""
    from pratique.grant.policy import builtin

    arguments = {
        "none": "", "capability": ":NET_ADMIN", "namespace": ":pid", "mount": ":/srv:ro", "device": ":/dev/kvm",
        "unconfined": ":seccomp", "image": f":reg/app@{DIGEST}", "number": ":80", "repository": ":reg/app", "word": ":x",
    }  # fmt: skip
    wanted = parse(form + arguments[FORMS[form].argument])
    answer = about_privilege(wanted, Asker(ALICE), Book(builtin(), GrantIndex(), NOW))
    assert answer.decision.ruling == "deny"
    assert str(wanted) in answer.decision.needed
    assert all(f"--privilege {name}" in " ".join(one.request for one in answer.decision.reasons) for name in [str(wanted)])


def test_a_claimed_name_may_ask() -> None:
    """The question is answered, whoever is meant; no gate would believe the name."""
    me = Subject(id="alice")
    answer = about_privilege(parse("exec.root"), Asker(me), book())
    assert answer.request.point == "prompt"
    assert answer.decision.reasons[0].request


@given(SPECS, REQUESTS)
@settings(max_examples=80)
def test_prompt_and_gate_agree(spec: Spec, request: Request) -> None:
    """For what is written alike the answer at the prompt is the gate's own."""
    target = request.target
    asker = Asker(ALICE, target)
    said = about_spec(spec, asker, book("run.root", "run.cap:NET_ADMIN")).decision
    at_gate = Request(subject=ALICE, action="run", point="docker", target=target, spec=spec)
    assert said == decide(at_gate, RULES, book("run.root", "run.cap:NET_ADMIN").grants, NOW)
    for one in findings("f", [(spec, about_spec(spec, asker, book()))]):
        assert one.location is not None
        assert one.location.line >= 1


def test_the_place_narrows_the_request() -> None:
    """The command asks for this image and no other."""
    asker = Asker(ALICE, Target(reference="reg/app", digest=DIGEST))
    (reason,) = about_privilege(parse("exec.root"), asker, book()).decision.reasons
    assert f"--image docker.io/reg/app@{DIGEST}" in reason.request


def test_the_command_is_for_this_place_and_no_other() -> None:
    """Namespace, cluster and host are in it, and a container is enough of a host."""
    place = Target(namespace="team-a", cluster="prod", host="h1", digest=DIGEST)
    (reason,) = about_privilege(parse("exec.root"), Asker(ALICE, place), book()).decision.reasons
    assert reason.request.endswith(f"--image {DIGEST} --namespace team-a --cluster prod --host h1")
    (reason,) = about_privilege(parse("exec.root"), Asker(ALICE, Target(container="c" * 64, host="h1")), book()).decision.reasons
    assert reason.request.endswith("--container " + "c" * 64)


def test_a_manifest_is_for_its_own_namespace() -> None:
    """Policies of a namespace hold for what names it; what is said at the prompt goes before."""
    rules = policy("scope: {namespaces: [team-a]}\nbaseline: {profile: baseline}\n")
    spec_ = b"spec: {containers: [{name: c, securityContext: {runAsUser: 0}}]}\n"
    pod = b"apiVersion: v1\nkind: Pod\nmetadata: {namespace: %s}\n" + spec_
    for namespace, given_, allowed in (("team-a", "", True), ("team-b", "", False), ("team-b", "team-a", True)):
        (spec,) = specs("pod.yaml", pod % namespace.encode())
        answer = about_spec(spec, Asker(ALICE, Target(namespace=given_)), Book(rules, GrantIndex(), NOW))
        assert answer.decision.allowed is allowed
