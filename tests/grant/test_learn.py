"""What is learnt allows the harmless part of what was seen, and no more; what is dangerous has to be asked for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grantable import ANY, PRIVILEGES
from granted import policy as written
from pratique.grant import privileges
from pratique.grant.learn import Observation, Proposal, learn
from pratique.grant.policy import PrivilegePolicy, load
from pratique.grant.privileges import FORMS, OF_HOST, parse
from pratique.grant.request import Target
from pratique.model.privilege import Subject


def seen(times: int, *needed: str, who: tuple[str, ...] = ("unix:ann", "unix:ben"), rule: str = "") -> list[Observation]:
    return [Observation(who[number % len(who)], needed, rule or f"privilege {needed[0]}") for number in range(times)]


def policy(proposal: Proposal) -> PrivilegePolicy:
    return load("proposed.yaml", proposal.text.encode())


def free(rules: PrivilegePolicy) -> list[str]:
    return [str(one) for one in rules.parts[0].baseline.privileges]


def test_usual_things_need_no_asking() -> None:
    """What several people do often is baseline; what one does once is to be asked for, by whoever did it."""
    proposal = learn([*seen(12, "run.root"), *seen(1, "run.cap:NET_ADMIN", who=("unix:ann",))], None, "x")
    rules = policy(proposal)
    assert "run.root" in free(rules)
    (entitlement,) = rules.parts[0].entitlements
    assert [str(one) for one in entitlement.privileges] == ["run.cap:NET_ADMIN"]
    assert entitlement.written.when == "subject.key in ['unix:ann']"
    assert (proposal.by_baseline, proposal.by_request, proposal.not_allowed) == (12, 1, 0)
    assert "# 12: unix:ann, unix:ben" in proposal.text


@pytest.mark.parametrize(
    "dangerous",
    [
        "run.privileged", "run.hostns:pid", "run.mount:/etc:ro", "run.mount:/:rw", "run.mount:/var/run/docker.sock:rw",
        "run.mount:/proc/1/root:ro", "run.device:/dev/mem", "engine.admin", "run.unconfined:seccomp", "exec.privileged",
        "run.mount:/home:rw", "run.mount:/srv/x.sock:rw",
    ],
)  # fmt: skip
def test_what_is_root_on_the_machine_is_never_free(dangerous: str) -> None:
    """However often it was seen: it takes a ticket and somebody else, once."""
    rules = policy(learn(seen(500, dangerous), None, "x"))
    assert not privileges.covered(rules.parts[0].baseline.privileges, parse(dangerous))
    (entitlement,) = rules.parts[0].entitlements
    assert entitlement.covers([parse(dangerous)])
    written = entitlement.written
    assert (written.max_uses, written.ticket.required, written.approvals.count) == (1, True, 1)


def test_what_a_rule_forbids_stays_forbidden() -> None:
    """Whoever wrote a rule meant it; who nobody knew is not learnt from."""
    observed = [*seen(50, "run.root", rule="no-root-here"), Observation("", ("run.root",), "identity")]
    proposal = learn(observed, None, "x")
    rules = policy(proposal)
    assert "run.root" not in free(rules)
    assert not rules.parts[0].entitlements
    assert proposal.not_allowed == 51
    assert "#   no-root-here: 50" in proposal.text
    assert "nobody knew who asked: 1" in proposal.text


def test_folders_beside_each_other_are_one() -> None:
    """Five builds are a pattern; four are four folders; and those in a place that matters are never put together."""
    five = [one for number in range(5) for one in seen(4, f"run.mount:/srv/builds/{number}:rw")]
    assert "run.mount:/srv/builds/*:rw" in free(policy(learn(five, None, "x")))
    four = [one for number in range(4) for one in seen(12, f"run.mount:/srv/builds/{number}:rw")]
    assert "run.mount:/srv/builds/0:rw" in free(policy(learn(four, None, "x")))
    etc = [one for number in range(9) for one in seen(12, f"run.mount:/etc/{number}:ro")]
    assert "*" not in "".join(str(one) for one in policy(learn(etc, None, "x")).parts[0].entitlements[0].privileges)


def test_images_are_taken_by_their_repository() -> None:
    """The digest is another one after each build."""
    digests = ["sha256:" + letter * 64 for letter in "abc"]
    rules = policy(learn([one for d in digests for one in seen(5, f"run.image:docker.io/a/app@{d}")], None, "x"))
    assert privileges.covered(rules.parts[0].baseline.privileges, parse("run.image:docker.io/a/app@sha256:" + "d" * 64))
    assert not privileges.covered(rules.parts[0].baseline.privileges, parse("run.image:docker.io/a/other@sha256:" + "d" * 64))


HOLDS = """
subjects: {groups: [devs]}
scope: {namespaces: ["team-*"], images: ["reg.example/**@sha256:*"]}
baseline: {profile: custom, uid: {min: 5, numeric: true}, caps: [CHOWN], mounts: ["/srv/a:ro"],
  privileges: [build.run], anonymous: true}
rules:
- {id: no-socket, deny: "spec.mounts.exists(m, m.source == '/var/run/docker.sock')", message: "no: 'socket'",
   actions: [run]}
entitlements:
- {id: task-1, privileges: [exec.root], when: "subject.strength >= 2", maxTTL: 30m, maxUses: 3, idle: 5m, firstUse: true,
   ticket: {required: true, pattern: "INC-[0-9]+"}, approvals: {count: 2, from: [group:oncall], fourEyes: false, strength: 3},
   after: {taint: evict}}
breakGlass: {groups: [sre], maxTTL: 10m, review: 2h}
"""


def test_the_policy_that_holds_is_kept() -> None:
    """Learning adds to it: its rules, above all, are not lost on the way."""
    (before,) = written(HOLDS).parts
    (after,) = policy(learn([*seen(20, "run.root"), *seen(1, "run.cap:SYS_ADMIN")], before, "x")).parts
    assert {str(one) for one in after.baseline.privileges} == {"run.cap:CHOWN", "run.mount:/srv/a:ro", "build.run", "run.root"}
    for name in ("profile", "anonymous"):
        assert getattr(after.baseline.written, name) == getattr(before.baseline.written, name)
    assert plain(after.baseline.written.uid) == plain(before.baseline.written.uid)
    rules = [[(*rule[:3], rule.condition.text) for rule in part.rules] for part in (before, after)]
    assert rules[0] == rules[1] != []
    assert [plain(one.written) for one in after.entitlements][:1] == [plain(one.written) for one in before.entitlements]
    assert [one.id for one in after.entitlements] == ["task-1", "task-2"]
    assert plain(after.break_glass) == plain(before.break_glass)
    assert (plain(after.subjects), plain(after.scope)) == (plain(before.subjects), plain(before.scope))


def plain(value: Any) -> Any:
    """Return what was written, without where."""
    found = msgspec.to_builtins(value, enc_hook=int)

    def strip(one: Any) -> Any:
        return {key: strip(item) for key, item in one.items() if key not in ("places", "nodes")} if isinstance(one, dict) else one

    return strip(found)


def test_a_container_counts_once() -> None:
    """It is looked at when it is made, when it is started, and by its runtime."""
    one = Observation("unix:ann", ("run.root",), "privilege run.root")
    again = [one._replace(container="c1"), one._replace(container="c1"), one, one._replace(container="c2"), one]
    assert '"run.root"  # 2: unix:ann' in learn(again, None, "x").text


def test_names_are_no_way_into_the_file() -> None:
    """Who can choose their own name writes no line of the policy."""
    evil = "unix:x'] || true\n  rules: []\n#"
    text = learn(seen(3, "run.root", who=(evil,)), None, "x: }\n- y").text
    rules = load("p.yaml", text.encode())
    assert rules.name == "x: }\n- y"
    me = Subject(id="ann", provider="unix", strength=2)
    (entitlement,) = rules.entitlements(me, Target())
    assert entitlement.written.when.startswith("subject.key in ['unix:x?] || true?")


OBSERVED = st.lists(
    st.builds(
        Observation,
        st.sampled_from(("unix:ann", "unix:ben", "oidc:robot", "")) | ANY,
        st.lists(PRIVILEGES, max_size=3, unique=True).map(tuple),
        st.sampled_from(("", "privilege run.root", "no-sockets", "identity")),
    ),
    max_size=30,
)


@given(OBSERVED, st.integers(1, 5))
@settings(max_examples=100)
def test_what_it_says_holds(observed: list[Observation], often: int) -> None:
    """The policy can be read, its counts are what it allows, and no free privilege is as good as root on the machine."""
    proposal = learn(observed, None, "x", often)
    (part,) = policy(proposal).parts
    allowed = asked = 0
    for one in observed:
        wanted = privileges.parse_all(one.needed)
        if not (one.subject and wanted) or (one.rule and not one.rule.startswith("privilege ")):
            continue
        if all(privileges.covered(part.baseline.privileges, want) for want in wanted):
            allowed += 1
            assert all(FORMS[want.form].lifetime != OF_HOST or want.form == "run.mount" for want in wanted)
        elif all(
            privileges.covered([*part.baseline.privileges, *(p for e in part.entitlements for p in e.privileges)], want)
            for want in wanted
        ):
            asked += 1
    assert proposal.by_baseline <= allowed
    assert proposal.by_baseline + proposal.by_request == allowed + asked
    assert proposal.by_baseline + proposal.by_request + proposal.not_allowed == len(observed)
