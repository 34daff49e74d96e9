"""Every attack on a ledger is found, and said where and what."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pratique.model.errors import StoreError
from pratique.store.head import read_slots
from pratique.store.keys import Keys
from pratique.store.ledger import Ledger
from pratique.store.line import Tree, canonical, decode, leaf, make
from pratique.store.place import Place
from pratique.store.verify import Expected, Problem, verify
from pratique.store.writer import seal_payload
from storing import entry, filled, place_in


def segment(place: Place, number: int) -> Path:
    return place.ledger / f"{number:08d}.jsonl"


def raw(place: Place, number: int) -> list[bytes]:
    return segment(place, number).read_bytes().splitlines(keepends=True)


def write(place: Place, number: int, lines: list[bytes]) -> None:
    segment(place, number).write_bytes(b"".join(lines))


def last(place: Place) -> int:
    return len(list(place.ledger.iterdir()))


def edit(place: Place) -> None:
    lines = raw(place, 2)
    lines[3] = lines[3].replace(b"alice", b"mallo")
    write(place, 2, lines)


def edit_last(place: Place) -> None:
    lines = raw(place, last(place))
    lines[-1] = lines[-1].replace(b'"time":"2', b'"time":"3')
    write(place, last(place), lines)


def drop(place: Place) -> None:
    lines = raw(place, 2)
    del lines[3:5]
    write(place, 2, lines)


def swap(place: Place) -> None:
    lines = raw(place, 2)
    lines[3], lines[4] = lines[4], lines[3]
    write(place, 2, lines)


def duplicate(place: Place) -> None:
    lines = raw(place, 2)
    lines.insert(3, lines[3])
    write(place, 2, lines)


def move(place: Place) -> None:
    """Move a line into another segment."""
    lines, other = raw(place, 2), raw(place, 3)
    other.insert(2, lines.pop(3))
    write(place, 2, lines)
    write(place, 3, other)


def cut(place: Place) -> None:
    write(place, last(place), raw(place, last(place))[:-2])


def cut_within(place: Place) -> None:
    segment(place, last(place)).write_bytes(segment(place, last(place)).read_bytes()[:-7])


def cut_segments(place: Place) -> None:
    segment(place, last(place)).unlink()
    segment(place, last(place)).unlink()


def cut_all(place: Place) -> None:
    for path in place.ledger.iterdir():
        path.unlink()


def drop_first_segment(place: Place) -> None:
    segment(place, 1).unlink()


def drop_middle_segment(place: Place) -> None:
    segment(place, 2).unlink()


def renumber(place: Place) -> None:
    """Drop a segment, and close the gap in the names."""
    for number in range(2, last(place)):
        segment(place, number + 1).rename(segment(place, number))


def swap_segments(place: Place) -> None:
    one, other = raw(place, 2), raw(place, 3)
    write(place, 2, other)
    write(place, 3, one)


def append_forged(place: Place) -> None:
    tail = decode(raw(place, last(place))[-1].rstrip())
    forged = make(entry(7), (tail.seq + 1, tail.time, leaf(raw(place, last(place))[-1].rstrip()).hex()), b"guess")
    write(place, last(place), [*raw(place, last(place)), forged + b"\n"])


def append_segment(place: Place) -> None:
    write(place, last(place) + 1, raw(place, last(place)))


def stray(place: Place) -> None:
    (place.ledger / "00000002.jsonl.old").write_bytes(b"")


def rewrite(place: Place) -> None:
    """Edit a line and make all that follows consistent again, as far as that goes without keys."""
    before = ""
    for number in range(1, last(place) + 1):
        lines = []
        for line in raw(place, number):
            document = json.loads(line)
            if before:
                document["prev"] = before
            if document["seq"] == 12:
                document["decision"] = "deny"
            text = canonical(document)
            before = leaf(text).hex()
            lines.append(text + b"\n")
        write(place, number, lines)


def head_gone(place: Place) -> None:
    place.head.unlink()


def head_damaged(place: Place) -> None:
    content = bytearray(place.head.read_bytes())
    content[30] ^= 1
    place.head.write_bytes(content)


def key_swapped(place: Place) -> None:
    keys = Keys(place)
    (place.keys / "ledger-1.key").unlink()
    keys.add()


ATTACKS: dict[Callable[[Place], None], str] = {
    edit: "00000002.jsonl:4: changed",
    edit_last: "changed",
    drop: "00000002.jsonl:4: lines ",
    swap: "missing before",
    duplicate: "00000002.jsonl:5: repeated",
    move: "moved",
    cut: "cut off: 2 lines are missing",
    cut_within: "ends within a line",
    cut_segments: "cut off",
    cut_all: "cut off",
    drop_first_segment: "00000001.jsonl: missing",
    drop_middle_segment: "00000002.jsonl: missing",
    renumber: "does not open this segment",
    swap_segments: "does not open this segment",
    append_forged: "did not write",
    append_segment: "did not write",
    stray: "no segment",
    rewrite: "changed",
    head_gone: "head: missing",
    head_damaged: "slot 1 of the head",
    key_swapped: "keys: the private key here",
}


def said(problems: list[Problem]) -> list[str]:
    return [f"{problem.segment}{f':{problem.line}' if problem.line else ''}: {problem.text}" for problem in problems]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attacks_are_found(tmp_path: Path, attack: Callable[[Place], None]) -> None:
    """Each attack ends in a problem that says where and what."""
    place = filled(tmp_path, 40)
    assert verify(place).problems == []
    attack(place)
    problems = said(verify(place).problems)
    assert any(ATTACKS[attack] in problem for problem in problems), problems


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_attacks_are_found_without_the_secret(tmp_path: Path, attack: Callable[[Place], None]) -> None:
    """An auditor who has a copy without any key finds the same, or cannot tell; never that all is well."""
    place = filled(tmp_path, 40)
    attack(place)
    swapped = attack is key_swapped  # there is no key to look at
    shutil.rmtree(place.keys)
    outcome = verify(place)
    assert bool(outcome.problems) or outcome.unsure or swapped


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_change_of_one_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any byte of a closed ledger that is changed, taken out or put in is found."""
    folder = tmp_path_factory.getbasetemp() / "closed"
    if not folder.exists():
        filled(folder, 14, segment_bytes=2500)
    place = place_in(folder)
    path = segment(place, data.draw(st.integers(1, last(place))))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    how = data.draw(st.sampled_from(["change", "remove", "insert"]))
    changed = whole[:at] + (b"" if how == "remove" else bytes([byte])) + whole[at + (how != "insert") :]
    try:
        path.write_bytes(changed)
        assert verify(place).problems != []
    finally:
        path.write_bytes(whole)
    assert verify(place).problems == []


def test_an_open_ledger_is_checked_to_its_last_line(tmp_path: Path) -> None:
    """The lines that no seal covers yet are covered by the head."""
    place = filled(tmp_path, 3, close=False)
    path = segment(place, 1)
    whole = path.read_bytes()
    for changed in (whole.replace(b"alice", b"mallo"), whole[: whole.rindex(b"{")]):
        path.write_bytes(changed)
        assert verify(place).problems != []


def test_two_ledgers_spliced(tmp_path: Path) -> None:
    """Lines, segments and whole ledgers of another store are not ours."""
    one, two = filled(tmp_path / "a", 40), filled(tmp_path / "b", 40)
    lines = raw(one, 2)
    lines[3:6] = raw(two, 2)[3:6]
    write(one, 2, lines)
    assert "00000002.jsonl:4: changed, or of another ledger" in said(verify(one).problems)
    one = filled(tmp_path / "c", 40)
    shutil.copy(segment(two, 2), segment(one, 2))
    assert any("of another ledger: spliced in" in problem for problem in said(verify(one).problems))
    one = filled(tmp_path / "d", 40)
    shutil.rmtree(one.ledger)
    shutil.copytree(two.ledger, one.ledger)
    assert verify(one).problems != []
    shutil.copy(two.head, one.head)
    assert "head: of another ledger" in said(verify(one).problems)


def forged(folder: Path) -> tuple[Place, Place, str]:
    """Return a ledger, and one that somebody made anew with another key, but with the same name."""
    place = filled(folder / "a", 10)
    key = verify(place).head
    other = filled(folder / "b", 10)
    assert key is not None
    return place, other, key.key


def test_all_keys_exchanged(tmp_path: Path) -> None:
    """A ledger made anew with other keys is found by the key that it began with, or by a head that was published."""
    place, other, key = forged(tmp_path)
    assert verify(other).problems == []
    assert any("by the key given" in problem for problem in said(verify(other, Expected(key)).problems))
    published = verify(place).head
    assert published is not None
    problems = said(verify(other, Expected(heads=(published,))).problems)
    assert any("not by a key of this ledger" in problem for problem in problems)
    assert verify(place, Expected(key, (published,))).problems == []


def test_resealed_by_another_key(tmp_path: Path) -> None:
    """A seal by a key that the ledger does not know is found, and one whose root is of other lines."""
    place = filled(tmp_path, 40)
    signer, secret = Keys(place).add(), Keys(place).secret
    lines = raw(place, 1)
    seal = decode(lines[-1]).seal
    assert seal is not None
    mine = msgspec.structs.replace(seal, key=signer.key)
    before = decode(lines[-1])
    mine = msgspec.structs.replace(mine, signature=signer.sign(seal_payload(mine, before.prev)))
    lines[-1] = make(entry(event="seal"), (before.seq, before.time, before.prev), secret, seal=mine) + b"\n"
    write(place, 1, lines)
    assert any("sealed by another key" in problem for problem in said(verify(place).problems))


def test_who_has_the_keys_is_found_by_what_was_published(tmp_path: Path) -> None:
    """Who can sign can rewrite all since the last published head, and nothing before it."""
    place = filled(tmp_path, 40)
    published = verify(place).head
    assert published is not None
    keys = Keys(place)
    signer, secret = keys.newest(), keys.secret
    assert signer is not None
    head, before, tree = None, "", Tree()
    for number in range(1, last(place) + 1):
        lines = []
        tree = Tree()
        for line in raw(place, number):
            old = decode(line)
            changed = msgspec.structs.replace(old, decision="deny") if old.seq == 12 else old
            extra: dict[str, Any] = {}
            if old.opened:
                extra = {"opened": old.opened}
            if old.seal:
                seal = msgspec.structs.replace(old.seal, root=tree.root(), signature="")
                extra = {"seal": msgspec.structs.replace(seal, signature=signer.sign(seal_payload(seal, before)))}
            values = {name: getattr(changed, name) for name in entry().__struct_fields__}
            text = make(type(entry())(**values), (old.seq, old.time, before or old.prev), secret, **extra)
            tree.add(leaf(text))
            before = leaf(text).hex()
            lines.append(text + b"\n")
        write(place, number, lines)
    newest = read_slots(place)[0][0]
    size = segment(place, last(place)).stat().st_size
    head = msgspec.structs.replace(newest, hash=before, size=size).signed(signer)
    place.head.write_bytes(canonical(head).ljust(511) + b"\n")
    assert verify(place).problems == []
    assert any("history was rewritten" in problem for problem in said(verify(place, Expected(heads=(published,))).problems))


def test_a_rolled_back_store_is_found_by_what_was_published(tmp_path: Path) -> None:
    """An old copy of all files put back is whole by itself, and shorter than what was published."""
    place = filled(tmp_path, 10)
    shutil.copytree(place.folder, tmp_path / "old")
    ledger = Ledger(place)
    ledger.append(entry())
    published = ledger.head()
    ledger.close()
    shutil.rmtree(place.folder)
    shutil.copytree(tmp_path / "old", place.folder)
    assert verify(place).problems == []
    assert any("were published" in problem for problem in said(verify(place, Expected(heads=(published,))).problems))


def test_of_two_heads_for_one_line_one_is_wrong(tmp_path: Path) -> None:
    """Whoever rewrites the ledger and publishes again does not hide what was published before, whichever is read first."""
    place, other = filled(tmp_path / "a", 10), filled(tmp_path / "b", 10)
    mine, theirs = verify(place).head, verify(other).head
    assert mine is not None
    assert theirs is not None
    assert mine.count == theirs.count
    for heads in ((mine, theirs), (theirs, mine)):
        assert any("history was rewritten" in problem for problem in said(verify(place, Expected(heads=heads)).problems))


def test_a_store_put_back_is_found_by_an_end_that_was_noted(tmp_path: Path) -> None:
    """A number and a hash on a piece of paper are enough: of what was rewritten, and of what was put back."""
    place = filled(tmp_path, 10)
    shutil.copytree(place.folder, tmp_path / "old")
    ledger = Ledger(place)
    ledger.append(entry())
    end = ledger.head()
    ledger.close()
    noted = ((end.count, end.hash), (3, leaf(raw(place, 1)[2].rstrip()).hex()))
    assert verify(place, Expected(noted=noted)).problems == []
    wrong = verify(place, Expected(noted=((3, "0" * 64),)))
    assert said(wrong.problems) == ["00000001.jsonl:3: another line 2 was noted: history was rewritten"]
    shutil.rmtree(place.folder)
    shutil.copytree(tmp_path / "old", place.folder)
    assert any("was noted" in problem for problem in said(verify(place, Expected(noted=noted)).problems))


def test_a_rotated_ledger_verifies_and_a_key_nobody_endorsed_does_not(tmp_path: Path) -> None:
    """The first line of a segment with a new key carries the word of the former."""
    place = filled(tmp_path, 4)
    ledger = Ledger(place)
    ledger.rotate_key()
    ledger.seal()
    ledger.close()
    assert verify(place).problems == []
    lines = raw(place, 2)
    opened = json.loads(lines[0])
    opened["opened"]["endorsed"] = "00" * 64
    write(place, 2, [canonical(opened) + b"\n", *lines[1:]])
    assert any("does not endorse" in problem for problem in said(verify(place).problems))


def test_no_ledger_is_no_answer(tmp_path: Path) -> None:
    """Where there is none, that is said; where it was taken away, that is a problem."""
    with pytest.raises(StoreError, match="no ledger"):
        verify(place_in(tmp_path))
    place = filled(tmp_path, 3)
    shutil.rmtree(place.ledger)
    place.head.unlink()
    assert verify(place).problems != []


def test_lines_after_the_head_without_the_secret(tmp_path: Path) -> None:
    """Without the secret nobody can tell a dead writer's lines from forged ones."""
    place = filled(tmp_path, 3, close=False)
    before = place.head.read_bytes()
    ledger = Ledger(place)
    ledger.append(entry())
    ledger.close()
    place.head.write_bytes(before)
    (place.keys / "secret").unlink()
    outcome = verify(place)
    assert outcome.problems == []
    assert outcome.unsure


def test_garbage_ends_in_problems_and_not_too_many(tmp_path: Path) -> None:
    """A ledger of nonsense ends in a bounded number of problems."""
    place = filled(tmp_path, 30)
    segment(place, 1).write_bytes(b"\n".join(b"x%d" % number for number in range(5000)))
    segment(place, 2).write_bytes(b"y" * 300_000)
    assert 1 < len(verify(place).problems) <= 100
