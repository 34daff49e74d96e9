"""Report in, the `json` document of the contract out."""

from __future__ import annotations

from typing import Any, BinaryIO

import msgspec

from pratique.model.report import Report


class _Json:
    name = "json"
    media_type = "application/json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write the whole report, indented, with a newline at its end."""
        out.write(msgspec.json.format(msgspec.json.encode(report), indent=2))
        out.write(b"\n")


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document."""
    found = msgspec.json.schema(Report)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["$id"] = "urn:pratique:schema:scan-1"
    found["title"] = "pratique scan report"
    return found


REPORTER = _Json()
