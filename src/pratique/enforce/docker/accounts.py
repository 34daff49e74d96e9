"""Who a container's user is, by the files of accounts in the container that the engine itself will look into."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate docker` imports this module

import msgspec

from pratique.enforce.docker.engine import Engine
from pratique.enforce.docker.users import resolve
from pratique.workload.spec import Spec


class Accounts:
    """The files /etc/passwd and /etc/group of one container: asked for at first need, together, and once a question."""

    def __init__(self, engine: Engine, container: str) -> None:
        """`container` is an id."""
        self._engine, self._container = engine, container
        self._files: tuple[bytes, bytes] | None = None

    async def resolved(self, spec: Spec) -> Spec:
        """Return a specification with the numbers of its user and groups, as far as they can be known. Raises EngineError."""
        if spec.uid is not None and spec.gid is not None:
            return spec
        if self._files is None:
            passwd, group = await asyncio.gather(
                self._engine.file(self._container, "/etc/passwd"), self._engine.file(self._container, "/etc/group")
            )
            self._files = passwd, group
        found = resolve(":".join(filter(None, (spec.user, spec.group))), *self._files)
        # A number that was asked for is one to the engine, whatever name it is in the files.
        uid = spec.uid if spec.uid is not None else found.uid
        gid = spec.gid if spec.gid is not None else found.gid
        if uid is None or gid is None:
            return spec
        groups = (*spec.groups, *map(str, found.groups))
        return msgspec.structs.replace(spec, user=str(uid), group=str(gid), uid=uid, gid=gid, groups=groups)
