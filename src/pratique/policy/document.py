"""Files that people write in, checked structs out: policies, waivers and tests of policies, apiVersion pratique/v1.

Each mistake is one line FILE:LINE:COLUMN with the nearest right name. Every struct knows the places of its values.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique._kit.written import Duration, Moment, Written, build, kind_of, offset_place, read
from pratique.policy.facts import STAGES, Each

MAX_RULES = 500  # rules of one policy: a hundred times what a person reads

Effect = Literal["allow", "warn", "deny"]
StageName = Literal["dev", "ci", "registry", "deploy", "runtime"]
Examine = Literal["configuration", "attestations"]
Examined = Literal["packages", "configuration", "attestations", "dockerfile", "compose", "kubernetes"]


class Grace(Written, kw_only=True):
    """How long a rule waits: counted from disclosure, or from the day a fix became available (until then it waits as well)."""

    lasts: Duration = msgspec.field(name="for")
    since: Literal["disclosure", "fix"] = msgspec.field(default="disclosure", name="from")


class Binding(Written, kw_only=True):
    """Where something applies: everywhere where nothing is said; environments, namespaces and teams may hold * and ?."""

    stages: tuple[StageName, ...] = ()
    environments: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()

    @property
    def bound(self) -> bool:
        """Whether anything is said."""
        return bool(self.stages or self.environments or self.namespaces or self.teams)


class Rule(Binding, kw_only=True):
    """One rule. `final` forbids whoever imports it to weaken it; `waivable: false` lets no waiver stand in its way."""

    id: str
    when: str
    effect: Effect
    each: Each | None = None
    message: str = ""
    remedy: str = ""
    grace: Duration | Grace | None = None
    final: bool = False
    waivable: bool = True


class Import(Binding, kw_only=True):
    """Another policy, by name or by file beside this one, and where it applies."""

    policy: str


class Override(Binding, kw_only=True):
    """What is changed of an imported rule."""

    rule: str
    reason: str = ""
    effect: Effect | None = None
    disabled: bool = False
    grace: Duration | Grace | None = None
    message: str = ""
    remedy: str = ""
    waivable: bool | None = None
    final: bool = False


class WaiverTerms(Written, kw_only=True):
    """What this policy asks of a waiver before it counts: longest life, a ticket, an approver who is not its owner or author, and
    that the last change of its file was signed.
    """

    longest: Duration | None = None
    ticket: bool = False
    approver: bool = False
    signed: bool = False


class PolicySpec(Written, kw_only=True):
    """The body of a policy. `final` makes all its rules final, those that it imports as well.

    `examine` is what a scan has to look at for it beside packages; a rule that asks about attestations says so by itself.
    """

    rules: tuple[Rule, ...] = ()
    imports: tuple[str | Import, ...] = msgspec.field(default=(), name="import")
    overrides: tuple[Override, ...] = ()
    waivers: WaiverTerms | None = None
    examine: tuple[Examine, ...] = ()
    final: bool = False


class Metadata(Written, kw_only=True):
    """Name and purpose."""

    name: str
    description: str = ""
    owner: str = ""


class Policy(Written, kw_only=True):
    """kind: Policy."""

    apiVersion: Literal["pratique/v1"]  # noqa: N815 - as Kubernetes' users write it
    kind: Literal["Policy"]
    metadata: Metadata
    spec: PolicySpec


class Waiver(Written, kw_only=True):
    """An accepted risk. What it covers is the whole of `vulnerability` (aliases too), `package`, `image`, `layer`, `path`, ...

    `severity` and `digest` are those at the time it was granted, for `until: [severity-raised, new-image]`. `legacy` marks what
    was read from another program's ignore file, which has neither owner nor, mostly, an end; `signed_by` is whoever signed the
    last change of the file, where a policy asks for that, and `unsigned` says why nobody did. `base` is the last layer of a base
    image: it covers what that layer and those below brought. With a `justification`, a word of
    VEX, the waiver says that the product is not affected, and VEX documents say so too; `impact` says in words why.
    """

    id: str = ""
    vulnerability: tuple[str, ...] = ()
    package: str = ""
    image: str = ""
    layer: str = ""
    base: str = ""
    path: str = ""
    environment: str = ""
    rule: str = ""
    owner: str
    reason: str
    expires: Moment
    ticket: str = ""
    author: str = ""
    approver: str = ""
    created: Moment | None = None
    until: tuple[str, ...] = ()
    severity: Literal["", "unknown", "negligible", "low", "medium", "high", "critical"] = ""
    digest: str = ""
    justification: Literal[
        "",
        "component_not_present",
        "vulnerable_code_not_present",
        "vulnerable_code_not_in_execute_path",
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "inline_mitigations_already_exist",
    ] = ""
    impact: str = ""
    legacy: bool = False
    signed_by: str = ""
    unsigned: str = ""


class Waivers(Written, kw_only=True):
    """kind: Waivers."""

    apiVersion: Literal["pratique/v1"]  # noqa: N815
    kind: Literal["Waivers"]
    waivers: tuple[Waiver, ...]
    metadata: Metadata | None = None


class CaseContext(Written, kw_only=True):
    """The context of a case."""

    stage: Literal["dev", "ci", "registry", "deploy", "runtime"] | None = None
    team: str = ""
    environment: str = ""
    namespace: str = ""


class CaseFinding(Written, kw_only=True):
    """A finding of a case; `package` is a purl."""

    id: str
    kind: Literal["vulnerability", "secret", "malware", "misconfiguration", "license", "eol"] = "vulnerability"
    severity: Literal["unknown", "negligible", "low", "medium", "high", "critical"] = "unknown"
    status: Literal["affected", "fixed", "not_affected", "under_investigation"] = "affected"
    package: str = ""
    aliases: tuple[str, ...] = ()
    fixed_in: tuple[str, ...] = ()
    fixed_since: Moment | None = None
    kev: bool = False
    epss: float = 0.0
    cvss: float = 0.0
    published: Moment | None = None
    path: str = ""
    state: str = ""
    controls: tuple[str, ...] = ()


class CasePackage(Written, kw_only=True):
    """A package of a case."""

    purl: str
    licenses: tuple[str, ...] = ()


class CaseGap(Written, kw_only=True):
    """A gap of a case."""

    code: str
    path: str = ""
    package: str = ""
    source: str = ""


class CaseAttestation(Written, kw_only=True):
    """An attestation of a case; one with a signer is verified."""

    predicate: str
    signer: str = ""
    signed_at: Moment | None = None
    builder: str = ""
    build_type: str = ""
    source: str = ""
    revision: str = ""


class Expected(Written, kw_only=True):
    """What a case expects; `rules` are all that warn or deny, in any order."""

    decision: Effect
    rules: tuple[str, ...] | None = None


class PolicyCase(Written, kw_only=True):
    """Input and expected decision. `report` is a saved JSON report beside the file, instead of findings, packages and gaps."""

    name: str
    expect: Expected
    now: Moment | None = None
    image: str = ""
    report: str = ""
    context: CaseContext | None = None
    findings: tuple[CaseFinding, ...] = ()
    packages: tuple[CasePackage, ...] = ()
    gaps: tuple[CaseGap, ...] = ()
    attestations: tuple[CaseAttestation, ...] = ()
    examined: tuple[Examined, ...] = ("packages",)
    waivers: tuple[Waiver, ...] = ()


class PolicyTest(Written, kw_only=True):
    """kind: PolicyTest."""

    apiVersion: Literal["pratique/v1"]  # noqa: N815
    kind: Literal["PolicyTest"]
    cases: tuple[PolicyCase, ...]
    policy: str = ""
    metadata: Metadata | None = None


__all__ = [
    "STAGES",
    "CaseAttestation",
    "Duration",
    "Moment",
    "Policy",
    "PolicyTest",
    "Waiver",
    "Waivers",
    "Written",
    "build",
    "kind_of",
    "offset_place",
    "read",
]
