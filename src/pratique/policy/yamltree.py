"""YAML text in, a tree of nodes out, each with its line and column: what policies, waivers and their tests are read from.

Built from the parser's events and without recursion; scalars stay text, so that `no` or a date is what a person wrote.
"""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from pratique.model.errors import PolicyError

MAX_BYTES = 1 << 20  # a policy is pages of text; the largest rule set shipped is 6 KB
MAX_DEPTH = 32  # the deepest document of ours is 7 levels
MAX_NODES = 200_000  # what 1 MiB of "- a" lines could hold at most, so that only the size bounds honest files


class Place(NamedTuple):
    """1-based line and column, in characters."""

    line: int
    column: int


class Scalar(NamedTuple):
    """Text as written, with the quotes and folds undone. `plain` is true without quotes; `start` and `end` are offsets."""

    place: Place
    value: str
    plain: bool
    start: int
    end: int


class Sequence(NamedTuple):
    """A list; `end` is the offset just behind its last item."""

    place: Place
    items: list[Any]
    start: int
    end: int
    flow: bool


class Mapping(NamedTuple):
    """Pairs of key and value, in order, keys may only be scalars."""

    place: Place
    pairs: list[tuple[Scalar, Any]]
    start: int
    end: int

    def find(self, name: str) -> Node | None:
        """Return the value of a key."""
        return next((value for key, value in self.pairs if key.value == name), None)


Node = Scalar | Sequence | Mapping


class Text(NamedTuple):
    """A file that a person wrote: its name in messages, and its content."""

    name: str
    content: str

    def fail(self, place: Place, message: str, hint: str = "") -> NoReturn:
        """Raise PolicyError that begins with FILE:LINE:COLUMN."""
        raise PolicyError(f"{self.name}:{place.line}:{place.column}: {_printable(message)}", hint=_printable(hint))


def _printable(text: str) -> str:
    """Show what a terminal would obey as escapes."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def decode(name: str, content: bytes) -> Text:
    """Check size and encoding. Raises PolicyError."""
    if len(content) > MAX_BYTES:
        raise PolicyError(f"{name}:1:1: larger than {MAX_BYTES} bytes")
    try:
        return Text(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise PolicyError(f"{name}:{line}:{column}: not UTF-8") from None


def parse(text: Text) -> Node:
    """Read the one document of a file. Raises PolicyError: no YAML, aliases, tags, a second document, too deep or too large."""
    import yaml

    builder = _Builder(text)
    try:
        for event in yaml.parse(text.content, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        text.fail(place, f"not YAML: {error.problem or error.context}")
    except yaml.reader.ReaderError as error:
        text.fail(_place(text.content, text.content.find(chr(error.character))), f"not YAML: {error.reason}")
    except yaml.YAMLError as error:
        text.fail(_unprintable(text.content), f"not YAML: {' '.join(str(error).split())}")
    if builder.root is None:
        text.fail(Place(1, 1), "empty")
    return builder.root


def _place(content: str, offset: int) -> Place:
    offset = max(offset, 0)
    return Place(content.count("\n", 0, offset) + 1, offset - (content.rfind("\n", 0, offset) + 1) + 1)


def _unprintable(content: str) -> Place:
    found = next((at for at, letter in enumerate(content) if not letter.isprintable() and letter not in "\n\r\t\x85"), 0)
    return _place(content, found)


class _Builder:
    """Puts events together; `_open` are the collections that have not ended, `_key` a key that waits for its value."""

    def __init__(self, text: Text) -> None:
        self.root: Node | None = None
        self._text = text
        self._open: list[tuple[Sequence | Mapping, list[Scalar]]] = []
        self._nodes = 0

    def take(self, event: Any) -> None:
        """Take the next event of the parser."""
        kind = type(event).__name__
        place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            self._text.fail(place, "aliases and anchors are not understood", "write the value where it is used")
        if getattr(event, "tag", None) and kind != "ScalarEvent":
            self._text.fail(place, f"tag {event.tag} is not understood")
        start, end = event.start_mark.index, event.end_mark.index
        if kind == "ScalarEvent":
            if event.tag:
                self._text.fail(place, f"tag {event.tag} is not understood")
            self._add(Scalar(place, event.value, event.implicit[0], start, end))
        elif kind == "SequenceStartEvent":
            self._descend(Sequence(place, [], start, end, bool(event.flow_style)))
        elif kind == "MappingStartEvent":
            self._descend(Mapping(place, [], start, end))
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            collection, _ = self._open.pop()
            self._add(collection._replace(end=end))
        elif kind == "DocumentStartEvent" and self.root is not None:
            self._text.fail(place, "a second document", "one document a file")

    def _descend(self, collection: Sequence | Mapping) -> None:
        if len(self._open) >= MAX_DEPTH:
            self._text.fail(collection.place, f"deeper than {MAX_DEPTH} levels")
        self._open.append((collection, []))

    def _add(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._text.fail(node.place, f"more than {MAX_NODES} values")
        if not self._open:
            self.root = node
            return
        parent, keys = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif keys:
            parent.pairs.append((keys.pop(), node))
        elif isinstance(node, Scalar):
            keys.append(node)
        else:
            self._text.fail(node.place, "a key must be a word")


def within(text: Text, scalar: Scalar, offset: int) -> Place:
    """Return where the character at `offset` of a scalar's value stands in the file, whatever its quotes and folds.

    Letters other than white space stand in the file in the same order; only quotes, escapes and block signs come between.
    """
    content, at = text.content, scalar.start
    seen = -1
    for letter in scalar.value[: offset + 1]:
        if letter.isspace():
            continue
        found = content.find(letter, at, scalar.end)
        if found < 0:
            break
        seen, at = found, found + 1
    if offset < len(scalar.value) and not scalar.value[offset].isspace():
        return _place(content, max(seen, scalar.start))
    return _place(content, seen + 1 if seen >= 0 else scalar.start)
