"""The hooks for pre-commit: which files they take, that what they run works, and the real program where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))}
Call = Callable[..., Any]

FILES = {
    "pratique-dockerfile": ["Dockerfile", "a/app.Dockerfile", "Containerfile.dev", "dockerfile-ci"],
    "pratique-compose": ["compose.yaml", "docker-compose.yml", "a/docker-compose.prod.yml", "compose.override.yaml"],
    "pratique-fix": ["Dockerfile"],
}
BAD = {
    "pratique-dockerfile": ("Dockerfile", "FROM debian:12\nUSER root\n"),
    "pratique-compose": ("compose.yaml", "services: {a: {image: 'b:1', privileged: true}}\n"),
    "pratique-kubernetes": (
        "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {hostPID: true, containers: [{name: c, image: x}]}\n",
    ),
}  # fmt: skip
NOT_TAKEN = ["Dockerfile.md", "x.dockerignore", ".dockerignore", "mycompose.txt", "Dockerfile.py", "decompose.yml.bak"]


def taken(hook: dict[str, Any], path: str) -> bool:
    """Choose as pre-commit does: by `files`, less `exclude`."""
    return bool(re.search(hook.get("files", ""), path)) and not (hook.get("exclude") and re.search(hook["exclude"], path))


@pytest.mark.parametrize("name", FILES)
def test_files(name: str) -> None:
    """Each hook takes what its title says, and nothing else."""
    assert all(taken(HOOKS[name], path) for path in FILES[name])
    assert not any(taken(HOOKS[name], path) for path in NOT_TAKEN)


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_entry(name: str, call: Call, tmp_path: Path) -> None:
    """What a hook runs refuses a bad file, lets a good one pass, and YAML of others, too."""
    words = [*HOOKS[name]["entry"].split(), *HOOKS[name].get("args", [])]
    assert words[0] == "pratique"
    if name == "pratique-fix":
        path = tmp_path / "Dockerfile"
        path.write_text("FROM debian:12\nADD a.py /x\nUSER 1\n")
        assert call(*words[1:], path).code == 0
        assert "COPY" in path.read_text()
        return
    path = tmp_path / BAD[name][0]
    path.write_text(BAD[name][1])
    assert call(*words[1:], path).code == 1
    if name == "pratique-kubernetes":
        path.write_text("on: push\njobs: {}\n")
        assert call(*words[1:], path).code == 0


def test_with_pre_commit(tmp_path: Path) -> None:
    """The real program runs the hooks, each with the program that is tested here."""
    program = shutil.which("pre-commit")
    if program is None:
        pytest.skip("pre-commit is not installed")
    hooks = [{**hook, "language": "system"} for hook in HOOKS.values()]
    (tmp_path / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": hooks}]}))
    for name, text in BAD.values():
        (tmp_path / name).write_text(text)
    (tmp_path / "workflow.yaml").write_text("on: push\n")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(tmp_path), "PRE_COMMIT_HOME": str(tmp_path / "c")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, env=environment)

    run("git", "init", "-q")
    run("git", "add", ".")
    ran = run(program, "run", "--all-files")
    results = {line.split("...")[0].strip("."): line.rsplit(".", 1)[-1] for line in ran.stdout.splitlines() if "..." in line}
    assert ran.returncode == 1
    assert {hook["name"]: results[hook["name"]] for hook in hooks} == {
        hook["name"]: "Passed" if hook["id"] == "pratique-fix" else "Failed" for hook in hooks
    }
