"""A folder of keys in, signers by role out: Ed25519 keys made and kept, and which root metadata they made.

<role>-<key id>.pem        a private key, PKCS#8, to be read by its owner alone; it may lie elsewhere until it is needed
roots/<version>.root.json  every root that was made: what a repository says is compared with them
published.json             the number of the last publication
retired/                   keys that were rotated out
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pratique.advisory.index import replace
from pratique.model.errors import DatabaseError, UsageError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

ROLES = ("root", "targets", "snapshot", "timestamp")
# A private key in PEM has some hundred bytes.
_MAX_KEY = 16 << 10
_MAX_ROOT = 512_000  # as clients take, python-tuf's own limit


class _Published(msgspec.Struct, frozen=True):
    number: int = 0


class Ring:
    """The keys of one folder, by key id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signers: dict[str, CryptoSigner] = {}
        self._files: dict[str, Path] = {}

    @classmethod
    def load(cls, folder: Path) -> Ring:
        """Read every key of the folder, which is made where it is not there. Raises UsageError for a file that is no key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from securesystemslib.signer import CryptoSigner  # noqa: PLC0415 - heavy, and only for publishers

        ring = cls(folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            paths = sorted(folder.glob("*.pem"))
        except OSError as error:
            raise UsageError(f"--keys {folder}: {error.strerror or error}") from error
        for path in paths:
            try:
                key = load_pem_private_key(_start(path), password=None)
            except (ValueError, TypeError, OSError) as error:
                raise UsageError(f"{path} is no private key that can be read", hint="PEM without a password") from error
            if not isinstance(key, Ed25519PrivateKey):
                raise UsageError(f"{path} is no Ed25519 key")
            ring._add(CryptoSigner(key), path)
        return ring

    def _add(self, signer: CryptoSigner, path: Path) -> None:
        self.signers[signer.public_key.keyid] = signer
        self._files[signer.public_key.keyid] = path

    def make(self, role: str) -> CryptoSigner:
        """Make a key for a role and keep it; only its owner can read the file."""
        from securesystemslib.signer import CryptoSigner  # noqa: PLC0415 - as above

        signer = CryptoSigner.generate_ed25519()
        path = self.folder / f"{role}-{signer.public_key.keyid[:16]}.pem"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(signer.private_bytes)
            stream.flush()
            os.fsync(stream.fileno())
        self._add(signer, path)
        return signer

    def retire(self, keyid: str) -> None:
        """Put a key aside that no root names any more."""
        path = self._files.pop(keyid, None)
        self.signers.pop(keyid, None)
        if path is not None:
            (self.folder / "retired").mkdir(mode=0o700, exist_ok=True)
            path.replace(self.folder / "retired" / path.name)

    def roots(self) -> dict[int, bytes]:
        """Return every root that was made with this folder, by version."""
        found: dict[int, bytes] = {}
        for path in (self.folder / "roots").glob("*.root.json"):
            version = path.name.partition(".")[0]
            if version.isdecimal():
                found[int(version)] = path.read_bytes()[: _MAX_ROOT + 1]
        return dict(sorted(found.items()))

    def keep_root(self, version: int, content: bytes) -> None:
        """Keep a root before anybody else sees it, so that a publisher that is killed goes on from there."""
        (self.folder / "roots").mkdir(mode=0o700, exist_ok=True)
        replace(self.folder / "roots" / f"{version}.root.json", content)

    def number(self) -> int:
        """Return the number of the last publication; 0 where that is not known."""
        try:
            return msgspec.json.decode((self.folder / "published.json").read_bytes(), type=_Published).number
        except (OSError, msgspec.MsgspecError):
            return 0

    def keep_number(self, number: int) -> None:
        """Keep it, where the folder can be written: keys may be mounted to be read only."""
        with contextlib.suppress(OSError):
            replace(self.folder / "published.json", msgspec.json.encode(_Published(number)))

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder. Raises DatabaseError while another process publishes with these keys."""
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DatabaseError(f"another process publishes with the keys of {self.folder}") from None
            yield
        finally:
            os.close(handle)


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_MAX_KEY)
