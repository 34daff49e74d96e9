"""Grants that end in, the end of what ran by them out: new calls are denied by the decision; this is for what already runs.

A command is killed with all that it began, an elevated container loses its restart policy and is killed, a taken-over connection
is cut. What ended is looked for whenever a grant changes, and when the next one's time comes.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pratique.enforce.docker import podman, processes
from pratique.enforce.docker.authz import AuthzPlugin
from pratique.enforce.docker.engine import Engine, EngineError
from pratique.enforce.docker.front import FrontSocket
from pratique.enforce.docker.records import Approved, Records
from pratique.enforce.keeper import Keeper
from pratique.grant.lifecycle import overdue
from pratique.model.errors import PratiqueError, StoreError
from pratique.model.privilege import Grant, Moment
from pratique.store.line import Entry, Who
from pratique.store.watch import Watcher

if TYPE_CHECKING:
    import asyncio

# However quiet it is, grants are looked at this often, in seconds: a clock that was set forward is noticed.
_LOOK = 1.0


class Revoker:
    """Watches the grants of one store for one engine."""

    def __init__(
        self,
        keeper: Keeper,
        records: Records,
        engine: Engine | None = None,
        plugin: AuthzPlugin | None = None,
        front: FrontSocket | None = None,
    ) -> None:
        """Without an engine there are Podman's containers alone."""
        self._keeper = keeper
        self._records = records
        self._engine = engine
        self._plugin = plugin
        self._front = front
        self._watcher = Watcher(keeper.desk.place)
        self._rang: asyncio.Event | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        import asyncio

        rang = self._rang = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._watcher.fileno(), self._ring)
        try:
            while True:
                soonest = await self.look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(_LOOK, max(0.001, soonest))):
                        await rang.wait()
                rang.clear()
        finally:
            loop.remove_reader(self._watcher.fileno())
            self._watcher.close()

    def _ring(self) -> None:
        self._watcher.drain()
        if self._rang is not None:
            self._rang.set()

    async def look(self) -> float:
        """End what has no grant any more; return the seconds until the next grant's time comes."""
        now = self._keeper.moment()
        try:
            grants = dict(self._keeper.live().grants)
        except StoreError:
            grants = {}  # a store that does not answer for long gives nobody anything
        soonest = _LOOK
        self._cut(grants, now)
        for record in (*self._records.commands(), *self._records.containers()):
            if not record.grants:
                continue
            held = [grants.get(name) for name in record.grants]
            why = next((_ended(grant, now) for grant in held if _ended(grant, now)), "")
            if why:
                await self._end(record, why)
            else:
                soonest = min([soonest, *(left(grant, now) for grant in held if grant is not None)])
        return soonest

    def _cut(self, grants: dict[str, Grant], now: Moment) -> None:
        """End the connections that lived by a grant."""
        if self._plugin is None or self._front is None:
            return
        for stamped, names in self._plugin.streams().items():
            if any(_ended(grants.get(name), now) for name in names):
                self._front.cut(stamped)
                self._plugin.forget_stream(stamped)

    async def _end(self, record: Approved, why: str) -> None:
        if record.container and record.container != record.id:
            done = await self._end_command(record)
            self._records.forget_command(record.id)
        else:
            done = await self._end_container(record)
            self._records.ended(record.id)
        entry = Entry(
            event="ended", subject=Who.of(record.subject), grant=" ".join(record.grants), needed=record.needed,
            point="docker", session=record.session, reason=why,
            detail={"container": record.container or record.id, "done": done},
        )  # fmt: skip
        with contextlib.suppress(PratiqueError):  # what is taken away is, recorded or not; a ledger's failure denies what comes
            self._keeper.desk.record(entry)

    async def _end_command(self, record: Approved) -> str:
        try:
            if record.pid_file or self._engine is None:
                whole = self._records.container(record.container)
                leader = processes.look(podman.pid_in(record.pid_file))
                first = processes.look(podman.pid_in(whole.pid_file)) if whole is not None else None
            else:
                leader = processes.look(await self._engine.pid_of_command(record.id))
                first = processes.look(await self._engine.pid_of_container(record.container))
        except EngineError as error:
            return str(error)
        if leader is None or first is None:
            return "it had ended"
        return f"killed {processes.end(leader, first)} processes"

    async def _end_container(self, record: Approved) -> str:
        if record.pid_file or self._engine is None:
            return "killed the container" if processes.kill(podman.pid_in(record.pid_file)) else "it had ended"
        try:
            await self._engine.post_json(f"/containers/{record.id}/update", {"RestartPolicy": {"Name": "no"}})
            status = await self._engine.post(f"/containers/{record.id}/kill")
        except EngineError as error:
            return str(error)
        return "killed the container" if status < 300 else "it had ended"


def _ended(grant: Grant | None, now: Moment) -> str:
    if grant is None:
        return "its grant ended"
    return overdue(grant, now) if grant.state in ("active", "exhausted") else ""


def left(grant: Grant, now: Moment) -> float:
    """Return the seconds until a grant's time is over, by the clock that says so first."""
    seconds = [grant.expires_at - now.wall] if grant.expires_at else []
    if grant.boot_id and grant.boot_id == now.boot_id:
        seconds.append(grant.expires_boot - now.boot)
    if grant.asked.idle and grant.last_used_at:
        seconds.append(grant.last_used_at + grant.asked.idle - now.wall)
    return min(seconds, default=_LOOK)
