"""A user as a container's description names it and the container's own files in, the number that the engine will take out.

Who `app` is, the container's /etc/passwd says, and an image may say that it is root.
"""

from __future__ import annotations

from typing import NamedTuple

# Lines of a passwd or group file that are looked at; the largest of real images have some hundreds.
_MAX_LINES = 20_000
_MAX_ID = (1 << 31) - 1


class Resolved(NamedTuple):
    """Numbers; None where nobody can tell."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...] = ()


def resolve(user: str, passwd: bytes, group: bytes) -> Resolved:
    """Return what `NAME[:GROUP]` means, as the engine reads it: a name in the files first, then a number; "" is root."""
    name, colon, group_name = user.partition(":")
    users, groups = _lines(passwd, 7), _lines(group, 4)
    entry = next((line for line in users if line[0] == name), None) if name else None
    if entry is None and not name:
        uid: int | None = 0
        entry = next((line for line in users if line[2] == "0"), None)
    elif entry is None:
        uid = _number(name)
        entry = next((line for line in users if _number(line[2]) == uid), None) if uid is not None else None
    else:
        uid = _number(entry[2])
    if colon and group_name:
        known = next((line for line in groups if line[0] == group_name), None)
        gid = _number(known[2]) if known is not None else _number(group_name)
        return Resolved(uid, gid)
    gid = _number(entry[3]) if entry is not None else 0
    members = (entry[0] if entry is not None else name,)
    more = tuple(number for line in groups if set(members) & set(line[3].split(",")) and (number := _number(line[2])) is not None)
    return Resolved(uid, gid, more)


def _lines(content: bytes, fields: int) -> list[list[str]]:
    lines = content.decode("utf-8", "replace").splitlines()[:_MAX_LINES]
    parted = (line.strip().split(":") for line in lines if line.strip() and not line.startswith("#"))
    return [[*parts, *[""] * (fields - len(parts))] for parts in parted]


def _number(text: str) -> int | None:
    """Read a number as Go does: signs and leading zeros are fine, what is too large is none."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    number = int(text)
    return number if 0 <= number <= _MAX_ID else None
