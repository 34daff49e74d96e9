"""bun.lock in, entries out: JSON with trailing commas, since Bun 1.2. The binary bun.lockb before it becomes a Gap.

`packages` maps where a package stands (`name`, or `parent/name` where versions differ) to a list: first name@version, then for
registries the registry, the facts and the checksum, for others the facts.

https://bun.com/docs/pm/lockfile
"""

from __future__ import annotations

import re
from typing import Any

from pratique.inventory.digests import integrity
from pratique.inventory.lockfiles.documents import json_object, record
from pratique.inventory.lockfiles.entries import SHOWN, Entries
from pratique.inventory.lockfiles.graph import reached
from pratique.inventory.lockfiles.npm import enter
from pratique.model.errors import ParseError

# A text is taken whole (also one that never ends, so that no place is tried twice), a comma only before a closing bracket.
_COMMA = re.compile(rb'("(?:[^"\\]++|\\.?)*+"?)|,(?=[\s]*+[}\]])|//[^\n]*+', re.DOTALL)
_PRODUCTION = ("dependencies", "optionalDependencies", "peerDependencies")
_LOCAL = ("workspace:", "file:", "link:", "root:", ".", "/")


def read(data: bytes, entries: Entries) -> None:
    """Enter the packages of a bun.lock. Raises ParseError, ValueError (no JSON)."""
    lock = json_object(_COMMA.sub(lambda found: found[1] or b"", data))
    if "lockfileVersion" not in lock:
        raise ParseError("a Bun lock file without lockfileVersion")
    packages = record(lock, "packages")
    edges = _edges(packages)
    dev = _only_dev(record(lock, "workspaces"), packages, edges)
    for workspace in record(lock, "workspaces").values():
        if isinstance(workspace, dict) and isinstance(workspace.get("name"), str) and isinstance(workspace.get("version"), str):
            enter(entries, workspace["name"], workspace["version"], role="main")
    for place, row in packages.items():
        stated = row[0] if isinstance(row, list) and row and isinstance(row[0], str) else ""
        at = stated.find("@", 1)
        if at < 0:
            entries.invalid(f"no package at {place[:SHOWN]}")
            continue
        name, version = stated[:at], stated[at + 1 :]
        if version.startswith(_LOCAL):
            continue
        if ":" in version or "/" in version:
            entries.unresolved(name, f"it comes from {version[:120]}, and the lock file does not state its version")
            continue
        hashes = integrity(row[-1]) if isinstance(row, list) else ()
        needs = [needed for other in edges.get(place, ()) if (needed := _named(packages.get(other)))]
        enter(entries, name, version, role="dev" if place in dev else "", depends=needs, hashes=hashes)


def _named(row: Any) -> str:
    return row[0] if isinstance(row, list) and row and isinstance(row[0], str) else ""


def _edges(packages: dict[str, Any]) -> dict[str, list[str]]:
    """Return the places of what each place needs."""
    edges: dict[str, list[str]] = {}
    for place, row in packages.items():
        facts = next((part for part in row if isinstance(part, dict)), {}) if isinstance(row, list) else {}
        edges[place] = [
            found
            for group in _PRODUCTION
            for name in record(facts, group)
            if (found := _place(place, name, packages)) is not None
        ]
    return edges


def _only_dev(workspaces: dict[str, Any], packages: dict[str, Any], edges: dict[str, list[str]]) -> set[str]:
    """Return the places that are reached from development dependencies and from nothing else."""
    production: list[str] = []
    development: list[str] = []
    for workspace in workspaces.values():
        home = workspace.get("name", "") if isinstance(workspace, dict) else ""
        for group in (*_PRODUCTION, "devDependencies"):
            places = [_place(str(home), name, packages) for name in record(workspace, group)]
            (development if group == "devDependencies" else production).extend(place for place in places if place is not None)
    return reached(development, edges) - reached(production, edges)


def _place(place: str, name: str, packages: dict[str, Any]) -> str | None:
    """Return where `name` is found for the package at `place`: below it, below its parents, at the top."""
    while place:
        below = f"{place}/{name}"
        if below in packages:
            return below
        place = place.rpartition("/")[0]
    return name if name in packages else None
