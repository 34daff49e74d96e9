"""An index and a reader of blobs in, one chosen image out: what layouts, OCI archives and registries have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pratique.image.manifest import (
    INDEX_TYPES,
    MAX_CONFIG,
    MAX_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    check_size,
    decode,
    decode_config,
    is_image,
    layers_of,
    listing,
    platform_of,
    rank,
    stated,
    this_machine,
)
from pratique.model.errors import IntegrityError, TargetError, TargetNotFoundError
from pratique.model.image import Layer, Platform

MAX_DEPTH = 8  # indexes inside indexes; tools make two levels at most
MAX_INDEXES = 64  # read in all: each costs a request or a file
MAX_CANDIDATES = 4_096

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

Read = Callable[[Descriptor, str], bytes]
"""Return the bytes of a small blob, its digest and size already checked; the text says what it is, for messages."""

_IMAGE_CONFIGS = (
    "",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/octet-stream",
)


class Candidate(NamedTuple):
    """A manifest that an index leads to: the names and digests on the way to it, and its platform if that is stated."""

    descriptor: Descriptor
    names: frozenset[str]
    digests: frozenset[str]
    platform: Platform | None


class Chosen(NamedTuple):
    """A manifest with its configuration, read and checked. `known_as` are the digests of the latter and of indexes on the way.

    `tags` are the names that the top index gives to it.
    """

    digest: str
    config: dict[str, Any]
    layers: tuple[Layer, ...]
    platform: Platform | None
    known_as: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def candidates(top: Index, read: Read, what: str) -> list[Candidate]:
    """Flatten nested indexes, each read once. Attestations and artifacts are left out. Raises TargetError, IntegrityError."""
    found: list[Candidate] = []
    seen: set[str] = set()

    def visit(index: Index, names: frozenset[str], digests: frozenset[str], depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TargetError(f"{what}: indexes are nested more than {MAX_DEPTH} deep")
        for entry in index.manifests:
            if not is_image(entry):
                continue
            check_size(entry, MAX_MANIFEST, f"{what}, manifest {entry.digest[:100]}")
            notes = entry.annotations or {}
            own = names | {notes[key] for key in (REF_NAME, CONTAINERD_NAME) if notes.get(key)}
            way = digests | {entry.digest}
            if entry.media_type not in INDEX_TYPES:
                found.append(Candidate(entry, own, way, stated(entry)))
            elif entry.digest not in seen:
                seen.add(entry.digest)
                inner = decode(read(entry, f"{what}, index {entry.digest}"), f"{what}, index {entry.digest}", entry.media_type)
                if not isinstance(inner, Index):
                    raise IntegrityError(f"{what}: {entry.digest} is called an index and is a manifest")
                visit(inner, own, way, depth + 1)
            if len(seen) > MAX_INDEXES or len(found) > MAX_CANDIDATES:
                raise TargetError(f"{what}: more than {MAX_INDEXES} nested indexes or {MAX_CANDIDATES} manifests")

    visit(top, frozenset(), frozenset(), 1)
    return found


def named(found: Sequence[Candidate], ref: str | None, what: str) -> list[Candidate]:
    """Keep what `ref` names: a tag, a full name, or @digest. With "", all must be one image; with None they are.

    Raises TargetError.
    """
    if ref is None:
        return list(found)
    known = sorted({name for candidate in found for name in candidate.names})
    if ref:
        kept = [candidate for candidate in found if _is_called(candidate, ref)]
        if not kept:
            raise TargetNotFoundError(f"{what} has no image {ref!r}", hint=f"it has {_some(known, found)}")
        return kept
    groups = {(candidate.names, candidate.descriptor.digest if candidate.names else "") for candidate in found}
    if len(known) > 1 and len({digest for _, digest in groups}) > 1 and len({names for names, _ in groups}) > 1:
        raise TargetError(f"{what} has several images", hint=f"name one of them after a colon: {_some(known, found)}")
    return list(found)


def _is_called(candidate: Candidate, ref: str) -> bool:
    if ref.startswith("@"):
        return ref[1:] in candidate.digests
    return any(ref == name or name.endswith((f":{ref}", f"/{ref}")) for name in candidate.names)


def _some(known: Sequence[str], found: Sequence[Candidate]) -> str:
    names = list(known) or [f"@{candidate.descriptor.digest}" for candidate in found]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def choose(found: Sequence[Candidate], platform: Platform | None, read: Read, what: str) -> Candidate:
    """Choose by platform, as engines do: the best fit, the first of equals. Raises TargetNotFoundError, TargetError.

    Without a wish it is this machine's; where there is nothing for this machine but for one other platform, that one.
    """
    unique = list({candidate.descriptor.digest: candidate for candidate in reversed(found)}.values())[::-1]
    if not unique:
        raise TargetNotFoundError(f"{what} has no image in it")
    if len(unique) == 1 and (platform is None or unique[0].platform is None):
        return unique[0]
    placed = [(candidate, candidate.platform or _look_inside(candidate, read, what)) for candidate in unique]
    wanted = platform or this_machine()
    fits = [(fit, candidate) for candidate, place in placed if place is not None and (fit := rank(place, wanted)) >= 0]
    if fits:
        return min(fits, key=lambda pair: pair[0])[1]
    offered = [place for _, place in placed if place is not None]
    raise TargetNotFoundError(f"{what} has no image for {wanted}", hint=f"choose with --platform from: {listing(offered)}")


def _look_inside(candidate: Candidate, read: Read, what: str) -> Platform | None:
    """Ask the configuration where the index does not say."""
    manifest = _manifest(candidate, read, what)
    return platform_of(_configuration(manifest, read, what))


def _manifest(candidate: Candidate, read: Read, what: str) -> Manifest:
    digest = candidate.descriptor.digest
    found = decode(read(candidate.descriptor, f"{what}, manifest {digest}"), what, candidate.descriptor.media_type)
    if not isinstance(found, Manifest):
        raise IntegrityError(f"{what}: {digest} is called a manifest and is an index")
    return found


def _configuration(manifest: Manifest, read: Read, what: str) -> dict[str, Any]:
    blob = check_size(manifest.config, MAX_CONFIG, f"{what}, configuration")
    if blob.media_type not in _IMAGE_CONFIGS:
        raise TargetError(f"{what} is no container image but an artifact of the type {blob.media_type[:100]!r}")
    return decode_config(read(blob, f"{what}, configuration {blob.digest}"), f"{what}, configuration")


def take(manifest: Manifest, digest: str, platform: Platform | None, read: Read, what: str) -> Chosen:
    """Read the configuration and join it with the layers. A `platform` that it contradicts is a TargetNotFoundError."""
    config = _configuration(manifest, read, what)
    own = platform_of(config)
    if platform is not None and own is not None and rank(own, platform) < 0:
        raise TargetNotFoundError(f"{what} is an image for {own}, not for {platform}")
    return Chosen(digest, config, layers_of(manifest, config, what), own, (manifest.config.digest,))


def pick(top: Index, ref: str | None, platform: Platform | None, read: Read, what: str) -> Chosen:
    """From an index to the one image that is meant. Raises TargetError, IntegrityError."""
    found = named(candidates(top, read, what), ref, what)
    chosen = choose(found, platform, read, what)
    wish = platform if chosen.platform is None else None
    taken = take(_manifest(chosen, read, what), chosen.descriptor.digest, wish, read, what)
    known_as = tuple(sorted({*taken.known_as, *chosen.digests} - {taken.digest}))
    return taken._replace(platform=taken.platform or chosen.platform, known_as=known_as, tags=tuple(sorted(chosen.names)))


def platforms(top: Index, ref: str | None, read: Read, what: str) -> list[Platform]:
    """List the platforms that an index offers, sorted, each once."""
    found = named(candidates(top, read, what), ref, what)
    places = {candidate.platform or _look_inside(candidate, read, what) for candidate in found}
    return sorted(place for place in places if place is not None)
