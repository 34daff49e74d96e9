"""The text of a privilege in, a privilege out; and which privileges stand for which others.

The set is closed: what is not in FORMS cannot be asked for, and what a gate sees beyond the baseline is always one of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

from pratique.grant.globs import MAX_PATTERN, is_magic, literal, normal
from pratique.grant.globs import covers as glob_covers
from pratique.model.errors import UsageError
from pratique.workload.spec import ALL_CAPABILITIES

MINUTE, HOUR = 60, 3600
# The longest lifetimes where a policy names none, in seconds. What is as good as root on the machine is for minutes.
OF_HOST, OF_ROOT, OF_LESS = 15 * MINUTE, HOUR, 8 * HOUR

Argument = Literal["none", "capability", "namespace", "mount", "device", "unconfined", "image", "number", "repository", "word"]


class Form(NamedTuple):
    """One form of a privilege: what stands behind the colon, the longest lifetime in seconds, and what it lets one do."""

    argument: Argument
    lifetime: int
    meaning: str


FORMS: dict[str, Form] = {
    "run.root": Form("none", OF_ROOT, "run a container as uid 0, or as a user that may be uid 0"),
    "run.userns-root": Form("none", OF_LESS, "run as uid 0 of a user namespace, which is nobody on the machine"),
    "run.uid": Form("number", OF_LESS, "run as a uid below the lowest that the baseline allows"),
    "run.group": Form("number", OF_LESS, "run with a group below the lowest that is allowed; group 0 owns much of root's"),
    "run.privileged": Form("none", OF_HOST, "run without confinement: every capability and device"),
    "run.new-privileges": Form("none", OF_ROOT, "let set-user-ID programs give what the container was not given"),
    "run.cap": Form("capability", OF_ROOT, "add a capability, or ALL"),
    "run.hostns": Form("namespace", OF_HOST, "share a namespace of the machine: pid, ipc, net, uts, cgroup, user"),
    "run.namespace-of": Form("word", OF_ROOT, "join the namespaces of another container"),
    "run.mount": Form("mount", OF_HOST, "bind a path of the machine: GLOB:ro or GLOB:rw"),
    "run.propagation": Form("word", OF_HOST, "let mounts made in the container appear on the machine: shared, rshared"),
    "run.device": Form("device", OF_HOST, "open a device of the machine"),
    "run.device-rule": Form("word", OF_HOST, "open all devices of a rule, written TYPE-MAJOR-MINOR-ACCESS"),
    "run.unconfined": Form("unconfined", OF_HOST, "run without seccomp, apparmor, selinux, or the masks over /proc"),
    "run.sysctl": Form("word", OF_ROOT, "set a kernel parameter that is not among the safe ones"),
    "run.hostport": Form("number", OF_LESS, "listen on a port of the machine"),
    "run.cgroup-parent": Form("word", OF_ROOT, "choose the control group, and so the limits of other containers"),
    "run.runtime": Form("word", OF_HOST, "choose another runtime, which may be one without a gate"),
    "run.image": Form("image", OF_LESS, "run an image that is not among the allowed ones"),
    "exec.any": Form("none", OF_ROOT, "run a command in a container of another, or as another user that is not root"),
    "exec.root": Form("none", OF_ROOT, "run a command in a container as root"),
    "exec.privileged": Form("none", OF_HOST, "run a command in a container with every capability"),
    "attach": Form("none", OF_ROOT, "attach to a container of another, or to one that runs as root"),
    "debug.ephemeral": Form("none", OF_ROOT, "add an ephemeral container to a pod"),
    "cp.write": Form("none", OF_ROOT, "write files into a container, as root"),
    "build.run": Form("none", OF_LESS, "build images: commands run as root of the build's container"),
    "build.insecure": Form("none", OF_HOST, "build with the machine's network or without a sandbox"),
    "volume.hostbind": Form("none", OF_HOST, "create a volume that is a path of the machine"),
    "engine.admin": Form("none", OF_HOST, "configure the engine itself: plugins, swarm, secrets, networks of the machine"),
    "token.mint": Form("none", OF_ROOT, "have a token of a service account made"),
    "impersonate": Form("word", OF_ROOT, "act as another user"),
    "registry.push": Form("repository", OF_ROOT, "push to a repository"),
    "registry.delete": Form("repository", OF_HOST, "delete from a repository"),
}

NAMESPACES = ("pid", "ipc", "net", "uts", "cgroup", "user")
UNCONFINED = ("seccomp", "apparmor", "selinux", "proc")

# What a privilege stands for beside itself, whatever the argument; run.root and run.privileged are told apart below.
_STANDS_FOR: dict[str, tuple[str, ...]] = {
    "run.root": ("run.userns-root", "run.uid", "run.group"),
    "run.privileged": (
        "run.root", "run.userns-root", "run.uid", "run.group", "run.cap", "run.device", "run.device-rule", "run.unconfined",
        "run.new-privileges",
    ),
    "exec.root": ("exec.any",),
    "exec.privileged": ("exec.root", "exec.any"),
    "build.insecure": ("build.run",),
}  # fmt: skip
_WHICH: dict[str, tuple[str, ...]] = {"namespace": NAMESPACES, "unconfined": UNCONFINED}
_NUMBERS = re.compile(r"(?:0|[1-9][0-9]{0,9})(?:-[1-9][0-9]{0,9})?")
_WORD = re.compile(r"[^\s'\"\\\x00-\x1f\x7f]{1,300}")


class Privilege(NamedTuple):
    """One privilege: its form, what stands behind the colon ("" where nothing does), and "ro" or "rw" for a mount."""

    form: str
    argument: str = ""
    access: str = ""

    def __str__(self) -> str:
        """Return its one spelling."""
        return ":".join(part for part in self if part)


@lru_cache(maxsize=4096)
def parse(text: str) -> Privilege:
    """Read a privilege. Raises UsageError with the nearest right name."""
    form, colon, argument = text.strip().partition(":")
    known = FORMS.get(form)
    if known is None:
        raise UsageError(f"there is no privilege {text[:80]!r}", hint=_nearest(form, FORMS))
    if known.argument == "none":
        if colon:
            raise UsageError(f"{form} stands alone: {text[:80]!r}", hint=f"write {form}")
        return Privilege(form)
    if not argument or len(argument) > MAX_PATTERN:
        raise UsageError(f"{form} needs something behind a colon: {text[:80]!r}", hint=_example(form))
    if known.argument == "mount":
        return _mount(argument, text)
    return Privilege(form, _argument(form, known.argument, argument))


def every() -> tuple[Privilege, ...]:
    """Return privileges that stand for all that there are, except what lies behind a process (`/proc/1/root`)."""
    wide: dict[str, tuple[str, ...]] = {
        "none": ("",),
        "number": ("*",),
        "mount": ("/**",),
        "device": ("/**",),
        "capability": ("ALL",),
        "namespace": NAMESPACES,
        "unconfined": UNCONFINED,
    }
    found: list[Privilege] = []
    for form, known in FORMS.items():
        arguments = (
            ("",) if known.argument == "none" else wide.get(known.argument, ("*",) if known.argument == "number" else ("**",))
        )
        found += [Privilege(form, argument, "rw" if known.argument == "mount" else "") for argument in arguments]
    return tuple(found)


def lifetime(privileges: Iterable[Privilege]) -> int:
    """Return the longest lifetime in seconds where a policy names none: that of the most dangerous of them."""
    return min((FORMS[one.form].lifetime for one in privileges), default=OF_LESS)


def parse_all(texts: Iterable[str]) -> tuple[Privilege, ...]:
    """Read several, each once, in order. Raises UsageError."""
    return tuple(dict.fromkeys(parse(text) for text in texts))


def mount(path: str, *, read_only: bool) -> Privilege:
    """Return what binding a path of the machine needs; nothing in the path is a wildcard."""
    return Privilege("run.mount", literal(normal(path)), "ro" if read_only else "rw")


def device(path: str) -> Privilege:
    """Return what opening a device needs: by its path, or for a control group's rule (`c 188:* rwm`) by the rule."""
    if path.startswith("/"):
        return Privilege("run.device", literal(normal(path)))
    return Privilege("run.device-rule", literal("-".join(path.replace(":", " ").split()) or "-").replace("%2A", "*"))


def of(form: str, argument: str = "") -> Privilege:
    """Return a privilege whose argument came from a request: it is written so that it is no pattern."""
    return Privilege(form, literal(argument) if argument else "")


def covers(have: Privilege, want: Privilege) -> bool:
    """Say whether who has the one may do the other."""
    if have == want:
        return True
    if want.form != have.form:
        return _stands_for(have, want)
    if have.access == "ro" and want.access != "ro":
        return False
    kind = FORMS[have.form].argument
    if kind == "capability":
        return have.argument == "ALL"
    if kind in ("mount", "device") and is_magic(want.argument):
        return have.argument == want.argument  # no wildcard by accident
    if kind == "number":
        return _numbers(have.argument, want.argument)
    return kind not in ("namespace", "unconfined") and glob_covers(have.argument, want.argument)


def _numbers(have: str, want: str) -> bool:
    if have == "*":
        return True
    if not (_NUMBERS.fullmatch(have) and _NUMBERS.fullmatch(want)):
        return False
    (low, high), (least, most) = _range(have), _range(want)
    return low <= least and most <= high


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def _stands_for(have: Privilege, want: Privilege) -> bool:
    return want.form in _STANDS_FOR.get(have.form, ())


def covered(have: Iterable[Privilege], want: Privilege) -> bool:
    """Say whether one of them is enough."""
    form = want.form
    return any((one.form == form or form in _STANDS_FOR.get(one.form, ())) and covers(one, want) for one in have)


def forms_covering(form: str) -> tuple[str, ...]:
    """Return the forms among which one that covers this form may be."""
    return (form, *(wider for wider, lesser in _STANDS_FOR.items() if form in lesser))


def fewest(privileges: Iterable[Privilege]) -> tuple[Privilege, ...]:
    """Leave out what another of them stands for; sorted."""
    rest = sorted(set(privileges))
    return tuple(one for one in rest if not any(other != one and covers(other, one) for other in rest))


def _mount(argument: str, text: str) -> Privilege:
    path, _, access = argument.rpartition(":")
    if access not in ("ro", "rw") or not path:
        raise UsageError(f"a mount is GLOB:ro or GLOB:rw: {text[:80]!r}", hint=f"did you mean 'run.mount:{argument}:ro'?")
    return Privilege("run.mount", _path(path, text), access)


def _path(path: str, text: str) -> str:
    if ".." in path.split("/"):
        raise UsageError(f"a path that is granted has no ..: {text[:80]!r}", hint="write where it is")
    if not _WORD.fullmatch(path) or not path.startswith(("/", "./", "~")):
        raise UsageError(f"a path begins with / (or ./ or ~) and has no spaces: {text[:80]!r}", hint="write %20 for a space")
    return normal(path)


def _argument(form: str, kind: Argument, argument: str) -> str:  # one line a kind of argument
    if kind == "capability":
        name = argument.upper().removeprefix("CAP_")
        if name != "ALL" and name not in ALL_CAPABILITIES:
            raise UsageError(f"there is no capability {argument[:80]!r}", hint=_nearest(name, ALL_CAPABILITIES))
        return name
    if kind in _WHICH:
        if argument not in _WHICH[kind]:
            raise UsageError(f"{form} of {argument[:80]!r}", hint=f"one of {', '.join(_WHICH[kind])}")
        return argument
    if kind == "number":
        if argument != "*" and not _NUMBERS.fullmatch(argument):
            raise UsageError(f"{form} of {argument[:80]!r}", hint="a number, a range such as 8000-8999, or *")
        return argument
    if kind == "device":
        return _path(argument, f"{form}:{argument}")
    if kind == "image" and "sha256:" not in argument:
        raise UsageError(f"{form} of {argument[:80]!r}: tags move, digests do not", hint="NAME@sha256:DIGEST")
    if not _WORD.fullmatch(argument):
        raise UsageError(f"{form} of {argument[:80]!r}: no spaces or quotes", hint="write %20 for a space")
    return argument


def _nearest(word: str, known: Iterable[str]) -> str:
    words = sorted(known)
    near = difflib.get_close_matches(word, words, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(words)}"


def _example(form: str) -> str:
    examples = {
        "run.cap": "run.cap:NET_ADMIN", "run.mount": "run.mount:/srv/data/**:ro", "run.hostns": "run.hostns:pid",
        "registry.push": "registry.push:reg.example/team/*", "run.device": "run.device:/dev/fuse",
    }  # fmt: skip
    return f"such as {examples[form]}" if form in examples else FORMS[form].meaning
