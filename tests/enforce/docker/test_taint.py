"""What was written beyond the baseline is known by its layer, in whatever image it stands."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Any

import pytest

from pratique.enforce.docker.taint import Taints

BASE, DIRTY, MORE = "sha256:base", "sha256:dirty", "sha256:more"
NOW = 1_790_000_000.0
MAKER = "c" * 64


def image(number: int, *layers: str, at: float = NOW) -> dict[str, Any]:
    created = dt.datetime.fromtimestamp(at, dt.UTC).isoformat().replace("+00:00", "Z")
    return {"Id": f"sha256:{number:064x}", "Created": created, "RootFS": {"Type": "layers", "Layers": list(layers)}}


def test_its_layer_is_tainted_wherever_it_stands(tmp_path: Path) -> None:
    known = Taints(tmp_path)
    assert not known
    known.add(image(1, BASE, DIRTY), (BASE,))
    for again in (known, Taints(tmp_path)):
        assert again
        assert again.holds(image(1, BASE, DIRTY))
        assert again.holds(image(2, BASE, DIRTY, MORE))
        assert again.holds(image(3, "sha256:other", DIRTY))
        assert not again.holds(image(4, BASE))
        assert not again.holds(image(5, BASE, MORE))
        assert not again.holds({})


def test_one_that_wrote_nothing_taints_itself_alone(tmp_path: Path) -> None:
    known = Taints(tmp_path)
    known.add(image(1, BASE), (BASE,))
    assert known.holds(image(1, BASE))
    assert not known.holds(image(2, BASE, MORE))


def test_a_layer_with_nothing_in_it_taints_no_other(tmp_path: Path) -> None:
    """Builders write the same one for each step that changes nothing."""
    empty = f"sha256:{hashlib.sha256(bytes(1024)).hexdigest()}"
    known = Taints(tmp_path)
    known.add(image(1, BASE, empty), (BASE,))
    for again in (known, Taints(tmp_path)):
        assert again.holds(image(1, BASE, empty))
        assert not again.holds(image(2, BASE, empty, MORE))


def test_upon_a_base_that_is_gone_the_last_layer_counts(tmp_path: Path) -> None:
    known = Taints(tmp_path)
    known.add(image(1, BASE, MORE, DIRTY), ("sha256:gone",))
    assert known.holds(image(2, DIRTY))
    assert not known.holds(image(3, BASE, MORE))


def test_while_it_is_being_made_what_may_be_it_is_suspect(tmp_path: Path) -> None:
    known = Taints(tmp_path)
    known.begun(MAKER, (BASE,), NOW)
    assert known.holds(image(1, BASE, DIRTY, at=NOW + 5))
    assert not known.holds(image(2, BASE, MORE, at=NOW - 60)), "it was there before"
    assert not known.holds(image(3, BASE, at=NOW + 5)), "it is the base"
    known.add(image(1, BASE, DIRTY), (BASE,))
    known.found(MAKER)
    assert not known.holds(image(4, BASE, MORE, at=NOW + 6))
    assert known.holds(image(5, DIRTY))


def test_what_nobody_saw_the_end_of_is_looked_for(tmp_path: Path) -> None:
    known = Taints(tmp_path)
    known.begun(MAKER, (BASE,), NOW)
    assert not known.lost(NOW + 5000), "this process sees the end"
    again = Taints(tmp_path)
    assert again.holds(image(1, BASE, DIRTY, at=NOW + 5))
    assert not again.lost(NOW + 5), "the engine may be at work still"
    assert list(again.lost(NOW + 5000)) == [MAKER]
    again.unseen(MAKER, NOW + 10)
    assert list(again.lost(NOW + 11)) == [MAKER]
    assert not again.holds(image(2, BASE, MORE, at=NOW + 60)), "it was over by then"
    again.found(MAKER)
    assert not Taints(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_file_that_cannot_be_read_is_a_taint_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{1:064x}").write_bytes(content)
    (tmp_path / "README").write_text("not an image")
    known = Taints(tmp_path)
    assert known.holds(image(1, BASE))
    assert not known.holds(image(2, BASE))


def test_what_is_no_image_is_not_written(tmp_path: Path) -> None:
    known = Taints(tmp_path)
    known.add({"Id": "../../etc/passwd", "RootFS": {"Layers": [DIRTY]}}, ())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_costs_nothing_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Taints(tmp_path)

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    known.add(image(1, BASE, DIRTY), (BASE,))
    assert known.holds(image(2, DIRTY))
