"""What any store of grants does, so that the fleet's can stand in the place of the one in a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, Protocol

from pratique.model.privilege import Grant, State

Step = Callable[[Grant], Grant]


class Kept(NamedTuple):
    """A grant, and which version of it: versions of one grant count up from 1."""

    grant: Grant
    version: int


class Used(NamedTuple):
    """What came of a use. `again` says that this session had used it before, and nothing was consumed."""

    grant: Grant
    again: bool


class Wanted(NamedTuple):
    """Which grants to list; what is None or empty does not restrict. `expiring` is a wall-clock time in seconds."""

    states: Collection[State] = ()
    provider: str | None = None
    subject: str | None = None
    expiring: float | None = None


class GrantStore(Protocol):
    """Keeps grants. Every method raises StoreError where the store does not answer."""

    def create(self, grant: Grant, before: Callable[[], None] | None = None) -> Kept:
        """Keep a new grant; `before` runs just before it is kept, and what it raises keeps it from being so."""

    def get(self, name: str) -> Kept:
        """Return a grant by its id, or by the beginning of one that is unambiguous. Raises NoSuchGrantError."""

    def find(self, wanted: Wanted = ...) -> list[Kept]:
        """Return those wanted, the youngest request first."""

    def change(self, name: str, step: Step) -> Kept:
        """Replace a grant by what `step` makes of it, which runs once, alone; what it raises leaves all as it was."""

    def replace(self, grant: Grant, version: int) -> Kept:
        """Replace a grant that still has this version. Raises ConflictError."""

    def use(self, name: str, session: str, step: Step) -> Used:
        """Consume one use by `step`, unless this session has: however many ask at once, `step` runs once a session."""
