"""Pods that run by a grant in, those that must end because it ended out: what is to be ended is kept on disk until it is.

A webhook sees what begins, not what goes on. So the pod that a grant let in is deleted when the grant ends, with whatever runs
in it, sessions included; its uid is a precondition, so that a new pod of the same name is left alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pratique.model.errors import CouldNotError, PratiqueError
from pratique.store.line import Entry
from pratique.store.place import make_folder, open_own

if TYPE_CHECKING:
    from pratique.enforce.kubernetes.api import ApiClient
    from pratique.enforce.kubernetes.keeper import ClusterKeeper

_GONE = (200, 202, 404, 409)  # deleted, being deleted, gone, or another pod by now
MAX_KEPT = 10_000  # pods at once; more are not remembered, and their grants end without them


class Placed(msgspec.Struct, frozen=True):
    """A pod, and the grants by which it runs."""

    namespace: str
    name: str
    uid: str
    grants: tuple[str, ...]


class Evictor:
    """Ends pods whose grants ended."""

    def __init__(self, keeper: ClusterKeeper, api: ApiClient, folder: Path) -> None:
        self._keeper = keeper
        self._api = api
        self._path = folder / "placed.json"
        make_folder(folder)
        self._placed = self._read()

    def remember(self, pods: Collection[Placed]) -> None:
        """Keep pods in mind, on disk before this returns. Raises OSError."""
        if pods:
            self._placed = [*self._placed, *pods][-MAX_KEPT:]
            self._write()

    async def end(self) -> int:
        """Delete the pods of which no grant holds any more; return how many went. What fails is tried at the next call."""
        try:
            grants = self._keeper.live().grants
        except PratiqueError:
            return 0  # nobody knows: nothing new begins, and what runs goes on until somebody does
        now = self._keeper.moment().wall
        over = [
            pod
            for pod in self._placed
            if not any(
                name in grants and grants[name].state in ("active", "exhausted") and now < grants[name].expires_at
                for name in pod.grants
            )
        ]
        gone = [pod for pod in over if await self._delete(pod)]
        if gone:
            self._placed = [pod for pod in self._placed if pod not in gone]
            self._write()
        return len(gone)

    async def _delete(self, pod: Placed) -> bool:
        try:
            status = await self._api.evict(pod.namespace, pod.name, pod.uid)
        except CouldNotError:
            return False
        if status not in _GONE:
            return False
        where = f"{pod.namespace}/{pod.name}"
        entry = Entry(event="evict", grant=", ".join(pod.grants), point="kubernetes", detail={"container": where, "uid": pod.uid})
        with contextlib.suppress(PratiqueError):
            self._keeper.desk.record(entry)
        return True

    def _read(self) -> list[Placed]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Placed])
        except (OSError, msgspec.MsgspecError):
            return []

    def _write(self) -> None:
        part = self._path.with_suffix(".part")
        with os.fdopen(open_own(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as stream:
            stream.write(msgspec.json.encode(self._placed))
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self._path)
