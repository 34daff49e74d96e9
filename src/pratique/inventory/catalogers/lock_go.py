"""go.mod in, declared Go modules out.

- `replace` decides what is built: another module or version takes the place, a folder takes the package out.
- `exclude` and `retract` speak of versions that are not used; `tool`, `godebug` and `ignore` of no version.
- The `go` and `toolchain` lines are the least that the module asks for, not what a build takes: no evidence of the standard
  library.
- Since Go 1.17 all modules of a build stand here (`// indirect`). Before, only the direct ones: a Gap says so. go.sum is not read
  in their place; it keeps hashes of versions that were only considered.

https://go.dev/ref/mod#go-mod-file
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.inventory.lockfiles.documents import BOM
from pratique.inventory.lockfiles.entries import SHOWN, Entries, LockInspector
from pratique.model.errors import ParseError
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_BYTES = 4 * MEBIBYTE  # the go.mod of Kubernetes is 10 KB

_WORDS = re.compile(r'"[^"]*"|`[^`]*`|\(|\)|=>|[^\s()"`]+')
_VERSION = re.compile(r"v[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?", re.ASCII)
_GO = re.compile(r"([0-9]+)\.([0-9]+)", re.ASCII)
_COMPLETE = (1, 17)  # the first Go whose go.mod lists indirect modules too


def _read(file: File, entries: Entries) -> None:
    required: dict[str, str] = {}
    replaced: dict[tuple[str, str], tuple[str, str]] = {}
    go, module = (0, 0), False
    for verb, words in _statements(file.read().removeprefix(BOM).decode(), entries):
        if verb == "module":
            module = True
        elif verb == "go":
            found = _GO.match(words[0]) if words else None
            go = (int(found[1]), int(found[2])) if found else go
        elif verb == "require":
            _require(words, required, entries)
        elif verb == "replace":
            _replace(words, replaced, entries)
    if not module:
        raise ParseError("no module line in a go.mod")
    for path, version in required.items():
        _module(path, version, replaced, entries)
    if required and go < _COMPLETE:
        entries.unresolved("modules that the listed ones need", "a go.mod of Go before 1.17 does not name them")


def _statements(text: str, entries: Entries) -> Iterator[tuple[str, list[str]]]:
    """Yield each statement as its verb and words; a block in parentheses is a statement a line."""
    block = ""
    for line in text.split("\n"):
        words = _WORDS.findall(line.partition("//")[0])
        if not words:
            continue
        words = [word[1:-1] if word[0] in '"`' else word for word in words]
        if block and words[0] == ")":
            block = ""
        elif block:
            yield block, words
        elif words[-1] == "(" and len(words) == 2:
            block = words[0]
        else:
            yield words[0], words[1:]
    if block:
        entries.truncated(f"the file ends within the block {block[:SHOWN]}")


def _require(words: list[str], required: dict[str, str], entries: Entries) -> None:
    if len(words) != 2 or not _VERSION.fullmatch(words[1]):
        entries.invalid(f"no module and version: {' '.join(words)[:SHOWN]!r}")
    else:
        required[words[0]] = words[1]


def _replace(words: list[str], replaced: dict[tuple[str, str], tuple[str, str]], entries: Entries) -> None:
    """Remember `old [version] => new [version]`; without a version the new one is a folder."""
    arrow = words.index("=>") if "=>" in words else 0
    old, new = words[:arrow], words[arrow + 1 :]
    if not (1 <= len(old) <= 2 and 1 <= len(new) <= 2):
        entries.invalid(f"no replacement: {' '.join(words)[:SHOWN]!r}")
        return
    replaced[old[0], old[1] if len(old) == 2 else ""] = (new[0], new[1] if len(new) == 2 else "")


def _module(path: str, version: str, replaced: dict[tuple[str, str], tuple[str, str]], entries: Entries) -> None:
    new = replaced.get((path, version)) or replaced.get((path, ""))
    if new is not None:
        path, version = new
        if not version:
            return  # a folder
    namespace, _, name = path.rpartition("/")
    entries.add(name, version, namespace=namespace)


INSPECTOR = LockInspector("lock_go", "golang", Interest(names=("go.mod",), scope="declared", max_bytes=MAX_BYTES), _read)
