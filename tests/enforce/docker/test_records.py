"""What the gate remembers of containers: across its restarts, on a full disk, whatever lies in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pratique.enforce.docker.records import Approved, Records
from pratique.grant.request import Request, Target
from pratique.model.privilege import Subject

ALICE = Subject(id="alice", provider="unix", groups=("dev",), strength=1)
ID = "a" * 64


def record(identifier: str = ID, **more: object) -> Approved:
    request = Request(subject=ALICE, action="run", point="docker", target=Target(host="h", labels={"tier": "web"}))
    return Approved(id=identifier, subject=ALICE, session="s", grants=("g-1",), elevated=True, request=request, **more)  # type: ignore[arg-type]


def test_kept_across_restarts(tmp_path: Path) -> None:
    Records(tmp_path).remember(record(at=12.5))
    found = Records(tmp_path)
    assert found.container(ID) == record(at=12.5)
    found.ended(ID)
    again = Records(tmp_path).container(ID)
    assert again is not None
    assert (again.grants, again.elevated) == ((), True), "that it was elevated stays known"
    found.forget(ID)
    assert Records(tmp_path).container(ID) is None
    assert found.container(ID) is None


def test_damage_is_as_if_it_had_never_been(tmp_path: Path) -> None:
    Records(tmp_path).remember(record())
    (tmp_path / "containers" / ID).write_bytes(b'{"id": ')
    (tmp_path / "containers" / "no-id").write_text("{}")
    (tmp_path / "containers" / ("b" * 64)).mkdir()
    assert Records(tmp_path).containers() == []


@pytest.mark.parametrize("identifier", ["", "../x", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_what_is_no_id_is_not_written(tmp_path: Path, identifier: str) -> None:
    with pytest.raises(ValueError, match="64 digits"):
        Records(tmp_path).remember(record(identifier))
    Records(tmp_path).forget(identifier)


def test_a_full_disk_costs_nothing_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Records(tmp_path)

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    known.remember(record())
    assert known.container(ID) == record()
    assert list((tmp_path / "containers").iterdir()) == []


def test_commands_are_forgotten_with_the_process(tmp_path: Path) -> None:
    known = Records(tmp_path)
    known.remember_command(record("c" * 64, container=ID))
    assert [one.container for one in known.commands()] == [ID]
    known.forget_command("c" * 64)
    known.forget_command("c" * 64)
    assert known.command("c" * 64) is None
    assert Records(tmp_path).commands() == []
