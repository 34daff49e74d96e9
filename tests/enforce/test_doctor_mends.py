"""What `pratique doctor` says is to be done, done as it stands."""

from __future__ import annotations

import shlex
from pathlib import Path

from pratique.cli.main import run
from pratique.enforce.doctor import records
from pratique.granting import publishing
from pratique.granting.desk import Desk
from storing import filled


def test_each_mend_names_the_store(tmp_path: Path) -> None:
    """Pasted as it stands it mends this store, and not another that is somebody's by default."""
    place = filled(tmp_path)
    policy, heads = tmp_path / "policy.yaml", tmp_path / "heads.jsonl"
    policy.write_text("apiVersion: pratique/v1\nkind: PrivilegePolicy\nmetadata: {name: a}\nspec: {}\n")
    for check, file in (("policy", policy), ("heads", heads)):
        (found,) = [one for one in records.look(place) if one.check == check]
        assert found.colour == "amber"
        words = shlex.split(found.mend.partition(";")[0].replace("FILE", str(file)))
        assert words[0] == "pratique"
        assert run(words[1:]) == 0
        with Desk(place) as desk:
            publishing.publish(desk)  # as a gate does that runs
        (found,) = [one for one in records.look(place) if one.check == check]
        assert found.colour == "green", found
