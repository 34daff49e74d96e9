"""A file in, the Inventory that it lists and the Target that it describes out. Finds out the format by its content.

A document is what a stranger wrote: it is read in a process that can do nothing else (see `pratique._kit.confined`).

Documents also come wrapped: as the predicate of an in-toto statement (BuildKit, Docker), in a DSSE envelope (cosign), or as
`sbom` in the answer of GitHub's API.
"""

from __future__ import annotations

import base64
import binascii
import gc
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from pratique._kit.apart import Bounds, apart
from pratique._kit.confined import Connection, WorkerFailedError
from pratique._kit.sandbox import Limits
from pratique.inventory.sbom.bill import MAX_BYTES, Bill
from pratique.inventory.sbom.settle import settle
from pratique.model.errors import ParseError, TargetError, TargetNotFoundError
from pratique.model.inventory import Inventory
from pratique.model.report import ReportDistro, ReportLayer, Target

_DIGEST = re.compile(r"[0-9a-f]{64}")
MAX_WRAPPINGS = 3  # a statement in an envelope in an answer
MAX_ANSWER = 256 << 20  # bytes; 200,000 packages, which is the most that is read, have some 100 MiB
PIECE = 1 << 20  # bytes read at once
# A pipe may be given, whose writer takes its time.
BOUNDS = Bounds(limits=Limits(cpu_seconds=120), wait_seconds=600.0, max_answers=MAX_ANSWER)
_HINT = "no SBOM that a tool wrote of an image takes so much; look where it comes from"
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


class _Answer(msgspec.Struct):
    """What the confined process found, or why it found nothing."""

    inventory: Inventory | None = None
    target: Target | None = None
    failure: str = ""
    hint: str = ""


def read_sbom(path: Path, *, details: bool = False, say: Callable[[str], None] | None = None) -> tuple[Inventory, Target]:
    """Read an SBOM in a confined process; `details` keeps needs and digests, too. `say` is told where it could not be confined.

    Raises TargetNotFoundError, and TargetError where it cannot be read, is of no known format, or takes more than a limit.
    """
    descriptor = _open(path)
    try:
        argument = msgspec.msgpack.encode((str(path), details))
        with apart(
            lambda connection: _serve(connection, descriptor, str(path), details=details),
            __name__,
            argument,
            BOUNDS,
            keep=(descriptor,),
        ) as child:
            child.finish()
            missing = child.ready().missing
            if missing and say is not None:
                say(f"this machine cannot confine the reading of an SBOM fully: {'; '.join(missing)}")
            message = child.receive()
    except WorkerFailedError as error:
        raise TargetError(f"{path}: it was not read to its end: {error.message}", hint=_HINT) from error
    finally:
        os.close(descriptor)
    return _understood(message, path)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise TargetNotFoundError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise TargetError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _understood(message: bytes | None, path: Path) -> tuple[Inventory, Target]:
    try:
        answer = msgspec.msgpack.decode(message or b"", type=_Answer)
    except (msgspec.DecodeError, RecursionError):
        raise TargetError(f"{path}: it could not be read") from None
    if answer.inventory is None or answer.target is None:
        raise TargetError(f"{path}: {answer.failure or 'it could not be read'}", hint=answer.hint)
    return answer.inventory, answer.target


def confined_worker(argument: bytes) -> Callable[[Connection], None]:
    """Make what a spawned process does of the name of a file that it inherits."""
    from pratique._kit.spawned import FIRST_KEPT  # noqa: PLC0415 - only in such a process

    path, details = msgspec.msgpack.decode(argument, type=tuple[str, bool])
    return lambda connection: _serve(connection, FIRST_KEPT, path, details=details)


def _serve(connection: Connection, descriptor: int, path: str, *, details: bool) -> None:
    gc.disable()  # a document is read once, and the process ends
    connection.send(msgspec.msgpack.encode(_answer(descriptor, path, details=details)))


def _answer(descriptor: int, path: str, *, details: bool) -> _Answer:
    try:
        bill = read_bill(_content(descriptor))
        inventory = settle(bill, details=details)
    except ParseError as error:
        return _Answer(failure=error.message, hint=error.hint)
    except OSError as error:
        return _Answer(failure=f"cannot be read: {error.strerror}")
    return _Answer(inventory, _target(bill, inventory, path))


def _content(descriptor: int) -> bytes:
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        parts, length = [], 0
        while part := file.read(PIECE):
            parts.append(part)
            length += len(part)
            if length > MAX_BYTES:
                raise ParseError(f"larger than {MAX_BYTES >> 20} MiB; no SBOM is")
    return parts[0] if len(parts) == 1 else b"".join(parts)


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
