"""What the readers of all SBOM formats fill in: components as a document lists them, what it is about, what was unreadable.

Decoding is in two steps: the document with its lists left as bytes, then entry by entry, so that a broken entry is one Gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from pratique.model.errors import ParseError
from pratique.model.inventory import Checksum, DistroEvidence, Gap, Location, SourcePackage

T = TypeVar("T")

MAX_BYTES = 512 << 20  # of a document; the largest seen, of a 2 GB image with all its files, has 60 MiB
MAX_COMPONENTS = 200_000  # forty times the packages of the largest image seen; so many take 4 s and 500 MiB
MAX_RELATIONS = 2_000_000  # Syft relates each file to its package, and the largest image seen has a million; so many take 800 MiB
MAX_NAME = 4096  # characters of a name, version or package URL; longer ones are no package's
MAX_LOCATIONS = 50  # of one component; the first are kept
MAX_GAPS = 100  # of one kind; a count of the rest follows


class Component(msgspec.Struct, kw_only=True):
    """One entry that is a package. `owner` is the `ref` of the component that installed it; a `purl` is the document's own.

    `module` is the label of an rpm's module; `files` are references of files that it contains.
    """

    ref: str = ""
    purl: str = ""
    name: str = ""
    version: str = ""
    licenses: tuple[str, ...] = ()
    locations: tuple[Location, ...] = ()
    source: SourcePackage | None = None
    module: str = ""
    files: tuple[str, ...] = ()
    hashes: tuple[Checksum, ...] = ()
    owner: str = ""
    role: str = ""
    declared: bool = False


class BillLayer(msgspec.Struct, kw_only=True):
    """A layer as a document names it."""

    diff_id: str = ""
    digest: str = ""
    created_by: str = ""


class Bill(msgspec.Struct, kw_only=True):
    """A whole document. `subject` is the name of what it describes, `digest` and `platform` what it says of that.

    `owners` is False where its writer lists what packages of the system brought along, and does not say so; `silent` names a
    writer that leaves some of it, or all, out. `needs` are the references of what each component needs, `known` how much of it
    that is where the document says so ("complete", "incomplete", "unknown"); `sure` means that it is all where it does not.
    """

    format: str
    subject: str = ""
    digest: str = ""
    platform: str = ""
    owners: bool = True
    silent: str = ""
    needs: dict[str, list[str]] = msgspec.field(default_factory=dict)
    known: dict[str, str] = msgspec.field(default_factory=dict)
    sure: bool = False
    layers: list[BillLayer] = msgspec.field(default_factory=list)
    distro: DistroEvidence | None = None
    components: list[Component] = msgspec.field(default_factory=list)
    gaps: list[Gap] = msgspec.field(default_factory=list)

    def unreadable(self, what: str, error: object, count: int) -> None:
        """Note an entry that could not be read."""
        if count < MAX_GAPS:
            self.gaps.append(Gap(code="inventory.invalid", message=f"{self.format}: {what}: {str(error)[:300]}"))
        elif count == MAX_GAPS:
            self.gaps.append(
                Gap(code="inventory.too-many", message=f"{self.format}: more entries that cannot be read than listed")
            )


def decode(data: bytes, kind: type[T], format_: str) -> T:
    """Decode a whole document. Raises ParseError."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ParseError(f"not a {format_} document: {error}") from None


def entries(raw: Iterable[msgspec.Raw] | None, kind: type[T], bill: Bill, what: str, limit: int) -> Iterator[T]:
    """Decode a list entry by entry; one that is broken becomes a Gap, and so does what follows `limit` entries."""
    decoder = msgspec.json.Decoder(kind)
    broken = 0
    for number, item in enumerate(raw or ()):
        if number >= limit:
            message = f"{bill.format}: more than {limit} of {what}; the rest was not read"
            bill.gaps.append(Gap(code="inventory.truncated", message=message))
            return
        try:
            yield decoder.decode(item)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            bill.unreadable(f"{what} {number + 1}", error, broken)
            broken += 1


def restored(text: str) -> Gap | None:
    """Return a Gap that one of our own documents carries; None where the text is none."""
    try:
        return msgspec.json.decode(text, type=Gap)
    except (msgspec.DecodeError, RecursionError):
        return None


def place(path: Any, layer: Any = "") -> Location | None:
    """Return a location, without a slash before its path; None without a path."""
    if not isinstance(path, str) or not path.strip("/"):
        return None
    return Location(path.lstrip("/"), layer if isinstance(layer, str) and layer.startswith("sha") else "")
