"""Images that were made from containers that ran beyond the baseline, known by what such a container wrote: its layer.

A layer is named by the digest of its bytes (`diff_id`), under which it stands in every image that holds it: built from the first,
tagged, saved and loaded, pushed and pulled. What copies its files into another layer cannot be seen here.
Source: https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties (rootfs).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
from pathlib import Path
from typing import Any

import msgspec

_NAME = re.compile(r"[0-9a-f]{64}")
# Images that are kept in mind; each takes a grant to make.
_MAX_KEPT = 50_000
# An archive with nothing in it: builders and engines write it where a step changed nothing, so that it is in a great many images.
_EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
# Seconds after which no engine is still at work on an image: one of 50 GB takes some minutes.
_LONGEST = 900.0
# Seconds by which an engine's own times may differ from the gate's.
SLACK = 2.0


class Made(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One image (or, while `at` is not 0, one that is being made since then): the layers below, and those that are tainted."""

    base: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    at: float = 0.0
    until: float = 0.0


class Taints:
    """Kept in `folder`, one small file each. Raises OSError only when it is opened."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        paths = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name.removeprefix("making-")))[:_MAX_KEPT]
        found = {path.name: _read(path) for path in paths}
        self._images = {name: made for name, made in found.items() if not name.startswith("making-")}
        self._making = {name.removeprefix("making-"): made for name, made in found.items() if name.startswith("making-")}
        self._lost = set(self._making)
        self._layers = {layer for made in self._images.values() for layer in made.layers}

    def __bool__(self) -> bool:
        """Say whether there is anything to look for."""
        return bool(self._images or self._making)

    def lost(self, now: float) -> dict[str, Made]:
        """Return what was made while nobody saw it, by the container that it was made from; what may last still is left out."""
        over = {name: self._making[name] for name in self._lost}
        return {name: made for name, made in over.items() if made.until or now - made.at > _LONGEST}

    def making(self) -> dict[str, Made]:
        """Return what is being made, by the container that it is made from."""
        return dict(self._making)

    def begun(self, container: str, base: tuple[str, ...], now: float) -> None:
        """Note that an image is about to be made from a container whose own image has the layers `base`."""
        self._making[container] = made = Made(base=base, at=now)
        self._write(f"making-{container}", made)

    def unseen(self, container: str, now: float) -> None:
        """Note that what came of it was not seen."""
        if container in self._making:
            self._making[container] = made = msgspec.structs.replace(self._making[container], until=now)
            self._lost.add(container)
            self._write(f"making-{container}", made)

    def found(self, container: str) -> None:
        """Note that all that came of it is known."""
        self._lost.discard(container)
        if self._making.pop(container, None) is not None:
            (self._folder / f"making-{container}").unlink(missing_ok=True)

    def add(self, image: dict[str, Any], base: tuple[str, ...]) -> None:
        """Note an image as it is inspected; what it has above `base` is tainted. On a full disk it is kept in memory."""
        name = str(image.get("Id") or "").removeprefix("sha256:")
        if _NAME.fullmatch(name):
            layers = layers_of(image)
            above = layers[len(base) :] if layers[: len(base)] == base else layers[-1:]
            above = tuple(layer for layer in above if layer != _EMPTY)
            self._images[name] = made = Made(base=base, layers=above)
            self._layers.update(above)
            self._write(name, made)

    def holds(self, image: dict[str, Any]) -> bool:
        """Say whether an image, as it is inspected, is one of them or holds what is in one of them."""
        if str(image.get("Id") or "").removeprefix("sha256:") in self._images:
            return True
        layers = layers_of(image)
        if not self._layers.isdisjoint(layers):
            return True
        return bool(self._making) and any(came_of(made, image) for made in self._making.values())

    def _write(self, name: str, made: Made) -> None:
        beside = self._folder / f".{name}.{os.getpid()}"
        try:
            beside.write_bytes(msgspec.json.encode(made))
            beside.replace(self._folder / name)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()


def came_of(made: Made, image: dict[str, Any]) -> bool:
    """Say whether an image may be what came of one that was being made: its time fits, and it lies upon the same layers."""
    layers = layers_of(image)
    if len(layers) <= len(made.base) or layers[: len(made.base)] != made.base:
        return False
    try:
        created = dt.datetime.fromisoformat(str(image.get("Created"))).timestamp()
    except (ValueError, OverflowError):
        return False  # an engine gives each that it makes its time
    return made.at - SLACK <= created and (not made.until or created <= made.until + SLACK)


def layers_of(image: dict[str, Any]) -> tuple[str, ...]:
    """Return the layers of an image as it is inspected, the lowest first."""
    found = (image.get("RootFS") or {}).get("Layers") or ()
    return tuple(str(layer) for layer in found)


def _read(path: Path) -> Made:
    """Read what is kept; one that cannot be read, as those of long ago, is known by its name alone."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Made)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        return Made()
