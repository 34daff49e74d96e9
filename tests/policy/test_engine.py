"""Laws of deciding: more findings never soften a verdict, no order matters, errors deny, grace and allow do what they say."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policying import NOW, decision, finding, judged, policy, rule, subject, waivers
from pratique.model.attestation import Attestation
from pratique.model.errors import PolicyError
from pratique.model.finding import Finding
from pratique.model.inventory import Gap, Location, Package
from pratique.model.report import ReportDistro, ReportLayer
from pratique.policy.compose import STRENGTH, check_context
from pratique.policy.engine import verdict_digest
from pratique.policy.facts import Context
from pratique.policyfiles import load_policy, shipped

FINDINGS = st.builds(
    finding,
    st.sampled_from([f"CVE-2024-{n}" for n in range(6)]),
    st.sampled_from(["unknown", "negligible", "low", "medium", "high", "critical"]),
    kev=st.booleans(),
    epss=st.sampled_from([None, 0.0, 0.49, 0.5, 1.0]),
    fixed_in=st.sampled_from([(), ("1",), ("1", "2")]),
    status=st.sampled_from(["affected", "not_affected", "under_investigation", "fixed"]),
    kind=st.sampled_from(["vulnerability", "secret", "malware", "eol"]),
    published=st.sampled_from(["", "2026-02-28T00:00:00Z", "2020-01-01T00:00:00Z"]),
    purl=st.sampled_from(["pkg:npm/a@1", "pkg:npm/b@1"]),
)
UNDER = waivers(
    "vulnerability: CVE-2024-1, expires: 2026-06-01", "vulnerability: CVE-2024-2, package: pkg:npm/a, expires: 2026-01-01"
)


@settings(max_examples=60)
@given(st.lists(FINDINGS, max_size=6), FINDINGS, st.sampled_from(shipped()))
def test_more_findings_never_soften(findings: list[Finding], more: Finding, name: str) -> None:
    """The verdict is monotone in findings, for every rule set that is shipped, with and without waivers."""
    rules = load_policy(name)
    for under in ((), UNDER):
        before = decision(subject(*findings), rules, under=under)
        after = decision(subject(*findings, more), rules, under=under)
        assert STRENGTH[after] >= STRENGTH[before]


@settings(max_examples=60)
@given(st.lists(FINDINGS, max_size=8), st.randoms())
def test_no_order_matters(findings: list[Finding], chance: random.Random) -> None:
    """Shuffled findings, waivers and policies give the same bytes."""
    rules = [load_policy("strict"), load_policy("kev")]
    first = judged(subject(*findings), *rules, under=UNDER)
    shuffled, under = list(findings), list(UNDER)
    for values in (shuffled, under, rules):
        chance.shuffle(values)
    second = judged(subject(*shuffled), *rules, under=tuple(under))
    assert msgspec.json.encode(first.verdict) == msgspec.json.encode(second.verdict)
    assert verdict_digest(first.verdict) == verdict_digest(second.verdict)


_DIGEST = """
from policying import finding, judged, subject, waivers
from pratique.policy.engine import verdict_digest
from pratique.policyfiles import load_policy
found = [finding(f"CVE-2024-{n}", kev=n % 2 == 0, fixed_in=("1",)) for n in range(9)]
under = waivers("path: a, expires: 2027-01-01")
verdict = judged(subject(*found), load_policy("strict"), load_policy("licences"), under=under).verdict
print(verdict_digest(verdict), verdict.policy.digest)
"""


def test_same_bytes_in_every_process() -> None:
    """No hash seed, locale, time zone or working directory changes a verdict."""
    said = set()
    for seed, zone, place in (("0", "UTC", "/"), ("1", "Asia/Tokyo", "/tmp"), ("77", "America/St_Johns", ".")):
        path = os.pathsep.join(entry for entry in sys.path if entry)
        environment = {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C", "PYTHONPATH": path, "PATH": os.environ["PATH"]}
        done = subprocess.run([sys.executable, "-c", _DIGEST], env=environment, cwd=place, check=True, capture_output=True)
        said.add(done.stdout)
    assert len(said) == 1
    assert b"sha256:" in said.pop()


@pytest.mark.skipif(
    "PRATIQUE_TEST_PYTHONS" not in os.environ, reason="needs other interpreters (PRATIQUE_TEST_PYTHONS, a path list)"
)
def test_same_bytes_in_other_interpreters() -> None:
    """Interpreters of other versions, which have our dependencies, reach the same verdict, byte for byte."""
    root = Path(__file__).parents[2]
    path = f"{root / 'src'}{os.pathsep}{root / 'tests'}"
    said = {}
    for python in (sys.executable, *os.environ["PRATIQUE_TEST_PYTHONS"].split(os.pathsep)):
        done = subprocess.run([python, "-c", _DIGEST], env={"PYTHONPATH": path}, check=True, capture_output=True)
        said[python] = done.stdout
    assert len(said) > 1
    assert len(set(said.values())) == 1


def test_same_bytes_in_every_version() -> None:
    """The digests of a fixed verdict and policy, which no release of Python changes."""
    rules = policy("rules:\n- {id: a, when: finding.kev, effect: deny, grace: 1d, message: '{finding.id} {finding.epss}'}\n")
    seen = subject(finding(kev=True, epss=0.1), finding("CVE-é", kev=True, epss=1e-5))
    verdict = judged(seen, rules, under=waivers("vulnerability: CVE-2024-0001, expires: 2026-01-01")).verdict
    assert rules.digest == "sha256:8d9ed45f911c90205ddcee34f7299534ec07cd90f86a3eec8a27566a922a9f5b"
    assert verdict_digest(verdict) == "sha256:080f62e257b4b852ee926684c7493a2f02fb43ce3c9f3382e0c1fa9519008f22"


def test_counts_are_cheap_for_every_finding() -> None:
    """What counts all findings is counted once, not once a finding."""
    many = [finding(f"CVE-2024-{number}") for number in range(3000)]
    verdict = judged(subject(*many), rule("image.high > 2999 && finding.id != ''", message="'{image.high}'")).verdict
    assert [reason.message for reason in verdict.reasons] == ["3000"]


def test_a_rule_that_errs_denies() -> None:
    """It names the rule and the error; rules beside it are judged as if it were not there; an `allow` then allows nothing."""
    seen = subject(finding(fixed_in=()), finding("CVE-2024-2", "low", fixed_in=("1",)))
    verdict = judged(seen, policy("rules:\n- {id: odd, when: \"finding.fixed_in[0] == '1'\", effect: warn}\n")).verdict
    assert verdict.decision == "deny"
    assert verdict.reasons[0].rule == "odd"
    assert "could not be evaluated on CVE-2024-0001 pkg:npm/lodash@4.17.20: " in verdict.reasons[0].message
    both = policy(
        """
        rules:
        - {id: odd, when: "finding.fixed_in[0] == '1'", effect: allow}
        - {id: low, when: "finding.severity == 'low'", effect: warn}
        - {id: high, when: "finding.severity == 'high'", effect: warn}
        """
    )
    rules = {firing.rule.rule.id: (firing.outcome, firing.effect) for firing in judged(seen, both).firings}
    assert rules["high"] == ("fired", "warn")
    assert {reason.rule for reason in judged(seen, both).verdict.reasons} == {"odd", "high"}
    regular = rule("finding.id.matches('[' + finding.kind)")
    assert decision(seen, regular) == "deny"


@pytest.mark.parametrize(
    "when",
    [
        "[1].exists(a, [1].exists(b, [1].exists(c, true)))",
        "[[1].map(a, [a]), [true && true]][0].map(b, [b]).exists(c, true)",
        "['x'].map(a, a + a).size() > 0",
        "['x'].exists(a, [a + a].exists(b, b == ''))",
    ],
)
def test_conditions_that_could_grow(when: str) -> None:
    """What could use up memory within a few nested comprehensions is refused when it is loaded."""
    with pytest.raises(Exception, match="comprehension"):
        policy(f"rules:\n- id: a\n  effect: deny\n  when: |\n    {when}\n")


def test_comprehensions_side_by_side() -> None:
    """Many are fine where one cannot feed the other."""
    part = "finding.aliases.exists(a, finding.fixed_in.exists(b, a == b))"
    assert decision(subject(finding(aliases=("1",), fixed_in=("1",))), rule(" && ".join([part] * 5))) == "deny"


def test_long_work_ends() -> None:
    """More steps than any condition needs are an error, and so deny."""
    row = "[" + ",".join("1" * 120) + "]"
    slow = policy(f'rules:\n- id: slow\n  effect: warn\n  when: "{row}.all(a, {row}.all(b, true))"\n')
    verdict = judged(subject(), slow).verdict
    assert verdict.decision == "deny"
    assert "budget" in verdict.reasons[0].message


def test_what_rules_look_at() -> None:
    """Findings, packages, layers, gaps and the image: told by the names that a condition uses."""
    package = Package(
        name="x", version="1", purl="pkg:npm/x@1", type="npm", ecosystem="npm", licenses=("GPL-3.0",),
        locations=(Location("a/b", "sha256:l"),),
    )  # fmt: skip
    seen = subject(finding(), packages=(package,), gaps=(Gap(code="inventory.unreadable", message="m", path="p"),))
    layer = ReportLayer("sha256:d", "sha256:l", "COPY . .", 5)
    assert seen.target is not None
    seen = msgspec.structs.replace(seen, target=msgspec.structs.replace(seen.target, layers=(layer,)))
    for when in (
        "finding.id == 'CVE-2024-0001' && package.name == 'lodash' && layer.index == -1 && !waiver.active",
        "package.name == 'x' && package.licenses.exists(l, l.startsWith('GPL')) && layer.created_by == 'COPY . .'",
        "layer.size == 5 && layer.index == 0",
        "gap.code == 'inventory.unreadable' && gap.path == 'p'",
        "image.repository == 'reg.example/shop' && image.tag == '1' && image.packages == 1 && image.high == 1 && image.gaps == 1",
        "now == timestamp('2026-03-01T12:00:00Z') && context.stage == ''",
        "finding.rank >= severity.high && finding.rank < severity.critical && now - finding.published > duration('24h')",
    ):
        assert decision(seen, rule(when)) == "deny", when
        assert decision(seen, rule(f"!({when})")) == "allow", when


def test_messages_and_reasons() -> None:
    """One reason for what says the same, with all its fingerprints; the worst first; the remedy at its end."""
    rules = policy(
        """
        rules:
        - {id: a, when: finding.kev, effect: warn, message: "{finding.id} {{x}} {finding.aliases} {finding.kev}"}
        - {id: z, when: finding.kev, effect: deny, message: exploited, remedy: update it}
        """
    )
    seen = subject(
        finding(kev=True, aliases=("GHSA-1", "GHSA-2")), finding(kev=True, purl="pkg:npm/b@1"), finding("CVE-3", kev=True)
    )
    reasons = judged(seen, rules).verdict.reasons
    assert [reason.rule for reason in reasons] == ["z", "a", "a", "a"]
    assert reasons[0].message == "exploited; update it"
    assert len(reasons[0].findings) == 3
    assert "warning: CVE-2024-0001 {x} GHSA-1, GHSA-2 true" in {reason.message for reason in reasons}


@pytest.mark.parametrize(
    ("grace", "published", "fixed", "since", "expected"),
    [
        ("14d", "2026-02-15T12:00:01Z", (), "", "warn"),
        ("14d", "2026-02-15T12:00:00Z", (), "", "deny"),
        ("14d", "2026-02-15T11:59:59Z", (), "", "deny"),
        ("14d", "", (), "", "deny"),
        ("14d", "garbage", (), "", "deny"),
        ("14d", "0001-01-01T00:00:00+05:00", (), "", "deny"),
        ("999999w", "2026-01-01", (), "", "warn"),
        ("{for: 14d, from: fix}", "2020-01-01", (), "", "warn"),
        ("{for: 14d, from: fix}", "2020-01-01", ("2",), "", "deny"),
        ("{for: 14d, from: fix}", "2020-01-01", ("2",), "2026-02-15T12:00:01Z", "warn"),
        ("{for: 14d, from: fix}", "2020-01-01", ("2",), "2026-02-15T12:00:00Z", "deny"),
        ("{for: 14d, from: fix}", "2026-02-20", ("2",), "", "warn"),
        ("{for: 14d, from: disclosure}", "2026-02-20", ("2",), "2020-01-01", "warn"),
    ],
)
def test_grace(grace: str, published: str, fixed: tuple[str, ...], since: str, expected: str) -> None:
    """It ends at that very second; what is not known gives none."""
    found = finding(published=published, fixed_in=fixed)
    seen = subject(found, fixed_since={found.fingerprint: since} if since else {})
    assert decision(seen, rule("finding.id != ''", grace=grace)) == expected


def test_allow_takes_back_what_others_say_of_the_same_thing() -> None:
    """Not of another finding, and nothing of a final rule."""
    body = """
        rules:
        - {id: kev, when: finding.kev, effect: deny, final: FINAL}
        - {id: ours, when: "package.name == 'lodash' && finding.kev", effect: allow}
        """
    rules = policy(body.replace("FINAL", "false"))
    assert decision(subject(finding(kev=True)), rules) == "allow"
    assert decision(subject(finding(kev=True), finding(kev=True, purl="pkg:npm/b@1")), rules) == "deny"
    assert decision(subject(finding(kev=True)), policy(body.replace("FINAL", "true"))) == "deny"
    assert decision(subject(finding(kev=True)), rules, load_policy("kev")) == "deny"
    whole = policy(
        "rules:\n- {id: dev, when: \"context.stage == 'dev'\", effect: allow}\n- {id: k, when: finding.kev, effect: deny}\n"
    )
    assert decision(subject(finding(kev=True), stage="dev"), whole) == "allow"
    assert decision(subject(finding(kev=True), stage="ci"), whole) == "deny"


def test_bound_rules() -> None:
    """A rule counts where it is bound to, and also where nobody says where that is; an `allow` then does not."""
    deny = rule("finding.kev", stages="[deploy, runtime]")
    seen = finding(kev=True)
    assert [decision(subject(seen, stage=stage), deny) for stage in ("", "dev", "deploy")] == ["deny", "allow", "deny"]
    allow = policy(
        """
        rules:
        - {id: a, when: finding.kev, effect: allow, environments: ['test-*']}
        - {id: k, when: finding.kev, effect: deny}
        """
    )
    assert [decision(subject(seen, environment=name), allow) for name in ("", "prod", "test-1")] == ["deny", "deny", "allow"]


@pytest.mark.parametrize(
    ("bound", "said", "refused"),
    [("['prod*']", "Prod", True), ("[prod, Prod]", "Prod", False), ("['prod*']", "staging", False), ("['prod*']", "", False),
     ("[PROD]", "prod", True)],
)  # fmt: skip
def test_a_context_that_differs_by_capitals_alone_is_refused(bound: str, said: str, refused: bool) -> None:
    """A rule that denies in prod* would otherwise be silent in Prod."""
    for field, one in (("environments", "environment"), ("teams", "team"), ("namespaces", "namespace")):
        rules = (rule("finding.kev", **{field: bound}),)
        with pytest.raises(PolicyError, match=f"{one} '{said}': rule .* is bound to") if refused else contextlib.nullcontext():
            check_context(rules, msgspec.convert({one: said}, Context))


def test_the_strictest_policy_decides() -> None:
    """Several policies are named together, under one digest that knows no order."""
    first, second = rule("finding.kev", "warn", id="a"), rule("finding.kev", "deny", id="b")
    one, two = (judged(subject(finding(kev=True)), *rules).verdict for rules in ((first, second), (second, first)))
    assert one == two
    assert one.decision == "deny"
    assert one.policy is not None
    assert one.policy.name == "example+example"
    alone = judged(subject(), first).verdict.policy
    assert alone is not None
    assert (alone.name, alone.digest) == ("example", first.digest)


def test_digest_of_a_policy_is_of_its_meaning() -> None:
    """Comments, order and quotes do not change it; a rule does."""
    one = policy("rules:\n- {id: a, when: finding.kev, effect: deny}\n- {id: b, when: finding.kev, effect: warn}\n")
    two = policy(
        "rules: # of two\n- {effect: 'warn', id: b, when: \"finding.kev\"}\n- {id: a, effect: deny, when: finding.kev}\n"
    )
    three = policy("rules:\n- {id: a, when: finding.kev, effect: deny}\n- {id: b, when: finding.kev, effect: allow}\n")
    assert one.digest == two.digest != three.digest


@pytest.mark.parametrize(
    ("grace", "more", "now", "said"),
    [
        ("7d", {}, "2026-02-03", "its grace ends 2026-02-08T00:00:00Z"),
        ("7d", {}, "2026-03-03", "its grace ended 2026-02-08T00:00:00Z"),
        ("7d", {"published": ""}, "2026-03-03", "no grace: the day of disclosure is not known"),
        ("{for: 7d, from: fix}", {}, "2026-02-03", "its grace of 1 week begins when there is a fix"),
        (
            "{for: 7d, from: fix}",
            {"fixed_in": ("2",), "fixed_since": "2026-03-01"},
            "2026-03-03",
            "its grace ends 2026-03-08T00:00:00Z",
        ),
        (
            "{for: 7d, from: fix}",
            {"fixed_in": ("2",)},
            "2026-02-03",
            "counted from disclosure: no source says since when there is a fix",
        ),
        ("{for: 7d, from: fix}", {"fixed_in": ("2",)}, "2026-03-03", "ended 2026-02-08T00:00:00Z, counted from disclosure"),
        (
            "{for: 7d, from: fix}",
            {"fixed_in": ("2",), "published": ""},
            "2026-03-03",
            "neither the day of the fix nor that of disclosure",
        ),
    ],
)
def test_a_reason_says_how_its_grace_was_counted(grace: str, more: Any, now: str, said: str) -> None:
    """Until when, or since when not any more; and from what, where it is not what the rule asks for."""
    (reason,) = judged(subject(finding(**more), now=now), rule("finding.id != ''", grace=grace)).verdict.reasons
    assert said in reason.message


def test_reasons_say_their_effect() -> None:
    """For programs: what the rule came to, and what is to be done."""
    rules = policy(
        "rules:\n- {id: a, when: finding.kev, effect: deny, remedy: update, message: m}\n"
        "- {id: b, when: finding.kev, effect: warn, message: m}\n"
        "- {id: c, when: finding.kev, effect: deny, grace: 9000d, message: m}\n"
    )
    reasons = judged(subject(finding(kev=True)), rules).verdict.reasons
    assert [(r.rule, r.effect, r.remedy) for r in reasons] == [("a", "deny", "update"), ("b", "warn", ""), ("c", "warn", "")]


def test_comments_in_files_are_waivers() -> None:
    """What a comment accepts holds, unless the rule cannot be waived or the policy asks for what a comment has not."""
    comment = {"id": "comment", "state": "active", "reason": "r", "expires": "2027-01-01"}
    seen = subject(finding("df-user-root", kind="misconfiguration", waiver=comment))
    body = "rules:\n- {id: a, when: finding.id != '', effect: deny"
    assert decision(seen, policy(body + "}\n")) == "allow"
    assert decision(seen, policy(body + ", waivable: false}\n")) == "deny"
    judgement = judged(seen, policy("waivers: {ticket: true}\n" + body + "}\n"))
    assert "the comment there does not count: it has no ticket" in judgement.verdict.reasons[0].message
    assert decision(seen, policy("waivers: {longest: 30d}\n" + body + "}\n")) == "deny"
    ended = subject(finding("df-user-root", kind="misconfiguration", waiver={**comment, "state": "ended"}))
    assert decision(ended, policy(body + "}\n")) == "deny"


def test_what_a_policy_needs() -> None:
    """Asking about attestations is asking for them; the rest is said; imports count."""
    org = "examine: [configuration]\nrules:\n- {id: o, when: finding.kev, effect: deny}\n"
    mine = policy("import: [org]\nrules:\n- {id: a, when: attestation.verified, effect: allow}\n", {"org": org})
    assert mine.examine == {"configuration", "attestations"}
    assert rule("image.statements.size() == 0").examine == {"attestations"}
    assert rule("finding.kev").examine == frozenset()


def test_attestations() -> None:
    """One by one, and all that are verified."""
    seen = subject(
        attestations=(
            Attestation(
                predicate="https://slsa.dev/provenance/v1", signer="k", verified=True, builder="https://ci", revision="1"
            ),
            Attestation(predicate="https://example.org/x"),
        ),
        examined=("attestations",),
    )
    for when in (
        "attestation.builder == 'https://ci' && attestation.revision == '1' && attestation.source == ''",
        "image.attestations == ['https://slsa.dev/provenance/v1'] && image.statements.size() == 2",
        "image.examined.exists(e, e == 'attestations')",
        "attestation.signed_at == timestamp('1970-01-01T00:00:00Z') && attestation.build_type == ''",
    ):
        assert decision(seen, rule(when)) == "deny", when


def test_until_when_a_verdict_holds() -> None:
    """The first that ends: a waiver that holds, a grace, the support of the distribution; nothing that is over, or never ends."""
    first, second = finding(kev=True), finding("CVE-2", kev=True)
    rules = rule("finding.kev", grace="90d")
    assert judged(subject(first, second), rules).verdict.until == "2026-05-02T00:00:00Z"
    assert judged(subject(first, second), rules, under=waivers("vulnerability: CVE-2, expires: 2026-04-01")).verdict.until == (
        "2026-04-01T00:00:00Z"
    )
    over = waivers("vulnerability: CVE-2, expires: 2026-02-01", "vulnerability: CVE-2024-0001, until: kev, expires: 2026-03-02")
    assert judged(subject(first, second), rules, under=over).verdict.until == "2026-05-02T00:00:00Z"
    assert judged(subject(first), rule("finding.kev")).verdict.until == ""
    late = waivers("rule: it, expires: 2027-01-01")
    assert judged(subject(first), rule("finding.kev"), under=late).verdict.until == "2027-01-01T00:00:00Z"
    comment = {"id": "comment", "state": "active", "reason": "r", "expires": "2026-03-05"}
    assert judged(subject(finding(waiver=comment)), rule("finding.kev")).verdict.until == "2026-03-05T00:00:00Z"
    seen = subject(first)
    assert seen.target is not None
    for eol, expected in (("2026-03-04", "2026-03-04T00:00:00Z"), ("2020-01-01", ""), (None, ""), ("soon", "")):
        target = msgspec.structs.replace(seen.target, distro=ReportDistro("debian", "12", eol))
        assert judged(msgspec.structs.replace(seen, target=target), rule("finding.kev")).verdict.until == expected


@given(st.lists(FINDINGS, max_size=5), st.integers(0, 400))
def test_a_verdict_holds_until_then(findings: list[Finding], days: int) -> None:
    """At any moment before, the same facts give the same decision."""
    rules = policy(
        "rules:\n- {id: a, when: finding.kev, effect: deny, grace: 30d}\n"
        "- {id: b, when: finding.fixable, effect: deny, grace: {for: 9d, from: fix}}\n"
    )
    found = judged(subject(*findings), rules, under=UNDER).verdict
    later = dt.datetime.fromisoformat(NOW) + dt.timedelta(days=days)
    moment = later.strftime("%Y-%m-%dT%H:%M:%SZ")
    if not found.until or moment < found.until:
        assert decision(subject(*findings, now=moment), rules, under=UNDER) == found.decision
