"""Time jumps, threads do not run, and who waits for nothing is told so."""

import asyncio
import time

import pytest
from tests.plugins.conformance.passing import virtual

from zabra.plugins.conformance.virtual_time import StuckError, run_virtual


def test_a_thousand_seconds_take_none():
    async def main():
        begin = time.monotonic()
        await virtual(1000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(500):
                await virtual(501)
        assert time.monotonic() - begin < 500
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 1500


def test_what_is_for_a_thread_is_done_at_once():
    async def main():
        done = []
        waiting = asyncio.get_running_loop().run_in_executor(None, done.append, 1)
        assert done == [1]
        await waiting
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    run_virtual(main)


def test_nobody_waits_for_ever():
    async def main():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StuckError):
        run_virtual(main)


def test_what_is_left_is_ended_even_if_it_does_not_want_to():
    ended = []

    async def stubborn():
        for _ in range(3):
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                ended.append(1)
        raise ValueError("not looked at")

    async def main():
        main.task = asyncio.ensure_future(stubborn())
        await asyncio.sleep(0)

    run_virtual(main)
    assert len(ended) == 3
