"""Lock files of Python tools and pip's requirements files in, declared PyPI packages out. Readers are in `inventory/lockfiles`.

A requirements file may have any name. Read are those whose name ends in `requirements.txt` or is one of the usual variants, and
all `*.txt` in a folder `requirements` at the top.
"""

from __future__ import annotations

import posixpath
import re

from pratique.inventory.lockfiles.entries import Entries, LockInspector, base_name
from pratique.model.ports import MEBIBYTE, File, Interest

# Locks of the largest projects have 2 MB (6 MB where each of many wheels is listed).
MAX_BYTES = 16 * MEBIBYTE

_TOOLS = ("poetry.lock", "pdm.lock", "uv.lock", "Pipfile.lock")
_DEV = ("dev", "develop", "development", "test", "tests", "testing", "lint", "doc", "docs", "typing", "ci")
_VARIANTS = (
    *_DEV,
    *("all", "base", "build", "common", "core", "cpu", "extra", "extras", "frozen", "gpu", "local", "lock", "locked", "main"),
    *("minimal", "optional", "prod", "production", "tools"),
)
_REQUIREMENTS = tuple(f"requirements{mark}{word}.txt" for word in _VARIANTS for mark in "-_.")
_PYLOCKS = ("pylock.toml", *(f"pylock.{word}.toml" for word in _VARIANTS))
# What Rye writes has pip's format.
_RYE = ("requirements.lock", "requirements-dev.lock")
_FOLDER = "requirements"


def _is_requirements(path: str) -> bool:
    base = base_name(path)
    in_folder = path.startswith(f"{_FOLDER}/") and base.endswith(".txt")
    return in_folder or base.endswith("requirements.txt") or base in _REQUIREMENTS or base in _RYE


def _read(file: File, entries: Entries) -> None:
    base = base_name(file.path)
    # Imported here, when such a file is met: images have no declared packages, and start-up should not pay for them.
    if base in _TOOLS or base in _PYLOCKS:
        from pratique.inventory.lockfiles import pythonlocks  # noqa: PLC0415

        pythonlocks.READERS.get(base, pythonlocks.pylock)(file.read(), entries)
    elif _is_requirements(file.path):
        from pratique.inventory.lockfiles import requirements  # noqa: PLC0415

        folder = file.path.rpartition("/")[0]
        words = re.split(r"[-_.]", base.rpartition(".")[0])
        requirements.read(
            file.read(),
            entries,
            role="dev" if not set(_DEV).isdisjoint(words) else "",
            is_read=lambda path: _is_requirements(posixpath.normpath(posixpath.join(folder, path))),
        )


INSPECTOR = LockInspector(
    "lock_python",
    "pypi",
    Interest(
        names=(*_TOOLS, *_PYLOCKS, *_REQUIREMENTS, *_RYE),
        suffixes=("requirements.txt",),
        under=(_FOLDER,),
        scope="declared",
        max_bytes=MAX_BYTES,
    ),
    _read,
    # Generators write an empty file for "nothing", and a folder may hold anything.
    may_be_empty=lambda base: base not in _TOOLS and base not in _PYLOCKS,
)
