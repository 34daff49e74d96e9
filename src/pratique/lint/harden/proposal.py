"""What is asked and what is answered: how a manifest starts a container, and the least privileges that are proposed for it."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Literal

import msgspec

from pratique.workload.spec import Spec

PORTS = "net.ipv4.ip_unprivileged_port_start"  # the lowest port that needs no privilege; each network has its own

Format = Literal["kubernetes", "compose", "docker"]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says about one container: `entrypoint` and `command` are None where the image's count.

    `token` says that a pod may call the cluster's API.
    """

    format: Format
    spec: Spec
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    token: bool = False


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """The least privileges. `unprivileged` takes the manifest's `privileged` away. `user` and `group` are to be set where they
    are given; `low_port` is the lowest port that an account without rights has to be allowed to open, 0 for none. `modes` are
    those of `tmpfs`, in octal. `because` has the reasons, `attempts` what was taken on trial, `open` what could not be told.
    """

    user: int | None = None
    group: int | None = None
    non_root: bool = False
    no_new_privileges: bool = False
    seccomp: bool = False
    drop_all: bool = False
    unprivileged: bool = False
    add: tuple[str, ...] = ()
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    low_port: int = 0
    because: tuple[str, ...] = ()
    attempts: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


class Known(msgspec.Struct, frozen=True):
    """A program whose way of working as root is known."""

    name: str
    caps: tuple[str, ...]
    why: str
    writes: tuple[str, ...]
    reference: str


class _Programs(msgspec.Struct, frozen=True):
    program: tuple[Known, ...]


@functools.cache
def programs() -> dict[str, Known]:
    """Return the known programs by name."""
    import tomllib  # noqa: PLC0415 - only where something is hardened

    text = (resources.files("pratique.lint.harden") / "programs.toml").read_text("utf-8")
    return {program.name: program for program in msgspec.convert(tomllib.loads(text), _Programs).program}
