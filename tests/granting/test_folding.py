"""Denials that are alike: the first are on record one by one, the rest as a number, and nothing is lost, however they come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.granting import folding
from pratique.granting.desk import Desk
from pratique.granting.folding import AT_ONCE, LARGE, LINES, MAX_KINDS, Folding
from pratique.model.errors import LedgerError
from pratique.store.line import Entry, Line, Who
from pratique.store.place import Place
from pratique.store.reading import lines
from pratique.store.room import Level, Room
from storing import ALICE, place_in

LONG = 3600.0  # a window that does not end in a test


def denial(target: str = "one", who: Who | None = ALICE, **more: object) -> Entry:
    values: dict[str, object] = {
        "event": "decision", "subject": who, "decision": "deny", "needed": ("exec.root",), "rule": "r", "reason": "because",
        "point": "docker", "session": "s", "detail": {"container": target, "argv": "hmac-sha256:00"},
    }  # fmt: skip
    return Entry(**{**values, **more})  # type: ignore[arg-type]


class Told:
    """A ledger that may fail."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.broken = False
        self.came = threading.Event()

    def write(self, entry: Entry) -> None:
        if self.broken:
            self.came.set()
            raise LedgerError("it cannot be written")
        self.entries.append(entry)
        self.came.set()

    def total(self) -> int:
        return sum(entry.count or 1 for entry in self.entries)


class Fixed(Room):
    """A disk with as much room as a test says."""

    def __init__(self, level: Level = "enough") -> None:
        self.now: Level = level

    def level(self) -> Level:
        return self.now


def take(at: Folding, told: Told, entry: Entry) -> None:
    for one in at.take(entry):
        told.write(one)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path)


def found(place: Place) -> list[Line]:
    return [line for line in lines(place) if line.decision == "deny"]


def test_a_flood_is_a_few_lines(place: Place) -> None:
    """Ten lines at once, and one for all the rest, which says how many and when."""
    with Desk(place) as desk:
        for number in range(500):
            desk.record(denial(session=f"s{number}", detail={"container": "one", "argv": f"hmac-sha256:{number}"}))
        assert len(found(place)) == AT_ONCE
    *single, folded = found(place)
    assert [line.session for line in single] == [f"s{number}" for number in range(AT_ONCE)]
    assert folded.count == 500 - AT_ONCE
    assert single[-1].time <= folded.first <= folded.last <= folded.time
    assert folded.detail == {"container": "one"}
    assert (folded.subject, folded.needed, folded.rule, folded.reason) == (ALICE, ("exec.root",), "r", "because")


@pytest.mark.parametrize(
    "other",
    [
        {"needed": ("run.root",)}, {"rule": "x"}, {"reason": "x"}, {"who": Who("bob", "unix", 1)}, {"target": "two"},
        {"point": "podman"}, {"policy": "x"},
    ],
)  # fmt: skip
def test_what_differs_is_not_folded(place: Place, other: dict[str, object]) -> None:
    """Another subject, privilege, target, rule or reason is another line."""
    with Desk(place) as desk:
        for _ in range(AT_ONCE + 1):
            desk.record(denial())
        desk.record(denial(**other))  # type: ignore[arg-type]
        assert len(found(place)) == AT_ONCE + 1


@pytest.mark.parametrize(
    "entry",
    [
        denial(decision="allow_with_grant"), denial(decision="allow"), denial(event="use"), denial(event="break-glass"),
        denial(event="refused"), denial(event="verdict"), denial(detail={"observed": "true"}),
    ],
    ids=lambda entry: f"{entry.event}-{entry.decision}",
)  # fmt: skip
def test_what_is_no_denial_is_never_folded(place: Place, entry: Entry) -> None:
    """Allows, uses, broken glass, verdicts, and what is only observed: every one is a line."""
    with Desk(place) as desk:
        for _ in range(2 * AT_ONCE):
            desk.record(entry)
    assert len([line for line in lines(place) if line.event == entry.event]) == 2 * AT_ONCE


def test_one_who_varies_what_they_ask_is_folded_by_rule(place: Place) -> None:
    """Who makes every denial another has a number of lines; then it is a number by rule, with examples. Others are not."""
    many = round(LINES) + 200
    with Desk(place) as desk:
        for number in range(many):
            desk.record(denial(f"c{number}"))
        desk.record(denial("c0", Who("bob", "unix", 1)))
    said = found(place)
    assert len(said) <= LINES + 60, "a second is one line more"
    (folded,) = [line for line in said if line.count]
    assert sum(line.count or 1 for line in said) == many + 1
    assert folded.detail["examples"].startswith("c")
    assert folded.detail["examples"].count(";") == 4
    assert (folded.needed, folded.rule) == ((), "r")
    assert [line.subject for line in said if line.subject and line.subject.id == "bob"] != []


def test_a_minute_is_a_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it goes on there is a line each minute; a process that goes on does not wait for its end to say so."""
    monkeypatch.setattr(folding, "WINDOW", 0.2)
    told = Told()
    at = Folding(told.write, Fixed(), window=0.2)
    for _ in range(AT_ONCE + 5):
        take(at, told, denial())
    for _ in range(3000):
        if told.total() == AT_ONCE + 5:
            break
        told.came.wait(0.01)
        told.came.clear()
    assert told.entries[-1].count == 5
    assert at.end() == []


def test_what_cannot_be_written_is_counted_on(place: Place) -> None:
    """A ledger that fails for a while loses no number."""
    told = Told()
    at = Folding(told.write, Fixed(), window=0.2)
    for _ in range(AT_ONCE):
        take(at, told, denial())
    told.broken = True
    told.came.clear()
    take(at, told, denial())
    assert told.came.wait(60)
    for entry in at.end():
        told.entries.append(entry)
    assert told.total() == AT_ONCE + 1


def test_the_first_ones_are_counted_where_they_cannot_be_written(place: Place) -> None:
    """Whoever asked was told that it is not on record; it is in the number of the minute."""
    with Desk(place) as desk:
        desk.record(denial())
        content = place.head.read_bytes()
        place.head.write_bytes(b"x" * len(content))
        for _ in range(3):
            with pytest.raises(LedgerError):
                desk.record(denial())
        place.head.write_bytes(content)
    assert [line.count for line in found(place)] == [0, 3]


def test_a_kind_that_made_room_is_not_lost() -> None:
    """Its line could not be written, and others took its place meanwhile."""
    told = Told()
    at = Folding(told.write, Fixed(), window=0.0)
    at._ended.set()  # nobody else takes what is due
    for _ in range(AT_ONCE + 3):
        take(at, told, denial())
    (due,) = at.due()
    for number in range(MAX_KINDS):
        take(at, told, denial(who=Who(f"u{number}", "unix", 1)))
    at.put_back(due)
    told.entries += at.end()
    assert told.total() == AT_ONCE + 3 + MAX_KINDS


def test_at_the_end_numbers_are_kept_though_the_ledger_fails(place: Place) -> None:
    """A process that ends while the ledger cannot be written leaves its numbers in the store; the next one writes them."""
    desk = Desk(place)
    for _ in range(AT_ONCE + 7):
        desk.record(denial())
    content = place.head.read_bytes()
    place.head.write_bytes(b"x" * len(content))
    desk.close()
    place.head.write_bytes(content)
    with Desk(place) as desk:
        desk.sweep()
    assert [line.count for line in found(place)] == [0] * AT_ONCE + [7]


def test_a_disk_with_little_room_is_not_filled_by_denials(place: Place) -> None:
    """With little room denials are counted by rule and written once a minute, with none they are counted only."""
    told, disk = Told(), Fixed("little")
    at = Folding(told.write, disk, window=LONG)
    for number in range(50):
        take(at, told, denial(f"c{number}"))
    assert told.entries == []
    disk.now = "none"
    assert at.due() == []
    take(at, told, denial("c1"))
    disk.now = "enough"
    (folded,) = at.end()
    assert folded.count == 51


def test_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a small disk is little, a fortieth is none; of a large one 64 and 16 MiB."""

    class Seen:
        f_frsize = 4096

        def __init__(self, size: int, free: int) -> None:
            self.f_blocks, self.f_bavail = size // 4096, free // 4096

    for size, free, level in (
        (8 << 20, 4 << 20, "enough"), (8 << 20, 700 << 10, "little"), (8 << 20, 100 << 10, "none"),
        (1 << 40, 65 << 20, "enough"), (1 << 40, 63 << 20, "little"), (1 << 40, 15 << 20, "none"),
    ):  # fmt: skip
        seen = Seen(size, free)
        monkeypatch.setattr("pratique.store.room.os.statvfs", lambda _, seen=seen: seen)
        assert Room(place).level() == level


def test_memory_is_bounded() -> None:
    """However many people deny themselves, so many kinds are kept; what is forgotten leaves its line."""
    told = Told()
    at = Folding(told.write, Fixed(), window=LONG)
    for number in range(2 * MAX_KINDS):
        for _ in range(AT_ONCE + 1 if number < 10 else 1):
            take(at, told, denial(who=Who(f"u{number}", "unix", 1)))
    assert len(at._kinds) == MAX_KINDS
    assert len(at._budgets) == MAX_KINDS
    told.entries += at.end()
    assert told.total() == 2 * MAX_KINDS + 10 * AT_ONCE


def test_large_denials_are_not_kept_in_mind(place: Place) -> None:
    """What somebody writes into a request does not fill the memory: it is a line each time, and counted when there were many."""
    many = round(LINES) + 50
    told = Told()
    at = Folding(told.write, Fixed(), window=LONG)
    for number in range(many):
        take(at, told, denial(f"{number}" + "x" * LARGE))
    assert len(at._kinds) == 1
    told.entries += at.end()
    assert told.total() == many
    assert max(len(msgspec.json.encode(one)) for one in told.entries if one.count) < 2000


def words() -> Iterator[st.SearchStrategy[object]]:
    yield st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"]))
    yield st.sampled_from(["due", "little", "none", "enough", "break", "mend"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(*words()), max_size=120))
def test_nothing_is_lost(acts: list[object]) -> None:
    """Whatever comes, in whatever order, with a ledger and a disk that fail now and then: the numbers add up."""
    told, disk, asked = Told(), Fixed(), 0
    at = Folding(told.write, disk, window=0.0)
    at._ended.set()
    for act in acts:
        if isinstance(act, tuple):
            told.broken, was = False, told.broken
            take(at, told, denial(act[0], Who(act[1], "unix", 1)))
            told.broken, asked = was, asked + 1
        elif act == "due":
            for one in at.due():
                try:
                    told.write(one.entry)
                except LedgerError:
                    at.put_back(one)
        elif act in ("break", "mend"):
            told.broken = act == "break"
        else:
            disk.now = act  # type: ignore[assignment]
    told.entries += at.end()
    assert told.total() == asked
    for entry in told.entries:
        assert entry.first <= entry.last
        assert msgspec.json.decode(msgspec.json.encode(entry), type=Entry) == entry
