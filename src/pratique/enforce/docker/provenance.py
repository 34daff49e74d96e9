"""A container or an image in, whether root made what is in it by a grant out, and what taking it further needs."""

from __future__ import annotations

import asyncio  # noqa: TID253 - only `gate docker` imports this module
import time
from typing import Any, NamedTuple

from pratique.enforce.docker.engine import Engine, EngineError
from pratique.enforce.docker.question import Known, Question
from pratique.enforce.docker.records import Approved, Records
from pratique.enforce.docker.routes import Route
from pratique.enforce.docker.taint import SLACK, came_of, layers_of
from pratique.model.errors import ParseError

# Images of one `docker save`; each is asked for, and the engine's answers take their time.
_MAX_SAVED = 50
# Of images that were made while nobody looked, one of the newest may be the one.
_MAX_LOOKED_AT = 1_000
_PATIENCE = 0.2  # seconds of a decision's


class Risen(NamedTuple):
    """What a container that ran beyond the baseline was given: who has that still may take out what it wrote."""

    needed: tuple[str, ...] = ()
    session: str = ""
    grants: tuple[str, ...] = ()
    note: str = ""


class Provenance:
    """What was made from containers that ran beyond the baseline, on one engine."""

    def __init__(self, engine: Engine, records: Records) -> None:
        self._engine = engine
        self._records = records
        self._taints = records.taints
        self._look = False
        self._looking: asyncio.Task[None] | None = None

    @property
    def doubts(self) -> bool:
        """Say whether any image is suspect."""
        return bool(self._taints)

    async def of_image(self, image: dict[str, Any] | None, reference: str) -> tuple[tuple[str, ...], str]:
        """Return the privilege that an image needs for what is in it, and why; nothing for most. Raises EngineError."""
        if image is None or not self._taints:
            return (), ""
        await self._settle()
        if not self._taints.holds(image):
            return (), ""
        return (
            f"run.image:{reference}@{image['Id']}",
        ), "the image holds what was written in a container that ran beyond the baseline"

    def of_container(self, known: Known) -> Risen:
        """Return what taking files out of a container needs beside reading them."""
        record = known.record
        if record is None or not record.elevated:
            return Risen()
        note = "what is in it was written beyond the baseline, and goes with the grant for that"
        own = [one for one in self._records.commands() if one.container == known.id and one.grants]
        held: Approved = record if record.grants or not own else own[-1]
        return Risen(held.needed or ("exec.root",), held.session if held.grants else "", held.grants, note)

    async def of_saved(self, route: Route) -> tuple[tuple[str, ...], str]:
        """Return what a `docker save` needs. Raises ParseError where it is of too many images, EngineError."""
        if not self._taints:
            return (), ""
        names = [route.name] if route.name else route.query.get("names", [])
        if len(names) <= _MAX_SAVED:
            names = [one for name in names for one in await self._all_of(name)]
        if len(names) > _MAX_SAVED:
            raise ParseError(f"more than {_MAX_SAVED} images at once, of which some may be from beyond the baseline")
        needed: list[str] = []
        note = ""
        for name in names:
            found, why = await self.of_image(await self._engine.image(name), name.partition("@")[0])
            needed += found
            note = note or why
        return tuple(needed), note

    async def _all_of(self, name: str) -> list[str]:
        """Return what a name stands for in a `docker save`: without a tag, all images of a repository. Raises EngineError."""
        tagged = ":" in name.rpartition("/")[2] or "@" in name
        return [name] if tagged else await self._engine.named(name) or [name]

    async def base_of(self, known: Known) -> tuple[str, ...] | None:
        """Return the layers under a container that ran beyond the baseline, None for another. Raises EngineError."""
        if known.record is not None and not known.record.elevated:
            return None
        return layers_of(await self._engine.image(str(known.inspect.get("Image") or "")) or {})

    def begun(self, question: Question) -> None:
        """Note that an image is about to be made."""
        self._taints.begun(question.container, question.base or (), time.time())

    def unseen(self, question: Question) -> None:
        """Note that nobody saw what came of it."""
        self._taints.unseen(question.container, time.time())

    def ended_unseen(self) -> None:
        """Note that what a gate before this one let through may be over, and nobody can tell what came of it."""
        self._look = bool(self._taints.making())

    async def made(self, container: str, base: tuple[str, ...], name: str) -> None:
        """Note an image that was made."""
        try:
            image = await self._engine.image(name)
        except EngineError:
            image = None
        if image is None:
            self._taints.unseen(container, time.time())
        else:
            self._taints.add(image, base)
            self._taints.found(container)

    async def made_unasked(self, name: str) -> None:
        """Note an image whose making was let through by a gate before this one."""
        for container, made in self._taints.making().items():
            await self.made(container, made.base, name)

    async def _settle(self) -> None:
        """Have images looked for whose making nobody saw the end of. Until they are found, all that may be one is suspect."""
        if self._looking is None and (self._look or self._taints.lost(time.time())):
            self._look = False
            self._looking = asyncio.ensure_future(self._search())
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=_PATIENCE)  # many images take their time, and somebody waits
            if self._looking.done():
                self._look = self._looking.exception() is not None  # the engine did not answer: once more, next time
                self._looking = None

    async def _search(self) -> None:
        """Look for them by the container that the engine says an image was made from. Raises EngineError."""
        over, making = self._taints.lost(time.time()), self._taints.making()
        since = min((made.at for made in making.values()), default=0.0) - SLACK
        for name in (await self._engine.images(since))[:_MAX_LOOKED_AT]:
            image = await self._engine.image(name) or {}
            above = [container for container, made in making.items() if came_of(made, image)]
            maker = await self._engine.maker(name) if above else ""
            for container in above:
                if maker == container or (not maker and container in over):
                    self._taints.add(image, making[container].base)
                    self._taints.found(container)
        for container in over:
            self._taints.found(container)
