"""One who asks very much waits for themselves, and not everybody for them."""

from __future__ import annotations

import asyncio

from pratique.enforce.docker.turns import AT_ONCE, PACE, Turns


def test_few_of_one_user_at_once_and_nobody_else_waits() -> None:
    async def run() -> None:
        turns, inside, most = Turns(), 0, 0
        leave = asyncio.Event()

        async def ask(who: str) -> None:
            nonlocal inside, most
            async with turns.turn(who):
                inside += 1
                most = max(most, inside)
                await leave.wait()
                inside -= 1

        many = [asyncio.ensure_future(ask("unix:mallory")) for _ in range(50)]
        await asyncio.sleep(0.01)
        assert most == AT_ONCE
        alice = asyncio.ensure_future(ask("unix:alice"))
        await asyncio.sleep(0.01)
        assert most == AT_ONCE + 1
        many[-1].cancel()  # one that gave up waiting leaves no turn taken
        leave.set()
        await asyncio.gather(alice, *many, return_exceptions=True)
        assert inside == 0
        assert not turns._of

    asyncio.run(run())


def test_a_denial_takes_time_only_where_others_wait() -> None:
    async def run() -> None:
        turns, loop = Turns(), asyncio.get_running_loop()

        async def denied() -> None:
            async with turns.turn("unix:mallory"):
                await asyncio.sleep(0)  # what is decided meanwhile
                await turns.pace("unix:mallory")

        start = loop.time()
        for _ in range(200):
            await denied()
        assert loop.time() - start < 100 * PACE  # on a busy machine, too
        start = loop.time()
        await asyncio.gather(*(denied() for _ in range(AT_ONCE * 4)))
        assert loop.time() - start >= 2 * PACE

    asyncio.run(run())
