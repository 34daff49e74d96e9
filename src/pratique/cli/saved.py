"""What a person named to compare with in, its report out: a saved JSON report, told by its content, or any target, scanned."""

from __future__ import annotations

import codecs
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pratique.model.errors import TargetError, TargetNotFoundError, UsageError
from pratique.model.report import Report

if TYPE_CHECKING:
    from pratique.pipeline import ScanOptions

MAX_REPORT = 1 << 29  # bytes of a saved report: ten times that of the largest image known
_NAME = b"urn:pratique:schema:"


class _Set(msgspec.Struct):
    """The reports of several platforms."""

    schema: str
    reports: list[Report]


class _Named(msgspec.Struct):
    schema: str = ""


def saved_reports(value: str) -> list[Report] | None:
    """Return the reports of a file that is a document of `scan --format json`; None where it is no document of this program.

    Raises TargetError for a document that is damaged, too large or another one.
    """
    path = Path(value)
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            head = file.read(64)
            if not head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
                return None
            content = (head + file.read(MAX_REPORT + 1 - len(head))).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise TargetError(f"{value}: cannot be read: {error.strerror or error}") from None
    if _NAME not in content:
        return None
    if len(content) > MAX_REPORT:
        raise TargetError(f"{value}: larger than {MAX_REPORT} bytes")
    try:
        schema = msgspec.json.decode(content, type=_Named).schema
        if schema.startswith("urn:pratique:schema:scan-set-"):
            return msgspec.json.decode(content, type=_Set).reports
        if schema.startswith("urn:pratique:schema:scan-"):
            return [msgspec.json.decode(content, type=Report)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TargetError(f"{value}: no report of pratique: {error}") from None
    if schema.startswith("urn:pratique:"):
        raise TargetError(f"{value}: is a document {schema}, not a report", hint="pratique scan TARGET --format json writes one")
    return None


def of_platform(reports: Sequence[Report], platform: str, value: str) -> Report:
    """Return the report of a platform ("" for the only one there is). Raises UsageError, TargetError."""
    if len(reports) == 1:
        return reports[0]
    names = ", ".join(report.target.platform for report in reports) or "none"
    if not platform:
        raise UsageError(f"{value} holds the reports of several platforms: {names}", hint="choose one with --platform")
    found = [report for report in reports if report.target.platform == platform]
    if len(found) != 1:
        raise TargetError(f"{value} has no report of {platform}, but of {names}")
    return found[0]


def scanned(value: str, how: ScanOptions) -> Report:
    """Scan a target that is compared with. Raises what a scan raises."""
    from pratique.image.reference import parse_target  # noqa: PLC0415 - start-up stays lazy
    from pratique.pipeline import scan  # noqa: PLC0415 - as above

    if value.endswith(".json") and ":" not in value and not os.path.lexists(value):
        raise TargetNotFoundError(f"{value}: there is no such file")  # and hardly an image of that name
    try:
        return scan(parse_target(value), how)
    except TargetError as error:
        if value.endswith(".json") and not value.startswith("sbom:"):
            raise TargetError(f"{value}: neither a report of pratique nor a target: {error.message}", hint=error.hint) from None
        raise
