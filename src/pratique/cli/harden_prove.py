"""What is proposed for an image in, what became of it on an engine out: the image is started as it is and with the flags.

The engine is the one of whoever asks, called by its program. Containers have no network but their own loopback, are named after
this process, and are removed with their volumes however this ends, short of SIGKILL; one that stays is named. Of what they write
no more than a page is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pratique.model.errors import TargetError, UsageError
from pratique.report.text import cut, safe

ENGINES = ("docker", "podman")
SECONDS = 15.0  # until a start counts as one that holds: servers open their ports within five
MAX_SECONDS = 600.0
_CALL = 120.0  # seconds for one call of the engine; a large image is mounted within some ten
_EVERY = 0.5
MAX_LOG = 1 << 16  # bytes of a log that are looked at; what a program says when it fails is its last page
MAX_SAID = 5  # lines of it that are shown
_DENIED = re.compile(r"permission denied|not permitted|read-only file system|EACCES|EPERM|EROFS", re.IGNORECASE)
_GROUPS = ("--user", "--cap-", "--security-opt", "--sysctl", "--read-only", "--tmpfs")
_TOGETHER = {"--tmpfs": "--read-only"}  # without the one the other means nothing


class How(NamedTuple):
    """How long a start is watched, in seconds, and a command (for `sh -c` in the container) that has to succeed by then."""

    seconds: float = SECONDS
    check: str = ""


class Tried(NamedTuple):
    """What became of one start: whether it was up in the end, its exit code if not, whether the check succeeded, and its log."""

    up: bool
    code: int
    fine: bool
    log: tuple[str, ...]

    @property
    def told(self) -> str:
        """Say it in words."""
        if not self.up:
            return f"it ended with {self.code}"
        return "it is up" if self.fine else "it is up, and the check does not succeed"


class Proof(NamedTuple):
    """A start as the image is, one with the flags, and those groups of flags without each of which it holds."""

    plain: Tried
    hardened: Tried
    blamed: tuple[str, ...] = ()

    @property
    def holds(self) -> bool | None:
        """Whether the proposal holds; None where the image does not even run as it is, so that nothing was shown."""
        if not self.plain.fine and not (not self.plain.up and self.plain.code == 0):
            return None
        return _as_good(self.hardened, self.plain)

    def lines(self, how: How) -> Iterator[str]:
        """Yield the remarks on it."""
        yield f"as it is: {self.plain.told}"
        yield f"with these flags: {self.hardened.told}"
        if self.holds is None:
            yield f"that shows nothing: within {how.seconds:g} seconds it does not run by itself, without a network, either"
            yield from (f"it says: {line}" for line in self.plain.log[-MAX_SAID:])
            return
        new = [
            line for line in self.hardened.log if _DENIED.search(line) and _shape(line) not in set(map(_shape, self.plain.log))
        ]
        for line in new[:MAX_SAID] or (self.hardened.log[-MAX_SAID:] if not self.holds else ()):
            yield f"it says, as it did not before: {line}"
        if not self.holds:
            yield from (f"without {group} it holds" for group in self.blamed)
            if not self.blamed:
                yield "it does not hold without any one of them, either: more than one is too much"


def prove(engine: str, name: str, identities: Sequence[str], flags: Sequence[str], how: How) -> Proof:
    """Try flags on an image that an engine has under a name. Raises UsageError, TargetError.

    `identities` are digests of the image that the flags were made for: an engine that has another under the name proves nothing.
    """
    program = shutil.which(engine)
    if program is None:
        raise UsageError(f"--prove {engine}: there is no program of that name", hint=f"install it, or try {' or '.join(ENGINES)}")
    client = _Engine(program)
    with _tidily():
        image = client.same(name, identities)
        plain = client.start(image, (), how)
        hardened = client.start(image, flags, how)
        proof = Proof(plain, hardened)
        if proof.holds is not False:
            return proof
        blamed = [group for group, rest in _without(flags) if _as_good(client.start(image, rest, how), plain)]
        return proof._replace(blamed=tuple(blamed))


@contextlib.contextmanager
def _tidily() -> Iterator[None]:
    """Have the end that others ask for (SIGTERM, a terminal that is gone) be an interruption, upon which is tidied up."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    own = threading.current_thread() is threading.main_thread()
    numbers = [
        one for one in (signal.SIGTERM, signal.SIGHUP) if own and signal.getsignal(one) == signal.SIG_DFL
    ]  # nohup ignores one
    before = {number: signal.signal(number, interrupted) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_good(tried: Tried, plain: Tried) -> bool:
    return tried.fine >= plain.fine and (tried.up == plain.up) and (tried.up or tried.code == plain.code)


def _without(flags: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the flags without one group at a time, with what the group is called."""
    groups: dict[str, list[str]] = {}
    for flag in flags:
        start = next((group for group in _GROUPS if flag.startswith(group)), flag)
        groups.setdefault(_TOGETHER.get(start, start), []).append(flag)
    for group in groups.values():
        yield " ".join(group), [flag for flag in flags if flag not in group]


def _shape(line: str) -> str:
    """Return a line without what differs from start to start: times and numbers."""
    return re.sub(r"\d+", "0", line)


class _Engine:
    def __init__(self, program: str) -> None:
        self._program = program

    def same(self, name: str, identities: Sequence[str]) -> str:
        """Return the image's id, by which it is started. Raises TargetError where the engine has none or another of that name."""
        ran = self._run("image", "inspect", "--format", "{{.Id}}", "--", name)
        if ran.returncode:
            raise TargetError(f"{self._program} has no image {name}", hint="load or pull it into the engine first")
        found = ran.stdout.strip().removeprefix("sha256:")
        if found not in {identity.removeprefix("sha256:") for identity in identities}:
            raise TargetError(
                f"{self._program} has another image under the name {name}", hint="load this one into the engine first"
            )
        return found

    def start(self, image: str, flags: Sequence[str], how: How) -> Tried:
        """Start a container and watch it. Raises TargetError where the engine does not even make it."""
        called = f"pratique-prove-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            ran = self._run("run", "--detach", "--pull=never", "--network=none", "--name", called, *flags, image)
            if ran.returncode:
                return Tried(up=False, code=ran.returncode, fine=False, log=_lines(ran.stderr))
            return self._watched(called, how)
        finally:
            self._remove(called)

    def _watched(self, called: str, how: How) -> Tried:
        end = time.monotonic() + how.seconds
        fine = False
        while True:
            state = self._state(called)
            up = bool(state.get("Running"))
            health = state.get("Health") or state.get("Healthcheck") or {}
            known = health.get("Status") if isinstance(health, dict) else ""
            if up and how.check:
                fine = self._talked("exec", called, "sh", "-c", how.check)[0] == 0
            done = fine or known in ("healthy", "unhealthy")
            if not up or (done and not (how.check and not fine)) or time.monotonic() > end:
                break
            time.sleep(_EVERY)
        log = self._talked("logs", "--tail", "200", called)[1]
        fine = up and (fine if how.check else known != "unhealthy")
        code = state.get("ExitCode")
        return Tried(up=up, code=code if isinstance(code, int) else -1, fine=fine, log=_lines(log))

    def _state(self, called: str) -> dict[str, Any]:
        ran = self._run("inspect", "--format", "{{json .State}}", called)
        try:
            found = json.loads(ran.stdout)
        except ValueError:
            raise TargetError(
                f"{self._program} says nothing of a container that it just made: {cut(safe(ran.stderr), 200)}"
            ) from None
        return found if isinstance(found, dict) else {}

    def _remove(self, called: str) -> None:
        try:
            self._run("kill", called)  # Podman would first wait for what was shown to be up, ten seconds each time
            ran = self._run("rm", "--force", "--volumes", called)
            why = ran.stderr.strip() if ran.returncode else ""
        except (OSError, TargetError) as error:
            why = str(error)
        if why and "no such container" not in why.lower():  # one that was never made
            sys.stderr.write(f"pratique: the container {called} is left: {cut(safe(why), 200)}\n")

    def _talked(self, *words: str) -> tuple[int, str]:
        """Return how a call ended and the end of what it said, in which a container has its say. Raises TargetError."""
        end = b""
        with subprocess.Popen(  # noqa: S603 - as below
            [self._program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            late = threading.Timer(_CALL, process.kill)
            late.start()
            try:
                while piece := os.read(process.stdout.fileno(), MAX_LOG):
                    end = (end + piece)[-MAX_LOG:]
                code = process.wait()
            finally:
                finished = late.is_alive()
                late.cancel()
                process.kill()
        if not finished:
            raise TargetError(f"{self._program} {words[0]} does not answer within {_CALL:g} seconds")
        return code, end.decode(errors="replace")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - the engine of whoever asks, found in their PATH
                [self._program, *words], capture_output=True, text=True, errors="replace", timeout=_CALL, check=False
            )
        except subprocess.TimeoutExpired:
            raise TargetError(f"{self._program} {words[0]} does not answer within {_CALL:g} seconds") from None


def _lines(text: str) -> tuple[str, ...]:
    return tuple(cut(safe(line.strip()), 300) for line in text[-MAX_LOG:].split("\n") if line.strip())
