"""A file in, the Inventory that it lists and the Target that it describes out. Finds out the format by its content.

Documents also come wrapped: as the predicate of an in-toto statement (BuildKit, Docker), in a DSSE envelope (cosign), or as
`sbom` in the answer of GitHub's API.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

import msgspec

from pratique.inventory.sbom.bill import MAX_BYTES, Bill
from pratique.inventory.sbom.settle import settle
from pratique.model.errors import ParseError, TargetError, TargetNotFoundError
from pratique.model.inventory import Inventory
from pratique.model.report import ReportDistro, ReportLayer, Target

_DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_WRAPPINGS = 3  # a statement in an envelope in an answer


_ABSENT = msgspec.Raw(b"null")


class _Subject(msgspec.Struct):
    digest: dict[str, str] = {}


class _Outline(msgspec.Struct):
    """What tells formats apart. Nothing inside of lists is decoded."""

    bom_format: msgspec.Raw = msgspec.field(default=_ABSENT, name="bomFormat")
    spdx_version: msgspec.Raw = msgspec.field(default=_ABSENT, name="spdxVersion")
    graph: msgspec.Raw = msgspec.field(default=_ABSENT, name="@graph")
    artifacts: msgspec.Raw = _ABSENT
    predicate: msgspec.Raw = _ABSENT
    subject: msgspec.Raw = _ABSENT
    payload: str | None = None
    sbom: msgspec.Raw = _ABSENT


def read_sbom(path: Path, *, details: bool = False) -> tuple[Inventory, Target]:
    """Read an SBOM; `details` keeps needs and digests, too.

    Raises TargetNotFoundError, and TargetError where it cannot be read or is of no format that is known.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise TargetNotFoundError(f"{path}: there is no such file") from None
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise TargetError(f"{path}: larger than {MAX_BYTES >> 20} MiB; no SBOM is")
    try:
        bill = read_bill(data)
    except ParseError as error:
        raise TargetError(f"{path}: {error.message}", hint=error.hint) from None
    inventory = settle(bill, details=details)
    return inventory, _target(bill, inventory, str(path))


def read_bill(data: bytes) -> Bill:
    """Read a document of any format. Raises ParseError."""
    about = ""
    for _ in range(MAX_WRAPPINGS + 1):
        start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
        if not start.startswith(b"{"):
            return _text(data, start)
        try:
            outline = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=_Outline)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ParseError(f"no SBOM that can be read: {error}") from None
        data = data.removeprefix(b"\xef\xbb\xbf")
        inner = _inside(outline)
        if inner is None:
            bill = _json(data, outline)
            bill.digest = bill.digest or about
            return bill
        about = _about(outline) or about
        data = inner
    raise ParseError("an SBOM in too many wrappings")


def _inside(outline: _Outline) -> bytes | None:
    """Return what an envelope, a statement or an answer holds; None where the document is no such thing."""
    if outline.payload is not None:
        try:
            return base64.b64decode(outline.payload, validate=True)
        except (binascii.Error, ValueError):
            raise ParseError("the payload of the envelope is no base64") from None
    return next((bytes(inner) for inner in (outline.predicate, outline.sbom) if _is_there(inner)), None)


def _about(outline: _Outline) -> str:
    """Return the digest of what a statement is about: BuildKit's scanner sees a folder, only the statement names the image."""
    try:
        subjects = msgspec.json.decode(outline.subject, type=list[_Subject])
    except msgspec.DecodeError:
        return ""
    digests = {subject.digest.get("sha256", "") for subject in subjects}
    value = digests.pop() if len(digests) == 1 else ""  # of several images, it cannot be about one
    return f"sha256:{value}" if _DIGEST.fullmatch(value) else ""


def _is_there(field: msgspec.Raw) -> bool:
    return bytes(field) != bytes(_ABSENT)


def _json(data: bytes, outline: _Outline) -> Bill:
    """Give the document to the reader of its format. One is imported, the others are not."""
    if _is_there(outline.bom_format):
        from pratique.inventory.sbom import cyclonedx  # noqa: PLC0415

        return cyclonedx.read(data)
    if _is_there(outline.spdx_version):
        from pratique.inventory.sbom import spdx  # noqa: PLC0415

        return spdx.read(data)
    if _is_there(outline.graph):
        from pratique.inventory.sbom import spdx3  # noqa: PLC0415

        return spdx3.read(data)
    if _is_there(outline.artifacts):
        from pratique.inventory.sbom import syft  # noqa: PLC0415

        return syft.read(data)
    raise ParseError("JSON, but none of CycloneDX, SPDX and Syft")


def _text(data: bytes, start: bytes) -> Bill:
    if start.startswith(b"<"):
        raise ParseError("an SBOM in XML", hint="convert it to JSON; CycloneDX, SPDX and Syft JSON are read, and SPDX tag-value")
    if b"SPDXVersion:" not in data[:65_536]:
        raise ParseError("no SBOM that is known", hint="CycloneDX, SPDX and Syft JSON are read, and SPDX tag-value")
    from pratique.inventory.sbom import tagvalue  # noqa: PLC0415

    return tagvalue.read(data)


def _target(bill: Bill, inventory: Inventory, path: str) -> Target:
    distro = inventory.distro
    return Target(
        reference=path,
        scheme="sbom",
        digest=bill.digest,
        platform=bill.platform,
        distro=ReportDistro(distro.id, distro.version, distro.eol or None) if distro is not None else None,
        layers=tuple(ReportLayer(layer.digest, layer.diff_id, layer.created_by, -1) for layer in bill.layers),
    )
