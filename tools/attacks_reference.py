"""Write docs/reference/attacks.md from the attempts that the tests make, so that the list is what is tried and nothing else.

usage: python tools/attacks_reference.py [--check]
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "attacks.md"
ATTACKS = ROOT / "tests" / "enforce" / "attacks"
BENIGN = ROOT / "tests" / "enforce" / "benign"
GATES = {"docker": "Docker", "podman": "Podman", "kubernetes": "Kubernetes", "registry": "Registry"}
STOPS = {
    "edge": "at the request",
    "runtime": "when it starts",
    "desk": "where grants are given",
    "revocation": "when its grant ends",
    "closed": "it runs without it",
}
# How the ledger's words for what is no privilege read.
_RULES = {
    "unreadable": "ambiguous", "privilege": "the privileges it needs", "identity": "nobody knows who asks",
    "ledger": "its uses are spent",
}  # fmt: skip
HEAD = """# Attempts to get around the gates

<!-- Written by tools/attacks_reference.py from tests/enforce/attacks. -->

Each of these is data that the tests run against a real engine, API server or registry. It is first shown to work without the
gate, so that it proves something; behind the gate nothing of it happens, and the ledger has the denial. Beside them stand
operations of every day, of which none may be denied and each must come to the right result.

{figures}

"At the request" is the engine's plugin, before the engine does anything; "when it starts" is the gate in front of the
runtime, which looks at what would really run; "it runs without it" is what was let through with what it was after taken away.
"""
TAIL = """## What these gates do not see

- **Root's Podman** is decided at its runtime, so what never comes there is not decided: `podman cp`, `podman mount`,
  `podman volume import`, `podman build --isolation chroot`, and a `--runtime` of the caller's choice. Whoever may run all of
  `podman` as root is root. Let people run it through a rule of sudo that fixes the command and the runtime.
- **A person's own Podman** chooses its runtime itself: there the gate is advice.
- **Reading** is open at Docker's gate: who may use the front socket sees every container's description, logs and files
  (`docker inspect`, `logs`, `cp` out), and may stop, rename and remove containers. That takes nothing from the machine, and
  something from the neighbours.
- **Named volumes** belong to nobody: whoever may run a container may mount any volume that is no path of the machine.
- **Folders that may be written** (`mounts: [".../**:rw"]`) bring numbers of users back to the machine: a container that runs as
  1000 writes there as the machine's 1000, set-user-ID bits included. Mount them `nosuid`, and give each team its own.
- **Clients over TLS** speak to the engine itself, not to the front socket. An engine goes by the first of two `Content-Type`
  headers and shows its plugin the last, so that parameters of a build or a pull can be hidden in a form; the front socket makes
  the two one. What a build's steps and a container really get is decided at the runtime either way.
- **Artifacts in a registry** (charts, modules of tools, models) are given out without a verdict where no container engine could
  run them. What another tool makes of them is between it and whoever pushed them. Readers of a repository see by `HEAD`, tags and
  indexes which digests it has, denied ones included; and whoever has the layers of an image already does not need the registry.
- **The engine's place in the network**: a build's `remote`, an import and a log driver connect from there.
"""


def _attacks(kind: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for path in sorted((ATTACKS / kind).glob("*.toml")):
        file = tomllib.loads(path.read_text(encoding="utf-8"))
        yield file["family"], file["attack"]


def _operations(kind: str) -> int:
    return sum(len(tomllib.loads(path.read_text(encoding="utf-8"))["operation"]) for path in (BENIGN / kind).glob("*.toml"))


def _row(attack: dict[str, Any]) -> str:
    stopped = attack.get("stopped", {})
    where = STOPS[stopped["at"]] if stopped else "at the API server"
    rules = str(stopped.get("rule", attack.get("rule", ""))).split("|")
    rule = " or ".join(_RULES.get(one, one.removeprefix("privilege ")) for one in rules)
    what = str(attack["what"]).replace("|", "\\|")
    return f"| {attack['name']} | {what} | {where} | {rule} |"


def _registry_row(attack: dict[str, Any]) -> str:
    shown = f"at a gate that does not check: {attack['missing']}" if "missing" in attack else "on the registry itself"
    shown = attack.get("only-gated", shown)
    refused = attack.get("refused", {})
    answer = " or ".join(map(str, refused.get("status", [403])))
    return f"| {attack['name']} | {attack['what']} | {shown} | {answer} |"


def page() -> str:
    """Return the page."""
    parts, figures = [], ["| gate | attempts | operations of every day |", "|---|---|---|"]
    for kind, gate in GATES.items():
        families = list(_attacks(kind))
        if not families:
            continue
        # Podman does the same operations as Docker, but for those that it does not know.
        operations = str(_operations(kind)) if _operations(kind) else "those of Docker that it knows"
        figures.append(f"| {gate} | {sum(len(attacks) for _, attacks in families)} | {operations} |")
        parts.append(f"## {gate}\n")
        for family, attacks in families:
            title = [f"### {family}\n"] if family != gate else []
            rows = ["| attempt | what it is | stopped | needs, or denied as |", "|---|---|---|---|", *map(_row, attacks), ""]
            if kind == "registry":
                head = ["| attempt | what it is | shown to work | answer of the gate |", "|---|---|---|---|"]
                rows = [*head, *map(_registry_row, attacks), ""]
            parts += [*title, "\n".join(rows)]
    return "\n".join([HEAD.format(figures="\n".join(figures)), *parts, TAIL])


def main(words: list[str]) -> int:
    """Write the page, or say whether it is as it should be."""
    if words == ["--check"]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
