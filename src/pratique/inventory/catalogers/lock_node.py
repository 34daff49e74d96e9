"""Lock files of npm, Yarn, pnpm and Bun in, declared npm packages out. The formats' readers are in `inventory/lockfiles`.

Packages from a repository keep the version that the lock file states and a `vcs_url`; without a version they are a Gap. Folders
and work space members come from no registry: they are left out, or have the role "main" where they state a version.
"""

from __future__ import annotations

from pratique.inventory.lockfiles.entries import Entries, LockInspector, base_name
from pratique.model.errors import ParseError
from pratique.model.ports import MEBIBYTE, File, Interest

# The largest lock files known (work spaces of 6,000 packages) have 5 MB.
MAX_BYTES = 32 * MEBIBYTE

_NPM = ("package-lock.json", "npm-shrinkwrap.json")
_YARN, _PNPM, _BUN, _BUN_BINARY = "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"


def _read(file: File, entries: Entries) -> None:
    base = base_name(file.path)
    if base == _BUN_BINARY:
        raise ParseError("Bun's binary lock file is not read; `bun install --save-text-lockfile` writes the text one")
    # Imported here, each only when such a file is met: images have no declared packages, and start-up should not pay for them.
    if base in _NPM:
        from pratique.inventory.lockfiles.npm import read  # noqa: PLC0415
    elif base == _YARN:
        from pratique.inventory.lockfiles.yarn import read  # noqa: PLC0415
    elif base == _PNPM:
        from pratique.inventory.lockfiles.pnpm import read  # noqa: PLC0415
    else:
        from pratique.inventory.lockfiles.bun import read  # noqa: PLC0415
    read(file.read(), entries)


INSPECTOR = LockInspector(
    "lock_node",
    "npm",
    Interest(names=(*_NPM, _YARN, _PNPM, _BUN, _BUN_BINARY), scope="declared", max_bytes=MAX_BYTES),
    _read,
    may_be_empty=lambda base: base == _YARN,  # a project without dependencies
)
