"""Differences in, the document `pratique schema diff` describes out."""

from __future__ import annotations

from typing import Any, BinaryIO

import msgspec

from pratique.model.change import Diff
from pratique.report.diff import Compared
from pratique.report.document import encode

SCHEMA = "urn:pratique:schema:diff-1"


class _Json:
    name = "json"
    media_type = "application/json"

    def write(self, compared: Compared, out: BinaryIO) -> None:
        """Write the document, indented, with a newline at its end."""
        out.write(encode(compared.diff))


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the document. Members that are always written are required, those with null too."""
    from pratique.model import change, finding, inventory, report, vex  # noqa: PLC0415 - for the schema only

    found = msgspec.json.schema(Diff)
    known = [value for module in (change, finding, inventory, report, vex) for value in vars(module).values()]
    for struct in known:
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and not struct.__struct_config__.omit_defaults:
            part = found["$defs"].get(struct.__name__)
            if part is not None:
                part["required"] = list(struct.__struct_encode_fields__)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["$id"] = SCHEMA
    found["title"] = "differences between two pratique reports"
    found["$defs"]["Diff"]["properties"]["schema"] = {"const": SCHEMA}
    return found


REPORTER = _Json()
