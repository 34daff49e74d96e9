"""SPDX 2.x as tags and values in, a Bill out. https://spdx.github.io/spdx-spec/v2.3/conformance/."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator, Sized

from pratique.inventory.sbom.bill import MAX_COMPONENTS, MAX_RELATIONS, Bill
from pratique.inventory.sbom.spdx import (
    FORMAT,
    MAX_NOTES,
    Note,
    Package,
    Reference,
    Relation,
    Words,
    fill,
    put_files,
    unplaced_files,
    written_by,
)
from pratique.model.errors import ParseError
from pratique.model.inventory import Gap

_PACKAGE = {
    "PackageVersion": "version",
    "PrimaryPackagePurpose": "purpose",
    "PackageLicenseDeclared": "declared",
    "PackageLicenseConcluded": "concluded",
    "PackageSourceInfo": "source",
}
_MOST = {"packages": MAX_COMPONENTS, "relationships": MAX_RELATIONS, "licences": MAX_COMPONENTS}
MAX_CREATORS = 100
MAX_REFERENCES = 500  # of one package; Syft writes a CPE for each spelling of a name, some thirty
# Tags that begin an element of another kind: what follows is not the package's.
_OTHERS = frozenset(("FileName", "SnippetSPDXID", "LicenseID", "Reviewer"))


def read(data: bytes) -> Bill:
    """Read a document. Raises ParseError where it is none."""
    reader = _Reader()
    try:
        for tag, value in _pairs(data.removeprefix(codecs.BOM_UTF8)):
            reader.take(tag, value)
    except UnicodeDecodeError as error:
        raise ParseError(f"not a {FORMAT} document: {error.reason} in UTF-8") from None
    if not reader.version:
        raise ParseError(f"not a {FORMAT} document: no SPDXVersion")
    bill = Bill(format=reader.version[:20], subject=reader.name)
    for creator in reader.creators:
        written_by(creator, bill)
    for what, dropped in sorted((+reader.dropped).items()):
        message = f"{FORMAT}: more {what} than {_MOST[what]}; {dropped} were not read"
        bill.gaps.append(Gap(code="inventory.truncated", message=message))
    fill(bill, reader.packages, iter(reader.relations), reader.words)
    put_files(unplaced_files(bill), reader.files)
    return bill


def _pairs(text: bytes) -> Iterator[tuple[str, str]]:
    """Yield tags with values; a value in <text> may hold line ends.

    Lines are decoded one by one: a document with one rare character would take four times its size as a whole.
    """
    at = 0
    while at < len(text):
        end = text.find(b"\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end]
        tag, colon, value = line.partition(b":")
        value = value.strip()
        if colon and value.startswith(b"<text>") and b"</text>" not in value:
            close = text.find(b"</text>", end)
            close = len(text) if close < 0 else close
            value += text[end:close]
            end = text.find(b"\n", close)
            end = len(text) if end < 0 else end
        at = end + 1
        if colon and not line.startswith(b"#"):
            yield tag.strip().decode(), value.removeprefix(b"<text>").removesuffix(b"</text>").decode()


class _Reader:
    def __init__(self) -> None:
        self.version = self.name = ""
        self.packages: list[Package] = []
        self.relations: list[Relation] = []
        self.words: list[Words] = []
        self.files: dict[str, str] = {}
        self.creators: list[str] = []
        self.dropped: Counter[str] = Counter()
        self._file = ""
        self._current: Package | None = None
        self._by_id: dict[str, Package] = {}
        self._comment = ""  # of the annotation whose subject is named next

    def take(self, tag: str, value: str) -> None:
        """Take one tag."""
        if tag == "PackageName":
            self._begin(value)
        elif tag in _OTHERS:
            self._current, self._file = None, value if tag == "FileName" else ""
            if tag == "LicenseID" and self._has_room(self.words, "licences"):
                self.words.append(Words(id=value))
        elif tag in _PACKAGE and self._current is not None:
            setattr(self._current, _PACKAGE[tag], value)
        elif tag == "ExternalRef" and self._current is not None:
            self._reference(value)
        elif tag == "SPDXID" and self._current is not None:
            self._current.id = value
            self._by_id[value] = self._current
        elif tag == "SPDXID" and self._file and len(self.files) < MAX_RELATIONS:
            self.files[value] = self._file
        elif tag.startswith("Relationship"):
            self._relation(tag, value)
        else:
            self._rest(tag, value)

    def _begin(self, name: str) -> None:
        self._file, self._current = "", None
        if not self._has_room(self.packages, "packages"):
            return
        self._current = Package(name=name, references=[], annotations=[])
        self.packages.append(self._current)

    def _has_room(self, found: Sized, what: str) -> bool:
        room = len(found) < _MOST[what]
        self.dropped[what] += not room
        return room

    def _reference(self, value: str) -> None:
        parts = value.split(" ", 2)
        if len(parts) == 3 and self._current is not None:
            references = self._current.references
            if references is not None and len(references) < MAX_REFERENCES:
                references.append(Reference(type=parts[1], locator=parts[2].strip()))

    def _relation(self, tag: str, value: str) -> None:
        if tag == "RelationshipComment":
            if self.relations:
                self.relations[-1].comment = value
            return
        parts = value.split()
        if len(parts) == 3 and self._has_room(self.relations, "relationships"):
            self.relations.append(Relation(left=parts[0], type=parts[1], right=parts[2]))

    def _rest(self, tag: str, value: str) -> None:
        if tag == "SPDXVersion":
            self.version = value
        elif tag == "DocumentName":
            self.name = value
        elif tag == "Creator" and len(self.creators) < MAX_CREATORS:
            self.creators.append(value)
        elif tag == "LicenseName" and self.words:
            self.words[-1].name = value
        elif tag == "ExtractedText" and self.words:
            self.words[-1].text = value
        elif tag == "AnnotationComment":
            self._comment = value
        elif tag == "SPDXREF" and value in self._by_id:
            notes = self._by_id[value].annotations
            if notes is not None and len(notes) < MAX_NOTES:
                notes.append(Note(comment=self._comment))
