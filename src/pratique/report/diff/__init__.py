"""Two reports and what is different between them in, documents out: one module a format, as for reports."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pratique.model.change import Cause, Diff, FindingChange, Side
from pratique.model.finding import Finding
from pratique.model.report import Report

WORDS = {
    "image": "image", "advisory": "advisories", "vex": "VEX", "waiver": "waiver", "policy": "policy", "scanner": "scanner",
    "scope": "what was looked at", "time": "time", "unknown": "cannot be told",
}  # fmt: skip


class Compared(NamedTuple):
    """What the formats write: the differences, and the newer report, whose findings some of them write whole."""

    diff: Diff
    new: Report


def about(change: FindingChange) -> Finding:
    """Return the finding that a change is about: the newer where there are two."""
    finding = change.new or change.old
    assert finding is not None
    return finding


def cause_text(cause: Cause) -> str:
    """Say a cause in one line, with those beside it."""
    causes = (cause, *cause.also)
    return "; ".join(f"{WORDS[one.kind]}: {one.message}" if one.message else WORDS[one.kind] for one in causes)


def causes_text(diff: Diff) -> str:
    """Count the changes of findings by their cause, in one line."""
    counts = Counter(WORDS[change.cause.kind] for change in diff.findings)
    return ", ".join(f"{number:,} {word}" for word, number in sorted(counts.items()))


def side_text(side: Side) -> str:
    """Say in one line what was compared."""
    facts = [side.distro, side.platform, f"{side.packages} packages", f"{side.findings} findings"]
    facts.append("" if side.complete else "inspected in part")
    return f"{side.scheme}:{side.reference} ({', '.join(filter(None, facts))})"


def what_changed(change: FindingChange) -> str:
    """Return the members that changed, as text."""
    return ", ".join(f"{field.name} {field.old or 'none'} -> {field.new or 'none'}" for field in change.fields)
