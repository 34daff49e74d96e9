"""Short ways to a policy, a finding and a subject, for the tests of the policy room."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from pratique.model.finding import Epss, Finding, FindingLocation, FindingPackage, Severity
from pratique.model.report import Target
from pratique.policy.compose import PolicySet, load
from pratique.policy.document import Waiver, Waivers, read
from pratique.policy.engine import Judgement, decide
from pratique.policy.facts import Context, Subject
from pratique.policy.waiver import check_waivers

NOW = "2026-03-01T12:00:00Z"
HEAD = "apiVersion: pratique/v1\nkind: Policy\nmetadata: {name: example}\nspec:\n"
DIGEST = "sha256:" + "a" * 64


def finding(name: str = "CVE-2024-0001", severity: str = "high", **more: Any) -> Finding:
    """A vulnerability of lodash, unless said otherwise."""
    purl = more.pop("purl", "pkg:npm/lodash@4.17.20")
    package = FindingPackage(purl=purl, name=purl.rpartition("@")[0].rpartition("/")[2], version=purl.rpartition("@")[2])
    epss = more.pop("epss", None)
    path = more.pop("path", "")
    fields: dict[str, Any] = {
        "kind": "vulnerability",
        "id": name,
        "title": name,
        "severity": Severity(severity),
        "fingerprint": f"{name} {purl.rpartition('@')[0]}",
        "package": package,
        "epss": Epss(epss, 0.9) if epss is not None else None,
        "location": FindingLocation(path=path) if path else None,
        "published": "2026-02-01T00:00:00Z",
    }
    return Finding(**{**fields, **more})


def subject(*findings: Finding, reference: str = "reg.example/shop:1", stage: Any = "", **more: Any) -> Subject:
    """Findings of an image."""
    target = Target(reference=reference, scheme="registry", digest=DIGEST, platform="linux/amd64", distro=None, layers=())
    names = ("environment", "team", "namespace")
    context = Context(stage=stage, **{name: more.pop(name, "") for name in names})
    return Subject(findings=findings, target=target, context=context, **{"now": NOW, **more})


def policy(body: str, files: Mapping[str, str] | None = None, name: str = "policy.yaml") -> PolicySet:
    """Load the body of a policy's spec; `files` are what it may import."""

    def resolve(_: str, wanted: str) -> tuple[str, bytes]:
        if wanted not in (files or {}):
            raise LookupError("known: none")
        return wanted, whole((files or {})[wanted]).encode()

    return load(name, whole(body).encode(), resolve)


def whole(body: str) -> str:
    """A policy from the body of its spec."""
    return HEAD + textwrap.indent(textwrap.dedent(body), "  ")


def rule(when: str, effect: str = "deny", **more: str) -> PolicySet:
    """A policy of one rule."""
    lines = [
        f"- id: {more.pop('id', 'it')}",
        f"  when: {when!r}" if "'" not in when else f'  when: "{when}"',
        f"  effect: {effect}",
    ]
    lines += [f"  {name}: {value}" for name, value in more.items()]
    return policy("rules:\n" + "\n".join(lines))


def waivers(*entries: str) -> tuple[Waiver, ...]:
    """Waivers, each a flow mapping without owner and reason."""
    body = "".join(f"- {{owner: team-a, reason: known, {entry}}}\n" for entry in entries)
    document, text = read("waivers.yaml", f"apiVersion: pratique/v1\nkind: Waivers\nwaivers:\n{body}".encode(), Waivers)
    return check_waivers(text, document)


def judged(seen: Subject, *policies: PolicySet, under: tuple[Waiver, ...] = ()) -> Judgement:
    """Judge."""
    return decide(seen, policies, under)


def decision(seen: Subject, *policies: PolicySet, under: tuple[Waiver, ...] = ()) -> str:
    """Judge; the decision alone."""
    return judged(seen, *policies, under=under).verdict.decision
