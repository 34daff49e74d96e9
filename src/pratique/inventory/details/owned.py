"""File lists of dpkg, apk, rpm and pip in, which package installed which files out: asked for by `--files` alone."""

from __future__ import annotations

import csv
import posixpath
from collections.abc import Iterator

from pratique.inventory._rpmdb import blobs
from pratique.inventory._rpmdb.header import parse_header
from pratique.inventory.details.apk import head
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.inventory import FilesEvidence
from pratique.model.ports import MEBIBYTE, File, Interest

_INFO = "var/lib/dpkg/info/"
_STATUS_D = "var/lib/dpkg/status.d"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_RPM = tuple(
    f"{folder}/{name}"
    for folder in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
    for name in ("rpmdb.sqlite", "Packages.db", "Packages")
)
MAX_PATHS = 1_000_000  # of one database: ten times the files of the largest images known
MAX_PATH_BYTES = 256 << 20  # of all of them; a database that lists a folder's long name over and over ends here


class Owned:
    """Inspects the lists of files that package managers keep."""

    name = "details_owned"
    version = 1
    interest = Interest(
        paths=(*_APK, *_RPM),
        under=(_INFO.rstrip("/"), _STATUS_D),
        names=("RECORD",),
        max_bytes=256 * MEBIBYTE,
        scope="files",
    )

    def inspect(self, file: File) -> Iterator[FilesEvidence]:
        """Yield one list a package. Raises ParseError, BudgetExceededError."""
        path = file.path
        if path in _APK:
            yield from _apk(file.read())
        elif path in _RPM:
            yield from _rpm(file)
        elif path.startswith(_INFO) and path.endswith(".list"):
            yield _dpkg(path, [line[1:] for line in _text(file).splitlines() if line.startswith("/")], ".list")
        elif path.startswith(_STATUS_D) and path.endswith(".md5sums"):
            yield _dpkg(path, [line[34:].lstrip("/") for line in _text(file).splitlines()], ".md5sums")
        elif path.endswith(".dist-info/RECORD"):
            yield _record(path, _text(file))


INSPECTOR = Owned()


def _text(file: File) -> str:
    return file.read().decode("utf-8", "replace")


def _dpkg(path: str, paths: list[str], suffix: str) -> FilesEvidence:
    name, _, arch = path.rpartition("/")[2].removesuffix(suffix).partition(":")
    return FilesEvidence(type="deb", name=name, arch=arch, paths=tuple(one for one in paths if one.strip("./")))


class _Budget:
    """How many paths of how many bytes may still be kept of one database."""

    def __init__(self) -> None:
        self._paths, self._bytes = MAX_PATHS, MAX_PATH_BYTES

    def spend(self, folder: str, names: list[str]) -> None:
        """Take those of a folder. Raises BudgetExceededError."""
        self._paths -= len(names)
        self._bytes -= len(folder) * len(names) + sum(map(len, names))
        if min(self._paths, self._bytes) < 0:
            raise BudgetExceededError(
                f"a package database of more than {MAX_PATHS} files, or {MAX_PATH_BYTES >> 20} MiB of names"
            )


def _apk(data: bytes) -> Iterator[FilesEvidence]:
    budget = _Budget()
    for stanza in data.replace(b"\r\n", b"\n").split(b"\n\n"):
        said = head(stanza)
        paths: list[str] = []
        for part in stanza.decode("utf-8", "replace").split("\nF:")[1:]:
            folder, *entries = part.split("\nR:")
            folder = folder.partition("\n")[0]
            folder = f"{folder}/" if folder else ""
            names = [entry.partition("\n")[0] for entry in entries]
            budget.spend(folder, names)
            paths += [folder + name for name in names]
        if paths and said.get(b"P"):
            yield FilesEvidence(
                type="apk", name=said[b"P"], version=said.get(b"V", ""), arch=said.get(b"A", ""), paths=tuple(paths)
            )


def _rpm(file: File) -> Iterator[FilesEvidence]:
    budget = _Budget()
    for blob in blobs(file):
        if isinstance(blob, ParseError):
            continue
        try:
            header = parse_header(blob)
        except ParseError:
            continue
        paths: list[str] = []
        for folder, names in header.files.items():
            budget.spend(folder, names)
            paths += [folder + name for name in names]
        if paths:
            version = f"{header.version}-{header.release}"
            version = version if header.epoch < 0 else f"{header.epoch}:{version}"
            yield FilesEvidence(type="rpm", name=header.name, version=version, arch=header.arch, paths=tuple(paths))


def _record(path: str, text: str) -> FilesEvidence:
    """Paths in a RECORD are relative to the folder that holds the dist-info; those of scripts lead out of it with `..`."""
    folder = path.rpartition("/")[0]
    site = folder.rpartition("/")[0]
    try:
        rows = list(csv.reader(text.splitlines()))[:MAX_PATHS]
    except csv.Error as error:
        raise ParseError(f"RECORD: {error}") from error
    joined = (posixpath.normpath(posixpath.join("/", site, row[0])) for row in rows if row and row[0])
    paths = tuple(dict.fromkeys(one.lstrip("/") for one in joined if one != "/"))
    return FilesEvidence(type="pypi", name="", path=f"{folder}/METADATA", paths=paths)
