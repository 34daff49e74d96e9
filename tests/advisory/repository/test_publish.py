"""Publications as their publisher sees them: what is written, what is left as it lies, whose keys, and what is refused."""

from __future__ import annotations

import json
import shutil
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from pratique.advisory.index import database_folder, locked, read
from pratique.advisory.lookup import open_database, verify
from pratique.advisory.repository import pull as pulling
from pratique.advisory.repository.keys import Ring
from pratique.advisory.repository.pull import How, Pulled, pull
from pratique.advisory.repository.shelf import Folder
from pratique.model.errors import DatabaseError, UsageError, VerificationError
from repositorysim import NOW, Publisher, fixed_in

DAY = timedelta(days=1)


def _pull(publisher: Publisher, cache: Path, now: Any = NOW) -> Pulled:
    return pull(cache, Folder(publisher.dest), publisher.root, How(now=now))


def test_the_first_publication(publisher: Publisher, tmp_path: Path) -> None:
    """Keys are made for their owner alone, the first root is there to be trusted, and the database arrives as it was."""
    done = publisher.publish()
    assert (done.number, done.root, len(done.full), done.unchanged) == (1, 1, 4, ())
    keys = sorted(publisher.keys.glob("*.pem"))
    assert [path.name.partition("-")[0] for path in keys] == ["root", "snapshot", "targets", "timestamp"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert (publisher.dest / "metadata/1.root.json").read_bytes() == publisher.root
    pulled = _pull(publisher, tmp_path / "cache")
    assert (pulled.number, sorted(pulled.whole)) == (1, sorted(done.full))
    assert set(verify(tmp_path / "cache").values()) == {""}
    with open_database(publisher.cache) as mine, open_database(tmp_path / "cache") as theirs:
        assert mine.info() == theirs.info()


def test_the_database_is_exactly_what_was_published(publisher: Publisher, tmp_path: Path) -> None:
    """A feed that the publisher has no more is gone, and what was fetched from elsewhere is replaced."""
    other = Publisher(tmp_path / "other")
    other.learn("9.9")
    other.publish()
    publisher.publish()
    _pull(publisher, tmp_path / "cache")
    _pull(other, tmp_path / "cache")
    assert fixed_in(tmp_path / "cache") == "9.9"
    assert set(read(database_folder(tmp_path / "cache")).feeds) == set(read(database_folder(other.cache)).feeds)


def test_what_is_unchanged_is_left_as_it_lies(publisher: Publisher, tmp_path: Path) -> None:
    """A publication without news writes metadata and a catalogue; pulling it moves the times of the fetches, and no feed."""
    first = publisher.publish()
    _pull(publisher, tmp_path / "cache")
    files = {path: path.stat().st_mtime_ns for path in publisher.dest.rglob("*.sqlite.zst")}
    second = publisher.publish(NOW + DAY)
    assert second.full == ()
    assert second.bytes < first.bytes / 10
    assert {path: path.stat().st_mtime_ns for path in publisher.dest.rglob("*.sqlite.zst")} == files
    pulled = _pull(publisher, tmp_path / "cache", NOW + DAY)
    assert (pulled.whole, pulled.changed) == ((), ())
    assert read(database_folder(tmp_path / "cache")).feeds["osv/PyPI"].fetched_at == "2026-11-26T00:00:00Z"


def test_staleness_is_the_publishers(publisher: Publisher, tmp_path: Path) -> None:
    """A pull does not make old knowledge young."""
    publisher.publish(expires={"timestamp": 400 * DAY})
    _pull(publisher, tmp_path / "cache", NOW + 10 * DAY)
    with open_database(tmp_path / "cache") as database:
        codes = {gap.code for gap in database.gaps(["PyPI"], NOW + 10 * DAY)}
    assert "advisories.stale" in codes


def test_changes_are_less_than_the_whole(publisher: Publisher, tmp_path: Path) -> None:
    """Who has the publication before, or one a few before, gets the changes alone; who has none, whole files."""
    publisher.publish()
    _pull(publisher, tmp_path / "daily")
    _pull(publisher, tmp_path / "weekly")
    for day in range(1, 6):
        publisher.learn(f"3.{day}")
        publisher.publish(NOW + day * DAY)
        daily = _pull(publisher, tmp_path / "daily", NOW + day * DAY)
        assert (daily.changed, daily.whole) == (("osv/PyPI",), ())
    weekly = _pull(publisher, tmp_path / "weekly", NOW + 5 * DAY)
    assert (weekly.changed, weekly.whole) == (("osv/PyPI",), ())
    fresh = _pull(publisher, tmp_path / "fresh", NOW + 5 * DAY)
    assert weekly.bytes < fresh.bytes / 2
    for name in ("daily", "weekly", "fresh"):
        assert fixed_in(tmp_path / name) == "3.5"
        assert set(verify(tmp_path / name).values()) == {""}
        assert (
            read(database_folder(tmp_path / name)).feeds["osv/PyPI"].state
            == read(database_folder(publisher.cache)).feeds["osv/PyPI"].state
        )


def test_old_publications_are_cleared_away(publisher: Publisher, tmp_path: Path) -> None:
    """As many changes are kept as were asked for; who is older takes whole files."""
    publisher.publish()
    _pull(publisher, tmp_path / "cache")
    for day in range(1, 7):
        publisher.learn(f"3.{day}")
        publisher.publish(NOW + day * DAY, keep=3)
    names = sorted(path.name for path in (publisher.dest / "metadata").iterdir())
    assert [name for name in names if "snapshot" in name] == [f"{number}.snapshot.json" for number in (4, 5, 6, 7)]
    assert len(list(publisher.dest.rglob("*osv-PyPI.sqlite.zst"))) == 2
    assert _pull(publisher, tmp_path / "cache", NOW + 6 * DAY).whole == ("osv/PyPI",)


def test_a_damaged_old_file_costs_changes_only(publisher: Publisher, tmp_path: Path) -> None:
    """What lies at the destination is believed as far as it is signed: without the old file there are no changes."""
    publisher.publish()
    _pull(publisher, tmp_path / "cache")
    for path in publisher.dest.rglob("*osv-PyPI.sqlite.zst"):
        path.write_bytes(b"damaged")
    publisher.learn("3.0")
    assert publisher.publish(NOW + DAY).changed == ()
    assert _pull(publisher, tmp_path / "cache", NOW + DAY).whole == ("osv/PyPI",)


def test_a_destination_that_lost_everything(publisher: Publisher, tmp_path: Path) -> None:
    """The keys' folder knows the roots and the number: clients go on from where they were."""
    publisher.publish()
    publisher.publish(rotate=("root",))
    _pull(publisher, tmp_path / "cache")
    shutil.rmtree(publisher.dest)
    publisher.learn("3.0")
    assert publisher.publish().number == 3
    assert _pull(publisher, tmp_path / "cache").root == 2
    assert fixed_in(tmp_path / "cache") == "3.0"


def test_a_folder_of_keys_without_its_number(publisher: Publisher) -> None:
    """Where it could not be written, the destination says what came last."""
    publisher.publish()
    publisher.publish()
    (publisher.keys / "published.json").unlink()
    assert publisher.publish().number == 3


def test_someone_elses_repository(publisher: Publisher, tmp_path: Path) -> None:
    """Empty keys do not take a repository over, and keys do not sign on top of roots that are not theirs."""
    publisher.publish()
    other = Publisher(tmp_path / "other")
    other.shelf = publisher.shelf
    with pytest.raises(UsageError, match="of other keys"):
        other.publish()
    assert not list(other.keys.glob("*.pem"))
    other.shelf = Folder(other.dest)
    other.publish()
    other.shelf = publisher.shelf
    with pytest.raises(VerificationError, match="not the one that these keys made"):
        other.publish()


def test_root_keys_may_lie_elsewhere(publisher: Publisher, tmp_path: Path) -> None:
    """A publication needs no root key; a rotation does, and says so; a root that expires soon is told of."""
    publisher.publish()
    (root,) = publisher.keys.glob("root-*.pem")
    safe = root.rename(tmp_path / root.name)
    publisher.publish()
    with pytest.raises(UsageError, match="0 of 1 root keys"):
        publisher.publish(rotate=("targets",))
    told: list[str] = []
    publisher.publish(NOW + 300 * DAY, say=told.append)
    assert "root expires" in told[0]
    safe.rename(root)
    assert publisher.publish(NOW + 300 * DAY, say=told.append).root == 2
    assert len(told) == 1


def test_keys_for_a_role_must_be_there(publisher: Publisher) -> None:
    """Without the key of a role nothing is published."""
    publisher.publish()
    (key,) = publisher.keys.glob("snapshot-*.pem")
    key.unlink()
    before = (publisher.dest / "metadata/timestamp.json").read_bytes()
    with pytest.raises(UsageError, match="no key to sign snapshot"):
        publisher.publish()
    assert (publisher.dest / "metadata/timestamp.json").read_bytes() == before


def test_threshold_of_the_root(publisher: Publisher) -> None:
    """Two of three keys; another threshold needs other keys."""
    publisher.publish(threshold=2)
    root: Metadata[Any] = Metadata.from_bytes(publisher.root)
    assert (root.signed.roles["root"].threshold, len(root.signed.roles["root"].keyids)) == (2, 3)
    with pytest.raises(UsageError, match="the threshold is 2"):
        publisher.publish(threshold=3)
    next(publisher.keys.glob("root-*.pem")).unlink()  # one may be lost
    publisher.publish(threshold=3, rotate=("root",))
    root = Metadata.from_bytes((publisher.dest / "metadata/2.root.json").read_bytes())
    assert (root.signed.roles["root"].threshold, len(root.signed.roles["root"].keyids)) == (3, 4)


@pytest.mark.parametrize(
    ("how", "said"),
    [({"threshold": 0}, "threshold"), ({"threshold": 99}, "threshold"), ({"rotate": ("boot",)}, "no role")],
)
def test_odd_wishes(publisher: Publisher, how: dict[str, Any], said: str) -> None:
    """Usage errors leave no keys behind."""
    with pytest.raises(UsageError, match=said):
        publisher.publish(**how)
    assert not publisher.keys.exists()


def test_keys_that_are_none(publisher: Publisher) -> None:
    """A file in the folder that is no key is named; so is one of another kind."""
    publisher.publish()
    odd = publisher.keys / "odd.pem"
    odd.write_text("nothing")
    with pytest.raises(UsageError, match="no private key"):
        publisher.publish()
    odd.unlink()
    for key in publisher.keys.glob("*.pem"):
        key.unlink()
    with pytest.raises(UsageError, match="no key to sign targets, snapshot, timestamp"):
        publisher.publish()


def test_nothing_to_publish(publisher: Publisher, tmp_path: Path) -> None:
    """Without a database nothing is made."""
    from pratique.advisory.repository.publish import How as Publishing
    from pratique.advisory.repository.publish import publish

    with pytest.raises(DatabaseError, match="no database"):
        publish(tmp_path / "none", publisher.shelf, publisher.keys, Publishing(now=NOW))


def test_two_publishers_at_once(publisher: Publisher) -> None:
    """The second says so."""
    publisher.publish()
    with Ring.load(publisher.keys).alone(), pytest.raises(DatabaseError, match="another process publishes"):
        publisher.publish()


def test_metadata_says_how_long_it_holds(publisher: Publisher) -> None:
    """Expiry is renewed with each publication, by role."""
    publisher.publish(NOW + DAY, expires={"timestamp": 2 * DAY})
    expires = {
        name: json.loads((publisher.dest / "metadata" / name).read_bytes())["signed"]["expires"]
        for name in ("timestamp.json", "1.snapshot.json", "1.targets.json", "1.root.json")
    }
    assert expires == {
        "timestamp.json": "2026-11-28T00:00:00Z",
        "1.snapshot.json": "2026-12-26T00:00:00Z",
        "1.targets.json": "2026-12-26T00:00:00Z",
        "1.root.json": "2027-11-26T00:00:00Z",
    }


def test_a_scan_does_not_wait_for_a_publication_that_another_process_brings(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Yesterday's serves; without any the other process is awaited, and what it does told."""
    monkeypatch.setattr(pulling, "PATIENCE", 0.1)
    publisher.publish()
    pull(tmp_path / "cache", Folder(publisher.dest), publisher.root, How(now=NOW))
    publisher.learn("3.0")
    publisher.publish(NOW + DAY)
    late = How(now=NOW + 2 * DAY, patience=0.2)

    def refreshed(cache: Path) -> str:
        return pulling.refresh(cache, lambda: Folder(publisher.dest), publisher.root, late)

    with locked(tmp_path / "cache/db"):
        assert refreshed(tmp_path / "cache") == ""
    with locked(tmp_path / "none/db"):
        assert "another process" in refreshed(tmp_path / "none")
    assert fixed_in(tmp_path / "cache") == "2.0"
    assert refreshed(tmp_path / "cache") == ""
    assert fixed_in(tmp_path / "cache") == "3.0"
