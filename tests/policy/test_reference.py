"""What the pages on policies list is what there is."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import msgspec
import pytest

from policying import HEAD, policy
from pratique.policy.document import CaseFinding, Override, PolicySpec, Rule, Waiver, Waivers, read
from pratique.policy.variables import PATHS, VARIABLES
from pratique.policy.waiver import FACTS, check_waivers
from pratique.policyfiles import shipped

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference/policy.md").read_text("utf-8")
GUIDE = (DOCS / "guides/policy.md").read_text("utf-8")


def test_names() -> None:
    """Every name with its type and meaning, and none that is not."""
    listed = {
        row[0]: row[1:] for row in re.findall(r"^\| `([a-z]+\.[a-z_]+|now)` \| ([^|]+) \| ([^|]+) \|$", REFERENCE, re.MULTILINE)
    }
    assert [path for path in PATHS if f"`{path}`" not in REFERENCE] == []
    known = {name: (v.type, v.doc) for name, v in VARIABLES.items() if not name.startswith("severity.") and name not in PATHS}
    assert known.items() <= listed.items()
    assert {
        name for name in listed if name.partition(".")[0] in {"finding", "package", "image", "context", "gap"}
    } <= known.keys()


@pytest.mark.parametrize("kind", [PolicySpec, Rule, Override, Waiver, CaseFinding])
def test_fields(kind: type[msgspec.Struct]) -> None:
    """Every field that people may write."""
    fields = {field.encode_name for field in msgspec.structs.fields(kind)} - {
        "places",
        "nodes",
        "legacy",
        "signed_by",
        "unsigned",
    }
    assert {field for field in fields if f"`{field}`" not in REFERENCE and f"`spec.{field}`" not in REFERENCE} == set()


def test_rule_sets_and_facts() -> None:
    """Every rule set and every condition of `until`."""
    assert [name for name in shipped() if f"| `{name}` |" not in GUIDE] == []
    assert [fact for fact in FACTS if f"`{fact}`" not in REFERENCE] == []


def test_examples_of_the_guide() -> None:
    """They are what they say."""
    files = re.findall(r"```yaml\n(apiVersion.*?)```", GUIDE, re.DOTALL)
    body = next(text for text in files if "kind: Policy\n" in text).partition("spec:\n")[2]
    base = "rules:\n- {id: end-of-life, when: \"finding.kind == 'eol'\", effect: warn}\n"
    assert len(policy(textwrap.dedent(body), {"recommended": base}).rules) == 3
    document, text = read("w", next(text for text in files if "kind: Waivers" in text).encode(), Waivers)
    assert check_waivers(text, document)[0].id == "w-1"
    assert HEAD.startswith("apiVersion")
