"""Package URLs against the public library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL

from pratique.inventory.purl import purl

# The library leaves a slash in a version as it is, the specification's table of characters does not; no real version has one.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/")
TEXT = st.text(CHARACTERS, min_size=1, max_size=12).filter(lambda text: text.strip() == text)


@given(TEXT, TEXT, TEXT, st.dictionaries(st.sampled_from(["arch", "distro", "upstream", "epoch"]), TEXT, max_size=3))
def test_purls_as_the_public_library_writes_them(namespace: str, name: str, version: str, qualifiers: dict[str, str]) -> None:
    """The same text for any parts, and the parts come back."""
    written = purl("generic", namespace, name, version, qualifiers.items())
    theirs = PackageURL("generic", namespace, name, version, qualifiers)
    assert PackageURL.from_string(written) == theirs
    assert written.partition("?")[0] == theirs.to_string().partition("?")[0]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("npm", "@scope", "name", "1.0.0"), "pkg:npm/%40scope/name@1.0.0"),
        (("deb", "debian", "g++", "4:12.2.0-3"), "pkg:deb/debian/g%2B%2B@4:12.2.0-3"),
        (("golang", "github.com/a/b", "v2", "v2.0.0+incompatible"), "pkg:golang/github.com/a/b/v2@v2.0.0%2Bincompatible"),
        (("generic", "", "x", ""), "pkg:generic/x"),
    ],
)
def test_purls(parts: tuple[str, str, str, str], expected: str) -> None:
    """Examples in the form of the specification."""
    assert purl(*parts) == expected
    assert PackageURL.from_string(expected).to_string() == expected
