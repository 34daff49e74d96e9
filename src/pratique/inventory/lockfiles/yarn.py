"""yarn.lock in, entries out: Yarn 1's own format and the YAML of later ones ("berry"), alike enough for one reader.

Both are blocks of a key line without indentation (the patterns that ask for the package, separated by commas) and indented
facts. Neither says which packages only developers need.

    Yarn 1   name@^1.0.0, name@npm:other@1:        later   "name@npm:^1.0.0":
               version "1.2.3"                               version: 1.2.3
               resolved "https://...#checksum"               resolution: "name@npm:1.2.3"

https://classic.yarnpkg.com/lang/en/docs/yarn-lock/ https://yarnpkg.com/configuration/manifest
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

from pratique.inventory.digests import integrity
from pratique.inventory.lockfiles.documents import BOM
from pratique.inventory.lockfiles.entries import MAX_NEEDS, SHOWN, Entries, from_git
from pratique.inventory.lockfiles.npm import enter

_FACTS = ("version", "resolved", "resolution", "integrity")
_GROUPS = ("dependencies", "optionalDependencies")
HEAD = 4_096  # bytes in which a later Yarn's file says __metadata
_LOCAL = ("file:", "link:", "portal:", "workspace:", "exec:", "./", "../", "/")
_REPOSITORY = ("git+", "git:", "git@", "ssh:")
# What Yarn writes for a project without a version of its own.
_NO_VERSION = "0.0.0-use.local"


def read(data: bytes, entries: Entries) -> None:
    """Enter the packages of a yarn.lock. A block without version is a Gap: the last one means a cut file."""
    blocks = list(_blocks(data.removeprefix(BOM).decode().replace("\r\n", "\n")))
    berry = b"\n__metadata:" in b"\n" + data[:HEAD]
    named: dict[str, str] = {}
    for block in blocks:
        for pattern in block.key.split(","):
            named[pattern.strip().strip('"')] = _named(block, berry=berry)
    for number, block in enumerate(blocks):
        if _enter(block, named, entries, berry=berry):
            continue
        if number < len(blocks) - 1:
            entries.invalid(f"the entry of {block.key[:SHOWN]} has no version")
        else:
            entries.truncated(f"the file ends within the entry of {block.key[:SHOWN]}")


class _Block(NamedTuple):
    """One entry: its patterns, its facts, and the patterns of what it needs."""

    key: str
    facts: dict[str, str]
    needs: list[str]


def _blocks(text: str) -> Iterator[_Block]:
    block, group = _Block("", {}, []), ""
    for line in text.split("\n"):
        if line.startswith("    ") and group in _GROUPS:
            name, wanted = _fact(line)
            block.needs.append(f"{name}@{wanted}")
        elif line.startswith("  ") and not line.startswith("   "):
            name, value = _fact(line)
            group = name
            if name in _FACTS:
                block.facts[name] = value
        elif line and line[0] not in " #" and line != ":":  # the second half of a long key: "? KEY", newline, ":"
            if block.key:
                yield block
            block, group = _Block(line.removeprefix("? ").rstrip().removesuffix(":"), {}, []), ""
    if block.key:
        yield block


def _named(block: _Block, *, berry: bool) -> str:
    """Return name and version of an entry, as `name@version`."""
    name, wanted = _split(block.key.split(",", 1)[0].strip().strip('"'))
    if berry:
        name = _split(block.facts.get("resolution", ""))[0]
    elif wanted.startswith("npm:"):
        name = _split(wanted[4:])[0]
    return f"{name}@{block.facts.get('version', '')}"


def _fact(line: str) -> tuple[str, str]:
    """Split `name "value"` or `name: value`; a value whose quote is not closed was cut off."""
    name, _, value = line.strip().partition(" ")
    value = value.strip()
    if value.startswith('"'):
        value = value[1:-1] if len(value) > 1 and value.endswith('"') else ""
    return name.removesuffix(":").strip('"'), value


def _enter(block: _Block, named: dict[str, str], entries: Entries, *, berry: bool) -> bool:
    """Enter one block; False where it does not say which package in which version it is."""
    first, facts = block.key.split(",", 1)[0].strip().strip('"'), block.facts
    if first == "__metadata":
        return True
    version, resolution = facts.get("version", ""), facts.get("resolution", "")
    if not version or (berry and not resolution):
        return False
    more: dict[str, Any] = {"depends": [named.get(need, need) for need in block.needs[:MAX_NEEDS]]}
    if berry:
        _berry(resolution, version, entries, more)
    else:
        _classic(first, version, facts.get("resolved", ""), entries, more | {"hashes": integrity(facts.get("integrity", ""))})
    return True


def _classic(pattern: str, version: str, resolved: str, entries: Entries, more: dict[str, Any]) -> None:
    name, wanted = _split(pattern)
    if wanted.startswith(_LOCAL) and not resolved:
        return
    if wanted.startswith("npm:"):
        name = _split(wanted[4:])[0]
    url, _, commit = resolved.partition("#")
    remote = url.startswith(_REPOSITORY) or (url.endswith(".git") and "://" in url)
    enter(entries, name, version, qualifiers=from_git(url, commit) if remote else (), **more)


def _berry(resolution: str, version: str, entries: Entries, more: dict[str, Any]) -> None:
    name, reference = _split(resolution)
    protocol = reference.partition(":")[0]
    if protocol == "workspace":
        if version != _NO_VERSION:
            enter(entries, name, version, role="main", **more)
        return
    if reference.startswith(_LOCAL):
        return
    if protocol == "patch":
        # name@patch:name@npm%3A1.2.3#...: the same package with local changes, known by the version that was changed.
        name = _split(unquote(reference[6:].partition("#")[0]))[0]
    url, _, commit = reference.partition("#")
    remote = commit.startswith("commit=") or url.startswith(_REPOSITORY)
    qualifiers = from_git(url, commit.partition("&")[0].removeprefix("commit=")) if remote else ()
    enter(entries, name, version, qualifiers=qualifiers, **more)


def _split(pattern: str) -> tuple[str, str]:
    """Split name@range; the @ of a scope does not count."""
    at = pattern.find("@", 1)
    return (pattern, "") if at < 0 else (pattern[:at], pattern[at + 1 :])
