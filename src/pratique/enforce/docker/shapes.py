"""Small changes of what clients and engines write: what they leave open is filled in, what engines filled in is taken away."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from pratique.grant.needed import in_root_group
from pratique.workload.spec import Spec, number_of


def with_image(asked: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Fill in what the image says where the request is silent: the user, the words to run."""
    found = {**asked, "User": asked.get("User") or config.get("User") or ""}
    if not asked.get("Entrypoint"):
        found["Entrypoint"] = config.get("Entrypoint") or []
        found["Cmd"] = asked.get("Cmd") or config.get("Cmd") or []
    return found


def drivers(asked: dict[str, Any]) -> set[str]:
    """Return the plugins of the engine that a request has make a container's volumes."""
    host = asked.get("HostConfig") or {}
    options = [one.get("VolumeOptions") or {} for one in host.get("Mounts") or ()]
    named = {host.get("VolumeDriver"), *((one.get("DriverConfig") or {}).get("Name") for one in options)}
    return {str(name) for name in named if name} - {"local"}


def without_default(inspect: dict[str, Any]) -> dict[str, Any]:
    """Take away what the engine filled in itself: with control groups of the first kind all containers share the machine's."""
    host = inspect.get("HostConfig") or {}
    return {**inspect, "HostConfig": {**host, "CgroupnsMode": ""}} if host.get("CgroupnsMode") == "host" else inspect


def user_of(inspect: dict[str, Any]) -> str:
    """Return the user of a container as it was named; "" for the image's own default, root."""
    return str((inspect.get("Config") or {}).get("User") or "")


def by_name(spec: Spec) -> Spec:
    """Let a user pass by its name for now: who it is shows when the container is there, and it is decided again at its start."""
    named = spec.user is not None and spec.uid is None
    return msgspec.structs.replace(spec, run_as_non_root=True) if named else spec


def group_note(asked: Spec, seen: Spec) -> str:
    """Return how to mend a user whose group nobody named and who is in group 0 for that; "" for any other.

    A number that is not in a container's /etc/passwd has group 0, and /etc/group may put anybody into it.
    """
    named = asked.gid is not None or asked.group or not seen.uid
    if named or not in_root_group(seen) or any(number_of(group) == 0 for group in asked.groups):
        return ""
    who = asked.user or seen.uid
    return f"no group was named, and in this image {who} is in group 0 then: name one, such as --user {who}:{seen.uid}"


def effective_hash(value: object) -> str:
    """Return the hash under which what would run stands in the ledger."""
    return "sha256:" + hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
