"""A requirements file of pip in, entries out.

Only an exact pin (`==1.2.3`, `===1.2.3`, or an archive whose file name states the version) is evidence; any other requirement is
a Gap, as nobody can know what was installed. Markers, extras and hashes change nothing: what some platform gets, counts.
Options are skipped. Files that `-r` includes are read if their own name is one that this cataloger looks for, a Gap otherwise;
`-c` constraints install nothing.

https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote, urlsplit

from pratique.inventory.lockfiles.entries import SHOWN, Entries, base_name

MAX_STRANGE = 20  # lines that are no requirements: beyond them it is some other text file, and one more Gap says so

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?P<rest>$|[@(=<>!~;].*)", re.ASCII
)
_PIN = re.compile(r"={2,3}\s*([^\s,;*]+)\s*(?=$|,)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_ARCHIVE = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+?)-(?P<version>[0-9][A-Za-z0-9.!+_]*)(?:-.*\.whl|\.tar\.(?:gz|bz2|xz)|\.zip|\.tgz)$", re.ASCII
)
_INCLUDE = re.compile(r"(?:-r|--requirement)[\s=]*(.*)")
_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]*(.*)")
_REMOTE = re.compile(r"(?:git|hg|svn|bzr)\+|(?:https?|ssh|git)://")
_HASH, _HEX = "--hash=sha256:", 64
_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def read(data: bytes, entries: Entries, *, role: str, is_read: Callable[[str], bool]) -> None:
    """Enter the pins of a requirements file; `is_read` says of a path's base name if that file is read anyway."""
    strange = 0
    lines = list(_lines(_decode(data)))
    if lines and _is_cut(data, lines):
        entries.truncated(f"the file ends within {lines.pop()[:SHOWN]}")
    for line in lines:
        if line.startswith("-"):
            _option(line, entries, is_read)
        elif not _requirement(line, entries, role):
            strange += 1
            if strange <= MAX_STRANGE:
                entries.invalid(f"no requirement: {line[:SHOWN]!r}")
    if strange > MAX_STRANGE:
        entries.invalid(f"{strange} lines are no requirements")


def _is_cut(data: bytes, lines: list[str]) -> bool:
    """Say whether the last requirement is half: nothing ends the line, and it lacks what all others of a hashed file have."""
    if data.endswith(b"\n") or not any(_HASH in line for line in lines):
        return False
    last = lines[-1].rpartition(_HASH)
    return len(last[2]) < _HEX if last[1] else "==" in lines[-1] or lines[-1].endswith("-")


def _decode(data: bytes) -> str:
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")  # pip takes the locale's encoding; names and versions are ASCII in either


def _lines(text: str) -> Iterator[str]:
    """Yield logical lines: continued ones joined, comments and surrounding blanks removed."""
    parts: list[str] = []
    for line in text.splitlines():
        comment = "#" in line
        if line.endswith("\\") and not (comment and line.lstrip().startswith("#")):
            parts.append(line[:-1])
            continue
        if comment:
            line = _COMMENT.sub("", line)  # noqa: PLW2901
        if parts:
            line = "".join((*parts, " ", line))  # noqa: PLW2901
            parts.clear()
        line = line.strip()  # noqa: PLW2901
        if line:
            yield line
    rest = "".join(parts).strip()
    if rest:
        yield rest


def _option(line: str, entries: Entries, is_read: Callable[[str], bool]) -> None:
    included = _INCLUDE.match(line)
    if included:
        path = included[1].strip().strip("\"'")
        if not is_read(path):
            entries.unresolved(path, "included by this file, but not read: no lock file is known by that name")
        return
    editable = _EDITABLE.match(line)
    if editable and _REMOTE.match(editable[1]):
        _url(_egg(editable[1]), editable[1], entries, "")


def _requirement(line: str, entries: Entries, role: str) -> bool:
    """Enter one requirement; False where the line is none."""
    line = re.split(r"\s--(?:hash|config-settings|global-option)", line, maxsplit=1)[0].strip()
    if _REMOTE.match(line):
        _url(_egg(line), line, entries, role)
        return True
    if line.startswith((".", "/", "file:", "~")) or (line.endswith((".whl", ".tar.gz", ".zip")) and "@" not in line):
        return True  # a folder or archive of the project's own
    found = _REQUIREMENT.match(line)
    if found is None:
        return False
    name, rest = found["name"], found["rest"].strip()
    if rest.startswith("@"):
        _url(name, rest[1:].strip(), entries, role)
        return True
    wanted = rest.partition(";")[0].strip().strip("()").strip()
    pin = _PIN.search(wanted)
    if pin:
        entries.add(normal(name), pin[1], role=role)
    else:
        entries.unpinned(name, wanted)
    return True


def _url(name: str, url: str, entries: Entries, role: str) -> None:
    url = url.partition(";")[0].strip()
    if url.startswith(("file:", ".", "/")):
        return
    archive = _ARCHIVE.match(base_name(unquote(urlsplit(url).path)))
    if archive and not url.startswith(("git+", "hg+", "svn+", "bzr+")):
        entries.add(normal(name or archive["name"]), archive["version"], role=role)
    else:
        entries.unresolved(name or url, f"it comes from {url[:120]}, which does not state its version")


def _egg(url: str) -> str:
    egg = re.search(r"[#&]egg=([A-Za-z0-9._-]+)", url, re.ASCII)
    return egg[1] if egg else ""


def normal(name: str) -> str:
    """Write a PyPI name as package URLs have it."""
    return name.lower().replace("_", "-")
