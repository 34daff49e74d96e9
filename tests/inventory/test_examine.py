"""Inspectors that fail in every way, and what is left of their layer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from memoryfile import MemoryFile
from pratique.inventory import examine as module
from pratique.inventory.examine import Examiner
from pratique.model.errors import BudgetExceededError, ParseError
from pratique.model.inventory import Gap, PackageEvidence
from pratique.model.layer import NOBODY, Selection
from pratique.model.ports import File, Interest


class Reader:
    """Does what it is told."""

    version = 1

    def __init__(self, name: str, inspect: Callable[[File], Iterator[Any]], max_bytes: int = 100) -> None:
        self.name = name
        self.inspect = inspect
        self.interest = Interest(names=("x",), max_bytes=max_bytes)


def sees(file: File) -> Iterator[Any]:
    """See one package, named by the content."""
    yield PackageEvidence(type="generic", name=file.read().decode(), version="1")


def fails(error: BaseException) -> Callable[[File], Iterator[Any]]:
    """See one package, then raise."""

    def inspect(file: File) -> Iterator[Any]:
        yield from sees(file)
        raise error

    return inspect


BOTH = Selection((0, 1), 100, content=False)


def look(*readers: Reader, path: bytes = b"d/x", data: bytes = b"p", size: int = -1) -> Examiner:
    """Show one file to two readers."""
    examiner = Examiner(readers)
    examiner.look(path, BOTH, MemoryFile("d/x", data), len(data) if size < 0 else size)
    return examiner


ALLOWED = [
    ParseError("damaged"),
    BudgetExceededError("too much"),
    ValueError("v"),
    KeyError("k"),
    IndexError("i"),
    struct.error("s"),
    UnicodeDecodeError("utf-8", b"", 0, 1, "u"),
    RecursionError("r"),
    EOFError("e"),
    OverflowError("o"),
    OSError("file is gone"),
]


@pytest.mark.parametrize("error", ALLOWED, ids=lambda error: type(error).__name__)
def test_unreadable_files(error: Exception) -> None:
    """What a parser may raise is a gap that names file and inspector; what was seen before counts, as do the others."""
    inspected = look(Reader("bad", fails(error)), Reader("good", sees)).inspected()
    [gap] = inspected["bad"].gaps
    assert (gap.code, gap.path) == ("inventory.unreadable", "d/x")
    assert gap.message.startswith("bad: ")
    assert len(inspected["bad"].located) == len(inspected["good"].located) == 1
    assert not inspected["good"].gaps


@pytest.mark.parametrize("error", [AttributeError("a"), TypeError("t"), AssertionError("!"), RuntimeError("r")])
def test_defects(error: Exception) -> None:
    """A bug in an inspector is called one, and hides nothing else."""
    inspected = look(Reader("bad", fails(error)), Reader("good", sees)).inspected()
    [gap] = inspected["bad"].gaps
    assert (gap.code, gap.path) == ("inventory.defect", "d/x")
    assert "bad" in gap.message
    assert type(error).__name__ in gap.message
    assert len(inspected["good"].located) == 1


def test_memory() -> None:
    """A file that needs too much memory is too large."""
    [gap] = look(Reader("bad", fails(MemoryError())), Reader("good", sees)).inspected()["bad"].gaps
    assert gap.code == "inventory.too-large"


def test_interrupts_pass() -> None:
    """Only errors are caught."""
    with pytest.raises(KeyboardInterrupt):
        look(Reader("bad", fails(KeyboardInterrupt())), Reader("good", sees))


def test_too_large_for_one_only() -> None:
    """Each inspector has its own limit; without a file nobody reads."""
    inspected = look(Reader("small", sees, max_bytes=3), Reader("large", sees), data=b"four").inspected()
    assert [gap.code for gap in inspected["small"].gaps] == ["inventory.too-large"]
    assert len(inspected["large"].located) == 1
    examiner = Examiner([Reader("small", sees), Reader("large", sees)])
    examiner.look(b"d/x", BOTH, None, 1 << 40)
    assert {gap.code for part in examiner.inspected().values() for gap in part.gaps} == {"inventory.too-large"}


def test_gaps_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image floods the report: after a thousand gaps one says that there are more."""
    monkeypatch.setattr(module, "MAX_GAPS", 10)
    examiner = Examiner([Reader("bad", fails(ValueError("v")))])
    for number in range(50):
        examiner.look(b"d/%d" % number, Selection((0,), 100, content=False), MemoryFile("x", b"p"), 1)
    gaps = examiner.inspected()["bad"].gaps
    assert len(gaps) == 11
    assert gaps[-1].code == "inventory.too-many"


def test_evidence_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that shows packages without end is cut, and the gap says so."""
    monkeypatch.setattr(module, "MAX_EVIDENCE", 100)

    def endless(_file: File) -> Iterator[Any]:
        while True:
            yield PackageEvidence(type="generic", name="x", version="1")

    inspected = look(Reader("endless", endless), Reader("good", sees)).inspected()
    assert len(inspected["endless"].located[0].evidence) <= 101
    assert inspected["endless"].gaps


def test_a_later_entry_replaces_all_that_was_seen() -> None:
    """Evidence and gaps of a path are forgotten when it is written again, or by something nobody wants."""
    examiner = look(Reader("bad", fails(ValueError("v"))), Reader("good", sees))
    examiner.look(b"d/x", Selection((1,), 100, content=False), MemoryFile("d/x", b"q"), 1)
    inspected = examiner.inspected()
    assert not inspected["bad"].located
    assert not inspected["bad"].gaps
    [located] = inspected["good"].located
    assert [one.name for one in located.evidence if isinstance(one, PackageEvidence)] == ["q"]
    examiner.look(b"d/x", NOBODY, None, 0)
    assert not examiner.inspected()["good"].located


def test_an_inspector_s_own_gaps() -> None:
    """A gap that an inspector yields is kept beside its evidence."""

    def partly(file: File) -> Iterator[Any]:
        yield Gap(code="inventory.invalid", message="one entry", path="d/x")
        yield from sees(file)

    inspected = look(Reader("partly", partly), Reader("good", sees)).inspected()["partly"]
    assert [gap.code for gap in inspected.gaps] == ["inventory.invalid"]
    assert len(inspected.located) == 1


def test_raw_paths() -> None:
    """A path that is not UTF-8 keeps its bytes beside the text."""
    examiner = look(Reader("good", sees), Reader("other", sees), path=b"d/\xff")
    [located] = examiner.inspected()["good"].located
    assert (located.path, located.raw) == ("d/\\xff", b"d/\xff")
