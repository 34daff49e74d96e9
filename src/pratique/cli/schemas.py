"""The name of a document in, its JSON Schema (2020-12) out: of what commands print, and of the files that people write."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from pratique._kit.written import Duration, Moment, Written

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DATABASE = "documents_database"
_NOT_WRITTEN = frozenset(("places", "nodes", "legacy", "signed_by", "unsigned"))


class Document(NamedTuple):
    """One kind of document: what prints or reads it, and how its schema is made."""

    about: str
    make: Callable[[], dict[str, Any]]


def schema(name: str) -> dict[str, Any]:
    """Return a schema. Raises KeyError."""
    found = DOCUMENTS[name].make()
    found.setdefault("$schema", DIALECT)
    found.setdefault("$id", f"urn:pratique:schema:{name}-1")
    found.setdefault("title", f"pratique {name}")
    found.setdefault("description", DOCUMENTS[name].about)
    return found


# What commands print


def _scan() -> dict[str, Any]:
    from pratique.report.json import schema as made  # noqa: PLC0415 - only the one that is asked for

    return made()


def _scan_set() -> dict[str, Any]:
    one = _scan()
    reports = {"type": "array", "items": {"$ref": one["$ref"]}}
    name = "urn:pratique:schema:scan-set-1"
    return {
        "$id": name,
        "type": "object",
        "properties": {"schema": {"const": name}, "reports": reports},
        "required": ["schema", "reports"],
        "$defs": one["$defs"],
    }


def _explain() -> dict[str, Any]:
    from pratique.cli.explain import SCHEMA, Explanation  # noqa: PLC0415 - as above

    return {**msgspec.json.schema(Explanation), "$id": SCHEMA}


def _diff() -> dict[str, Any]:
    from pratique.report.diff.json import schema as made  # noqa: PLC0415 - as above

    return made()


def _policy_told() -> dict[str, Any]:
    return {**_printed("PolicyTold")(), "$id": "urn:pratique:schema:policy-explain-1"}


def _database_difference() -> dict[str, Any]:
    return {**_printed("DatabaseDifference", module=_DATABASE)(), "$id": "urn:pratique:schema:database-difference-1"}


def _ledger_line() -> dict[str, Any]:
    from pratique.store.line import Line  # noqa: PLC0415 - as above

    return msgspec.json.schema(Line)


def _printed(name: str, *, many: bool = False, module: str = "documents") -> Callable[[], dict[str, Any]]:
    """Return what makes the schema of a type of a module here, or of a list of it."""

    def make() -> dict[str, Any]:
        import importlib  # noqa: PLC0415 - as above

        kind: Any = getattr(importlib.import_module(f"pratique.cli.{module}"), name)
        return msgspec.json.schema(list.__class_getitem__(kind) if many else kind)

    return make


def _can() -> dict[str, Any]:
    from pratique.cli.documents import Answers, Overview  # noqa: PLC0415 - as above

    (answers, overview), parts = msgspec.json.schema_components((Answers, Overview), ref_template="#/$defs/{name}")
    return {"anyOf": [answers, overview], "$defs": parts}


# What people write


def _file(module: str, name: str) -> Callable[[], dict[str, Any]]:
    """Return what makes the schema of a kind of file."""

    def make() -> dict[str, Any]:
        import importlib  # noqa: PLC0415 - as above

        parts: dict[str, Any] = {}
        top = _written(getattr(importlib.import_module(module), name), parts)
        return {**top, "$defs": parts}

    return make


def _written(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type that is read from YAML, as `pratique._kit.written` reads it."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_written(one, parts) for one in typing.get_args(kind) if one is not types.NoneType]}
    if origin is tuple:
        item = _written(typing.get_args(kind)[0], parts)
        many = {"type": "array", "items": item}
        return many if "$ref" in item else {"anyOf": [many, item]}  # one word stands for a list of one
    if origin is Literal:
        return {"enum": list(typing.get_args(kind))}
    if issubclass(kind, Written):
        return _struct(kind, parts)
    return dict(_SCALARS[kind])


_SCALARS: dict[Any, dict[str, Any]] = {
    Duration: {"type": "string", "pattern": "^[0-9]{1,6}[smhdw]$"},
    Moment: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number"},
    str: {"type": ["string", "number", "boolean"]},  # a word is taken as it stands: a ticket 1234 needs no quotes
}


def _struct(kind: type[Written], parts: dict[str, Any]) -> dict[str, Any]:
    name = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
    reference = {"$ref": f"#/$defs/{name}"}
    if name in parts:
        return reference
    parts[name] = {}
    hints = typing.get_type_hints(kind)
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in _NOT_WRITTEN]
    parts[name] = {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "properties": {field.encode_name: _written(hints[field.name], parts) for field in fields},
        "required": [field.encode_name for field in fields if field.required],
        "additionalProperties": False,
    }
    return reference


DOCUMENTS: dict[str, Document] = {
    "scan": Document("scan and lint --format json: a report", _scan),
    "scan-set": Document("scan --all-platforms --format json: one report a platform", _scan_set),
    "explain": Document("explain --format json: why something is, or is not, reported", _explain),
    "diff": Document("diff --format json: what changed between two reports", _diff),
    "harden": Document("harden --format json: the least privileges of each container", _printed("Hardened", many=True)),
    "can": Document("can --format json: what somebody may do", _can),
    "grant": Document("grant request, approve, deny, revoke, ... and break-glass --format json: a grant", _printed("GrantOf")),
    "grant-list": Document("grant list --format json: grants", _printed("GrantOf", many=True)),
    "grant-key-list": Document("grant key list --format json: keys of approvers", _printed("KeyOf", many=True)),
    "grant-policy-check": Document("grant policy check --format json", _printed("PolicyChecked")),
    "learn": Document("learn --format json: a proposed privilege policy", _printed("Learnt")),
    "doctor": Document("doctor and gate kubernetes check --format json: the health of a gate", _printed("Health")),
    "audit-verify": Document("audit verify --format json: whether the ledger is whole", _printed("Verified")),
    "audit-line": Document("each line of audit show and audit tail --format json, and of the ledger's files", _ledger_line),
    "audit-head": Document("audit head: where the ledger ends, signed", _printed("Head")),
    "policy-explain": Document("policy explain --format json: which rules fired on what", _policy_told),
    "policy-simulate": Document(
        "policy simulate --format json: what a policy would have decided", _printed("Simulated", many=True)
    ),
    "policy-list": Document("policy list --format json: the rule sets that are shipped", _printed("RuleSet", many=True)),
    "waiver-list": Document("waiver list --format json: accepted risks", _printed("WaiverOf", many=True)),
    "db-status": Document("db status --format json: the advisory database", _printed("DatabaseStatus", module=_DATABASE)),
    "db-diff": Document("db diff --format json: what two states of the database differ in", _database_difference),
    "db-show": Document("db show --format json: what is known of a vulnerability", _printed("Shown", module=_DATABASE)),
    "db-search": Document("db search --format json: packages and advisories by name", _printed("Searched", module=_DATABASE)),
    "cache-status": Document("cache status --format json: the parts of the cache", _printed("CacheStatus")),
    "file-policy": Document("kind: Policy, by which images are judged", _file("pratique.policy.document", "Policy")),
    "file-policy-test": Document("kind: PolicyTest, cases of a policy", _file("pratique.policy.document", "PolicyTest")),
    "file-waivers": Document("kind: Waivers, accepted risks", _file("pratique.policy.document", "Waivers")),
    "file-privilege-policy": Document("kind: PrivilegePolicy, who may do what", _file("pratique.grant.document", "PolicyFile")),
    "file-admission": Document("kind: Admission, which images may run", _file("pratique.enforce.admissionfile", "AdmissionFile")),
    "file-registry-access": Document(
        "kind: RegistryAccess, who may read what in a registry", _file("pratique.enforce.registry.access", "AccessFile")
    ),
}
