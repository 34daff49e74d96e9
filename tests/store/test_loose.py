"""Lines answered before they are synced: what a killed process, a power cut and a failing disk take, and what is said of it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pratique.model.errors import LedgerError, StoreError
from pratique.store import ledger as ledgers
from pratique.store import loose
from pratique.store.files import segment_name
from pratique.store.head import Head, read_slots
from pratique.store.ledger import Ledger
from pratique.store.loose import MAX_LOOSE, End, Loose
from pratique.store.place import Place, open_place
from pratique.store.reading import lines
from pratique.store.verify import Expected, verify
from storing import beside, entry, place_in

WRITE = """
import sys, time
from pathlib import Path
from pratique.store import ledger as ledgers
from pratique.store.place import open_place
from storing import entry
ledgers.SYNC_AFTER = 3600.0
ledger = ledgers.Ledger(open_place(Path(sys.argv[1])))
ledger.append(entry())
for number in range(10):
    print(ledger.append(entry(number, decision="deny"), sync=False).seq, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def none_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the threads that would sync in an hour: tests that follow would find them."""
    made: list[ledgers._Syncer] = []

    class Noted(ledgers._Syncer):
        def __init__(self, sync: Callable[[], None]) -> None:
            super().__init__(sync)
            made.append(self)

    monkeypatch.setattr(ledgers, "_Syncer", Noted)
    yield
    for syncer in made:
        syncer.stop()


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is synced by itself."""
    monkeypatch.setattr(ledgers, "SYNC_AFTER", 3600.0)


@pytest.fixture
def other_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loose, "boot", lambda: "0" * 12)


def head(place: Place) -> Head:
    return read_slots(place)[0][0]


def last(place: Place) -> Path:
    return place.ledger / segment_name(head(place).segment)


def running(folder: Path, kept: int = 3, more: int = 5) -> Place:
    """Return a copy of a store whose process runs: `kept` lines are on disk, `more` are written only."""
    place = place_in(folder)
    ledger = Ledger(place)
    for number in range(kept):
        ledger.append(entry(number))
    ledger.sync()
    for number in range(more):
        ledger.append(entry(100 + number, decision="deny"), sync=False)
    shutil.copytree(place.folder, folder / "cut")
    ledger._forget()
    return open_place(folder / "cut")


def goes_on(place: Place) -> list[str]:
    """Append to a ledger; return the events of all its lines."""
    ledger = Ledger(place)
    ledger.append(entry(999))
    ledger.close()
    outcome = verify(place)
    assert outcome.problems == []
    assert outcome.notes == []
    return [line.event for line in lines(place)]


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    """What was answered is there when the process is killed before any sync: the kernel has it."""
    place = place_in(tmp_path)
    process = beside(WRITE, place.folder)
    assert process.stdout is not None
    answered = [int(process.stdout.readline()) for _ in range(10)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert verify(place).problems == []
    assert Loose.of(head(place)) is not None
    assert set(answered) <= {line.seq for line in lines(place)}
    assert "power-cut" not in goes_on(place)
    assert set(answered) <= {line.seq for line in lines(place)}
    assert head(place).loose is msgspec.UNSET


def test_it_is_on_disk_soon(tmp_path: Path) -> None:
    """A line for which nobody waits is synced a moment later, and the head says so; nobody needs to write another one."""
    place = place_in(tmp_path)
    ledger = Ledger(place)
    ledger.append(entry(decision="deny"), sync=False)
    for _ in range(3000):
        if head(place).loose is msgspec.UNSET:
            break
        time.sleep(0.01)
    assert head(place).loose is msgspec.UNSET
    ledger.close()


def test_an_allow_takes_all_with_it(tmp_path: Path, late: None) -> None:
    """When a line is on disk, all before it are."""
    ledger = Ledger(place_in(tmp_path))
    for number in range(5):
        ledger.append(entry(number, decision="deny"), sync=False)
    ledger.append(entry())
    ledger.sync()
    assert head(place_in(tmp_path)).loose is msgspec.UNSET


def test_few_are_loose_at_once(tmp_path: Path, late: None) -> None:
    """Whoever writes very much waits for the disk: a power cut takes no more than so many lines."""
    place = place_in(tmp_path)
    ledger = Ledger(place)
    most = 0
    for number in range(5 * MAX_LOOSE):
        ledger.append(entry(number, decision="deny"), sync=False)
        found = Loose.of(head(place))
        most = max(most, found.lines if found is not None else 0)
    assert 1 < most <= MAX_LOOSE + 1
    ledger.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.floats(0, 1), zeros=st.booleans(), drop=st.booleans())
def test_a_power_cut_is_one(
    tmp_path_factory: pytest.TempPathFactory, other_boot: None, cut: float, *, zeros: bool, drop: bool
) -> None:
    """After another boot lines that were not synced may be missing or zeros: that is said, and the ledger goes on."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.getbasetemp() / "running"
        if not folder.exists():
            patch.setattr(ledgers, "SYNC_AFTER", 3600.0)
            patch.setattr(loose, "boot", lambda: "1" * 12)
            running(folder)
    place = open_place(shutil.copytree(folder / "cut", tmp_path_factory.mktemp("copy") / "store"))
    found = Loose.of(head(place))
    assert found is not None
    size = last(place).stat().st_size
    at = size - found.size + round(cut * found.size)
    content = last(place).read_bytes()
    last(place).write_bytes(content[:at] + (b"\0" * (size - at) if zeros else b""))
    whole = content[:at].count(b"\n")
    outcome = verify(place)
    assert outcome.problems == []
    missing = content.count(b"\n") - whole
    assert any("synced" in note for note in outcome.notes) == (missing > 0)
    if drop:
        (place.keys / "secret").unlink()
        outcome = verify(place)
        assert outcome.problems == []
        assert outcome.unsure == (missing > 0)
        return
    events = goes_on(place)
    assert events.count("power-cut") == (missing > 0)
    said = [line.detail for line in lines(place) if line.event == "power-cut"]
    assert [one["lines"] for one in said] == [str(missing)] * (missing > 0)
    assert events.count("use") == whole


@pytest.mark.parametrize("how", ["cut", "zeros", "edit"])
def test_in_the_same_boot_it_is_tampering(tmp_path: Path, late: None, how: str) -> None:
    """The kernel loses nothing while it runs: what is missing then, somebody took."""
    place = running(tmp_path)
    content = last(place).read_bytes()
    changed = {"cut": content[:-20], "zeros": content[:-20] + b"\0" * 20, "edit": content.replace(b'"T-103"', b'"T-999"')}
    last(place).write_bytes(changed[how])
    assert verify(place).problems != []
    if how == "cut":
        with pytest.raises(StoreError):
            Ledger(place).append(entry())


@pytest.mark.parametrize("how", ["more", "edit", "edit-before", "edit-kept", "drop", "forge"])
def test_tampering_is_no_power_cut(tmp_path: Path, late: None, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """After another boot, too, what was synced is all there, and what was not is as it was written, or not there."""
    place = running(tmp_path)
    monkeypatch.setattr(loose, "boot", lambda: "0" * 12)
    content = last(place).read_bytes()
    found = Loose.of(head(place))
    assert found is not None
    raw = content.splitlines(keepends=True)
    changed = {
        "more": content[: -found.size - 5],
        "edit": content.replace(b'"T-102"', b'"T-999"'),
        "edit-before": content.replace(b'"T-1"', b'"T-9"'),
        "edit-kept": content[: -found.size].replace(b'"T-2"', b'"T-9"'),
        "drop": b"".join(raw[:-3] + raw[-2:]),
        "forge": content[: -found.size] + raw[-1],
    }
    last(place).write_bytes(changed[how])
    assert verify(place).problems != []
    if how != "edit-before":  # which the writer has no need to read; no seal goes over it
        with pytest.raises(StoreError):
            Ledger(place).append(entry())


def test_more_than_any_writer_leaves_is_not_read(tmp_path: Path, late: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lengthens the last segment by a hole of a terabyte is told of, in the memory that there is."""
    place = running(tmp_path)
    monkeypatch.setattr(loose, "boot", lambda: "0" * 12)
    os.truncate(last(place), 1 << 40)
    assert verify(place).problems != []
    with pytest.raises(StoreError, match="after its end"):
        Ledger(place).append(entry())


def test_what_was_synced_is_not_lost_to_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the head says that all is on disk, nothing may be missing after any boot."""
    place = place_in(tmp_path)
    ledger = Ledger(place)
    ledger.append(entry())
    ledger.append(entry(1, decision="deny"), sync=False)
    ledger.close()
    monkeypatch.setattr(loose, "boot", lambda: "0" * 12)
    last(place).write_bytes(last(place).read_bytes()[:-9])
    assert verify(place).problems != []
    with pytest.raises(StoreError):
        Ledger(place).append(entry())


def test_a_published_head_is_on_disk(tmp_path: Path, late: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published cannot be lost to a power cut: a rollback before it is found."""
    place = place_in(tmp_path)
    ledger = Ledger(place)
    for number in range(4):
        ledger.append(entry(number, decision="deny"), sync=False)
    published = ledger.head()
    assert published.loose is msgspec.UNSET
    ledger.append(entry(9, decision="deny"), sync=False)
    found = Loose.of(head(place))
    assert found is not None
    assert found.lines == 1
    shutil.copytree(place.folder, tmp_path / "cut")
    ledger._forget()
    monkeypatch.setattr(loose, "boot", lambda: "0" * 12)
    cut = open_place(tmp_path / "cut")
    last(cut).write_bytes(last(cut).read_bytes()[: -found.size])
    assert verify(cut, Expected(heads=(published,))).problems == []
    last(cut).write_bytes(last(cut).read_bytes()[:-5])
    assert verify(cut, Expected(heads=(published,))).problems != []


class Disk:
    """The machine's disk, which may stop to take anything."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.broken = False
        self._real = os.fdatasync
        patch.setattr(os, "fdatasync", self._sync)

    def _sync(self, descriptor: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._real(descriptor)


def test_a_disk_that_fails_stops_everything_that_follows(tmp_path: Path, late: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a sync that failed no line is taken, by any process, until the lines before are on disk; then that is said."""
    disk, place = Disk(monkeypatch), place_in(tmp_path)
    ledger = Ledger(place)
    ledger.append(entry())
    ledger.append(entry(1, decision="deny"), sync=False)
    disk.broken = True
    with pytest.raises(LedgerError, match="cannot be synced"):
        ledger.append(entry(2))
    found = Loose.of(head(place))
    assert found is not None
    assert found.doubted
    with pytest.raises(LedgerError):
        ledger.append(entry(3, decision="deny"), sync=False)
    other = Ledger(place)
    with pytest.raises(LedgerError):
        other.append(entry(4))
    outcome = verify(place)
    assert outcome.problems == []
    assert any("did not take" in note for note in outcome.notes)
    disk.broken = False
    other.append(entry(5))
    ledger.append(entry(6))
    ledger.close()
    assert [line.task for line in lines(place) if line.event == "use"][:2] == ["T-0", "T-1"]
    assert {"T-5", "T-6"} <= {line.task for line in lines(place)}
    assert [line.event for line in lines(place)].count("synced-late") == 1
    assert verify(place).problems == []
    assert verify(place).notes == []


def test_a_disk_that_fails_at_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody was answered yet: the same process goes on when the disk does."""
    disk, place = Disk(monkeypatch), place_in(tmp_path)
    ledger = Ledger(place)
    disk.broken = True
    for sync in (True, False):
        with pytest.raises(LedgerError):
            ledger.append(entry(decision="deny"), sync=sync)
    disk.broken = False
    ledger.append(entry(1))
    ledger.close()
    assert verify(place).problems == []


def test_a_sync_beside_one_that_fails_hides_nothing(tmp_path: Path, late: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tells one of two who sync at once of a write that failed, the other succeeds: nobody is answered by that one."""
    place = place_in(tmp_path)
    ledger = Ledger(place)
    ledger.append(entry())
    failing, beside_it = threading.Event(), threading.Event()
    real = os.fdatasync
    broken = threading.local()

    def sync(descriptor: int) -> None:
        if getattr(broken, "here", False):
            broken.here = False
            failing.set()
            beside_it.wait(1)  # as long as the other is let do what it wants to do; it may have to wait for this one
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    again: list[tuple[int, int]] = []
    write_again = loose.write_again

    def noted(path: Path, synced: End, end: End) -> None:
        again.append((synced.lines, end.lines))
        write_again(path, synced, end)

    def allow() -> None:
        broken.here = True
        ledger.append(entry(1))

    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr("pratique.store.writer.write_again", noted)
    thread = threading.Thread(target=allow)
    thread.start()
    assert failing.wait(60)
    with contextlib.suppress(LedgerError):
        ledger.head()
    beside_it.set()
    thread.join(60)
    assert [1 for synced, end in again if synced < end], "what the failed sync was for is written anew"
    ledger.close()
    assert verify(place).problems == []


def test_a_disk_that_fails_behind_an_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sync for which nobody waits fails: the head says so, to other processes, too."""
    disk, place = Disk(monkeypatch), place_in(tmp_path)
    ledger = Ledger(place)
    ledger.append(entry())
    ledger.sync()
    disk.broken = True
    ledger.append(entry(1, decision="deny"), sync=False)
    found = None
    for _ in range(3000):
        found = Loose.of(head(place))
        if found is not None and found.doubted:
            break
        time.sleep(0.01)
    assert found is not None
    assert found.doubted
    with pytest.raises(LedgerError):
        Ledger(place).append(entry(2))
    ledger.close()
    disk.broken = False
    assert "synced-late" in goes_on(place)


def test_where_boots_cannot_be_told_apart_nothing_is_loose(tmp_path: Path, late: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then every line is synced before it is answered."""
    monkeypatch.setattr(loose, "boot", lambda: "")
    monkeypatch.setattr("pratique.store.writer.boot", lambda: "")
    place = place_in(tmp_path)
    ledger = Ledger(place)
    for number in range(3):
        ledger.append(entry(number, decision="deny"), sync=False)
        assert head(place).loose is msgspec.UNSET
    ledger.close()


def test_the_longest_head_fits_its_slot(tmp_path: Path) -> None:
    """A ledger of many years has room for what is loose in it."""
    place = place_in(tmp_path)
    ledger = Ledger(place)
    ledger.append(entry())
    ledger.close()
    whole = head(place)
    said = Loose(loose.MAX_LOST, 30 << 20, "f" * 12, "f" * 64, doubted=True).text()
    long = msgspec.structs.replace(whole, count=10**9, segment=99_999, size=40 << 20, loose=said)
    assert len(msgspec.json.encode(long)) < 512
    assert Loose.of(long) == Loose(loose.MAX_LOST, 30 << 20, "f" * 12, "f" * 24, doubted=True)
    for wrong in ("", "x", "1 2 3", "0 5 a b", "9999 5 a " + "f" * 24, "5 -1 a " + "f" * 24, "5 5 a ff"):
        with pytest.raises(LedgerError):
            Loose.of(msgspec.structs.replace(long, loose=wrong))
