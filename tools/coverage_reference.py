"""Write docs/reference/lint-coverage.md: the rules of others, and which checks cover them, or why none does.

usage: python tools/coverage_reference.py [--check]
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pratique.lint.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "lint-coverage.md"
RULES = ROOT / "tools" / "lint_coverage.toml"
HEAD = """# Rules of others, and what covers them

What `pratique lint` covers of the rules that people know from elsewhere. A rule is *covered* where its check speaks on what
the rule is about; what is left out is said. The Pod Security Standards have checks of their own, control by control and by
version of the cluster: {doc}`checks`, section *Pod Security Standards*.

*This page is written by `tools/coverage_reference.py`.*
"""
STANDARDS = {
    "baseline": (
        "HostProcess, host namespaces, privileged, capabilities, hostPath, host ports, host probes and hooks (1.34), AppArmor,"
        " SELinux, /proc mount type, seccomp, sysctls"
    ),
    "restricted": (
        "volume types, privilege escalation, running as non-root, non-root user (1.23), seccomp, capabilities (1.22), /proc"
        " mount type in user namespaces (1.35)"
    ),
}


def read() -> list[dict[str, Any]]:
    """Return the sources with their rules."""
    sources: list[dict[str, Any]] = tomllib.loads(RULES.read_text("utf-8"))["source"]
    return sources


def covering() -> dict[str, list[str]]:
    """Return the checks that say they cover a rule, by its full name."""
    found: dict[str, list[str]] = {}
    for check in catalogue().values():
        for name in check.benchmarks:
            found.setdefault(name, []).append(check.id)
    return found


def faults() -> list[str]:
    """Return what is wrong: rules that nothing explains, and checks that name a rule that is not listed."""
    covered = covering()
    wrong = []
    for source in read():
        listed = {f"{source['name']} {rule['id']}" for rule in source["rules"]}
        own = (name for name in covered if name.startswith(f"{source['name']} "))
        wrong += [f"{name}: no such rule is listed" for name in own if name not in listed]
        for rule in source["rules"]:
            name = f"{source['name']} {rule['id']}"
            reasons = [key for key in ("no", "by") if key in rule]
            if (name in covered) == bool(reasons) or (name not in covered and "part" in rule):
                wrong.append(f"{name}: {'covered, and said not to be' if name in covered else 'neither covered nor explained'}")
    return wrong


def answer(rule: Mapping[str, str], checks: list[str]) -> str:
    """Return what covers a rule, or why nothing does."""
    if checks:
        told = ", ".join(f"`{name}`" for name in checks)
        return f"{told}; not: {rule['part']}" if "part" in rule else told
    return f"*elsewhere:* {rule['by']}" if "by" in rule else f"*no:* {rule['no']}"


def page() -> str:
    """Return the whole page."""
    covered = covering()
    return "\n".join([HEAD, *_standards(), *(line for source in read() for line in _section(source, covered))]).rstrip() + "\n"


def _standards() -> Iterator[str]:
    yield from ("## Pod Security Standards, from 1.25", "", "| profile | controls, each with a check `pss-...` |", "|---|---|")
    yield from (f"| {name} | {controls} |" for name, controls in STANDARDS.items())
    yield ""


def _section(source: Mapping[str, Any], covered: Mapping[str, list[str]]) -> Iterator[str]:
    rules = source["rules"]
    count = sum(f"{source['name']} {rule['id']}" in covered for rule in rules)
    yield from (f"## {source['title']}", "", f"{count} of {len(rules)} covered. {source['about']}", "")
    yield from ("| rule | asks for | covered by |", "|---|---|---|")
    for rule in rules:
        checks = covered.get(f"{source['name']} {rule['id']}", [])
        yield f"| {rule['id']} | {rule['says']} | {answer(rule, checks)} |"
    yield ""


def main() -> int:
    """Write the page, or say whether it is up to date; 1 where rules and checks do not fit together."""
    wrong = faults()
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text("utf-8") == page() else 1
    PAGE.write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
