"""The text of a file of waivers in, the text with one more or some fewer out: comments and everything else stay as they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from pratique._kit.text import Text, parse
from pratique._kit.yamltree import Node

EMPTY = "apiVersion: pratique/v1\nkind: Waivers\nwaivers: []\n"

_BARE = re.compile(r"[A-Za-z][\w-]*|\d{4}-\d\d-\d\dT[\d:]+Z")
_WORDS = frozenset(("yes", "no", "on", "off", "true", "false", "null", "y", "n"))


def add(text: Text, fields: Mapping[str, str | list[str]]) -> str:
    """Return the text with a waiver behind the last. Raises PolicyError for a list that is written in one line."""
    root = parse(text)
    listed = root.get("waivers")
    if listed.kind != "list":
        text.fail(root.place, "there is no list of waivers")
    content = text.content
    if listed.flow and not listed.items:
        return (
            f"{content[: listed.start].rstrip()}\n{_written(fields, '')}{content[listed.end :].lstrip(' ').removeprefix(chr(10))}"
        )
    if listed.flow:
        text.fail(listed.place, "the waivers are written in one line", "write each on lines of its own, after a dash")
    at = _end(content, listed.items[-1])
    break_ = "" if at == 0 or content[at - 1] == "\n" else "\n"
    return content[:at] + break_ + _written(fields, _indent(content, listed.items[-1])) + content[at:]


def remove(text: Text, positions: Iterable[int]) -> str:
    """Return the text without the waivers at some positions (0-based). Raises PolicyError as `add` does."""
    root = parse(text)
    listed = root.get("waivers")
    if listed.kind != "list":
        text.fail(root.place, "there is no list of waivers")
    gone = sorted(set(positions))
    if gone and listed.flow:
        text.fail(listed.place, "the waivers are written in one line", "write each on lines of its own, after a dash")
    content = text.content
    for position in reversed(gone):
        item = listed.items[position]
        content = content[: _start(content, item)] + content[_end(content, item) :]
    if gone and len(gone) == len(listed.items):
        colon = content.index(":", root.keys["waivers"].end) + 1
        content = f"{content[:colon]} []{content[colon:]}"
    return content


def _start(content: str, item: Node) -> int:
    """Return where the line of an item's dash begins."""
    dash = content.rindex("-", 0, item.start)
    return content.rfind("\n", 0, dash) + 1


def _indent(content: str, item: Node) -> str:
    start = _start(content, item)
    return content[start : content.index("-", start)]


def _end(content: str, node: Node) -> int:
    """Return where the line behind the last word of a node begins; what follows it there is a comment of it."""
    if node.end and content[node.end - 1] == "\n":
        return node.end
    line = content.find("\n", node.end)
    return len(content) if line < 0 else line + 1


def _written(fields: Mapping[str, str | list[str]], indent: str) -> str:
    lines: list[str] = []
    for name, value in fields.items():
        shown = f"[{', '.join(map(_scalar, value))}]" if isinstance(value, list) else _scalar(value)
        lines.append(f"{indent}{'  ' if lines else '- '}{name}: {shown}\n")
    return "".join(lines)


def _scalar(value: str) -> str:
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())
