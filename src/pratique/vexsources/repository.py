"""The address or folder of a VEX repository in, the documents that concern a target out. And how a single document is fetched.

The archive is kept in the cache and asked for again, conditionally, when the repository's own interval is over. Nothing of it is
extracted: its index says which files matter, and those are read as the archive passes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pratique.attest import hub
from pratique.attest.limits import MAX_DOCUMENT
from pratique.attest.vexfile import UNREADABLE
from pratique.match.identity import About
from pratique.match.images import image_differs
from pratique.model.errors import BudgetExceededError, CouldNotError, ParseError, RegistryError
from pratique.model.inventory import Inventory
from pratique.model.purl import parse
from pratique.model.report import Target
from pratique.model.vex import Component
from pratique.vexsources.collect import (
    SIGNATURES,
    TRUNCATED,
    UNREACHABLE,
    Collected,
    bounded,
    is_address,
    is_loopback,
    signature_beside,
)

if TYPE_CHECKING:
    import httpx2

    from pratique.image.options import SourceOptions

MAX_ARCHIVE = 512 << 20  # bytes; the largest public repository has 40 MB
MAX_UNPACKED = 4 << 30  # bytes of the archive's files: documents are text, and shrink to a twentieth
MAX_ENTRIES = 1_000_000  # files of an archive
MAX_RELEVANT = 5_000  # documents that concern one target
SECONDS = 120.0  # for reading an archive once
GITHUB = "https://github.com/"


class _Kept(msgspec.Struct, omit_defaults=True):
    """What is known of an archive in the cache."""

    address: str
    folder: str = ""
    fetched: float = 0.0
    interval: float = hub.DEFAULT_INTERVAL
    etag: str = ""
    modified: str = ""


def documents(where: str, of: tuple[Target, Inventory], options: SourceOptions, collected: Collected) -> None:
    """Read the documents of a repository that concern a target. Raises ParseError, CouldNotError, OSError."""
    about = About(of[0], of[1].packages, of[1].distro)
    if not is_address(where):
        _from_folder(Path(where), about, collected)
        return
    archive, folder = _archive(where, options, collected)
    _from_archive(archive, folder, where, about, collected)


def _relevant(entries: Iterable[hub.Entry], about: About) -> dict[str, str]:
    """Return the files about packages that are there, or about the image, by path."""
    found = {}
    for entry in entries:
        try:
            purl = parse(entry.purl)
        except ParseError:
            continue
        image = Component(label=entry.purl, purls=(entry.purl,))
        if about.concerns(purl) or (
            purl.type in ("oci", "docker") and (not about.repository or image_differs(image, about) is None)
        ):
            found[entry.path] = entry.purl
    return found


def _bounded(found: dict[str, str], where: str, collected: Collected) -> list[str]:
    if len(found) > MAX_RELEVANT:
        collected.fail(TRUNCATED, f"{where}: {len(found):,} documents concern this target; {MAX_RELEVANT:,} were read", where)
    return list(found)[:MAX_RELEVANT]


def _from_folder(folder: Path, about: About, collected: Collected) -> None:
    index = folder / hub.INDEX
    for path in _bounded(
        _relevant(hub.index(_limited(bounded(index, hub.MAX_INDEX), hub.MAX_INDEX, str(index))), about), str(folder), collected
    ):
        file = folder / path
        try:
            if not file.resolve().is_relative_to(folder.resolve()):
                collected.fail(UNREADABLE, f"{file}: leads out of its repository", str(folder))
                continue
            collected.take(bounded(file, MAX_DOCUMENT), str(file), signature_beside(file))
        except OSError as error:
            collected.fail(UNREADABLE, f"{file}: {error.strerror or error}", str(folder))


def _limited(data: bytes, limit: int, what: str) -> bytes:
    if len(data) > limit:
        raise ParseError(f"{what}: larger than {limit >> 20} MiB")
    return data


# -- archives -------------------------------------------------------------------------------------------------------------------


def _from_archive(archive: Path, folder: str, where: str, about: About, collected: Collected) -> None:
    prefix = f"{folder}/" if folder else ""
    index = next((data for _, data in _files(archive, {prefix + hub.INDEX: hub.MAX_INDEX})), None)
    if index is None:
        raise ParseError(f"its archive has no {prefix}{hub.INDEX}")
    wanted = _bounded(_relevant(hub.index(index), about), where, collected)
    limits = {prefix + path: MAX_DOCUMENT for path in wanted}
    if collected.trust.keys:
        limits |= {prefix + path + suffix: MAX_DOCUMENT >> 6 for path in wanted for suffix in SIGNATURES}
    found = dict(_files(archive, limits))
    for path in wanted:
        data = found.get(prefix + path)
        source = f"{where}//{path}"
        if data is None:
            collected.fail(UNREADABLE, f"{source}: its index names it, and it is not there or too large", where)
            continue
        signature = next((found[prefix + path + suffix] for suffix in SIGNATURES if prefix + path + suffix in found), None)
        collected.take(data, source, signature)


def _files(archive: Path, limits: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an archive that are asked for, each with the most bytes it may have. Raises ParseError."""
    from pratique.image.blob import Deadline, Region, TarStream, compression_of  # noqa: PLC0415 - only where there is one
    from pratique.image.pull import Pull  # noqa: PLC0415 - as above
    from pratique.image.tar import BLOCK, REGULAR, HeaderReader, clean  # noqa: PLC0415 - as above

    with archive.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        compression = compression_of(file.read(6))
        if compression == "plain":
            raise ParseError("its archive is none of tar.gz, tar.zst, tar.bz2 and tar.xz")
        pull = Pull(_counted(TarStream(Region(file.fileno(), 0, size), compression, Deadline(SECONDS))))
        reader = HeaderReader()
        missing = set(limits)
        try:
            for _ in range(MAX_ENTRIES):
                block = pull.block()
                header = reader.next(block, pull.read) if block else None
                if header is None or not missing:
                    return
                path = clean(header.path)[0].decode("utf-8", "replace")
                padding = -header.size % BLOCK
                if header.kind == REGULAR and header.size <= limits.get(path, -1):
                    missing.discard(path)
                    yield path, pull.read(header.size)
                    pull.skip(0, padding)
                else:
                    pull.skip(header.size, padding)
        except BudgetExceededError as error:
            raise ParseError(error.message) from None
        raise ParseError(f"its archive has more than {MAX_ENTRIES:,} entries")


def _counted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    count = 0
    for piece in pieces:
        count += len(piece)
        if count > MAX_UNPACKED:
            raise ParseError(f"its archive holds more than {MAX_UNPACKED >> 30} GiB")
        yield piece


# -- fetching -------------------------------------------------------------------------------------------------------------------


class _Answer(NamedTuple):
    status: int
    data: bytes
    etag: str
    modified: str


def fetch(address: str, limit: int, options: SourceOptions) -> bytes:
    """Fetch a document. Raises CouldNotError."""
    answer = _ask(address, limit, options, {})
    if answer.status != 200:
        raise RegistryError(f"the answer is {answer.status}")
    return answer.data


def _ask(address: str, limit: int, options: SourceOptions, headers: dict[str, str]) -> _Answer:
    from pratique._kit import http  # noqa: PLC0415 - only where something is fetched

    if options.offline:
        raise RegistryError("it is elsewhere, and --offline forbids to ask")
    client = http.make_client(direct=_is_local(address))
    try:
        response: httpx2.Response = http.exchange(client, client.build_request("GET", address, headers=headers))
        if response.status_code not in (200, 304):
            response.close()
            return _Answer(response.status_code, b"", "", "")
        data = http.read_body(response, limit, address)
        return _Answer(
            response.status_code, data, response.headers.get("etag", "")[:500], response.headers.get("last-modified", "")[:100]
        )
    finally:
        client.close()


def _is_local(address: str) -> bool:
    from urllib.parse import urlsplit  # noqa: PLC0415 - beside its one use

    return is_loopback(urlsplit(address).hostname or "")


def _archive(where: str, options: SourceOptions, collected: Collected) -> tuple[Path, str]:
    """Return the archive of a repository in the cache, brought up to date if its interval is over. Raises CouldNotError."""
    name = sha256(where.encode()).hexdigest()
    base = options.cache_dir / "vex" / name
    kept = _kept(base)
    fresh = kept is not None and time.time() - kept.fetched < kept.interval
    if kept is None or not (fresh or options.offline):
        try:
            kept = _refresh(where, base, kept, options)
        except (CouldNotError, ParseError) as error:
            if kept is None:
                raise
            age = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(kept.fetched))
            collected.fail(UNREACHABLE, f"{where}: {error.message}; what was fetched on {age} is used", where)
    return base.with_suffix(".archive"), kept.folder


def _kept(base: Path) -> _Kept | None:
    try:
        kept = msgspec.json.decode(bounded(base.with_suffix(".json"), 1 << 16), type=_Kept)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return kept if base.with_suffix(".archive").is_file() else None


def _refresh(where: str, base: Path, kept: _Kept | None, options: SourceOptions) -> _Kept:
    manifest = _manifest(where, options)
    trouble: CouldNotError | ParseError = ParseError("its manifest names no location")
    for location in manifest.locations:
        try:
            return _download(location, manifest.interval, base, kept, options)
        except CouldNotError as error:
            trouble = error
    raise trouble


def _manifest(where: str, options: SourceOptions) -> hub.Manifest:
    """Read a repository's manifest: at the address itself, at its well-known place, or in the main branch on GitHub."""
    trimmed = where.rstrip("/")
    if trimmed.endswith(".json"):
        places = [trimmed]
    elif trimmed.endswith((".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")) or "//" in trimmed.partition("://")[2]:
        return hub.archive(trimmed)
    else:
        scheme, _, rest = trimmed.partition("://")
        places = [f"{trimmed}/{hub.MANIFEST}", f"{scheme}://{rest.partition('/')[0]}{hub.WELL_KNOWN}"]
        if trimmed.startswith(GITHUB):
            places.insert(0, f"https://raw.githubusercontent.com/{trimmed.removeprefix(GITHUB)}/HEAD/{hub.MANIFEST}")
    for place in places:
        answer = _ask(place, hub.MAX_MANIFEST, options, {})
        if answer.status == 200:
            return hub.manifest(answer.data)
    raise RegistryError(f"there is no {hub.MANIFEST}")


def _download(location: hub.Location, interval: float, base: Path, kept: _Kept | None, options: SourceOptions) -> _Kept:
    address = location.address
    if not address.startswith("https://") and not _is_local(address):
        raise RegistryError(f"its manifest names {address[:200]}, which is not https")
    same = kept is not None and (kept.address, kept.folder) == location
    headers = {}
    if same and kept is not None:
        headers = {"If-None-Match": kept.etag} if kept.etag else {"If-Modified-Since": kept.modified} if kept.modified else {}
    answer = _ask(address, MAX_ARCHIVE, options, headers)
    if answer.status == 304 and kept is not None:
        found = msgspec.structs.replace(kept, fetched=time.time(), interval=interval)
    elif answer.status == 200:
        found = _Kept(address, location.folder, time.time(), interval, answer.etag, answer.modified)
        _write(base.with_suffix(".archive"), answer.data)
    else:
        raise RegistryError(f"{address}: the answer is {answer.status}")
    _write(base.with_suffix(".json"), msgspec.json.encode(found))
    return found


def _write(path: Path, data: bytes) -> None:
    """Let a file appear whole. Raises RegistryError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError as error:
        raise RegistryError(f"{path} cannot be written: {error.strerror}") from None
