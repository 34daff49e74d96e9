"""The configuration of a built image in, findings about it out: who it runs as, what it gives away, and how it was made.

The history is read as the instructions that it tells of, so that the checks of Dockerfiles speak of it, too. Only those about
security do: nobody can put an image in order that is there already.

Fields: https://github.com/opencontainers/image-spec/blob/main/config.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pratique.lint.build import Build, take_apart
from pratique.lint.checks import exposure, origins, packages, users
from pratique.lint.hit import Hit
from pratique.lint.secrets import holds_secret
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.inventory import PrivilegedFile, SecretFile
from pratique.workload.dockerfile.instructions import Dockerfile, Instruction
from pratique.workload.dockerfile.parse import KNOWN, read_instruction
from pratique.workload.place import Mapped, Place
from pratique.workload.spec import is_root

MAX_HISTORY = 1_000  # entries; an image has at most 127 layers, and some dozens of instructions that make none
MAX_TEXT = 1 << 16  # characters of one entry; the longest scripts that people write have some 10,000
MAX_LISTED = 1_000  # variables, ports, volumes: people write some dozens
MAX_FINDINGS = 5_000  # of one image
MAX_SECRETS = 200  # files with keys; whoever has more has one cause
MAX_NAMED = 20  # files that a message names; distributions ship a dozen

_LEGACY = "/bin/sh -c #(nop)"
_COMMENT = re.compile(r"\s*# buildkit\s*$")
_ARGUMENTS = re.compile(r"\|(\d{1,3}) ")
_SHELL = re.compile(r"(?:/usr)?/bin/(?:ba|da|a|z|k)?sh(?:\s+-[A-Za-z]+(?:\s+pipefail)?)+\s+")
# What a history can be asked about: where it comes from and what was made weaker. The user and the health check are
# read from the configuration itself, which says how it ended.
_CHECKS = {
    **{name: users.CHECKS[name] for name in ("df-sudo", "df-setuid", "df-world-writable", "df-password")},
    **{name: exposure.CHECKS[name] for name in ("df-secret-variable", "df-secret-file", "df-secret-command", "df-ssh-server")},
    **{name: origins.CHECKS[name] for name in ("df-pipe-to-shell", "df-add-remote", "df-certificate-checks")},
    **{name: packages.CHECKS[name] for name in ("df-package-signatures",)},
}


class Seen(NamedTuple):
    """What was found, and which history entry it is about (-1: the configuration itself)."""

    id: str
    hit: Hit
    entry: int


class Entry(NamedTuple):
    """One entry of the history: its instruction as it was told, and the diff_id of the layer that it made, "" for none."""

    text: str
    layer: str


def is_config(document: object) -> bool:
    """Say whether decoded JSON is the configuration of an image."""
    if not isinstance(document, dict) or not isinstance(document.get("rootfs"), dict):
        return False
    return "history" in document or "config" in document


def entries(config: Mapping[str, Any]) -> list[Entry]:
    """Return the history with its layers. Raises BudgetExceededError."""
    told = config.get("history")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    layers = iter(item for item in diff_ids if isinstance(item, str)) if isinstance(diff_ids, list) else iter(())
    found: list[Entry] = []
    for item in told if isinstance(told, list) else ():
        if len(found) == MAX_HISTORY:
            raise BudgetExceededError(f"a history of more than {MAX_HISTORY} entries")
        made = isinstance(item, dict) and item.get("empty_layer") is not True
        text = item.get("created_by") if isinstance(item, dict) else ""
        found.append(Entry(text[:MAX_TEXT] if isinstance(text, str) else "", next(layers, "") if made else ""))
    return found


def check_config(config: Mapping[str, Any], history: Sequence[Entry]) -> list[Seen]:
    """Check a configuration and its history, as `entries` returns it. Raises BudgetExceededError."""
    inner = config.get("config")
    inner = inner if isinstance(inner, dict) else {}
    found = [
        *_history(history),
        *(Seen(name, hit, -1) for name, hit in _configuration(inner)),
        *(Seen("df-secret-variable", hit, number) for number, hit in _arguments(history)),
    ]
    first: dict[tuple[str, str], Seen] = {}
    for seen in found:  # what the history tells of goes before: it knows where
        first.setdefault((seen.id, seen.hit.content), seen)
    if len(first) > MAX_FINDINGS:
        raise BudgetExceededError(f"more than {MAX_FINDINGS} findings in one image")
    return list(first.values())


def check_files(files: Sequence[PrivilegedFile]) -> list[tuple[Hit, str]]:
    """Return one hit for the privileged files of each layer, with the layer: a dozen alike would only be in one another's way."""
    found: list[tuple[Hit, str]] = []
    for layer in dict.fromkeys(file.layer for file in files):
        own = [file for file in files if file.layer == layer]
        names = [f"/{file.path} ({'capabilities' if file.capable else f'mode {file.mode:o}'})" for file in own]
        told = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
        count = f"{len(own)} files give rights to whoever runs them" if len(own) > 1 else "a file gives rights to whoever runs it"
        message = f"{count}: {told}"
        found.append((Hit(Place(0, 0), message, "\0".join(names)), layer))
    return found


def check_secret(file: SecretFile) -> Hit:
    """Return the hit for a file with keys or logins."""
    message = f"/{file.path} is in the image and holds {file.what}"
    if file.gone:
        message = f"/{file.path} was removed by a later layer, and the image still has it: it holds {file.what}"
    return Hit(Place(0, 0), message, f"{file.path}\0{file.what}")


def _history(history: Sequence[Entry]) -> Iterator[Seen]:
    build = _build(history)
    for name, check in _CHECKS.items():
        for number, hit in enumerate(check(build)):
            if number == MAX_FINDINGS:
                raise BudgetExceededError(f"more than {MAX_FINDINGS} findings of {name} in one image")
            yield Seen(name, hit, hit.place.line - 1)


def _build(history: Sequence[Entry]) -> Build:
    """Read a history as a Dockerfile of one stage; the line of an instruction is the number of its entry, from 1."""
    start = read_instruction(_at("FROM image", 0))
    found = [item for number, entry in enumerate(history) if (item := _instruction(entry.text, number)) is not None]
    return take_apart(Dockerfile(instructions=(start, *found)))


def _at(text: str, number: int) -> Mapped:
    return Mapped(text, (0,), (Place(number + 1, 1),))


def _instruction(text: str, number: int) -> Instruction | None:
    """Return what an entry tells of; None for what no builder of Dockerfiles wrote."""
    try:
        return read_instruction(_at(written(text), number)) if written(text) else None
    except ParseError:
        return None


def written(text: str) -> str:
    """Return an entry as the instruction that it was: builders add a shell, build arguments and remarks of their own."""
    body = text.strip()
    if body.startswith(_LEGACY):
        body = body[len(_LEGACY) :].strip()
        return body if _word(body) in KNOWN else ""
    body = _COMMENT.sub("", body)
    run = body[4:].lstrip() if _word(body) == "RUN" else body
    script = _SHELL.sub("", _without_arguments(run), count=1)
    if run is not body or script != run:
        return f"RUN {script}" if script.strip() else ""
    return body if _word(body) in KNOWN else ""


def _word(text: str) -> str:
    return text.split(None, 1)[0] if text else ""


def _without_arguments(run: str) -> str:
    """Take `|2 a=b c=d` from before a script. Values may hold blanks, so the script begins at its shell."""
    if not _ARGUMENTS.match(run):
        return run
    found = _SHELL.search(run)
    return run[found.start() :] if found is not None else ""


def _arguments(history: Sequence[Entry]) -> Iterator[tuple[int, Hit]]:
    """Yield the build arguments that stand in the history with secrets as their values."""
    for number, entry in enumerate(history):
        text = entry.text.removeprefix("RUN ").lstrip()
        head = _ARGUMENTS.match(text)
        shell = _SHELL.search(text) if head is not None else None
        for word in text[head.end() : shell.start()].split() if head is not None and shell is not None else ():
            name, equals, value = word.partition("=")
            if equals and holds_secret(name, value):
                message = f"the build argument {name} is in the history with its value, which is a secret"
                yield number, Hit(Place(number + 1, 1), message, f"ARG {name}", f"ARG {name}=(not shown)")


def _configuration(inner: Mapping[str, Any]) -> Iterator[tuple[str, Hit]]:
    """Yield what is wrong with how the image asks to be run."""
    here = Place(0, 0)
    yield from _user(inner.get("User"))
    workdir = inner.get("WorkingDir")
    if isinstance(workdir, str) and exposure.KERNEL.match(workdir):
        message = f"WORKDIR {workdir[:120]} lies in a folder that the kernel shows"
        yield "df-system-workdir", Hit(here, message, f"WORKDIR {workdir}", f"WORKDIR {workdir[:120]}")
    for text in _listed(inner.get("Env")):
        name, _, value = text.partition("=")
        if holds_secret(name, value):
            shown = f"ENV {name[:80]}"
            yield "df-secret-variable", Hit(here, f"{shown} holds a secret in the clear", shown, f"{shown}=(not shown)")
    for name, value in _pairs(inner.get("Labels")):
        if isinstance(value, str) and holds_secret(name, value):
            shown = f"LABEL {name[:80]}"
            yield "df-secret-variable", Hit(here, f"{shown} holds a secret in the clear", shown, f"{shown}=(not shown)")
    for port, _ in _pairs(inner.get("ExposedPorts")):
        number = port.partition("/")[0]
        if number == "22":
            yield "df-ssh-server", Hit(here, "port 22 is that of a login service", "EXPOSE 22", "EXPOSE 22")
    for volume, _ in _pairs(inner.get("Volumes")):
        if exposure.ENGINE_SOCKETS.search(volume):
            message = f"{volume[:120]} is the engine itself: who has it is root on the machine"
            yield "df-engine-socket", Hit(here, message, f"VOLUME {volume}", f"VOLUME {volume[:120]}")
        elif exposure.SYSTEM.match(volume):
            message = f"{volume[:120]} of the image is a volume: what is mounted there decides how the system works"
            yield "df-system-volume", Hit(here, message, f"VOLUME {volume}", f"VOLUME {volume[:120]}")
    health = inner.get("Healthcheck")
    if not isinstance(health, dict):
        yield "df-healthcheck", Hit(here, "no HEALTHCHECK", "image health", "")
    yield from _triggers(inner)


def _user(stated: Any) -> Iterator[tuple[str, Hit]]:
    here, user = Place(0, 0), stated if isinstance(stated, str) else ""
    if not user.partition(":")[0].strip():
        yield "df-user-missing", Hit(here, "the image sets no user, so that it runs as root", "image user", "")
    elif is_root(user):
        yield "df-user-root", Hit(here, f"the image runs as root (USER {user[:80]})", "image user", f"USER {user[:80]}")
    elif users.is_administrator(user):
        message = f"the image runs as {user[:80]}, who may do everything in it"
        yield "df-user-root", Hit(here, message, "image user", f"USER {user[:80]}")
    elif not users.is_of_windows(user) and not user.partition(":")[0].strip().isdecimal():
        message = f"USER {user[:80]} is a name: a cluster that refuses root needs its number"
        yield "df-user-name", Hit(here, message, "image user", f"USER {user[:80]}")


def _triggers(inner: Mapping[str, Any]) -> Iterator[tuple[str, Hit]]:
    """Yield what the steps do that run when another image is built on this one."""
    told = [Entry(f"ONBUILD {text}", "") for text in _listed(inner.get("OnBuild"))[:MAX_HISTORY]]
    for seen in _history(told):
        yield seen.id, seen.hit._replace(place=Place(0, 0))


def _listed(value: Any) -> list[str]:
    return [item[:MAX_TEXT] for item in value[:MAX_LISTED] if isinstance(item, str)] if isinstance(value, list) else []


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return list(value.items())[:MAX_LISTED] if isinstance(value, dict) else []
