"""An OCI layout (a folder or an archive) with an image in it in, what was attached to the image there out.

BuildKit puts attestations beside the image into the index (https://docs.docker.com/build/metadata/attestations/attestation-storage/),
`cosign save` puts them and signatures into index.json with an annotation `kind`, and referrers that were copied name their type.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import msgspec

from pratique.image.manifest import INDEX_TYPES, MAX_MANIFEST, Descriptor, check_digest, check_size, verify
from pratique.image.options import SourceOptions
from pratique.image.outer import open_outer
from pratique.image.reference import split_path
from pratique.image.referrers import MAX_ATTACHED, MAX_BLOB, Attachments, Loose, Search
from pratique.image.sources.layout import Layout
from pratique.model.errors import IntegrityError

SCHEMES = ("oci-dir", "oci-archive")
MAX_DEPTH = 4  # indexes in indexes; BuildKit makes two
MAX_ENTRIES = 2_000  # of all indexes: an image for twelve platforms has 25

Read = Callable[[Descriptor, int], bytes]
_KINDS = ("dev.cosignproject.cosign/atts", "dev.cosignproject.cosign/sigs")


def attached_within(scheme: str, value: str, options: SourceOptions, *, every: bool = False) -> Attachments:
    """Return the attestations in a layout; whose they are, their subjects say. Raises TargetError, IntegrityError.

    `value` is what was scanned: the path, with a name behind a colon where it holds several images.
    """
    path, _ = split_path(value)
    with ExitStack() as stack:
        if scheme == "oci-dir":
            layout = Layout(path)
            top: Loose = _decoded(msgspec.json.encode(layout.top()), "index.json")
            return _Within(lambda found, limit: _of_folder(layout, found, limit), every=every).within(top)
        outer = stack.enter_context(open_outer(path, options))

        def read(found: Descriptor, limit: int) -> bytes:
            data = outer.read(f"blobs/sha256/{check_digest(found.digest, 'attestation')}", limit)
            return verify(data, found.digest, f"attestation {found.digest}")

        return _Within(read, every=every).within(_decoded(outer.read("index.json", MAX_MANIFEST), "index.json"))


def _of_folder(layout: Layout, found: Descriptor, limit: int) -> bytes:
    check_size(found, limit, f"attestation {found.digest[:100]}")
    return layout.read(found, f"attestation {found.digest}")


def _decoded(data: bytes, what: str) -> Loose:
    try:
        return msgspec.json.decode(data, type=Loose)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise IntegrityError(f"{what} is no index: {error}") from None


class _Within(Search):
    """Looks through the indexes of a layout."""

    def __init__(self, read: Read, *, every: bool) -> None:
        super().__init__(None, every=every)
        self._read = read
        self._entries = 0
        self._known: dict[str, Descriptor] = {}

    def within(self, index: Loose, depth: int = 1) -> Attachments:
        """Take all that is attached in an index and those in it."""
        for entry in index.manifests:
            self._entries += 1
            if self._entries > MAX_ENTRIES or len(self.seen) >= MAX_ATTACHED:
                self.result.failures.append("the layout has more entries than are looked at")
                break
            if entry.media_type in INDEX_TYPES and depth < MAX_DEPTH:
                self.within(_decoded(self._read(entry, MAX_MANIFEST), f"index {entry.digest}"), depth + 1)
            elif self._is_attached(entry) and entry.digest not in self.seen:
                self.seen.add(entry.digest)
                self._known[entry.digest] = entry
                self.take(entry.digest)
        return self.result

    def _is_attached(self, entry: Descriptor) -> bool:
        notes = entry.annotations or {}
        if notes.get("vnd.docker.reference.type") == "attestation-manifest" or notes.get("kind") in _KINDS:
            return True
        return bool(entry.artifact_type) and self.interesting(entry.artifact_type, notes)

    def manifest(self, path: str, digest: str = "") -> tuple[str, Loose] | None:
        """Return the manifest of an attestation."""
        data = self._read(self._known[digest], MAX_MANIFEST)
        return f"sha256:{hashlib.sha256(data).hexdigest()}", _decoded(data, path)

    def blob(self, layer: Descriptor) -> bytes:
        """Return an attestation, verified."""
        return self._read(layer, MAX_BLOB)


__all__: Sequence[str] = ("SCHEMES", "attached_within")
