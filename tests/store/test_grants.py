"""The store of grants: atomic among processes, closed to others, and its changes seen by gates."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pratique.model.errors import GrantError, StoreError, UsageError
from pratique.model.privilege import LIVE_STATES, Grant
from pratique.store import database, watch
from pratique.store.grants import ConflictError, NoSuchGrantError, SqliteGrants
from pratique.store.interface import GrantStore, Wanted
from pratique.store.place import open_place
from pratique.store.watch import Live, Watcher
from storing import beside, grant, place_in

RACE = """
import sys, time
from pathlib import Path
import msgspec
from pratique.model.errors import GrantError
from pratique.store.grants import SqliteGrants
from pratique.store.place import open_place
store = SqliteGrants(open_place(Path(sys.argv[1])))
what, name, until = sys.argv[2], sys.argv[3], float(sys.argv[4])
time.sleep(max(0.0, until - time.time()))

def once(grant):
    if grant.state != "active" or grant.used >= 1:
        raise GrantError("used")
    return msgspec.structs.replace(grant, used=grant.used + 1, state="exhausted")

def end(grant):
    if grant.state != "active":
        raise GrantError("ended")
    return msgspec.structs.replace(grant, state="revoked")

def count(grant):
    return msgspec.structs.replace(grant, used=grant.used + 1)

if what == "count":
    for _ in range(50):
        store.change("g-0001", count)
    print("done")
    sys.exit()
try:
    if what == "use":
        print("again" if store.use("g-0001", name, once).again else "used")
    else:
        store.change("g-0001", end)
        print("revoked")
except GrantError as error:
    print("refused")
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteGrants]:
    made = SqliteGrants(place_in(tmp_path))
    yield made
    made.close()


def used(one: Grant) -> Grant:
    return msgspec.structs.replace(one, used=one.used + 1)


def not_now() -> None:
    raise GrantError("not now")


def refuse(one: Grant) -> Grant:
    raise GrantError(f"{one.id}: no")


def test_what_is_kept_comes_back(store: SqliteGrants) -> None:
    """A grant is the same after it was kept, and has version 1."""
    kept = store.create(grant())
    assert store.get("g-0001") == kept
    assert kept.version == 1
    assert store.get("g-00").grant.id == "g-0001"


def test_it_is_a_store_of_grants(store: SqliteGrants) -> None:
    """What stands in a folder does what any store of grants does; mypy holds it to the protocol."""
    any_store: GrantStore = store
    any_store.create(grant())
    assert any_store.get("g-0001").version == 1


def test_the_beginning_of_an_id_must_be_clear(store: SqliteGrants) -> None:
    """Ids may be shortened while they stay unambiguous, and long enough to be meant; % and _ are letters."""
    store.create(grant("g-0001"))
    store.create(grant("g-0002"))
    for name in ("g-00", "g-", "", "g-__01", "%", "g-9999"):
        with pytest.raises(NoSuchGrantError):
            store.get(name)
    assert store.get("g-0002").grant.id == "g-0002"


def test_a_version_is_replaced_once(store: SqliteGrants) -> None:
    """Compare and set: whoever comes second is told so."""
    kept = store.create(grant())
    assert store.replace(used(kept.grant), kept.version).version == 2
    with pytest.raises(ConflictError):
        store.replace(used(kept.grant), kept.version)
    assert store.get("g-0001").grant.used == 1


def test_what_a_step_refuses_leaves_all_as_it_was(store: SqliteGrants) -> None:
    """An error within a change is raised, and nothing of the change is kept."""
    store.create(grant())
    for call in (lambda: store.change("g-0001", refuse), lambda: store.use("g-0001", "s", refuse)):
        with pytest.raises(GrantError):
            call()
    with pytest.raises(GrantError):
        store.create(grant("g-0002"), not_now)
    assert [kept.version for kept in store.find()] == [1]
    assert not store.used_in("g-0001", "s")


def test_a_session_uses_once(store: SqliteGrants) -> None:
    """One exec arrives as two reviews of one session: one use is consumed; another session consumes another."""
    store.create(grant())
    assert not store.use("g-0001", "s1", used).again
    assert store.use("g-0001", "s1", refuse).again
    assert not store.use("g-0001", "s2", used).again
    assert store.get("g-0001").grant.used == 2


def test_find(store: SqliteGrants) -> None:
    """Grants are found by state, subject and when they end, the youngest first."""
    store.create(grant("g-0001", requested_at=1.0, expires_at=100.0))
    store.create(grant("g-0002", "bob", requested_at=2.0, expires_at=200.0))
    store.create(grant("g-0003", requested_at=3.0, state="requested"))

    def ids(wanted: Wanted) -> list[str]:
        return [kept.grant.id for kept in store.find(wanted)]

    assert ids(Wanted()) == ["g-0003", "g-0002", "g-0001"]
    assert ids(Wanted(states=LIVE_STATES)) == ["g-0002", "g-0001"]
    assert ids(Wanted(subject="alice", provider="claimed")) == ["g-0003", "g-0001"]
    assert ids(Wanted(provider="unix")) == []
    assert ids(Wanted(expiring=150.0)) == ["g-0001"]


def test_changes_of_processes_do_not_get_lost(tmp_path: Path, store: SqliteGrants) -> None:
    """Processes that change one grant at once: every change counts."""
    store.create(grant())
    running = [beside(RACE, store.place.folder, "count", "", 0) for _ in range(4)]
    assert [process.communicate()[0] for process in running] == ["done\n"] * 4
    assert store.get("g-0001").grant.used == 200


def test_one_of_many_processes_gets_the_single_use(store: SqliteGrants) -> None:
    """A single use raced by processes of different sessions is given once."""
    store.create(grant())
    at = time.time() + 0.7
    running = [beside(RACE, store.place.folder, "use", f"s{number}", at) for number in range(8)]
    said = sorted(process.communicate()[0].strip() for process in running)
    assert said == ["refused"] * 7 + ["used"]
    assert store.get("g-0001").grant.used == 1


def test_processes_of_one_session_consume_one_use(store: SqliteGrants) -> None:
    """The same session from several processes: one consumes, the others are told that it has."""
    store.create(grant())
    at = time.time() + 0.7
    running = [beside(RACE, store.place.folder, "use", "s", at) for _ in range(6)]
    said = sorted(process.communicate()[0].strip() for process in running)
    assert said == ["again"] * 5 + ["used"]


def test_a_revocation_and_a_use_at_once(store: SqliteGrants) -> None:
    """Either the use came first or it is refused; after the revocation nothing is used."""
    store.create(grant())
    at = time.time() + 0.7
    running = [beside(RACE, store.place.folder, "use" if number % 2 else "end", f"s{number}", at) for number in range(6)]
    said = sorted(process.communicate()[0].strip() for process in running)
    assert said.count("used") + said.count("revoked") == 1
    assert store.get("g-0001").grant.state in ("exhausted", "revoked")


def test_what_ends_is_gone_from_the_live_grants(tmp_path: Path, store: SqliteGrants) -> None:
    """A gate sees what changed at its next look, and keeps its index while nothing did."""
    store.create(grant())
    live = Live(store.place)
    first = live.current()
    assert list(first.grants) == ["g-0001"]
    assert live.current() is first
    store.change("g-0001", used)
    assert live.current().grants["g-0001"].used == 1
    store.create(grant("g-0002", state="requested"))
    store.change("g-0001", lambda one: msgspec.structs.replace(one, state="revoked"))
    third = live.current()
    assert dict(third.grants) == {}
    assert third.generation > first.generation
    assert third.changed == ("g-0002", "g-0001")
    assert list(first.grants) == ["g-0001"]  # a snapshot does not change in the hands of who has it
    live.close()


def test_spent_grants_are_live_for_those_who_ask(store: SqliteGrants) -> None:
    """A gate that looks after sessions sees spent grants while their time lasts, and not all that ever were."""
    store.create(grant("g-0001", state="exhausted", expires_at=time.time() + 60))
    store.create(grant("g-0002", state="exhausted", expires_at=5.0))
    live = Live(store.place, LIVE_STATES | {"exhausted"})
    assert list(live.current().grants) == ["g-0001"]
    live.close()


def test_who_waits_is_woken(store: SqliteGrants) -> None:
    """A watcher wakes when something was kept, and sleeps when nothing was."""
    watcher = Watcher(store.place)
    assert not watcher.wait(0.01)
    store.create(grant())
    assert watcher.wait(5)
    assert not watcher.wait(0.01)
    with pytest.raises(GrantError):
        store.change("g-0001", refuse)
    assert not watcher.wait(0.01)
    watcher.close()


def test_grants_die_with_their_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer is borne for some seconds, then its grants are dead; when it is back, so are they."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    store = SqliteGrants(place_in(tmp_path))
    store.create(grant())
    store.close()
    live = Live(store.place)
    assert len(live.current().grants) == 1
    store.place.database.rename(tmp_path / "away")
    now[0] += watch.GRACE - 1
    assert len(live.current().grants) == 1
    now[0] += 2
    with pytest.raises(StoreError):
        live.current()
    (tmp_path / "away").rename(store.place.database)
    assert len(live.current().grants) == 1
    live.close()


def test_another_database_in_its_place_is_noticed(tmp_path: Path) -> None:
    """Grants of a database that was replaced are not live."""
    store, other = SqliteGrants(place_in(tmp_path / "a")), SqliteGrants(place_in(tmp_path / "b"))
    store.create(grant())
    other.close()
    live = Live(store.place)
    live.current()
    for suffix in ("-wal", "-shm"):
        store.place.database.with_name(store.place.database.name + suffix).unlink()
    shutil.copy(other.place.database, tmp_path / "new")
    (tmp_path / "new").chmod(0o600)
    (tmp_path / "new").rename(store.place.database)
    assert dict(live.current().grants) == {}
    live.close()


def test_a_store_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Modes, parents, owners and links that let others in are one clear line."""
    folder = tmp_path / "store"
    place = open_place(folder)
    SqliteGrants(place).close()
    folder.chmod(0o770)
    with pytest.raises(StoreError, match=r"others may write this store.*chmod 700"):
        open_place(folder)
    folder.chmod(0o700)
    place.database.chmod(0o666)
    with pytest.raises(StoreError, match="others may write this file"):
        SqliteGrants(place)
    place.database.chmod(0o600)
    place.database.rename(tmp_path / "elsewhere")
    place.database.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        SqliteGrants(place)
    tmp_path.chmod(0o777)
    with pytest.raises(StoreError, match="others may replace"):
        open_place(folder)
    tmp_path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(folder, 12345, 12345)
        with pytest.raises(StoreError, match="others may write"):
            open_place(folder)


def test_places_that_are_none(tmp_path: Path) -> None:
    """Addresses, files and missing folders are one line each."""
    with pytest.raises(UsageError):
        open_place("postgresql://host/db")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        open_place(tmp_path / "file")
    with pytest.raises(StoreError, match="there is no store"):
        open_place(tmp_path / "missing", create=False)
    with pytest.raises(StoreError):
        open_place(tmp_path / "file" / "below")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A read-only place is one line."""
    place = place_in(tmp_path)
    place.database.mkdir()
    with pytest.raises(StoreError, match=r"grants\.sqlite"):
        SqliteGrants(place)


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$XDG_STATE_HOME/pratique, made for its owner alone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    place = open_place()
    assert place.folder == (tmp_path / "state" / "pratique").resolve()
    assert place.folder.stat().st_mode & 0o777 == 0o700


def test_damage_and_newer_versions_are_one_line(tmp_path: Path) -> None:
    """A file that is no database, one of a newer program, and one with nonsense in a row."""
    place = place_in(tmp_path)
    store = SqliteGrants(place)
    store.create(grant())
    with store.writing() as connection:
        connection.execute("UPDATE grants SET body = ?", (b"{",))
    with pytest.raises(StoreError, match="damaged"):
        store.get("g-0001")
    store.close()
    with contextlib.closing(sqlite3.connect(place.database)) as raw, raw:
        raw.execute(f"PRAGMA user_version = {database.VERSION + 1}")
    raw.close()
    with pytest.raises(StoreError, match="newer"):
        SqliteGrants(place)
    place.database.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        SqliteGrants(place)


def test_a_lock_that_is_held(tmp_path: Path) -> None:
    """A store that another process holds is waited for as long as one is ready to, then it is one line."""
    store, other = SqliteGrants(place_in(tmp_path)), SqliteGrants(place_in(tmp_path), patience=0.05)
    store.create(grant())
    with store.writing(), pytest.raises(StoreError, match="locked"):
        other.change("g-0001", used)
    assert other.change("g-0001", used).grant.used == 1
    store.close()
    other.close()


def test_processes_make_a_store_at_once(tmp_path: Path) -> None:
    """Several processes that find no database make one."""
    code = "import sys\nfrom pathlib import Path\nfrom pratique.store.grants import SqliteGrants\n"
    code += "from pratique.store.place import open_place\nfrom storing import grant\n"
    code += "SqliteGrants(open_place(Path(sys.argv[1]))).create(grant('g-000' + sys.argv[2]))\n"
    running = [beside(code, tmp_path / "store", number) for number in range(5)]
    assert [process.communicate()[1] for process in running] == [""] * 5
    assert len(SqliteGrants(place_in(tmp_path)).find()) == 5


def test_a_store_of_an_earlier_version_finds_its_broken_glasses(tmp_path: Path) -> None:
    """A database without the index gets it, and says the same as one that always had it; the index is what is asked."""
    place = place_in(tmp_path)
    database.opened(place.database, database._STEPS[:1], patience=1.0).close()
    row = "INSERT INTO grants VALUES (?, 1, 'expired', 'unix', ?, 1.0, 0.0, ?, ?)"
    kept = [grant(f"g-{number:04}", who=f"u{number % 3}") for number in range(9)]
    broken = [msgspec.structs.replace(one, asked=msgspec.structs.replace(one.asked, break_glass=True)) for one in kept[:4]]
    with contextlib.closing(sqlite3.connect(place.database)) as raw, raw:
        for number, one in enumerate([*broken, *kept[4:]]):
            raw.execute(row, (one.id, one.asked.subject.id, number, msgspec.json.encode(one)))
    store = SqliteGrants(place)
    assert sorted(store.broken(), key=lambda one: one.id) == broken
    assert store.broken("u1") == [broken[1]]
    assert store.broken("nobody") == []
    with store.reading() as connection:
        for condition in (database.BROKEN, f"provider IN ('unix', 'k8s') AND subject = 'u1' AND {database.BROKEN}"):
            plan = str(connection.execute(f"EXPLAIN QUERY PLAN SELECT body FROM grants WHERE {condition}").fetchall())
            assert "grants_broken" in plan
    store.close()
