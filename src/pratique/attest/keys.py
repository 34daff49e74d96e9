"""PEM files in, public keys that verify signatures out: ECDSA (P-256, P-384, P-521), Ed25519 and RSA from 2,048 bits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from pratique.model.errors import ConfigurationError

MAX_KEY_FILE = 64 << 10  # bytes; an RSA key of 16,384 bits has 3 KB
MAX_KEYS = 32  # in one file
MIN_RSA_BITS = 2_048  # NIST SP 800-131A: less is not enough since 2014

_BEGIN, _END = b"-----BEGIN ", b"-----END "


class Key(NamedTuple):
    """A public key: what messages call it, "sha256:<hex>" of its SubjectPublicKeyInfo, and the key of the library."""

    name: str
    digest: str
    public: Any


def load(name: str, content: bytes) -> tuple[Key, ...]:
    """Read all public keys of a PEM file. Raises ConfigurationError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if len(content) > MAX_KEY_FILE:
        raise ConfigurationError(f"{name}: larger than {MAX_KEY_FILE} bytes")
    blocks = _blocks(content)
    if not blocks or len(blocks) > MAX_KEYS:
        raise ConfigurationError(f"{name}: no public key in it", hint="a PEM file that begins -----BEGIN PUBLIC KEY-----")
    found = []
    for block in blocks:
        if b"PRIVATE KEY" in block.partition(b"\n")[0]:
            raise ConfigurationError(f"{name}: a private key", hint="only its public half is needed, and should leave its owner")
        try:
            public = serialization.load_pem_public_key(block)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError(
                f"{name}: no public key that can be read", hint="a PEM file that begins -----BEGIN PUBLIC KEY-----"
            ) from None
        _check(name, public)
        spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        found.append(Key(name, f"sha256:{hashlib.sha256(spki).hexdigest()}", public))
    return tuple(found)


def _blocks(content: bytes) -> list[bytes]:
    found = []
    at = content.find(_BEGIN)
    while at >= 0:
        end = content.find(_END, at)
        stop = content.find(b"-----", end + len(_END)) if end >= 0 else -1
        if stop < 0:
            break
        found.append(content[at : stop + 5] + b"\n")
        at = content.find(_BEGIN, stop)
    return found


def _check(name: str, public: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < MIN_RSA_BITS:
            raise ConfigurationError(f"{name}: an RSA key of {public.key_size} bits", hint=f"at least {MIN_RSA_BITS} are needed")
        return
    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    fine = isinstance(public, ed25519.Ed25519PublicKey)
    if not (fine or (isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, curves))):
        raise ConfigurationError(f"{name}: a key of a kind that is not supported", hint="ECDSA P-256, Ed25519 or RSA")


def signer(keys: Sequence[Key], signatures: Sequence[bytes], data: bytes) -> str:
    """Return the name of the first key that made one of the signatures of the data, "" where none did."""
    return next((key.name for key in keys for signature in signatures if verifies(key, signature, data)), "")


def verifies(key: Key, signature: bytes, data: bytes) -> bool:
    """Say whether a signature (DER for ECDSA) of the data was made by a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    public = key.public
    if isinstance(public, ec.EllipticCurvePublicKey):
        # cosign signs with SHA-256 whatever the curve; others take the hash that is as long as the curve
        own = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[public.curve.key_size]
        ways: list[tuple[Any, ...]] = [(ec.ECDSA(own),), (ec.ECDSA(hashes.SHA256()),)]
    elif isinstance(public, rsa.RSAPublicKey):
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.AUTO)
        ways = [(padding.PKCS1v15(), hashes.SHA256()), (pss, hashes.SHA256())]
    else:
        ways = [()]
    for way in ways:
        try:
            public.verify(signature, data, *way)
        except (InvalidSignature, ValueError):
            continue
        return True
    return False
