"""What the quick commands import, and what shells complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from pratique.cli.schemas import DOCUMENTS

Call = Callable[..., Any]
# Each costs more than the rest of the start together; docs of the hot path have the figures.
HEAVY = frozenset(
    ("asyncio", "cryptography", "fastapi", "http", "httpx2", "isal", "lxml", "msgspec", "multiprocessing", "rich", "socket")
).union(("sqlalchemy", "sqlite3", "ssl", "tomllib", "urllib.request", "uvicorn", "yaml", "zstandard"))
_SCRIPT = """
import sys
from pratique.cli.main import run
code = run(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_nothing_heavy(arguments: list[str]) -> None:
    """--version and --help import no HTTP client, no database, no event loop, no room of this program."""
    command = [sys.executable, "-c", _SCRIPT, *arguments]
    modules = set(subprocess.run(command, check=True, capture_output=True, text=True).stderr.split())
    assert modules.isdisjoint(HEAVY)
    ours = {name for name in modules if name.startswith("pratique.")}
    assert ours == {
        "pratique._version",
        "pratique.cli",
        "pratique.cli.lazy",
        "pratique.cli.main",
        "pratique.model",
        "pratique.model.errors",
    }


def test_schemas(call: Call) -> None:
    """Every schema is one, and is printed; an unknown name is bad usage."""
    for name in DOCUMENTS:
        ran = call("schema", name)
        assert ran.code == 0
        jsonschema_rs.meta.validate(ran.json)
        assert ran.json["$id"].startswith("urn:pratique:schema:")
    assert call("schema", "nonsense").code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(call: Call, shell: str) -> None:
    """Each shell has its script."""
    ran = call("completion", shell)
    assert ran.code == 0
    assert f"{shell}_complete" in ran.out


def test_bash_completes(call: Call, tmp_path: Path) -> None:
    """A real bash that reads the script completes commands and options."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash, which is not installed")
    (tmp_path / "script").write_text(call("completion", "bash").out)
    program = tmp_path / "pratique"
    program.write_text(f"#!{sys.executable}\nfrom pratique.cli.main import main\nmain()\n")
    program.chmod(0o755)
    ask = 'source script; COMP_WORDS=(pratique {0}); COMP_CWORD={1}; _pratique_completion pratique; echo "${{COMPREPLY[@]}}"'
    for words, number, expected in (("sc", 1, {"scan", "schema"}), ("scan --fail", 2, {"--fail-on"})):
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        command = [bash, "--norc", "-c", ask.format(words, number)]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        assert set(ran.stdout.split()) == expected
