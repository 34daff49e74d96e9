"""The answers of the reference implementations, pair by pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from pratique.model.errors import UnorderableVersionError
from pratique.model.versions import load

DATA = Path(__file__).parent / "data"
OTHER_NAMES = {"hex": "semver"}
ENOUGH = 300


def verdict(scheme: str, left: str, right: str) -> str:
    key = load(scheme).key
    try:
        older, newer = key(left), key(right)
    except UnorderableVersionError:
        return "refused"
    return str((older > newer) - (older < newer))


@pytest.mark.parametrize("file", sorted(DATA.glob("*.tsv")), ids=lambda file: file.stem)
def test_every_answer_of_the_reference_is_ours(file: Path) -> None:
    """No pair is ordered otherwise than the real tool orders it."""
    scheme = OTHER_NAMES.get(file.stem, file.stem)
    rows = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(rows) >= ENOUGH
    differences = [(left, right, answer) for left, right, answer in rows if verdict(scheme, left, right) != answer]
    assert differences == []


ORDERED = {
    "bitnami": ["1.2.3-alpha.1", "1.2.3-rc1", "1.2.3", "1.2.3-1", "1.2.3-10", "1.2.4-0.3.7", "1.2.4"],
    "generic": ["1.0-dev", "1.0-alpha2", "1.0-beta", "1.0-rc1", "1.0", "1.0a", "1.0.1", "1.1.1w", "1.1.1.1", "1.10"],
    "golang": [
        "v0.0.0-20190101000000-abcdefabcdef",
        "v0.1.0",
        "v1.2.3-0.20200101000000-abcdefabcdef",
        "v1.2.3",
        "v2.0.0+incompatible",
    ],
    "hackage": ["0", "0.1", "0.1.0", "0.2", "0.10", "1", "9.10.1"],
    "pub": ["1.0.0-a", "1.0.0-a+1", "1.0.0", "1.0.0+1", "1.0.0+1.a", "1.0.0+2", "1.0.0+a", "1.0.1-0"],
}


@pytest.mark.parametrize("scheme", ORDERED)
def test_the_documented_order(scheme: str) -> None:
    """Schemes without a tool at hand order as their documents say."""
    versions = ORDERED[scheme]
    keys = [load(scheme).key(version) for version in versions]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


EQUAL = {
    "bitnami": [("1.2.3", "1.2.3-0"), ("1.2.3", "1.2.3+build")],
    "golang": [
        ("go1.21rc2", "1.21.0-rc.2"),
        ("go1.21", "v1.21.0"),
        ("go1.21.3 X:boringcrypto", "1.21.3"),
        ("v2.0.0+incompatible", "2.0.0"),
    ],
    "semver": [("v1.2", "1.2.0"), ("=1.2.3", "1.2.3"), ("1", "1.0.0"), ("1.2.3+a", "1.2.3+b"), ("1.9.0b1", "1.9.0-b1")],
    "dpkg": [("1.0", "0:1.0-0"), ("1.", "1.0")],
    "rpm": [("1.2.3-1", "0:1.2.3-1"), ("1.2.3", "1_2_3")],
    "pep440": [("1.0", "1"), ("1.0-1", "1.0.post1"), ("1.0c1", "v1.0RC1"), ("1.0+ubuntu-1", "1.0+ubuntu.1")],
    "maven": [("1.0.Final", "1"), ("1.0-cr1", "1.0-RC-1"), ("1-a1", "1-alpha-1")],
    "nuget": [("1.0", "1.0.0.0"), ("1.0.0-Beta", "1.0.0-beta+x")],
    "composer": [("1.0", "v1.0.0.0"), ("1.0b2", "1.0.0-beta.2"), ("1.0-patch1", "1.0pl1")],
    "cran": [("1.2-3", "1.2.3"), ("1.2.0", "1.2")],
}


@pytest.mark.parametrize(("scheme", "left", "right"), [(scheme, *pair) for scheme, pairs in EQUAL.items() for pair in pairs])
def test_other_spellings_are_the_same_version(scheme: str, left: str, right: str) -> None:
    """What a scheme holds equal has one key."""
    assert load(scheme).key(left) == load(scheme).key(right)


REFUSED = {
    "apk": ["", "1.0bc", "1.0-1", "1.0-r", "4.8.0.-r1", "1.0_foo", "v1.0", "1.0\n"],
    "bitnami": ["", "nightly.2026-03-10.0", "1.2.3.4"],
    "composer": ["", "dev-main", "1.2.3.4.5", "1.0 || 2.0", "master"],
    "cran": ["", "1.a", "1..2", "-1"],
    "dpkg": ["", "a:1", "1.0-", "1 0", "1\t0", "é", ":"],
    "generic": ["", "latest", "1 2"],
    "golang": ["", "(devel)", "go", "gopher", "v1.2.3.4", "1e5\n2"],
    "hackage": ["", "1.x", "1.", "v1"],
    "maven": ["", "1 0", "1.0é"],
    "nuget": ["", "v1.0", "1.2.3.4.5", "1.0-", "1.0-a..b"],
    "opam": ["", "1 0"],
    "pep440": ["", "1.0 foo", "é"],
    "pub": ["", "1.2.3.4"],
    "rpm": ["", "1 0", "é"],
    "rubygems": ["", "a", "1..2", "1_2", "1.0-x86_64"],
    "semver": ["", "latest", "1.2.3.4", "1.2b", "1.2.3-", "1.2.3-a..b", "^1.2.3", "1.2.x"],
}


@pytest.mark.parametrize(
    ("scheme", "version"), [(scheme, version) for scheme, versions in REFUSED.items() for version in versions]
)
def test_what_is_no_version_is_refused(scheme: str, version: str) -> None:
    """The error names the version and the scheme; nothing is guessed."""
    with pytest.raises(UnorderableVersionError) as refused:
        load(scheme).key(version)
    assert isinstance(refused.value, ValueError)
    assert refused.value.version == version
    assert refused.value.scheme == scheme
