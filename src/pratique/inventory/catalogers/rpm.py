"""rpm's database (SQLite, ndb or Berkeley DB) or the manifest of a distroless image in, packages and the paths they own out."""

from __future__ import annotations

from collections.abc import Iterator

from pratique.inventory._rpmdb import blobs
from pratique.inventory._rpmdb.header import RpmHeader, parse_header
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
    version = 1
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
    for number, blob in enumerate(blobs(file)):
        if number >= MAX_PACKAGES:
            yield Gap(code="inventory.too-many", message=f"rpm: more than {MAX_PACKAGES} packages", path=file.path)
            return
        try:
            if isinstance(blob, ParseError):
                raise blob
            header = parse_header(blob)
        except ParseError as error:
            yield Gap(code="inventory.invalid", message=f"rpm: {error.message}", path=file.path)
            continue
        if header.name == "gpg-pubkey":  # a key in the clothes of a package
            continue
        yield _package(header)
        paths = [path for folder, names in header.files.items() for path in keeper.keep_in(folder, names)]
        if paths:
            yield OwnershipEvidence(type="rpm", package=header.name, arch=header.arch, paths=tuple(paths))


def _package(header: RpmHeader) -> PackageEvidence:
    release = f"{header.version}-{header.release}"
    version = release if header.epoch < 0 else f"{header.epoch}:{release}"
    return PackageEvidence(
        type="rpm",
        name=header.name,
        version=version,
        arch=header.arch,
        source=_source(header.source_rpm, header.name, release, version),
        licenses=(header.license,) if header.license else (),
        qualifiers=(("rpmmod", header.module),) if header.module else (),
    )


def _source(source_rpm: str, name: str, release: str, version: str) -> SourcePackage | None:
    """Read `name-version-release.src.rpm`. The file name holds no epoch: it is the binary's where the rest is the same."""
    stem = source_rpm.removesuffix(".rpm").removesuffix(".nosrc").removesuffix(".src")
    parts = stem.rsplit("-", 2)
    if len(parts) != 3 or stem == source_rpm:
        return None
    source_version = f"{parts[1]}-{parts[2]}"
    same = source_version == release
    if same and parts[0] == name:
        return None
    return SourcePackage(parts[0], version if same else source_version)


def _manifest(data: bytes, path: str) -> Iterator[Evidence | Gap]:
    """Each line: name, version-release, two times, vendor, epoch, size, architecture, epoch as number, source rpm; by tabs."""
    if data and not data.endswith(b"\n"):
        data += b"\n"
    broken = 0
    for line in data.decode("utf-8", "replace").split("\n")[:-1]:
        fields = line.split("\t")
        if len(fields) < 10 or not fields[0] or "-" not in fields[1]:
            broken += 1
            continue
        name, release, arch, epoch = fields[0], fields[1], fields[7], fields[5]
        version = f"{epoch}:{release}" if epoch.isdecimal() else release
        source = _source(fields[9], name, release, version)
        yield PackageEvidence(type="rpm", name=name, version=version, arch=arch, source=source)
    if broken:
        yield Gap(code="inventory.invalid", message=f"rpm: {broken} lines of the manifest cannot be read", path=path)


INSPECTOR = Rpm()
