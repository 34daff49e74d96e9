"""A file in a working tree in, whose signature vouches for it out: that of the commit which changed it last.

`git` verifies, with the keys that the person trusts: their GnuPG keyring, and the SSH keys of an allowed-signers file
(https://man.openbsd.org/ssh-keygen#ALLOWED_SIGNERS). Nothing that the repository's own configuration says about programs or
signers is followed: whoever can write it could vouch for himself.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

SECONDS = 20.0  # for one question to git; reading a commit takes milliseconds, gpg-agent may have to start
MAX_OUTPUT = 4 << 20  # bytes of a committed file; files that people write are read up to 1 MiB

_OWN = (
    "--no-optional-locks", "--no-replace-objects", "--literal-pathspecs", "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null", "-c", "core.commitGraph=false", "-c", "protocol.allow=never",
    "-c", "gpg.program=gpg", "-c", "gpg.openpgp.program=gpg", "-c", "gpg.x509.program=gpgsm", "-c", "gpg.ssh.program=ssh-keygen",
    "-c", "gpg.minTrustLevel=marginal", "-c", "gpg.ssh.revocationFile=", "-c", "log.showSignature=false",
)  # fmt: skip
# What a hook or a server sets for the repository that it works on, which need not be the one of the file.
_OTHERS = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR",
    "GIT_NAMESPACE", "GIT_PREFIX", "GIT_EXTERNAL_DIFF", "GIT_SSH", "GIT_SSH_COMMAND",
)  # fmt: skip
_BAD = {
    "N": "is not signed", "B": "has a bad signature", "E": "has a signature whose key is not known",
    "X": "has a signature that has expired", "Y": "has a signature by a key that has expired",
    "R": "has a signature by a key that was revoked", "U": "has a signature by a key that nobody trusts",
}  # fmt: skip


class Signed(NamedTuple):
    """Who vouches for a file, or else why nobody does."""

    signer: str = ""
    why_not: str = ""


class _GitError(Exception):
    pass


def signer_of(path: Path, signers: Path | None = None) -> Signed:
    """Say who signed the last change of a file, as it stands here. `signers` is a file of allowed SSH signers. Never raises."""
    try:
        return _signer_of(path.resolve(), signers)
    except (_GitError, OSError) as error:
        return Signed(why_not=f"git cannot tell who signed it: {error}")


def _signer_of(path: Path, signers: Path | None) -> Signed:
    trusted = str(signers.resolve()) if signers is not None else _personal(path.parent)
    ask = ("-c", f"gpg.ssh.allowedSignersFile={trusted or '/dev/null'}")
    said = _git(path.parent, *ask, "log", "-1", "--format=%h%x00%G?%x00%GS", "--", path.name).decode("utf-8", "replace").strip()
    if not said:
        return Signed(why_not="it is not committed")
    commit, state, signer = [*said.split("\0"), "", ""][:3]
    if state != "G":
        return Signed(why_not=f"its last change, commit {commit}, {_BAD.get(state, 'has a signature that cannot be checked')}")
    if _git(path.parent, "cat-file", "blob", f"HEAD:./{path.name}") != path.read_bytes():
        return Signed(why_not="it is not as it was committed")
    return Signed(signer=signer or "somebody without a name")


def _personal(folder: Path) -> str:
    """Return the allowed-signers file of the person's own configuration, "" where there is none."""
    try:
        return _git(folder, "config", "--global", "--type=path", "gpg.ssh.allowedSignersFile").decode("utf-8", "replace").strip()
    except _GitError:
        return ""


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    return {**kept, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}  # what is not there is not fetched


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - no shell; paths stand behind --, or behind a revision
            ["git", *_OWN, *arguments],  # noqa: S607 - the person's own git
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=_environment(),
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise _GitError("there is no git") from None
    except subprocess.TimeoutExpired:
        raise _GitError(f"it takes longer than {SECONDS:.0f} seconds") from None
    if done.returncode or len(done.stdout) > MAX_OUTPUT:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _GitError(said[-1][:200] if said else "it says nothing")
    return done.stdout
