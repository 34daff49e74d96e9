"""What the Ruby cataloger sees, and what it must not see."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryfile import case, inspect, packages, survives
from pratique.inventory.catalogers.ruby import INSPECTOR
from pratique.model.errors import ParseError
from pratique.model.inventory import Gap, PackageEvidence

SPECIFICATION = "usr/local/bundle/specifications/a-1.gemspec"


@pytest.mark.parametrize(
    ("path", "evidence"),
    [
        (SPECIFICATION, True),
        ("usr/lib/ruby/gems/3.3.0/specifications/default/a-1.gemspec", True),
        ("specifications/a-1.gemspec", True),
        ("usr/local/bundle/gems/a-1/a.gemspec", False),
        ("app/myspecifications/a.gemspec", False),
        ("app/a.gemspec", False),
    ],
)
def test_ruby_places(path: str, evidence: bool) -> None:
    """Only RubyGems' own folders hold what is installed."""
    data = b"# -*- encoding: utf-8 -*-\n# stub: a 1 ruby lib\n"
    assert packages(INSPECTOR, path, data) == ([("", "a", "1")] if evidence else [])


def test_ruby_computed_version_is_not_guessed() -> None:
    """A version that Ruby would have to compute is an error, since nothing is run."""
    with pytest.raises(ParseError, match="no version of the gem a"):
        inspect(INSPECTOR, SPECIFICATION, b's.name = "a"\ns.version = A::VERSION\n')
    with pytest.raises(ParseError, match="no version"):
        inspect(INSPECTOR, SPECIFICATION, b's.name = "a"\ns.version = "#{1 + 1}"\n')


def test_ruby_stub_agrees_with_assignments() -> None:
    """A real specification says the same by its comment and by its assignments."""
    data = case("ruby", "gem-install", "usr/local/bundle/specifications/shop-native-2.0.1-x86_64-linux-gnu.gemspec")
    without = b"\n".join(line for line in data.split(b"\n") if not line.startswith(b"#"))
    assert inspect(INSPECTOR, SPECIFICATION, data) == inspect(INSPECTOR, SPECIFICATION, without)


TOKENS = st.sampled_from(
    [
        b"\n# stub: ",
        b"a",
        b" ",
        b"1.0",
        b"\n",
        b's.name = "',
        b's.version = "',
        b'"',
        b"s.licenses = [",
        b"]",
        b".freeze",
        b"\xff",
        b"'",
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300) | st.lists(TOKENS, max_size=25).map(b"".join))
def test_ruby_any_bytes(data: bytes) -> None:
    """Any bytes end in one gem or one gap."""
    (seen,) = survives(INSPECTOR, SPECIFICATION, data)
    assert isinstance(seen, Gap) or (isinstance(seen, PackageEvidence) and seen.name and seen.version)
