"""Files that people write in, checked structs out: policies, waivers and tests of policies, apiVersion pratique/v1.

Each mistake is one line FILE:LINE:COLUMN with the nearest right name. Every struct knows the places of its values.
"""

from __future__ import annotations

import difflib
import types
import typing
from functools import cache
from typing import Any, Literal, TypeVar

import msgspec

from pratique._kit.place import Place
from pratique._kit.yamltree import Node
from pratique.policy.facts import STAGES, Each, moment, written
from pratique.policy.text import Text, decode, parse, within

API_VERSION = "pratique/v1"
MAX_RULES = 500  # rules of one policy: a hundred times what a person reads

Effect = Literal["allow", "warn", "deny"]
StageName = Literal["dev", "ci", "registry", "deploy", "runtime"]
T = TypeVar("T", bound="Written")


class Duration(int):
    """Seconds, written as a number and s, m, h, d or w."""


class Moment(str):
    """RFC 3339; a date alone is its first second in UTC. Kept in UTC with a Z."""

    __slots__ = ()


class Written(msgspec.Struct, kw_only=True):
    """Base of what people write. `places` holds where each value stands; "" is where the struct itself begins."""

    places: dict[str, Place] = {}
    nodes: dict[str, Node] = {}

    def place(self, name: str = "") -> Place:
        """Return where a value stands, or else where the struct begins."""
        return self.places.get(name) or self.places.get("") or Place(1, 1)


class Grace(Written, kw_only=True):
    """How long a rule waits: counted from disclosure, or from the day a fix became available (until then it waits as well)."""

    lasts: Duration = msgspec.field(name="for")
    since: Literal["disclosure", "fix"] = msgspec.field(default="disclosure", name="from")


class Binding(Written, kw_only=True):
    """Where something applies: everywhere where nothing is said; environments and teams may hold * and ?."""

    stages: tuple[StageName, ...] = ()
    environments: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()


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
    """What this policy asks of a waiver before it counts: longest life, a ticket, an approver who is not its owner or author."""

    longest: Duration | None = None
    ticket: bool = False
    approver: bool = False


class PolicySpec(Written, kw_only=True):
    """The body of a policy. `final` makes all its rules final, those that it imports as well."""

    rules: tuple[Rule, ...] = ()
    imports: tuple[str | Import, ...] = msgspec.field(default=(), name="import")
    overrides: tuple[Override, ...] = ()
    waivers: WaiverTerms | None = None
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
    was read from another program's ignore file, which has neither owner nor, mostly, an end.
    """

    id: str = ""
    vulnerability: tuple[str, ...] = ()
    package: str = ""
    image: str = ""
    layer: str = ""
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
    justification: str = ""
    legacy: bool = False


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
    waivers: tuple[Waiver, ...] = ()


class PolicyTest(Written, kw_only=True):
    """kind: PolicyTest."""

    apiVersion: Literal["pratique/v1"]  # noqa: N815
    kind: Literal["PolicyTest"]
    cases: tuple[PolicyCase, ...]
    policy: str = ""
    metadata: Metadata | None = None


KINDS: dict[str, type[Written]] = {"Policy": Policy, "Waivers": Waivers, "PolicyTest": PolicyTest}


def read(name: str, content: bytes, kind: type[T]) -> tuple[T, Text]:
    """Read one file of a kind. Raises PolicyError."""
    text = decode(name, content)
    return build(text, parse(text), kind), text


def build(text: Text, node: Node, kind: type[T]) -> T:
    """Turn a tree into a struct. Raises PolicyError."""
    if kind in KINDS.values() and node.kind == "map":
        _check_kind(text, node, kind)
    found: T = _struct(text, node, kind, "")
    return found


def kind_of(node: Node) -> str:
    """Return what `kind:` says; "" where it says nothing."""
    return _written(node.get("kind"))


def _written(node: Node) -> str:
    return node.text if node.kind == "text" else ""


def _check_kind(text: Text, node: Node, kind: type[Written]) -> None:
    """Say first what is most likely wrong: another kind of file."""
    wanted = next(name for name, known in KINDS.items() if known is kind)
    for key, right in (("apiVersion", API_VERSION), ("kind", wanted)):
        said = node.get(key)
        if said.kind == "text" and said.text != right:
            text.fail(said.place, f"{key} is {said.text[:60]!r}", f"{right!r} is read here")


class _Field(typing.NamedTuple):
    name: str
    type: Any
    required: bool


@cache
def _fields(kind: type[Written]) -> dict[str, _Field]:
    hints = typing.get_type_hints(kind)
    return {
        field.encode_name: _Field(field.name, hints[field.name], field.required)
        for field in msgspec.structs.fields(kind)
        if field.name not in ("places", "nodes", "legacy")
    }


def _struct(text: Text, node: Node, kind: type[Written], where: str) -> Any:
    if node.kind != "map":
        text.fail(node.place, f"{where or 'the document'} must be a mapping, not {_called(node)}")
    fields = _fields(kind)
    given: dict[str, Any] = {}
    places, nodes = {"": node.place}, {}
    for key, value in node.entries():
        field = fields.get(key.text)
        if field is None:
            near = difflib.get_close_matches(key.text, fields, 1)
            known = f"known here: {', '.join(sorted(fields))}"
            text.fail(key.place, f"unknown field {key.text[:60]!r}", f"did you mean {near[0]!r}?" if near else known)
        if field.name in given:
            text.fail(key.place, f"{key.text} is given twice")
        given[field.name] = _value(text, value, field.type, key.text)
        places[field.name] = value.place
        if value.kind == "text":
            nodes[field.name] = value
    for name, field in fields.items():
        if field.required and field.name not in given:
            text.fail(node.place, f"{where or 'the document'} lacks {name!r}")
    return kind(**given, places=places, nodes=nodes)


def _called(node: Node) -> str:
    return {"text": "text", "list": "a list"}.get(node.kind, "a mapping")


def _value(text: Text, node: Node, kind: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _union(text, node, typing.get_args(kind), where)
    if origin is tuple:
        return _list(text, node, typing.get_args(kind)[0], where)
    if isinstance(kind, type) and issubclass(kind, Written):
        return _struct(text, node, kind, where)
    if node.kind != "text":
        text.fail(node.place, f"{where} must be text, not {_called(node)}")
    if origin is Literal:
        return _word(text, node, typing.get_args(kind), where)
    return _scalar(text, node, kind, where)


def _union(text: Text, node: Node, kinds: tuple[Any, ...], where: str) -> Any:
    """Choose by the form of what is written: no two members of a union of ours have the same."""
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    for kind in kinds:
        struct = isinstance(kind, type) and issubclass(kind, Written)
        if struct == (node.kind == "map"):
            return _value(text, node, kind, where)
    return _value(text, node, kinds[0], where)


def _list(text: Text, node: Node, kind: Any, where: str) -> tuple[Any, ...]:
    if node.kind == "text" and not _is_null(node) and not (isinstance(kind, type) and issubclass(kind, Written)):
        return (_value(text, node, kind, where),)  # one word stands for a list of one
    if node.kind != "list":
        text.fail(node.place, f"{where} must be a list, not {'nothing' if _is_null(node) else _called(node)}")
    singular = where.removesuffix("s")
    return tuple(_value(text, item, kind, f"a {singular}" if where.endswith("s") else where) for item in node.items)


def _is_null(node: Node) -> bool:
    return node.kind == "text" and node.plain and node.text in ("", "~", "null")


def _word(text: Text, node: Node, allowed: tuple[str, ...], where: str) -> str:
    if node.text not in allowed:
        near = difflib.get_close_matches(node.text, allowed, 1)
        words = ", ".join(word for word in allowed if word)
        text.fail(node.place, f"{where} is {node.text[:60]!r}", f"did you mean {near[0]!r}?" if near else f"one of {words}")
    return node.text


def _scalar(text: Text, node: Node, kind: Any, where: str) -> Any:
    if _is_null(node):
        text.fail(node.place, f"{where} is empty")
    if kind is bool:
        if node.text not in ("true", "false") or not node.plain:
            text.fail(node.place, f"{where} is {node.text[:60]!r}", "true or false")
        return node.text == "true"
    if kind is float:
        try:
            return float(node.text)
        except ValueError:
            text.fail(node.place, f"{where} is {node.text[:60]!r}", "a number")
    if kind is Duration:
        return _duration(text, node, where)
    if kind is Moment:
        try:
            return Moment(written(moment(node.text)))
        except ValueError:
            text.fail(node.place, f"{where} is no moment: {node.text[:60]!r}", "RFC 3339, such as 2026-12-31T00:00:00Z")
    return node.text


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _duration(text: Text, node: Node, where: str) -> Duration:
    number, unit = node.text[:-1], node.text[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit()) or len(number) > 6:
        text.fail(node.place, f"{where} is no duration: {node.text[:60]!r}", "a number and s, m, h, d or w, such as 14d")
    return Duration(int(number) * _UNITS[unit])


def offset_place(text: Text, written: Written, name: str, offset: int) -> Place:
    """Return where a character of a value stands, for errors within it."""
    node = written.nodes.get(name)
    return within(text, node, offset) if node is not None else written.place(name)


__all__ = ["STAGES", "Policy", "PolicyTest", "Waiver", "Waivers", "build", "kind_of", "offset_place", "read"]
