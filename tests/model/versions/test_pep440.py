"""Python versions: the order of `packaging`, and the forms that PEP 440 does not know."""

from __future__ import annotations

import itertools
import json
import os
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import InvalidVersion, Version

from pratique.model.versions.pep440 import SCHEME, is_legacy
from pratique.versions import compare

WORDS = [
    "0",
    "1",
    "2",
    "10",
    ".",
    ".",
    "a",
    "b",
    "rc",
    "c",
    ".post",
    ".dev",
    "-",
    "+",
    "_",
    "!",
    "1",
    "x",
    "v",
    "00",
    "pre",
    "preview",
]
PYTHON = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map("".join)


def known(version: str) -> Version | None:
    try:
        return Version(version)
    except InvalidVersion:
        return None


@given(PYTHON, PYTHON)
@settings(max_examples=500, deadline=None)
def test_keys_order_as_packaging_does(left: str, right: str) -> None:
    """Known versions are ordered as `packaging` orders them; unknown ones are below and are said to be legacy."""
    one, two = known(left), known(right)
    assert (is_legacy(left), is_legacy(right)) == (one is None, two is None)
    mine, other = SCHEME.key(left), SCHEME.key(right)
    if one is not None and two is not None:
        assert (mine < other, mine == other) == (one < two, one == two)
    elif (one is None) != (two is None):
        assert (mine < other) == (one is None)


def test_legacy_is_below_every_known_version() -> None:
    """The contract: below all that PEP 440 knows."""
    assert compare("PyPI", "2004d", "0.dev0") == -1
    assert compare("PyPI", "0.1-bulbasaur", "0.1") == -1
    assert compare("PyPI", "0.1-bulbasaur", "0.1-charmander") == -1
    assert is_legacy("2004d")
    assert not is_legacy(" V1.0RC1 ")


def test_all_published_versions_of_the_mirror_agree_with_packaging() -> None:
    """Every version of PyPI that real advisories name has its neighbours where `packaging` has them."""
    mirror = Path(os.environ.get("PRATIQUE_TEST_MIRROR", Path(__file__).parents[4] / "shared" / "mirror"))
    archive = mirror / "osv" / "PyPI" / "all.zip"
    if not archive.is_file():
        pytest.skip(f"no advisory mirror at {mirror}")
    versions: set[str] = set()
    with zipfile.ZipFile(archive) as records:
        for name in records.namelist():
            for affected in json.loads(records.read(name)).get("affected", ()):
                if affected.get("package", {}).get("ecosystem") == "PyPI":
                    versions.update(affected.get("versions", ()))
    parsed = {version: found for version in versions if (found := known(version)) is not None}
    ordered = sorted(parsed, key=parsed.__getitem__)
    wrong = [
        (left, right)
        for left, right in itertools.pairwise(ordered)
        if (SCHEME.key(left) < SCHEME.key(right)) != (parsed[left] < parsed[right])
    ]
    assert wrong == []
