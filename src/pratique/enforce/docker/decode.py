"""A request body in, the one value that every reader of it would see out; what two readers could read differently is refused.

The engine is written in Go, whose JSON decoder matches keys in any letter case (folding Unicode), merges objects that come
twice, lets the last of two values win, replaces broken UTF-8 and stops reading at the end of the first value. A gate that decodes
otherwise is walked around, so this decoder takes only bodies about which there can be no doubt: known fields exactly as spelt,
each once, of the right type. Source: https://pkg.go.dev/encoding/json#Unmarshal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from pratique.model.errors import ParseError

# The largest body the gate reads: a container's description with thousands of variables has 100 KiB.
MAX_BODY = 256 << 10
# Go's integers end here; what is larger is an error there and a number here.
_MAX_INT = (1 << 63) - 1
# No body of the engine's API nests deeper than 8.
_MAX_DEPTH = 32

# What a field may hold. `WORDS` is a string or strings, nobody looks at `ANY`; a mapping is an object with these fields and no
# others.
STRING, BOOL, INT, STRINGS, WORDS, TABLE, ANY = "string", "bool", "int", "strings", "words", "table", "any"


class Field:
    """A list of values of one shape, or a table of them with free keys."""

    def __init__(self, kind: Literal["list", "table"], of: Shape) -> None:
        self.kind = kind
        self.of = of


Shape = str | Mapping[str, Any] | Field


def decode(body: bytes, fields: Mapping[str, Shape]) -> dict[str, Any]:
    """Return the object that `body` holds. Raises ParseError where anything about it is ambiguous, unknown or too large.

    A field that is not known and says something (is not null, false, 0, "" or empty) is refused: a newer engine may obey it.
    """
    if len(body) > MAX_BODY:
        raise ParseError(f"the body has more than {MAX_BODY >> 10} KiB")
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_constant)
    except UnicodeDecodeError:
        raise ParseError("the body is not UTF-8") from None
    except RecursionError:
        raise ParseError("the body is nested too deeply") from None
    except ValueError as error:
        raise ParseError(f"the body is not one JSON value: {error}") from None
    if not isinstance(value, dict):
        raise ParseError("the body is not an object")
    _sound(value, 0)
    return _struct(value, fields, "")


def folded(key: str) -> str:
    """Return what Go compares keys by: letter case and its two odd relatives (the Kelvin sign, the long s) do not count."""
    return key.replace("\u017f", "s").replace("\u212a", "k").casefold()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ParseError("a key comes twice in one object")
    return made


def _constant(name: str) -> NoReturn:
    raise ParseError(f"{name} is no JSON")


def _sound(value: Any, depth: int) -> None:
    """Refuse what Go would silently replace: half a surrogate pair, numbers out of range."""
    if depth > _MAX_DEPTH:
        raise ParseError("the body is nested too deeply")
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ParseError("a string holds half a surrogate pair")
        if "\0" in value:
            raise ParseError("a string holds a NUL")
    elif isinstance(value, dict):
        for key, item in value.items():
            _sound(key, depth)
            _sound(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _sound(item, depth + 1)
    elif isinstance(value, int) and abs(value) > _MAX_INT:
        raise ParseError("a number is out of range")


def _struct(value: dict[str, Any], fields: Mapping[str, Shape], where: str) -> dict[str, Any]:
    known = {folded(name) for name in fields}
    for key, item in value.items():
        if key in fields:
            continue
        if folded(key) in known:
            raise ParseError(f"{where}{key[:60]!a} is another spelling of a field that is known")
        if item not in (None, False, 0, "", [], {}):
            raise ParseError(f"{where}{key[:60]!a} is not a field that this gate knows")
    return {key: _value(value[key], shape, f"{where}{key}") for key, shape in fields.items() if value.get(key) is not None}


def _value(value: Any, shape: Shape, where: str) -> Any:
    if isinstance(shape, Field):
        return _many(value, shape, where)
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            raise ParseError(f"{where} is not an object")
        return _struct(value, shape, f"{where}.")
    if not _fits(value, shape):
        raise ParseError(f"{where} is not of the type {shape}")
    return [value] if shape == WORDS and isinstance(value, str) else value


def _many(value: Any, shape: Field, where: str) -> Any:
    if shape.kind == "table":
        if not isinstance(value, dict):
            raise ParseError(f"{where} is not an object")
        return {key: _value(item, shape.of, f"{where}[{key[:60]!a}]") for key, item in value.items() if item is not None}
    if not isinstance(value, list):
        raise ParseError(f"{where} is not a list")
    return [_value(item, shape.of, f"{where}[{at}]") for at, item in enumerate(value)]


def _fits(value: Any, shape: str) -> bool:
    if shape == ANY:
        return True
    if shape == STRING:
        return isinstance(value, str)
    if shape == BOOL:
        return isinstance(value, bool)
    if shape == INT:
        return isinstance(value, int) and not isinstance(value, bool)
    if shape == WORDS and isinstance(value, str):
        return True
    if shape in (STRINGS, WORDS):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, dict) and all(isinstance(item, str | None) for item in value.values())
