"""A signature of an approver's key in, an approver known with strength 2 out.

A user name on a machine is strength 1: whoever sits at the terminal. An approval asks for 2, so that an approver's key, which
lies elsewhere or under a passphrase, is registered with the store, and signs each approval: which grant, which request (its
hash), what is done with it, and when. Ed25519 (RFC 8032): in PEM, as OpenSSH keeps it, in its agent, or in a FIDO authenticator.
Where somebody touched the latter it is a second factor beside the login: strength 3.
"""

from __future__ import annotations

import base64
import binascii
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from pratique.grant.request import key as key_of
from pratique.granting import sshsig
from pratique.granting.desk import Desk
from pratique.model.errors import GrantError, ParseError, UsageError
from pratique.model.privilege import CERTIFICATE, PEER, SECOND_FACTOR, Subject
from pratique.policyfiles import read_bounded, read_given
from pratique.store.facts import Facts
from pratique.store.keys import verifies
from pratique.store.line import Entry, Who

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FRESH = 300.0  # seconds that a signature is good for: a passphrase is typed, a request crosses a network
_FACT = "approver:"
_PREFIX = "ed25519:"

Act = Literal["approve", "deny", "revoke", "cancel", "complete", "review", "break-glass"]


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A key of an approver; `of` is `PROVIDER:ID`. Times are seconds since the epoch."""

    of: str
    key: str
    by: str
    at: float


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What a signature is over, and the signature: in hexadecimal, or as ssh-keygen writes it; "" where nothing is signed.

    Of a glass that is broken `grant` is "" and `request` the hash of what is asked, as it is sent.
    """

    act: Act
    grant: str
    request: str
    at: float
    signature: str = ""

    def statement(self) -> bytes:
        """Return the bytes that are signed: they begin with what they are, so that they are nothing else."""
        said = {"act": self.act, "at": self.at, "grant": self.grant, "request": self.request}
        return b"pratique approval 1\n" + msgspec.json.encode(said, order="sorted")


class Approvers:
    """The keys that a store knows."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._facts: Facts = desk.facts

    def get(self, of: str) -> Registered | None:
        """Return the key of an approver, `PROVIDER:ID`. Raises StoreError."""
        said = self._facts.get(_FACT + of)
        return msgspec.json.decode(said, type=Registered) if said else None

    def add(self, of: str, public: str, by: Subject) -> Registered:
        """Know an approver by a key from now on, in place of the one before. Raises StoreError, LedgerError."""
        made = Registered(of=of, key=public, by=key_of(by), at=self._desk.now().wall)
        self._put(of, msgspec.json.encode(made).decode(), by, {"key": public})
        return made

    def remove(self, of: str, by: Subject) -> None:
        """Know an approver by no key any more. Raises UsageError where there was none."""
        if self.get(of) is None:
            raise UsageError(f"{of} has no key here", hint="pratique grant key list")
        self._put(of, "", by, {})

    def all(self) -> list[Registered]:
        """Return the keys, by whose they are. Raises StoreError."""
        return [msgspec.json.decode(said, type=Registered) for said in self._facts.beginning(_FACT) if said]

    def strengthened(self, subject: Subject, signed: Signed) -> Subject:
        """Return who a subject is known as by a signature. Raises GrantError for one that is not theirs, or not of now."""
        registered = self.get(key_of(subject))
        if registered is None:
            raise GrantError(f"{key_of(subject)} has no key here", hint="an administrator adds it: pratique grant key add")
        if subject.strength < PEER or subject.provider == "claimed":
            raise GrantError("a claimed name is not made true by a signature")
        if not abs(self._desk.now().wall - signed.at) <= FRESH:
            raise GrantError("the signature is not of now", hint="see to the clocks, then sign again")
        strength = _strength(registered.key, signed)
        if not strength:
            raise GrantError(f"the signature is not by the key of {key_of(subject)} that is known here")
        return msgspec.structs.replace(subject, strength=max(subject.strength, strength))

    def _put(self, of: str, value: str, by: Subject, detail: dict[str, str]) -> None:
        event = "approver-key" if value else "approver-key-removed"
        with self._desk.store.writing():
            self._desk.record(Entry(event=event, by=Who.of(by), detail={"of": of, **detail}))
            self._facts.put(_FACT + of, value)


def _strength(key: str, signed: Signed) -> int:
    """Return how surely a signature tells whose it is; 0 where it is not by this key."""
    if not signed.signature.startswith("-----"):
        return CERTIFICATE if verifies(key, signed.statement(), signed.signature) else 0
    try:
        made = sshsig.verify(signed.signature, signed.statement())
    except ParseError:
        return 0
    if made.key != key:
        return 0
    return SECOND_FACTOR if made.touched else CERTIFICATE


def read_public(path: Path) -> str:
    """Read a public key, PEM or a line of OpenSSH, as the store keeps it. Raises UsageError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = read_given(path)
    if not data.startswith(b"-----"):
        try:
            return sshsig.key_text(base64.b64decode(data.split()[1], validate=True))
        except (IndexError, binascii.Error, ValueError):
            raise UsageError(f"{path}: no public key", hint="a line of OpenSSH, or PEM") from None
        except ParseError as error:
            raise UsageError(f"{path}: {error.message}", hint="ssh-keygen -t ed25519, or -t ed25519-sk") from None
    try:
        found = load_pem_public_key(data)
    except Exception as error:  # noqa: BLE001 - the library has several, and all mean this
        raise UsageError(f"{path}: no public key: {error}") from None
    if not isinstance(found, Ed25519PublicKey):
        raise UsageError(f"{path}: an Ed25519 key is needed", hint="ssh-keygen -t ed25519")
    return _written(found)


def _written(public: Ed25519PublicKey) -> str:
    return _PREFIX + public.public_bytes_raw().hex()


def sign(path: Path, signed: Signed, passphrase: Callable[[], str]) -> Signed:
    """Sign with a private key; `passphrase` is asked for where it has one.

    A public key's file stands for its private half in an agent or in hardware: ssh-keygen signs then, and where a key of
    OpenSSH's is under a passphrase, which it asks for itself. Raises UsageError.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = read_bounded(path)
    if data.startswith((b"ssh-", b"sk-")) or b"sk-ssh-" in _decoded(data):
        return msgspec.structs.replace(signed, signature=_by_ssh(path, signed.statement()))
    private = _private(path, passphrase)
    if private is None:
        return msgspec.structs.replace(signed, signature=_by_ssh(path, signed.statement()))
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError(f"{path}: an Ed25519 key is needed", hint="ssh-keygen -t ed25519")
    return msgspec.structs.replace(signed, signature=private.sign(signed.statement()).hex())


def _decoded(data: bytes) -> bytes:
    """Return what is inside of an armoured file; b"" where nothing can be seen."""
    lines = [line for line in data.splitlines() if line and not line.startswith(b"-----")]
    try:
        return base64.b64decode(b"".join(lines))
    except (binascii.Error, ValueError):
        return b""


def _by_ssh(path: Path, statement: bytes) -> str:
    """Have ssh-keygen sign: it knows agents and authenticators, and asks for a touch or a passphrase itself."""
    import subprocess  # noqa: PLC0415 - only where a key is elsewhere

    program = shutil.which("ssh-keygen")
    if program is None:
        raise UsageError(f"{path}: ssh-keygen is needed to sign with this key", hint="install openssh-client")
    words = [program, "-Y", "sign", "-n", sshsig.NAMESPACE, "-f", str(path)]
    try:
        done = subprocess.run(  # noqa: S603 - the machine's own program, and a file that the person named
            words, input=statement, stdout=subprocess.PIPE, stderr=None, check=False, timeout=FRESH
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{path}: ssh-keygen did not sign: {type(error).__name__}") from None
    if done.returncode != 0:
        hint = "is its passphrase right? is it in the agent (ssh-add -l), or plugged in?"
        raise UsageError(f"{path}: ssh-keygen did not sign", hint=hint)
    return done.stdout.decode("ascii", "replace")


def _private(path: Path, passphrase: Callable[[], str]) -> Ed25519PrivateKey | object | None:
    """Return a private key; None for one of OpenSSH's that is locked: deriving its key from a passphrase takes bcrypt."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    data = read_bounded(path)
    load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else load_pem_private_key
    try:
        return load(data, None)
    except (TypeError, ValueError) as error:
        locked = isinstance(error, TypeError) or "password" in str(error).lower() or "encrypted" in str(error).lower()
        if not locked:
            raise UsageError(f"{path}: no private key: {error}") from None
    if load is load_ssh_private_key:
        return None
    try:
        return load(data, passphrase().encode())
    except (TypeError, ValueError):
        raise UsageError(f"{path}: the passphrase is wrong") from None
