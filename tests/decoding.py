"""Request bodies for the Docker gate's decoder, right ones and wrong ones, from a seed; and what is lost between two readings."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from pratique.enforce.docker import fields
from pratique.enforce.docker.decode import Field

KINDS: dict[str, Any] = {"c": fields.CREATE, "e": fields.EXEC, "u": fields.UPDATE, "v": fields.VOLUME, "n": fields.NETWORK}
_TEXTS = [
    "",
    "a",
    "0",
    "root",
    "host",
    "container:x",
    "/etc",
    "true",
    "1",
    "\u212a",
    "\u017f",
    "é",
    "\U0001f600",
    "NET_ADMIN",
    "x" * 50,
]
_ODD: list[Any] = [None, True, 0, "", [], {}, 1.5, "x", [None], {"a": None}, 1e3, -0.0, 10**19]
_WORDS = frozenset(("Cmd", "Entrypoint", "Shell", "CapAdd", "CapDrop"))


class _Pairs(list[tuple[str, Any]]):
    """An object whose keys may come twice."""


class Bodies:
    """Makes bodies."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self) -> tuple[str, bytes]:
        """Return a kind and a body of it."""
        kind = self._random.choice("cccceuvn")
        return kind, self._mangled(self._text(self._object(KINDS[kind])).encode("utf-8", "surrogatepass"))

    def _value(self, shape: Any) -> Any:
        pick = self._random
        if pick.random() < 0.06:
            return pick.choice(_ODD)
        if isinstance(shape, Field):
            count = range(pick.randint(0, 2))
            if shape.kind == "list":
                return [self._value(shape.of) for _ in count]
            return {pick.choice(["80/tcp", "/a", "x"]): self._value(shape.of) for _ in count}
        if not isinstance(shape, str):
            return self._object(shape)
        makers: dict[str, Callable[[], Any]] = {
            "string": lambda: pick.choice(_TEXTS),
            "bool": lambda: pick.random() < 0.5,
            "int": lambda: pick.choice([0, 1, -1, 5, 1000, 2**62]),
            "strings": lambda: [pick.choice(_TEXTS) for _ in range(pick.randint(0, 3))],
            "words": lambda: pick.choice([pick.choice(_TEXTS), [pick.choice(_TEXTS)]]),
            "table": lambda: {pick.choice(_TEXTS): pick.choice(_TEXTS) for _ in range(pick.randint(0, 2))},
            "any": lambda: pick.choice([[1, 2], [["gpu"]], "x", None, {}]),
        }
        return makers[shape]()

    def _object(self, shape: Any) -> _Pairs:
        pick, found = self._random, _Pairs()
        for name in pick.sample(list(shape), pick.randint(0, min(len(shape), 5))):
            found.append((name if pick.random() < 0.93 else self._folded(name), self._value(shape[name])))
        if found and pick.random() < 0.04:
            found.append((found[0][0], self._value(next(iter(shape.values())))))
        if pick.random() < 0.04:
            odd = pick.choice(["X", "hostconfig", "HostConfig ", "Privileged\0", "Binds"])
            found.append((odd, pick.choice([None, 0, "", True, [], {}])))
        return found

    def _folded(self, name: str) -> str:
        """Write a key as Go takes it, too: in other letter cases, and with letters that fold to it."""
        made = ""
        for letter in name:
            x = self._random.random()
            alike = {"k": "\u212a", "s": "\u017f"}.get(letter.lower(), letter)
            made += letter.swapcase() if x < 0.2 else alike if x < 0.25 else letter
        return made

    def _text(self, value: Any) -> str:
        if isinstance(value, _Pairs | dict):
            items = value if isinstance(value, _Pairs) else value.items()
            return "{" + ",".join(f"{self._string(name)}:{self._text(item)}" for name, item in items) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(self._text, value)) + "]"
        return self._string(value) if isinstance(value, str) else json.dumps(value)

    def _string(self, text: str) -> str:
        if self._random.random() < 0.03:
            return '"' + "".join(f"\\u{ord(one):04x}" if ord(one) < 0x10000 else one for one in text) + '"'
        return json.dumps(text, ensure_ascii=self._random.random() < 0.5)

    def _mangled(self, body: bytes) -> bytes:
        pick, x = self._random, self._random.random()
        if x < 0.03:
            return body + pick.choice([b"{}", b" ", b"\n", b"x", b"\0", b'{"HostConfig":{"Privileged":true}}'])
        if x < 0.05:
            return pick.choice([b"\xef\xbb\xbf", b" ", b"[", b"null"]) + body
        if x < 0.10 and body:
            at = pick.randrange(len(body))
            return body[:at] + bytes([pick.randrange(256)]) + body[at + 1 :]
        if x < 0.12:
            return body[: pick.randrange(len(body) + 1)]
        if x < 0.14:
            return body.replace(b"true", pick.choice([b"True", b"tru\\u0065", b'"true"', b"1"]))
        if x < 0.16:
            return body.replace(b":0", pick.choice([b":00", b":-0", b":0.0", b":0e0", b":+0", b":NaN"]))
        return body


def lost(theirs: Any, ours: Any, at: str = "") -> Iterator[str]:
    """Yield where the engine has a value that the gate has not, or another one. What says nothing is none."""
    if isinstance(theirs, dict):
        for name, value in theirs.items():
            if name != "ConsoleSize" and _says(value):  # two numbers for a terminal, which the engine always fills in
                mine = ours.get(name) if isinstance(ours, dict) else None
                yield from lost(value, [mine] if name in _WORDS and isinstance(mine, str) else mine, f"{at}.{name}")
    elif isinstance(theirs, list):
        if not isinstance(ours, list) or len(ours) != len(theirs):
            yield at
        else:
            for number, (value, mine) in enumerate(zip(theirs, ours, strict=True)):
                yield from lost(value, mine, f"{at}[{number}]")
    elif theirs != ours and _says(theirs):
        yield at


def _says(value: Any) -> bool:
    if isinstance(value, dict):
        return any(name != "ConsoleSize" and _says(item) for name, item in value.items())
    return bool(value)
