"""A signature as `ssh-keygen -Y sign` makes it in, whose key made it out: for keys in an agent, and in hardware that is touched.

Source: OpenSSH's PROTOCOL.sshsig and PROTOCOL.u2f. Ed25519 alone, plain (`ssh-ed25519`) or in a FIDO authenticator
(`sk-ssh-ed25519@openssh.com`), whose signature says whether somebody touched it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import NamedTuple

from pratique.model.errors import ParseError

PLAIN, HARDWARE = "ssh-ed25519", "sk-ssh-ed25519@openssh.com"
NAMESPACE = "pratique-approval"  # what is signed for something else is no approval
MAX_BYTES = 4096  # of a signature; one has some 200
_MAGIC = b"SSHSIG"
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_TOUCHED = 0x01
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


class Made(NamedTuple):
    """Whose key made a signature, as `key_text` writes it, and whether somebody touched the hardware that it is in."""

    key: str
    touched: bool


def key_text(blob: bytes) -> str:
    """Return a public key, as OpenSSH encodes it, as `ed25519:HEX` or `sk-ed25519:HEX:APPLICATION`. Raises ParseError."""
    kind, rest = _text(blob)
    public, rest = _string(rest)
    if len(public) != 32:
        raise ParseError("the key is not as long as one of Ed25519")
    if kind == PLAIN and not rest:
        return f"ed25519:{public.hex()}"
    if kind == HARDWARE:
        application, rest = _text(rest)
        if not rest and application.isprintable():
            return f"sk-ed25519:{public.hex()}:{application}"
    raise ParseError(f"a key of the type {kind[:40]!a} is not read here")


def verify(signature: str, message: bytes) -> Made:
    """Return who signed a message. Raises ParseError where nobody did, or for another purpose."""
    blob = _unarmoured(signature)
    if not blob.startswith(_MAGIC):
        raise ParseError("it is no signature of ssh-keygen")
    (version,), rest = struct.unpack(">I", blob[6:10].ljust(4, b"\0")), blob[10:]
    public, rest = _string(rest)
    namespace, rest = _text(rest)
    reserved, rest = _string(rest)
    algorithm, rest = _text(rest)
    made, rest = _string(rest)
    if version != 1 or rest or reserved or namespace != NAMESPACE or algorithm not in _HASHES:
        raise ParseError("it was signed for something else, or in another way")
    hashed = _HASHES[algorithm](message).digest()
    signed = _MAGIC + b"".join(
        struct.pack(">I", len(part)) + part for part in (namespace.encode(), b"", algorithm.encode(), hashed)
    )
    return Made(key_text(public), _check(public, made, signed))


def _check(public: bytes, made: bytes, signed: bytes) -> bool:
    """Check a signature over what was signed; say whether the key's hardware was touched. Raises ParseError."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    kind, rest = _text(public)
    key, application = _string(rest)
    said, rest = _text(made)
    signature, rest = _string(rest)
    touched = False
    if said != kind:
        raise ParseError("the signature is of another kind than its key")
    if kind == HARDWARE:
        if len(rest) != 5:
            raise ParseError("the signature is cut short")
        name, _ = _string(application)
        signed = hashlib.sha256(name).digest() + rest + hashlib.sha256(signed).digest()
        touched = bool(rest[0] & _TOUCHED)
    elif rest:
        raise ParseError("something follows the signature")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise ParseError("the signature does not verify") from None
    return touched


def _unarmoured(signature: str) -> bytes:
    text = signature.strip()
    if not (text.startswith(_BEGIN) and text.endswith(_END)) or len(text) > MAX_BYTES:
        raise ParseError("it is no signature of ssh-keygen")
    try:
        return base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
    except (binascii.Error, ValueError):
        raise ParseError("it is no signature of ssh-keygen") from None


def _string(data: bytes) -> tuple[bytes, bytes]:
    if len(data) < 4:
        raise ParseError("it is cut short")
    (length,) = struct.unpack(">I", data[:4])
    if length > len(data) - 4:
        raise ParseError("it is cut short")
    return data[4 : 4 + length], data[4 + length :]


def _text(data: bytes) -> tuple[str, bytes]:
    found, rest = _string(data)
    try:
        return found.decode("ascii"), rest
    except UnicodeDecodeError:
        raise ParseError("a name in it is not plain text") from None
