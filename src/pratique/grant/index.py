"""Many grants in, the few that could cover a privilege for somebody out: by subject, form, and what their scope names exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pratique.grant import privileges
from pratique.grant.globs import is_pattern
from pratique.grant.privileges import Privilege
from pratique.grant.request import Target, key
from pratique.model.privilege import LIVE_STATES, Grant, Subject

_ANY = ""
_NAMESPACE = "namespace "  # with a space, which no id and no digest has


class Held(NamedTuple):
    """A grant with its privileges parsed."""

    grant: Grant
    privileges: tuple[Privilege, ...]


class GrantIndex:
    """Live grants, found by subject and privilege without looking at the others; and broken glasses that await a review.

    What is put in under an id that is there replaces it. Grants in other states, and those that cannot be read, are left out.
    """

    def __init__(self, grants: Iterable[Grant] = ()) -> None:
        self._held: dict[str, Held] = {}
        # subject -> form -> container, digest, namespace or "" -> grant ids, in the order they came
        self._by: dict[str, dict[str, dict[str, dict[str, None]]]] = {}
        self._broken: dict[str, dict[str, Grant]] = {}
        for grant in grants:
            self.put(grant)

    def __len__(self) -> int:
        """Count the live grants."""
        return len(self._held)

    def get(self, name: str) -> Grant | None:
        """Return a live grant by its id."""
        held = self._held.get(name)
        return held.grant if held is not None else None

    def put(self, grant: Grant) -> None:
        """Add a grant, or take its newer state; one that is no longer live is taken out."""
        self.discard(grant.id)
        subject = key(grant.asked.subject)
        if grant.asked.break_glass and grant.activated_at:
            self._broken.setdefault(subject, {})[grant.id] = grant
        if grant.state not in LIVE_STATES:
            return
        held = Held(grant, privileges.parse_all(grant.asked.privileges))
        self._held[grant.id] = held
        for bucket in self._buckets(held):
            bucket[grant.id] = None

    def discard(self, name: str) -> None:
        """Take a grant out."""
        held = self._held.pop(name, None)
        if held is None:
            return
        for bucket in self._buckets(held):
            bucket.pop(name, None)
        self._broken.get(key(held.grant.asked.subject), {}).pop(name, None)

    def candidates(self, subject: Subject, want: Privilege, target: Target) -> Iterator[Held]:
        """Yield the grants of a subject that have a privilege and might reach a target; in each place the youngest first."""
        forms = self._by.get(key(subject))
        if not forms:
            return
        for form in privileges.forms_covering(want.form):
            places: Mapping[str, dict[str, None]] = forms.get(form, {})
            for place in dict.fromkeys((_ANY, target.container, target.digest, f"{_NAMESPACE}{target.namespace}")):
                for name in reversed(places.get(place, {})):
                    held = self._held[name]
                    if privileges.covered(held.privileges, want):
                        yield held

    def live(self, subject: Subject) -> list[Grant]:
        """Return the live grants of a subject."""
        forms = self._by.get(key(subject), {})
        names = dict.fromkeys(name for places in forms.values() for bucket in places.values() for name in bucket)
        return [self._held[name].grant for name in names]

    def broken(self, subject: Subject) -> list[Grant]:
        """Return the grants for which a subject broke the glass."""
        return list(self._broken.get(key(subject), {}).values())

    def _buckets(self, held: Held) -> Iterator[dict[str, None]]:
        scope = held.grant.asked.scope
        places = [scope.container] if scope.container else [image.rpartition("@")[2] for image in scope.images]
        if not places and scope.namespaces and not any(map(is_pattern, scope.namespaces)):
            places = [f"{_NAMESPACE}{name}" for name in scope.namespaces]
        places = places or [_ANY]
        forms = self._by.setdefault(key(held.grant.asked.subject), {})
        for form in {privilege.form for privilege in held.privileges}:
            for place in places:
                yield forms.setdefault(form, {}).setdefault(place, {})
