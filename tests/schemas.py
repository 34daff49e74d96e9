"""Official schemas of report formats, for tests that validate against them if they are there (PRATIQUE_TEST_SCHEMAS)."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

OWN = Path(__file__).parent / "report" / "schemas"  # in our own words, where nobody gives the official ones as a file
SCHEMAS = Path(os.environ.get("PRATIQUE_TEST_SCHEMAS") or Path(__file__).resolve().parents[2] / "shared" / "schemas")


def schema(name: str) -> Path:
    """Return where a schema lies, or skip."""
    path = SCHEMAS / name if ".own." not in name else OWN / name
    if not path.is_file():
        pytest.skip(f"needs the official schema {name} (PRATIQUE_TEST_SCHEMAS)")
    return path


@cache
def _validator(path: Path) -> Any:
    others = []
    for other in sorted(path.parent.glob("cyclonedx-*.schema.json")):  # which refer to each other
        name = other.name.removeprefix("cyclonedx-").replace(".schema", ".SNAPSHOT.schema")
        others.append((f"http://cyclonedx.org/schema/{name}", json.loads(other.read_bytes())))
    registry = jsonschema_rs.Registry(others)
    return jsonschema_rs.validator_for(json.loads(path.read_bytes()), registry=registry, validate_formats=True)


def errors(document: bytes, name: str) -> list[str]:
    """Return what a schema says against a JSON document."""
    validator = _validator(schema(name))
    return [
        f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
        for error in validator.iter_errors(json.loads(document))
    ]
