"""Laws of the decision: whatever is asked, by whom, under whichever policy, with whichever grants."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grantable import ANY, LISTS, REQUESTS, SCOPES, SMALLER, SPECS, covers_all
from granted import ALICE, BOB, NOW, asked, granted, later, policy
from pratique.grant import needed as needs
from pratique.grant import privileges
from pratique.grant.asking import request as ask
from pratique.grant.asking import request_hash
from pratique.grant.decide import decide
from pratique.grant.index import GrantIndex
from pratique.grant.lifecycle import Activate, Approve, Complete, Revoke, Use, settle, transition
from pratique.grant.policy import PrivilegePolicy
from pratique.grant.request import Request, key
from pratique.grant.scopes import outside
from pratique.model.errors import GrantError, UsageError
from pratique.model.privilege import LIVE_STATES, Approval, Grant, Moment, Scope, Subject
from pratique.workload.docker_create import HERE
from pratique.workload.spec import Mount, Port, Spec, Variable

ENTITLED = policy(
    """
    baseline: {profile: restricted, uid: {min: 1000}, mounts: ["/srv/shared/**:ro"]}
    entitlements:
    - id: all
      privileges: [run.root, run.privileged, "run.cap:ALL", "run.mount:/**:rw", "run.hostns:pid", "run.hostns:net",
        "run.hostns:ipc", "run.hostns:uts", "run.hostns:cgroup", "run.hostns:user", "run.device:/**", "run.unconfined:seccomp",
        "run.unconfined:apparmor", "run.unconfined:selinux", "run.unconfined:proc", "run.hostport:*", "run.uid:*", "run.group:*",
        "run.sysctl:**", "run.propagation:**", "run.namespace-of:**", "run.cgroup-parent:**", "run.runtime:**",
        run.new-privileges, "run.image:**@sha256:*", exec.privileged, attach, cp.write, build.insecure, debug.ephemeral,
        engine.admin, "registry.push:**"]
      maxTTL: 1h
      maxUses: 0
      approvals: {from: [group:oncall]}
    """
)
LESS = policy(
    """
    entitlements:
    - {id: all, privileges: [exec.any, "run.mount:/srv/**:ro", "run.cap:NET_ADMIN", run.root], maxTTL: 5m, maxUses: 0}
    """
)
RULED = policy(
    """
    baseline: {profile: baseline}
    rules:
    - {id: socket, deny: "spec.mounts.exists(m, m.source == '/var/run/docker.sock')"}
    - {id: label, deny: "target.labels['tier'] == 'payments'", actions: [exec]}
    - {id: pid, deny: "'pid' in spec.namespaces"}
    """
)
GRANTS = st.lists(
    st.builds(
        lambda wanted, scope: (wanted, scope),
        LISTS,
        SCOPES,
    ),
    max_size=4,
)
POLICIES = st.sampled_from((ENTITLED, LESS, RULED))


def held(wanted: list[tuple[tuple[str, ...], Scope]]) -> list[Grant]:
    """Return active grants of Alice under the policy that entitles to all."""
    return [
        granted(ENTITLED, *names, scope=scope, nonce=str(number), lifetime=1800.0) for number, (names, scope) in enumerate(wanted)
    ]


@given(REQUESTS, GRANTS, POLICIES, st.sampled_from((0.0, 299.0, 301.0, 1799.0, 1801.0)))
@settings(max_examples=250)
def test_never_more_than_baseline_and_grants(
    request: Request, wanted: list[tuple[tuple[str, ...], Scope]], rules: PrivilegePolicy, after: float
) -> None:
    """What is allowed is covered by the baseline and by grants of the subject that are about this, in time, and entitled to."""
    now = later(after)
    grants = held(wanted)
    decision = decide(request, rules, GrantIndex(grants), now)
    assert all(reason.rule != "internal" for reason in decision.reasons)
    if not decision.allowed:
        assert decision.reasons
        assert all(reason.rule and reason.text for reason in decision.reasons)
        assert not decision.grants
        return
    by_name = {grant.id: grant for grant in grants}
    used = [by_name[name] for name in decision.grants]
    for grant in used:
        assert request.subject is not None
        assert key(grant.asked.subject) == key(request.subject)
        assert outside(grant.asked.scope, request) == ""
        assert now.wall < grant.activated_at + grant.asked.lifetime
    (part,) = rules.parts_for(request.subject, request.target)
    if request.action == "read":
        return
    beyond = [need.privilege for need in needs.needed_for(request, part.baseline)]
    assert covers_all([name for grant in used for name in grant.asked.privileges], beyond)
    assert (decision.ruling == "allow") == (not beyond)
    entitled = [one for part in rules.parts for entitlement in part.entitlements for one in entitlement.privileges]
    assert covers_all(entitled, beyond)


@given(REQUESTS, GRANTS, GRANTS)
@settings(max_examples=150)
def test_more_grants_never_take_away(
    request: Request, some: list[tuple[tuple[str, ...], Scope]], more: list[tuple[tuple[str, ...], Scope]]
) -> None:
    """Whoever has another grant as well may still do what was allowed without it."""
    few, many = held(some), held([*some, *more])
    if decide(request, ENTITLED, GrantIndex(few), NOW).allowed:
        assert decide(request, ENTITLED, GrantIndex(many), NOW).allowed


@given(REQUESTS, GRANTS, st.lists(st.sampled_from(SMALLER), min_size=1, max_size=6), POLICIES)
@settings(max_examples=200)
def test_asking_less_never_turns_allow_into_deny(
    request: Request, wanted: list[tuple[tuple[str, ...], Scope]], left_out: list[str], rules: PrivilegePolicy
) -> None:
    """A request with some of its options left out is allowed wherever the whole of it is."""
    if request.spec is None:
        return
    usual = {field.name: field.default for field in msgspec.structs.fields(Spec)}
    less: dict[str, Any] = {name: usual[name] if name != "sysctls" else {} for name in left_out}
    smaller = msgspec.structs.replace(request, spec=msgspec.structs.replace(request.spec, **less))
    index = GrantIndex(held(wanted))
    if decide(request, rules, index, NOW).allowed:
        decision = decide(smaller, rules, index, NOW)
        assert decision.allowed, decision.reasons


@given(SPECS, LISTS)
@settings(max_examples=100)
def test_a_wider_baseline_needs_no_more(spec: Spec, given_: tuple[str, ...]) -> None:
    """What is in the baseline is not needed; nothing else becomes needed by it."""
    (part,) = ENTITLED.parts
    wider = part.baseline._replace(privileges=privileges.fewest([*part.baseline.privileges, *privileges.parse_all(given_)]))
    before = {need.privilege for need in needs.needed(spec, part.baseline)}
    for need in needs.needed(spec, wider):
        assert privileges.covered(before, need.privilege)
        assert not privileges.covered(wider.privileges, need.privilege)


@given(LISTS, SCOPES, st.floats(1, 3600), st.integers(0, 3), st.sampled_from((0.0, 10.0, 600.0)))
@settings(max_examples=100)
def test_a_grant_is_within_what_was_asked_and_entitled(
    wanted: tuple[str, ...], scope: Scope, lifetime: float, uses: int, idle: float
) -> None:
    """Approval, activation and use change nothing about what, where and for how long; a request beyond is refused."""
    for rules in (ENTITLED, LESS):
        want = asked(*wanted, scope=scope, lifetime=lifetime, uses=uses, idle=idle)
        (entitlement,) = rules.parts[0].entitlements
        try:
            grant = ask(want, rules, NOW)
        except GrantError:
            assert lifetime > entitlement.max_ttl or not entitlement.covers(privileges.parse_all(wanted))
            continue
        assert entitlement.covers(privileges.parse_all(grant.asked.privileges))
        assert covers_all(wanted, privileges.parse_all(grant.asked.privileges))
        assert lifetime <= entitlement.max_ttl
        grant = transition(grant, Approve(BOB, grant.request), rules, NOW)
        assert grant.asked.scope == scope
        assert (grant.asked.lifetime, grant.asked.uses, grant.asked.idle) == (lifetime, uses, idle)
        assert grant.expires_at <= NOW.wall + entitlement.max_ttl
        for _ in range(4):
            try:
                grant = transition(grant, Use(), rules, later(0.5))
            except GrantError:
                assert uses
                break
        assert not uses or grant.used <= uses
        assert grant.expires_at == NOW.wall + lifetime


CHANGES: dict[str, Any] = {
    "subject": BOB, "privileges": ("run.privileged",), "scope": Scope(namespaces=("*",)), "lifetime": 601.0, "uses": 5,
    "idle": 1.0, "from_first_use": True, "break_glass": True, "entitlement": "x", "policy": "sha256:x", "nonce": "2",
    "task": msgspec.structs.replace(asked("exec.any").task, purpose="something else"),
}  # fmt: skip


@given(st.sampled_from(sorted(CHANGES)))
@settings(max_examples=len(CHANGES))
def test_an_edit_is_a_new_request(name: str) -> None:
    """Whatever is changed of a request, its hash is another, and no approval of the first one counts for it."""
    assert set(CHANGES) == set(msgspec.structs.asdict(asked("exec.any")))
    grant = ask(asked("exec.root"), ENTITLED, NOW)
    edited = msgspec.structs.replace(grant, asked=msgspec.structs.replace(grant.asked, **{name: CHANGES[name]}))
    assert request_hash(edited.asked) != grant.request
    approved = transition(edited, Approve(BOB, grant.request), ENTITLED, NOW) if name not in ("entitlement", "subject") else None
    if approved is not None:  # somebody changed the store beneath: the gate looks at the hash again
        approved = msgspec.structs.replace(approved, state="active", activated_at=NOW.wall, expires_at=NOW.wall + 600)
        request = Request(subject=approved.asked.subject, action="exec", point="docker", spec=exec_as_root())
        assert not decide(request, ENTITLED, GrantIndex([approved]), NOW).allowed
    again = ask(msgspec.structs.replace(asked("exec.root"), nonce="other"), ENTITLED, NOW)
    with pytest.raises(GrantError, match="is not what"):
        transition(again, Approve(BOB, grant.request), ENTITLED, NOW)


def exec_as_root() -> Spec:
    return Spec(format="docker-create", subject="exec", place=HERE, user="0", uid=0)


@given(
    st.lists(st.tuples(st.floats(-5000, 5000), st.floats(0, 500)), min_size=1, max_size=12),
    st.floats(10, 1500),
    st.sampled_from((0.0, 60.0)),
    st.booleans(),
)
@settings(max_examples=200)
def test_a_clock_that_jumps_only_shortens(steps: list[tuple[float, float]], lifetime: float, idle: float, boots: bool) -> None:
    """However the wall clock is set, a grant helps for no longer than its lifetime by the clock that nobody sets.

    What was ended stays ended, and a machine that was started anew has no grants of the former boot.
    """
    grant = granted(ENTITLED, "exec.root", lifetime=lifetime, idle=idle)
    request = Request(subject=ALICE, action="exec", point="docker", spec=exec_as_root())
    wall, boot, last, ended = NOW.wall, NOW.boot, NOW.boot, False
    for jump, passed in steps:
        wall, boot = wall + passed + jump, boot + passed
        now = Moment(wall, boot, "boot-2" if boots and jump > 4000 else "boot-1")
        grant = settle(grant, now)
        ended = ended or grant.state != "active"
        allowed = decide(request, ENTITLED, GrantIndex([grant]), now).allowed
        assert not (allowed and ended)
        if allowed:
            assert boot - NOW.boot < lifetime
            assert now.boot_id == "boot-1"
            assert not idle or boot - last < idle
            grant = transition(grant, Use(), ENTITLED, now)
            last = boot


@given(st.lists(st.tuples(st.floats(-90_000, 90_000), st.floats(0, 50_000)), min_size=1, max_size=6))
@settings(max_examples=100)
def test_nobody_keeps_a_request_alive_by_the_clock(steps: list[tuple[float, float]]) -> None:
    """A day after it was made nobody can approve a request, or use what starts with the first use, whatever the clock says."""
    pending = ask(asked("exec.root"), ENTITLED, NOW)
    waiting = transition(pending, Approve(BOB, pending.request), ENTITLED, NOW)
    waiting = msgspec.structs.replace(
        waiting, state="approved", activated_at=0.0, asked=msgspec.structs.replace(waiting.asked, from_first_use=True)
    )
    wall, boot = NOW.wall, NOW.boot
    for jump, passed in steps:
        wall, boot = wall + passed + jump, boot + passed
        pending, waiting = (settle(one, Moment(wall, boot, "boot-1")) for one in (pending, waiting))
        if boot - NOW.boot >= 86_400:
            assert (pending.state, waiting.state) == ("lapsed", "expired")


@given(st.data())
@settings(max_examples=150)
def test_any_spec_is_decided(data: st.DataObject) -> None:
    """The decision is total: any text in any place ends in a ruling, never in an exception that is hidden behind one."""
    mount = st.builds(
        Mount,
        kind=st.sampled_from(("bind", "volume", "tmpfs", "other")),
        source=ANY,
        target=ANY,
        read_only=st.booleans(),
        propagation=ANY,
        place=st.just(HERE),
    )
    spec = data.draw(
        st.builds(
            Spec,
            format=st.sampled_from(("docker-create", "docker-inspect", "oci", "compose", "kubernetes", "dockerfile")),
            subject=ANY,
            place=st.just(HERE),
            user=st.none() | ANY,
            group=st.none() | ANY,
            groups=st.lists(ANY, max_size=2).map(tuple),
            uid=st.none() | st.integers(-(2**70), 2**70),
            gid=st.none() | st.integers(-(2**70), 2**70),
            capabilities_add=st.lists(ANY, max_size=2).map(tuple),
            host_namespaces=st.lists(ANY, max_size=2).map(tuple),
            joins=st.lists(ANY, max_size=2).map(tuple),
            mounts=st.lists(mount, max_size=2).map(tuple),
            ports=st.lists(st.builds(Port, container=ANY, host=st.integers(-5, 10**9), place=st.just(HERE)), max_size=2).map(
                tuple
            ),
            environment=st.lists(st.builds(Variable, ANY, ANY, st.just(HERE)), max_size=1).map(tuple),
            sysctls=st.dictionaries(ANY, ANY, max_size=2),
            annotations=st.dictionaries(ANY, ANY, max_size=2),
            labels=st.dictionaries(ANY, ANY, max_size=2),
            runtime=st.none() | ANY,
            cgroup_parent=st.none() | ANY,
            restart=st.none() | ANY,
            seccomp=st.none() | ANY,
            unknown=st.lists(ANY, max_size=1).map(tuple),
        )
    )
    request = data.draw(REQUESTS)
    request = msgspec.structs.replace(request, spec=spec, argv=tuple(data.draw(st.lists(ANY, max_size=2))))
    target = msgspec.structs.replace(request.target, reference=data.draw(ANY), name=data.draw(ANY), namespace=data.draw(ANY))
    request = msgspec.structs.replace(request, target=target)
    rules = data.draw(POLICIES)
    decision = decide(request, rules, GrantIndex(held([(("run.root",), Scope())])), NOW)
    assert all(reason.rule != "internal" for reason in decision.reasons), decision.reasons
    for reason in decision.reasons:
        assert "\n" not in reason.request


def test_whatever_breaks_is_a_denial() -> None:
    """Even an index that fails ends in a ruling."""

    class Broken(GrantIndex):
        def candidates(self, *_: Any) -> Any:
            raise RuntimeError("gone")

    request = Request(subject=ALICE, action="exec", point="docker", spec=exec_as_root())
    decision = decide(request, ENTITLED, Broken(), NOW)
    assert (decision.ruling, decision.reasons[0].rule) == ("deny", "internal")


EVENTS = st.sampled_from(("approve", "activate", "use", "complete", "revoke", "settle", "wait", "late"))


@given(st.lists(EVENTS, max_size=12))
@settings(max_examples=150)
def test_whatever_happens_a_grant_only_shrinks(events: list[str]) -> None:
    """Expiry never moves back, uses never go down, what is ended never lives again."""
    now = NOW
    grant = ask(asked("exec.root", uses=2), ENTITLED, now)
    request = grant.request
    for event in events:
        before = grant
        try:
            if event == "settle":
                grant = settle(grant, now)
            elif event in ("wait", "late"):
                now = later(100.0 if event == "wait" else 86_400.0, now)
            else:
                made: Any = {
                    "approve": Approve(BOB, request), "activate": Activate(), "use": Use(), "complete": Complete(ALICE),
                    "revoke": Revoke(BOB, "x"),
                }[event]  # fmt: skip
                grant = transition(grant, made, ENTITLED, now)
        except GrantError:
            assert grant is before
        if before.state not in ("requested", *LIVE_STATES):
            assert grant.state == before.state
        assert grant.used >= before.used
        assert not before.expires_at or grant.expires_at == before.expires_at
        assert grant.asked == before.asked


@given(st.text(max_size=20))
@settings(max_examples=100)
def test_four_eyes_whatever_the_name(name: str) -> None:
    """Nobody approves their own, under whichever case or provider the name comes back."""
    me = Subject(id=name or "x", provider="oidc", groups=("oncall",), strength=2)
    grant = ask(asked("exec.root", subject=me), ENTITLED, NOW)
    for other in (me, msgspec.structs.replace(me, provider="tls", strength=3), msgspec.structs.replace(me, id=me.id.swapcase())):
        if other.id.casefold() != me.id.casefold():
            continue
        with pytest.raises(GrantError):
            transition(grant, Approve(other, grant.request), ENTITLED, NOW)


def test_an_approval_that_was_forged_in_the_store_is_not_honoured() -> None:
    """The gate counts approvals again: of the hash as it is, by people who may, not by the requester."""
    good = granted(ENTITLED, "exec.root")
    request = Request(subject=ALICE, action="exec", point="docker", spec=exec_as_root())
    assert decide(request, ENTITLED, GrantIndex([good]), NOW).allowed
    (approval,) = good.approvals
    for forged in (
        (),
        (msgspec.structs.replace(approval, by=ALICE),),
        (msgspec.structs.replace(approval, request="sha256:" + "0" * 64),),
        (msgspec.structs.replace(approval, by=msgspec.structs.replace(BOB, groups=("devs",))),),
        (msgspec.structs.replace(approval, by=msgspec.structs.replace(BOB, strength=1)),),
        (msgspec.structs.replace(approval, by=Subject(id="bob", provider="claimed", groups=("oncall",), strength=2)),),
    ):
        assert not decide(request, ENTITLED, GrantIndex([msgspec.structs.replace(good, approvals=forged)]), NOW).allowed
    assert isinstance(approval, Approval)


def test_what_is_no_privilege_from_a_gate_is_a_denial() -> None:
    """A gate that asks for something unheard of is refused, and nothing else goes wrong."""
    request = Request(subject=ALICE, action="read", point="docker", extra=("no.such",))
    assert decide(request, ENTITLED, GrantIndex(), NOW).allowed
    other = msgspec.structs.replace(request, action="pull")
    assert not decide(other, ENTITLED, GrantIndex(), NOW).allowed
    with pytest.raises(UsageError):
        privileges.parse("no.such")


def test_a_grant_is_found_behind_many_that_do_not_help() -> None:
    """Whoever asked three hundred times for something else, and then for this, has this."""
    other = [
        granted(ENTITLED, "exec.root", scope=Scope(labels={"tier": str(number)}), nonce=str(number)) for number in range(300)
    ]
    good = granted(ENTITLED, "exec.root", nonce="good")
    request = Request(subject=ALICE, action="exec", point="docker", spec=exec_as_root())
    assert decide(request, ENTITLED, GrantIndex([*other, good]), NOW).grants == (good.id,)
    assert not decide(request, ENTITLED, GrantIndex(other), NOW).allowed
