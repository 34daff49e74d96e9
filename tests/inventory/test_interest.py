"""The compiled index against a naive matcher."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.inventory import interest as module
from pratique.inventory.interest import InterestIndex
from pratique.model.ports import Interest

PARTS = st.sampled_from(["a", "b", "x.jar", "x.tar.gz", ".jar", "lib", "etc"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
HEADS = st.sampled_from([b"", b"\x7f", b"\x7fELF", b"\x7fEL", b"MZ", b"MZ\x90\x00", b"PK\x03\x04"])
INTERESTS = st.builds(
    lambda names, suffixes, paths, under, magic, most: Interest(
        names=tuple(names), suffixes=tuple(suffixes), paths=tuple(paths), under=tuple(under), magic=tuple(magic), max_bytes=most
    ),
    st.lists(PARTS, max_size=2),
    st.lists(st.sampled_from([".jar", ".gz", ".tar.gz", "x.jar"]), max_size=2),
    st.lists(PATHS, max_size=2),
    st.lists(PATHS, max_size=2),
    st.lists(st.sampled_from([b"\x7fELF", b"MZ", b"PK\x03\x04"]), max_size=2),
    st.integers(1, 100),
)


def by_name(interest: Interest, path: str) -> bool:
    """What the contract says about paths."""
    base = path.rpartition("/")[2]
    return (
        base in interest.names
        or path in interest.paths
        or any(base.endswith(suffix) for suffix in interest.suffixes)
        or any(path.startswith(f"{folder}/") for folder in interest.under)
    )


@settings(max_examples=300)
@given(st.lists(INTERESTS, max_size=4), st.lists(st.tuples(PATHS, HEADS), max_size=8))
def test_as_a_naive_matcher(interests: Sequence[Interest], files: Sequence[tuple[str, bytes]]) -> None:
    """Who wants a file, how much is read of it, and whether content decided: as if every inspector were asked."""
    index = InterestIndex(interests)
    for path, head in files:
        named = {number for number, one in enumerate(interests) if by_name(one, path)}
        magic = {number for number, one in enumerate(interests) if head and any(head.startswith(start) for start in one.magic)}
        selection = index.select(path.encode(), head)
        if not named | magic:
            assert selection is None
            continue
        assert selection is not None
        assert set(selection.who) == named | magic
        assert selection.who == tuple(sorted(selection.who))
        assert selection.max_bytes == max(interests[number].max_bytes for number in named | magic)
        assert selection.content == (not named)
        assert index.exact(path.encode()) == any(path in one.paths for one in interests)


def test_folders_are_remembered_within_bounds() -> None:
    """The memory of folders is dropped when it grows, and answers stay right; deep paths take no deep stack."""
    index = InterestIndex([Interest(under=("a/b",))])
    deep = b"a/b/" + b"c/" * 2000 + b"d"
    assert index.select(deep, b"") is not None
    for number in range(module.MAX_FOLDERS_REMEMBERED + 10):
        assert index.select(b"z/%d/x" % number, b"") is None
    assert len(index._under) <= module.MAX_FOLDERS_REMEMBERED
    assert index.select(deep, b"") is not None
    assert index.select(b"a/b", b"") is None
