"""Questions to the engine in, what it knows out: what is this container, which digest has this name; and the gate's own orders.

They go over the engine's own socket, and the engine shows them to its plugin, too: what is more than a look is signed.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from pratique._kit.references import repository
from pratique.enforce.admission import Image
from pratique.enforce.docker.identity import GATE, HEADER, stamp
from pratique.enforce.serving import Peer
from pratique.model.errors import CouldNotError

# A question that is not answered in this time leaves too little of the engine's patience for the decision.
SECONDS = 0.3
# The description of a container with thousands of variables and mounts.
MAX_ANSWER = 4 << 20
_ID = re.compile(r"sha256:[0-9a-f]{64}")


class EngineError(CouldNotError):
    """The engine did not answer, or not with what was asked for."""


class Facts(NamedTuple):
    """How an engine is set up: the folder that it keeps all in, and whether containers share the machine's control groups."""

    root: str
    shared_cgroups: bool


class Engine:
    """One engine by its socket."""

    def __init__(self, path: Path, key: bytes = b"") -> None:
        """`key` signs what the gate itself tells the engine to do, so that its own plugin lets it through."""
        self.path = path
        self._key = key
        self._facts: Facts | None = None

    async def container(self, name: str) -> dict[str, Any] | None:
        """Return what `docker inspect` shows; None where there is no such container. Raises EngineError."""
        return await self._get(f"/containers/{quote(name, safe='')}/json")

    async def image(self, name: str) -> dict[str, Any] | None:
        """Return what `docker image inspect` shows; None where there is no such image. Raises EngineError."""
        return await self._get(f"/images/{quote(name, safe='/:@')}/json")

    async def maker(self, image: str) -> str:
        """Return the container that an image was committed from; "" where the engine does not say. Raises EngineError."""
        status, body = await self._talk("GET", f"/v1.44/images/{quote(image, safe=':')}/json")  # later versions do not say it
        try:
            found = json.loads(body) if status == 200 else {}
            return str(found.get("Container") or "")
        except (ValueError, RecursionError, AttributeError) as error:
            raise EngineError("the engine's answer on an image cannot be read") from error

    async def images(self, since: float) -> list[str]:
        """Return the ids of the images that were made at some time or later, the newest first. Raises EngineError."""
        try:
            late = [item for item in await self._list("/images/json?all=1") if item["Created"] >= since]
            return [str(item["Id"]) for item in sorted(late, key=lambda item: -item["Created"])]
        except (TypeError, KeyError) as error:
            raise EngineError("the engine's list of images cannot be read") from error

    async def named(self, name: str) -> list[str]:
        """Return the ids of all images of one repository, by whatever tag. Raises EngineError."""
        try:
            listed = await self._list("/images/json")
            known = [(str(one["Id"]), (*(one.get("RepoTags") or ()), *(one.get("RepoDigests") or ()))) for one in listed]
        except (TypeError, KeyError, AttributeError) as error:
            raise EngineError("the engine's list of images cannot be read") from error
        return [identifier for identifier, names in known if repository(name) in {repository(str(one)) for one in names}]

    async def volume(self, name: str) -> dict[str, Any] | None:
        """Return what `docker volume inspect` shows; None where there is no such volume. Raises EngineError."""
        return await self._get(f"/volumes/{quote(name, safe='')}")

    async def file(self, container: str, path: str) -> bytes:
        """Return a small file of a container, b"" where it is missing or is no plain file. Raises EngineError."""
        status, body = await self._talk("GET", f"/containers/{quote(container, safe='')}/archive?path={quote(path, safe='')}")
        return _only_file(body) if status == 200 else b""

    async def version(self) -> dict[str, Any]:
        """Return what `docker version` shows. Raises EngineError."""
        return await self._get("/version") or {}

    async def facts(self) -> Facts:
        """Return what the engine is set up with; it is asked once, for no engine changes it while it runs. Raises EngineError."""
        if self._facts is None:
            info = await self._get("/info") or {}
            root = str(info.get("DockerRootDir") or "")
            if not root.startswith("/") or root == "/":
                raise EngineError("the engine does not say where it keeps its containers")
            own_cgroups = any(str(one).startswith("name=cgroupns") for one in info.get("SecurityOptions") or ())
            self._facts = Facts(root, shared_cgroups=not own_cgroups)
        return self._facts

    async def pid_of_container(self, name: str) -> int:
        """Return the machine's number of a container's first process; 0 where it does not run. Raises EngineError."""
        state = (await self.container(name) or {}).get("State") or {}
        return int(state.get("Pid") or 0)

    async def pid_of_command(self, name: str) -> int:
        """Return the machine's number of an exec's process; 0 where it does not run. Raises EngineError."""
        found = await self._get(f"/exec/{quote(name, safe='')}/json") or {}
        return int(found.get("Pid") or 0) if found.get("Running") else 0

    async def post(self, path: str) -> int:
        """Send a command without a body; return the status. Raises EngineError."""
        status, _ = await self._talk("POST", path)
        return status

    async def delete(self, path: str) -> int:
        """Have something deleted; return the status. Raises EngineError."""
        status, _ = await self._talk("DELETE", path)
        return status

    async def post_json(self, path: str, body: dict[str, Any]) -> int:
        """Send a command with a body; return the status. Raises EngineError."""
        status, _ = await self._talk("POST", path, json.dumps(body).encode())
        return status

    async def _get(self, path: str) -> dict[str, Any] | None:
        status, body = await self._talk("GET", path)
        if status == 404:
            return None
        value = _read(path, status, body)
        if not isinstance(value, dict):
            raise EngineError(f"the engine's answer to {path[:100]} is no object")
        return value

    async def _list(self, path: str) -> list[Any]:
        value = _read(path, *await self._talk("GET", path))
        if not isinstance(value, list):
            raise EngineError(f"the engine's answer to {path[:100]} is no list")
        return value

    def _headers(self, method: str, path: str) -> list[tuple[str, str]]:
        if not self._key or (method == "GET" and not path.startswith("/containers/")):
            return []  # looking needs nothing, but rules may be about looking into containers
        return [(HEADER, stamp(self._key, Peer(uid=GATE), method, path, time.time()))]

    async def _talk(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        import asyncio

        import h11

        try:
            async with asyncio.timeout(SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self.path))
                try:
                    return await _exchange(
                        h11.Connection(h11.CLIENT),
                        reader,
                        writer,
                        _request(method, path, body, self._headers(method, path)),
                        body,
                    )
                finally:
                    writer.close()
        except (OSError, TimeoutError, h11.ProtocolError) as error:
            raise EngineError(f"the engine does not answer on {self.path}: {type(error).__name__}") from error


def _read(path: str, status: int, body: bytes) -> Any:
    if status != 200:
        raise EngineError(f"the engine answered {status} to {path[:100]}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EngineError(f"the engine's answer to {path[:100]} is no JSON") from error


def _request(method: str, path: str, body: bytes, headers: list[tuple[str, str]]) -> Any:
    import h11

    headers = [("Host", "engine"), ("Connection", "close"), ("Content-Length", str(len(body))), *headers]
    if body:
        headers.append(("Content-Type", "application/json"))
    return h11.Request(method=method, target=path, headers=headers)


async def _exchange(connection: Any, reader: Any, writer: Any, request: Any, body: bytes) -> tuple[int, bytes]:
    import h11

    parts = [connection.send(request), connection.send(h11.Data(data=body)) if body else b"", connection.send(h11.EndOfMessage())]
    writer.write(b"".join(part for part in parts if part))
    status, data = 0, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(64 << 10))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            data += event.data
            if len(data) > MAX_ANSWER:
                raise EngineError(f"the engine's answer has more than {MAX_ANSWER >> 20} MiB")
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(data)
        elif isinstance(event, h11.ConnectionClosed):
            raise EngineError("the engine hung up")


def _only_file(archive: bytes) -> bytes:
    import io  # noqa: PLC0415 - only for names of users
    import tarfile  # noqa: PLC0415 - as above

    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
            first = opened.next()
            stream = opened.extractfile(first) if first is not None and first.isreg() else None
            return stream.read() if stream is not None else b""
    except (tarfile.TarError, OSError, ValueError) as error:
        raise EngineError("the engine's archive cannot be read") from error


def digests(image: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return an image's id, and the `NAME@sha256:...` under which registries know it. A tag is no name: anybody moves it."""
    identifier = str(image.get("Id") or "")
    if not _ID.fullmatch(identifier):
        raise EngineError("the engine names no id of an image")
    known = image.get("RepoDigests") or []
    return identifier, tuple(sorted(name for name in known if isinstance(name, str) and "@sha256:" in name))


def image_of(name: str, image: dict[str, Any]) -> Image:
    """Return an image of the engine to be judged, by every digest that it is known by; a stranger is read from the engine."""
    identifier, known = digests(image)
    bare = known[0].partition("@")[0] if known else ""
    named = not name.startswith("sha256:") and name not in identifier
    return Image(name if named else bare, (*(one.partition("@")[2] for one in known), identifier), f"docker:{identifier}")
