"""Contents of files in, documents and gaps out, each content once; and how files and folders are read, within bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pratique.attest.limits import MAX_DOCUMENT
from pratique.attest.vexfile import UNREADABLE, Found, Trust, read
from pratique.model.errors import PratiqueError, UsageError
from pratique.model.inventory import Gap
from pratique.model.vex import Document, Product

if TYPE_CHECKING:
    from pratique.attest.cyclonedx import Bom
    from pratique.attest.keys import Key

UNREACHABLE = "advisories.vex-unreachable"
TRUNCATED = "advisories.vex-truncated"

MAX_FILES = 20_000  # of a folder; the largest public collection has 12,000
MAX_DEPTH = 32  # folders in folders: collections sort by type, name and version
MAX_BYTES = 512 << 20  # of all documents that are read for one target
MAX_GAPS = 200  # a folder of other things would else fill the report; the rest is counted

_SUFFIXES = (".json", ".jsonl", ".vex", ".dsse", ".att")
SIGNATURES = (".sig", ".sigstore.json", ".sigstore", ".bundle")


class Loaded(NamedTuple):
    """Documents in the order in which they were named, and what could not be had or believed."""

    documents: list[Document]
    gaps: list[Gap]


class Collected:
    """Documents, BOMs that others refer to, and gaps, each content once."""

    def __init__(self, trust: Trust) -> None:
        self.trust = trust
        self.documents: list[Document] = []
        self.boms: list[Bom] = []
        self.gaps: list[Gap] = []
        self._seen: set[bytes] = set()
        self._bytes = 0
        self._more = 0

    def take(self, data: bytes, source: str, signature: bytes | None) -> None:
        """Read one file's content."""
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            self.fail(TRUNCATED, f"{source}: more than {MAX_BYTES >> 20} MiB of documents; the rest was not read", source)
            return
        content = hashlib.sha256(data).digest()
        if content not in self._seen:
            self._seen.add(content)
            self.add(read(data, source, self.trust, signature), source)

    def add(self, found: Found, source: str) -> None:
        """Keep what was found in a file."""
        self.documents += found.documents
        self.boms += found.boms
        for code, message in found.failures:
            self.fail(code, message, source)

    def fail(self, code: str, message: str, source: str) -> None:
        """Note what could not be had or believed."""
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append(Gap(code=code, message=message, source=source))
        else:
            self._more += 1

    def join(self, other: Collected) -> None:
        """Add what another has."""
        self.documents += other.documents
        self.boms += other.boms
        self.gaps += other.gaps
        self._more += other._more

    def close(self, own: Bom | None) -> Loaded:
        """Follow references between BOMs. `own` is the BOM that was scanned."""
        from pratique.attest.cyclonedx import resolve  # noqa: PLC0415 - beside its one use

        scanned = (own._replace(scanned=True),) if own is not None else ()
        boms = {bom.serial: bom for bom in (*self.boms, *scanned) if bom.serial}
        documents = [resolve(document, boms) for document in self.documents]
        if own is not None:
            documents = [_of_the_target(document, own) for document in documents]
        gaps = sorted(set(self.gaps))
        if self._more:
            gaps.append(Gap(code=TRUNCATED, message=f"{self._more:,} more problems with VEX documents are not listed"))
        return Loaded(documents, gaps)


def _of_the_target(document: Document, own: Bom) -> Document:
    """What a BOM says about itself is about the target that it is, whatever it calls that."""
    if document.format != "cyclonedx" or not own.serial or document.id.lower() != own.serial:
        return document
    statements = []
    root = own.components.get(own.root)
    for statement in document.statements:
        products = tuple(
            Product(None, product.parts) if product.component == root or product.parts else product
            for product in statement.products
        )
        statements.append(msgspec.structs.replace(statement, products=products))
    return msgspec.structs.replace(document, statements=tuple(statements))


def is_address(name: str) -> bool:
    """Say whether this is an address to fetch."""
    return name.lower().startswith(("http://", "https://"))


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine."""
    return host in ("localhost", "::1") or host.startswith("127.")


def bounded(path: Path, limit: int) -> bytes:
    """Read a file up to one byte more than the limit. Raises OSError."""
    with path.open("rb") as file:
        return file.read(limit + 1)


def read_tree(path: Path, collected: Collected) -> None:
    """Read a file, or all documents below a folder in the order of their names. Raises OSError."""
    if not path.is_dir():
        collected.take(bounded(path, MAX_DOCUMENT), str(path), signature_beside(path))
        return
    for count, file in enumerate(_files(path, 0), 1):
        if count > MAX_FILES:
            collected.fail(TRUNCATED, f"{path}: more than {MAX_FILES:,} files; the rest was not read", str(path))
            return
        if file.name.endswith(_SUFFIXES) and not file.name.endswith(SIGNATURES):
            try:
                collected.take(bounded(file, MAX_DOCUMENT), str(file), signature_beside(file))
            except OSError as error:
                collected.fail(UNREADABLE, f"{file}: {why(error)}", str(file))


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """Yield regular files; links are followed to files, not to folders, which could lead in circles."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if depth < MAX_DEPTH and not entry.is_symlink():
                yield from _files(entry, depth + 1)
        elif entry.is_file():
            yield entry


def signature_beside(path: Path, look: Callable[[Path], bytes | None] | None = None) -> bytes | None:
    """Return the signature that stands beside a document under one of the usual names; None without one."""
    for suffix in SIGNATURES:
        try:
            found = (look or (lambda beside: bounded(beside, MAX_DOCUMENT >> 6)))(path.with_name(path.name + suffix))
        except OSError:
            continue
        if found is not None:
            return found
    return None


def load_keys(option: str, names: Sequence[str]) -> tuple[Key, ...]:
    """Read the public keys that an option names. Raises UsageError, ConfigurationError."""
    if not names:
        return ()
    from pratique.attest.keys import MAX_KEY_FILE, load  # noqa: PLC0415 - only where keys are given

    found: list[Key] = []
    for name in dict.fromkeys(names):
        try:
            content = bounded(Path(name), MAX_KEY_FILE)
        except OSError as error:
            raise UsageError(f"{option} {name}: {error.strerror}") from None
        found += load(name, content)
    return tuple(found)


def why(error: Exception) -> str:
    """Return what went wrong in a few words."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.message if isinstance(error, PratiqueError) else str(error)
