"""Findings of whole files: versions of the standards, comments, fingerprints, secrets, and files that cannot be read."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.lint.run import Result, lint

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)


def found(text: str, name: str = "Dockerfile", version: tuple[int, int] = (1, 36)) -> Result:
    """Lint a text."""
    return lint(name, text.encode(), NOW, version)


def ids(result: Result) -> set[str]:
    """Return the checks that spoke."""
    return {finding.id for finding in result.findings}


def pod(body: str) -> str:
    """Return a pod with these lines in its spec."""
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: c, image: 'a:1'}}]\n{body}\n"


@pytest.mark.parametrize(
    ("body", "check", "since", "until"),
    [
        ("  securityContext: {sysctls: [{name: net.ipv4.ip_local_reserved_ports, value: '1'}]}", "pss-sysctls", None, 27),
        ("  securityContext: {sysctls: [{name: net.ipv4.tcp_fin_timeout, value: '1'}]}", "pss-sysctls", None, 29),
        ("  securityContext: {sysctls: [{name: net.ipv4.tcp_wmem, value: '1'}]}", "pss-sysctls", None, 32),
        ("  securityContext: {seLinuxOptions: {type: container_engine_t}}", "pss-selinux", None, 31),
        ("  hostUsers: false", "pss-non-root", None, 35),
        ("  hostUsers: false\n  securityContext: {runAsUser: 0}", "pss-user", None, 35),
        ("  initContainers: [{name: i, lifecycle: {postStart: {httpGet: {host: x, port: 1}}}}]", "pss-host-probes", 34, None),
    ],
)
def test_policy_versions(body: str, check: str, since: int | None, until: int | None) -> None:
    """A control holds from the version that brought it to the one that relaxed it."""
    for minor in range(25, 37):
        holds = (since is None or minor >= since) and (until is None or minor < until)
        assert (check in ids(found(pod(body), "p.yaml", (1, minor)))) == holds, minor


def test_a_restricted_pod_is_clean() -> None:
    """A pod that the restricted standard admits has no finding of it."""
    text = """apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: c
    image: a:1
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""
    assert not {name for name in ids(found(text, "p.yaml")) if name.startswith("pss-")}


def test_fingerprints_do_not_move() -> None:
    """Neither lines nor layout nor the path count, what is said does."""
    first = found("FROM debian:12\nRUN sudo a\n")
    moved = lint("x/Dockerfile", b"# c\n\nFROM  debian:12\n\nRUN sudo \\\n   a\n", NOW)
    other = found("FROM debian:12\nRUN sudo b\n")

    def of(result: Result) -> list[str]:
        return [finding.fingerprint for finding in result.findings if finding.id == "df-sudo"]

    assert of(first) == of(moved) != of(other)


def test_secrets_are_not_repeated() -> None:
    """A report about a secret does not spread it."""
    secret = "hunter22secret"
    for text in (
        f"FROM a:1\nENV DB_PASSWORD={secret}\n",
        f"FROM a:1\nRUN export TOKEN={secret}\n",
        f"FROM a:1\nRUN mysql --password={secret}\n",
        f"FROM a:1\nRUN git clone https://a:{secret}@x/y\n",
    ):
        result = found(text)
        assert any("secret" in finding.id for finding in result.findings)
        assert not [finding for finding in result.findings if "secret" in finding.id and secret in str(finding)]
    result = found(f"services: {{a: {{environment: {{DB_PASSWORD: {secret}}}}}}}\n", "compose.yaml")
    assert "ct-secret-variable" in ids(result)
    assert secret not in str(result)


def test_comments_hold_until_their_second() -> None:
    """At the date's first second a comment has ended, and says so."""
    text = "FROM debian:12\n# pratique: ignore=df-sudo needed until=2026-06-01\nRUN x \\\n  && sudo y\n"
    for now, state in ((NOW - dt.timedelta(seconds=1), "active"), (NOW, "ended")):
        result = lint("Dockerfile", text.encode(), now)
        (finding,) = [item for item in result.findings if item.id == "df-sudo"]
        assert finding.waiver == {"id": "comment", "state": state, "reason": "needed", "expires": "2026-06-01"}
        assert ("ignore-expired" in ids(result)) == (state == "ended")


def test_comments_in_yaml() -> None:
    """Behind a value, or on the line before; no further."""
    text = (
        "services:\n  a:\n    image: x:1\n    privileged: true  # pratique: ignore=ct-privileged why until=2027-01-01\n"
        "  b:\n    # pratique: ignore=ct-privileged why until=2027-01-01\n    privileged: true\n  c:\n    privileged: true\n"
    )
    result = found(text, "compose.yaml")
    waived = {f.location.line: f.waiver is not None for f in result.findings if f.id == "ct-privileged" and f.location}
    assert waived == {4: True, 7: True, 9: False}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("Dockerfile", b"\xff\xfe", "lint.unreadable"),
        ("Dockerfile", b"# nothing\n", "lint.unreadable"),
        ("Dockerfile", b"hello world\n", "lint.unreadable"),
        ("Dockerfile", b"FROM a\nFORM b\n", "lint.unreadable"),
        ("Dockerfile", b"FROM a\nRUN <<EOF\nx\n", "lint.unreadable"),
        ("a.yaml", b"apiVersion: v1\nkind: {{ .Values.kind }}\nx: [\n", "lint.template"),
        ("a.yaml", b"a: [", "lint.unreadable"),
        ("a.yaml", b"[" * 5000, "lint.too-large"),
        ("compose.yaml", b"include: [x]\nservices: {a: {image: b}}", "lint.unresolved"),
    ],
)
def test_gaps(name: str, content: bytes, code: str) -> None:
    """What cannot be read is said."""
    assert [gap.code for gap in lint(name, content, NOW).gaps] == [code]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("-", "# x\nFROM a\n", "dockerfile"), ("-", "services: {a: {image: b}}", "compose"),
        ("-", "---\napiVersion: v1\nkind: Pod\n", "kubernetes"),
        ("-", '{"apiVersion": "v1", "kind": "Pod"}', "kubernetes"), ("-", "hello", ""), ("a.yaml", "hello: world", ""),
        ("app.Dockerfile", "FROM a", "dockerfile"), ("Containerfile.dev", "FROM a", "dockerfile"),
        ("x/dockerfile", "FROM a", "dockerfile"),
    ],
)  # fmt: skip
def test_kinds(name: str, text: str, kind: str) -> None:
    """By name, else by content."""
    assert found(text, name).kind == kind


@settings(max_examples=150)
@given(st.binary(max_size=150) | st.text(max_size=150).map(str.encode), st.sampled_from(["Dockerfile", "a.yaml", "-"]))
def test_any_bytes(content: bytes, name: str) -> None:
    """Nothing is raised, and the same bytes give the same findings."""
    assert lint(name, content, NOW) == lint(name, content, NOW)
