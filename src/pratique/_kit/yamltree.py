"""YAML (or JSON) text in, a tree of nodes out, each with where it stands: what every YAML file here is read from.

Built from the parser's events without recursion. Scalars stay text, so that `no` or a date is what a person wrote. Aliases stay
references to the node they name, so that nothing is multiplied. A strict reading takes one document without any of that.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from pratique._kit.place import Place
from pratique.model.errors import BudgetExceededError, ParseError

MAX_CHARACTERS = 8 << 20  # the largest rendered charts that people commit have some 5 MB
MAX_DEPTH = 100  # a pod template in a list is 15 levels deep
MAX_NODES = 400_000  # values of a file, each reference counted as all that it stands for; a line makes two or three
MAX_DOCUMENTS = 2_000  # documents in one file; the largest bundles of a whole platform have some hundreds
STRICT_DEPTH = 32  # the deepest document of ours is 7 levels
STRICT_NODES = 200_000  # what 1 MiB of "- a" lines could hold at most, so that only the size bounds honest files

# YAML 1.1 as the readers of Kubernetes and Compose take it.
_TRUE = frozenset(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"))
_FALSE = frozenset(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER = re.compile(r"[-+]?(?:0x[0-9a-f]+|0o?[0-7]+|0b[01]+|[0-9]+)")
# A number with a point or an exponent, or digits that are no octal number: those readers make it whole again where it is.
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,2})?")
_NO_OCTAL = re.compile(r"[-+]?0[0-9]*[89][0-9]*")
_MAX_DIGITS, _TOO_LARGE = 100, 1 << 63  # 64 bits are 64 digits at most
_TAG = "tag:yaml.org,2002:"
_AS_PLAIN = frozenset(_TAG + name for name in ("bool", "int", "float", "null", "merge"))  # whatever its quotes
_AS_TEXT = frozenset(("!", _TAG + "str"))


class YamlError(ParseError):
    """Text that is no YAML, or that a strict reading refuses; `message` begins with the place, `reason` is without it."""

    def __init__(self, place: Place, reason: str, hint: str = "") -> None:
        super().__init__(f"line {place.line}, column {place.column}: {reason}", hint=hint)
        self.place = place
        self.reason = reason


class Node(msgspec.Struct, eq=False):
    """A value with its place. `pairs`, `items` or `text` is meant, as `kind` says.

    `start` and `end` are offsets in the text: the end of a block stands behind its last word. `keys` are the nodes of the keys.
    """

    kind: str  # "map", "list", "text"; "none" for what is not there
    place: Place
    text: str = ""
    plain: bool = True
    items: list[Node] = []
    pairs: dict[str, Node] = {}
    keys: dict[str, Node] = {}
    size: int = 1
    start: int = -1
    end: int = -1
    flow: bool = False

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
        found = self.keys.get(key)
        return found.place if found is not None else self.place

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
        """The number, None for anything else, and for more than 64 bits, which no API takes.

        Quoted digits count, as a cluster's own validation would refuse them anyway.
        """
        text = self.text.replace("_", "").lower() if self.kind == "text" else ""
        number = _number(text) if len(text) <= _MAX_DIGITS else None
        return number if number is not None and -_TOO_LARGE <= number < _TOO_LARGE else None

    def __iter__(self) -> Iterator[Node]:
        """Yield the items of a list."""
        return iter(self.items if self.kind == "list" else ())

    def members(self) -> Iterator[tuple[str, Node]]:
        """Yield keys and values of a map."""
        return iter(self.pairs.items() if self.kind == "map" else ())

    def entries(self) -> Iterator[tuple[Node, Node]]:
        """Yield the nodes of keys and values of a map."""
        return iter([(self.keys[name], value) for name, value in self.members()])


def _number(text: str) -> int | None:
    if not _INTEGER.fullmatch(text) or _NO_OCTAL.fullmatch(text):
        return _whole(text)
    digits = text.lstrip("+-")
    base = 16 if digits[:2] == "0x" else 2 if digits[:2] == "0b" else 8 if len(digits) > 1 and digits[0] == "0" else 10
    return int(text.replace("0o", "0", 1), base)


def _whole(text: str) -> int | None:
    """Return the number of a float that is whole."""
    number = float(text) if _FLOAT.fullmatch(text) else 0.5
    return int(number) if number.is_integer() else None


def documents(text: str) -> list[Node]:
    """Read all documents of a file. Raises ParseError with line and column, BudgetExceededError beyond any real file."""
    if len(text) > MAX_CHARACTERS:
        raise BudgetExceededError(f"a YAML file of more than {MAX_CHARACTERS} characters")
    return _read(text, strict=False)


def document(text: str) -> Node:
    """Read the one document of a file strictly: no aliases, anchors, tags, second document, or key that is given twice.

    Raises YamlError, for a file that is too deep or too large, too.
    """
    found = _read(text, strict=True)
    if not found:
        raise YamlError(Place(1, 1), "empty")
    return found[0]


def _read(text: str, *, strict: bool) -> list[Node]:
    import yaml  # only where there is YAML

    builder = _Strict() if strict else _Builder()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        raise YamlError(place, f"not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise YamlError(place_of(text, text.find(chr(error.character))), f"not YAML: {error.reason}") from None
    except yaml.YAMLError as error:
        raise YamlError(_unprintable(text), f"not YAML: {' '.join(str(error).split())}") from None
    return builder.documents


def place_of(text: str, offset: int) -> Place:
    """Return line and column of an offset."""
    offset = max(offset, 0)
    return Place(text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1)


def _unprintable(content: str) -> Place:
    found = next((at for at, letter in enumerate(content) if not letter.isprintable() and letter not in "\n\r\t\x85"), 0)
    return place_of(content, found)


class _Builder:
    """Puts events together: `_stack` are the collections that have not ended, `_keys` a key of each that waits for its value."""

    depth = MAX_DEPTH
    nodes = MAX_NODES

    def __init__(self) -> None:
        self.documents: list[Node] = []
        self._stack: list[Node] = []
        self._keys: list[Node | None] = []
        self._merging: list[_Merging | None] = []
        self._merged: list[_Merging] = []  # of this document, the inner before the outer
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._end = 0  # where the last word ended: blocks end there, not where the parser notices it

    def take(self, event: Any) -> None:
        """Take the next event of the parser."""
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self._end = event.end_mark.index
            value, plain = _value(event)
            node = Node("text", _place(event), value, plain, start=event.start_mark.index, end=self._end)
            self._add(node, event.anchor)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._open(event, "map" if kind[0] == "M" else "list")
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._close(event)
        elif kind == "AliasEvent":
            self._end = event.end_mark.index
            self._alias(event)
        elif kind == "DocumentStartEvent":
            self._anchors, self._merged = {}, []
            if len(self.documents) >= MAX_DOCUMENTS:
                raise BudgetExceededError(f"more than {MAX_DOCUMENTS} YAML documents")
        elif kind == "DocumentEndEvent" and self._merged and _is_object(self.documents[-1]):
            for one in self._merged:
                one.in_order()

    def exceeded(self, place: Place, message: str) -> Exception:
        """Return what is raised where a limit is reached."""
        return BudgetExceededError(f"line {place.line}: {message}")

    def _open(self, event: Any, kind: str) -> None:
        node = Node(kind, _place(event), items=[], pairs={}, keys={}, start=event.start_mark.index, flow=bool(event.flow_style))
        if len(self._stack) >= self.depth:
            raise self.exceeded(node.place, f"deeper than {self.depth} levels")
        self._end = max(self._end, event.end_mark.index if node.flow else node.start)
        self._add(node, event.anchor)
        self._stack.append(node)
        self._keys.append(None)
        self._merging.append(None)

    def _close(self, event: Any) -> None:
        node = self._stack[-1]
        merging = self._merging.pop()
        if merging is not None:
            self._merge(merging)
        self._stack.pop()
        self._keys.pop()
        if node.flow:
            self._end = event.end_mark.index
        node.end = self._end
        if self._stack:
            self._stack[-1].size += node.size

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise YamlError(_place(event), f"nothing is called &{event.anchor[:80]}")
        if any(node is open_node for open_node in self._stack):
            raise YamlError(_place(event), f"&{event.anchor[:80]} holds itself")
        self._count(node.size, node.place)
        self._put(node)

    def _count(self, size: int, place: Place) -> None:
        """Count what a reference stands for as if it were written out: whoever walks the tree walks it each time."""
        self._nodes += size
        if self._nodes > self.nodes:
            raise self.exceeded(place, f"more than {self.nodes} values")
        if self._stack:
            self._stack[-1].size += size

    def _add(self, node: Node, anchor: str | None) -> None:
        self._nodes += 1
        if self._nodes > self.nodes:
            raise self.exceeded(node.place, f"more than {self.nodes} values")
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
        self.pair(above, key, node)

    def pair(self, above: Node, key: Node, node: Node) -> None:
        """Put a key and its value into a map."""
        name = key.text if key.kind == "text" else ""
        merging = self._merging[-1]
        if name == "<<" and key.plain:
            # What is merged may not have ended yet, so that it is taken over when the map ends.
            if merging is None:
                merging = self._merging[-1] = _Merging(above)
            merging.steps.append((None, node))
            return
        if merging is not None:
            merging.steps.append((key, node))
        above.pairs[name] = node  # the last of two equal keys counts, as the readers of clusters take it
        above.keys[name] = key

    def _merge(self, merging: _Merging) -> None:
        """Take over the pairs of `<<: *anchor`; what the map says itself goes before."""
        above = merging.above
        self._merged.append(merging)
        for source in merging.sources():
            for name, value in source.members():
                self._count(value.size, value.place)
                if name not in above.pairs:
                    above.pairs[name] = value
                    above.keys[name] = source.keys[name]


class _Merging:
    """A map in the making, from its first `<<` on: its own pairs, and between them (without a key) what is merged."""

    def __init__(self, above: Node) -> None:
        self.above = above
        self.steps: list[tuple[Node | None, Node]] = [(above.keys[name], value) for name, value in above.pairs.items()]

    def sources(self) -> Iterator[Node]:
        """Yield the maps that are merged; of those in one list the first goes before."""
        for key, node in self.steps:
            if key is None:
                yield from _sources(node)

    def in_order(self) -> None:
        """Take it as kubectl's reader does, to which `<<` goes before what stands above it in the map."""
        pairs: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        for key, node in self.steps:
            if key is not None:
                pairs[key.text], keys[key.text] = node, key
                continue
            for source in reversed(_sources(node)):
                pairs.update(source.pairs)
                keys.update(source.keys)
        self.above.pairs, self.above.keys = pairs, keys


class _Strict(_Builder):
    """What files of ours may hold: their limits are lower, and whatever a reader could overlook is refused."""

    depth = STRICT_DEPTH
    nodes = STRICT_NODES

    def take(self, event: Any) -> None:
        """Refuse what could mean something else than it seems to; take the rest."""
        place = _place(event)
        kind = type(event).__name__
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            raise YamlError(place, "aliases and anchors are not understood", "write the value where it is used")
        if getattr(event, "tag", None):
            raise YamlError(place, f"tag {event.tag} is not understood")
        if kind == "DocumentStartEvent" and self.documents:
            raise YamlError(place, "a second document", "one document a file")
        super().take(event)

    def exceeded(self, place: Place, message: str) -> Exception:
        """Return what is raised where a limit is reached."""
        return YamlError(place, message)

    def pair(self, above: Node, key: Node, node: Node) -> None:
        """Put a key and its value into a map; a key is a word, and given once."""
        if key.kind != "text":
            raise YamlError(key.place, "a key must be a word")
        if key.text in above.pairs:
            raise YamlError(key.place, f"{key.text} is given twice")
        above.pairs[key.text] = node
        above.keys[key.text] = key


def _sources(node: Node) -> list[Node]:
    return [one for one in (node.items if node.kind == "list" else [node]) if one.kind == "map"]


def _is_object(document: Node) -> bool:
    return document.kind == "map" and bool(document.get("apiVersion").string) and bool(document.get("kind").string)


def _value(event: Any) -> tuple[str, bool]:
    """Return a scalar's text and whether it may be something else than text, which a tag decides before its quotes do."""
    tag = event.tag
    if tag == _TAG + "binary":
        try:
            return base64.b64decode(event.value, validate=True).decode(), False
        except ValueError:
            return event.value, False
    return event.value, tag in _AS_PLAIN or (not event.style and tag not in _AS_TEXT)


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)
