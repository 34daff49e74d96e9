"""A Podman of the tests' own, root's: its own store, asked as whom somebody logged in as; with a gate before its runtime or not.

Needs root, podman and runc. Podman has no interface at which a gate could stand: what it starts is decided at the runtime.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from attacking import Side
from dockerengine import COMMAND_SECONDS, Done, Engine, Person
from dockergate import POLICY, Gate

# A process that root starts for somebody who logged in bears that login for good; then it is as if by sudo.
_LOGIN = 'echo "$1" >/proc/self/loginuid; shift; exec "$@"'


class Podman(Engine):
    """One store of Podman. It is no process: `start` and `stop` keep what an engine has."""

    runtime = "runc"

    def start(self) -> Self:
        """Make its folder."""
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.runtime = self._runtime()
        return self

    def _runtime(self) -> str:
        return next(path for path in ("/usr/sbin/runc", "/usr/bin/runc") if Path(path).exists())

    def stop(self) -> None:
        """End all containers."""
        self.run(0, ["rm", "-f", "-a", "-t", "0"])

    def words(self) -> list[str]:
        """Return the command with the options that make it this one."""
        return [
            "podman", "--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"), "--tmpdir",
            str(self.folder / "tmp"), "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--log-level", "error",
            "--runtime", self.runtime,
        ]  # fmt: skip

    def run(self, uid: int, words: Sequence[str], **more: Any) -> Done:
        """Run a command of Podman as root, for a user who logged in."""
        return self.as_root_for(uid, [*self.words(), *words], **more)

    def as_root_for(
        self, uid: int, words: Sequence[str], *, text: str = "", cwd: Path | str = "/", seconds: float = 0, **env: str
    ) -> Done:
        """Run any command as root, for a user who logged in."""
        given = {
            "PATH": os.environ.get("PATH", "") + ":/usr/sbin", "HOME": str(self.folder), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            **env,
        }  # fmt: skip
        # A file, not a pipe: what a container leaves running would hold a pipe open for as long as it runs.
        with tempfile.TemporaryFile() as said:
            try:
                code = subprocess.run(
                    ["sh", "-c", _LOGIN, "login", str(uid), *words], input=text.encode(), stdout=said, stderr=said, env=given,
                    cwd=cwd, check=False, timeout=seconds or COMMAND_SECONDS,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                code = 124
            said.seek(0)
            return Done(code, said.read().decode("utf-8", "replace"))

    def load(self, archive: bytes, end: object = None) -> None:
        """Load images."""
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            file.write(archive)
            file.flush()
            done = self.run(0, ["load", "-q", "-i", file.name])
        if done.code:
            raise RuntimeError(f"images were not loaded: {done.text}")

    def look(self, path: str) -> Any:
        """Return what `podman inspect` says of a name, given as `/containers/NAME/json` or alone."""
        name = path.removeprefix("/containers/").removeprefix("/images/").removesuffix("/json")
        done = self.run(0, ["inspect", name])
        return json.loads(done.text)[0] if done.code == 0 else None


class GatedPodman(Podman, Gate):
    """Podman whose runtime is the gate."""

    def __init__(self, folder: Path, *, policy: str = POLICY) -> None:
        Podman.__init__(self, folder)
        Gate.__init__(self, folder, ["podman", "--agent", str(folder / "agent.sock")], policy)

    def start(self) -> Self:
        """Start the gate."""
        self.set_up()
        super().start()
        return self

    def _runtime(self) -> str:
        return str(self.folder / "bin" / "runc")

    def stop(self) -> None:
        """End all containers, then the gate."""
        super().stop()
        self.stop_gate()


class PodmanSide(Side):
    """Podman as attacks see it: a command line that its user may run as root, with all its options but those of the runtime."""

    def __init__(self, engine: Podman, people: dict[str, Person]) -> None:
        super().__init__(engine, people)
        self._podman = engine

    def command(self, who: Person, words: list[str], *, text: str = "", seconds: float = 0) -> Done:
        """Run podman's command line for somebody."""
        return self._podman.run(who.uid, words, text=text, seconds=seconds, cwd=str(self.work))

    def shell(self, who: Person, line: str, here: Path, configuration: Path) -> Done:
        """Run a shell's line for somebody; `docker` in it is Podman."""
        programs = self.engine.folder / "programs"
        programs.mkdir(exist_ok=True)
        (programs / "docker").write_text(f'#!/bin/sh\nexec {shlex.join(self._podman.words())} "$@"\n')
        (programs / "docker").chmod(0o755)
        path = f"{programs}:{os.environ.get('PATH', '')}:/usr/sbin"
        words = ["sh", "-c", line + " 2>&1"]
        return self._podman.as_root_for(who.uid, words, cwd=here, PATH=path, CONTAINERS_CONF_OVERRIDE=str(configuration))

    def clean(self) -> None:
        """Remove every container, pod and volume that is left."""
        for words in (["pod", "rm", "-f", "-a", "-t", "0"], ["rm", "-f", "-a", "-t", "0"], ["volume", "rm", "-f", "-a"]):
            self._podman.run(0, words)


def can_log_in() -> bool:
    """Say whether this kernel keeps who logged in."""
    words = ["sh", "-c", "echo 5 >/proc/self/loginuid && cat /proc/self/loginuid"]
    return shutil.which("podman") is not None and subprocess.run(words, capture_output=True, check=False).stdout == b"5"
