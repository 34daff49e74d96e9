"""The script that a container starts with in, what it needs root for out: capabilities, and the account that it hands over to.

A program that nobody here knows is named as such: it is never taken to need nothing.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import NamedTuple

from pratique.lint.shell import Command, commands
from pratique.workload.place import whole

# What programs ask the kernel for when root calls them: https://man7.org/linux/man-pages/man7/capabilities.7.html
NEEDS: dict[str, tuple[str, ...]] = {
    "chown": ("CHOWN",), "chgrp": ("CHOWN",), "chmod": ("FOWNER",), "chroot": ("SYS_CHROOT",), "mknod": ("MKNOD",),
    "mount": ("SYS_ADMIN",), "umount": ("SYS_ADMIN",), "setcap": ("SETFCAP",), "renice": ("SYS_NICE",), "chrt": ("SYS_NICE",),
    "ionice": ("SYS_NICE",), "sysctl": ("SYS_ADMIN",), "ip": ("NET_ADMIN",), "ifconfig": ("NET_ADMIN",), "route": ("NET_ADMIN",),
    "iptables": ("NET_ADMIN", "NET_RAW"), "ip6tables": ("NET_ADMIN", "NET_RAW"), "nft": ("NET_ADMIN",), "tc": ("NET_ADMIN",),
    "tcpdump": ("NET_RAW",), "ping": ("NET_RAW",), "arping": ("NET_RAW",), "traceroute": ("NET_RAW",), "date": (),
    "kill": ("KILL",), "pkill": ("KILL",), "killall": ("KILL",), "install": ("CHOWN", "FOWNER"), "modprobe": ("SYS_MODULE",),
    "insmod": ("SYS_MODULE",),
}  # fmt: skip
# Programs that change to an account and then are another program.
HANDOVERS = frozenset(("gosu", "su-exec", "setpriv", "runuser", "su", "sudo", "chpst", "setuidgid", "s6-setuidgid"))
_TAKES_OPTIONS = ("setpriv", "runuser", "su", "sudo", "chpst")
_VALUED = ("--reuid", "--regid", "--user", "-c", "-g", "-s", "-u")
_TAKES_ACCOUNT = ("gosu", "su-exec", "setuidgid", "s6-setuidgid", "su")
_HANDED_OVER = ("SETGID", "SETUID")
# What works on files and words only, and on files of root without any capability.
_HARMLESS = frozenset((
    ":", "[", "[[", "alias", "awk", "base64", "basename", "break", "cat", "cd", "command", "continue", "cp", "cut",
    "date", "declare", "dirname", "echo", "egrep", "env", "envsubst", "exec", "exit", "export", "expr",
    "false", "fgrep", "find", "function", "getent", "getopts", "grep", "gunzip", "gzip", "head", "hostname", "id",
    "jq", "let", "ln", "local", "ls", "md5sum", "mkdir", "mkfifo", "mktemp", "mv", "nohup", "nproc", "od", "openssl",
    "paste", "popd", "printenv", "printf", "ps", "pushd", "pwd", "read", "readlink", "readonly", "realpath", "return",
    "rm", "rmdir", "sed", "seq", "set", "sha256sum", "shift", "shopt", "sleep", "sort", "stat", "tail",
    "tar", "tee", "test", "touch", "tr", "trap", "true", "type", "typeset", "ulimit", "umask", "uname", "uniq",
    "unset", "wait", "wc", "which", "whoami", "xargs",
))  # fmt: skip
_WRITERS = frozenset(("cp", "ln", "mkdir", "mkfifo", "mv", "rm", "rmdir", "tar", "tee", "touch", "gunzip", "gzip", "openssl"))
_FUNCTION = re.compile(r"^[ \t]*(?:function[ \t]+([A-Za-z_][\w:-]*)|([A-Za-z_][\w:-]*)[ \t]*\([ \t]*\))", re.MULTILINE | re.ASCII)
_IS_ROOT = re.compile(r"id -u|EUID|\$UID\b|whoami")


class Read(NamedTuple):
    """What a script does. `needs` are capabilities with the program that needs each, `unknown` programs that nobody here knows.

    `account` is who it hands over to ("" for nobody), `conditional` whether it asks first if it is root; `final` is what it ends
    in, `...` for the arguments that it was given. `called` are the names of all programs, `given` the folders that it gives to an
    account, and `writer` is a program that writes files, "" without one.
    """

    needs: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    account: str = ""
    conditional: bool = False
    final: tuple[str, ...] = ()
    called: frozenset[str] = frozenset()
    given: tuple[str, ...] = ()
    writer: str = ""


def read_script(text: str) -> Read:
    """Read a shell script; what it computes stays unknown."""
    found = commands(whole(text, 1))
    own = {name for pair in _FUNCTION.findall(text) for name in pair if name}
    needs: dict[str, str] = {}
    unknown: dict[str, None] = {}
    account, final = "", tuple[str, ...]()
    for command in found:
        name = command.name
        if name == "find":
            _found(command, needs, unknown)
        elif name in HANDOVERS:
            account, rest = handed_over(command.program[0].text.rsplit("/", 1)[-1], command.arguments)
            needs.update(dict.fromkeys(_HANDED_OVER, name))
            final = rest or final
        elif name in NEEDS:
            needs.update((need, name) for need in NEEDS[name] if need not in needs)
            if command.has("-R", "--recursive"):  # folders of others that are closed to everybody else
                needs.setdefault("DAC_OVERRIDE", name)
        elif _executes(command):
            final = _arguments(word.text for word in command.program)
        elif name in (".", "source"):
            unknown.setdefault(" ".join((name, *command.arguments[:1]))[:80])
        elif not _is_known(name, own):
            unknown.setdefault(name[:80])
    return Read(
        needs=tuple(sorted(needs.items())),
        unknown=tuple(unknown),
        account=account,
        conditional=bool(_IS_ROOT.search(text)),
        final=final,
        called=frozenset(command.name for command in found),
        given=_given(found),
        writer=next((command.name for command in found if command.name in _WRITERS), ""),
    )


def _found(command: Command, needs: dict[str, str], unknown: dict[str, None]) -> None:
    """Note what `find` starts for what it finds, in folders of others that are closed to everybody else."""
    words = command.arguments
    for at, word in enumerate(words[:-1]):
        if word in ("-exec", "-execdir", "-ok"):
            name = words[at + 1].rsplit("/", 1)[-1]
            needs.update((need, f"find and {name}") for need in (*NEEDS.get(name, ()), "DAC_OVERRIDE") if need not in needs)
            if name not in NEEDS and name not in _HARMLESS:
                unknown.setdefault(name[:80])


def _given(found: Iterable[Command]) -> tuple[str, ...]:
    paths = (word for command in found if command.name == "chown" for word in command.arguments)
    return tuple(sorted({word for word in paths if word.startswith("/")}))


def _is_known(name: str, own: Container[str]) -> bool:
    """Say whether a program is known to need nothing, is a function of the script, or is no program (a pattern of `case`)."""
    return not name or name in _HARMLESS or name in own or name in ("$@", "${@}") or name.startswith(("-", "*", "?", '"'))


def _executes(command: Command) -> bool:
    words = [word.text for word in command.words]
    return bool(words) and (words[0] == "exec" or words[0] in ("$@", "${@}")) and bool(command.program)


def _arguments(words: Iterable[str]) -> tuple[str, ...]:
    return tuple("..." if word in ("$@", "${@}", "$*") else word for word in words)


def handed_over(name: str, arguments: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Return the account that a program changes to and what it then starts; "" where it cannot be told."""
    words = list(arguments)
    account = ""
    line = name in ("su", "runuser") and "-c" in words  # for a shell: it is not read here
    while words and words[0].startswith("-"):
        option = words.pop(0)
        key, equals, value = option.partition("=")
        if name in _TAKES_OPTIONS and key in _VALUED:
            value = value if equals else words.pop(0) if words else ""
            account = value if key in ("--reuid", "-u", "--user") else account
    if name in _TAKES_ACCOUNT and words:
        account = words.pop(0)
    account = account.partition(":")[0]
    return ("" if "$" in account else account), () if line else _arguments(words)
