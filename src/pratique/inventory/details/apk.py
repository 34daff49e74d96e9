"""The installed database of apk in, what each package needs and provides out.

https://wiki.alpinelinux.org/wiki/Apk_spec: D: lists what it needs (`so:libc.musl-x86_64.so.1`, `/bin/sh`, `busybox>=1.36`; what
begins with `!` must not be there), p: what else it provides, C: the digest of its control part.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from pratique.model.inventory import Checksum, DetailEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

MAX_NAMES = 5_000  # of one package; the largest provide some 1,000
MAX_SUPPLIER = 200  # characters
_FIELDS = (b"P", b"V", b"A", b"D", b"p", b"C", b"m")
_VERSION = re.compile(r"[<>=~].*|@.*")


class ApkDetails:
    """Inspects `lib/apk/db/installed`, which newer releases keep under /usr."""

    name = "details_apk"
    version = 1
    interest = Interest(paths=("lib/apk/db/installed", "usr/lib/apk/db/installed"), max_bytes=64 * MEBIBYTE, scope="details")

    def inspect(self, file: File) -> Iterator[DetailEvidence]:
        """Yield the relations of each package that states a name and a version."""
        stanzas = file.read().replace(b"\r\n", b"\n").split(b"\n\n")
        read = [(head(stanza), stanza) for stanza in stanzas]
        folders: dict[bytes, set[str]] = {}  # of the files that are needed by their paths
        for path in {name for said, _ in read for name in _names(said.get(b"D", "")) if name.startswith("/")}:
            folders.setdefault(path[1:].rpartition("/")[0].encode(), set()).add(path)
        for said, stanza in read:
            if not said.get(b"P") or not said.get(b"V"):
                continue
            yield DetailEvidence(
                type="apk",
                name=said[b"P"],
                version=said[b"V"],
                arch=said.get(b"A", ""),
                supplier=said.get(b"m", "")[:MAX_SUPPLIER],
                requires=tuple(dict.fromkeys(_names(said.get(b"D", ""))))[:MAX_NAMES],
                provides=tuple(dict.fromkeys([*_names(said.get(b"p", "")), *_wanted(stanza, folders)]))[:MAX_NAMES],
                hashes=_hash(said.get(b"C", "")),
            )


def head(stanza: bytes) -> dict[bytes, str]:
    """Return the facts of a package that stand before its files."""
    found: dict[bytes, str] = {}
    for line in stanza.strip(b"\n").split(b"\n"):
        key, _, value = line.partition(b":")
        if key == b"F":
            break
        if key in _FIELDS:
            found.setdefault(key, value.decode("utf-8", "replace").strip())
    return found


def _names(text: str) -> Iterator[str]:
    for word in text.split(" "):
        if word and not word.startswith("!") and (name := _VERSION.sub("", word)):
            yield name


def _wanted(stanza: bytes, folders: dict[bytes, set[str]]) -> Iterator[str]:
    """Yield those of the needed paths, by their folders, that a package installed."""
    if not folders:
        return
    for part in stanza.split(b"\nF:")[1:]:
        folder, _, entries = part.partition(b"\n")
        if folder in folders:
            names = {entry.partition(b"\n")[0].decode("utf-8", "replace") for entry in (b"\n" + entries).split(b"\nR:")[1:]}
            where = f"/{folder.decode('utf-8', 'replace')}/" if folder else "/"
            yield from sorted(folders[folder].intersection(where + name for name in names))


def _hash(text: str) -> tuple[Checksum, ...]:
    """Read `Q1` and the base64 of a SHA-1: it is of the part of the package that holds its metadata, not of the whole."""
    try:
        value = base64.b64decode(text[2:], validate=True) if text.startswith("Q1") else b""
    except (binascii.Error, ValueError):
        value = b""
    return (Checksum("q1", value.hex()),) if len(value) == 20 else ()


INSPECTOR = ApkDetails()
