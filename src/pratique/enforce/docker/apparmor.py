"""A Spec in, the Spec as this machine's AppArmor would enforce it out: a profile that only complains confines nothing.

Distributions load profiles in the mode "unconfined" by the dozen, named after programs; who names one of them is not confined.
Source: apparmor(7), and /sys/kernel/security/apparmor/profiles, a line `NAME (MODE)` for each that is loaded.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from pratique.workload.spec import Spec

ENABLED = Path("/sys/module/apparmor/parameters/enabled")
PROFILES = Path("/sys/kernel/security/apparmor/profiles")
# What engines load by themselves, in force, when they need it.
OF_ENGINES = re.compile(
    r"docker-default|containers-default-[0-9.]+|crio-default|cri-containerd\.apparmor\.d|runtime/default|default"
)
_ENFORCED = frozenset(("enforce", "kill", "prompt"))
_MAX_BYTES = 4 << 20


def as_enforced(spec: Spec) -> Spec:
    """Call a profile "unconfined" that is not in force here: it complains, is in the mode "unconfined", or is not loaded.

    Nothing is changed on a machine without AppArmor, where an engine refuses every profile. Where the profiles cannot be
    read, only those of engines are believed.
    """
    name = spec.apparmor
    if name in (None, "", "unconfined") or not _enabled():
        return spec
    mode = _modes().get(str(name).removeprefix("localhost/"))
    if mode in _ENFORCED or (mode is None and OF_ENGINES.fullmatch(str(name))):
        return spec
    return msgspec.structs.replace(spec, apparmor="unconfined")


def _enabled() -> bool:
    try:
        return ENABLED.read_bytes()[:1] == b"Y"
    except OSError:
        return False


def _modes() -> dict[str, str]:
    """Return the mode of each profile; of two of one name (in namespaces of policies) the first that is not in force."""
    try:
        with PROFILES.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, mode = line.rpartition(" ")
        mode = mode.strip("()")
        if found.get(name, "enforce") in _ENFORCED:
            found[name] = mode
    return found
