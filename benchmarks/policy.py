"""Rules and findings in, how long judging takes out: `python benchmarks/policy.py`. Fails above the budget."""

from __future__ import annotations

import statistics
import sys
import textwrap
import time

from pratique.model.finding import Epss, Finding, FindingPackage, Severity
from pratique.policy.compose import PolicySet, load
from pratique.policy.document import Waivers, read
from pratique.policy.engine import decide
from pratique.policy.facts import Subject
from pratique.policy.waiver import check_waivers

FINDINGS = 2_000
RULES = 20
RUNS = 15
BUDGET = 0.150  # seconds of one processor, for rules over findings, loading left out; the wall counts who else is there

CONDITIONS = (
    "finding.kev && finding.status == 'affected'",
    "finding.rank >= severity.critical && finding.fixable && package.name.startsWith('lib')",
    "finding.epss > 0.9 && now - finding.published > duration('720h')",
    "finding.aliases.exists(a, a.startsWith('GHSA-')) && finding.severity in ['high', 'critical'] && context.stage == 'ci'",
    "package.purl.matches('^pkg:npm/(left|right)-pad@') && !waiver.active",
)


def rules() -> PolicySet:
    """Twenty rules, of which some fire often and some never."""
    listed = "".join(
        f"- id: rule-{number}\n  effect: {'deny' if number % 2 else 'warn'}\n  when: |\n"
        f"    {CONDITIONS[number % len(CONDITIONS)]} && image.tag != '{number}'\n"
        for number in range(RULES)
    )
    head = "apiVersion: pratique/v1\nkind: Policy\nmetadata: {name: bench}\nspec:\n  rules:\n"
    return load("bench.yaml", (head + textwrap.indent(listed, "  ")).encode(), lambda _, name: (name, b""))


def findings() -> tuple[Finding, ...]:
    """Findings like those of a large image."""
    levels = list(Severity)
    return tuple(
        Finding(
            kind="vulnerability",
            id=f"CVE-2024-{number}",
            title="a vulnerability",
            severity=levels[number % len(levels)],
            fingerprint=f"{number:032x}",
            aliases=(f"GHSA-{number}",) if number % 2 else (),
            package=FindingPackage(purl=f"pkg:deb/debian/lib{number}@1", name=f"lib{number}", version="1"),
            fixed_in=("2",) if number % 3 else (),
            epss=Epss((number % 100) / 100, 0.5),
            kev=number % 50 == 0,
            published="2025-01-01T00:00:00Z",
        )
        for number in range(FINDINGS)
    )


def main() -> int:
    """Print the median of each case; return 1 above the budget."""
    entries = "".join(
        f"- {{vulnerability: CVE-2024-{number}, owner: o, reason: r, expires: 2027-01-01}}\n" for number in range(0, FINDINGS, 4)
    )
    document, text = read("w", f"apiVersion: pratique/v1\nkind: Waivers\nwaivers:\n{entries}".encode(), Waivers)
    waivers = check_waivers(text, document)
    subject, policy = Subject(findings=findings(), now="2026-01-01T00:00:00Z"), rules()
    medians = {}
    for name, under in (("without waivers", ()), (f"with {len(waivers)} waivers", waivers)):
        wall, processor = [], []
        for _ in range(RUNS):
            started, worked = time.perf_counter(), time.process_time()
            judgement = decide(subject, (policy,), under)
            wall.append(time.perf_counter() - started)
            processor.append(time.process_time() - worked)
        medians[name] = statistics.median(processor)
        fired, waited = len(judgement.firings), 1000 * statistics.median(wall)
        print(
            f"{RULES} rules, {FINDINGS} findings, {name}: {1000 * medians[name]:.1f} ms ({waited:.1f} ms of wall), {fired} fired"
        )
    started = time.perf_counter()
    rules()
    print(f"loading {RULES} rules: {1000 * (time.perf_counter() - started):.1f} ms")
    return 1 if max(medians.values()) > BUDGET else 0


if __name__ == "__main__":
    sys.exit(main())
