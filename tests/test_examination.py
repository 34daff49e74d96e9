"""Jobs in, outcomes out, in this process: what the confined one does."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

import imagebuilder
from imagebuilder import symlink
from pratique import examination
from pratique.examination import Job, Outcome, serve, thread_count
from pratique.model.inventory import Evidence, Gap, PackageEvidence
from pratique.model.ports import File, Interest


class Reader:
    """Wants files named w and the path etc/w; a package named by its content."""

    name = "reader"
    version = 1
    interest = Interest(names=("w",), paths=("etc/exact",))

    def inspect(self, file: File) -> Iterator[Evidence | Gap]:
        yield PackageEvidence(type="generic", name=file.read().decode("utf-8", "surrogateescape"), version="1")


class Line:
    """A channel within one process."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._batches = [msgspec.msgpack.encode([job]) for job in jobs]
        self.sent: queue.Queue[bytes] = queue.Queue()

    def send(self, data: bytes) -> None:
        self.sent.put(data)

    def receive(self) -> bytes | None:
        return self._batches.pop(0) if self._batches else None


def examined(jobs: Sequence[Job], spools: Sequence[int] = (-1, -1)) -> dict[int, Outcome]:
    """Let two threads examine."""
    line = Line(jobs)
    serve(line, [Reader()], None, spools)
    decoder = msgspec.msgpack.Decoder(Outcome | examination.Advance)
    messages = [decoder.decode(line.sent.get()) for _ in range(line.sent.qsize())]
    return {message.index: message for message in messages if isinstance(message, Outcome)}


def job(path: Path, data: bytes, index: int = 0, **stated: str) -> Job:
    """Write a layer and name it."""
    path.write_bytes(data)
    return Job(index, str(path), 0, len(data), stated.get("diff_id", imagebuilder.digest(data)), stated.get("digest", ""), (0,))


def seen(outcome: Outcome) -> dict[str, str]:
    """What was seen, by path."""
    assert outcome.record is not None, outcome
    return {
        located.path: evidence.name
        for located in outcome.record.inspected["reader"].located
        for evidence in located.evidence
        if isinstance(evidence, PackageEvidence)
    }


def test_many_layers(tmp_path: Path) -> None:
    """Every job is answered once, in whatever order."""
    jobs = [job(tmp_path / str(number), imagebuilder.layer({"w": str(number)}), number) for number in range(30)]
    assert {index: seen(outcome) for index, outcome in examined(jobs).items()} == {
        number: {"w": str(number)} for number in range(30)
    }


def test_integrity(tmp_path: Path) -> None:
    """A layer that is not what it should be is answered so, plain or compressed, beside the good ones."""
    data = imagebuilder.layer({"w": "x"})
    jobs = [
        job(tmp_path / "a", data),
        job(tmp_path / "b", data, 1, diff_id="sha256:" + "0" * 64),
        job(tmp_path / "c", imagebuilder.compress(data, "gzip"), 2, diff_id="sha256:" + "0" * 64),
        job(tmp_path / "d", data, 3, digest="sha256:" + "0" * 64),
    ]
    found = examined(jobs)
    assert seen(found[0]) == {"w": "x"}
    assert all(found[number].integrity for number in (1, 2, 3))


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """A missing file, and one that is shorter than stated, are answers."""
    gone = job(tmp_path / "gone", b"x" * 1024)
    (tmp_path / "gone").unlink()
    short = job(tmp_path / "short", imagebuilder.layer({"w": "x"}), 1)
    (tmp_path / "short").write_bytes(b"")
    found = examined([gone, short])
    assert found[0].failure
    assert found[1].integrity or found[1].failure


def test_names_that_no_document_can_carry(tmp_path: Path) -> None:
    """Evidence with bytes that are not text becomes a gap; the rest of the layer stays."""
    found = examined([job(tmp_path / "a", imagebuilder.layer({"a/w": b"\xff", "b/w": "fine"}))])
    assert seen(found[0]) == {"b/w": "fine"}
    record = found[0].record
    assert record is not None
    assert [gap.path for gap in record.inspected["reader"].gaps] == ["a/w"]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_exact_paths_that_are_links(tmp_path: Path, compression: imagebuilder.Compression) -> None:
    """A database that is a link to another place in the layer is read there."""
    data = imagebuilder.layer({"etc/exact": symlink("../moved/file"), "moved/file": "x"})
    stored = job(tmp_path / "a", imagebuilder.compress(data, compression), diff_id=imagebuilder.digest(data))
    assert seen(examined([stored])[0]) == {"etc/exact": "x"}


def test_links_in_folders_are_not_silent(tmp_path: Path) -> None:
    """A folder's database that is a link is not read through it, and that is known."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "exact").symlink_to("../moved")
    found = examined([Job(0, str(tmp_path), 0, -1, "", "rootfs", (0,))])
    record = found[0].record
    assert record is not None
    assert record.tree.elsewhere == {b"etc/exact": b"moved"}


def test_threads() -> None:
    """At least one, at most four, no more than two a layer."""
    assert thread_count(0) == 1
    assert 1 <= thread_count(100) <= examination.MAX_THREADS
