"""Requests that were let through, and what the engine made of them, in; what is remembered of them, and who builds, out."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import msgspec

from pratique.enforce.docker.buildkit import Channels
from pratique.enforce.docker.engine import Engine, EngineError
from pratique.enforce.docker.provenance import Provenance
from pratique.enforce.docker.question import Question
from pratique.enforce.docker.records import Approved, Records
from pratique.enforce.docker.routes import classify
from pratique.enforce.keeper import Session
from pratique.grant.request import key
from pratique.model.privilege import Subject

# Seconds after which a build whose end nobody told counts as over: what looks like its step is then nobody's.
LONGEST_BUILD = 6 * 3600.0
# Privileges of commands that leave their mark in a container.
_ROOTS = frozenset(("exec.root", "exec.privileged"))


class Outcomes:
    """What one engine was let do. `channels` are the connections on which people build, `provenance` is of images."""

    def __init__(self, engine: Engine, records: Records) -> None:
        self._engine = engine
        self._records = records
        self.channels = Channels()
        self.provenance = Provenance(engine, records)
        self._builds: list[Question] = []  # that are being served: the engine runs their steps without asking anybody

    def begun(self, question: Question) -> None:
        """Note what the engine is about to do."""
        if question.route.kind == "build":
            self._builds.append(question)
        elif question.base is not None:
            self.provenance.begun(question)

    def builders(self) -> list[Subject]:
        """Return who has a build served at this moment, each once: nothing says whose of them a step is."""
        self._builds = young = [build for build in self._builds if time.monotonic() - build.at < LONGEST_BUILD]
        served = [build.request.subject for build in young if build.request.subject is not None]
        return list(dict.fromkeys([*self.channels.builders(), *served]))

    async def done(self, question: Question, session: Session, answer: dict[str, Any]) -> None:
        """Remember what was let through under the id that the engine gave it."""
        kind, made = question.route.kind, str(answer.get("Id") or answer.get("ID") or "")
        if kind == "build":
            self.failed(question)
        elif kind == "create" and made:
            self._records.remember(self._record(question, session, made))
        elif kind == "exec" and made:
            self._records.remember_command(self._record(question, session, made))
            self._rose_by(question, session)
        elif question.base is not None:
            await self.provenance.made(question.container, question.base, made)
        elif kind in ("start", "restart"):
            self._still_elevated(question, session)
        elif question.route.path.startswith("/containers/") and kind == "ordinary" and "/" not in question.route.path[12:]:
            self._records.forget(question.route.name)

    async def done_unasked(self, method: str, uri: str, answer: dict[str, Any]) -> None:
        """Note what was let through by a gate before this one, and is done only now."""
        if classify(method, uri).kind == "commit":
            await self.provenance.made_unasked(str(answer.get("Id") or ""))

    async def denied(self, question: Question) -> None:
        """Remove what was to be removed after it ran and now never runs: `docker run --rm` would wait for that for ever."""
        subject, record = question.request.subject, self._records.container(question.container)
        if question.route.kind != "start" or record is None or subject is None or key(subject) != key(record.subject):
            return
        with contextlib.suppress(EngineError):  # it was denied; that a client waits is no reason to fail
            inspect = await self._engine.container(question.container) or {}
            never_ran = (inspect.get("State") or {}).get("Status") == "created"
            if never_ran and (inspect.get("HostConfig") or {}).get("AutoRemove"):
                await self._engine.delete(f"/containers/{question.container}?v=1")
                self._records.forget(question.container)

    def failed(self, question: Question) -> None:
        """Nothing came of it, or it is over."""
        if question in self._builds:
            self._builds.remove(question)
        elif question.base is not None:
            self.provenance.unseen(question)

    def _record(self, question: Question, session: Session, identifier: str) -> Approved:
        decision, request = session.decision, question.request
        return Approved(
            id=identifier,
            subject=request.subject or Subject(id="", provider="claimed"),
            session=session.key,
            needed=decision.needed,
            grants=decision.grants,
            digest=request.target.digest,
            reference=request.target.reference,
            elevated=bool(decision.grants),
            at=session.at,
            container=question.container,
            request=request,
            image=question.image.target.removeprefix("docker:") if question.image is not None else "",
        )

    def _rose_by(self, question: Question, session: Session) -> None:
        """Note that a command is going to be root in a container: what is made from it is suspect."""
        record = self._records.container(question.container)
        rose = session.decision.grants and not _ROOTS.isdisjoint(session.decision.needed)
        if record is not None and rose and not record.elevated:
            self._records.remember(msgspec.structs.replace(record, elevated=True))

    def _still_elevated(self, question: Question, session: Session) -> None:
        record = self._records.container(question.container)
        if record is not None and session.decision.grants:
            self._records.remember(msgspec.structs.replace(record, elevated=True, grants=session.decision.grants))
