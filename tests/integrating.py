"""Images, and a shell as a build server starts it: an environment of its own, `pratique` on the path, no network."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import imagebuilder

ROOT = Path(__file__).parents[1]
INTEGRATIONS = ROOT / "integrations"
_FOLDER = "usr/local/lib/python3.12/site-packages"
Shell = Callable[..., subprocess.CompletedProcess[str]]


def images(folder: Path) -> Path:
    """Write old.tar, new.tar and clean.tar."""
    folder.mkdir()
    (folder / "old.tar").write_bytes(_image({"idna": "3.6", "urllib3": "1.25"}))
    (folder / "new.tar").write_bytes(_image({"urllib3": "1.25", "aiohttp": "3.8.4"}))
    (folder / "clean.tar").write_bytes(_image({"harmless": "1.0"}))
    return folder


def _image(packages: Mapping[str, str]) -> bytes:
    base = imagebuilder.layer({"etc/os-release": 'ID=debian\nVERSION_ID="12"\n'})
    files = {
        f"{_FOLDER}/{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        for name, version in packages.items()
    }
    return imagebuilder.docker_archive([base, imagebuilder.layer(files)])


def program(folder: Path, name: str, script: str) -> None:
    """Put a program on the path of the shell."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def start(workspace: Path, home: Path) -> Shell:
    """Return what runs a script, given as text or as a file; programs are in home/programs."""
    programs = home / "programs"
    program(programs, "pratique", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pratique "$@"\n')

    def run(script: str | Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(script), *arguments] if isinstance(script, Path) else ["sh", "-eu", "-c", script]
        given = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "PRATIQUE_OFFLINE": "true",
            "PRATIQUE_NOW": "2026-11-25",
            **environment,
        }
        return subprocess.run(command, cwd=workspace, env=given, capture_output=True, text=True, timeout=120, check=False)

    return run
