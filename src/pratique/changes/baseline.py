"""Findings and the report that they are compared with in, findings that say whether they are new out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pratique.changes.pair import introduced, pair
from pratique.model.finding import BaselineState, Finding
from pratique.model.report import Baseline, Report, Target
from pratique.policy.facts import repository


class Recognised(NamedTuple):
    """Findings in the order given, each with its state, and finding by finding what the baseline has of it, or None."""

    findings: list[Finding]
    earlier: list[Finding | None]


def recognise(findings: Sequence[Finding], baseline: Report) -> Recognised:
    """Say of each finding whether the baseline has it."""
    known = {id(both.new): both.old for both in pair(baseline.findings, findings) if both.new is not None}
    earlier = [known[id(finding)] for finding in findings]
    marked = [
        msgspec.structs.replace(finding, baseline=_state(finding, then)) for finding, then in zip(findings, earlier, strict=True)
    ]
    return Recognised(marked, earlier)


def settle(findings: Sequence[Finding], earlier: Sequence[Finding | None]) -> tuple[Finding, ...]:
    """Say it again, now that the findings have their waivers: one that has ended makes a finding count that did not."""
    states = [_state(finding, then) for finding, then in zip(findings, earlier, strict=True)]
    return tuple(
        finding if finding.baseline == state else msgspec.structs.replace(finding, baseline=state)
        for finding, state in zip(findings, states, strict=True)
    )


def _state(finding: Finding, then: Finding | None) -> BaselineState:
    if then is None:
        return "new"
    return "updated" if introduced(finding, then) else "unchanged"


def summary(findings: Sequence[Finding], baseline: Report) -> Baseline:
    """Return what a report says of its baseline. `findings` are those of the report, with their states."""
    states = [finding.baseline for finding in findings]
    kept = states.count("updated") + states.count("unchanged")
    return Baseline(
        reference=baseline.target.reference,
        scheme=baseline.target.scheme,
        digest=baseline.target.digest,
        scanned_at=baseline.meta.scanned_at,
        complete=baseline.complete,
        new=states.count("new"),
        updated=states.count("updated"),
        unchanged=states.count("unchanged"),
        gone=len(baseline.findings) - kept,
        problems=baseline.problems,
    )


def doubts(baseline: Report, target: Target, examined: Sequence[str] = ()) -> list[str]:
    """Return what makes a baseline a doubtful one for a target of which so much was examined, a sentence each."""
    found = []
    names = [_repository(item) for item in (baseline.target, target)]
    if all(names) and names[0] != names[1]:
        found.append(f"the baseline is of {names[0]}, not of {names[1]}")
    if baseline.target.platform and target.platform and baseline.target.platform != target.platform:
        found.append(f"the baseline is of {baseline.target.platform}, not of {target.platform}")
    if baseline.meta.database.kind == "none":
        found.append("the baseline is an inventory alone: no finding is known from it")
    elif not baseline.packages:
        found.append("nothing usable was found in the baseline: no finding is known from it")
    if not baseline.complete:
        gaps = [gap for gap in baseline.problems if not gap.code.startswith("advisories.")]
        codes = ", ".join(sorted({gap.code for gap in gaps}))
        found.append(f"the baseline was inspected in part ({codes}): what it did not see counts as new")
    if "configuration" in examined and baseline.examined and "configuration" not in baseline.examined:
        found.append("the baseline did not look at the configuration of the image: what is wrong there counts as new")
    return found


def _repository(target: Target) -> str:
    """Return the repository of an image that goes by a name; "" for files and folders."""
    return repository(target.reference) if target.scheme in ("registry", "docker", "podman", "containerd") else ""
