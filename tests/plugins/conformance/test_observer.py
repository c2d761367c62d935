"""The observer of a check comes back with what its disk holds."""

import asyncio

from tests.plugins.conformance.passing import virtual
from tests.plugins.helpers import Noted

from zabra.plugins.conformance.faults import Faults
from zabra.plugins.conformance.history import CommittedHistory
from zabra.plugins.conformance.observer import ModelObserver
from zabra.plugins.conformance.virtual_time import run_virtual
from zabra.plugins.filters import Filter
from zabra.sim.prng import Prng


def new_observer(noted):
    history = CommittedHistory(Filter())
    return history, ModelObserver(history, Faults(), lambda: noted, Prng(1, "test"), "/")


async def until(noted, history):
    async with asyncio.timeout(600):
        while noted.cursor < history.last:
            await virtual(0.1)


def test_killed_before_its_log_was_written():
    async def main():
        noted = Noted()
        history, observer = new_observer(noted)
        observer.start()
        observer.hear(history.beginning())
        await until(noted, history)
        observer.hear(history.some(3), logged=False)
        await until(noted, history)
        published = len(noted.told)
        await observer.end(power_cut=True)
        observer.start()
        assert not observer.has_heard(history.entries[-1])
        # It is behind its publisher: nothing is published until it is not any more.
        await virtual(10)
        assert len(noted.told) == published
        observer.synchronise()
        observer.hear(history.some(2))
        await until(noted, history)
        assert noted.zxids == [entry.header.zxid for entry in history.entries]
        await observer.stop()

    run_virtual(main)


def test_a_compacted_log_and_a_late_joiner():
    async def main():
        noted = Noted()
        history, observer = new_observer(noted)
        history.beginning()
        observer.start()
        observer.adopt_snapshot()
        await observer.end(False)
        observer.start()
        await until(noted, history)
        assert [zxid for zxid, _ in noted.snaps] == [history.last]
        noted.fail = ConnectionError()
        observer.hear(history.some(9))
        await virtual(1)
        observer.compact()
        noted.fail = None
        await until(noted, history)
        assert [zxid for zxid, _ in noted.snaps][1:] == [history.last]
        await observer.stop()

    run_virtual(main)
