"""YAML (or JSON) text in, a tree of nodes out, each with its line and column: what manifests are read from.

Built from the parser's events without recursion. Aliases stay references to the node they name, so that nothing is multiplied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.model.errors import BudgetExceededError, ParseError
from pratique.workload.place import Place

MAX_CHARACTERS = 8 << 20  # the largest rendered charts that people commit have some 5 MB
MAX_DEPTH = 100  # a pod template in a list is 15 levels deep
MAX_NODES = 400_000  # values of a file, each reference counted as all that it stands for; a line makes two or three
MAX_DOCUMENTS = 2_000  # documents in one file; the largest bundles of a whole platform have some hundreds

# YAML 1.1 as the readers of Kubernetes and Compose take it.
_TRUE = frozenset(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"))
_FALSE = frozenset(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"[-+]?(?:0x[0-9a-fA-F_]+|0o?[0-7_]+|0b[01_]+|[0-9][0-9_]*)")


class Node(msgspec.Struct, eq=False):
    """A value with its place. Exactly one of `pairs`, `items` and the text is meant, as `kind` says."""

    kind: str  # "map", "list" or "text"
    place: Place
    text: str = ""
    plain: bool = True
    items: list[Node] = []
    pairs: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    size: int = 1

    def get(self, *path: str) -> Node:
        """Return what stands under these keys, or a node without a value, which has the place of the last that was there."""
        node = self
        for key in path:
            found = node.pairs.get(key) if node.kind == "map" else None
            if found is None:
                return Node("none", node.place)
            node = found
        return node

    def at(self, key: str) -> Place:
        """Return where a key stands, or where this node does."""
        return self.keys.get(key, self.place)

    @property
    def given(self) -> bool:
        """Whether there is a value that is not null."""
        return self.kind != "none" and not (self.kind == "text" and self.plain and self.text in _NULL)

    @property
    def truth(self) -> bool | None:
        """The boolean, None for anything else."""
        if self.kind != "text" or not self.plain:
            return None
        return True if self.text in _TRUE else False if self.text in _FALSE else None

    @property
    def string(self) -> str:
        """The text of a scalar, "" for null and anything else."""
        return self.text if self.kind == "text" and self.given else ""

    @property
    def integer(self) -> int | None:
        """The number, None for anything else; quoted digits count, as a cluster's own validation would refuse them anyway."""
        text = self.text.replace("_", "") if self.kind == "text" else ""
        if len(text) > 40 or not _INTEGER.fullmatch(text):
            return None
        digits = text.lstrip("+-")
        base = 16 if digits[:2] == "0x" else 2 if digits[:2] == "0b" else 8 if len(digits) > 1 and digits[0] == "0" else 10
        try:
            return int(text.replace("0o", "0", 1), base) if base != 10 else int(text)
        except ValueError:
            return None

    def __iter__(self) -> Iterator[Node]:
        """Yield the items of a list."""
        return iter(self.items if self.kind == "list" else ())

    def members(self) -> Iterator[tuple[str, Node]]:
        """Yield keys and values of a map."""
        return iter(self.pairs.items() if self.kind == "map" else ())


def documents(text: str) -> list[Node]:
    """Read all documents of a file. Raises ParseError with line and column, BudgetExceededError beyond any real file."""
    import yaml  # only where there is YAML

    if len(text) > MAX_CHARACTERS:
        raise BudgetExceededError(f"a YAML file of more than {MAX_CHARACTERS} characters")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise ParseError(f"{where}{getattr(error, 'problem', None) or 'not YAML'}") from None
    return builder.documents


class _Builder:
    def __init__(self) -> None:
        self.documents: list[Node] = []
        self._stack: list[Node] = []
        self._keys: list[Node | None] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        if kind == "ScalarEvent":
            node = Node("text", _place(event), event.value, not event.style)  # None, or "" from the parser in C
            self._add(node, event.anchor)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            node = Node("map", _place(event), pairs={}, keys={}) if kind[0] == "M" else Node("list", _place(event), items=[])
            if len(self._stack) >= MAX_DEPTH:
                raise BudgetExceededError(f"YAML deeper than {MAX_DEPTH} levels")
            self._add(node, event.anchor)
            self._stack.append(node)
            self._keys.append(None)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            size = self._stack.pop().size
            self._keys.pop()
            if self._stack:
                self._stack[-1].size += size
        elif kind == "AliasEvent":
            self._alias(event)
        elif kind == "DocumentStartEvent":
            self._anchors = {}
            if len(self.documents) >= MAX_DOCUMENTS:
                raise BudgetExceededError(f"more than {MAX_DOCUMENTS} YAML documents")

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise ParseError(f"line {event.start_mark.line + 1}: nothing is called &{event.anchor[:80]}")
        if any(node is open_node for open_node in self._stack):
            raise ParseError(f"line {event.start_mark.line + 1}: &{event.anchor[:80]} holds itself")
        self._count(node.size)
        self._put(node)

    def _count(self, size: int) -> None:
        """Count what a reference stands for as if it were written out: whoever walks the tree walks it each time."""
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise BudgetExceededError(f"more than {MAX_NODES} values in YAML")
        if self._stack:
            self._stack[-1].size += size

    def _add(self, node: Node, anchor: str | None) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise BudgetExceededError(f"more than {MAX_NODES} values in YAML")
        if self._stack and node.kind == "text":
            self._stack[-1].size += 1
        if anchor:
            self._anchors[anchor] = node
        self._put(node)

    def _put(self, node: Node) -> None:
        if not self._stack:
            self.documents.append(node)
            return
        above = self._stack[-1]
        if above.kind == "list":
            above.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = node
            return
        self._keys[-1] = None
        name = key.text if key.kind == "text" else ""
        if name == "<<" and key.plain:
            self._merge(above, node)
            return
        above.pairs[name] = node  # the last of two equal keys counts, as the readers of clusters take it
        above.keys[name] = key.place

    def _merge(self, above: Node, node: Node) -> None:
        """Take over the pairs of `<<: *anchor`; what the map says itself goes before."""
        for source in node.items if node.kind == "list" else [node]:
            for name, value in source.members():
                self._count(value.size)
                if name not in above.pairs:
                    above.pairs[name] = value
                    above.keys[name] = source.at(name)


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)
