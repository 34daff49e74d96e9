"""A file that a person wrote in, a checked struct out: what is read is what the struct's fields and their types say.

Each mistake is one line FILE:LINE:COLUMN with the nearest right name. Every struct knows the places of its values.
"""

from __future__ import annotations

import difflib
import types
import typing
from functools import cache
from typing import Any, Literal, TypeVar

import msgspec

from pratique._kit.moments import moment, written
from pratique._kit.place import Place
from pratique._kit.text import Text, decode, parse, within
from pratique._kit.yamltree import Node

MAX_DIGITS = 10  # of a whole number; the largest that people write is a uid
T = TypeVar("T", bound="Written")


class Duration(int):
    """Seconds, written as a number and s, m, h, d or w."""


class Moment(str):
    """RFC 3339; a date alone is its first second in UTC. Kept in UTC with a Z."""

    __slots__ = ()


class Written(msgspec.Struct, kw_only=True):
    """Base of what people write. `places` holds where each value stands ("NAME.0" a list's first); "" is the struct itself."""

    places: dict[str, Place] = {}
    nodes: dict[str, Node] = {}

    def place(self, name: str = "") -> Place:
        """Return where a value stands, or else where the struct begins."""
        return self.places.get(name) or self.places.get("") or Place(1, 1)


def read(name: str, content: bytes, kind: type[T]) -> tuple[T, Text]:
    """Read one file of a kind. Raises PolicyError."""
    text = decode(name, content)
    return build(text, parse(text), kind), text


def build(text: Text, node: Node, kind: type[T]) -> T:
    """Turn a tree into a struct. Raises PolicyError."""
    if node.kind == "map":
        _check_kind(text, node, kind)
    found: T = _struct(text, node, kind, "")
    return found


def kind_of(node: Node) -> str:
    """Return what `kind:` says; "" where it says nothing."""
    return _written(node.get("kind"))


def _written(node: Node) -> str:
    return node.text if node.kind == "text" else ""


def _check_kind(text: Text, node: Node, kind: type[Written]) -> None:
    """Say first what is most likely wrong: another kind of file."""
    for key in ("apiVersion", "kind"):
        field = _fields(kind).get(key)
        said = node.get(key)
        if field is not None and said.kind == "text" and said.text not in typing.get_args(field.type):
            text.fail(said.place, f"{key} is {said.text[:60]!r}", f"{typing.get_args(field.type)[0]!r} is read here")


class _Field(typing.NamedTuple):
    name: str
    type: Any
    required: bool


@cache
def _fields(kind: type[Written]) -> dict[str, _Field]:
    hints = typing.get_type_hints(kind)
    return {
        field.encode_name: _Field(field.name, hints[field.name], field.required)
        for field in msgspec.structs.fields(kind)
        if field.name not in ("places", "nodes", "legacy", "signed_by", "unsigned")
    }


def _struct(text: Text, node: Node, kind: type[Written], where: str) -> Any:
    if node.kind != "map":
        text.fail(node.place, f"{where or 'the document'} must be a mapping, not {_called(node)}")
    fields = _fields(kind)
    given: dict[str, Any] = {}
    places, nodes = {"": node.place}, {}
    for key, value in node.entries():
        field = fields.get(key.text)
        if field is None:
            near = difflib.get_close_matches(key.text, fields, 1)
            known = f"known here: {', '.join(sorted(fields))}"
            text.fail(key.place, f"unknown field {key.text[:60]!r}", f"did you mean {near[0]!r}?" if near else known)
        if field.name in given:
            text.fail(key.place, f"{key.text} is given twice")
        given[field.name] = _value(text, value, field.type, key.text)
        places[field.name] = value.place
        if value.kind == "text":
            nodes[field.name] = value
        if value.kind == "list":
            places |= {f"{field.name}.{number}": item.place for number, item in enumerate(value.items)}
    for name, field in fields.items():
        if field.required and field.name not in given:
            text.fail(node.place, f"{where or 'the document'} lacks {name!r}")
    return kind(**given, places=places, nodes=nodes)


def _called(node: Node) -> str:
    return {"text": "text", "list": "a list"}.get(node.kind, "a mapping")


def _value(text: Text, node: Node, kind: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _union(text, node, typing.get_args(kind), where)
    if origin is tuple:
        return _list(text, node, typing.get_args(kind)[0], where)
    if isinstance(kind, type) and issubclass(kind, Written):
        return _struct(text, node, kind, where)
    if node.kind != "text":
        text.fail(node.place, f"{where} must be text, not {_called(node)}")
    if origin is Literal:
        return _word(text, node, typing.get_args(kind), where)
    return _scalar(text, node, kind, where)


def _union(text: Text, node: Node, kinds: tuple[Any, ...], where: str) -> Any:
    """Choose by the form of what is written: no two members of a union of ours have the same."""
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    for kind in kinds:
        struct = isinstance(kind, type) and issubclass(kind, Written)
        if struct == (node.kind == "map"):
            return _value(text, node, kind, where)
    return _value(text, node, kinds[0], where)


def _list(text: Text, node: Node, kind: Any, where: str) -> tuple[Any, ...]:
    if node.kind == "text" and not _is_null(node) and not (isinstance(kind, type) and issubclass(kind, Written)):
        return (_value(text, node, kind, where),)  # one word stands for a list of one
    if node.kind != "list":
        text.fail(node.place, f"{where} must be a list, not {'nothing' if _is_null(node) else _called(node)}")
    singular = where.removesuffix("s")
    return tuple(_value(text, item, kind, f"a {singular}" if where.endswith("s") else where) for item in node.items)


def _is_null(node: Node) -> bool:
    return node.kind == "text" and node.plain and node.text in ("", "~", "null")


def _word(text: Text, node: Node, allowed: tuple[str, ...], where: str) -> str:
    if node.text not in allowed:
        near = difflib.get_close_matches(node.text, allowed, 1)
        words = ", ".join(word for word in allowed if word)
        text.fail(node.place, f"{where} is {node.text[:60]!r}", f"did you mean {near[0]!r}?" if near else f"one of {words}")
    return node.text


def _scalar(text: Text, node: Node, kind: Any, where: str) -> Any:
    if _is_null(node):
        text.fail(node.place, f"{where} is empty")
    if kind is bool:
        if node.text not in ("true", "false") or not node.plain:
            text.fail(node.place, f"{where} is {node.text[:60]!r}", "true or false")
        return node.text == "true"
    if kind is int:
        if not (node.text.isascii() and node.text.isdigit() and len(node.text) <= MAX_DIGITS):
            text.fail(node.place, f"{where} is {node.text[:60]!r}", "a whole number")
        return int(node.text)
    if kind is float:
        try:
            return float(node.text)
        except ValueError:
            text.fail(node.place, f"{where} is {node.text[:60]!r}", "a number")
    if kind is Duration:
        return _duration(text, node, where)
    if kind is Moment:
        try:
            return Moment(written(moment(node.text)))
        except ValueError:
            text.fail(node.place, f"{where} is no moment: {node.text[:60]!r}", "RFC 3339, such as 2026-12-31T00:00:00Z")
    return node.text


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _duration(text: Text, node: Node, where: str) -> Duration:
    number, unit = node.text[:-1], node.text[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit()) or len(number) > 6:
        text.fail(node.place, f"{where} is no duration: {node.text[:60]!r}", "a number and s, m, h, d or w, such as 14d")
    return Duration(int(number) * _UNITS[unit])


def offset_place(text: Text, written: Written, name: str, offset: int) -> Place:
    """Return where a character of a value stands, for errors within it."""
    node = written.nodes.get(name)
    return within(text, node, offset) if node is not None else written.place(name)
