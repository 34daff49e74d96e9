"""The parts of the Docker gate put together: plugin, front socket, runtime agent and revocation in one process, one loop."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate docker` imports this module
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pratique.enforce.admission import Admission, load_admission
from pratique.enforce.desk import DeskSocket
from pratique.enforce.docker.agent import RuntimeAgent
from pratique.enforce.docker.authz import DEADLINE, AuthzPlugin, failed
from pratique.enforce.docker.engine import Engine
from pratique.enforce.docker.front import FrontSocket
from pratique.enforce.docker.identity import load_key
from pratique.enforce.docker.interpret import Interpreter
from pratique.enforce.docker.names import PATIENCE
from pratique.enforce.docker.records import Records
from pratique.enforce.docker.revocation import Revoker
from pratique.enforce.keeper import Keeper
from pratique.enforce.serving import HttpServer
from pratique.enforce.watchdog import Watchdog
from pratique.granting.wire import SOCKET
from pratique.store.place import Place

PLUGIN = Path("/run/docker/plugins/pratique.sock")
FRONT = Path("/run/pratique/docker.sock")
AGENT = Path("/run/pratique/agent.sock")
ENGINE = Path("/run/docker.sock")
# The engine shows bodies of up to 4 MiB, as base64 in JSON; what is over the gate's own bound is denied, not cut.
_MAX_MESSAGE = 8 << 20


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gate's sockets are, and whom it knows. `group` may use the front socket; "" is root alone."""

    engine: Path = ENGINE
    plugin: Path = PLUGIN
    front: Path = FRONT
    agent: Path = AGENT
    desk: Path = Path(SOCKET)
    group: str = ""
    clients: Mapping[str, str] = {}
    host: str = ""
    observe: bool = False
    admission: Path | None = None


async def serve(place: Place, settings: Settings, ready: Callable[[], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError, StoreError before `ready` is called."""
    import grp  # noqa: PLC0415 - beside its one use

    _allow_many_files()
    host = settings.host or os.uname().nodename
    folder = place.folder / "gate"
    keeper = Keeper(place, node=host, observe=settings.observe)
    records = Records(folder)
    key = load_key(folder / "front.key")
    engine = Engine(settings.engine, key)
    interpreter = Interpreter(engine, records, host)
    admission = Admission(place, load_admission(settings.admission), engine=settings.engine) if settings.admission else None
    plugin = AuthzPlugin(keeper, interpreter, key, settings.clients, admission)
    front = FrontSocket(key, settings.engine)
    interpreter.outcomes.channels.is_open = front.holds
    agent = RuntimeAgent(keeper, records, interpreter, host)
    patience = 5 * DEADLINE + 3 * PATIENCE + (2 * float(admission.spec.deadline) if admission is not None else 0.0)
    server = HttpServer(plugin.handle, failed, seconds=patience, max_body=_MAX_MESSAGE, told=plugin.told)
    revoker = Revoker(keeper, records, engine, plugin, front)
    for path in (settings.plugin, settings.front, settings.agent):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    await agent.listen(settings.agent)
    await server.listen_unix(settings.plugin)
    group = grp.getgrnam(settings.group).gr_gid if settings.group else -1
    await front.listen(settings.front, 0o660 if settings.group else 0o600, group)
    desk = DeskSocket(keeper.desk)
    await desk.listen(settings.desk)
    await _until_stopped(revoker, ready)
    await front.close()
    for part in (server, agent, desk):
        part.close()
    for path in (settings.plugin, settings.front, settings.agent, settings.desk):
        path.unlink(missing_ok=True)
    if admission is not None:
        await admission.close()
    keeper.close()


def _allow_many_files() -> None:
    """Use all the files that the system lets this process have: the usual limit is for programs that call select(2)."""
    import resource  # noqa: PLC0415 - beside its one use

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve_podman(place: Place, settings: Settings, ready: Callable[[], None] | None = None) -> None:
    """Serve the agent alone, for Podman's runtime, until SIGTERM or SIGINT. Raises as `serve`."""
    host = settings.host or os.uname().nodename
    keeper, records = Keeper(place, node=host, observe=settings.observe), Records(place.folder / "gate")
    agent = RuntimeAgent(keeper, records, None, host)
    settings.agent.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    await agent.listen(settings.agent)
    desk = DeskSocket(keeper.desk)
    await desk.listen(settings.desk)
    await _until_stopped(Revoker(keeper, records), ready)
    for part in (agent, desk):
        part.close()
    for path in (settings.agent, settings.desk):
        path.unlink(missing_ok=True)
    keeper.close()


async def _until_stopped(revoker: Revoker, ready: Callable[[], None] | None) -> None:
    """Watch the grants until a signal comes. Raises what ends the watch: a gate that cannot take back is none."""
    watching = asyncio.ensure_future(revoker.run())
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    watchdog = Watchdog()
    watchdog.start()
    if ready is not None:
        ready()
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait({stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
    watchdog.stop()
    stopping.cancel()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
