"""An image's name and digests in, what was attached to it in its registry out: referrers, cosign's tags, BuildKit's entries.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers (and its tag schema),
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md (sha256-<hex>.att),
https://docs.docker.com/build/metadata/attestations/attestation-storage/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from pratique._kit import http
from pratique.image.endpoint import Clients, Endpoint
from pratique.image.manifest import ACCEPT, MAX_MANIFEST, Descriptor, check_digest, verify
from pratique.image.options import SourceOptions
from pratique.image.reference import parse_name
from pratique.image.sources.registry import Remote
from pratique.model.errors import CouldNotError, IntegrityError, PratiqueError, TargetNotFoundError

MAX_ATTACHED = 256  # manifests that are looked at: an image with an attestation for each of many scans has dozens
MAX_BLOB = 64 << 20  # bytes of one attestation; a large SBOM has 30 MB
MAX_BYTES = 256 << 20  # of all attestations of an image

# Of what is attached: envelopes, statements and bare documents. Signatures, SBOMs and programs are of other types.
_KINDS = ("in-toto", "dsse", "vex", "sigstore.bundle", "csaf")
_PREDICATES = ("predicateType", "in-toto.io/predicate-type", "dev.sigstore.bundle.predicateType")


_SIGNATURE = "dev.cosignproject.cosign/signature"  # base64, beside the payload that it signs


class Attached(NamedTuple):
    """One attachment: its digest, what it says of itself, its bytes, and cosign's signature of them, if it is one."""

    digest: str
    kind: str
    predicate: str
    data: bytes
    signature: str = ""


class Attachments(NamedTuple):
    """What was found, and sentences about what could not be had."""

    found: list[Attached]
    failures: list[str]


class Loose(msgspec.Struct, frozen=True, rename="camel"):
    """A manifest of any artifact, as far as it is looked at."""

    config: Descriptor | None = None
    layers: list[Descriptor] = []
    manifests: list[Descriptor] = []
    annotations: dict[str, Any] | None = None
    artifact_type: Any = ""


def attached(reference: str, digests: Sequence[str], options: SourceOptions, *, every: bool = False) -> Attachments:
    """Return the attestations of an image. `digests` are its manifest's and its index's; an attestation is bound to one.

    Of those that say what they are, only what may hold VEX is fetched, unless `every` asks for all, with cosign's signatures.
    Raises RegistryError, IntegrityError where the registry cannot be asked at all.
    """
    clients = Clients(options)
    try:
        return Search(Remote(parse_name(reference), clients, options), every=every).run(digests)
    finally:
        clients.close()


class Search:
    """Looks through what is attached, each thing once, within bounds. `result` is what was found."""

    def __init__(self, remote: Remote | None, *, every: bool) -> None:
        self._remote = remote
        self.interesting = _attesting if every else _interesting
        self._suffixes = (".att", ".vex", ".sig") if every else (".att", ".vex")
        self.seen: set[str] = set()
        self._images: dict[str, tuple[str, Loose] | None] = {}
        self._bytes = 0
        self.result = Attachments([], [])

    @property
    def _registry(self) -> Remote:
        assert self._remote is not None  # where there is none, whoever looks reads elsewhere
        return self._remote

    def run(self, digests: Sequence[str]) -> Attachments:
        for digest in self._manifests(digests):
            for listed in self._listed(digest):
                if len(self.seen) >= MAX_ATTACHED:
                    self.result.failures.append(f"more than {MAX_ATTACHED} things are attached; the rest was not looked at")
                    return self.result
                if listed not in self.seen:
                    self.seen.add(listed)
                    self.take(listed)
        return self.result

    def _manifests(self, digests: Sequence[str]) -> list[str]:
        """Leave the digests of manifests: that of a configuration means the image as well, and registries fail when asked for it.

        Raises RegistryError where none can be had.
        """
        errors: dict[str, CouldNotError] = {}
        configurations: set[str] = set()
        for digest in dict.fromkeys(digests):
            check_digest(digest, "image")
            if digest in configurations:
                continue
            try:
                found = self._images[digest] = self.manifest(f"manifests/{digest}")
            except IntegrityError:
                raise
            except CouldNotError as error:
                errors[digest] = error
                continue
            if found is not None and found[1].config is not None:
                configurations.add(found[1].config.digest)
        if errors and not any(self._images.values()):
            raise next(iter(errors.values()))
        for digest, why in errors.items():
            if digest not in configurations:
                self.result.failures.append(f"{digest} cannot be asked for: {why.message}")
        return [digest for digest in dict.fromkeys(digests) if digest not in configurations]

    def _listed(self, digest: str) -> Iterator[str]:
        """Yield the digests of manifests that refer to this one, as each way of attaching lists them."""
        tag = digest.replace(":", "-")
        yield from self._index(f"referrers/{digest}") or self._index(f"manifests/{tag}")
        for suffix in self._suffixes:
            found = self.manifest(f"manifests/{tag}{suffix}")
            if found is not None:
                yield found[0]
        yield from self._in_index(digest)

    def _index(self, path: str) -> list[str]:
        found = self.manifest(path)
        if found is None:
            return []
        wanted = [one for one in found[1].manifests if self.interesting(one.artifact_type or one.media_type, one.annotations)]
        return [one.digest for one in wanted]

    def _in_index(self, digest: str) -> list[str]:
        found = self._images.get(digest)
        if found is None:
            return []
        return [
            one.digest
            for one in found[1].manifests
            if one.annotations and one.annotations.get("vnd.docker.reference.type") == "attestation-manifest"
        ]

    def take(self, digest: str) -> None:
        """Take what is in an attestation's manifest."""
        found = self.manifest(f"manifests/{digest}", digest)
        if found is None:
            self.result.failures.append(f"the attestation {digest} is listed, and not there")
            return
        manifest = found[1]
        for layer in manifest.layers:
            kind = layer.media_type or str(manifest.artifact_type)
            notes = {**(manifest.annotations or {}), **(layer.annotations or {})}
            if not self.interesting(kind, notes):
                continue
            if layer.size > MAX_BLOB or self._bytes + layer.size > MAX_BYTES:
                self.result.failures.append(f"the attestation {layer.digest} has {layer.size} bytes, more than is read")
                continue
            self._bytes += max(layer.size, 0)
            try:
                data = self.blob(layer)
            except PratiqueError as error:
                self.result.failures.append(f"the attestation {layer.digest} cannot be had: {error.message}")
                continue
            signature = str(notes.get(_SIGNATURE, ""))
            self.result.found.append(Attached(layer.digest, kind, _predicate(notes), data, signature))

    def blob(self, layer: Descriptor) -> bytes:
        """Return an attestation, verified. Raises PratiqueError."""
        return self._registry.first(lambda endpoint: self._blob(endpoint, layer))

    def _blob(self, endpoint: Endpoint, layer: Descriptor) -> bytes:
        check_digest(layer.digest, "attestation")
        return verify(self._body(endpoint, f"blobs/{layer.digest}", MAX_BLOB), layer.digest, f"attestation {layer.digest}")

    def manifest(self, path: str, digest: str = "") -> tuple[str, Loose] | None:
        """Return a manifest or index and its digest; None where there is none."""
        try:
            data = self._registry.first(lambda endpoint: self._body(endpoint, path, MAX_MANIFEST))
        except TargetNotFoundError:
            return None
        except IntegrityError:
            raise
        except CouldNotError as error:
            if not path.startswith("referrers/"):
                raise
            self._note_referrers(error)
            return None
        if digest:
            verify(data, digest, f"manifest {digest}")
        import hashlib  # noqa: PLC0415 - beside its one use

        try:
            found = msgspec.json.decode(data, type=Loose)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.result.failures.append(f"{path} is no manifest: {error}")
            found = Loose()
        return f"sha256:{hashlib.sha256(data).hexdigest()}", found

    def _note_referrers(self, error: CouldNotError) -> None:
        """Registries that do not know the way at all answer in many ways; the tags are asked for instead."""
        if not any(word in error.message for word in ("400", "404", "405", "501")):
            self.result.failures.append(f"the registry does not list what refers to the image: {error.message}")

    @staticmethod
    def _body(endpoint: Endpoint, path: str, limit: int) -> bytes:
        response = endpoint.get(path, {"Accept": f"{ACCEPT}, application/json"} if not path.startswith("blobs/") else {})
        return http.read_body(response, limit, f"{endpoint.name}, {path}")


def _interesting(kind: str, notes: dict[str, Any] | None) -> bool:
    predicate = _predicate(notes or {}).lower()
    if predicate:
        return "vex" in predicate or "cyclonedx" in predicate or "csaf" in predicate
    return any(word in str(kind).lower() for word in _KINDS)


def _attesting(kind: str, notes: dict[str, Any] | None) -> bool:
    """Say whether something is a statement or a signature: all that is fetched where attestations are asked for."""
    words = ("in-toto", "dsse", "sigstore.bundle", "simplesigning", "cosign.artifact.sig")
    return bool(_predicate(notes or {})) or any(word in str(kind).lower() for word in words)


def _predicate(notes: dict[str, Any]) -> str:
    return next((str(notes[key]) for key in _PREDICATES if notes.get(key)), "")
