"""A store in, the privilege policy that holds out: the one that was set, the last good one for a day, or the baseline alone."""

from __future__ import annotations

import contextlib
from typing import Literal, NamedTuple

from pratique.grant.policy import PrivilegePolicy, builtin, load
from pratique.model.errors import PolicyError, StoreError
from pratique.model.privilege import Moment
from pratique.store.facts import Facts

LAST_GOOD = 24 * 3600  # seconds that a policy outlives its store's damage: a weekend's night shift can mend it
_NOTE_EVERY = 600.0  # seconds between notes that the policy was good
NAME = "the store's policy"

# No part applies to anybody: the strictest baseline, no entitlement, no glass to break.
BASELINE_ONLY = PrivilegePolicy((), "none")


class Standing(NamedTuple):
    """The policy to decide by, how it came to be that, and what is wrong ("" when nothing is)."""

    policy: PrivilegePolicy
    state: Literal["set", "built-in", "last-good", "baseline-only"]
    why: str = ""


class Rules:
    """Keeps the compiled policy of one store, and asks it each time whether that is still the one: 10 microseconds."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._seen = ""
        self._good: PrivilegePolicy | None = None
        self._good_at = Moment(0.0)
        self._noted, self._number = 0.0, 0

    def current(self, now: Moment) -> Standing:
        """Return the policy that holds now. Never raises: without one there is the baseline alone."""
        try:
            seen = self._facts.get("policy")
            if self._good is None or seen != self._seen:
                kept = self._facts.policy()
                if kept is None:
                    return Standing(builtin(), "built-in")
                self._good, self._seen, self._number = load(NAME, kept.body), seen, kept.version
                self._noted = 0.0
            self._good_at = now
        except (StoreError, PolicyError) as error:
            return self._without(now, str(error))
        self._note(now)
        return Standing(self._good, "set")

    def _note(self, now: Moment) -> None:
        """Write down that it was good, for a process that begins when it no longer is."""
        if 0 <= now.wall - self._noted < _NOTE_EVERY:
            return
        self._noted = now.wall
        with contextlib.suppress(StoreError):  # a store that is busy now is noted in the next turn
            self._facts.note_good(self._number, now.wall)

    def _without(self, now: Moment, why: str) -> Standing:
        if self._good is not None:
            if 0 <= _between(self._good_at, now) < LAST_GOOD:
                return Standing(self._good, "last-good", why)
            return Standing(BASELINE_ONLY, "baseline-only", why)
        try:
            last = self._facts.last_good()
            if last is not None and 0 <= now.wall - last[1] < LAST_GOOD:
                return Standing(load(NAME, last[0].body), "last-good", why)
        except (StoreError, PolicyError) as error:
            why = f"{why}; {error}"
        return Standing(BASELINE_ONLY, "baseline-only", why)


def _between(then: Moment, now: Moment) -> float:
    """Return the seconds between two moments, by the clock that nobody sets where it is one boot."""
    same = then.boot_id and then.boot_id == now.boot_id
    return now.boot - then.boot if same else now.wall - then.wall
