"""Pods and what the API server's own code said about them, as recorded; what the gate's and lint's readings say about a pod.

Where the recorded answers come from: tests/enforce/kubernetes/podsecurity/README.md.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pratique._kit.yamltree import documents
from pratique.lint.checks import podsecurity
from pratique.workload import kubernetes, pss

RECORDED = Path(__file__).parent / "enforce" / "kubernetes" / "podsecurity" / "cases.jsonl.gz"
FILES = RECORDED.with_name("files.jsonl.gz")
LEVELS: tuple[pss.Level, ...] = ("baseline", "restricted")
# The lint's names of the standard's controls, by the API server's; two checks of the server's, one a level, are one control.
NAMES = {
    "pss-host-process": "windowsHostProcess", "pss-host-namespaces": "hostNamespaces", "pss-privileged": "privileged",
    "pss-capabilities": "capabilities", "pss-capabilities-dropped": "capabilities", "pss-host-path": "volumes",
    "pss-volumes": "volumes", "pss-host-ports": "hostPorts", "pss-host-probes": "hostProbesAndHostLifecycle",
    "pss-apparmor": "appArmorProfile", "pss-selinux": "seLinuxOptions", "pss-proc-mount": "procMount",
    "pss-proc-mount-always": "procMount", "pss-seccomp": "seccompProfile", "pss-seccomp-set": "seccompProfile",
    "pss-sysctls": "sysctls", "pss-escalation": "allowPrivilegeEscalation",
    "pss-non-root": "runAsNonRoot", "pss-user": "runAsUser",
}  # fmt: skip
_SAME = {"hostPathVolumes": "volumes", "restrictedVolumes": "volumes", "procMount_restricted": "procMount"}

# From which minor version of the policy on which checks are violated.
Changes = Sequence[tuple[int, frozenset[str]]]


class Case(NamedTuple):
    """A pod, and the answers of upstream's code by level."""

    number: int
    pod: dict[str, Any]
    said: dict[str, Changes]

    def violated(self, level: pss.Level, minor: int) -> frozenset[str]:
        """Return the names of the violated checks at a version of the policy."""
        return [checks for since, checks in self.said[level] if since <= minor][-1]

    def boundaries(self) -> set[int]:
        """Return the versions at which an answer changes."""
        return {since for changes in self.said.values() for since, _ in changes}


class Recorded(NamedTuple):
    """What the file holds: how it was made, and the cases."""

    about: dict[str, Any]
    cases: tuple[Case, ...]


def changes(answer: Sequence[Any]) -> Changes:
    """Read one level's answer of `tools/podsecurity_oracle.go`."""
    return [(since, frozenset(checks)) for since, checks in answer]


def recorded(path: Path = RECORDED) -> Recorded:
    """Read the recorded answers."""
    about, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    cases = []
    for number, line in enumerate(lines):
        one = json.loads(line)
        cases.append(Case(number, one["pod"], {level: changes(one[level]) for level in LEVELS}))
    return Recorded(json.loads(about), tuple(cases))


class File(NamedTuple):
    """The text of a file, and the answers about the pod that kubectl sends for it; none where it or the server refuses it."""

    text: str
    said: dict[str, Changes] | None


def files() -> list[File]:
    """Read the recorded answers about files."""
    about, *lines = gzip.decompress(FILES.read_bytes()).decode().splitlines()
    found = []
    for one in map(json.loads, lines):
        said: dict[str, Changes] = {} if "refused" in one else {level: changes(one[level]) for level in LEVELS}
        found.append(File(one["text"], said or None))
    assert len(found) == json.loads(about)["files"]
    return found


def controls(checks: frozenset[str]) -> frozenset[str]:
    """Return checks as controls of the standard, whichever level's."""
    return frozenset(_SAME.get(one, one.removesuffix("_baseline").removesuffix("_restricted")) for one in checks)


def by_gate(pod: dict[str, Any], level: pss.Level, minor: int) -> frozenset[str]:
    """Return the checks that the gate finds violated."""
    return frozenset(one.check for one in pss.violations(pod, level, (1, minor)))


class Linted:
    """A pod as lint reads it from a file."""

    def __init__(self, text: str) -> None:
        (self._pod,) = kubernetes.pods(documents(text))

    def controls(self, level: pss.Level, minor: int) -> frozenset[str]:
        """Return the controls that it finds violated; lint shows restricted's beside baseline's, and leaves none out for them."""
        checks = podsecurity.BASELINE | (podsecurity.RESTRICTED if level == "restricted" else {})
        return frozenset(NAMES[name] for name, check in checks.items() if any(True for _ in check(self._pod, (1, minor))))


def linted(file: str | dict[str, Any]) -> Linted:
    """Return a file, or the file with an object's JSON, as lint reads it. Raises ParseError."""
    return Linted(file if isinstance(file, str) else json.dumps(file))


def differences(case: Case, minors: Sequence[int]) -> list[str]:
    """Compare both readings with the recorded answers at these versions; lint knows those from 1.25 on."""
    found, file = [], linted(case.pod)
    for minor in minors:
        shown: frozenset[str] = frozenset()
        for level in LEVELS:
            expected = case.violated(level, minor)
            shown |= controls(expected)
            gate = by_gate(case.pod, level, minor)
            if gate != expected:
                found.append(f"pod {case.number}, {level}:v1.{minor}: gate {sorted(gate)}, expected {sorted(expected)}")
            if minor >= podsecurity.OLDEST[1] and (lint := file.controls(level, minor)) != shown:
                found.append(f"pod {case.number}, {level}:v1.{minor}: lint {sorted(lint)}, expected {sorted(shown)}")
    return found
