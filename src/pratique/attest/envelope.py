"""Bytes in, what a signature is of out: DSSE envelopes, Sigstore bundles, in-toto statements, signatures beside a file.

https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
https://github.com/sigstore/protobuf-specs (Bundle). A bundle's certificate and log entries are not looked at: what counts is
whether a key that the person named made the signature.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, NamedTuple

import msgspec

from pratique.attest.limits import items, mapping, name
from pratique.model.errors import ParseError

MAX_SIGNATURES = 64  # of one envelope
MAX_SUBJECTS = 10_000  # of one statement: an index with all its images has a hundred
IN_TOTO = "application/vnd.in-toto+json"
_STATEMENTS = ("https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1")


class Envelope(NamedTuple):
    """A DSSE envelope: the payload, its type, and its signatures (of `signed`, not of the payload itself)."""

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]

    @property
    def signed(self) -> bytes:
        """Return what is signed: the pre-authentication encoding of DSSE v1."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(self.payload), self.payload)


class Attestation(NamedTuple):
    """An in-toto statement: digests of what it is about ("sha256:..."), the type of its predicate, and the predicate's bytes."""

    subjects: tuple[str, ...]
    predicate_type: str
    predicate: bytes


class _Statement(msgspec.Struct):
    kind: Any = msgspec.field(name="_type", default=None)
    subject: Any = None
    predicate_type: Any = msgspec.field(name="predicateType", default=None)
    predicate: msgspec.Raw = msgspec.Raw(b"null")


def decode(data: bytes, kind: Any = Any) -> Any:
    """Decode JSON. Raises ParseError."""
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"no JSON that can be read: {error}") from None


def from_base64(value: Any) -> bytes:
    """Decode base64 of either alphabet. Raises ParseError."""
    if not isinstance(value, str):
        raise ParseError("what should be base64 is no text")
    try:
        plain = value.translate({45: "+", 95: "/"}).rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ParseError("what should be base64 is none") from None


def envelope_of(document: dict[str, Any]) -> Envelope | None:
    """Return the envelope that a document is, or that a Sigstore bundle holds; None for any other. Raises ParseError."""
    inner = document.get("dsseEnvelope", document)
    if not isinstance(inner, dict) or "payload" not in inner or "payloadType" not in inner:
        return None
    signatures = items(inner.get("signatures"))
    if len(signatures) > MAX_SIGNATURES:
        raise ParseError(f"an envelope with {len(signatures)} signatures")
    made = tuple(from_base64(one["sig"]) for one in signatures if isinstance(one, dict) and "sig" in one)
    return Envelope(from_base64(inner["payload"]), name(inner["payloadType"]), made)


def attestation_of(data: bytes) -> Attestation | None:
    """Return the in-toto statement that these bytes are; None where they are none. Raises ParseError."""
    statement: _Statement = decode(data, _Statement)
    if statement.kind not in _STATEMENTS:
        return None
    subjects = items(statement.subject)
    if len(subjects) > MAX_SUBJECTS:
        raise ParseError(f"a statement about {len(subjects)} subjects")
    digests = [
        f"{algorithm.lower()}:{value.lower()}"
        for subject in subjects
        for algorithm, value in mapping(mapping(subject).get("digest")).items()
        if isinstance(value, str)
    ]
    return Attestation(tuple(dict.fromkeys(digests)), name(statement.predicate_type), bytes(statement.predicate))


def detached(content: bytes) -> tuple[bytes, ...]:
    """Return the signatures that a file beside a document holds: base64 as `cosign sign-blob` prints it, a Sigstore bundle with
    a message signature, or the bare bytes. () where nothing can be made of it.
    """
    start = content.lstrip()[:1]
    try:
        if start == b"{":
            document = mapping(decode(content))
            made = mapping(document.get("messageSignature")).get("signature", document.get("base64Signature"))
            return (from_base64(made),)
        return (from_base64("".join(content.decode("ascii").split())),)
    except (ParseError, UnicodeDecodeError):
        return (content,) if start != b"{" else ()
