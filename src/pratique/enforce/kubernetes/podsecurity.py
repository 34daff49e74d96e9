"""A pod, and the level of its namespace, in; what the Pod Security Standards forbid about it out, less what a grant gives.

The level holds beside the privilege policy, exactly as the API server's own admission would decide it; a grant for the privilege
behind a control lifts that control, which the API server's own admission cannot do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pratique.grant import privileges
from pratique.grant.globs import part_covers
from pratique.grant.privileges import Privilege
from pratique.model.errors import UsageError
from pratique.model.privilege import Denial
from pratique.workload.pss import LATEST, Level, Version, Violation, parse_version, violations

# The privilege behind a control. What is not here no grant gives: who writes the manifest says it.
_LIFTED_BY: dict[str, tuple[str, ...]] = {
    "hostNamespaces": ("run.hostns:net", "run.hostns:pid", "run.hostns:ipc"),
    "privileged": ("run.privileged",),
    "capabilities_baseline": ("run.cap:ALL",),
    "capabilities_restricted": ("run.cap:ALL",),
    "appArmorProfile": ("run.unconfined:apparmor",),
    "seLinuxOptions": ("run.unconfined:selinux",),
    "procMount": ("run.unconfined:proc",),
    "procMount_restricted": ("run.unconfined:proc",),
    "seccompProfile_baseline": ("run.unconfined:seccomp",),
    "seccompProfile_restricted": ("run.unconfined:seccomp",),
    "windowsHostProcess": ("run.privileged",),
    "allowPrivilegeEscalation": ("run.new-privileges",),
    "runAsNonRoot": ("run.root",),
    "runAsUser": ("run.root",),
}
_ANY_OF_FORM = {
    "hostPathVolumes": "run.mount",
    "restrictedVolumes": "run.mount",
    "hostPorts": "run.hostport",
    "sysctls": "run.sysctl",
    "hostNamespaces": "run.hostns",
    "capabilities_baseline": "run.cap",
    "capabilities_restricted": "run.cap",
}


class Standard(NamedTuple):
    """A level for the namespaces that a glob matches."""

    namespaces: str
    level: Level
    version: Version


def parse_standard(text: str) -> Standard:
    """Read `LEVEL`, `LEVEL:VERSION` or `NAMESPACES=LEVEL:VERSION`. Raises UsageError."""
    namespaces, equals, rest = text.rpartition("=")
    level, _, version = rest.partition(":")
    levels: dict[str, Level] = {"privileged": "privileged", "baseline": "baseline", "restricted": "restricted"}
    if level not in levels or (equals and not namespaces):
        raise UsageError(f"--pod-security {text!r}", hint="baseline, restricted:v1.34, or 'team-*=restricted:latest'")
    try:
        return Standard(namespaces or "*", levels[level], parse_version(version or "latest"))
    except ValueError as error:
        raise UsageError(f"--pod-security {text!r}: {error}") from None


def standard_of(standards: Sequence[Standard], namespace: str) -> Standard:
    """Return the first that is for a namespace; privileged, which forbids nothing, where none is."""
    found = (one for one in standards if namespace and part_covers(one.namespaces, namespace))
    return next(found, Standard("*", "privileged", LATEST))


def denials(pods: Iterable[Mapping[str, Any]], standard: Standard, granted: Sequence[Privilege]) -> list[Denial]:
    """Return what is forbidden about pods and not granted."""
    return [
        Denial(
            rule=f"pod-security {standard.level}:v{standard.version[0]}.{standard.version[1]} {violation.check}",
            path=violation.path,
            text=f"{violation.path}: {violation.message}",
        )
        for pod in pods
        for violation in violations(pod, standard.level, standard.version)
        if not _lifted(pod, violation, granted)
    ]


def is_worse(pods: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]], standard: Standard) -> bool:
    """Say whether more is forbidden about pods than about those they replace; containers may have changed places."""
    return bool(_forbidden(pods, standard) - _forbidden(before, standard))


def _forbidden(pods: Iterable[Mapping[str, Any]], standard: Standard) -> Counter[tuple[str, str]]:
    return Counter((one.check, one.message) for pod in pods for one in violations(pod, standard.level, standard.version))


def lifting(pods: Iterable[Mapping[str, Any]], standard: Standard) -> tuple[str, ...]:
    """Return the privileges that would lift what is forbidden, as far as one privilege does."""
    found: dict[str, None] = {}
    for pod in pods:
        for violation in violations(pod, standard.level, standard.version):
            if violation.check not in _ANY_OF_FORM:  # the Spec itself asks for those, with their argument
                found.update(dict.fromkeys(_LIFTED_BY.get(violation.check, ())))
    return tuple(found)


def _lifted(pod: Mapping[str, Any], violation: Violation, granted: Sequence[Privilege]) -> bool:
    """Say whether grants cover it; that they cover the very argument, the decision on the Spec has said."""
    form = _ANY_OF_FORM.get(violation.check)
    if violation.check == "restrictedVolumes" and not _is_host_path(pod, violation.path):
        return False
    if form is not None and any(one.form == form or (form == "run.cap" and one.form == "run.privileged") for one in granted):
        return True
    return any(privileges.covered(granted, privileges.parse(text)) for text in _LIFTED_BY.get(violation.check, ()))


def _is_host_path(pod: Mapping[str, Any], path: str) -> bool:
    volume = pod["spec"]["volumes"][int(path.removeprefix("spec.volumes[").removesuffix("]"))]
    return isinstance(volume, Mapping) and volume.get("hostPath") is not None
