"""`docker run` lines of a text in, what they ask for out; and a proposal in, the flags for such a line out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pratique.lint.harden.proposal import PORTS, Proposal, Start
from pratique.lint.regions import Lines
from pratique.lint.shell import Command, commands
from pratique.workload.place import Place, whole
from pratique.workload.security import options as security_options
from pratique.workload.spec import MAX_LISTED, Mount, Port, Spec, capability, number_of

_ENGINES = ("docker", "podman", "nerdctl")
# Options without a value: https://docs.docker.com/reference/cli/docker/container/run/#options
_SWITCHES = frozenset(
    (
        "--detach", "--disable-content-trust", "--help", "--init", "--interactive", "--no-healthcheck", "--oom-kill-disable",
        "--privileged", "--publish-all", "--quiet", "--read-only", "--replace", "--rm", "--sig-proxy", "--tls-verify", "--tty",
    )
)  # fmt: skip
_SHORT = {
    "-a": "--attach", "-c": "--cpu-shares", "-e": "--env", "-h": "--hostname", "-l": "--label", "-m": "--memory",
    "-p": "--publish", "-u": "--user", "-v": "--volume", "-w": "--workdir",
}  # fmt: skip
_LETTERS = frozenset("dit" + "Pq")  # short switches, which people write together


class Run(NamedTuple):
    """A line: where its flags may be put in, and what it asks for."""

    at: Place
    start: Start
    given: frozenset[str]


def lines_of(text: str) -> list[Run]:
    """Return the `docker run` lines (of Podman and nerdctl, too) of a script."""
    return [run for command in commands(whole(text, 1)) if (run := _run(command)) is not None]


def _run(command: Command) -> Run | None:
    words = command.program
    if command.name == "sudo":
        words = words[1:]
    names = [word.text for word in words]
    if len(names) < 3 or names[0].rsplit("/", 1)[-1] not in _ENGINES:
        return None
    verb = 2 if names[1] == "container" else 1
    if names[verb] not in ("run", "create"):
        return None
    options, rest = _options(names[verb + 1 :])
    if not rest:
        return None
    return Run(words[verb].end, _start(options, rest), frozenset(name for name, _ in options))


def _options(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the options with their values, and what follows: the image and its command."""
    found: list[tuple[str, str]] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and len(found) < MAX_LISTED:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("--") and set(name[1:]) <= _LETTERS:
            continue
        if not name.startswith("--") and len(name) > 2:  # -p80:80
            name, equals, value = name[:2], "=", word[2:]
        name = _SHORT.get(name, name)
        if name in _SWITCHES:
            found.append((name, value or "true"))
        else:
            found.append((name, value if equals else rest.pop(0) if rest else ""))
    return found, rest


def _start(options: Sequence[tuple[str, str]], rest: Sequence[str]) -> Start:
    here = Place(1, 1)
    values = dict(options)
    user, _, group = values.get("--user", "").partition(":")
    spaces = {"--network": "net", "--net": "net", "--pid": "pid", "--ipc": "ipc", "--uts": "uts", "--userns": "user"}
    security: dict[str, Any] = security_options(value for name, value in options if name == "--security-opt")
    spec = Spec(
        format="docker-create",
        subject="docker run",
        place=here,
        image=rest[0],
        user=user or None,
        group=group or None,
        uid=number_of(user),
        gid=number_of(group),
        privileged=values.get("--privileged") == "true",
        capabilities_add=tuple(capability(part) for name, value in options if name == "--cap-add" for part in value.split(",")),
        capabilities_drop=tuple(capability(part) for name, value in options if name == "--cap-drop" for part in value.split(",")),
        host_namespaces=tuple(sorted({space for name, space in spaces.items() if values.get(name) == "host"})),
        mounts=tuple(_mounts(options)),
        sysctls=dict(value.partition("=")[::2] for name, value in options if name == "--sysctl"),
        read_only_root=values.get("--read-only") == "true",
        ports=tuple(
            Port(container=value.rpartition(":")[2], host=0, place=here)
            for name, value in options
            if name in ("--publish", "--expose")
        ),
        **security,
    )
    entrypoint = (values["--entrypoint"],) if "--entrypoint" in values else None
    return Start(format="docker", spec=spec, entrypoint=entrypoint, command=tuple(rest[1:]) or None)


def _mounts(options: Sequence[tuple[str, str]]) -> Iterator[Mount]:
    here = Place(1, 1)
    for name, value in options:
        if name == "--volume":
            parts = value.split(":")
            yield Mount(kind="volume", source=parts[0], target=parts[1] if len(parts) > 1 else parts[0], place=here)
        elif name == "--tmpfs":
            yield Mount(kind="tmpfs", source="", target=value.partition(":")[0], place=here)
        elif name == "--mount":
            pairs = dict(part.partition("=")[::2] for part in value.split(","))
            target = pairs.get("target") or pairs.get("dst") or pairs.get("destination") or ""
            yield Mount(kind="other", source=pairs.get("source", ""), target=target, place=here)


def flags(proposal: Proposal) -> list[str]:
    """Return the flags of `docker run` (and of Podman's) that a proposal comes to."""
    found = []
    if proposal.user is not None:
        found.append(f"--user={proposal.user}" + (f":{proposal.group}" if proposal.group is not None else ""))
    if proposal.drop_all:
        found += ["--cap-drop=ALL", *(f"--cap-add={name}" for name in proposal.add)]
    if proposal.no_new_privileges:
        found.append("--security-opt=no-new-privileges")
    if proposal.low_port:
        found.append(f"--sysctl={PORTS}={proposal.low_port}")
    if proposal.read_only:
        found += ["--read-only", *(f"--tmpfs={tmpfs(folder, proposal)}" for folder in proposal.tmpfs)]
    return found


def tmpfs(folder: str, proposal: Proposal) -> str:
    """Return a folder as engines take it, with its mode: Podman would take the image's, Docker 1777."""
    mode = dict(zip(proposal.tmpfs, proposal.modes, strict=True))[folder]
    return f"{folder}:mode={mode}"


def with_flags(text: str, number: int, proposal: Proposal) -> str:
    """Return a script with the flags in one of its `docker run` lines; a flag that stands there already is not repeated."""
    run = lines_of(text)[number]
    spec = run.start.spec
    there = {
        "--cap-drop=ALL": "ALL" in spec.capabilities_drop,
        "--security-opt=no-new-privileges": spec.no_new_privileges is True,
        "--read-only": spec.read_only_root is True,
        **{f"--cap-add={name}": True for name in spec.capabilities_add},
    }
    wanted = [flag for flag in flags(proposal) if not there.get(flag)]
    at = Lines(text).at(run.at)
    return text[:at] + "".join(f" {shlex.quote(flag)}" for flag in wanted) + text[at:]
