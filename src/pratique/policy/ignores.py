"""Ignore files of other scanners in, waivers out, and what was left out because it cannot be said as narrowly here.

https://trivy.dev/latest/docs/configuration/filtering/ and https://github.com/anchore/grype#specifying-matches-to-ignore.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from pratique._kit.moments import moment, written
from pratique._kit.text import decode, parse
from pratique._kit.yamltree import Node
from pratique.policy.document import Moment, Waiver

NAMES = (".trivyignore", ".trivyignore.yaml", ".grype.yaml")
MAX_ENTRIES = 20_000  # an ignore file with more is not kept by people

_EXPIRES = re.compile(r"exp:(\S+)")
_TRIVY_CHECK = re.compile(r"(?:AVD-)?(DS|KSV)-?(\d{3,4})", re.IGNORECASE)  # as our checks name those of Trivy that they cover
_PLAIN_NAME = re.compile(r"[\w@/.:+~-]+(?:\.\*)?")
# Grype's package types: https://github.com/anchore/syft/blob/main/syft/pkg/type.go
_TYPES = {
    "deb": "deb/*/", "apk": "apk/*/", "rpm": "rpm/*/", "npm": "npm/", "python": "pypi/", "gem": "gem/", "go-module": "golang/",
    "java-archive": "maven/*/", "rust-crate": "cargo/", "php-composer": "composer/", "dotnet": "nuget/",
}  # fmt: skip
_GRYPE_KNOWN = frozenset(("vulnerability", "include-aliases", "reason", "fix-state", "package"))
_GRYPE_PACKAGE = frozenset(("name", "version", "type", "location"))
_UNFIXED = frozenset(("not-fixed", "wont-fix", "unknown"))


class Ignored(NamedTuple):
    """Waivers of one file, and a sentence for each entry that was left out."""

    name: str
    waivers: list[Waiver]
    left_out: list[str]


def read_ignores(name: str, content: bytes) -> Ignored:
    """Read one of NAMES; `name` ends with it. Raises PolicyError."""
    found = Ignored(name, [], [])
    if name.endswith(".trivyignore"):
        _trivy_lines(found, decode(name, content).content)
        return found
    root = parse(decode(name, content))
    if root.kind == "map":
        (_grype if name.endswith(".grype.yaml") else _trivy_yaml)(found, root)
    return found


def _waiver(found: Ignored, line: int, **scope: Any) -> None:
    if len(found.waivers) >= MAX_ENTRIES:
        found.left_out.append(f"line {line}: more than {MAX_ENTRIES} entries")
        return
    reason = scope.pop("reason", "") or f"ignored in {found.name}"
    expires = scope.pop("expires", Moment(""))
    names = scope.get("vulnerability", ())
    checks = (_TRIVY_CHECK.fullmatch(name) for name in names)
    names = (*names, *(f"Trivy {match[1].upper()}-{int(match[2]):04}" for match in checks if match))
    if names:
        scope["vulnerability"] = names
    number = f"{found.name.rpartition('/')[2]}:{line}"
    found.waivers.append(Waiver(id=number, owner="", reason=reason, expires=expires, legacy=True, **scope))


def _expiry(text: str) -> Moment | None:
    try:
        return Moment(written(moment(text)))
    except ValueError:
        return None


def _trivy_lines(found: Ignored, content: str) -> None:
    for line, row in enumerate(content.splitlines(), 1):
        words = row.partition("#")[0].split()
        if not words:
            continue
        match = _EXPIRES.fullmatch(words[1]) if len(words) == 2 else None
        expires = _expiry(match[1]) if match else Moment("")
        if len(words) > 2 or (len(words) == 2 and match is None) or expires is None:
            found.left_out.append(f"line {line}: not understood")
            continue
        _waiver(found, line, vulnerability=(words[0],), expires=expires)


def _trivy_yaml(found: Ignored, root: Node) -> None:
    for name, entries in root.members():
        known = name in ("vulnerabilities", "misconfigurations", "secrets", "licenses")
        if not known or entries.kind != "list":
            found.left_out.append(f"line {root.at(name).line}: {name[:40]!r} is not understood")
            continue
        for entry in entries.items:
            _trivy_entry(found, entry)


def _trivy_entry(found: Ignored, entry: Node) -> None:
    fields = dict(entry.members())
    line = entry.place.line
    unknown = sorted(set(fields) - {"id", "paths", "statement", "expired_at", "purls"})
    name = _text(fields.get("id"))
    expires = _expiry(_text(fields.get("expired_at"))) if "expired_at" in fields else Moment("")
    if not name or unknown or expires is None:
        why = f"{unknown[0]!r} is not understood" if unknown else "no id" if not name else "expired_at is no date"
        found.left_out.append(f"line {line}: {why}")
        return
    reason = _text(fields.get("statement"))
    for path in _texts(fields.get("paths")) or [""]:
        for purl in _texts(fields.get("purls")) or [""]:
            _waiver(found, line, vulnerability=(name,), path=path, package=purl, reason=reason, expires=expires)


def _text(node: Node | None) -> str:
    return node.text if node is not None and node.kind == "text" else ""


def _texts(node: Node | None) -> list[str]:
    if node is None:
        return []
    return [_text(item) for item in node] if node.kind == "list" else [node.text] if node.kind == "text" else []


def _grype(found: Ignored, root: Node) -> None:
    for entry in root.get("ignore"):
        why = _grype_entry(found, entry)
        if why:
            found.left_out.append(f"line {entry.place.line}: {why}")


def _grype_entry(found: Ignored, entry: Node) -> str:
    """Add a waiver for a rule, or say why not: without a part that is not understood it would cover more than was meant."""
    if entry.kind != "map":
        return "not a rule"
    fields = dict(entry.members())
    unknown = sorted(set(fields) - _GRYPE_KNOWN)
    if unknown:
        return f"{unknown[0]!r} cannot be said here"
    state = _text(fields.get("fix-state"))
    if state and state not in _UNFIXED:
        return f"fix-state {state!r} cannot be said here"
    parts = {name: _text(value) for name, value in entry.get("package").members()}
    odd = sorted(set(parts) - _GRYPE_PACKAGE)
    if odd:
        return f"package.{odd[0]} cannot be said here"
    pattern = _grype_package(parts)
    name = _text(fields.get("vulnerability"))
    if pattern is None:
        return "its package cannot be said here"
    if not (name or pattern or parts.get("location")):
        return "it covers all without a fix: ask for finding.fixable in a policy" if state else "it covers everything"
    _waiver(
        found,
        entry.place.line,
        vulnerability=(name,) if name else (),
        package=pattern,
        path=parts.get("location", ""),
        until=("fix-available",) if state else (),
        reason=_text(fields.get("reason")),
    )
    return ""


def _grype_package(parts: dict[str, str]) -> str | None:
    """Return a pattern for name, version and type; None where they cannot be said as narrowly."""
    name, version, kind = parts.get("name", ""), parts.get("version", ""), parts.get("type", "")
    if not name:
        of_type = _TYPES.get(kind, "") if not version else ""
        return f"pkg:{of_type}*" if of_type else None if version or kind else ""
    if not _PLAIN_NAME.fullmatch(name):
        return None
    name = name.removesuffix(".*") + "*" if name.endswith(".*") else name
    if not kind:
        return None if version else name
    place = _TYPES.get(kind)
    return None if place is None else f"pkg:{place}{name}" + (f"@{version}" if version else "")
