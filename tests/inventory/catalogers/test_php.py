"""What the PHP cataloger sees, and what it must not see."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryfile import inspect, packages, survives
from pratique.inventory.catalogers.php import INSPECTOR
from pratique.model.inventory import Gap, PackageEvidence

RECORD = "var/www/vendor/composer/installed.json"


def test_php_places() -> None:
    """Only a vendor folder's composer folder has Composer's record, whatever the vendor folder is called."""
    data = b'[{"name": "a/b", "version": "1.0"}]'
    assert packages(INSPECTOR, "libraries/composer/installed.json", data) == [("a", "b", "1.0")]
    assert packages(INSPECTOR, "var/www/installed.json", b"not JSON") == []


@pytest.mark.parametrize(
    "package", [{}, {"name": "a/b"}, {"version": "1"}, {"name": "a/", "version": "1"}, {"name": 3, "version": "1"}]
)
def test_php_incomplete_package(package: dict[str, object]) -> None:
    """A package without name or version is a gap, and those beside it are read."""
    data = json.dumps({"packages": [package, {"name": "c/d", "version": "v2"}]}).encode()
    gap, seen = inspect(INSPECTOR, RECORD, data)
    assert isinstance(gap, Gap)
    assert (gap.code, gap.path) == ("inventory.invalid", RECORD)
    assert seen == PackageEvidence(type="composer", namespace="c", name="d", version="v2")


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b'{"packages": {}}', b'"x"'])
def test_php_no_record(data: bytes) -> None:
    """Anything that is no record is an error, also JSON of another shape."""
    with pytest.raises(ValueError, match=r"."):
        inspect(INSPECTOR, RECORD, data)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["packages", "name", "version", "license", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_php_any_bytes(data: bytes) -> None:
    """Any bytes end in packages with name and version, or gaps."""
    for seen in survives(INSPECTOR, RECORD, data):
        assert isinstance(seen, Gap) or (isinstance(seen, PackageEvidence) and seen.name and seen.version)
