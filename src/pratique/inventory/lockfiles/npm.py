"""npm's package-lock.json and npm-shrinkwrap.json in, entries out. Versions 1 to 3 of the format.

Version 1 nests `dependencies`; version 3 has a flat `packages` keyed by the folder that npm would make; version 2 has both, and
`packages` is the one that npm reads.

https://docs.npmjs.com/cli/configuring-npm/package-lock-json
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.inventory.digests import integrity
from pratique.inventory.lockfiles.documents import BOM
from pratique.inventory.lockfiles.entries import MAX_NEEDS, Entries, from_git, licenses_of
from pratique.model.errors import ParseError

_FOLDER = "node_modules/"
MAX_FOLDERS = 64  # node_modules inside of each other; real ones are some ten deep
_LOCAL = ("file:", "link:", "workspace:", "portal:")
_REMOTE = re.compile(r"^(?:git|https?|ssh|github:|gitlab:|bitbucket:|gist:|[^@/:]+/[^@/:]+(?:#|$))")
_REPOSITORY = ("git+", "git:", "git@", "ssh:", "github:", "gitlab:", "bitbucket:", "gist:")


class _Package(msgspec.Struct):
    name: str | None = None
    version: str | None = None
    resolved: Any = None
    link: Any = None
    dev: Any = None
    license: Any = None
    integrity: Any = None
    dependencies: Any = None
    optional: Any = msgspec.field(default=None, name="optionalDependencies")
    peer: Any = msgspec.field(default=None, name="peerDependencies")


class _Dependency(msgspec.Struct):
    version: str | None = None
    dev: Any = None
    dependencies: dict[str, _Dependency] | None = None


class _Lock(msgspec.Struct):
    name: str | None = None
    version: str | None = None
    packages: dict[str, _Package] | None = None
    dependencies: dict[str, _Dependency] | None = None


_DECODER = msgspec.json.Decoder(_Lock)


def read(data: bytes, entries: Entries) -> None:
    """Enter the packages of an npm lock file. Raises ValueError (no such JSON), ParseError."""
    lock = _DECODER.decode(data.removeprefix(BOM))
    if lock.packages is not None:
        for folder, package in lock.packages.items():
            _package(folder, package, lock, entries)
        return
    if lock.dependencies is None and lock.name is None:
        raise ParseError("no packages in an npm lock file")
    if lock.name and lock.version:
        enter(entries, lock.name, lock.version, role="main")
    waiting = [lock.dependencies or {}]
    while waiting:
        for name, dependency in waiting.pop().items():
            _dependency(name, dependency, entries)
            if dependency.dependencies:
                waiting.append(dependency.dependencies)


def _package(folder: str, package: _Package, lock: _Lock, entries: Entries) -> None:
    if package.link:
        return  # the folder that it points to has an entry of its own
    at = folder.rfind(_FOLDER)
    if at < 0:
        # The project itself, a member of its work space, or a folder that it depends on: not from a registry.
        name = package.name or ("" if folder else lock.name) or ""
        version = package.version or ("" if folder else lock.version) or ""
        if name and version:
            needs = _needs(folder, package, lock.packages or {})
            enter(entries, name, version, role="main", licenses=licenses_of(package.license), depends=needs)
        return
    name = package.name or folder[at + len(_FOLDER) :]
    resolved = package.resolved if isinstance(package.resolved, str) else ""
    if package.version is None:
        if not resolved.startswith(_LOCAL):
            entries.unresolved(name, "the lock file states no version")
        return
    url, _, commit = resolved.partition("#")
    qualifiers = from_git(url, commit) if url.startswith(_REPOSITORY) else ()
    role = "dev" if package.dev is True else ""
    enter(
        entries,
        name,
        package.version,
        role=role,
        licenses=licenses_of(package.license),
        qualifiers=qualifiers,
        depends=_needs(folder, package, lock.packages or {}),
        hashes=integrity(package.integrity),
    )


def _needs(folder: str, package: _Package, packages: dict[str, _Package]) -> Iterator[str]:
    """Yield what a package needs, as `name@version`, from where Node would find it; what is optional only if it is there."""
    for group, weak in ((package.dependencies, False), (package.optional, True), (package.peer, True)):
        for name in list(group)[:MAX_NEEDS] if isinstance(group, dict) else ():
            found = _resolve(folder, name, packages)
            if found is not None and found.version:
                yield f"{found.name or name}@{found.version.lstrip('=v ') or found.version}"
            elif not weak and name not in (package.optional or ()):
                yield name


def _resolve(folder: str, name: str, packages: dict[str, _Package]) -> _Package | None:
    for _ in range(MAX_FOLDERS):
        found = packages.get(f"{folder}/{_FOLDER}{name}" if folder else f"{_FOLDER}{name}")
        if found is not None or not folder:
            return found
        folder = folder[: max(folder.rfind(f"/{_FOLDER}"), 0)]
    return None


def _dependency(name: str, dependency: _Dependency, entries: Entries) -> None:
    version = dependency.version
    if version is None:
        entries.unresolved(name, "the lock file states no version")
        return
    if version.startswith("npm:"):
        name, _, version = version[4:].rpartition("@")
    if version.startswith(_LOCAL):
        return
    if _REMOTE.match(version):
        entries.unresolved(name, f"it comes from {version[:120]}, and this version of the format does not state its version")
        return
    enter(entries, name, version, role="dev" if dependency.dev is True else "")


def enter(entries: Entries, name: str, version: str, **more: Any) -> None:
    """Enter a package by its full name: a scope is the namespace, with its @."""
    scope, _, short = name.partition("/") if name.startswith("@") else ("", "", name)
    if "/" in short:
        entries.invalid(f"no name of a Node package: {name[:80]!r}")
        return
    entries.add(short, version.lstrip("=v ") or version, namespace=scope, **more)
