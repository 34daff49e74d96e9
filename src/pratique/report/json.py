"""Report in, the `json` document of the contract out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

from pratique.model.report import Report
from pratique.report.document import encode


class _Json:
    name = "json"
    media_type = "application/json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """Write the whole report, indented, with a newline at its end."""
        out.write(encode(report))


def write_all(reports: Sequence[Report], out: BinaryIO) -> None:
    """Write the reports of several platforms as one document: `schema` and `reports`."""
    whole = {"schema": "urn:pratique:schema:scan-set-1", "reports": reports}
    out.write(encode(whole))


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document. Members that are always written are required, those with null too."""
    found = msgspec.json.schema(Report)
    for struct in _structs():
        part = found["$defs"].get(struct.__name__)
        if part is not None and not struct.__struct_config__.omit_defaults:
            fields = msgspec.structs.fields(struct)
            part["required"] = [field.encode_name for field in fields if field.default is not msgspec.UNSET]
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["$id"] = "urn:pratique:schema:scan-1"
    found["title"] = "pratique scan report"
    found["$defs"]["Report"]["properties"]["schema"] = {"const": "urn:pratique:schema:scan-1"}
    return found


def _structs() -> list[type[msgspec.Struct]]:
    from pratique.model import finding, inventory, report, vex  # noqa: PLC0415 - for the schema only

    members = [value for module in (finding, inventory, report, vex) for value in vars(module).values()]
    return [value for value in members if isinstance(value, type) and issubclass(value, msgspec.Struct)]


REPORTER = _Json()
