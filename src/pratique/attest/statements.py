"""The bytes of an attestation in, what policies ask about it out: predicate, signer, and what provenance says of the build.

https://slsa.dev/spec/v1.0/provenance, https://slsa.dev/spec/v0.2/provenance (as BuildKit and older generators write it),
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md (simple signing).
Certificates of keyless signatures are not checked: verified is what a key that the person named has signed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from pratique.attest.envelope import IN_TOTO, attestation_of, decode, envelope_of, from_base64
from pratique.attest.keys import Key, signer
from pratique.attest.limits import MAX_DOCUMENT, items, mapping, moment, name
from pratique.model.attestation import Attestation
from pratique.model.errors import ParseError

MAX_LINES = 200  # envelopes in one file of lines, as `cosign download attestation` prints them: dozens
PROVENANCE = "https://slsa.dev/provenance/"
SIGNATURE = "https://sigstore.dev/cosign/sign/v1"  # what cosign 3 calls a signature of an image; older ones are given this name
_SIMPLE_SIGNING = "cosign container image signature"
_BUILDKIT = "https://mobyproject.org/buildkit@v1#metadata"


class Stated(NamedTuple):
    """What a file holds, and sentences about what could not be read or is about something else."""

    attestations: tuple[Attestation, ...] = ()
    failures: tuple[str, ...] = ()


def read(data: bytes, origin: str, keys: Sequence[Key], digests: Collection[str]) -> Stated:
    """Read one file: an envelope (DSSE or Sigstore bundle), a bare statement, or several, one a line. Never raises.

    `digests` ("sha256:...") are those of the image; a statement about none of them is not about the image.
    """
    if len(data) > MAX_DOCUMENT:
        return Stated(failures=(f"{origin}: larger than {MAX_DOCUMENT >> 20} MiB",))
    found: list[Attestation] = []
    failures: list[str] = []
    parts = _parts(data)
    if len(parts) > MAX_LINES:
        failures.append(f"{origin}: more than {MAX_LINES} lines; the rest was not read")
    for part in parts[:MAX_LINES]:
        try:
            found.append(_one(part, origin, keys, digests))
        except ParseError as error:
            failures.append(f"{origin}: {error.message}")
    return Stated(tuple(found), tuple(failures))


def read_signature(payload: bytes, signature: str, origin: str, about: tuple[Sequence[Key], Collection[str]]) -> Stated:
    """Read cosign's signature of an image: the signed payload, and the signature in base64. `about` is keys and digests."""
    keys, digests = about
    try:
        critical = mapping(mapping(decode(payload)).get("critical"))
        digest = name(mapping(critical.get("image")).get("docker-manifest-digest")).lower()
        if critical.get("type") != _SIMPLE_SIGNING:
            raise ParseError("no signature of an image as cosign makes it")  # noqa: TRY301 - one place says it
        if digest not in digests:
            raise ParseError(f"a signature of another image, {digest or 'which it does not name'}")  # noqa: TRY301 - as above
        by = signer(keys, (from_base64(signature),), payload)
    except ParseError as error:
        return Stated(failures=(f"{origin}: {error.message}",))
    return Stated((Attestation(predicate=SIGNATURE, signer=by, verified=bool(by), origin=origin),))


def _parts(data: bytes) -> list[bytes]:
    """Return one document, or each of several on lines of their own."""
    stripped = data.strip()
    first, _, rest = stripped.partition(b"\n")
    if not rest or not (first.startswith(b"{") and first.rstrip().endswith(b"}")):
        return [data]
    return [line for line in stripped.split(b"\n") if line.strip()]


def _one(data: bytes, origin: str, keys: Sequence[Key], digests: Collection[str]) -> Attestation:
    """Open the envelope, if there is one; the statement is what was signed. Raises ParseError."""
    document = decode(data)
    if not isinstance(document, dict):
        raise ParseError("no attestation: neither an envelope nor an in-toto statement")
    envelope = envelope_of(document)
    if envelope is not None and envelope.payload_type != IN_TOTO:
        raise ParseError(f"an envelope around {envelope.payload_type[:80]!r}, not an in-toto statement")
    by = signer(keys, envelope.signatures, envelope.signed) if envelope is not None and keys else ""
    statement = attestation_of(envelope.payload if envelope is not None else data)
    if statement is None:
        raise ParseError("no attestation: neither an envelope nor an in-toto statement")
    if not digests or not set(statement.subjects) & set(digests):
        raise ParseError("an attestation of something else: no digest of this image is its subject")
    kind = statement.predicate_type
    facts = _provenance(mapping(decode(statement.predicate))) if kind.startswith(PROVENANCE) else {}
    return Attestation(predicate=kind, signer=by, verified=bool(by), origin=origin, **facts)


def _provenance(predicate: dict[str, Any]) -> dict[str, str]:
    """Return what provenance of either version says of the build; "" where it says nothing."""
    definition, run = mapping(predicate.get("buildDefinition")), mapping(predicate.get("runDetails"))
    old = mapping(predicate.get("invocation"))
    parameters = mapping(definition.get("externalParameters"))
    metadata = mapping(run.get("metadata")) or mapping(predicate.get("metadata"))
    source = _source(
        mapping(mapping(metadata.get(_BUILDKIT, metadata.get("buildkit_metadata"))).get("vcs")),
        mapping(old.get("configSource") or parameters.get("configSource")),
        mapping(parameters.get("workflow")),
        [one for one in map(mapping, items(definition.get("resolvedDependencies"))) if name(one.get("uri")).startswith("git+")],
    )
    ended = moment(metadata.get("finishedOn"), metadata.get("buildFinishedOn"))
    return {
        "builder": name(mapping(run.get("builder") or predicate.get("builder")).get("id")),
        "build_type": name(definition.get("buildType") or predicate.get("buildType")),
        "signed_at": f"{ended[:19]}Z" if ended else "",
        **source,
    }


def _source(
    checkout: dict[str, Any], config: dict[str, Any], workflow: dict[str, Any], resolved: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """Say what was built: BuildKit's checkout, the configuration's source, a workflow's repository, or what came first."""
    first = resolved[0] if resolved else {}
    uri = name(checkout.get("source")) or name(config.get("uri")) or name(workflow.get("repository")) or name(first.get("uri"))
    digests = mapping(config.get("digest")) or mapping(first.get("digest"))
    revision = name(checkout.get("revision")) or name(digests.get("gitCommit") or digests.get("sha1"))
    return {"source": uri, "revision": revision}
