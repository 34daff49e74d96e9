"""`pratique learn`: from what a gate observed to a policy that can be set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pratique.granting.desk import Desk
from pratique.model.privilege import Subject
from pratique.store.line import Entry, Who
from pratique.store.place import open_place


def observed(*needed: str, who: str = "ann", **more: Any) -> Entry:
    """Return what `enforce.keeper` writes of a denial while it only observes."""
    subject = Subject(id=who, provider="unix", strength=1)
    detail = {"action": "run", "reference": "reg.example/app:1", "observed": "true"}
    given = {"rule": f"privilege {needed[0]}", "detail": detail} | more
    return Entry(event="decision", subject=Who.of(subject), decision="deny", needed=needed, point="docker", **given)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Desk(open_place(None)) as at:
        yield at


def test_from_ledger_to_policy(desk: Desk, call: Any, tmp_path: Path) -> None:
    """What was observed is proposed, what was denied is not; the file can be set, and `can` says what it gives."""
    for number in range(12):
        desk.record(observed("run.hostport:80", who=("ann", "ben")[number % 2]))
    desk.record(observed("run.privileged"))
    desk.record(observed("run.cap:SYS_ADMIN", detail={"action": "run"}))  # a real denial
    ran = call("learn", "--name", "from-docker")
    assert ran.code == 0
    assert "SYS_ADMIN" not in ran.out
    assert "13 observations: 12 by the baseline, 1 by request, 0 denied still" in ran.err
    (tmp_path / "learnt.yaml").write_text(ran.out)
    assert call("grant", "policy", "set", tmp_path / "learnt.yaml").code == 0
    assert call("can", "run.hostport:80").code == 0
    assert "--ticket TICKET" in call("can", "run.privileged", "--as", "unix:ann").out
    assert "SYS_ADMIN" in call("learn", "--denied").out
    assert call("learn", "--format", "json").json["by_baseline"] == 12


def test_from_files_of_other_machines(desk: Desk, call: Any, tmp_path: Path) -> None:
    """The lines that `audit show` prints are read back; what is none is named by its line."""
    for _ in range(3):
        desk.record(observed("run.root"))
    lines = call("audit", "show", "--event", "decision", "--format", "json").out
    (tmp_path / "a.jsonl").write_text(lines)
    ran = call("learn", tmp_path / "a.jsonl", tmp_path / "a.jsonl", "--often", "6")
    assert (ran.code, "6 observations: 6 by the baseline" in ran.err) == (0, True)
    (tmp_path / "b.jsonl").write_text(lines + "nonsense\n")
    ran = call("learn", tmp_path / "b.jsonl")
    assert (ran.code, "b.jsonl:4: not a line" in ran.err) == (3, True)
    assert call("learn", tmp_path / "none").code == 2


def test_nothing_observed(desk: Desk, call: Any) -> None:
    """Without observations there is nothing to propose, and it is said how to get some."""
    desk.record(observed("run.root", detail={}))
    ran = call("learn")
    assert (ran.code, ran.out, "--observe" in ran.err) == (3, "", True)
    assert call("learn", "--since", "0d").code == 3


def test_without_a_store(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ledger is no answer."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "none"))
    assert call("learn").code == 3


def test_what_the_policy_gives_already_is_not_proposed_again(desk: Desk, call: Any, tmp_path: Path) -> None:
    """Learning twice proposes the same: neither a line of the baseline twice, nor an entitlement beside its like."""
    for needed in ["run.root"] * 12 + ["run.cap:NET_ADMIN"] * 3:
        desk.record(observed(needed))
    first = call("learn")
    assert first.code == 0, first.err
    assert "# To be answered: who approves?" in first.out
    assert "# To be answered: who breaks the glass?" in first.out
    (tmp_path / "first.yaml").write_text(first.out)
    again = call("learn", "--policy", tmp_path / "first.yaml")
    assert again.code == 0, again.err
    assert again.out.count("run.root") == 1
    assert again.out.count("NET_ADMIN") == 1
    assert "12 by the baseline, 3 by request, 0 denied still" in again.err
    (tmp_path / "other.yaml").write_text(first.out.replace("unix:ann'", "unix:ben'"))
    assert call("learn", "--policy", tmp_path / "other.yaml").out.count("NET_ADMIN") == 2
