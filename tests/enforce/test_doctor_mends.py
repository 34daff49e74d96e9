"""What `pratique doctor` says is to be done, done as it stands."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from pratique.cli.main import run
from pratique.enforce.docker import install
from pratique.enforce.docker.install import Options
from pratique.enforce.doctor import engine, images, records, runtimes, ways
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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root can look at a machine")
def test_the_store_is_that_of_the_gate_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root's own store, which commands take by themselves, is not looked at in its place; a store that is named is."""
    place = filled(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "of-root"))
    for module in (engine, ways, runtimes, images):
        monkeypatch.setattr(module, "look", lambda *_: [])
    options: list[Options | None] = [Options(program="/opt/pratique", store=str(place.folder)), None]
    monkeypatch.setattr(install, "installed", lambda _: options[0])

    def looked(*words: str) -> dict[str, str]:
        capsys.readouterr()
        run(["doctor", "--engine", str(tmp_path / "none"), "-f", "json", *words])
        return {one["check"]: one["colour"] for one in json.loads(capsys.readouterr().out)["checks"]}

    assert looked()["ledger"] == "green"
    assert looked("--store", str(tmp_path / "other")) == {"store": "red"}
    options.pop(0)
    assert looked() == {"store": "red"}
