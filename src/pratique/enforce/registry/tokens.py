"""Claims in, signed tokens out, and back: JSON Web Tokens as registries read them, ES256 or RS256, with one key and no choice.

https://distribution.github.io/distribution/spec/auth/jwt/, RFC 7515, RFC 7519. Two audiences: what clients show to the gate, and
what the gate shows to the registry. The registry trusts the second alone, so that nobody walks around the gate with the first.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pratique.model.errors import ParseError, StoreError
from pratique.store.place import FILE_MODE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

ISSUER = "pratique"
SECONDS = 60.0  # the longest life of a token: what is revoked is dead by then, even where nobody asks
REFRESH_SECONDS = 12 * 3600.0  # of a refresh token: a working day, then a password again
LEEWAY = 5.0  # seconds that the clocks of gate and registry may differ; they are mostly one
MAX_TOKEN = 8 << 10  # characters; a token for twenty repositories has some 3,000
_CERTIFICATE_DAYS = 3650
_RSA_BITS = 3072


class Access(msgspec.Struct, frozen=True):
    """One thing, and what may be done to it."""

    type: str
    name: str
    actions: tuple[str, ...] = ()


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says. Times are whole seconds since the epoch."""

    iss: str
    sub: str
    aud: str
    exp: int
    nbf: int
    iat: int
    jti: str
    access: tuple[Access, ...] = ()


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    alg: str
    typ: str = ""
    crit: tuple[str, ...] | None = None


class TokenError(ParseError):
    """A token that is none of ours, or no longer one."""


class Signer(NamedTuple):
    """A private key with its certificate, which a registry is told to trust."""

    private: Any
    certificate: Path
    header: bytes

    @property
    def algorithm(self) -> str:
        """The one algorithm of this key: no token chooses another."""
        return "RS256" if hasattr(self.private, "decrypt") else "ES256"


def load_signer(folder: Path, *, rsa: bool = False) -> Signer:
    """Return the key of a gate, made where there is none: token.key and token.crt in its folder. Raises StoreError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

    key, certificate = folder / "token.key", folder / "token.crt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not key.exists():
            _make(key, certificate, rsa=rsa)
        if key.stat().st_mode & 0o077:
            raise StoreError(f"{key}: others may read this key", hint=f"delete {key} and {certificate}: new ones are made")
        private = load_pem_private_key(key.read_bytes(), None)
        der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(Encoding.DER)
    except OSError as error:
        raise StoreError(f"{key}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise StoreError(f"{key}: no key, or no certificate beside it") from None
    found = Signer(private, certificate, b"")
    header = {"typ": "JWT", "alg": found.algorithm, "x5c": [base64.b64encode(der).decode()]}
    return found._replace(header=_encode64(msgspec.json.encode(header)))


def _make(key: Path, certificate: Path, *, rsa: bool) -> None:
    import datetime as dt  # noqa: PLC0415 - only where a key is made

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private: EllipticCurvePrivateKey | RSAPrivateKey = (
        generate_rsa(public_exponent=65537, key_size=_RSA_BITS) if rsa else generate_private_key(SECP256R1())
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pratique registry gate")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=_CERTIFICATE_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, content, mode in ((certificate, made.public_bytes(Encoding.PEM), 0o644), (key, pem, FILE_MODE)):
        beside = path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


class Tokens:
    """Signs and reads the tokens of one gate for one audience."""

    def __init__(self, signer: Signer, audience: str) -> None:
        self._signer = signer
        self._audience = audience

    def issue(self, subject: str, access: tuple[Access, ...], seconds: float, now: float | None = None) -> tuple[str, Claims]:
        """Return a token for a subject, and what it says."""
        at = time.time() if now is None else now
        claims = Claims(
            iss=ISSUER, sub=subject, aud=self._audience, exp=int(at + seconds), nbf=int(at), iat=int(at),
            jti=secrets.token_hex(16), access=access,
        )  # fmt: skip
        signed = self._signer.header + b"." + _encode64(msgspec.json.encode(claims))
        return (signed + b"." + _encode64(_sign(self._signer, signed))).decode(), claims

    def read(self, token: str, now: float | None = None) -> Claims:
        """Return what a token says. Raises TokenError unless this gate signed it, for this audience, and it holds now."""
        at = time.time() if now is None else now
        parts = token.split(".")
        if len(token) > MAX_TOKEN or len(parts) != 3:
            raise TokenError("the token is none")
        try:
            header = msgspec.json.decode(_decode64(parts[0]), type=_Header)
            if header.alg != self._signer.algorithm or header.crit is not None:
                raise TokenError("the token is signed in another way than this gate signs")
            _check(self._signer, f"{parts[0]}.{parts[1]}".encode(), _decode64(parts[2]))
            claims = msgspec.json.decode(_decode64(parts[1]), type=Claims)
        except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError):
            raise TokenError("the token is none") from None
        if claims.iss != ISSUER or claims.aud != self._audience:
            raise TokenError("the token is for another service")
        if at >= claims.exp or at < claims.nbf - LEEWAY:
            raise TokenError("the token has expired")
        return claims


def _sign(signer: Signer, message: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    if signer.algorithm == "RS256":
        signature: bytes = signer.private.sign(message, PKCS1v15(), hashes.SHA256())
        return signature
    r, s = decode_dss_signature(signer.private.sign(message, ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _check(signer: Signer, message: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    public = signer.private.public_key()
    try:
        if signer.algorithm == "RS256":
            public.verify(signature, message, PKCS1v15(), hashes.SHA256())
            return
        if len(signature) != 64:
            raise TokenError("the token is none")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        public.verify(encode_dss_signature(r, s), message, ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise TokenError("the token was not signed by this gate") from None


def _encode64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode64(text: str) -> bytes:
    """Read base64url without padding: the one spelling of it."""
    data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode64(data).decode() != text:
        raise ValueError("not the one spelling")
    return data
