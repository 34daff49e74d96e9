"""Bundler's Gemfile.lock (or gems.locked) in, declared gems out.

    GEM                              a section a source: GEM (a registry), GIT, PATH (the project's own), PLUGIN SOURCE
      remote: https://rubygems.org/
      specs:
        nokogiri (1.15.0-x86_64-linux)   four blanks: a gem, its version, its platform behind a hyphen
          racc (~> 1.4)                  six: what it needs

A gem locked for several platforms is one package: they share version and source. Which gems only developers need is not in it.

https://bundler.io/man/bundle-lock.1.html
"""

from __future__ import annotations

from pratique.inventory.lockfiles.documents import BOM
from pratique.inventory.lockfiles.entries import SHOWN, Entries, LockInspector, from_git
from pratique.model.errors import ParseError
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_BYTES = 8 * MEBIBYTE  # the lock of a large Rails application (600 gems) is 60 KB

_SOURCES = ("GEM", "GIT", "PATH", "PLUGIN SOURCE")
_TAIL = "DEPENDENCIES"


def _read(file: File, entries: Entries) -> None:
    section, remote, revision, gem = "", "", "", ""
    needs: dict[str, list[str]] = {}
    gems: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    seen: set[str] = set()
    for line in file.read().removeprefix(BOM).decode().replace("\r\n", "\n").split("\n"):
        if line[:1] not in ("", " "):
            if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
                raise ParseError("an unfinished merge")
            section, remote, revision = line.rstrip(), "", ""
            seen.add(section)
        elif section in ("GEM", "GIT", "PLUGIN SOURCE"):
            if line.startswith("    ") and line[4:5] not in ("", " "):
                gem = line.strip()
                gems.append((gem, from_git(remote, revision) if section == "GIT" else ()))
            elif line.startswith("      ") and gem:
                needs.setdefault(gem, []).append(line.strip().partition(" ")[0].removesuffix("!"))
            elif line.startswith("  remote: "):
                remote = line[10:].strip()
            elif line.startswith("  revision: "):
                revision = line[12:].strip()
    for gem, qualifiers in gems:
        _gem(gem, qualifiers, needs.get(gem, []), entries)
    if not seen.intersection(_SOURCES) and _TAIL not in seen:
        raise ParseError("neither sources nor dependencies in a Gemfile.lock")
    if _TAIL not in seen:
        entries.truncated(f"the file ends before {_TAIL}")


def _gem(line: str, qualifiers: tuple[tuple[str, str], ...], needs: list[str], entries: Entries) -> None:
    name, _, rest = line.partition(" (")
    if not rest.endswith(")"):
        entries.invalid(f"no name and version of a gem: {line[:SHOWN]!r}")
        return
    # Versions of gems have no hyphen (1.0.0.pre.1), so what follows one is the platform.
    # Bundler itself is needed by many and listed by none.
    entries.add(name, rest[:-1].partition("-")[0], qualifiers=qualifiers, depends=[one for one in needs if one != "bundler"])


INSPECTOR = LockInspector(
    "lock_ruby", "gem", Interest(names=("Gemfile.lock", "gems.locked"), scope="declared", max_bytes=MAX_BYTES), _read
)
