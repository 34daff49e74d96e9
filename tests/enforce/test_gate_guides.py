"""What the guides on admission and the registry's gate show is what the program reads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pratique.enforce.admission import load_admission
from pratique.enforce.registry.access import load_access

GUIDES = Path(__file__).parents[2] / "docs/guides"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def _blocks(name: str, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall((GUIDES / name).read_text()) if kind == language]


def test_the_files_that_are_shown_can_be_read(tmp_path: Path) -> None:
    """Each is a whole file, or says in words that it is a part."""
    seen = 0
    for name in ("admission.md", "registry-gate.md"):
        for number, body in enumerate(_blocks(name, "yaml")):
            path = tmp_path / f"{name}-{number}.yaml"
            path.write_text(body)
            if "kind: Admission" in body:
                assert load_admission(path).fail_on == ("kev",)
                seen += 1
            elif "kind: RegistryAccess" in body:
                assert len(load_access(path).readers) == 4
                seen += 1
    assert seen == 2


def test_every_field_of_an_admission_policy_is_listed() -> None:
    """The table has each name that can be written, and no other."""
    from pratique.enforce.admission import AdmissionSpec

    text = (GUIDES / "admission.md").read_text()
    table = text[text.index("## Fields") :]
    listed = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert listed == set(AdmissionSpec.__struct_encode_fields__) - {"places", "nodes"}


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("registry-gate.md", ("gate registry", "gate registry user", "gate registry config", "grant request")),
        ("admission.md", ("gate docker", "gate kubernetes serve", "gate registry", "gate ci", "scan", "audit show")),
        (
            "least-privilege.md",
            (
                "can",
                "lint",
                "learn",
                "gate docker",
                "gate docker install",
                "grant policy check",
                "grant request",
                "grant approve",
                "grant key add",
                "break-glass use",
                "break-glass seal",
                "break-glass alert",
                "break-glass review",
                "audit verify",
                "audit show",
            ),
        ),
    ],
)
def test_the_options_that_are_shown_are_there(name: str, commands: tuple[str, ...]) -> None:
    """Each option of a guide is one of the commands that it speaks of."""
    known: set[str] = set()
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "pratique", *words.split(), "--help"], capture_output=True, text=True, check=True
        )
        known |= set(OPTION.findall(done.stdout))
    of_docker = {"--privileged", "--cap-add"}
    assert set(OPTION.findall((GUIDES / name).read_text())) - known - of_docker == set()
