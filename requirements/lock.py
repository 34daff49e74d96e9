"""Writes the lock files beside this script: every dependency with its hashes, for every supported Python at once."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
COOL_DOWN = dt.timedelta(days=7)  # most hijacked releases are found and withdrawn within days


def compile_lock(output: str, *sources: str) -> None:
    """Resolve SOURCES (arguments of the resolver) into the file OUTPUT."""
    before = dt.datetime.now(dt.UTC) - COOL_DOWN
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--generate-hashes",
        "--no-annotate",
    ]
    command += ["--no-emit-index-url", "--python-version", "3.11", "--no-header", "--exclude-newer", before.isoformat()]
    command += [*sources, "-o", str(HERE / output)]
    subprocess.run(command, check=True, cwd=HERE.parent)


def main() -> None:
    """Write runtime.txt, build.txt and dev.txt."""
    compile_lock("runtime.txt", "pyproject.toml")
    (HERE / "build.in").write_text("hatchling>=1.27\neditables>=0.5\n")
    compile_lock("build.txt", str(HERE / "build.in"))
    compile_lock("dev.txt", "pyproject.toml", "--group", "dev", "--group", "docs")


main()
