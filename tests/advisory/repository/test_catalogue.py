"""What a repository's own files may hold: any bytes are read or refused, and the same content is the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.advisory.index import Entry
from pratique.advisory.layout import FORMAT
from pratique.advisory.repository import catalogue as names
from pratique.advisory.repository import steps
from pratique.advisory.repository.catalogue import Catalogue
from pratique.advisory.repository.shelf import Folder, checked
from pratique.model.errors import ParseError

_HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
_NAMES = st.text("abcXYZ019 ._-", max_size=12).map(lambda text: f"a{text}/b{text}")
_FEEDS = st.dictionaries(_NAMES, st.tuples(_HEX, _HEX, st.integers(1, 1 << 32)), max_size=5)


@given(_FEEDS, st.integers(0, 1 << 60))
def test_a_catalogue_comes_back(feeds: dict[str, tuple[str, str, int]], number: int) -> None:
    """Whatever the order of its feeds, a catalogue is the same bytes, and reads as it was."""
    entries = {
        name: Entry(name=name, digest=digest, state=state, size=size, format=FORMAT)
        for name, (digest, state, size) in feeds.items()
    }
    made = Catalogue(number=number, published_at="2026-11-25T00:00:00Z", feeds=entries)
    packed = names.encode(made)
    assert names.decode(packed) == made
    assert packed == names.encode(Catalogue(number=number, published_at=made.published_at, feeds=dict(reversed(entries.items()))))


@given(st.binary(max_size=500), st.booleans())
def test_any_bytes_are_read_or_refused(content: bytes, packed: bool) -> None:
    """Nonsense, packed or not, is a ParseError and nothing else."""
    content = names.squeeze(content) if packed else content
    for read in (names.decode, steps.decode, lambda data: names.expand(data, 1000)):
        try:
            read(content)
        except ParseError:
            continue


@given(st.dictionaries(st.text(max_size=5), st.builds(steps.Change, st.text(), st.text(), st.binary()), max_size=4))
def test_changes_come_back(made: steps.Steps) -> None:
    """What is encoded reads as it was."""
    assert steps.decode(steps.encode(made)) == made


@given(st.binary(max_size=3000))
def test_a_file_comes_back(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Packed twice it is the same bytes; unpacked it is the file, or refused for another digest or size."""
    import hashlib

    folder = tmp_path_factory.mktemp("files")
    (folder / "plain").write_bytes(content)
    names.pack(folder / "plain", folder / "one")
    names.pack(folder / "plain", folder / "two")
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    names.unpack(folder / "one", folder / "back", Entry(name="x", digest=digest, size=len(content)))
    assert (folder / "back").read_bytes() == content
    for wrong in (
        Entry(name="x", digest="0" * 64, size=len(content)),
        Entry(name="x", digest=digest, size=len(content) + 1),
        Entry(name="x", digest=digest, size=max(0, len(content) - 1)),
    ):
        if wrong.size != len(content) or wrong.digest != digest:
            with pytest.raises(ParseError):
                names.unpack(folder / "one", folder / "wrong", wrong)
            assert not (folder / "wrong").exists()


@given(st.text("mtadrgs/.\0-_ %", max_size=30))
def test_paths_stay_within(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """A path that is taken for one in a repository has no part that leads out."""
    folder = tmp_path_factory.mktemp("repository")
    for path in (text, f"metadata/{text}", f"targets/{text}"):
        try:
            checked(path)
        except FileNotFoundError:
            with pytest.raises(FileNotFoundError):
                list(Folder(folder).open(path))
        else:
            assert (folder / path).resolve().is_relative_to(folder / path.partition("/")[0])


def test_a_frame_that_wants_much_memory() -> None:
    """A window of gigabytes is refused before anything is inflated."""
    header = b"\x28\xb5\x2f\xfd\x00" + bytes(((31 - 10) << 3,)) + b"\x01\x00\x00"
    with pytest.raises(ParseError, match="damaged"):
        names.expand(header, 1000)
