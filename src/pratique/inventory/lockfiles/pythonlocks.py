"""Lock files of Poetry, uv, PDM, Pipenv and PEP 751 in, entries out.

All but Pipenv's are TOML with a list of packages. What only developers need is said in a different way by each: Poetry by
category (1.1) or groups (2.1), PDM by groups, Pipenv by section, uv by its graph, PEP 751 and Poetry's 2.0 not at all.

https://python-poetry.org/docs/ https://docs.astral.sh/uv/ https://pdm-project.org/ https://pipenv.pypa.io/
https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from pratique.inventory.digests import hexadecimal
from pratique.inventory.lockfiles.documents import json_object, record, records, text, toml
from pratique.inventory.lockfiles.entries import Entries, from_git
from pratique.inventory.lockfiles.graph import reached
from pratique.inventory.lockfiles.requirements import normal
from pratique.model.errors import ParseError
from pratique.model.inventory import Checksum

# PDM does not say which of its groups are for developers and which are extras of the project. Only these names are taken as the
# former: an extra that is passed off as a development tool could hide from a policy.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DEV_GROUPS = frozenset(("dev", "develop", "development", "test", "tests", "testing", "lint", "docs", "doc", "typing", "ci"))
_HERE = ("virtual", "editable", "directory")


def poetry(data: bytes, entries: Entries) -> None:
    """Enter the packages of a poetry.lock. Raises ParseError, ValueError."""
    for package in _packages(toml(data), "package"):
        source = record(package, "source")
        if text(source, "type") == "directory":
            continue
        groups = _texts(package.get("groups"))
        dev = "main" not in groups if groups else text(package, "category") == "dev"
        git = text(source, "type") == "git"
        commit = text(source, "resolved_reference") or text(source, "reference")
        _enter(package, entries, "dev" if dev else "", from_git(text(source, "url"), commit) if git else ())


def pdm(data: bytes, entries: Entries) -> None:
    """Enter the packages of a pdm.lock. Raises ParseError, ValueError."""
    for package in _packages(toml(data), "package"):
        path = text(package, "path")
        if path and not path.endswith((".whl", ".gz", ".zip")):
            continue
        groups = _texts(package.get("groups"))
        dev = bool(groups) and DEV_GROUPS.issuperset(groups)
        git = text(package, "git")
        _enter(package, entries, "dev" if dev else "", from_git(git, text(package, "revision")) if git else ())


def uv(data: bytes, entries: Entries) -> None:
    """Enter the packages of a uv.lock; projects of the work space, which are the roots of its graph, are "main"."""
    lock = toml(data)
    packages = _packages(lock, "package")
    dev = _only_dev(packages, lock)
    for package in packages:
        source = record(package, "source")
        if any(kind in source for kind in _HERE):
            if text(package, "version"):
                _enter(package, entries, "main")
            continue
        url, _, commit = text(source, "git").partition("#")
        role = "dev" if text(package, "name") in dev else ""
        _enter(package, entries, role, from_git(url.partition("?")[0], commit) if url else ())


def _only_dev(packages: list[dict[str, Any]], lock: dict[str, Any]) -> set[str]:
    edges: dict[str, list[str]] = {}
    shipped: list[str] = []
    tools = [name for group in record(record(lock, "manifest"), "dependency-groups").values() for name in _names(group)]
    for package in packages:
        name = text(package, "name")
        wanted = edges.setdefault(name, [])
        wanted += _names(package.get("dependencies"))
        for extra in record(package, "optional-dependencies").values():
            wanted += _names(extra)
        source = record(package, "source")
        if "virtual" in source or "editable" in source:
            shipped.append(name)
            tools += [one for group in record(package, "dev-dependencies").values() for one in _names(group)]
    return reached(tools, edges) - reached(shipped, edges)


def pylock(data: bytes, entries: Entries) -> None:
    """Enter the packages of a pylock.toml (PEP 751). A source tree or repository need not state a version: that is a Gap."""
    lock = toml(data)
    if not text(lock, "lock-version"):
        raise ParseError("a pylock.toml without lock-version")
    for package in _packages(lock, "packages"):
        if "directory" in package:
            continue
        source = record(package, "vcs")
        git = from_git(text(source, "url"), text(source, "commit-id")) if text(source, "type") == "git" else ()
        _enter(package, entries, "", git)


def pipenv(data: bytes, entries: Entries) -> None:
    """Enter the packages of a Pipfile.lock: `default`, `develop` and sections of the project's own naming."""
    lock = json_object(data)
    if "_meta" not in lock:
        raise ParseError("a Pipfile.lock without _meta")
    for section, packages in lock.items():
        if section == "_meta" or not isinstance(packages, dict):
            continue
        role = "dev" if section == "develop" or section in DEV_GROUPS else ""
        for name, package in packages.items():
            version = text(package, "version")
            git = text(package, "git")
            if version.startswith("=="):
                entries.add(
                    normal(name), version.lstrip("= "), role=role, qualifiers=from_git(git, text(package, "ref")) if git else ()
                )
            elif git or text(package, "file"):
                entries.unresolved(
                    name, f"it comes from {(git or text(package, 'file'))[:120]}, which does not state its version"
                )
            elif not text(package, "path"):
                entries.unpinned(name, version)


READERS: dict[str, Callable[[bytes, Entries], None]] = {
    "poetry.lock": poetry,
    "pdm.lock": pdm,
    "uv.lock": uv,
    "Pipfile.lock": pipenv,
}


def _packages(lock: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the packages; a lock without any still has its head, so a file with neither is none."""
    if key not in lock and not any(head in lock for head in ("metadata", "version", "lock-version")):
        raise ParseError("neither packages nor the head of a lock file")
    return records(lock, key)


def _enter(package: dict[str, Any], entries: Entries, role: str, qualifiers: tuple[tuple[str, str], ...] = ()) -> None:
    name, version = text(package, "name"), text(package, "version")
    if name and not version:
        entries.unresolved(name, "the lock file states no version")
    else:
        entries.add(normal(name), version, role=role, qualifiers=qualifiers, depends=_needs(package), hashes=_hash(package))


def _needs(package: dict[str, Any]) -> list[str]:
    """Return the names of what a package needs: a table of them (Poetry), requirements (PDM) or tables (uv, PEP 751)."""
    stated = package.get("dependencies")
    if isinstance(stated, dict):
        return ["?" * _optional(facts) + normal(name) for name, facts in stated.items()]
    texts = [one if isinstance(one, str) else text(one, "name") for one in stated] if isinstance(stated, list) else []
    found = [(_NAME.match(one), ";" in one) for one in texts]
    return ["?" * weak + normal(name[0]) for name, weak in found if name is not None]


def _optional(facts: Any) -> bool:
    """Say whether a need of Poetry's depends on an extra or a marker."""
    every = facts if isinstance(facts, list) else [facts]
    return all(isinstance(one, dict) and (one.get("optional") is True or "markers" in one) for one in every)


def _hash(package: dict[str, Any]) -> tuple[Checksum, ...]:
    """Return the digest of the only archive that a lock lists; of several, nobody can say which one was installed."""
    listed = [*records(package, "files"), *records(package, "wheels")]
    listed += [one for one in (package.get("sdist"), package.get("archive")) if isinstance(one, dict)]
    if len(listed) != 1:
        return ()
    stated = (
        text(listed[0], "hash").partition(":")
        if "hash" in listed[0]
        else ("sha256", "", text(record(listed[0], "hashes"), "sha256"))
    )
    return hexadecimal(stated[0], stated[2])


def _names(dependencies: Any) -> Iterable[str]:
    return [text(one, "name") for one in dependencies] if isinstance(dependencies, list) else ()


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
