"""Ignore files of other scanners are read as waivers, never more widely than they were meant."""

from __future__ import annotations

import pytest

from policying import decision, finding, rule, subject, waivers
from pratique.policy.ignores import read_ignores

DENY = rule("finding.id != ''")


def test_trivyignore() -> None:
    """A name a line, an expiry behind it, comments."""
    content = b"# known\nCVE-2024-0001\nCVE-2 exp:2026-01-01 # old\nCVE-3 exp:soon\nCVE-4 more\n"
    found = read_ignores(".trivyignore", content)
    assert [(w.vulnerability, str(w.expires)) for w in found.waivers] == [
        (("CVE-2024-0001",), ""),
        (("CVE-2",), "2026-01-01T00:00:00Z"),
    ]
    assert found.left_out == ["line 4: not understood", "line 5: not understood"]
    under = tuple(found.waivers)
    assert decision(subject(finding()), DENY, under=under) == "allow"
    assert decision(subject(finding("CVE-2")), DENY, under=under) == "deny"


def test_trivyignore_yaml() -> None:
    """Paths, packages, statement and expiry."""
    found = read_ignores(
        ".trivyignore.yaml",
        b"""
vulnerabilities:
- id: CVE-2024-0001
  purls: ["pkg:npm/lodash"]
  statement: not reachable
  expired_at: 2027-01-01
- {id: CVE-2, paths: [a/*, b/*]}
- {id: CVE-3, odd: 1}
- {statement: x}
other: []
""",
    )
    assert [(w.vulnerability[0], w.package, w.path, w.reason) for w in found.waivers] == [
        ("CVE-2024-0001", "pkg:npm/lodash", "", "not reachable"),
        ("CVE-2", "", "a/*", "ignored in .trivyignore.yaml"),
        ("CVE-2", "", "b/*", "ignored in .trivyignore.yaml"),
    ]
    assert len(found.left_out) == 3


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("vulnerability: CVE-2024-0001", "allow"),
        ("vulnerability: CVE-2024-0001, fix-state: not-fixed", "allow"),
        ("vulnerability: CVE-2024-0001, fix-state: fixed", "deny"),
        ("vulnerability: CVE-2024-0001, package: {name: lodash, version: 4.17.20, type: npm}", "allow"),
        ("vulnerability: CVE-2024-0001, package: {name: lodash, version: 4.17.21, type: npm}", "deny"),
        ("vulnerability: CVE-2024-0001, package: {type: npm}", "allow"),
        ("vulnerability: CVE-2024-0001, package: {name: lodash, type: python}", "deny"),
        ("vulnerability: CVE-2024-0001, namespace: github", "deny"),
        ("vulnerability: CVE-2024-0001, vex-status: fixed", "deny"),
        ("vulnerability: CVE-2024-0001, package: {name: lodash, language: javascript}", "deny"),
        ("package: {type: npm}", "allow"),
        ("package: {type: gem}", "deny"),
        ("package: {type: npm, version: 4.17.20}", "deny"),
        ("package: {type: something}", "deny"),
        ("fix-state: wont-fix", "deny"),
        ("package: {name: 'lod.*'}", "allow"),
        ("package: {name: '(a|lodash)'}", "deny"),
        ("package: {location: /app/**}", "allow"),
        ("package: {location: /opt/**}", "deny"),
        ("reason: all", "deny"),
    ],
)
def test_grype_rules(entry: str, expected: str) -> None:
    """A rule with a part that cannot be said here is left out, not widened."""
    found = read_ignores("x/.grype.yaml", f"log: {{level: info}}\nignore:\n- {{{entry}}}\n".encode())
    assert decision(subject(finding(path="app/x")), DENY, under=tuple(found.waivers)) == expected
    assert len(found.waivers) + len(found.left_out) == 1


def test_fix_state_ends_with_the_fix() -> None:
    """`not-fixed` speaks of what has no fix: with one, the finding is back."""
    found = read_ignores(".grype.yaml", b"ignore: [{vulnerability: CVE-2024-0001, fix-state: not-fixed}]")
    assert decision(subject(finding(fixed_in=("5",))), DENY, under=tuple(found.waivers)) == "deny"


def test_checks_of_trivy() -> None:
    """Its name of a check covers ours where that is the same check, and not where ours is wider; a control covers its checks."""
    under = tuple(read_ignores(".trivyignore", b"AVD-DS-0026\nKSV041\nAVD-AWS-0001\n").waivers)
    assert [w.vulnerability for w in under] == [
        ("AVD-DS-0026", "Trivy DS-0026"),
        ("KSV041", "Trivy KSV-0041"),
        ("AVD-AWS-0001",),
    ]
    for controls, expected in (
        (("CIS Docker 4.6", "Trivy DS-0026"), "allow"),
        (("Trivy KSV-0041",), "allow"),
        (("Trivy KSV-0041", "Trivy KSV-0043"), "deny"),
        (("CIS Docker 4.6",), "deny"),
    ):
        assert decision(subject(finding("a-check", kind="misconfiguration", controls=controls)), DENY, under=under) == expected
    seen = subject(finding("a-check", kind="misconfiguration", controls=("CIS Docker 4.6", "Trivy DS-1", "Trivy DS-2")))
    assert decision(seen, DENY, under=waivers("vulnerability: CIS Docker 4.6, expires: 2027-01-01")) == "allow"
