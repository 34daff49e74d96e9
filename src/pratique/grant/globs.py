"""A pattern and a name in, whether the one covers the other out: `*` and `?` within a part, `**` for any number of parts.

Matching takes time in proportion to pattern times name, whatever is written, as those who ask write patterns, too. What is
covered may be a pattern itself: its wildcards are then letters that only an equal or wider wildcard stands for.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, unquote

MAX_PATTERN = 1024  # characters; the longest path that a kernel takes at once has 4096, the longest that people grant some 100

_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
# What the kernel follows to somewhere else, whatever its text looks like: no wildcard stands for any of it.
_MAGIC = re.compile(r"/proc/[^/]+/(?:task/[^/]+/)?(?:root|cwd|exe|fd|map_files|ns)(?:/|$)|/dev/(?:fd|stdin|stdout|stderr)(?:/|$)")


def literal(text: str) -> str:
    """Write a name so that it is no pattern: wildcards, % and what cannot be printed become %XX."""
    if text.isascii() and text.isprintable() and not any(letter in text for letter in "%*?\\ '\""):
        return text
    return "".join(
        letter if letter.isprintable() and letter not in "%*?\\ '\"" else quote(letter, safe="", errors="surrogatepass")
        for letter in text
    )


def plain(text: str) -> str:
    """Return a name as it was before `literal`."""
    return unquote(text, errors="replace")


def is_pattern(text: str) -> bool:
    """Say whether it holds a wildcard."""
    return "*" in text or "?" in text


def normal(path: str) -> str:
    """Return a path without empty parts, `.` and `..`, as engines clean it before they bind it; `/..` is `/`."""
    parts: list[str] = []
    absolute = path.startswith("/")
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part == ".." and absolute:
            continue
        else:
            parts.append(part)
    text = "/".join(parts)
    if absolute or parts[:1] == [".."] or text.startswith("~"):
        return f"/{text}" if absolute else text
    return f"./{text}" if text else "."


def is_magic(path: str) -> bool:
    """Say whether a normal path leads to wherever a process is (`/proc/1/root/etc`)."""
    return _MAGIC.match(plain(path)) is not None


@lru_cache(maxsize=16_384)
def covers(pattern: str, name: str) -> bool:
    """Say whether every name that `name` stands for is one that `pattern` stands for. Parts are separated by `/`."""
    if pattern == name:
        return True
    if not is_pattern(pattern) or len(pattern) > MAX_PATTERN or not name.startswith(_beginning(pattern)):
        return False
    return _parts(_split(pattern), _split(name))


def _split(pattern: str) -> list[str]:
    """Return the parts; `**@sha256:*` is any number of parts and then one that ends so, as people mean it."""
    if "**" not in pattern:
        return pattern.split("/")
    found: list[str] = []
    for part in pattern.split("/"):
        found += ["**", "*" + part.lstrip("*")] if part.startswith("**") and part.strip("*") else [part]
    return found


@lru_cache(maxsize=4096)
def _beginning(pattern: str) -> str:
    """Return the whole parts before the first wildcard, with which every name that is covered begins; most others do not."""
    first = min(at for at in (pattern.find("*"), pattern.find("?")) if at >= 0)
    return pattern[:first].rpartition("/")[0]


def _parts(patterns: list[str], names: list[str]) -> bool:
    """The usual walk with one place to come back to: the last `**` takes one more part."""
    at = here = 0
    star, mark = -1, 0
    while here < len(names):
        if at < len(patterns) and patterns[at] == "**":
            star, mark = at, here
            at += 1
        elif at < len(patterns) and names[here] != "**" and part_covers(patterns[at], names[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return all(part == "**" for part in patterns[at:])


def part_covers(pattern: str, name: str) -> bool:
    """Say the same of one part, without separators; `*` in the name is only covered by `*`."""
    if not is_pattern(pattern):
        return pattern == name
    at = here = 0
    star, mark = -1, 0
    while here < len(name):
        letter = pattern[at] if at < len(pattern) else ""
        if letter == "*":
            star, mark = at, here
            at += 1
        elif letter and name[here] != "*" and letter in ("?", name[here]):
            at, here = at + 1, here + 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")
