"""rpm's database (SQLite, ndb or Berkeley DB) or the manifest of a distroless image in, packages and the paths they own out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pratique.inventory._rpmdb import blobs
from pratique.inventory._rpmdb.header import RpmHeader, parse_header
from pratique.inventory.licenses import spdx
from pratique.inventory.ownership import Keeper
from pratique.model.errors import ParseError
from pratique.model.inventory import Evidence, Gap, OwnershipEvidence, PackageEvidence, SourcePackage
from pratique.model.ports import MEBIBYTE, File, Interest

_FOLDERS = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")  # rpm's own, its new home, ostree's
_DATABASES = ("rpmdb.sqlite", "Packages.db", "Packages")
_LOG = "rpmdb.sqlite-wal"
# CBL-Mariner and Azure Linux list here what they left out of the database of their distroless images.
_MANIFEST = "var/lib/rpmmanifest/container-manifest-2"

MAX_PACKAGES = 50_000  # all of Fedora; a database of more is built to waste time


class Rpm:
    """Inspects the databases of rpm, and the manifest that stands for one."""

    name = "rpm"
    version = 3
    interest = Interest(
        paths=(_MANIFEST, *(f"{folder}/{name}" for folder in _FOLDERS for name in (*_DATABASES, _LOG))),
        max_bytes=256 * MEBIBYTE,  # a workstation with 5,000 packages has 200 MiB
    )

    def inspect(self, file: File) -> Iterator[Evidence | Gap]:
        """Yield packages and their files."""
        if file.path == _MANIFEST:
            yield from _manifest(file.read(), file.path)
        elif file.path.endswith(_LOG):
            if file.size:  # a closed database leaves an empty log; what stands in one is not in the main file
                message = "rpm: the database was not closed; its log may hold changes that were not seen"
                yield Gap(code="inventory.unreadable", message=message, path=file.path)
        else:
            yield from _database(file)


def _database(file: File) -> Iterator[Evidence | Gap]:
    keeper = Keeper()
    headers: list[RpmHeader] = []
    for number, blob in enumerate(blobs(file)):
        if number >= MAX_PACKAGES:
            yield Gap(code="inventory.too-many", message=f"rpm: more than {MAX_PACKAGES} packages", path=file.path)
            break
        try:
            if isinstance(blob, ParseError):
                raise blob
            header = parse_header(blob)
        except ParseError as error:
            yield Gap(code="inventory.invalid", message=f"rpm: {error.message}", path=file.path)
            continue
        if header.name == "gpg-pubkey":  # a key in the clothes of a package
            continue
        headers.append(header._replace(files={}))
        paths = [path for folder, names in header.files.items() for path in keeper.keep_in(folder, names)]
        if paths:
            yield OwnershipEvidence(type="rpm", package=header.name, arch=header.arch, paths=tuple(paths))
    yield from _packages(headers)


def _packages(headers: Sequence[RpmHeader]) -> Iterator[PackageEvidence]:
    """A source's epoch stands nowhere but in the binary package that bears its version: look among those of the same source."""
    epochs: dict[str, int] = {}
    for header in headers:
        if header.source_rpm.startswith(f"{header.name}-{header.version}-{header.release}."):
            epochs[header.source_rpm] = header.epoch
    for header in headers:
        release = f"{header.version}-{header.release}"
        version = _with_epoch(header.epoch, release)
        source_name, source_release = _source(header.source_rpm)
        source_version = _with_epoch(epochs.get(header.source_rpm, header.epoch), source_release)
        differs = source_name and (source_name, source_version) != (header.name, version)
        yield PackageEvidence(
            type="rpm",
            name=header.name,
            version=version,
            arch=header.arch,
            source=SourcePackage(source_name, source_version) if differs else None,
            licenses=(spdx(header.license),) if header.license else (),
            qualifiers=(("rpmmod", header.module),) if header.module else (),
        )


def _with_epoch(epoch: int, release: str) -> str:
    return release if epoch < 0 else f"{epoch}:{release}"


def _source(source_rpm: str) -> tuple[str, str]:
    """Read `name-version-release.src.rpm` into name and version-release; empty where it is none."""
    stem = source_rpm.removesuffix(".rpm").removesuffix(".nosrc").removesuffix(".src")
    parts = stem.rsplit("-", 2)
    return (parts[0], f"{parts[1]}-{parts[2]}") if len(parts) == 3 and stem != source_rpm else ("", "")


def _manifest(data: bytes, path: str) -> Iterator[Evidence | Gap]:
    """Each line: name, version-release, two times, vendor, epoch, size, architecture, epoch as number, source rpm; by tabs."""
    headers: list[RpmHeader] = []
    broken = 0
    for line in data.decode("utf-8", "replace").splitlines():
        fields = line.split("\t")
        if len(fields) < 10 or not fields[0] or "-" not in fields[1]:
            broken += 1
            continue
        version, _, release = fields[1].rpartition("-")
        epoch = int(fields[5]) if fields[5].isdecimal() and len(fields[5]) < 10 else -1
        headers.append(RpmHeader(fields[0], version, release, epoch, fields[7], "", fields[9], "", {}))
    yield from _packages(headers)
    if broken:
        yield Gap(code="inventory.invalid", message=f"rpm: {broken} lines of the manifest cannot be read", path=path)


INSPECTOR = Rpm()
