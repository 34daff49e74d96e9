"""The bytes of one VEX file in, documents out, each with its trust settled: a signature is checked before a word is read.

A file holds a document (OpenVEX, CSAF, CycloneDX), an in-toto statement about one, an envelope that signs one (DSSE, Sigstore
bundle), or a line for each of several envelopes, as `cosign download attestation` prints them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from pratique._kit.patterns import fits
from pratique.attest import csaf, cyclonedx, openvex
from pratique.attest.cyclonedx import Bom
from pratique.attest.envelope import IN_TOTO, attestation_of, decode, detached, envelope_of
from pratique.attest.keys import Key, signer
from pratique.attest.limits import MAX_DOCUMENT, mapping
from pratique.model.errors import ParseError
from pratique.model.vex import Document

MAX_LINES = 1_000  # envelopes in one file of lines
CYCLONEDX_PREDICATE = "https://cyclonedx.org/bom"
# cosign's name for it, what vexctl wrote first, and what the specification's example says
_OPENVEX_PREDICATES = (openvex.CONTEXT, "text/vex", "application/vex+json")
# What an envelope may say that it holds beside an in-toto statement: a document as it is.
_DOCUMENT_TYPES = frozenset((
    "application/json", "application/vex+json", "text/vex", "application/openvex+json", "application/vnd.openvex+json",
    "application/vnd.openvex.document+json", "application/csaf+json", "application/vnd.cyclonedx+json",
))  # fmt: skip
_CSAF_PREDICATES = ("https://docs.oasis-open.org/csaf", "csaf")


class Trust(NamedTuple):
    """Whom to believe: keys, one of which must have signed a document (none: unsigned ones are used as well), and patterns of
    authors, one of which must fit its author (none: any). The order of authors decides between statements of the same moment.
    """

    keys: tuple[Key, ...] = ()
    authors: tuple[str, ...] = ()


class Found(NamedTuple):
    """What a file holds: documents (also those that are not used), BOMs that others may refer to, and what could not be read.

    `failures` are pairs of a gap's code and message. `others` counts attestations of other things, which are none of ours.
    """

    documents: tuple[Document, ...] = ()
    boms: tuple[Bom, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    others: int = 0


UNREADABLE = "advisories.vex-unreadable"
UNTRUSTED = "advisories.vex-untrusted"


def read(data: bytes, source: str, trust: Trust, signature: bytes | None = None) -> Found:
    """Read one file; `signature` is what stands beside it. Never raises for what is in it."""
    if len(data) > MAX_DOCUMENT:
        return _failed(UNREADABLE, f"{source}: larger than {MAX_DOCUMENT >> 20} MiB")
    vouched = signer(trust.keys, detached(signature), data) if signature is not None and trust.keys else ""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if trust.keys and not vouched and not _may_be_envelope(data):
        why = "its signature is by none of the keys given" if signature is not None else "not signed, and a key is asked for"
        return _failed(UNTRUSTED, f"{source}: {why}; nothing of it is used")
    try:
        if not head.startswith(b"{"):
            raise ParseError("none of OpenVEX, CSAF and CycloneDX in JSON")  # noqa: TRY301 - one place says it
        lines = _lines(data)
        parts = [_one(line, source, trust, vouched) for line in lines]
    except ParseError as error:
        return _failed(UNREADABLE, f"{source}: {error.message}")
    return Found(
        tuple(document for part in parts for document in part.documents),
        tuple(bom for part in parts for bom in part.boms),
        tuple(failure for part in parts for failure in part.failures),
        sum(part.others for part in parts),
    )


def _failed(code: str, message: str) -> Found:
    return Found(failures=((code, message),))


def _may_be_envelope(data: bytes) -> bool:
    return b'"payloadType"' in data and b'"payload"' in data


def _lines(data: bytes) -> list[bytes]:
    """Return one document, or each of several on lines of their own. Raises ParseError."""
    stripped = data.strip()
    first, _, rest = stripped.partition(b"\n")
    if not rest or not first.rstrip().endswith(b"}") or not _may_be_envelope(first):
        return [data]
    lines = [line for line in stripped.split(b"\n") if line.strip()]
    if len(lines) > MAX_LINES:
        raise ParseError(f"more than {MAX_LINES:,} lines")
    return lines


def _one(data: bytes, source: str, trust: Trust, vouched: str) -> Found:
    """Open the envelope, if there is one, then read. Raises ParseError."""
    envelope = envelope_of(mapping(decode(data, dict[str, Any]))) if _may_be_envelope(data) else None
    if envelope is None:
        if trust.keys and not vouched:
            return _failed(UNTRUSTED, f"{source}: not signed, and a key is asked for; nothing of it is used")
        return _document(data, source, trust, vouched)
    if trust.keys:
        vouched = signer(trust.keys, envelope.signatures, envelope.signed) or vouched
        if not vouched:
            made = (
                "no signature of it is by one of the keys given" if envelope.signatures else "not signed, and a key is asked for"
            )
            return _failed(UNTRUSTED, f"{source}: {made}; nothing of it is used")
    if envelope.payload_type == IN_TOTO:
        return _attested(envelope.payload, source, trust, vouched)
    if envelope.payload_type not in _DOCUMENT_TYPES:  # what was signed as something else was not signed as this
        raise ParseError(f"an envelope around {envelope.payload_type[:80]!r}, which is no type of a VEX document")
    return _document(envelope.payload, source, trust, vouched)


def _attested(data: bytes, source: str, trust: Trust, vouched: str) -> Found:
    attestation = attestation_of(data)
    if attestation is None:
        raise ParseError("an envelope without an in-toto statement in it")
    kind = attestation.predicate_type
    if kind.startswith(_OPENVEX_PREDICATES):
        document: Document | None = openvex.read(attestation.predicate, source, attested=True)
    elif kind.startswith(CYCLONEDX_PREDICATE):
        document = cyclonedx.read(attestation.predicate, source)[0]
        document = document if document.statements or document.unread else None
    elif kind.startswith(_CSAF_PREDICATES):
        document = csaf.read(attestation.predicate, source)
    else:
        document = None
    if document is None:
        return Found(others=1)
    if not attestation.subjects:
        return _failed(UNREADABLE, f"{source}: an attestation that does not say by digest what it is about")
    return _settled(msgspec.structs.replace(document, subjects=attestation.subjects), trust, vouched)


def _document(data: bytes, source: str, trust: Trust, vouched: str) -> Found:
    """Read a document of any format. Raises ParseError."""
    head: dict[str, msgspec.Raw] = decode(data, dict[str, msgspec.Raw])
    if "bomFormat" in head:
        document, bom = cyclonedx.read(data, source)
        found = _settled(document, trust, vouched) if document.statements or document.unread else Found()
        return found._replace(boms=(bom,))
    if "document" in head and ("vulnerabilities" in head or "product_tree" in head):
        return _settled(csaf.read(data, source), trust, vouched)
    if "statements" in head and openvex.CONTEXT in bytes(head.get("@context", msgspec.Raw(b""))).decode("utf-8", "replace"):
        return _settled(openvex.read(data, source), trust, vouched)
    if "predicateType" in head:
        return _attested(data, source, trust, vouched)
    raise ParseError("none of OpenVEX, CSAF and CycloneDX in JSON")


def _settled(document: Document, trust: Trust, vouched: str) -> Found:
    rank = author_rank(document.author, trust.authors)
    document = msgspec.structs.replace(document, signer=vouched, rank=max(rank, 0))
    if rank < 0:
        who = f"its author {document.author[:200]!r}" if document.author else "it has no author, which"
        document = msgspec.structs.replace(document, why_not=f"{who} is none of those allowed")
        return Found((document,), failures=((UNTRUSTED, f"{document.source}: {document.why_not}; nothing of it is used"),))
    return Found((document,))


def author_rank(author: str, patterns: Sequence[str]) -> int:
    """Return which pattern fits an author first (* and ?, any letter case), 0 where there are no patterns, -1 where none fits."""
    if not patterns:
        return 0
    lowered = author.lower()
    return next((rank for rank, pattern in enumerate(patterns) if author and fits(lowered, pattern.lower())), -1)
