"""Metadata of installed Python distributions in, PyPI packages out.

Read are `*.dist-info/METADATA`, `*.egg-info` (folder or single file), `EGG-INFO/PKG-INFO`, and the same inside wheels and
zipped eggs: bundled wheels (ensurepip, Debian's python-wheels) are put into every virtual environment that is made later. A
`PKG-INFO` in any other folder belongs to an unpacked source archive, which installs nothing. What pip copied into other
packages with its metadata (setuptools/_vendor) is code that runs, and counts.

An editable or direct-URL install has its dist-info too; `direct_url.json` beside it does not change what code it claims to
be, so it is matched like any other. Conda's own records (conda-meta) are not read: the package URL type conda has no
advisories of its own, and Python packages that conda installs bring their dist-info.

https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pratique.inventory.licenses import spdx
from pratique.inventory.zipped import content, members
from pratique.model.errors import ParseError
from pratique.model.inventory import PackageEvidence, PackageType
from pratique.model.ports import MEBIBYTE, File, Interest

# Metadata with a long README is some 100 KB; headers end in the first few.
MAX_METADATA = 4 * MEBIBYTE
# Bundled wheels are 1 to 3 MB; a wheel beyond this holds compiled libraries, and a compressed layer would have to spool it.
MAX_ARCHIVE = 32 * MEBIBYTE
# Longer names and versions are on no index; the bounds keep nonsense out of reports.
MAX_NAME = 200
# A licence header longer than this is the licence's text, not its name.
MAX_LICENSE = 120
MAX_LICENSES = 16

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
# CPython's own test suite brings old wheels and eggs that nothing ever installs.
_TEST_DATA = re.compile(r"(?:^|/)lib/python\d(?:\.\d+)?/test/")
_CLASSIFIER = b"\nClassifier: License :: "
_UNSAID = frozenset(("", "UNKNOWN", "NONE", "OSI Approved", "Other/Proprietary License"))


class _Python:
    """The inspector: see the module's text."""

    name = "python"
    version = 2
    interest = Interest(names=("METADATA", "PKG-INFO"), suffixes=(".egg-info", ".whl", ".egg"), max_bytes=MAX_ARCHIVE)

    def inspect(self, file: File) -> Iterator[PackageEvidence]:
        """Yield the distribution that the file describes. Raises ParseError, BudgetExceededError."""
        path = file.path
        folder, _, base = path.rpartition("/")
        if _TEST_DATA.search(path):
            return
        if base == "METADATA":
            wanted = folder.endswith(".dist-info")
        elif base == "PKG-INFO":
            wanted = folder.endswith(("EGG-INFO", ".egg-info"))
        elif base.endswith((".whl", ".egg")):
            yield from _archive(file)
            return
        else:
            wanted = True
        if wanted:
            yield _distribution(file.read_at(0, min(file.size, MAX_METADATA)))


INSPECTOR = _Python()


def _archive(file: File) -> Iterator[PackageEvidence]:
    for member in members(file.read_at, file.size):
        folder, _, base = member.name.rpartition(b"/")
        metadata = base == b"METADATA" and folder.endswith(b".dist-info")
        # One level only: what a wheel carries in its own _vendor folder is not installed until the wheel is.
        if b"/" not in folder and (metadata or (base == b"PKG-INFO" and folder == b"EGG-INFO")):
            yield _distribution(content(file.read_at, member, MAX_METADATA), member.name.decode())
            return
    raise ParseError("a wheel or egg without metadata")


def _distribution(data: bytes, inner: str = "") -> PackageEvidence:
    head = _headers(data)
    name, version = _field(head, "Name"), _field(head, "Version")
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise ParseError(f"no name of a Python distribution: {name[:MAX_NAME]!r}")
    if not version or len(version) > MAX_NAME:
        raise ParseError(f"no version of the Python distribution {name}")
    # Distributions that split the standard library off describe the interpreter itself this way (Python-2.7.18.egg-info).
    kind: PackageType = "generic" if name == "Python" else "pypi"
    normal = name.lower().replace("_", "-")
    return PackageEvidence(type=kind, name=normal, version=version, licenses=_licenses(head), inner=inner)


def _headers(data: bytes) -> bytes:
    """Cut the headers off, each after a newline; the description follows the first empty line and may say anything."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data[:256]:
        data = data.replace(b"\r\n", b"\n")
    end = data.find(b"\n\n")
    return b"\n" + (data if end < 0 else data[: end + 1])


def _field(head: bytes, name: str) -> str:
    """Return the first value of a header, "" where it is missing. Tools write names as specified; mail rules allow any case."""
    wanted = f"\n{name}:".encode()
    at = head.find(wanted)
    if at < 0:
        at = head.lower().find(wanted.lower())
        if at < 0:
            return ""
    start = at + len(wanted)
    end = head.find(b"\n", start)
    # A line without an end is where the file was cut off: half a version is worse than none.
    return head[start:end].decode(errors="replace").strip() if end >= 0 else ""


def _licenses(head: bytes) -> tuple[str, ...]:
    """Say the licence by its expression, else by the free-text header if that is a name, else by the classifiers."""
    expression = _field(head, "License-Expression")
    if expression:
        return (spdx(expression[:MAX_LICENSE]),)
    stated = _field(head, "License")
    folded = re.search(rb"\nLicense: [^\n]*\n[ \t]", head) is not None
    if stated.upper() not in _UNSAID and len(stated) <= MAX_LICENSE and not folded:
        return (spdx(stated),)
    found = [part.partition(b"\n")[0] for part in head.split(_CLASSIFIER)[1 : MAX_LICENSES + 1]]
    names = (text.decode(errors="replace").rpartition(" :: ")[2].strip() for text in found)
    return tuple(dict.fromkeys(spdx(name) for name in names if name not in _UNSAID))
