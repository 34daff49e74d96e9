"""A name of a container is not moved between a decision and the engine's own look-up; nobody else waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from pratique.enforce.docker.names import GRACE, MovingError, Names, Use

MINE, OTHERS = "a" * 64, "b" * 64
_SOON = 30.0


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def soon() -> None:
        await asyncio.wait_for(coroutine, _SOON)

    asyncio.run(soon())


async def is_waiting(task: asyncio.Task[None]) -> bool:
    """Say whether a task still waits when everything else had its turn several times."""
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


def test_a_name_that_is_referred_to_is_not_moved() -> None:
    async def case() -> None:
        names = Names()
        reference = Use("web", moves=False)
        await names.begin(reference)
        names.found(reference, MINE)
        rename = Use("web", moves=True, to="old")
        await names.begin(rename)
        names.found(rename, MINE)
        moving = asyncio.ensure_future(names.move(rename))
        assert await is_waiting(moving)
        names.ended(reference)
        await moving

    run(case())


@pytest.mark.parametrize("name", ["victim", OTHERS])
def test_nor_given_to_another(name: str) -> None:
    """By whatever that one is called."""

    async def case() -> None:
        names = Names()
        reference = Use("web", moves=False)
        await names.begin(reference)
        names.found(reference, MINE)
        rename = Use(name, moves=True, to="web")
        await names.begin(rename)
        names.found(rename, OTHERS)
        moving = asyncio.ensure_future(names.move(rename))
        assert await is_waiting(moving)
        names.answered(reference)
        await moving  # an attached stream lasts, but its name was looked up long ago

    run(case())


def test_a_name_that_is_being_moved_is_not_referred_to() -> None:
    async def case() -> None:
        names = Names()
        rename = Use(OTHERS, moves=True, to="web")
        await names.begin(rename)
        names.found(rename, OTHERS)
        await names.move(rename)
        beginning = asyncio.ensure_future(names.begin(Use("web", moves=False)))
        assert await is_waiting(beginning)
        by_another_name = Use("victim", moves=False)
        await names.begin(by_another_name)
        with pytest.raises(MovingError, match="try again"):
            names.found(by_another_name, OTHERS)
        settling = asyncio.ensure_future(names.settled(by_another_name, OTHERS))
        assert await is_waiting(settling)
        names.ended(rename)
        await beginning
        await settling
        names.found(by_another_name, OTHERS)

    run(case())


def test_what_is_not_known_yet_is_waited_for() -> None:
    """It may come to be the container that is removed."""

    async def case() -> None:
        names = Names()
        reference = Use("prefix", moves=False)
        await names.begin(reference)
        removal = Use(MINE, moves=True)
        await names.begin(removal)
        names.found(removal, MINE)
        moving = asyncio.ensure_future(names.move(removal))
        assert await is_waiting(moving)
        names.found(reference, OTHERS)
        await moving

    run(case())


def test_two_who_remove_the_same_do_not_wait_for_each_other() -> None:
    async def case() -> None:
        names = Names()
        first, second = Use("web", moves=True), Use("web", moves=True)
        for use in (first, second):
            await names.begin(use)
            names.found(use, MINE)
        later = asyncio.ensure_future(names.move(second))
        assert await is_waiting(later)
        await names.move(first)
        names.ended(first)
        await later

    run(case())


def test_two_who_find_the_same_to_remove_wait_in_turn() -> None:
    """The later one began before the earlier one moved it: it looks again when that is over."""

    async def case() -> None:
        names = Names()
        first, second = Use("web", moves=True), Use("web", moves=True)
        await names.begin(first)
        await names.begin(second)
        names.found(first, MINE)
        await names.move(first)
        with pytest.raises(MovingError):
            names.found(second, MINE)
        settling = asyncio.ensure_future(names.settled(second, MINE))
        assert await is_waiting(settling)
        names.ended(first)
        await settling
        names.found(second, "")
        await names.move(second)

    run(case())


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pratique.enforce.docker.names.PATIENCE", 0.01)

    async def case() -> None:
        names = Names()
        rename = Use("web", moves=True, to="old")
        await names.begin(rename)
        names.found(rename, MINE)
        await names.move(rename)
        with pytest.raises(MovingError, match="'web' is being renamed or removed: try again"):
            await names.begin(Use("web", moves=False))
        with pytest.raises(MovingError):
            await names.settled(Use("old", moves=False), MINE)

    run(case())


def test_ids_and_other_containers_wait_for_nobody() -> None:
    async def case() -> None:
        names = Names()
        for reference, identifier in (
            (Use(MINE, moves=False), MINE),
            (Use("web", moves=False), MINE),
            (Use("none", moves=False), ""),
        ):
            await names.begin(reference)
            names.found(reference, identifier)
        for use, identifier in ((Use("db", moves=True), OTHERS), (Use("nothing", moves=True), "")):
            await names.begin(use)
            names.found(use, identifier)
            await names.move(use)

    run(case())


def test_what_nobody_ends_is_over_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pratique.enforce.docker.names.LONGEST", GRACE)

    async def case() -> None:
        names = Names()
        lost = Use("web", moves=True)
        await names.begin(lost)
        names.found(lost, MINE)
        await names.move(lost)
        names.answered(lost)
        await names.begin(Use("web", moves=False))

    run(case())


def test_a_name_is_held_for_as_long_as_its_decision_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that nobody has scanned is waited for as long as its policy says, which is longer than any engine takes."""
    now = [1000.0]
    monkeypatch.setattr("pratique.enforce.docker.names.time", SimpleNamespace(monotonic=lambda: now[0]))

    async def case() -> None:
        names = Names()
        reference = Use("web", moves=False)
        await names.begin(reference)
        names.found(reference, MINE)
        now[0] += 3600.0
        rename = Use("web", moves=True, to="old")
        await names.begin(rename)
        names.found(rename, MINE)
        moving = asyncio.ensure_future(names.move(rename))
        assert await is_waiting(moving)
        names.answered(reference)
        now[0] += GRACE
        await moving

    run(case())
