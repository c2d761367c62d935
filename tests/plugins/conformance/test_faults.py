"""Points are counted, and the one fault happens at its own."""

import asyncio

import pytest

from zabra.plugins.conformance.faults import AWAY, ERROR, KILL, LIFE, TARGET, Faults, Killed, TargetError
from zabra.plugins.conformance.virtual_time import run_virtual


async def use(faults, done):
    async with faults.call("send"):
        done.append("sent")


@pytest.mark.parametrize(("at", "sent"), [(0, []), (1, ["sent"]), (2, ["sent"])])
def test_before_and_after_the_target_took_it(at, sent):
    async def main():
        faults = Faults(ERROR, at)
        done = []
        if at < 2:
            with pytest.raises(TargetError, match=r"(before|after) send: an error"):
                await use(faults, done)
            await use(faults, [])
        else:
            await use(faults, done)
        assert done == sent
        assert faults.passed[:1] == ["before send"]

    run_virtual(main)


def test_a_kill_is_not_returned_from_and_nothing_has_an_effect_behind_it():
    async def main():
        faults = Faults(KILL, 0)
        done = []
        task = asyncio.ensure_future(use(faults, done))
        await faults.signal.wait()
        faults.life += 1
        task.cancel()
        await asyncio.wait([task])
        with pytest.raises(Killed):
            await use(faults, done)
        LIFE.set(faults.life)
        await use(faults, done)
        assert done == ["sent"]

    run_virtual(main)


def test_in_a_thread_a_kill_is_raised():
    async def main():
        faults = Faults(KILL, 1)
        with pytest.raises(Killed), faults.step("write"):
            pass
        assert faults.signal.is_set()

    run_virtual(main)


def test_a_target_that_crashes_and_one_that_goes():
    async def main():
        crashed = []
        faults = Faults(TARGET, 1)
        faults.crash_target = lambda: crashed.append(1)
        with pytest.raises(TargetError):
            await use(faults, [])
        assert crashed == [1]
        faults = Faults(AWAY, 0)
        for _ in range(3):
            with pytest.raises(TargetError):
                await use(faults, [])
        # What is not the target's goes on.
        await faults.point("before open()", False)
        faults.target_away = False
        await use(faults, [])

    run_virtual(main)
