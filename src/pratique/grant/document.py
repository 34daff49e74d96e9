"""What people write in a PrivilegePolicy: the structs that the file is read into, and nothing else."""

from __future__ import annotations

from typing import Literal

import msgspec

from pratique._kit.written import Duration, Written
from pratique.grant.request import Action
from pratique.model.privilege import CERTIFICATE

MAX_RULES = 2_000  # rules of one policy; twice what a decision is measured with
MAX_ENTITLEMENTS = 1_000  # of one policy

Profile = Literal["restricted", "baseline", "custom"]


class Metadata(Written, kw_only=True):
    """Name and purpose."""

    name: str
    description: str = ""
    owner: str = ""


class Subjects(Written, kw_only=True):
    """Whom it is for: whoever is in one of the groups or is named; everybody where nothing is said. `ids` are `PROVIDER:ID`."""

    groups: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()


class Where(Written, kw_only=True):
    """Where it applies, by globs; everywhere where nothing is said. What runs from another image needs `run.image`."""

    hosts: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


class Uid(Written, kw_only=True):
    """The lowest uid that needs nothing; `numeric` refuses names even where it is known what they mean."""

    min: int = 1
    numeric: bool = False


class Baseline(Written, kw_only=True):
    """What everybody may do without a grant.

    `restricted`: no root, no capability of its own but NET_BIND_SERVICE, nothing of the machine. `baseline`: root within what
    engines give by default, building, and copying into one's own containers. `custom`: no more than what is listed. `caps` may
    be added, `mounts` (`GLOB:ro` or `GLOB:rw`) bound; `privileges` are further ones. `anonymous` lets those whom nobody knows do
    as much.
    """

    profile: Profile = "restricted"
    uid: Uid = msgspec.field(default_factory=Uid)
    caps: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    privileges: tuple[str, ...] = ()
    anonymous: bool = False


class Rule(Written, kw_only=True):
    """What is denied to everybody, whatever was granted: where the condition is true, or errs."""

    id: str
    deny: str
    message: str = ""
    actions: tuple[Action, ...] = ()


class Ticket(Written, kw_only=True):
    """Whether a ticket must be named, and the regular expression that all of it must match."""

    required: bool = False
    pattern: str = ""


class Approvals(Written, kw_only=True):
    """Who must agree: how many, from whom (`group:NAME`, `PROVIDER:ID`; anybody where nothing is said), how surely known.

    `fourEyes: false` lets the requester approve; nothing else of an approver's terms is relaxed by it.
    """

    count: int = 1
    whom: tuple[str, ...] = msgspec.field(default=(), name="from")
    four_eyes: bool = msgspec.field(default=True, name="fourEyes")
    strength: int = CERTIFICATE


class After(Written, kw_only=True):
    """What becomes of what was touched."""

    taint: str = ""


class Entitlement(Written, kw_only=True):
    """What may be asked for. Where there is no `maxTTL` the privileges' own longest lifetime holds; `maxUses: 0` is no limit."""

    id: str
    privileges: tuple[str, ...]
    when: str = ""
    max_ttl: Duration | None = msgspec.field(default=None, name="maxTTL")
    max_uses: int = msgspec.field(default=1, name="maxUses")
    idle: Duration | None = None
    first_use: bool = msgspec.field(default=False, name="firstUse")
    ticket: Ticket = msgspec.field(default_factory=Ticket)
    approvals: Approvals = msgspec.field(default_factory=Approvals)
    after: After = msgspec.field(default_factory=After)


class BreakGlass(Written, kw_only=True):
    """Who may help themselves in need, for how long, and until when somebody else must have looked at it."""

    groups: tuple[str, ...] = ()
    max_ttl: Duration = msgspec.field(default=Duration(1800), name="maxTTL")
    review: Duration = Duration(86_400)


class Robot(Written, kw_only=True):
    """Who answers for a robot (`PROVIDER:ID`): neither approves what the other asks for."""

    id: str
    owner: str


class PolicySpec(Written, kw_only=True):
    """The body of a privilege policy."""

    subjects: Subjects = msgspec.field(default_factory=Subjects)
    scope: Where = msgspec.field(default_factory=Where)
    baseline: Baseline = msgspec.field(default_factory=Baseline)
    robots: tuple[Robot, ...] = ()
    rules: tuple[Rule, ...] = ()
    entitlements: tuple[Entitlement, ...] = ()
    break_glass: BreakGlass | None = msgspec.field(default=None, name="breakGlass")


class PolicyFile(Written, kw_only=True):
    """kind: PrivilegePolicy."""

    apiVersion: Literal["pratique/v1"]  # noqa: N815 - as Kubernetes' users write it
    kind: Literal["PrivilegePolicy"]
    metadata: Metadata
    spec: PolicySpec
