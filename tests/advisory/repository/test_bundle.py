"""One file for sites without a connection: the same for the same, read in place, and nothing of a hostile one gets anywhere."""

from __future__ import annotations

import io
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.advisory.lookup import verify
from pratique.advisory.repository import catalogue as names
from pratique.advisory.repository.bundle import (
    Bundle,
    export,
    export_signed,
    import_signed,
    import_unsigned,
    open_bundle,
)
from pratique.advisory.repository.pull import How, pull
from pratique.advisory.repository.shelf import Folder
from pratique.model.errors import DatabaseError, PratiqueError, VerificationError
from repositorysim import NOW, Publisher, fixed_in

DAY = timedelta(days=1)
HOW = How(now=NOW)


@pytest.fixture
def exported(publisher: Publisher, tmp_path: Path) -> Path:
    publisher.publish()
    export(publisher.cache, tmp_path / "plain.tar")
    return tmp_path / "plain.tar"


@pytest.fixture
def signed(publisher: Publisher, tmp_path: Path) -> Path:
    publisher.publish()
    export_signed(Folder(publisher.dest), publisher.root, tmp_path / "signed.tar", NOW)
    return tmp_path / "signed.tar"


def test_export_and_import(publisher: Publisher, exported: Path, tmp_path: Path) -> None:
    """The database arrives, the file is the same each time, and a second import moves nothing."""
    done = import_unsigned(tmp_path / "cache", exported, HOW)
    assert len(done.whole) == 4
    assert fixed_in(tmp_path / "cache") == "2.0"
    assert set(verify(tmp_path / "cache").values()) == {""}
    assert import_unsigned(tmp_path / "cache", exported, HOW).whole == ()
    export(publisher.cache, tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == exported.read_bytes()
    export(tmp_path / "cache", tmp_path / "theirs.tar")
    assert (tmp_path / "theirs.tar").read_bytes() == exported.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_signed_export(publisher: Publisher, signed: Path, tmp_path: Path) -> None:
    """The file verifies by the first root after rotations, and an older one is refused after a newer one."""
    assert import_signed(tmp_path / "cache", signed, publisher.root, HOW).number == 1
    old = shutil.copy(signed, tmp_path / "old.tar")
    publisher.learn("3.0")
    publisher.publish(NOW + DAY, rotate=("root",))
    publisher.publish(NOW + DAY, rotate=("timestamp", "root"))
    newest = (publisher.dest / "metadata/3.root.json").read_bytes()
    export_signed(Folder(publisher.dest), newest, signed, NOW + DAY)  # a site that trusts a newer root
    done = import_signed(tmp_path / "cache", signed, publisher.root, How(now=NOW + DAY))
    assert (done.number, done.root) == (3, 3)
    assert fixed_in(tmp_path / "cache") == "3.0"
    with pytest.raises(VerificationError):
        import_signed(tmp_path / "cache", Path(old), publisher.root, How(now=NOW + DAY))
    with pytest.raises(VerificationError, match="expired"):
        import_signed(tmp_path / "other", signed, publisher.root, How(now=NOW + 30 * DAY))
    assert fixed_in(tmp_path / "cache") == "3.0"


def test_signed_export_without_checking(signed: Path, tmp_path: Path) -> None:
    """It may be taken unchecked, too."""
    import_unsigned(tmp_path / "cache", signed, HOW)
    assert fixed_in(tmp_path / "cache") == "2.0"


def test_unsigned_where_signed_is_asked_for(publisher: Publisher, exported: Path, tmp_path: Path) -> None:
    """A file without signatures does not verify."""
    with pytest.raises(VerificationError, match="not signed"):
        import_signed(tmp_path / "cache", exported, publisher.root, HOW)


def test_every_flipped_byte_of_a_signed_file_is_refused(publisher: Publisher, signed: Path, tmp_path: Path) -> None:
    """At forty places: the import is refused, or the byte was padding and the same database arrives."""
    content = signed.read_bytes()
    for number in range(40):
        at = number * len(content) // 40 + 7
        damaged = tmp_path / "damaged.tar"
        damaged.write_bytes(content[:at] + bytes((content[at] ^ 0x55,)) + content[at + 1 :])
        cache = tmp_path / f"cache-{number}"
        try:
            import_signed(cache, damaged, publisher.root, HOW)
        except PratiqueError:
            assert fixed_in(cache) == ""
        else:
            assert fixed_in(cache) == "2.0"


def test_a_truncated_file_leaves_the_last_good_database(publisher: Publisher, exported: Path, tmp_path: Path) -> None:
    """Wherever it is cut, the import is refused whole."""
    import_unsigned(tmp_path / "cache", exported, HOW)
    publisher.learn("3.0")
    publisher.publish()
    export(publisher.cache, exported)
    content = exported.read_bytes()
    for number in range(12):
        exported.write_bytes(content[: number * (len(content) - 10_240) // 12])
        with pytest.raises(DatabaseError):
            import_unsigned(tmp_path / "cache", exported, HOW)
        assert fixed_in(tmp_path / "cache") == "2.0"
    exported.write_bytes(content)
    import_unsigned(tmp_path / "cache", exported, HOW)
    assert fixed_in(tmp_path / "cache") == "3.0"


def _tar(members: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as target:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            change(member)
            target.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _link(member: tarfile.TarInfo) -> None:
    member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/passwd", 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing" * 200,
        _tar({"../evil": b"x"}),
        _tar({"/etc/evil": b"x"}),
        _tar({"targets/../../evil": b"x"}),
        _tar({"targets/x": b"x"}, _link),
        _tar({f"targets/{number}": b"" for number in range(5000)}),
        _tar({"metadata/timestamp.json": b"{}"})[:700],
        _tar({"targets/1/other": b"x"}),
    ],
)
def test_hostile_files(tmp_path: Path, content: bytes) -> None:
    """Names that lead out, links, floods of members and nonsense are no exported database."""
    file = tmp_path / "hostile.tar"
    file.write_bytes(content)
    with pytest.raises(DatabaseError):
        import_unsigned(tmp_path / "cache", file, HOW)
    assert not list(tmp_path.rglob("*evil*"))


@given(st.binary(max_size=2000))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a file holds, it is a repository's files or a DatabaseError."""
    file = tmp_path_factory.mktemp("any") / "file.tar"
    file.write_bytes(content)
    try:
        open_bundle(file).close()
    except DatabaseError:
        return


def test_a_file_that_inflates_without_end(exported: Path, tmp_path: Path) -> None:
    """A bomb is left after as many bytes as the catalogue says."""
    members = _members(exported)
    (feed,) = [name for name in members if "osv-PyPI" in name]
    members[feed] = names.squeeze(b"\0" * 100_000_000)
    exported.write_bytes(_tar(members))
    with pytest.raises(DatabaseError, match="more than"):
        import_unsigned(tmp_path / "cache", exported, HOW)
    members[next(name for name in members if "catalogue" in name)] = names.squeeze(b" " * 100_000_000)
    exported.write_bytes(_tar(members))
    with pytest.raises(DatabaseError, match="more than"):
        import_unsigned(tmp_path / "cache", exported, HOW)


def _members(file: Path) -> dict[str, bytes]:
    bundle = Bundle(file)
    found = {path: b"".join(bundle.open(path)) for path in bundle.members}
    bundle.close()
    return found


def test_a_file_that_lies_about_its_state(publisher: Publisher, exported: Path, tmp_path: Path) -> None:
    """A feed whose rows are not of the state that it names would be left alone by the next signed pull: it is refused."""
    members = _members(exported)
    (feed,) = [name for name in members if "osv-PyPI" in name]
    evil = tmp_path / "evil.sqlite"
    evil.write_bytes(names.expand(members[feed], 1 << 30))
    connection = sqlite3.connect(evil)
    connection.execute("DELETE FROM packages WHERE name = 'flask'")
    connection.commit()
    connection.close()
    import hashlib

    catalogue = names.decode(members[f"targets/{names.catalogue_name()}"])
    content = evil.read_bytes()
    entry = msgspec.structs.replace(catalogue.feeds["osv/PyPI"], digest=hashlib.sha256(content).hexdigest(), size=len(content))
    members[feed] = names.squeeze(content)
    members[f"targets/{names.catalogue_name()}"] = names.encode(
        msgspec.structs.replace(catalogue, feeds={**catalogue.feeds, "osv/PyPI": entry})
    )
    exported.write_bytes(_tar(members))
    with pytest.raises(DatabaseError, match="state is not as stated"):
        import_unsigned(tmp_path / "cache", exported, HOW)
    pull(tmp_path / "cache", Folder(publisher.dest), publisher.root, HOW)
    assert fixed_in(tmp_path / "cache") == "2.0"


def test_export_leaves_the_old_file_where_it_fails(tmp_path: Path) -> None:
    """A file is replaced when the new one is whole."""
    (tmp_path / "out.tar").write_text("old")
    (tmp_path / "cache/db").mkdir(parents=True)
    with pytest.raises(DatabaseError):
        export(tmp_path / "cache", tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out.tar"]
