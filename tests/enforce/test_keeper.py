"""What a gate knows of grants is what the store has, after any number of changes, kept up piece by piece."""

from __future__ import annotations

from pathlib import Path

from pratique.enforce.keeper import Keeper
from pratique.grant.index import GrantIndex
from pratique.grant.lifecycle import Complete, Revoke
from pratique.grant.privileges import parse
from pratique.grant.request import Target
from pratique.model.privilege import LIVE_STATES, Asked, Scope, Subject, Task
from reviewing import DEV, ONCALL, POLICY
from storing import place_in


def test_an_index_that_is_kept_up_is_one_that_is_built(tmp_path: Path) -> None:
    """Requests, approvals, ends, of two people, one change at a time and several at once."""
    keeper = Keeper(place_in(tmp_path))
    keeper.desk.set_policy("policy.yaml", POLICY, ONCALL)
    other = Subject(id="other", provider="k8s", strength=2)
    names: list[str] = []

    def same() -> None:
        snapshot = keeper.live()
        kept = keeper._grants(snapshot)
        built = GrantIndex(grant for grant in snapshot.grants.values() if grant.state in LIVE_STATES)
        assert len(kept) == len(built)
        for subject in (DEV, other):
            for text in ("exec.any", "exec.root", "run.cap:CHOWN"):
                found = [[one.grant for one in index.candidates(subject, parse(text), Target())] for index in (kept, built)]
                assert sorted(found[0], key=str) == sorted(found[1], key=str)

    same()
    for number in range(12):
        subject = (DEV, other)[number % 2]
        privileges = (("exec.any",), ("exec.root", "run.cap:ALL"))[number % 3 == 0]
        task = Task(id=f"T-{number}", purpose="x")
        asked = Asked(subject=subject, task=task, privileges=privileges, scope=Scope(), lifetime=600.0, uses=0)
        names.append(keeper.desk.request(asked).id)
        if number % 4:
            same()
        keeper.desk.approve(names[-1], ONCALL)
        same()
        if number % 3 == 2:
            keeper.desk.act(names[number - 2], Revoke(ONCALL))
            keeper.desk.act(names[number - 1], Complete((DEV, other)[(number - 1) % 2]))
            same()
    keeper.close()
