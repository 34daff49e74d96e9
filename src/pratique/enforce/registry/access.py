"""Who asks, and for which repository, in; whether it may be read, pushed to or deleted from out, at this moment.

Reading is by a short file of readers; pushing and deleting are privileges, decided by the privilege policy and the grants that
live. A push is a session: it takes one use of a grant when it begins, and ends when a tag is written, or when nothing came for a
while. Between them every request is asked anew whether the grants that it began with still live.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pratique._kit.written import Written, read
from pratique.enforce.admission import Judgement
from pratique.enforce.keeper import Keeper, Session
from pratique.grant.request import Request, Target, key
from pratique.model.errors import PratiqueError
from pratique.model.privilege import Decision, Subject
from pratique.policyfiles import read_bounded
from pratique.store.line import Entry, Who

# Seconds without a request after which a push has ended: more than a client takes to compress a large layer.
PUSH_IDLE = 300.0
_MAX_PUSHES = 10_000
LOOK = 1.0  # seconds between looks at the file of readers
SCANNER = "@scanner"  # the gate's own reader; no account can have this name

Change = Literal["push", "delete"]


class Readers(Written, kw_only=True):
    """Who may read which repositories, by globs: members of groups, those named (`PROVIDER:ID`), or anybody at all."""

    repositories: tuple[str, ...]
    groups: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    anybody: bool = False
    anonymous: bool = False


class AccessSpec(Written, kw_only=True):
    """Readers; to whom (`group:NAME`, `PROVIDER:ID`) the catalog of all repositories is shown."""

    readers: tuple[Readers, ...] = ()
    catalog: tuple[str, ...] = ()


class Metadata(Written, kw_only=True):
    """Name and purpose."""

    name: str
    description: str = ""


class AccessFile(Written, kw_only=True):
    """kind: RegistryAccess."""

    apiVersion: Literal["pratique/v1"]  # noqa: N815 - as Kubernetes' users write it
    kind: Literal["RegistryAccess"]
    metadata: Metadata
    spec: AccessSpec


def load_access(path: Path) -> AccessSpec:
    """Read a file of readers. Raises PolicyError with FILE:LINE:COLUMN."""
    return read(str(path), read_bounded(path), AccessFile)[0].spec


# Where no file is given: whoever has an account may read everything, nobody else anything.
EVERYBODY = AccessSpec(readers=(Readers(repositories=("*",), anybody=True),))


class Reading:
    """Who may read what: as given, or as a file says, which is read again when it changes."""

    def __init__(self, given: AccessSpec | Path | None = None) -> None:
        """Raises PolicyError for a file that is wrong."""
        self._path = given if isinstance(given, Path) else None
        self._spec = load_access(given) if isinstance(given, Path) else given or EVERYBODY
        self._seen = self._look()
        self._looked = time.monotonic()

    def current(self) -> AccessSpec:
        """Return what holds now; a file that became unreadable lets nobody read: whom it meant nobody can tell."""
        now = time.monotonic()
        if self._path is not None and now - self._looked > LOOK:
            self._looked = now
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._spec = load_access(self._path)
                except PratiqueError:
                    self._spec = AccessSpec()
        return self._spec

    def _look(self) -> tuple[int, int]:
        try:
            status = self._path.stat() if self._path is not None else None
        except OSError:
            return (-1, -1)
        return (status.st_mtime_ns, status.st_ino) if status is not None else (0, 0)


class _Push:
    """A push that has begun."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.last = time.monotonic()


class Doorman:
    """Decides for one registry, called `name` in privileges: `registry.push:NAME/REPOSITORY`."""

    def __init__(self, keeper: Keeper, reading: Reading, name: str) -> None:
        self._keeper = keeper
        self._reading = reading
        self._name = name
        self._pushes: OrderedDict[tuple[str, str], _Push] = OrderedDict()

    def may_read(self, subject: Subject | None, repository: str) -> bool:
        """Say whether somebody may read a repository; None is whoever did not sign in."""
        if subject is not None and subject.id == SCANNER:
            return True
        return any(
            any(fnmatchcase(repository, pattern) for pattern in entry.repositories) and _is_meant(entry, subject)
            for entry in self._reading.current().readers
        )

    def now(self) -> float:
        """Return the time of decisions, in seconds since the epoch."""
        return self._keeper.moment().wall

    def may_list(self, subject: Subject | None) -> bool:
        """Say whether somebody may see the names of all repositories."""
        if subject is None:
            return False
        return not {key(subject), *(f"group:{group}" for group in subject.groups)}.isdisjoint(self._reading.current().catalog)

    def would(self, subject: Subject | None, change: Change, repository: str) -> Decision:
        """Decide without using anything: what a token may say."""
        push = self._pushes.get(_name(subject, repository)) if change == "push" else None
        held = push.session.decision.grants if push is not None and not _is_over(push) else ()
        return self._keeper.decide(self._request(subject, change, repository), self._keeper.moment(), held)

    def offers(self, subject: Subject | None, change: Change, repository: str) -> bool:
        """Say whether a token may say that somebody may change a repository: one that only is observed lets everybody."""
        return self._keeper.observe or self.would(subject, change, repository).allowed

    async def change(self, subject: Subject | None, change: Change, repository: str, what: str = "") -> Decision:
        """Decide a change, use a grant for it, and have it in the ledger. `what` is the manifest that is written."""
        request = self._request(subject, change, repository)
        seen = what if what.startswith("sha256:") else ""
        if change == "delete":
            return (await self._keeper.rule(request, secrets.token_hex(16), effective=seen)).decision
        name = _name(subject, repository)
        push = self._pushes.get(name)
        if push is not None and not _is_over(push):
            if not what and self._still(push, request):
                push.last = time.monotonic()
                return push.session.decision
            session = await self._keeper.rule(request, push.session.key, held=push.session.decision.grants, effective=seen)
        else:
            session = await self._keeper.rule(request, secrets.token_hex(16), effective=seen)
        if session.decision.allowed:
            self._pushes[name] = _Push(session)
            self._pushes.move_to_end(name)
            while len(self._pushes) > _MAX_PUSHES:
                self._pushes.popitem(last=False)
        else:
            self._pushes.pop(name, None)
        return session.decision

    async def refused(self, subject: Subject | None, repository: str, judgements: Sequence[Judgement]) -> str:
        """Return why an image is not given out that was judged so, "" where a grant lets it, or that is only observed.

        A pull uses nothing of the grant, which is for running the image; that it went by one is on record first.
        """
        import asyncio

        way_out = ""
        for judgement in judgements:
            decision = self._excepted(subject, repository, judgement)
            if decision is None:
                continue
            if decision.allowed:
                return await asyncio.to_thread(self._record, subject, repository, judgement, decision)
            way_out = way_out or next((reason.request for reason in decision.reasons if reason.request), "")
        why = judgements[0].reason
        said = await asyncio.to_thread(self._keeper.refused, "registry", subject, self._pull(repository), why)
        return said + (f" (request it: {way_out})" if said and way_out else "")

    async def turned_away(self, subject: Subject, rule: str, what: str, why: str) -> str:
        """Record what somebody was refused that no grant could give, and return the sentence for them.

        It is refused whether or not that can be written down: nothing is let through here.
        """
        import asyncio

        entry = Entry(
            event="decision", subject=Who.of(subject), decision="deny", point="registry", node=os.uname().nodename, rule=rule,
            reason=why[:1000], detail={"request": what[:300]},
        )  # fmt: skip
        try:
            await asyncio.to_thread(self._keeper.desk.record, entry)
        except PratiqueError as error:
            return f"pratique: denied: {why}; {error.message}"
        return f"pratique: denied: {why}"

    def _excepted(self, subject: Subject | None, repository: str, judgement: Judgement) -> Decision | None:
        """Decide on an image that is refused as on any privilege."""
        if not judgement.privilege:
            return None
        name = f"{self._name}/{repository}"
        target = Target(host=os.uname().nodename, reference=name, digest=judgement.digest, name=name)
        request = Request(subject=subject, action="pull", point="registry", target=target, extra=(judgement.privilege,))
        try:
            return self._keeper.decide(request, self._keeper.moment())
        except PratiqueError:
            return None

    def _record(self, subject: Subject | None, repository: str, judgement: Judgement, decision: Decision) -> str:
        entry = Entry(
            event="decision",
            subject=Who.of(subject) if subject is not None else None,
            decision=decision.ruling,
            needed=decision.needed,
            grant=next(iter(decision.grants), ""),
            policy=decision.policy,
            point="registry",
            rule="admission",
            reason=judgement.reason[:1000],
            detail={"request": self._pull(repository), "digest": judgement.digest},
        )
        try:
            self._keeper.desk.record(entry)
        except PratiqueError as error:
            return f"pratique: denied: {error}"
        return ""

    def _pull(self, repository: str) -> str:
        return f"pull {self._name}/{repository}"

    def still(self, subject: Subject | None, repository: str) -> bool:
        """Say whether a push that has begun may go on: asked while its bytes flow. Takes microseconds."""
        push = self._pushes.get(_name(subject, repository))
        if push is None:
            return False
        push.last = time.monotonic()
        return self._still(push, self._request(subject, "push", repository))

    def tagged(self, subject: Subject | None, repository: str) -> None:
        """Note that a tag was written: that push has ended, and another one is another use."""
        self._pushes.pop(_name(subject, repository), None)

    def _still(self, push: _Push, request: Request) -> bool:
        """Say whether what a push began with still holds; grants that it did not begin with do not count: they were not used."""
        held = push.session.decision.grants
        try:
            decision = self._keeper.decide(request, self._keeper.moment(), held)
        except PratiqueError:
            return False
        return decision.allowed and set(decision.grants) <= set(held) if not self._keeper.observe else True

    def _request(self, subject: Subject | None, change: Change, repository: str) -> Request:
        """Name the repository alone: layers come before their manifest, when nobody knows the digest of it yet."""
        name = f"{self._name}/{repository}"
        target = Target(host=os.uname().nodename, reference=name, name=name)
        return Request(subject=subject, action=change, point="registry", target=target)


def _is_over(push: _Push) -> bool:
    return time.monotonic() - push.last > PUSH_IDLE


def _name(subject: Subject | None, repository: str) -> tuple[str, str]:
    return key(subject) if subject is not None else "", repository


def _is_meant(entry: Readers, subject: Subject | None) -> bool:
    if entry.anonymous:
        return True
    if subject is None:
        return False
    return entry.anybody or bool(set(entry.groups) & set(subject.groups)) or key(subject) in entry.ids
