"""The user of this process in, a subject out; or a name that is claimed."""

from __future__ import annotations

import grp
import os
import pwd

from pratique.model.errors import UsageError
from pratique.model.privilege import CLAIMED, PEER, Subject

MAX_NAME = 200  # characters of a claimed name


def this_user() -> Subject:
    """Return whom the kernel says that this is, with the groups of this process."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid:{uid}"  # as gates spell it
    return Subject(id=name, provider="unix", groups=tuple(sorted(map(_group, {os.getgid(), *os.getgroups()}))), strength=PEER)


def groups_of(name: str) -> tuple[str, ...]:
    """Return the groups that this machine knows a user to be in; () for a user whom it does not know."""
    try:
        known = pwd.getpwnam(name)
    except KeyError:
        return ()
    return tuple(sorted({_group(number) for number in os.getgrouplist(name, known.pw_gid)}))


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return f"gid:{gid}"


def claimed(name: str) -> Subject:
    """Return who somebody says to be, which no gate believes. Raises UsageError."""
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise UsageError(f"--as {name!r} is no name")
    return Subject(id=name, provider="claimed", strength=CLAIMED)
