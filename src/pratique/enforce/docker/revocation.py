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
# A command is decided before it starts, and the kernel counts in ticks; seconds that it is taken to be older for that.
_EARLIER = 0.1


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
        self._failed: set[str] = set()

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
        command = bool(record.container) and record.container != record.id
        try:
            done = await (self._end_command(record) if command else self._end_container(record))
        except EngineError as error:  # it is tried again at the next look, and said once
            done = str(error)
            if record.id in self._failed:
                return
            self._failed.add(record.id)
        else:
            self._failed.discard(record.id)
            if command:
                self._records.forget_command(record.id)
            else:
                self._records.ended(record.id)
        entry = Entry(
            event="ended", subject=Who.of(record.subject), grant=" ".join(record.grants), needed=record.needed,
            point="docker", session=record.session, reason=why,
            detail={"container": record.container or record.id, "done": done},
        )  # fmt: skip
        with contextlib.suppress(PratiqueError):  # what is taken away is, recorded or not; a ledger's failure denies what comes
            self._keeper.desk.record(entry)

    async def _end_command(self, record: Approved) -> str:
        first = await self._first(record.container)
        if first is None:
            return "its container had ended"
        leader = await self._leader(record)
        import asyncio

        others = [one for one in self._records.commands() if one.container == record.container and one.id != record.id]
        spared = [found for one in others if (found := await self._leader(one)) is not None]
        since = processes.ticks(self._keeper.moment().wall - record.at + _EARLIER)
        killed = await asyncio.to_thread(processes.end, leader, first, since, spared)  # others ask meanwhile
        return f"killed {killed} processes" if killed else "it had ended"

    async def _leader(self, record: Approved) -> processes.Process | None:
        """Return a command's own process, by what the runtime wrote: an engine does not say while children hold its output."""
        if record.pid_file or self._engine is None:
            return processes.look(podman.pid_in(record.pid_file))
        return processes.look(await self._engine.pid_of_command(record.id))

    async def _first(self, container: str) -> processes.Process | None:
        whole = self._records.container(container)
        if whole is not None and (found := processes.look(podman.pid_in(whole.pid_file))) is not None:
            return found
        return processes.look(await self._engine.pid_of_container(container)) if self._engine is not None else None

    async def _end_container(self, record: Approved) -> str:
        if self._engine is None or (record.request is not None and record.request.point == "podman"):
            return "killed the container" if processes.kill(podman.pid_in(record.pid_file)) else "it had ended"
        try:
            await self._engine.post_json(f"/containers/{record.id}/update", {"RestartPolicy": {"Name": "no"}})
            status = await self._engine.post(f"/containers/{record.id}/kill")
        except EngineError:
            processes.kill(podman.pid_in(record.pid_file))  # it is over, whether the engine is there to see it or not
            raise
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
