"""Policy files in, one set of checked rules out: imports, where they apply, overrides, and what may not be weakened.

Files are read by the caller (`Resolve`), so that this room touches none.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from pratique._kit.patterns import fits
from pratique._kit.place import Place
from pratique._kit.text import Text
from pratique.model.errors import PolicyError
from pratique.policy.document import (
    MAX_RULES,
    Binding,
    Duration,
    Grace,
    Import,
    Override,
    Policy,
    PolicySpec,
    Rule,
    WaiverTerms,
    Written,
    offset_place,
    read,
)
from pratique.policy.facts import Context
from pratique.policy.language import Condition, ConditionError, compile_condition
from pratique.policy.variables import names_for

MAX_TEMPLATE = 1000  # characters of a message before names are filled in; the filled one is cut to a line anyway
MAX_DOCUMENTS = 50  # policies that one policy may bring in, itself included
STRENGTH = {"allow": 0, "warn": 1, "deny": 2}

Resolve = Callable[[str, str], tuple[str, bytes]]
"""(name of the importing policy, what it imports) -> (name, content). Raises PolicyError or OSError."""

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_DEFAULT_MESSAGES = {
    "finding": "{finding.id} ({finding.severity}) {package.name} {package.version}",
    "package": "{package.name} {package.version}",
    "layer": "layer {layer.index}: {layer.created_by}",
    "gap": "{gap.code}: {gap.message}",
    "attestation": "{attestation.predicate}",
    "image": "{image.reference}",
}


class SetRule(NamedTuple):
    """A rule as it will be asked: after overrides, with its condition, where it came from and where it applies."""

    rule: Rule
    condition: Condition
    origin: str
    text: Text
    bindings: tuple[Binding, ...]
    locked: bool

    @property
    def message(self) -> str:
        """The template of its message."""
        return self.rule.message or _DEFAULT_MESSAGES[self.condition.each]

    def grace(self) -> Grace | None:
        """Return its grace in the long form."""
        grace = self.rule.grace
        return Grace(lasts=grace) if isinstance(grace, int) else grace

    def applies(self, context: Context) -> bool:
        """Say whether it is asked in a context. What nobody told leaves a rule in force, and an `allow` without effect."""
        unknown = self.rule.effect != "allow"
        return all(_bound(binding, context, unknown=unknown) for binding in (self.rule, *self.bindings))


class PolicySet(NamedTuple):
    """A policy with all it imports. `digest` covers every effective rule and term; equal digests decide equally.

    `examine` is what has to be looked at for it beside packages.
    """

    name: str
    digest: str
    rules: tuple[SetRule, ...]
    terms: tuple[WaiverTerms, ...]
    examine: frozenset[str] = frozenset()


def _bound(binding: Binding, context: Context, *, unknown: bool) -> bool:
    for allowed, said in (
        (binding.stages, context.stage),
        (binding.environments, context.environment),
        (binding.namespaces, context.namespace),
        (binding.teams, context.team),
    ):
        if allowed and not (unknown if not said else any(fits(said, pattern) for pattern in allowed)):
            return False
    return True


def check_context(policies: Sequence[PolicySet], context: Context) -> None:
    """Raise PolicyError where a rule would not be asked for a capital letter alone: `Prod` is not meant to be free of `prod*`."""
    for rule in (rule for policy in policies for rule in policy.rules):
        for binding in (rule.rule, *rule.bindings):
            for what, allowed, said in (
                ("environment", binding.environments, context.environment),
                ("namespace", binding.namespaces, context.namespace),
                ("team", binding.teams, context.team),
            ):
                if not said or any(fits(said, pattern) for pattern in allowed):
                    continue
                near = next((pattern for pattern in allowed if fits(said.casefold(), pattern.casefold())), "")
                if near:
                    raise PolicyError(
                        f"{what} {said!r}: rule {rule.rule.id!r} of {rule.origin} is bound to {near!r}", hint="write both alike"
                    )


def load(name: str, content: bytes, resolve: Resolve) -> PolicySet:
    """Read a policy and all it imports. Raises PolicyError at FILE:LINE:COLUMN."""
    loader = _Loader(resolve)
    title, rules = loader.load(name, content, ())
    ordered = tuple(sorted(rules, key=lambda r: (r.rule.id, r.origin)))
    examine = loader.examine | ({"attestations"} if any(_asks_for_attestations(rule) for rule in ordered) else set())
    return PolicySet(title, _digest(title, ordered, loader.terms), ordered, tuple(loader.terms), frozenset(examine))


def _asks_for_attestations(rule: SetRule) -> bool:
    names = rule.condition.names
    return rule.condition.each == "attestation" or bool({"image.attestations", "image.statements"} & set(names))


class _Loader:
    """Loads documents that import each other; counts them, and refuses circles."""

    def __init__(self, resolve: Resolve) -> None:
        self.terms: list[WaiverTerms] = []
        self.examine: set[str] = set()
        self._resolve = resolve
        self._count = 0

    def load(self, name: str, content: bytes, chain: tuple[str, ...]) -> tuple[str, list[SetRule]]:
        """Return a policy's name and effective rules, imported ones included."""
        self._count += 1
        document, text = read(name, content, Policy)
        spec = document.spec
        if len(spec.rules) > MAX_RULES:
            text.fail(spec.place("rules"), f"more than {MAX_RULES} rules")
        rules: list[SetRule] = []
        for number, wanted in enumerate(spec.imports):
            rules += self._imported((text, _place(spec, number)), wanted, (*chain, name))
        rules = _without_twins(rules)
        for override in spec.overrides:
            rules = _overridden(rules, override, text)
        rules += _own(spec.rules, rules, text)
        if not rules:
            text.fail(spec.place(), "a policy without rules", "add rules: or import:")
        if spec.final:
            rules = [rule._replace(locked=True) for rule in rules]
        self.examine |= set(spec.examine)
        if spec.waivers is not None and spec.waivers not in self.terms:
            self.terms.append(spec.waivers)
        return document.metadata.name, rules

    def _imported(self, where: tuple[Text, Place], wanted: str | Import, chain: tuple[str, ...]) -> list[SetRule]:
        text, place = where
        target = wanted.policy if isinstance(wanted, Import) else wanted
        if self._count >= MAX_DOCUMENTS:
            text.fail(place, f"more than {MAX_DOCUMENTS} policies are imported")
        try:
            name, content = self._resolve(text.name, target)
        except OSError as error:
            text.fail(place, f"import {target!r}: {error.strerror or error}")
        except LookupError as error:
            text.fail(place, f"import {target!r}: there is no such policy", str(error.args[0]))
        if name in chain:
            text.fail(place, f"import {target!r}: it imports this policy")
        _, rules = self.load(name, content, chain)
        if isinstance(wanted, Import):
            _check_binding(wanted, text)
        if not isinstance(wanted, Import) or not wanted.bound:
            return rules
        locked = next((rule for rule in rules if rule.locked), None)
        if locked is not None:
            text.fail(wanted.place(), f"rule {locked.rule.id!r} of {locked.origin} is final: it cannot be bound to less")
        return [rule._replace(bindings=(*rule.bindings, wanted)) for rule in rules]


def _check_binding(binding: Binding, text: Text) -> None:
    """Refuse an empty list: who writes one means nowhere, and it would say everywhere."""
    for name in ("stages", "environments", "namespaces", "teams"):
        if name in binding.places and not getattr(binding, name):
            text.fail(binding.place(name), f"{name} is empty", "leave it out where everywhere is meant")


def _place(spec: PolicySpec, number: int) -> Place:
    """Return where the name of an imported policy stands."""
    wanted = spec.imports[number]
    return wanted.place("policy") if isinstance(wanted, Import) else spec.places.get(f"imports.{number}", spec.place("imports"))


def _without_twins(rules: Sequence[SetRule]) -> list[SetRule]:
    """Drop what two ways of import brought twice unchanged; of twins that differ each stays, so that the strictest decides."""
    kept: dict[Any, SetRule] = {}
    for rule in rules:
        key = (rule.origin, _plain(rule.rule), tuple(map(_plain, rule.bindings)))
        known = kept.get(key)
        kept[key] = rule if known is None else known._replace(locked=known.locked or rule.locked)
    return list(kept.values())


def _own(written: Sequence[Rule], imported: Sequence[SetRule], text: Text) -> list[SetRule]:
    origins = {rule.rule.id: rule.origin for rule in imported}
    found: list[SetRule] = []
    for rule in written:
        if rule.id in origins:
            hint = "give it another id, or change the imported one under overrides:"
            text.fail(rule.place("id"), f"rule {rule.id!r} is already one of {origins[rule.id]}", hint)
        origins[rule.id] = text.name
        _check_binding(rule, text)
        condition = _compiled(rule, text)
        _check_message(rule, rule.message, condition, text)
        if rule.grace is not None and condition.each != "finding":
            text.fail(rule.place("grace"), f"grace is counted for findings; this rule looks at {condition.each}s")
        found.append(SetRule(rule, condition, text.name, text, (), rule.final))
    return found


def _compiled(rule: Rule, text: Text) -> Condition:
    try:
        return compile_condition(rule.when, rule.each)
    except ConditionError as error:
        text.fail(offset_place(text, rule, "when", error.offset), error.message, error.hint)


def _check_message(written: Written, message: str, condition: Condition, text: Text) -> None:
    known = names_for(condition.each)
    if len(message) > MAX_TEMPLATE:
        text.fail(written.place("message"), f"a message of more than {MAX_TEMPLATE} characters")
    for match in _FIELD.finditer(message):
        name = match[1]
        if match[0] in ("{{", "}}") or name in known:
            continue
        place = offset_place(text, written, "message", match.start())
        if name is None:
            text.fail(place, f"a single {match[0]} in a message", "write it twice")
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"a rule on {condition.each}s knows other names"
        text.fail(place, f"there is no {name!r}", hint)


def _overridden(rules: Sequence[SetRule], override: Override, text: Text) -> list[SetRule]:
    found = [rule for rule in rules if rule.rule.id == override.rule]
    if not found:
        near = difflib.get_close_matches(override.rule, {rule.rule.id for rule in rules}, 1)
        hint = f"did you mean {near[0]!r}?" if near else "only imported rules can be overridden"
        text.fail(override.place("rule"), f"there is no imported rule {override.rule!r}", hint)
    _check_binding(override, text)
    changed: list[SetRule] = []
    for rule in rules:
        if rule.rule.id != override.rule:
            changed.append(rule)
            continue
        if rule.locked:
            _check_not_weaker(rule, override, text)
        _check_message(override, override.message, rule.condition, text)
        if not override.disabled:
            changed.append(_changed(rule, override))
    return changed


def _changed(rule: SetRule, override: Override) -> SetRule:
    given: dict[str, Any] = {
        name: getattr(override, name) for name in ("effect", "message", "remedy", "waivable") if name in override.places
    }
    if override.grace is not None:
        given["grace"] = override.grace if _seconds(override.grace) else None
    bound = (*rule.bindings, override) if override.bound else rule.bindings
    return rule._replace(rule=msgspec.structs.replace(rule.rule, **given), bindings=bound, locked=rule.locked or override.final)


def _seconds(grace: Duration | Grace | None) -> int:
    return 0 if grace is None else grace.lasts if isinstance(grace, Grace) else grace


def _check_not_weaker(rule: SetRule, override: Override, text: Text) -> None:
    """Refuse what would weaken a final rule. A grace from the fix waits without end for one, so it is weaker than any other."""
    old, new = rule.rule.grace, override.grace
    since = {grace.since if isinstance(grace, Grace) else "disclosure" for grace in (old, new) if grace is not None}
    weaker = {
        "disabled": override.disabled,
        "effect": override.effect is not None and STRENGTH[override.effect] < STRENGTH[rule.rule.effect],
        "grace": new is not None and _seconds(new) > 0 and (_seconds(new) > _seconds(old) or len(since) > 1),
        "waivable": override.waivable is True and not rule.rule.waivable,
        "stages": bool(override.stages),
        "environments": bool(override.environments),
        "namespaces": bool(override.namespaces),
        "teams": bool(override.teams),
    }
    for name, holds in weaker.items():
        if holds:
            text.fail(override.place(name), f"rule {override.rule!r} of {rule.origin} is final: {name} would weaken it")


def _plain(written: Written) -> bytes:
    """Return what a struct says, without its places, in one form: the same bytes for the same meaning."""
    return msgspec.json.encode(_unplaced(written), order="deterministic")


def _unplaced(value: Any) -> Any:
    if isinstance(value, Written):
        # What is left at its default is left out, so that a field that a later version learns changes no digest.
        fields = ((field.name, field.default) for field in msgspec.structs.fields(value) if field.name not in ("places", "nodes"))
        return {name: _unplaced(here) for name, default in fields if (here := getattr(value, name)) != default}
    if isinstance(value, tuple):
        return [_unplaced(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _digest(name: str, rules: Sequence[SetRule], terms: Sequence[WaiverTerms]) -> str:
    parts = [name.encode()]
    parts += [_plain(rule.rule) + b"".join(map(_plain, _binding_only(rule.bindings))) + bytes([rule.locked]) for rule in rules]
    parts += sorted(map(_plain, terms))
    return "sha256:" + hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()


def _binding_only(bindings: Sequence[Binding]) -> list[Binding]:
    return [Binding(stages=b.stages, environments=b.environments, namespaces=b.namespaces, teams=b.teams) for b in bindings]


def render(template: str, known: dict[str, Any]) -> str:
    """Fill a message: {finding.id} becomes what it is; {{ and }} are braces."""

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        value = known.get(match[1], "")
        return ", ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)

    return _FIELD.sub(put, template)


@lru_cache(maxsize=MAX_RULES)
def fields_of(template: str) -> tuple[str, ...]:
    """Return the names that a message uses."""
    return tuple(match[1] for match in _FIELD.finditer(template) if match[1])
