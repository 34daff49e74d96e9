"""usr/share/doc/<package>/copyright in, the licences of that Debian package out.

Files in the machine-readable format state short names, which are written as SPDX identifiers where both mean the same, else left
as they stand. In others, references to the texts in /usr/share/common-licenses tell the licence, and where there are none, the
sentences of licences that everybody copies whole.
https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pratique.inventory.licence_texts import told
from pratique.inventory.licenses import spdx
from pratique.model.inventory import Evidence, LicenseEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

_FOLDER = "usr/share/doc/"
_NAME = "/copyright"
MAX_LICENSES = 100  # the largest honest files, those of browsers and of boost, state some fifty
MAX_LENGTH = 120  # a short name, or an expression of them; what is longer is a sentence
MAX_WORDS = 3  # "public domain" and "Apache License 2.0" are names, "Permission to use ..." is not
_JOINTS = re.compile(r"\s+(?:and/or|and|or|with)\s+|\s*[,|]\s*(?:and\s+|or\s+)?", re.IGNORECASE)
_REFERENCE = re.compile(rb"common-licenses/([A-Za-z0-9][A-Za-z0-9.+-]*)")
_FILES_ALL = re.compile(rb"^Files:[ \t\n]+\*[ \t]*$", re.MULTILINE | re.IGNORECASE)


class DpkgCopyright:
    """Inspects the copyright files of Debian packages; distroless images keep them, too."""

    name = "dpkg_copyright"
    version = 2
    interest = Interest(names=("copyright",), max_bytes=8 * MEBIBYTE)  # a browser's has more than two

    def inspect(self, file: File) -> Iterable[Evidence]:
        """Yield the licences, those of "Files: *" first."""
        path = file.path
        package = path[len(_FOLDER) : -len(_NAME)]
        if not (path.startswith(_FOLDER) and path.endswith(_NAME)) or "/" in package or not package:
            return
        data = file.read()
        licenses: dict[str, None] = {}
        if data[:7].lower().startswith(b"format") or b"\nFormat:" in data[:4096]:
            licenses = dict.fromkeys(_stated(data))
        if not licenses:
            licenses = dict.fromkeys(_referred(data)) or dict.fromkeys(told(data))
        if licenses:
            yield LicenseEvidence(type="deb", package=package, licenses=tuple(licenses)[:MAX_LICENSES])


def _stated(data: bytes) -> Iterator[str]:
    """Yield the short names of all License fields."""
    everything = _FILES_ALL.search(data)
    if everything is not None:
        end = data.find(b"\n\n", everything.end())
        yield from _fields(data[everything.end() : end if end >= 0 else len(data)])
    yield from _fields(data)


def _fields(data: bytes) -> Iterator[str]:
    at = -1
    while (at := data.find(b"\nLicense:", at + 1)) >= 0:
        end = data.find(b"\n", at + 9)
        text = " ".join(data[at + 9 : end if end >= 0 else len(data)].decode("utf-8", "replace").split())
        if text and len(text) <= MAX_LENGTH and all(len(name.split()) <= MAX_WORDS for name in _JOINTS.split(text)):
            yield spdx(text)


def _referred(data: bytes) -> Iterator[str]:
    """Yield the common licences that a text refers to. "GPL-2" stays: the words around it say whether later ones are meant."""
    for name in _REFERENCE.findall(data):
        text = name.decode().rstrip(".-")
        yield text if "GPL" in text or "GFDL" in text else spdx(text)


INSPECTOR = DpkgCopyright()
