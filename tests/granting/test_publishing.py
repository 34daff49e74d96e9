"""Where the ledger ends, published by gates: a store that was put back whole, or rewritten, is found by it."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pratique.enforce.doctor import records
from pratique.enforce.keeper import Keeper
from pratique.granting import publishing
from pratique.granting.clock import present
from pratique.granting.desk import Desk
from pratique.granting.publishing import Publishing, heads_in, publish, set_up, standing
from pratique.model.errors import CouldNotError, StoreError, UsageError
from pratique.model.privilege import Moment, Subject
from pratique.store.place import Place, open_place
from pratique.store.reading import lines
from pratique.store.verify import Expected, verify
from storing import entry, place_in

ROOT = Subject(id="root", provider="unix", strength=1)


class Clock:
    def __init__(self) -> None:
        self.wall = present().wall

    def __call__(self) -> Moment:
        return Moment(self.wall)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path)


@pytest.fixture
def desk(place: Place, clock: Clock) -> Iterator[Desk]:
    with Desk(place, clock=clock) as desk:
        yield desk


def counts(path: Path) -> list[int]:
    return [head.count for head in heads_in(str(path))]


def colour(place: Place, check: str) -> str:
    return next(one.colour for one in records.look(place) if one.check == check)


def test_it_is_published_while_the_ledger_goes_on(desk: Desk, clock: Clock, tmp_path: Path) -> None:
    """Once at the beginning; then when it is time, and there is something new."""
    path = tmp_path / "heads.jsonl"
    set_up(desk, Publishing(to=str(path), every=60.0), ROOT)
    first = counts(path)
    assert len(first) == 1
    publish(desk)  # the line that says so is new
    publish(desk)
    assert len(counts(path)) == 2
    desk.record(entry())
    publish(desk)
    assert len(counts(path)) == 2, "it is not time"
    clock.wall += 61
    publish(desk)
    assert len(counts(path)) == 3
    clock.wall += 61
    publish(desk)
    assert len(counts(path)) == 3, "nothing is new"
    assert path.stat().st_mode & 0o077 == 0
    assert [line.event for line in lines(desk.place)][:1] == ["publish"]


def test_a_store_put_back_is_found(desk: Desk, clock: Clock, tmp_path: Path) -> None:
    """By doctor, which knows where to look, and by whoever has the file."""
    place, path = desk.place, tmp_path / "heads.jsonl"
    set_up(desk, Publishing(to=str(path)), ROOT)
    publish(desk)
    assert (colour(place, "ledger"), colour(place, "heads")) == ("green", "green")
    shutil.copytree(place.folder, tmp_path / "backup")
    desk.record(entry())
    clock.wall += 601
    publish(desk)
    back = open_place(tmp_path / "backup")
    assert verify(back).problems == []
    assert verify(back, Expected(heads=heads_in(str(path)))).problems != []
    assert colour(back, "ledger") == "red"


def test_what_cannot_be_published_is_said(desk: Desk, clock: Clock, tmp_path: Path) -> None:
    """At the beginning nothing is changed then; later doctor says so, until it succeeds again."""
    desk.record(entry())
    assert colour(desk.place, "heads") == "amber"
    with pytest.raises(CouldNotError, match="not published"):
        set_up(desk, Publishing(to=str(tmp_path / "none" / "heads")), ROOT)
    assert standing(desk) == (None, None)
    folder = tmp_path / "there"
    folder.mkdir()
    set_up(desk, Publishing(to=str(folder / "heads"), every=10.0), ROOT)
    assert colour(desk.place, "heads") == "amber", "no gate has published yet"
    publish(desk)
    assert colour(desk.place, "heads") == "green"
    shutil.rmtree(folder)
    desk.record(entry())
    clock.wall += 11
    publish(desk)
    outcome = standing(desk)[1]
    assert outcome is not None
    assert "No such file" in outcome.error
    assert colour(desk.place, "heads") == "amber"
    folder.mkdir()
    clock.wall += 11
    publish(desk)
    assert len(counts(folder / "heads")) == 1, "it is tried again though the ledger did not go on"
    assert colour(desk.place, "heads") == "green"
    set_up(desk, None, ROOT)
    clock.wall += 11
    publish(desk)
    assert standing(desk) == (None, None)
    assert colour(desk.place, "heads") == "amber"


def test_a_gate_publishes_by_itself(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a keeper has the ends published, and learns while it runs where to."""
    monkeypatch.setattr(publishing, "_LOOK", 0.02)
    keeper, path = Keeper(place), tmp_path / "heads.jsonl"
    with Desk(place) as desk:
        set_up(desk, Publishing(to=str(path)), ROOT)
    wait = threading.Event()
    for _ in range(3000):
        if len(counts(path)) == 2 or wait.wait(0.01):
            break
    assert len(counts(path)) == 2
    keeper.close()


@pytest.mark.parametrize(
    ("to", "every"), [("heads.jsonl", 600.0), ("", 600.0), ("/tmp/heads", 1.0), ("/tmp/heads", float("nan"))]
)
def test_what_cannot_be_meant_is_refused(desk: Desk, to: str, every: float) -> None:
    """A path that depends on where somebody stands, and what would keep the disk busy."""
    with pytest.raises(UsageError):
        set_up(desk, Publishing(to=to, every=every), ROOT)


def test_a_file_of_heads_is_hostile(tmp_path: Path) -> None:
    """What is no head is one error that names the file; a link is not written through."""
    path = tmp_path / "heads"
    path.write_text("nonsense\n")
    with pytest.raises(StoreError, match="heads"):
        heads_in(str(path))
    path.write_bytes(b'{"ledger": 5}\n')
    with pytest.raises(StoreError, match="heads"):
        heads_in(str(path))
    link = tmp_path / "link"
    link.symlink_to(path)
    with Desk(place_in(tmp_path)) as desk, pytest.raises(CouldNotError):
        publishing.send(desk.ledger.head(), str(link))


def test_half_a_line_costs_no_other(desk: Desk, clock: Clock, tmp_path: Path) -> None:
    """A disk that was full leaves one: what was published before and after it counts all the same."""
    path = tmp_path / "heads"
    set_up(desk, Publishing(to=str(path), every=10.0), ROOT)
    folder = path.rename(tmp_path / "kept")
    path.mkdir()
    publish(desk)
    path.rmdir()
    whole = folder.read_bytes()
    path.write_bytes(whole + whole[:100])
    clock.wall += 11
    publish(desk)
    first, last = counts(path)
    assert first < last
    path.write_bytes(path.read_bytes() + whole[:100])
    assert counts(path) == [first, last]


def test_of_many_heads_the_last_count(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that grew for years is no error, and does not fill the memory."""
    path = tmp_path / "heads"
    for number in range(10):
        desk.record(entry(number))
        publishing.send(desk.ledger.head(), str(path))
    every = counts(path)
    monkeypatch.setattr(publishing, "MAX_HEADS", path.stat().st_size // 2)
    assert every[-4:] == counts(path)[-4:]
    assert 4 <= len(counts(path)) < len(every)


def test_published_heads_that_nobody_can_read_are_said(desk: Desk, tmp_path: Path) -> None:
    """Without them the doctor holds the ledger against nothing."""
    path = tmp_path / "heads"
    set_up(desk, Publishing(to=str(path), every=60.0), ROOT)
    publish(desk)
    assert colour(desk.place, "heads") == "green"
    for spoilt in (b"nonsense\n", b"\n"):
        path.write_bytes(spoilt)
        assert colour(desk.place, "heads") == "amber"
    path.unlink()
    assert colour(desk.place, "heads") == "amber"


def test_heads_are_read_as_the_command_prints_them(desk: Desk, tmp_path: Path) -> None:
    """One JSON document a line, with its signature."""
    path = tmp_path / "heads"
    set_up(desk, Publishing(to=str(path)), ROOT)
    (said,) = [json.loads(line) for line in path.read_text().splitlines()]
    (head,) = heads_in(str(path))
    assert head.verifies()
    assert (said["count"], said["hash"]) == (head.count, head.hash)
