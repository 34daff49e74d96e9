"""pnpm-lock.yaml in, entries out. Versions 5 (pnpm 3 to 7), 6 (pnpm 8) and 9 (pnpm 9 and later) of the format.

Keys of `packages` name a package and its version, with the peers that it was resolved for behind:

    5   /name/1.2.3_peer@1.0.0    /@scope/name/1.2.3      registry.host/name/1.2.3
    6   /name@1.2.3(peer@1.0.0)   /@scope/name@1.2.3
    9    name@1.2.3                @scope/name@1.2.3      with peers only in `snapshots`

What comes from elsewhere has a key of its own making and states `name` and `version` inside. Versions 5 and 6 mark what only
developers need; version 9 leaves it to the graph.

https://github.com/pnpm/spec/tree/master/lockfile
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pratique.inventory.digests import integrity
from pratique.inventory.lockfiles.documents import record, text, yaml_mappings
from pratique.inventory.lockfiles.entries import SHOWN, Entries, from_git
from pratique.inventory.lockfiles.graph import reached
from pratique.inventory.lockfiles.npm import enter
from pratique.model.errors import ParseError

_PRODUCTION = ("dependencies", "optionalDependencies")


def read(data: bytes, entries: Entries) -> None:
    """Enter the packages of a pnpm-lock.yaml. Raises ParseError."""
    # pnpm 11 writes what it needs itself into a document of its own, before the project's.
    for lock in yaml_mappings(data):
        _document(lock, entries)


def _document(lock: dict[str, Any], entries: Entries) -> None:
    version = text(lock, "lockfileVersion")
    if not version:
        raise ParseError("a pnpm lock file without lockfileVersion")
    packages = record(lock, "packages")
    dev = None
    whole: dict[str, Any] = {}
    if not version.startswith(("5", "6")):
        dev = _only_dev(lock)
        # Each package has a snapshot, and all snapshots follow the last package.
        whole = {key.partition("(")[0]: facts for key, facts in record(lock, "snapshots").items()}
        missing = next((key for key in packages if key not in whole), None)
        if missing is not None:
            entries.truncated(f"{missing[:SHOWN]} has no snapshot, so the file ends too early")
    for key, facts in packages.items():
        package = facts if isinstance(facts, dict) else {}
        only_dev = text(package, "dev") == "true" if dev is None else key in dev
        needed = package if dev is None else whole.get(key, {})
        _package(key, package, needed, slashes=version.startswith("5"), role="dev" if only_dev else "", entries=entries)


def _package(key: str, package: dict[str, Any], needed: dict[str, Any], *, slashes: bool, role: str, entries: Entries) -> None:
    resolution = record(package, "resolution")
    if key.startswith(("file:", "link:")) or text(resolution, "type") == "directory":
        return
    name, version = split_key(key, slashes=slashes)
    name, version = text(package, "name") or name, text(package, "version") or version
    if version.startswith(("file:", "link:")) and not text(package, "version"):
        return
    if not name or not version or ":" in version or "/" in version:
        entries.unresolved(name or key, "it comes from no registry, and the lock file does not state its version")
        return
    repository = text(resolution, "repo")
    qualifiers = from_git(repository, text(resolution, "commit")) if repository else ()
    hashes = integrity(text(resolution, "integrity"))
    enter(entries, name, version, role=role, qualifiers=qualifiers, depends=_needs(needed, slashes=slashes), hashes=hashes)


def _needs(facts: dict[str, Any], *, slashes: bool) -> Iterator[str]:
    """Yield what a package or snapshot needs; a value is a version with its peers, or a whole key for an alias."""
    for group in _PRODUCTION:
        for name, stated in record(facts, group).items():
            if isinstance(stated, str):
                aliased, version = split_key(stated, slashes=slashes) if stated.startswith("/") else ("", "")
                plain = stated.partition("(")[0] if not slashes else stated.partition("_")[0]
                at = plain.find("@", 1)
                yield f"{aliased}@{version}" if aliased else plain if at > 0 else f"{name}@{plain}"


def split_key(key: str, *, slashes: bool) -> tuple[str, str]:
    """Split a key of `packages` into name and version, without peers; ("", "") where it is none of a registry's package."""
    path = key.partition("(")[0]
    if slashes:
        host, _, path = path.partition("/")
        parts = path.split("/")
        last = 2 if parts[0].startswith("@") else 1
        if len(parts) != last + 1 or not parts[last][:1].isdigit() or host.startswith(("github.com", "git", "bitbucket")):
            return "", ""
        return "/".join(parts[:last]), parts[last].partition("_")[0]
    path = path.removeprefix("/")
    at = path.find("@", 1)
    return (path[:at], path[at + 1 :]) if at > 0 else ("", "")


def _only_dev(lock: dict[str, Any]) -> set[str]:
    """Return the keys of packages that are reached from development dependencies and from nothing else."""
    snapshots = record(lock, "snapshots")
    edges = {key: list(_wanted(facts, _PRODUCTION, snapshots)) for key, facts in snapshots.items()}
    production: list[str] = []
    development: list[str] = []
    for importer in record(lock, "importers").values():
        production += _wanted(importer, _PRODUCTION, snapshots)
        development += _wanted(importer, ("devDependencies",), snapshots)
    shipped = {key.partition("(")[0] for key in reached(production, edges)}
    return {key.partition("(")[0] for key in reached(development, edges)} - shipped


def _wanted(facts: Any, groups: tuple[str, ...], snapshots: dict[str, Any]) -> Iterator[str]:
    """Yield the snapshots that an importer or another snapshot wants."""
    for group in groups:
        for name, stated in record(facts, group).items():
            version = stated if isinstance(stated, str) else text(stated, "version")
            key = f"{name}@{version}"
            yield key if key in snapshots else version  # an alias has the whole key as its version
