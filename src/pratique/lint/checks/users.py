"""Checks of Dockerfiles: who the image runs as, and what lets anyone become root in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pratique.lint.build import Build, hit
from pratique.lint.checks.packages import installed
from pratique.lint.hit import Hit
from pratique.lint.shell import Command
from pratique.workload.dockerfile.stages import Stage
from pratique.workload.spec import is_root

_SETUID = re.compile(r"0*[2-7][0-7]{3}|[augo]*[+=][rwxXt]*s[rwxXst]*")
_WRITABLE = re.compile(r"[0-7]*[0-7]{2}[2367]|(?:a|o|ugo|go|uo|og|guo)?[+=][rxX]*w[rwxXst]*")
# Bases that have a user and say so in their name, and the one of Windows that runs as ContainerUser.
_SAYS_USER = re.compile(r"non-?root|rootless|unprivileged|/nanoserver")
_ADMINISTRATORS = frozenset(("containeradministrator", "administrator"))  # of Windows; names there have no case
_WINDOWS_USER = "containeruser"  # who has no number
_NET_USER = re.compile(r"\bnet1?(?:\.exe)?\s+user\s+[\w.$%{}-]+\s+(?![/$%*])\S+[^&|;]*\s/add\b", re.IGNORECASE)
_SYMBOLIC_OTHERS = re.compile(r"[ug]+[+=]")


def user_missing(build: Build) -> Iterator[Hit]:
    """Nothing in the file sets a user for the image that is built."""
    last = build.last
    if last is None or last.user is not None:
        return
    base = _root_of(build, last).base.text.lower()
    if base == "scratch":
        yield hit(last.start, "no USER: an image from scratch runs as root")
    elif not _SAYS_USER.search(base):
        yield hit(last.start, "no USER: the image runs as whatever its base says, which is root for most")


def _root_of(build: Build, stage: Stage) -> Stage:
    """Return the stage that is built from an image."""
    while stage.parent >= 0:
        stage = build.stages[stage.parent]
    return stage


def user_root(build: Build) -> Iterator[Hit]:
    """The last USER is root."""
    last = build.last
    if last is None or last.user is None or last.said is None:
        return
    if is_root(last.user.text):
        yield hit(last.said, f"the image runs as root (USER {last.user.text})")
    elif is_administrator(last.user.text):
        yield hit(last.said, f"the image runs as {last.user.text[:80]}, who may do everything in it")


def is_administrator(user: str) -> bool:
    """Say whether a USER is the one of Windows that may do everything."""
    return user.strip().lower() in _ADMINISTRATORS


def is_of_windows(user: str) -> bool:
    """Say whether a USER is an account of Windows, where there are no numbers."""
    return is_administrator(user) or user.strip().lower() == _WINDOWS_USER


def user_name(build: Build) -> Iterator[Hit]:
    """The last USER is a name, of which nobody outside of the image knows whether it is root."""
    last = build.last
    if last is None or last.user is None or last.said is None or not last.user.known or is_root(last.user.text):
        return
    if not last.user.text.partition(":")[0].strip().isdecimal() and not is_of_windows(last.user.text):
        yield hit(last.said, f"USER {last.user.text[:80]} is a name: a cluster that refuses root needs its number")


def sudo(build: Build) -> Iterator[Hit]:
    """Sudo is called or installed."""
    for run, command in build.invocations():
        if command.name == "sudo":
            yield hit(run.instruction, "sudo in a build: RUN already runs as the USER before it", command.program[0].place)
        elif run.shipped and command.name in ("echo", "printf") and any("NOPASSWD" in word for word in command.arguments):
            yield hit(run.instruction, "sudo without a password is a way to root for whoever gets in", command.program[0].place)
        elif run.shipped:
            for word in installed(command):
                if word.text.partition("=")[0] in ("sudo", "doas"):
                    yield hit(run.instruction, f"{word.text} is installed: it is a way to root for whoever gets in", word.place)


def setuid(build: Build) -> Iterator[Hit]:
    """Files get a setuid or setgid bit, or capabilities."""
    for run, command in build.invocations():
        if not run.shipped:
            continue
        if command.name == "setcap" and not command.has("-r"):
            yield hit(run.instruction, "a file gets capabilities: who runs it has them", command.program[0].place)
        mode = _mode(command)
        if mode and any(_SETUID.fullmatch(part) for part in mode.split(",")):
            yield hit(run.instruction, f"chmod {mode} sets a setuid or setgid bit", command.program[0].place)
    for _, _, instruction in build.steps("COPY", "ADD"):
        mode = instruction.flag("chmod") or ""
        if _SETUID.fullmatch(mode):
            yield hit(instruction, f"--chmod={mode} sets a setuid or setgid bit")


def world_writable(build: Build) -> Iterator[Hit]:
    """Files that anyone may change."""
    for run, command in build.invocations():
        mode = _mode(command)
        if run.shipped and mode and any(_is_writable(part) for part in mode.split(",")):
            yield hit(run.instruction, f"chmod {mode} lets everybody write", command.program[0].place)
    for stage, _, instruction in build.steps("COPY", "ADD"):
        mode = instruction.flag("chmod") or ""
        if stage.number in build.shipped and _is_writable(mode):
            yield hit(instruction, f"--chmod={mode} lets everybody write")


def _mode(command: Command) -> str:
    if command.name != "chmod":
        return ""
    return next((word for word in command.arguments if not re.fullmatch(r"-[RvcfhHLP]+|--.*", word)), "")


def _is_writable(mode: str) -> bool:
    """A sticky bit (1777) makes a shared folder harmless, as in /tmp."""
    if re.fullmatch(r"0*[1357][0-7]{3}", mode) and len(mode.lstrip("0")) == 4:
        return False
    return bool(mode) and _WRITABLE.fullmatch(mode) is not None and not _SYMBOLIC_OTHERS.match(mode)


def password(build: Build) -> Iterator[Hit]:
    """A password is set for an account of the image."""
    yield from _net_user(build)
    for run, command in build.invocations():
        name, arguments = command.name, command.arguments
        sets = name == "chpasswd" or (name in ("useradd", "usermod", "adduser") and command.has("-p", "--password"))
        if name == "passwd" and not any(word in arguments for word in ("-l", "-d", "--lock", "--delete")):
            sets = True
        if name == "adduser" and "--disabled-password" in arguments:
            sets = False
        if run.shipped and sets:
            yield Hit(command.program[0].place, f"{name} sets a password that everybody with the image has", f"RUN {name}")


def _net_user(build: Build) -> Iterator[Hit]:
    for run in build.runs:
        found = _NET_USER.search(run.instruction.rest.text) if run.shipped else None
        if found is not None:
            place = run.instruction.rest.at(found.start())
            yield Hit(place, "net user sets a password that everybody with the image has", "RUN net user")


CHECKS: dict[str, Callable[[Build], Iterator[Hit]]] = {
    "df-user-missing": user_missing,
    "df-user-root": user_root,
    "df-user-name": user_name,
    "df-sudo": sudo,
    "df-setuid": setuid,
    "df-world-writable": world_writable,
    "df-password": password,
}
