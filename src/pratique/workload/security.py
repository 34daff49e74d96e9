"""Security options as engines spell them in, attributes of a Spec out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_DEFAULT_SECCOMP = frozenset(("", "builtin", "default", "runtime/default"))


def options(given: Iterable[str]) -> dict[str, Any]:
    """Return the attributes that `security_opt` sets, as the engine reads it; what it might obey beside is `unknown`.

    A profile of seccomp that comes with the request is "custom": it can allow everything.
    """
    found: dict[str, Any] = {}
    unknown: list[str] = []
    for option in given:
        name, value = split(option)
        if name == "no-new-privileges":
            found["no_new_privileges"] = value.lower() in ("", "true", "1", "t")
        elif name == "systempaths":
            found["masked_paths"] = value != "unconfined"
            found["read_only_paths"] = value != "unconfined"
        elif name == "unmask":  # Podman's: all, or paths
            found["masked_paths"] = found["read_only_paths"] = False
        elif name == "mask":
            continue  # hides more
        elif name == "seccomp":
            if value not in _DEFAULT_SECCOMP:
                found["seccomp"] = "unconfined" if value == "unconfined" else "custom"
        elif name == "apparmor":
            found["apparmor"] = value
        elif name == "label":
            found["selinux"] = label(value, found.get("selinux"))
        else:
            unknown.append(option)
    if unknown:
        found["unknown"] = tuple(f"security option {option[:80]}" for option in unknown)
    return found


def split(option: str) -> tuple[str, str]:
    """Split at the first `=`, or else the first `:`; `disable` alone is an old spelling of the label's."""
    if option == "disable":
        return "label", "disable"
    sign = "=" if "=" in option else ":"
    name, _, value = option.partition(sign)
    return name, value


def label(value: str, before: str | None) -> str:
    """Return what an SELinux label comes to: "unconfined" where nothing is left of it."""
    loose = value == "disable" or value.replace("=", ":").startswith("type:spc_t")
    return "unconfined" if loose or before == "unconfined" else value
