"""Edits of a text: offsets and what to put there; applied together where they do not touch one another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pratique.lint.hit import Hit


class Edit(NamedTuple):
    """Put `text` in the place of what stands from `start` to `end` (offsets)."""

    start: int
    end: int
    text: str


class Fix(NamedTuple):
    """How to mend what a check found. `title` says what is done, as an order.

    `safe` means: by all that the file shows, what is built or run does what it did before. Any other fix is a proposal that
    somebody must look at.
    """

    id: str
    hit: Hit
    title: str
    safe: bool
    edits: tuple[Edit, ...]


def chosen(fixes: Iterable[Fix]) -> list[Fix]:
    """Return the fixes that can be applied together, the first of two that touch one another."""
    taken: list[Edit] = []
    found: list[Fix] = []
    for fix in sorted(fixes, key=lambda fix: fix.edits):
        own = sorted(set(fix.edits) - set(taken))  # what two findings need alike is done once
        if all(_apart(one, other) for one in own for other in taken[-len(own) - 50 :]):
            taken += own
            taken.sort()
            found.append(fix)
    return found


def _apart(one: Edit, other: Edit) -> bool:
    return one.end < other.start or other.end < one.start


def applied(text: str, fixes: Iterable[Fix]) -> str:
    """Return the text with all edits of these fixes, which `chosen` returned."""
    parts, at = [], 0
    for edit in sorted({edit for fix in fixes for edit in fix.edits}):
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])
