"""Metadata of installed Python distributions in, what each needs out; and the digest of the archive where pip noted it.

https://packaging.python.org/en/latest/specifications/core-metadata/#requires-dist-multiple-use
https://packaging.python.org/en/latest/specifications/direct-url/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from pratique.inventory.digests import hexadecimal
from pratique.model.inventory import DetailEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_METADATA = 4 * MEBIBYTE
MAX_NAMES = 2_000  # home-assistant states some 1,000
_NAME = re.compile(rb"^(Name|Version):[ \t]*([^\r\n]+)", re.MULTILINE)
_REQUIRES = re.compile(rb"^Requires-Dist:[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)([^\r\n]*)", re.MULTILINE)
_EXTRA = re.compile(rb";.*\bextra\b")


class _Archive(msgspec.Struct):
    hash: Any = None
    hashes: Any = None


class _Direct(msgspec.Struct):
    archive_info: _Archive | None = None


_DIRECT = msgspec.json.Decoder(_Direct)


class PythonDetails:
    """Inspects `METADATA`, `PKG-INFO` and `direct_url.json`."""

    name = "details_python"
    version = 1
    interest = Interest(
        names=("METADATA", "PKG-INFO", "direct_url.json"), suffixes=(".egg-info",), max_bytes=MAX_METADATA, scope="details"
    )

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield what a distribution needs: what only an extra asks for is left out, what a marker asks for need not be there."""
        folder, _, base = file.path.rpartition("/")
        if base == "direct_url.json":
            yield from _direct(file, folder)
            return
        if (base == "METADATA" and not folder.endswith(".dist-info")) or (
            base == "PKG-INFO" and not folder.endswith((".egg-info", "EGG-INFO"))
        ):
            return
        data = file.read().replace(b"\r\n", b"\n")
        head = data.partition(b"\n\n")[0]
        said = {name: value.decode("utf-8", "replace").strip() for name, value in _NAME.findall(head)}
        if b"Name" not in said or b"Version" not in said:
            return
        requires = []
        for name, rest in _REQUIRES.findall(head)[:MAX_NAMES]:
            if not _EXTRA.search(rest):
                requires.append(("?" if b";" in rest else "") + normal(name.decode()))
        # setuptools wrote requirements into a file of their own until it made wheels: an egg's metadata says nothing about them.
        known = base == "METADATA" or bool(requires)
        yield DetailEvidence(
            type="pypi",
            name=said[b"Name"].lower().replace("_", "-"),
            version=said[b"Version"],
            requires=tuple(dict.fromkeys(requires)) if known else None,
        )


def normal(name: str) -> str:
    """Return the name that all spellings of a name have in common (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _direct(file: File, folder: str) -> Iterator[DetailEvidence]:
    archive = _DIRECT.decode(file.read()).archive_info
    stated = dict(archive.hashes) if archive is not None and isinstance(archive.hashes, dict) else {}
    if archive is not None and isinstance(archive.hash, str):
        stated.setdefault(*archive.hash.partition("=")[::2])
    hashes = tuple(one for algorithm, value in sorted(stated.items()) for one in hexadecimal(algorithm, value))
    if hashes:
        yield DetailEvidence(type="pypi", name="", path=f"{folder}/METADATA", hashes=hashes)


INSPECTOR = PythonDetails()
