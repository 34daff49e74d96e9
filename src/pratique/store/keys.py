"""A store's folder of keys in, signatures and keyed hashes out: Ed25519 for seals and heads, one secret for hashes.

Public keys are written as `ed25519:` and 64 hexadecimal digits. A private key is deleted when the next has taken over, so that
who steals a store cannot sign what was sealed before.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pratique.model.errors import LedgerError, StoreError
from pratique.store.place import FILE_MODE, Place, make_folder, open_own, sync_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PREFIX = "ed25519:"
_SECRET_BYTES = 32  # as many as SHA-256 has, as RFC 2104 advises
_MAX_FILE = 4096  # bytes of a file in this folder; a key in PEM has 119


class Anchor(msgspec.Struct, frozen=True):
    """What a ledger began with: its name and its first key."""

    ledger: str
    key: str


class Signer:
    """A private key that signs."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = _PREFIX + private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        return self._private.sign(message).hex()


def verifies(key: str, message: bytes, signature: str) -> bool:
    """Say whether `signature` is that of `key` on `message`. Never raises: what is no key or signature does not verify."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.removeprefix(_PREFIX))).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return key.startswith(_PREFIX)


class Keys:
    """The folder `keys` of a store. Files others may read are refused."""

    def __init__(self, place: Place) -> None:
        self._folder = place.keys
        self._signers: dict[str, Signer] = {}
        self._secret = b""

    @property
    def secret(self) -> bytes:
        """The secret of keyed hashes. Raises LedgerError where it is missing."""
        if not self._secret:
            found = self._read(self._folder / "secret")
            if len(found) != _SECRET_BYTES:
                raise LedgerError(f"{self._folder / 'secret'}: not a secret of this ledger")
            self._secret = found
        return self._secret

    def begin(self) -> Signer:
        """Make the folder, the secret and the first key, and return that; a beginning cut short is taken up again."""
        make_folder(self._folder)
        if not (self._folder / "secret").exists():
            self._write("secret", secrets.token_bytes(_SECRET_BYTES))
        return self.newest() or self.add()

    def anchored(self, began: Anchor, *, new: bool) -> None:
        """Compare the ledger's name with that of the anchor; write that down where the ledger is new. Raises LedgerError."""
        anchor = self.anchor()
        if anchor is None and new:
            self._write("anchor.json", msgspec.json.encode(began))
        elif anchor is None or anchor.ledger != began.ledger:
            raise LedgerError(f"{self._folder / 'anchor.json'}: of another ledger, or missing", hint="pratique audit verify")

    def anchor(self) -> Anchor | None:
        path = self._folder / "anchor.json"
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(self._read(path), type=Anchor)
        except msgspec.DecodeError:
            raise LedgerError(f"{path}: damaged") from None

    def add(self) -> Signer:
        """Make a key that is newer than all others."""
        from cryptography.hazmat.primitives import serialization as how
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.generate()
        number = max(self._numbers(".pub"), default=0) + 1
        public = private.public_key().public_bytes(how.Encoding.PEM, how.PublicFormat.SubjectPublicKeyInfo)
        pem = private.private_bytes(how.Encoding.PEM, how.PrivateFormat.PKCS8, how.NoEncryption())
        self._write(f"ledger-{number}.pub", public)
        self._write(f"ledger-{number}.key", pem)
        return Signer(private)

    def newest(self) -> Signer | None:
        numbers = self._numbers(".key")
        return self._load(max(numbers)) if numbers else None

    def signer(self, key: str) -> Signer:
        """Return the private half of `key`. Raises LedgerError where this store does not have it."""
        if key not in self._signers:
            for number in self._numbers(".key"):
                signer = self._load(number)
                self._signers[signer.key] = signer
        if key not in self._signers:
            raise LedgerError(f"{self._folder}: the key that signs the ledger is not here", hint="pratique audit verify")
        return self._signers[key]

    def holds(self, key: str) -> bool:
        with contextlib.suppress(LedgerError):
            return bool(self.signer(key))
        return False

    def forget_all_but(self, key: str) -> None:
        """Delete the private keys that another has taken over from."""
        for number in self._numbers(".key"):
            if self._load(number).key != key:
                (self._folder / f"ledger-{number}.key").unlink(missing_ok=True)
        self._signers.clear()

    def hashed(self, words: Sequence[str]) -> str:
        """Return a keyed hash of words, such as an argv: the same words can be recognised, they cannot be guessed from it."""
        coded = [word.encode("utf-8", "surrogateescape") for word in words]
        data = b"".join(len(word).to_bytes(8, "big") + word for word in coded)
        return "hmac-sha256:" + hmac.digest(self.secret, b"words\0" + data, "sha256").hex()

    def mark(self, what: str, content: bytes) -> str:
        """Return a mark by which this store recognises what it kept itself."""
        return hmac.digest(self.secret, what.encode() + b"\0" + content, "sha256").hex()

    def _numbers(self, suffix: str) -> list[int]:
        names = [path.name for path in self._folder.glob("ledger-*")]
        middles = [name[7 : -len(suffix)] for name in names if name.startswith("ledger-") and name.endswith(suffix)]
        return sorted(int(middle) for middle in middles if middle.isdigit() and len(middle) < 9)

    def _load(self, number: int) -> Signer:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self._folder / f"ledger-{number}.key"
        try:
            private = load_pem_private_key(self._read(path), None)
        except (ValueError, TypeError):
            raise LedgerError(f"{path}: not a private key") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise LedgerError(f"{path}: not an Ed25519 key")
        return Signer(private)

    def _read(self, path: Path) -> bytes:
        try:
            descriptor = open_own(path, os.O_RDONLY)
        except OSError as error:
            raise LedgerError(f"{path}: cannot be read: {error.strerror}") from None
        with os.fdopen(descriptor, "rb") as file:
            if os.fstat(descriptor).st_mode & 0o077:
                raise StoreError(f"{path}: others may read this key", hint=f"chmod 600 {path}, then pratique audit rotate-key")
            return file.read(_MAX_FILE)

    def _write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all, and have it on disk. Raises LedgerError."""
        path = self._folder / name
        beside = path.with_name(f".{name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync_folder(self._folder)
        except OSError as error:
            raise LedgerError(f"{path}: cannot be written: {error.strerror}") from None
