"""Waivers end at their very second, or when a fact says so; they cover what they name, no more, and are always shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policying import DIGEST, decision, finding, judged, policy, rule, subject, waivers
from pratique.model.errors import PolicyError
from pratique.model.finding import Finding, FindingLocation
from pratique.model.inventory import Gap, Location, Package
from pratique.model.report import ReportLayer, Target
from pratique.policy.waiver import purl_matches

DENY = rule("finding.id != ''")
LATER = "expires: 2026-06-01"
CVE = "vulnerability: CVE-2024-0001"


def _shown(found: Finding, entry: str, **more: Any) -> dict[str, Any] | None:
    return judged(subject(found, **more), DENY, under=waivers(entry)).findings[0].waiver


@pytest.mark.parametrize(("now", "expected"), [("11:59:59", "allow"), ("12:00:00", "deny"), ("12:00:01", "deny")])
def test_ends_at_that_second(now: str, expected: str) -> None:
    """One second before it holds; at the second, and after it, it does not: for policies and for --fail-on alike."""
    from pratique.policy.engine import decide

    seen, under = subject(finding(), now=f"2026-03-01T{now}Z"), waivers(f"{CVE}, expires: 2026-03-01T12:00:00Z")
    assert decision(seen, DENY, under=under) == expected
    assert decide(seen, (), under, ("high",)).verdict.decision == expected
    waiver = judged(seen, DENY, under=under).findings[0].waiver
    assert waiver is not None
    assert waiver["state"] == ("active" if expected == "allow" else "ended")
    assert waiver.get("ended", "") == ("" if expected == "allow" else "expired on 2026-03-01T12:00:00Z")


def test_time_zones_and_days() -> None:
    """An offset is an offset, and a date alone is its first second."""
    for text, now, expected in (
        ("2026-03-01T14:00:00+02:00", "2026-03-01T11:59:59Z", "allow"),
        ("2026-03-01T14:00:00+02:00", "2026-03-01T12:00:00Z", "deny"),
        ("2026-03-02", "2026-03-01T23:59:59Z", "allow"),
        ("2026-03-02", "2026-03-02T00:00:00Z", "deny"),
    ):
        assert decision(subject(finding(), now=now), DENY, under=waivers(f"{CVE}, expires: {text}")) == expected


@pytest.mark.parametrize(
    ("until", "found", "why"),
    [
        ("fix-available", {"fixed_in": ("2", "3")}, "a fix is available: 2, 3"),
        ("kev", {"kev": True}, "it is known to be exploited (KEV)"),
        ("epss>0.5", {"epss": 0.51}, "its EPSS is 0.51000, above 0.5"),
        ("epss > 0.5", {"epss": 0.6}, "its EPSS is 0.60000, above 0.5"),
        ("severity-raised, severity: medium", {"severity": "high"}, "its severity rose from medium to high"),
        (f"new-image, digest: 'sha256:{'b' * 64}'", {}, f"it was given for sha256:{'b' * 64}, this image is {DIGEST}"),
    ],
)
def test_facts_that_end_it(until: str, found: dict[str, Any], why: str) -> None:
    """Each condition ends it, and the report says which."""
    entry = f"{CVE}, {LATER}, until: {until}"
    waiver = _shown(finding(**found), entry)
    assert waiver is not None
    assert (waiver["state"], waiver["ended"]) == ("ended", why)
    verdict = judged(subject(finding(**found)), DENY, under=waivers(entry)).verdict
    assert verdict.decision == "deny"
    assert f"ended: {why}" in verdict.reasons[0].message


@pytest.mark.parametrize(
    ("until", "found"),
    [
        ("[fix-available, kev, epss>0.5]", {}),
        ("epss>0.5", {"epss": 0.5}),
        ("severity-raised, severity: high", {"severity": "high"}),
        (f"new-image, digest: '{DIGEST}'", {}),
    ],
)
def test_facts_that_do_not(until: str, found: dict[str, Any]) -> None:
    """Until then it holds."""
    assert decision(subject(finding(**found)), DENY, under=waivers(f"{CVE}, {LATER}, until: {until}")) == "allow"


@given(st.permutations(["CVE-2024-0001", "GHSA-aaaa", "DSA-1", "PYSEC-1"]), st.integers(0, 3), st.booleans())
def test_aliases(names: list[str], chosen: int, lower: bool) -> None:
    """A waiver of any name of a vulnerability covers it, in any letter case; a waiver of another name does not."""
    found = finding(names[0], aliases=tuple(names[1:]))
    name = names[chosen].lower() if lower else names[chosen]
    assert decision(subject(found), DENY, under=waivers(f"vulnerability: {name}, {LATER}")) == "allow"
    assert decision(subject(found), DENY, under=waivers(f"vulnerability: {name}0, {LATER}")) == "deny"


@pytest.mark.parametrize(
    ("pattern", "purl", "expected"),
    [
        ("pkg:npm/lodash", "pkg:npm/lodash@4", True),
        ("pkg:npm/lodash@4", "pkg:npm/lodash@4", True),
        ("pkg:npm/lodash@4", "pkg:npm/lodash@40", False),
        ("pkg:npm/lodash", "pkg:npm/lodash-es@4", False),
        ("pkg:npm/lodash*", "pkg:npm/lodash-es@4", True),
        ("pkg:npm/%40a/b", "pkg:npm/%40a/b@1", True),
        ("pkg:npm/@a/b", "pkg:npm/%40a/b@1", True),
        ("pkg:npm/@a/b@1", "pkg:npm/%40a/b@1", True),
        ("pkg:npm/@a/b@2", "pkg:npm/%40a/b@1", False),
        ("pkg:deb/debian/zlib1g", "pkg:deb/debian/zlib1g@1%3A1.2?arch=amd64&distro=debian-12", True),
        ("pkg:deb/debian/zlib1g@1:1.2", "pkg:deb/debian/zlib1g@1%3A1.2?arch=amd64", True),
        ("pkg:deb/debian/zlib1g?arch=arm64", "pkg:deb/debian/zlib1g@1?arch=amd64", False),
        ("pkg:deb/debian/zlib1g?arch=amd64", "pkg:deb/debian/zlib1g@1?arch=amd64", True),
        ("pkg:golang/github.com/a/b", "pkg:golang/github.com/a/b@v1#sub", True),
        ("pkg:golang/github.com/*", "pkg:golang/github.com/a/b@v1", True),
        ("pkg:npm/lodash@4.*", "pkg:npm/lodash@4.17", True),
        ("pkg:pypi/lodash", "pkg:npm/lodash@4", False),
        ("pkg:pypi/Foo_Bar", "pkg:pypi/foo-bar@1", True),
        ("pkg:pypi/foo.*", "pkg:pypi/foo-bar@1", True),
        ("pkg:golang/GitHub.com/a/b", "pkg:golang/github.com/a/b@v1", True),
        ("pkg:maven/Org/a", "pkg:maven/org/a@1", False),
    ],
)
def test_purls(pattern: str, purl: str, expected: bool) -> None:
    """Version and qualifiers count only where they are given; %40 is an @."""
    assert purl_matches(pattern, purl) is expected


@pytest.mark.parametrize(
    ("image", "reference", "expected"),
    [
        ("reg.example/shop", "reg.example/shop:1", True),
        ("reg.example/shop:1", "reg.example/shop:1", True),
        ("reg.example/shop:2", "reg.example/shop:1", False),
        ("reg.example/shop", "reg.example/shop2:1", False),
        ("reg.example/*", "reg.example/team/shop:1", True),
        ("nginx", "docker.io/library/nginx:1", True),
        ("docker.io/library/nginx", "nginx", True),
        ("nginx", "evil.example/nginx", False),
        ("org/app", "docker.io/org/app@" + DIGEST, True),
        (DIGEST, "anything:1", True),
        ("reg.example/shop@" + DIGEST, "reg.example/shop:1", True),
        ("reg.example/shop@sha256:" + "b" * 64, "reg.example/shop:1", False),
        ("localhost:5000/a", "localhost:5000/a:1", True),
    ],
)
def test_images(image: str, reference: str, expected: bool) -> None:
    """Repository, tag or digest; Docker Hub's short names are its long ones."""
    found = decision(subject(finding(), reference=reference), DENY, under=waivers(f"{CVE}, {LATER}, image: '{image}'"))
    assert found == ("allow" if expected else "deny")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("environment: 'test-*'", "allow"),
        ("environment: prod", "deny"),
        ("path: 'app/*'", "allow"),
        ("path: /app/x.js", "allow"),
        ("path: lib/*", "deny"),
        ("package: lodash", "allow"),
        ("package: 'lod*'", "allow"),
        ("package: pkg:npm/lodash, path: lib/*", "deny"),
        ("layer: 'sha256:x'", "deny"),
        ("base: 'sha256:x'", "deny"),
    ],
)
def test_the_whole_scope_counts(scope: str, expected: str) -> None:
    """All that a waiver names must be so."""
    seen = subject(finding(path="app/x.js"), environment="test-1")
    assert decision(seen, DENY, under=waivers(f"{CVE}, {LATER}, {scope}")) == expected
    if "environment" in scope:
        assert decision(subject(finding()), DENY, under=waivers(f"{CVE}, {LATER}, {scope}")) == "deny"


def test_a_package_that_is_also_elsewhere() -> None:
    """A waiver for one path does not cover the second copy."""
    places = (Location("app/a", "sha256:1"), Location("opt/a", "sha256:2"))
    package = Package(name="lodash", version="4", purl="pkg:npm/lodash@4.17.20", type="npm", ecosystem="npm", locations=places)
    under = waivers(f"{CVE}, {LATER}, path: app/*")
    assert decision(subject(finding(path="app/a"), packages=(package,)), DENY, under=under) == "deny"
    assert (
        decision(subject(finding(path="app/a"), packages=(package,)), DENY, under=waivers(f"{CVE}, {LATER}, path: '*/a'"))
        == "allow"
    )


def test_of_several_the_one_that_lasts_longest() -> None:
    """One that holds goes before one that has ended, whatever their order."""
    entries = [f"id: a, {CVE}, expires: 2026-01-01", f"id: b, {CVE}, expires: 2026-04-01", f"id: c, {CVE}, expires: 2026-05-01"]
    for order in (entries, entries[::-1]):
        waiver = judged(subject(finding()), DENY, under=waivers(*order)).findings[0].waiver
        assert waiver is not None
        assert (waiver["id"], waiver["state"], waiver["owner"]) == ("c", "active", "team-a")


def test_waivers_of_one_rule() -> None:
    """They stand before that rule only, also where it looks at packages or gaps; then the verdict shows them."""
    rules = policy(
        """
        rules:
        - {id: a, when: finding.kev, effect: deny}
        - {id: b, when: finding.kev, effect: warn}
        - {id: g, when: "gap.code == 'x'", effect: deny}
        """
    )
    seen = subject(finding(kev=True), gaps=(Gap(code="x", message="m", path="etc/p"),))
    under = waivers(f"id: one, rule: a, {LATER}", f"id: two, rule: g, path: etc/*, {LATER}")
    judgement = judged(seen, rules, under=under)
    assert judgement.verdict.decision == "warn"
    assert any("waiver two of team-a" in reason.message for reason in judgement.verdict.reasons)
    waiver = judgement.findings[0].waiver
    assert waiver is not None
    assert (waiver["id"], waiver["rule"]) == ("one", "a")
    assert decision(seen, rule("finding.kev", id="other"), under=under) == "deny"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("expires: 2026-06-30", "it lasts longer than 90 days"),
        ("expires: 2026-04-01, created: 2025-12-01", "it lasts longer than 90 days"),
        ("expires: 2030-04-01, created: 2030-03-01", "it lasts longer than 90 days"),
        ("expires: 2026-04-01", "it has no ticket"),
        ("expires: 2026-04-01, ticket: T-1", "nobody approved it"),
        ("expires: 2026-04-01, ticket: T-1, approver: team-a", "its approver is its owner or author"),
        ("expires: 2026-04-01, ticket: T-1, author: bob, approver: bob", "its approver is its owner or author"),
        ("expires: 2026-04-01, ticket: T-1, approver: 'Team-A '", "its approver is its owner or author"),
        ("expires: 2026-04-01, ticket: T-1, author: bob, approver: BOB", "its approver is its owner or author"),
        ("expires: 2026-04-01, ticket: T-1, author: bob, approver: eve", ""),
    ],
)
def test_what_a_policy_asks_of_waivers(entry: str, why: str) -> None:
    """One that falls short does not count, and the reason says what it lacks."""
    rules = policy("waivers: {longest: 90d, ticket: true, approver: true}\nrules:\n- {id: k, when: finding.kev, effect: deny}\n")
    verdict = judged(subject(finding(kev=True)), rules, under=waivers(f"{CVE}, {entry}")).verdict
    assert verdict.decision == ("deny" if why else "allow")
    assert all(why in reason.message for reason in verdict.reasons)


def test_rules_that_cannot_be_waived() -> None:
    """`waivable: false` lets nothing stand in its way."""
    verdict = judged(subject(finding(kev=True)), rule("finding.kev", waivable="false"), under=waivers(f"{CVE}, {LATER}")).verdict
    assert verdict.decision == "deny"
    assert "cannot be waived" in verdict.reasons[0].message


def test_reports_tell_waivers_apart() -> None:
    """What holds is called accepted everywhere; what has ended, or stands before one rule only, never is, but is shown."""
    from pratique.report.document import accepted, waiver_note, waiver_text

    seen = subject(finding(kev=True))
    rules = rule("finding.kev", id="a")
    for entry, holds, note in (
        (f"{CVE}, {LATER}", True, ""),
        (f"{CVE}, {LATER}, until: kev", False, "waiver waiver-1 ended: it is known to be exploited (KEV)"),
        (f"rule: a, {LATER}", False, "waiver waiver-1 stands before rule a only: known"),
    ):
        [found] = judged(seen, rules, under=waivers(entry)).findings
        assert accepted(found) is holds
        assert bool(waiver_text(found)) is holds
        assert waiver_note(found) == note


def _layered(*places: str, base: str, scope: str = "base") -> str:
    """Decide on a package of layers sha256:1 to sha256:4 that lies in some of them."""
    layers = tuple(ReportLayer("", f"sha256:{number}", "", 1) for number in range(1, 5))
    target = Target(reference="a", scheme="registry", digest=DIGEST, platform="", distro=None, layers=layers)
    package = Package(
        name="lodash",
        version="4",
        purl="pkg:npm/lodash@4.17.20",
        type="npm",
        ecosystem="npm",
        locations=tuple(Location(f"app/{layer}", f"sha256:{layer}") for layer in places),
    )
    found = finding(location=FindingLocation(path="app", layer=f"sha256:{places[0]}") if places else None)
    seen = msgspec.structs.replace(subject(found, packages=(package,)), target=target)
    return decision(seen, DENY, under=waivers(f"{CVE}, {LATER}, {scope}: 'sha256:{base}'"))


@pytest.mark.parametrize(
    ("places", "base", "expected"),
    [
        (("1",), "2", "allow"),
        (("2",), "2", "allow"),
        (("1", "2"), "2", "allow"),
        (("3",), "2", "deny"),
        (("1", "3"), "2", "deny"),
        (("1",), "9", "deny"),
        ((), "2", "deny"),
    ],
)
def test_what_a_base_image_brought(places: tuple[str, ...], base: str, expected: str) -> None:
    """Its last layer says which it is; a copy in a layer above is not the base's, and another base is another."""
    assert _layered(*places, base=base) == expected


def test_a_package_that_is_also_in_another_layer() -> None:
    """A waiver for one layer does not cover the copy in the next."""
    assert _layered("1", base="1", scope="layer") == "allow"
    assert _layered("1", "2", base="1", scope="layer") == "deny"


def test_an_image_goes_by_all_its_digests() -> None:
    """That of the index is the image's as well: for the scope, and for a new version of it."""
    index = "sha256:" + "e" * 64
    seen = subject(finding())
    assert seen.target is not None
    seen = msgspec.structs.replace(seen, target=msgspec.structs.replace(seen.target, digests=(index,)))
    for scope in (f"image: '{index}'", f"image: 'reg.example/shop@{index}'", f"until: new-image, digest: '{index}'"):
        assert decision(seen, DENY, under=waivers(f"{CVE}, {LATER}, {scope}")) == "allow", scope


def test_signed_files() -> None:
    """A policy that asks for it counts only waivers that somebody vouches for, and says why one does not count."""
    rules = policy("waivers: {signed: true}\nrules:\n- {id: k, when: finding.kev, effect: deny}\n")
    (plain,) = waivers(f"{CVE}, {LATER}")
    for waiver, expected in (
        (plain, "it is not in a file under version control"),
        (msgspec.structs.replace(plain, unsigned="it is not committed"), "it is not committed"),
        (msgspec.structs.replace(plain, signed_by="eve@acme.example"), ""),
    ):
        verdict = judged(subject(finding(kev=True)), rules, under=(waiver,)).verdict
        assert verdict.decision == ("deny" if expected else "allow")
        assert all(expected in reason.message for reason in verdict.reasons)
    with pytest.raises(PolicyError, match="unknown field 'signed_by'"):
        waivers(f"{CVE}, {LATER}, signed_by: me")


def test_of_several_one_that_is_good_enough() -> None:
    """The one that lasts longest has no ticket; the one that has counts, in whatever order they stand."""
    rules = policy("waivers: {ticket: true}\nrules:\n- {id: k, when: finding.kev, effect: deny}\n")
    entries = [
        f"id: a, {CVE}, expires: 2026-09-01",
        f"id: b, {CVE}, ticket: T, expires: 2026-05-01",
        f"id: c, {CVE}, expires: 2026-06-01",
    ]
    for order in (entries, entries[::-1]):
        judgement = judged(subject(finding(kev=True)), rules, under=waivers(*order))
        assert judgement.verdict.decision == "allow"
        (firing,) = judgement.firings
        assert firing.waiver is not None
        assert firing.waiver.id == "b"
    assert decision(subject(finding(kev=True)), rules, under=waivers(entries[0], entries[2])) == "deny"


def test_waivers_of_a_rule_say_why_they_ended() -> None:
    """Also where the rule looks at gaps, and where a grace holds it back."""
    rules = policy(
        "rules:\n- {id: g, when: \"gap.code == 'x'\", effect: deny}\n- {id: k, when: finding.kev, effect: deny, grace: 90d}\n"
    )
    seen = subject(finding(kev=True), gaps=(Gap(code="x", message="m", path="etc/p"),))
    verdict = judged(
        seen, rules, under=waivers("id: one, rule: g, expires: 2026-01-01", "id: two, rule: k, expires: 2026-01-02")
    ).verdict
    assert [reason.message for reason in verdict.reasons] == [
        "x: m (waiver one ended: expired on 2026-01-01T00:00:00Z)",
        (
            "warning: CVE-2024-0001 (high) lodash 4.17.20"
            " (waiver two ended: expired on 2026-01-02T00:00:00Z; its grace ends 2026-05-02T00:00:00Z)"
        ),
    ]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("app/[slug]/page.js", "app/[slug]/page.js", True),
        ("app/[slug]/*", "app/[slug]/page.js", True),
        ("app/[slug]/page.js", "app/s/page.js", False),
        ("app/?.js", "app/x.js", True),
        ("*", "a/b", True),
        ("app", "App", False),
    ],
)
def test_brackets_are_letters(pattern: str, name: str, expected: bool) -> None:
    """Frameworks name folders so; only * and ? stand for anything."""
    found = decision(subject(finding(path=name)), DENY, under=waivers(f"{CVE}, {LATER}, path: '{pattern}'"))
    assert found == ("allow" if expected else "deny")


def test_one_that_falls_short_is_nowhere_called_accepted() -> None:
    """The report says what a policy finds lacking, --fail-on does not count it, and no document denies because of it."""
    from pratique.policy.engine import decide
    from pratique.report.document import accepted, waiver_note

    rules = policy("waivers: {ticket: true}\nrules:\n- {id: k, when: finding.kev, effect: deny}\n")
    short, good = f"id: a, {CVE}, expires: 2026-09-01", f"id: b, {CVE}, ticket: T, expires: 2026-05-01"
    for entries, state, name in (((short,), "short", "a"), ((short, good), "active", "b")):
        judgement = decide(subject(finding()), (rules,), waivers(*entries), ("high",))
        (found,) = judgement.findings
        assert found.waiver is not None
        assert (found.waiver["state"], found.waiver["id"]) == (state, name)
        assert accepted(found) is (state == "active")
        assert judgement.verdict.decision == ("allow" if state == "active" else "deny")
        assert waiver_note(found) == ("" if state == "active" else "waiver a does not count: it has no ticket")
    assert decide(subject(finding()), (), waivers(short), ("high",)).verdict.decision == "allow"


def test_a_comment_that_falls_short() -> None:
    """Likewise; and where no policy asks for more, it holds."""
    from pratique.policy.engine import decide

    comment = {"id": "comment", "state": "active", "reason": "r", "expires": "2027-01-01"}
    seen = subject(finding("df-user-root", kind="misconfiguration", waiver=comment))
    asking = policy("waivers: {ticket: true}\nrules:\n- {id: k, when: finding.kev, effect: deny}\n")
    judgement = decide(seen, (asking,), (), ("high",))
    assert judgement.findings[0].waiver == {**comment, "state": "short", "short": "it has no ticket"}
    assert judgement.verdict.decision == "deny"
    again = msgspec.structs.replace(seen, findings=judgement.findings)
    assert decide(again, (), waivers("vulnerability: CVE-1, expires: 2027-01-01"), ("high",)).findings[0].waiver == comment
