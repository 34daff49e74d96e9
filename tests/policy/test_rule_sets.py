"""The rule sets named after benchmarks: what they see is what the checks say, and the rest is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pratique.lint.catalogue import catalogue
from pratique.policyfiles import load_policy

PAGE = (Path(__file__).parents[2] / "docs/reference/benchmarks.md").read_text("utf-8")
CIS = {f"4.{number}" for number in range(1, 13)} | {f"5.{number}" for number in range(1, 33)}
NIST = {f"4.1.{n}" for n in range(1, 6)} | {f"4.2.{n}" for n in range(1, 4)}
NIST |= {f"4.{section}.{n}" for section in (3, 4, 5) for n in range(1, 6)} | {"4.6"}


def part(title: str) -> str:
    """One chapter of the page."""
    return re.split(r"^## ", PAGE.split(f"## {title}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def controls(name: str, prefix: str) -> set[str]:
    """The numbers in the names of a set's rules."""
    found = (re.match(rf"{prefix}-(\d[\d.]*\d)", entry.rule.id) for entry in load_policy(name).rules)
    return {match[1] for match in found if match}


def ranges(text: str) -> set[str]:
    """The numbers of a text; 4.5.1 to 4.5.4 are four."""
    text = re.sub(
        r"(\d+\.\d+\.)(\d+) to \1(\d+)", lambda m: " ".join(m[1] + str(n) for n in range(int(m[2]), int(m[3]) + 1)), text
    )
    return set(re.findall(r"\b\d(?:\.\d+)+", text))


@pytest.mark.parametrize(
    ("name", "prefix", "title", "every"),
    [("cis-docker", "cis-docker", "CIS Docker", CIS), ("nist-800-190", "nist", "NIST", NIST)],
)
def test_each_control_is_covered_or_told(name: str, prefix: str, title: str, every: set[str]) -> None:
    """No control is forgotten, and none is both."""
    text = part(title)
    told = ranges(text.split("Not covered:")[1])
    seen = controls(name, prefix)
    assert seen | told >= every
    assert not seen & told
    assert seen <= ranges("".join(line for line in text.splitlines() if line.startswith(("| 4", "| 5"))))


def test_each_check_of_a_control_has_its_rule() -> None:
    """What the catalogue says goes against CIS Docker or the Pod Security Standards is asked for."""
    said = {name for check in catalogue().values() for name in check.benchmarks}
    asked = {name for entry in load_policy("cis-docker").rules for name in re.findall(r"'(CIS Docker [\d.]+)'", entry.rule.when)}
    assert asked == {name for name in said if name.startswith("CIS Docker ")}
    texts = {name: " ".join(entry.rule.when for entry in load_policy(name).rules) for name in ("pss-baseline", "pss-restricted")}
    for check in catalogue().values():
        for benchmark in check.benchmarks:
            if benchmark.startswith("PSS "):
                profile = benchmark.split()[1]
                assert f"'{check.id}'" in texts[f"pss-{profile}"], check.id
                assert (f"'{check.id}'" in texts["pss-baseline"]) is (profile == "baseline"), check.id


def test_checks_that_rules_name_are_there() -> None:
    """A check that was renamed would else be asked for in vain."""
    known = set(catalogue())
    for name in ("cis-docker", "nist-800-190", "pss-baseline", "pss-restricted"):
        for entry in load_policy(name).rules:
            named = set(re.findall(r"'((?:df|ct|im|k8s|pss)-[a-z-]+[a-z])'", entry.rule.when))
            assert named <= known, entry.rule.id


def test_what_has_to_be_examined() -> None:
    """A scan looks at what the set is about without being asked."""
    assert {name: set(load_policy(name).examine) for name in ("cis-docker", "nist-800-190", "slsa", "pss-baseline", "kev")} == {
        "cis-docker": {"configuration"},
        "nist-800-190": {"configuration", "attestations"},
        "slsa": {"attestations"},
        "pss-baseline": set(),
        "kev": set(),
    }
