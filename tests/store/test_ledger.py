"""The ledger: appended to by many at once, and what a writer that died left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
from pathlib import Path

import msgspec
import pytest

from pratique.model.errors import LedgerError, StoreError
from pratique.store import files
from pratique.store.head import SLOT, read_slots
from pratique.store.ledger import Ledger
from pratique.store.line import MAX_LINE, Tree, decode, leaf
from pratique.store.place import Place
from pratique.store.reading import Filter, lines
from pratique.store.verify import verify
from storing import beside, entry, filled, place_in

APPEND = """
import sys
from pathlib import Path
from pratique.store.ledger import Ledger
from pratique.store.place import open_place
from storing import entry
ledger = Ledger(open_place(Path(sys.argv[1])), segment_bytes=20_000)
for number in range(int(sys.argv[3])):
    receipt = ledger.append(entry(number, node=sys.argv[2]))
    print(receipt.seq, flush=True)
"""


def sound(place: Place) -> int:
    """Verify a ledger; return its lines."""
    outcome = verify(place)
    assert outcome.problems == []
    assert not outcome.unsure
    return outcome.lines


def test_each_line_names_the_one_before(tmp_path: Path) -> None:
    """Lines are canonical JSON, numbered from 0, each with the hash of the one before."""
    place = filled(tmp_path, 3, close=False)
    raw = (place.ledger / "00000001.jsonl").read_bytes().splitlines()
    assert [decode(line).seq for line in raw] == [0, 1, 2, 3]
    assert [decode(line).prev for line in raw[1:]] == [leaf(line).hex() for line in raw[:-1]]
    assert decode(raw[0]).prev == "0" * 64
    assert raw[1].startswith(b'{"decision":"allow_with_grant","event":"use"')
    assert sound(place) == 4


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Every file of a store is its owner's alone."""
    place = filled(tmp_path, 3)
    for path in [place.folder, *place.folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_segments_close_when_full(tmp_path: Path) -> None:
    """A full segment ends with a signed root, and the next one goes on."""
    place = filled(tmp_path, 40)
    names = sorted(path.name for path in place.ledger.iterdir())
    assert names[0] == "00000001.jsonl"
    assert len(names) > 3
    assert sound(place) == 40 + 2 * len(names)


def test_segments_close_at_midnight(tmp_path: Path) -> None:
    """Another day is another segment."""
    now = [1_800_000_000.0]
    ledger = Ledger(place_in(tmp_path), clock=lambda: now[0])
    ledger.append(entry())
    now[0] += 86_400
    ledger.append(entry())
    ledger.close()
    assert len(list((tmp_path / "store" / "ledger").iterdir())) == 2
    assert sound(place_in(tmp_path)) == 5


def test_a_clock_set_back_is_recorded(tmp_path: Path) -> None:
    """Lines stay in order of what happened, and one says that the clock went back."""
    now = [1_800_000_000.0]
    ledger = Ledger(place_in(tmp_path), clock=lambda: now[0])
    ledger.append(entry())
    now[0] -= 3600
    ledger.append(entry())
    ledger.append(entry())
    ledger.close()
    events = [line.event for line in lines(place_in(tmp_path))]
    assert events == ["use", "clock", "use", "use"]
    sound(place_in(tmp_path))


def test_threads_share_a_write(tmp_path: Path) -> None:
    """Every thread gets its own place in the order, and all are on disk."""
    ledger = Ledger(place_in(tmp_path))
    seen: list[int] = []

    def work(name: int) -> None:
        seen.extend(ledger.append(entry(number, node=f"n{name}")).seq for number in range(50))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()
    assert sorted(seen) == list(range(1, 401))
    assert sound(place_in(tmp_path)) == 401


def test_processes_take_turns(tmp_path: Path) -> None:
    """Several processes append at once, over several segments: one order, no line lost."""
    place = place_in(tmp_path)
    running = [beside(APPEND, place.folder, f"n{name}", 60) for name in range(4)]
    seen = [int(number) for process in running for number in process.communicate()[0].split()]
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert len(set(seen)) == 240
    sound(place)
    found = list(lines(place, Filter(events=("use",))))
    assert sorted(line.seq for line in found) == sorted(seen)


def test_a_fork_opens_it_anew(tmp_path: Path) -> None:
    """A child that inherits an open ledger takes turns with its parent."""
    ledger = Ledger(place_in(tmp_path))
    ledger.append(entry())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for number in range(20):
                ledger.append(entry(number))
            code = 0
        finally:
            os._exit(code)
    for number in range(20):
        ledger.append(entry(number))
    assert os.waitpid(child, 0)[1] == 0
    ledger.close()
    assert sound(place_in(tmp_path)) == 42


def test_killed_writers_lose_nothing_that_was_answered(tmp_path: Path) -> None:
    """Writers killed at any moment: what was answered is there, and the ledger goes on and verifies."""
    place = place_in(tmp_path)
    answered: list[int] = []
    for turn in range(6):
        process = beside(APPEND, place.folder, f"n{turn}", 100_000)
        assert process.stdout is not None
        answered.extend(int(process.stdout.readline()) for _ in range(15 + 7 * turn))
        process.send_signal(signal.SIGKILL)
        answered += [int(number) for number in process.communicate()[0].split()]
        ledger = Ledger(place)
        ledger.append(entry())
        ledger.close()
        sound(place)
    there = {line.seq for line in lines(place)}
    assert set(answered) <= there


@pytest.mark.parametrize("whole", [0, 1, 3])
@pytest.mark.parametrize("torn", [b"", b'{"decision":"allow', b"\0\0\0\0"])
def test_what_a_dead_writer_left_is_settled(tmp_path: Path, whole: int, torn: bytes) -> None:
    """Whole lines after the head are taken in and said; half a line is put aside and said; neither is dropped."""
    place = filled(tmp_path, 4, close=False)
    before = place.head.read_bytes()
    ledger = Ledger(place)
    for number in range(whole):
        ledger.append(entry(number, node="left"))
    ledger.close()
    place.head.write_bytes(before)
    with (place.ledger / "00000001.jsonl").open("ab") as file:
        file.write(torn)
    left = verify(place)
    assert left.problems == []
    assert len(left.notes) == (whole > 0) + (torn != b"")
    ledger = Ledger(place)
    ledger.append(entry(99))
    ledger.close()
    found = list(lines(place))
    assert sum(line.node == "left" for line in found) == whole
    said = {line.event: line.detail for line in found if line.event in ("recovered", "torn")}
    assert said.get("recovered", {}).get("lines", "0") == str(whole)
    if torn:
        assert (place.folder / said["torn"]["file"]).read_bytes() == torn
    assert verify(place).notes == []
    sound(place)


def test_a_writer_that_died_between_segments(tmp_path: Path) -> None:
    """A segment that was closed, or begun, or half begun, without the head saying so, goes on."""
    for cut in (0, 10, 10_000):
        place = filled(tmp_path / str(cut), 4, close=False)
        ledger = Ledger(place)
        ledger.seal()
        before = place.head.read_bytes()
        ledger.append(entry(5))
        ledger.close()
        place.head.write_bytes(before)
        path = place.ledger / "00000002.jsonl"
        path.write_bytes(path.read_bytes()[:cut])
        assert verify(place).problems == []
        ledger = Ledger(place)
        ledger.append(entry(6))
        ledger.close()
        sound(place)
        assert [line.task for line in lines(place)][-1] == "T-6"


def test_a_beginning_cut_short_is_taken_up_again(tmp_path: Path) -> None:
    """A process that dies while it makes a ledger leaves one that the next can use."""
    whole = filled(tmp_path / "whole", 1, close=False)
    place = place_in(tmp_path)
    shutil.copytree(whole.keys, place.keys)
    (place.keys / "anchor.json").unlink()
    ledger = Ledger(place)
    ledger.append(entry())
    ledger.close()
    assert sound(place) == 2


@pytest.mark.parametrize("what", ["head", "ledger", "secret", "keys", "slot", "line", "more"])
def test_a_ledger_that_is_not_as_it_was_takes_no_more(tmp_path: Path, what: str) -> None:
    """Whatever part is missing or changed, no line is added as if nothing had happened."""
    place = filled(tmp_path, 4, close=False)
    segment = place.ledger / "00000001.jsonl"
    if what == "head":
        place.head.unlink()
    elif what == "ledger":
        shutil.rmtree(place.ledger)
        place.ledger.mkdir(mode=0o700)
    elif what == "secret":
        (place.keys / "secret").write_bytes(b"short")
    elif what == "keys":
        (place.keys / "ledger-1.key").unlink()
    elif what == "slot":
        content = bytearray(place.head.read_bytes())
        content[20] ^= 1
        place.head.write_bytes(content)
    elif what == "line":
        segment.write_bytes(segment.read_bytes()[:-5])
    else:
        with segment.open("ab") as file:
            file.write(segment.read_bytes().splitlines(keepends=True)[-1])
    ledger = Ledger(place)
    with pytest.raises(StoreError):
        ledger.append(entry())
    with pytest.raises(StoreError):
        ledger.append(entry())


def test_an_edited_segment_is_not_signed(tmp_path: Path) -> None:
    """Who edits an open segment does not get a signature under it later."""
    place = filled(tmp_path, 4, close=False)
    segment = place.ledger / "00000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"T-2"', b'"T-9"'))
    ledger = Ledger(place)
    with pytest.raises(LedgerError, match="changed"):
        ledger.seal()


def test_a_ledger_of_another_store_is_refused(tmp_path: Path) -> None:
    """Ledger and head of another store, put in the place of ours, take no line."""
    place, other = filled(tmp_path / "a", 4), filled(tmp_path / "b", 4)
    shutil.rmtree(place.ledger)
    shutil.copytree(other.ledger, place.ledger)
    shutil.copy(other.head, place.head)
    with pytest.raises(StoreError):
        Ledger(place).append(entry())


def test_a_lock_that_is_held_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that hangs with the lock ends in an error, not in a hang."""
    place = filled(tmp_path, 2)
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    held = os.open(place.lock, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(LedgerError, match="another process"):
        Ledger(place).append(entry())
    os.close(held)
    Ledger(place).append(entry())


FULL = """
import resource, sys
from pathlib import Path
from pratique.model.errors import LedgerError
from pratique.store.ledger import Ledger
from pratique.store.place import open_place
from storing import entry
ledger = Ledger(open_place(Path(sys.argv[1])))
ledger.append(entry())
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
done = 0
try:
    while True:
        ledger.append(entry(done))
        done += 1
except LedgerError as error:
    print(done, error)
try:
    ledger.append(entry(done))
except LedgerError:
    print("still")
"""


def test_a_full_disk_ends_in_an_error(tmp_path: Path) -> None:
    """What does not fit is not there, what was answered is, and the ledger is whole."""
    place = place_in(tmp_path)
    out, err = beside(FULL, place.folder).communicate()
    assert err == ""
    first, second = out.splitlines()
    assert "cannot be written" in first
    assert second == "still"
    assert sound(place) == int(first.split()[0]) + 2
    Ledger(place).append(entry())
    sound(place)


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    """What cannot be opened is an error of the ledger."""
    place = place_in(tmp_path)
    place.head.mkdir()
    with pytest.raises(StoreError):
        Ledger(place).append(entry())


def test_key_rotation(tmp_path: Path) -> None:
    """The old key signs for the new one and is deleted; other processes go on with the new one."""
    place = filled(tmp_path, 4, close=False)
    ledger, other = Ledger(place), Ledger(place)
    other.append(entry(1))
    old, new = ledger.rotate_key()
    assert old != new
    other.append(entry(2))
    ledger.rotate_key()
    other.append(entry(3))
    outcome = verify(place)
    assert outcome.problems == []
    assert len(outcome.notes) == 2
    assert [path.name for path in place.keys.glob("*.key")] == ["ledger-3.key"]


def test_a_rotation_cut_short(tmp_path: Path) -> None:
    """A key that was made but not yet used is endorsed when the next segment begins."""
    place = filled(tmp_path, 4)
    writing = Ledger(place)
    writing.keys.add()
    writing.append(entry())
    assert verify(place).problems == []
    assert len(verify(place).notes) == 1


def test_words_are_hashed_by_the_store(tmp_path: Path) -> None:
    """The same words have the same hash in one store only, and words are told apart by where they end."""
    one, two = Ledger(place_in(tmp_path / "a")), Ledger(place_in(tmp_path / "b"))
    assert one.hashed(["psql", "-c"]) == one.hashed(["psql", "-c"])
    assert one.hashed(["psql", "-c"]) != two.hashed(["psql", "-c"])
    assert one.hashed(["ab", "c"]) != one.hashed(["a", "bc"])
    assert one.hashed(["\udcff"]).startswith("hmac-sha256:")


def test_text_that_is_no_text(tmp_path: Path) -> None:
    """Half a surrogate pair, line breaks and quotes end in one line that reads back."""
    ledger = Ledger(place_in(tmp_path))
    ledger.append(entry(reason='a\nb "prev":"x" \udcff', detail={"mac": '"mac":"' + "0" * 32 + '"'}))
    with pytest.raises(LedgerError, match="at most"):
        ledger.append(entry(reason="x" * MAX_LINE))
    ledger.append(entry())
    found = list(lines(place_in(tmp_path)))
    assert found[0].reason == 'a\nb "prev":"x" \\udcff'
    assert sound(place_in(tmp_path)) == 3


def test_details_cannot_pass_for_the_line_itself(tmp_path: Path) -> None:
    """Names that the line's own parts have are changed in details, so that nothing is found in their place."""
    ledger = Ledger(place_in(tmp_path))
    ledger.append(entry(detail={"mac": "0" * 32, "prev": "0" * 64, "seq": "1", "event": "open", "other": "x"}))
    ledger.append(entry())
    assert sound(place_in(tmp_path)) == 3
    found = next(lines(place_in(tmp_path)))
    assert set(found.detail) == {"mac_", "prev_", "seq_", "event_", "other"}
    assert found.mac != "0" * 32


def test_one_bad_entry_fails_alone(tmp_path: Path) -> None:
    """An entry that is too long does not take those of other threads with it, and nothing of it is written."""
    ledger = Ledger(place_in(tmp_path))
    failed: list[int] = []

    def work(number: int) -> None:
        try:
            ledger.append(entry(number, reason="x" * (MAX_LINE if number % 4 == 0 else 1)))
        except LedgerError:
            failed.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(failed) == list(range(0, 40, 4))
    assert sum(line.event == "use" for line in lines(place_in(tmp_path))) == 30
    sound(place_in(tmp_path))


def test_slots_are_written_in_turn(tmp_path: Path) -> None:
    """Both slots hold a head that verifies, one write apart."""
    place = filled(tmp_path, 5, close=False)
    heads, wrong = read_slots(place)
    assert wrong == []
    assert [head.count for head in heads] == [6, 6]
    assert heads[0].loose is msgspec.UNSET, "the last write says that all is on disk"
    assert str(heads[1].loose).startswith("1 ")
    assert place.head.stat().st_size == 2 * SLOT


def test_the_tree_is_that_of_rfc_6962() -> None:
    """Roots are those of a naive reading of RFC 6962, section 2.1, for every count up to 40."""
    import hashlib

    def naive(leaves: list[bytes]) -> bytes:
        if not leaves:
            return hashlib.sha256(b"").digest()
        if len(leaves) == 1:
            return leaves[0]
        split = 1
        while split * 2 < len(leaves):
            split *= 2
        return hashlib.sha256(b"\1" + naive(leaves[:split]) + naive(leaves[split:])).digest()

    for count in range(41):
        leaves = [leaf(str(number).encode()) for number in range(count)]
        assert Tree(leaves).root() == naive(leaves).hex()
