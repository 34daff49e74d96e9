"""A command line of docker, podman or nerdctl in, the request that it would make out: the body, as an engine is sent it.

Only what a decision looks at is kept; options that it does not look at are known so that the words after them are not taken for
the image. Options: https://docs.docker.com/reference/cli/docker/container/run/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pratique.model.errors import UsageError

PROGRAMS = ("docker", "podman", "nerdctl")
MAX_WORDS = 2_000  # words of a line; what a shell takes is more, what people write far less

Verb = Literal["run", "exec", "attach", "copy", "build"]
_VERBS: dict[str, Verb] = {"run": "run", "create": "run", "exec": "exec", "attach": "attach", "cp": "copy", "build": "build"}

# Options without a value, and options whose value does not matter here.
_FLAGS = frozenset(
    (
        "d", "detach", "i", "interactive", "t", "tty", "rm", "init", "P", "publish-all", "q", "quiet", "no-healthcheck",
        "sig-proxy", "disable-content-trust", "oom-kill-disable", "no-stdin", "L", "follow-link", "no-cache", "load", "push",
        "squash", "force-rm", "check", "replace", "no-hosts", "rmi", "tls-verify", "archive", "no-hostname",
    )
)  # fmt: skip
_VALUES = frozenset(
    (
        "name", "h", "hostname", "domainname", "w", "workdir", "l", "label-file", "env-file", "link", "link-local-ip", "add-host",
        "dns", "dns-opt", "dns-option", "dns-search", "shm-size", "ulimit", "log-driver", "log-opt", "platform", "pull",
        "stop-signal", "stop-timeout", "ip", "ip6", "mac-address", "network-alias", "net-alias", "expose", "oom-score-adj",
        "blkio-weight", "blkio-weight-device", "cpu-count", "cpu-percent", "cpu-period", "cpu-quota", "cpu-rt-period",
        "cpu-rt-runtime", "c", "cpu-shares", "cpuset-cpus", "cpuset-mems", "device-read-bps", "device-read-iops",
        "device-write-bps", "device-write-iops", "health-cmd", "health-interval", "health-retries", "health-start-interval",
        "health-start-period", "health-timeout", "io-maxbandwidth", "io-maxiops", "isolation", "memory-reservation",
        "memory-swap", "memory-swappiness", "kernel-memory", "storage-opt", "volume-driver", "cidfile", "detach-keys", "a",
        "attach", "f", "file", "tag", "build-arg", "target", "secret", "ssh", "o", "output", "cache-from", "cache-to", "progress",
        "iidfile", "metadata-file", "builder", "build-context", "sbom", "provenance", "pod", "authfile", "tz", "umask", "arch",
        "os", "variant", "timeout", "conmon-pidfile", "pidfile", "no-cache-filter", "t",
    )
)  # fmt: skip
# What is a flag of one command has a value in another.
_FLAGS_OF: dict[Verb, frozenset[str]] = {"build": _FLAGS - {"t"} | {"pull"}, "copy": _FLAGS | {"a"}}
# Options that are lists of the engine's request under the same value.
_LISTS = {
    "cap-add": "CapAdd", "cap-drop": "CapDrop", "group-add": "GroupAdd", "security-opt": "SecurityOpt",
    "device-cgroup-rule": "DeviceCgroupRules", "volumes-from": "VolumesFrom",
}  # fmt: skip
_WORDS = {
    "network": "NetworkMode", "net": "NetworkMode", "pid": "PidMode", "ipc": "IpcMode", "uts": "UTSMode", "userns": "UsernsMode",
    "cgroupns": "CgroupnsMode", "cgroup-parent": "CgroupParent", "runtime": "Runtime",
}  # fmt: skip
_SHORT = {"u": "user", "v": "volume", "p": "publish", "e": "env", "m": "memory", "l": "label"}
_OPTIONS = frozenset(
    (
        "user", "volume", "mount", "tmpfs", "device", "gpus", "publish", "env", "label", "annotation", "sysctl", "restart",
        "memory", "cpus", "pids-limit", "entrypoint", "read-only", "privileged", "use-api-socket", "allow",
        *_LISTS, *_WORDS,
    )
)  # fmt: skip
_BARE = frozenset(("read-only", "privileged", "use-api-socket"))


class Line(NamedTuple):
    """What a line asks for: the body of the request, the image or container that it names, and the command in it.

    `insecure` is a build without its sandbox, `write` a copy into a container.
    """

    verb: Verb
    body: dict[str, Any]
    name: str
    command: tuple[str, ...] = ()
    insecure: bool = False
    write: bool = False


def parse(words: Sequence[str], folder: str = "/") -> Line:
    """Read a line; paths begin in `folder`. Raises UsageError for what it does not understand, as a guess would be no answer."""
    if len(words) > MAX_WORDS:
        raise UsageError(f"a line of more than {MAX_WORDS} words")
    rest = list(words[1:])
    while rest and rest[0] in ("container", "image", "buildx", "builder"):
        rest.pop(0)
    verb = _VERBS.get(rest[0]) if rest else None
    if verb is None:
        given = " ".join((words[0], *rest[:1]))[:80]
        raise UsageError(f"{given}: not a line that is decided here", hint=f"one of {', '.join(_VERBS)}")
    options, names = _split(rest[1:], _FLAGS_OF.get(verb, _FLAGS), all_words=verb in ("copy", "build"))
    if not names:
        raise UsageError(f"{words[0]} {rest[0]}: it names no {'image' if verb == 'run' else 'container'}")
    return _MAKERS[verb](options, names, folder)


def _split(words: Sequence[str], flags: frozenset[str], *, all_words: bool) -> tuple[list[tuple[str, str]], list[str]]:
    """Return options with their values, and the words from the first that is none."""
    options: list[tuple[str, str]] = []
    names: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            names += words[at:]
            break
        if not word.startswith("-") or word == "-":
            names.append(word)
            if not all_words:
                names += words[at:]
                break
            continue
        for name, value in _expanded(word, flags):
            if value is None and (name in flags or name in _BARE):
                options.append((name, "true"))
            elif value is None:
                if at == len(words):
                    raise UsageError(f"{word} needs a value")
                options.append((name, words[at]))
                at += 1
            else:
                options.append((name, value))
    return options, names


def _expanded(word: str, flags: frozenset[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the options of a word, as `-it` has two; the last may have its value in the word."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        if name not in flags and name not in _VALUES and name not in _OPTIONS:
            raise UsageError(f"--{name[:80]} is no option that is known here", hint="leave it out if it gives no privilege")
        yield name, value if equals else None
        return
    letters = word[1:]
    for at, letter in enumerate(letters):
        name = _SHORT.get(letter, letter)
        rest = letters[at + 1 :]
        if letter in flags:
            yield name, None
        elif name in _OPTIONS or name in _VALUES:
            yield name, (rest.removeprefix("=") if rest else None)
            return
        else:
            raise UsageError(f"-{letter} is no option that is known here", hint="leave it out if it gives no privilege")


def _is_true(value: str) -> bool:
    return value.lower() in ("", "true", "1", "t")


def _run(options: Sequence[tuple[str, str]], names: Sequence[str], folder: str) -> Line:
    host: dict[str, Any] = {}
    body: dict[str, Any] = {"Image": names[0], "Cmd": list(names[1:]), "HostConfig": host}
    for name, value in options:
        if name in _LISTS:
            host.setdefault(_LISTS[name], []).append(value)
        elif name in _WORDS:
            host[_WORDS[name]] = value
        elif name in _RUN:
            _RUN[name](body, host, value, folder)
    return Line("run", body, names[0], tuple(names[1:]))


def _exec(options: Sequence[tuple[str, str]], names: Sequence[str], folder: str) -> Line:  # noqa: ARG001 - as the others
    given = dict(options)
    body = {"User": given.get("user", ""), "Privileged": _is_true(given.get("privileged", "false")), "Cmd": list(names[1:])}
    return Line("exec", body, names[0], tuple(names[1:]))


def _attach(options: Sequence[tuple[str, str]], names: Sequence[str], folder: str) -> Line:  # noqa: ARG001 - as the others
    return Line("attach", {}, names[0])


def _copy(options: Sequence[tuple[str, str]], names: Sequence[str], folder: str) -> Line:  # noqa: ARG001 - as the others
    if len(names) != 2:
        raise UsageError("cp takes a source and a destination")
    into = [":" in name and not name.startswith((".", "/")) for name in names]
    if into[0] == into[1]:
        raise UsageError("cp is between a container and this machine", hint="CONTAINER:PATH")
    return Line("copy", {}, names[into.index(True)].partition(":")[0], write=into[1])


def _build(options: Sequence[tuple[str, str]], names: Sequence[str], folder: str) -> Line:  # noqa: ARG001 - as the others
    loose = {"network": ("host",), "net": ("host",), "allow": ("network.host", "security.insecure")}
    insecure = any(value in loose.get(name, ()) or (name == "cgroup-parent" and value) for name, value in options)
    return Line("build", {}, names[-1], insecure=insecure)


_MAKERS: dict[Verb, Callable[[Sequence[tuple[str, str]], Sequence[str], str], Line]] = {
    "run": _run, "exec": _exec, "attach": _attach, "copy": _copy, "build": _build,
}  # fmt: skip
_Taker = Callable[[dict[str, Any], dict[str, Any], str, str], None]


def _volume(body: dict[str, Any], host: dict[str, Any], value: str, folder: str) -> None:
    source, colon, rest = value.partition(":")
    if not colon:
        body.setdefault("Volumes", {})[value] = {}
        return
    host.setdefault("Binds", []).append(f"{_path(source, folder)}:{rest}")


def _path(source: str, folder: str) -> str:
    """A path begins in the folder of the person; a name is a volume's."""
    return f"{folder.rstrip('/')}/{source}" if source.startswith(".") else source


def _mount(body: dict[str, Any], host: dict[str, Any], value: str, folder: str) -> None:  # noqa: ARG001 - as the others
    given: dict[str, str] = {}
    options: dict[str, str] = {}
    for part in value.split(","):
        key, equals, text = part.partition("=")
        if key == "volume-opt":
            name, _, said = text.partition("=")
            options[name] = said
        else:
            given[key.lower()] = text if equals else "true"
    source = given.get("source", given.get("src", ""))
    kind = given.get("type", "volume")
    host.setdefault("Mounts", []).append(
        {
            "Type": kind,
            "Source": _path(source, folder) if kind == "bind" else source,
            "Target": given.get("target", given.get("dst", given.get("destination", ""))),
            "ReadOnly": _is_true(given.get("readonly", given.get("ro", "false"))),
            "BindOptions": {"Propagation": given.get("bind-propagation", "")},
            "VolumeOptions": {"DriverConfig": {"Name": given.get("volume-driver", "local"), "Options": options}},
        }
    )


def _device(body: dict[str, Any], host: dict[str, Any], value: str, folder: str) -> None:  # noqa: ARG001 - as the others
    path = value.partition(":")[0]
    if path.startswith("/"):
        host.setdefault("Devices", []).append({"PathOnHost": path})
    else:
        host.setdefault("DeviceRequests", []).append({"Driver": value})


def _publish(body: dict[str, Any], host: dict[str, Any], value: str, folder: str) -> None:  # noqa: ARG001 - as the others
    head, _, container = value.rpartition(":")
    address, _, port = head.rpartition(":") if ":" in head else ("", "", head)
    host.setdefault("PortBindings", {}).setdefault(container, []).append({"HostIp": address.strip("[]"), "HostPort": port})


def _pair(key: str, where: Literal["body", "host"]) -> _Taker:
    def take(body: dict[str, Any], host: dict[str, Any], value: str, folder: str) -> None:  # noqa: ARG001 - as the others
        name, _, said = value.partition("=")
        (body if where == "body" else host).setdefault(key, {})[name] = said

    return take


def _set(key: str, where: Literal["body", "host"], make: Callable[[str], Any]) -> _Taker:
    def take(body: dict[str, Any], host: dict[str, Any], value: str, folder: str) -> None:  # noqa: ARG001 - as the others
        (body if where == "body" else host)[key] = make(value)

    return take


def _add(key: str, where: Literal["body", "host"], make: Callable[[str], Any]) -> _Taker:
    def take(body: dict[str, Any], host: dict[str, Any], value: str, folder: str) -> None:  # noqa: ARG001 - as the others
        (body if where == "body" else host).setdefault(key, []).append(make(value))

    return take


def _count(value: str) -> int:
    """Sizes such as 512m: what matters is that there is a limit."""
    digits = value.rstrip("bkmgBKMG")
    return int(float(digits)) if digits.replace(".", "", 1).isdecimal() and len(digits) < 16 else 0


def _restart(value: str) -> Mapping[str, str]:
    return {"Name": value.partition(":")[0]}


_RUN: dict[str, _Taker] = {
    "user": _set("User", "body", str),
    "volume": _volume,
    "mount": _mount,
    "tmpfs": _pair("Tmpfs", "host"),
    "device": _device,
    "gpus": _add("DeviceRequests", "host", lambda _: {"Driver": "gpu"}),
    "publish": _publish,
    "env": _add("Env", "body", str),
    "label": _pair("Labels", "body"),
    "annotation": _pair("Annotations", "host"),
    "sysctl": _pair("Sysctls", "host"),
    "restart": _set("RestartPolicy", "host", _restart),
    "memory": _set("Memory", "host", _count),
    "cpus": _set("NanoCpus", "host", _count),
    "pids-limit": _set("PidsLimit", "host", _count),
    "entrypoint": _set("Entrypoint", "body", lambda value: [value]),
    "read-only": _set("ReadonlyRootfs", "host", _is_true),
    "privileged": _set("Privileged", "host", _is_true),
    "use-api-socket": _add("Binds", "host", lambda _: "/var/run/docker.sock:/var/run/docker.sock"),
}
