"""The accounts and groups of an image in, findings about them out: who gets in without a password, who is root as well, who may
write the files that decide it.

What counts is the image as it ends: each file as the last layer that wrote it left it. A login shell alone is nothing to
report: without a password, and without a service that lets people in, nobody gets to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pratique.lint.hit import Hit
from pratique.model.inventory import Account, AccountFile
from pratique.workload.place import Place

MAX_FINDINGS = 100  # of one check in one image; whoever has more accounts like that reads none of them
MAX_NAMED = 20  # accounts that one message names
_OTHERS_WRITE, _GROUP_WRITES, _OTHERS_READ = 0o002, 0o020, 0o004


class Seen(NamedTuple):
    """What a check found in which file."""

    id: str
    hit: Hit
    file: AccountFile


def check_accounts(files: Sequence[AccountFile]) -> list[Seen]:
    """Check the files of one image, by what they are: there is at most one of each."""
    by_name: dict[str, AccountFile] = {file.file: file for file in files}
    found: list[Seen] = []
    for check in (_empty, _passwords, _roots, _doubles, _writable, _readable):
        for number, seen in enumerate(check(by_name)):
            if number == MAX_FINDINGS:
                break
            found.append(seen)
    return found


Files = Mapping[str, AccountFile]


def _known(files: Files) -> tuple[dict[str, Account], frozenset[str]]:
    """Return the accounts by name, the first of each, which is the one that counts; and those whose password is in shadow.

    An account of shadow that passwd does not have is none; where there is no passwd, nobody knows, and each counts.
    """
    passwd = files.get("passwd")
    first: dict[str, Account] = {}
    for entry in passwd.entries if passwd is not None else ():
        first.setdefault(entry.name, entry)
    return first, frozenset(name for name, entry in first.items() if entry.credential == "none" and not entry.locked)


def _shadowed(files: Files) -> Iterator[Account]:
    """Yield the lines of shadow that decide about an account."""
    shadow = files.get("shadow")
    if shadow is None:
        return
    first, asked = _known(files)
    seen: set[str] = set()
    for entry in shadow.entries:
        if entry.name not in seen and ("passwd" not in files or entry.name in asked):
            yield entry if entry.name not in first else _with_shell(entry, first[entry.name])
        seen.add(entry.name)


def _with_shell(entry: Account, account: Account) -> Account:
    return Account(entry.name, entry.line, entry.credential, entry.locked, account.number, account.shell)


def _passworded(files: Files) -> Iterator[tuple[AccountFile, Account]]:
    if "passwd" in files:
        yield from ((files["passwd"], entry) for entry in _known(files)[0].values())
    yield from ((files["shadow"], entry) for entry in _shadowed(files))


def _empty(files: Files) -> Iterator[Seen]:
    for file, entry in _passworded(files):
        if entry.credential == "empty":
            who = "root" if entry.name == "root" or entry.number == 0 else "that account"
            message = (
                f"{entry.name} has an empty password: whoever can start su or log in becomes {who} without being asked for one"
            )
            shell = f" (its shell is {entry.shell})" if entry.shell else ""
            yield Seen("im-empty-password", _hit(file, entry, f"{message}{shell}"), file)


def _passwords(files: Files) -> Iterator[Seen]:
    for file, entry in _passworded(files):
        if entry.credential in ("set", "weak"):
            open_to_all = file.file == "passwd"
            message = f"{entry.name} has a password, and its hash is in the image for all who can pull it to guess at"
            told = [
                *(["of a scheme that was given up because it is guessed quickly"] if entry.credential == "weak" else []),
                *(["in a file that every account of the container can read"] if open_to_all else []),
            ]
            yield Seen("im-password", _hit(file, entry, f"{message}{', ' if told else ''}{', and '.join(told)}"), file)
    for name in ("group", "gshadow"):
        for entry in files[name].entries if name in files else ():
            if entry.credential in ("set", "weak"):
                message = f"the group {entry.name} has a password, with which anybody joins it (newgrp); its hash is in the image"
                yield Seen("im-password", _hit(files[name], entry, message), files[name])


def _roots(files: Files) -> Iterator[Seen]:
    """Yield those who are root under another name; a second line of the name root is a double."""
    for entry in files["passwd"].entries if "passwd" in files else ():
        if entry.number == 0 and entry.name != "root":
            message = f"{entry.name} has the number 0: it is root under another name"
            yield Seen("im-second-root", _hit(files["passwd"], entry, message), files["passwd"])


def _doubles(files: Files) -> Iterator[Seen]:
    for name, what in (("passwd", "account"), ("group", "group")):
        entries = files[name].entries if name in files else ()
        names: dict[str, list[Account]] = {}
        numbers: dict[int, list[Account]] = {}
        for entry in entries:
            names.setdefault(entry.name, []).append(entry)
            if entry.number > 0 or (name == "group" and entry.number == 0):  # of accounts with 0 another check speaks
                numbers.setdefault(entry.number, []).append(entry)
        for found in names.values():
            if len(found) > 1:
                lines = ", ".join(str(entry.line) for entry in found[:MAX_NAMED])
                message = (
                    f"the {what} {found[0].name} is there {len(found)} times (lines {lines}): which one counts, programs decide"
                )
                yield Seen("im-double-account", _hit(files[name], found[1], message), files[name])
        for number, found in numbers.items():
            shared = list(dict.fromkeys(entry.name for entry in found))
            if len(shared) > 1:
                told = ", ".join(shared[:MAX_NAMED]) + (f" and {len(shared) - MAX_NAMED} more" if len(shared) > MAX_NAMED else "")
                message = f"{len(shared)} {what}s have the number {number}: {told}; the kernel cannot tell them apart"
                yield Seen("im-double-account", _hit(files[name], found[1], message), files[name])


def _writable(files: Files) -> Iterator[Seen]:
    for file in files.values():
        who = "every account" if file.mode & _OTHERS_WRITE else "its group" if file.mode & _GROUP_WRITES else ""
        if who:
            message = f"/etc/{file.file} can be written by {who} (mode {file.mode:04o}): one more line in it makes a root"
            yield Seen("im-accounts-writable", Hit(Place(0, 0), message, f"{file.file}\0mode"), file)


def _readable(files: Files) -> Iterator[Seen]:
    for name in ("shadow", "gshadow"):
        file = files.get(name)
        if file is not None and file.mode & _OTHERS_READ and any(entry.credential in ("set", "weak") for entry in file.entries):
            message = f"/etc/{name} can be read by every account (mode {file.mode:04o}), and there are hashes of passwords in it"
            yield Seen("im-shadow-readable", Hit(Place(0, 0), message, f"{name}\0mode"), file)


def _hit(file: AccountFile, entry: Account, message: str) -> Hit:
    return Hit(Place(entry.line, 1), message, f"{file.file}\0{entry.name}\0{entry.number}")
