"""The line before the scans: nobody waits for somebody else's hundred, nobody has all places, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.enforce.fairness import AT_ONCE_OF_ONE, MAX_OF_ONE, MAX_WAITING, FullError, Line, Ticket
from pratique.enforce.scanning import MAX_SCANS


def test_who_asks_for_very_many_waits_for_themselves() -> None:
    """Eve has her scans running and a line full of others; Alice's one begins at once, and is not one of twenty."""

    async def play() -> list[str]:
        line, begun, go = Line(), list[str](), asyncio.Event()

        async def scan(ticket: Ticket, who: str) -> None:
            async with line.turn(ticket):
                begun.append(who)
                await go.wait()

        tickets = [(line.enter("eve"), "eve") for _ in range(MAX_OF_ONE)]
        tasks = [asyncio.create_task(scan(*one)) for one in tickets]
        await asyncio.sleep(0)
        assert begun == ["eve"] * AT_ONCE_OF_ONE
        tasks.append(asyncio.create_task(scan(line.enter("alice"), "alice")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert begun[-1] == "alice"
        go.set()
        await asyncio.gather(*tasks)
        assert line.waiting == 0
        return begun

    assert Counter(asyncio.run(play())) == {"eve": MAX_OF_ONE, "alice": 1}


def test_a_line_that_is_full_says_whose_scans_fill_it() -> None:
    """One subject's own first; then everybody's, though whoever has none waiting is let in."""

    async def play() -> None:
        line = Line()
        for _ in range(MAX_OF_ONE + AT_ONCE_OF_ONE):
            line.enter("eve")
        with pytest.raises(FullError, match=f"{MAX_OF_ONE} images that you asked for wait to be scanned: ask again"):
            line.enter("eve")
        for number in range(MAX_WAITING - line.waiting + 1):  # the first of them has the turn that is left
            line.enter(f"s{number % 15}")
        with pytest.raises(FullError, match=r"\d+ images wait to be scanned"):
            line.enter("s1")
        line.enter("alice")

    asyncio.run(play())


def test_whoever_asks_for_the_same_does_not_wait_behind_the_first() -> None:
    """The scan that Eve has last in her line is Alice's as well, and has its turn as Alice's first."""

    async def play() -> None:
        line = Line()
        running = [line.enter("eve") for _ in range(AT_ONCE_OF_ONE)]
        waiting = [line.enter("eve") for _ in range(5)]
        assert all(one.turn.done() for one in running)
        assert not any(one.turn.done() for one in waiting)
        line.join(waiting[-1], "alice")
        assert waiting[-1].turn.done()
        assert not waiting[0].turn.done()

    asyncio.run(play())


def test_what_is_given_up_leaves_nothing_behind() -> None:
    """A scan that is cancelled while it waits, and one while it runs: the next has its turn."""

    async def play() -> None:
        line, stop = Line(1), asyncio.Event()

        async def scan(ticket: Ticket) -> None:
            async with line.turn(ticket):
                await stop.wait()

        tickets = [line.enter("a"), line.enter("a"), line.enter("b")]
        tasks = [asyncio.create_task(scan(one)) for one in tickets]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[0].cancel()
        await asyncio.gather(*tasks[:2], return_exceptions=True)
        assert tickets[2].turn.done()
        stop.set()
        await tasks[2]
        assert line.waiting == 0
        assert line.enter("c").turn.done()

    asyncio.run(play())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=60))
def test_never_more_at_once_than_may_and_nobody_is_forgotten(events: list[tuple[str, int]]) -> None:
    """Whoever comes and whatever ends when: the bounds hold, and in the end everybody has had a turn."""

    async def play() -> None:
        line, running, had = Line(), Counter[str](), 0

        async def scan(ticket: Ticket, turns: int) -> None:
            nonlocal had
            async with line.turn(ticket):
                who = ticket.subjects[0]
                running[who] += 1
                assert running[who] <= AT_ONCE_OF_ONE
                assert running.total() <= MAX_SCANS
                for _ in range(turns):
                    await asyncio.sleep(0)
                running[who] -= 1
                had += 1

        tasks = [asyncio.create_task(scan(line.enter(who), turns)) for who, turns in events[:MAX_OF_ONE]]
        for who, turns in events[MAX_OF_ONE:]:
            await asyncio.sleep(0)
            try:
                tasks.append(asyncio.create_task(scan(line.enter(who), turns)))
            except FullError:
                had += 1
        await asyncio.gather(*tasks)
        assert had == len(events)
        assert line.waiting == 0

    asyncio.run(play())
