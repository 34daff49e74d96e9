"""Every file of an image in, its digests out: asked for by `--files` alone, made in the one pass that a layer is read in."""

from __future__ import annotations

from collections.abc import Iterator

from pratique.inventory.digests import digests
from pratique.model.errors import ParseError
from pratique.model.inventory import ContentEvidence
from pratique.model.ports import File, Interest

MAX_BYTES = 2 << 30  # of one file: what fits the temporary file that compressed layers are looked into with


class Content:
    """Reads every regular file once, in pieces."""

    name = "details_content"
    version = 1
    interest = Interest(everything=True, max_bytes=MAX_BYTES, scope="files")

    def inspect(self, file: File) -> Iterator[ContentEvidence]:
        """Yield size and digests. SHA-1 is there because SPDX 2.3 asks for it of every file. Raises ParseError."""
        hashes = digests(file.read_at, file.size)
        if file.size and not hashes:
            raise ParseError("the file ends before its size")
        yield ContentEvidence(size=file.size, hashes=hashes or digests(lambda _, __: b"", 0))


INSPECTOR = Content()
