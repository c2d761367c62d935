"""The disk thread: order, what gathers behind a sync, failures, and mistakes of our own."""

import asyncio
import threading

from zabra.runtime.command_thread import CommandThread, FlushPace
from zabra.server.disk_worker import DiskFailure
from zabra.server.ready import DISK_APPEND, DISK_ROLL, DiskCommand
from zabra.server.settings import Settings


class Worker:
    """Stands where the DiskWorker does: waits until it is let go."""

    def __init__(self, fail=None):
        self.batches = []
        self.entered = threading.Event()
        self.go = threading.Event()
        self.fail = fail

    def run(self, commands):
        self.entered.set()
        assert self.go.wait(20)
        self.batches.append([command.token for command in commands])
        if self.fail is not None:
            raise self.fail
        return commands[-1].token


def commands(*tokens):
    return [DiskCommand(DISK_ROLL, token) for token in tokens]


def test_what_comes_while_the_disk_is_busy_is_taken_together():
    async def main():
        done: asyncio.Queue[int] = asyncio.Queue()
        worker = Worker()
        thread = CommandThread("t", worker, asyncio.get_running_loop(), done.put_nowait, None)
        thread.submit(commands(1))
        await asyncio.to_thread(worker.entered.wait, 20)
        thread.submit(commands(2, 3))
        thread.submit(commands(4))
        worker.go.set()
        assert [await done.get(), await done.get()] == [1, 4]
        assert worker.batches == [[1], [2, 3, 4]]
        thread.submit(commands(5))
        await asyncio.to_thread(thread.stop)
        assert worker.batches[-1] == [5]

    asyncio.run(main())


def failing(error):
    async def main():
        failed: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        worker = Worker(error)
        worker.go.set()
        thread = CommandThread(
            "t", worker, asyncio.get_running_loop(), None, lambda token, why: failed.put_nowait((token, why))
        )
        thread.submit(commands(1, 2))
        answer = await failed.get()
        # Nothing is tried after a failure.
        thread.submit(commands(3))
        await asyncio.to_thread(thread.stop)
        assert worker.batches == [[1, 2]]
        return answer

    return asyncio.run(main())


def test_a_failed_disk_is_reported_and_never_asked_again():
    assert failing(DiskFailure(2, 1, "OSError: no space")) == (2, "OSError: no space")


def test_a_mistake_in_the_worker_is_reported_like_a_failure():
    token, why = failing(KeyError("oops"))
    assert token == 2
    assert "internal error" in why


def append(token, txns=1):
    command = DiskCommand(DISK_APPEND, token)
    command.entries = [None] * txns
    return command


def paced(**changes):
    settings = Settings()
    for name, value in changes.items():
        setattr(settings, name, value)
    return FlushPace(settings)


def test_a_batch_is_full_at_so_many_txns():
    pace = paced(max_batch_size=5)
    assert not pace.is_full([append(1, 4)])
    assert pace.is_full([append(1, 4), append(2, 1)])
    assert not paced(max_batch_size=0).is_full([append(1, 10_000)])


def test_nothing_is_held_back_by_default_and_only_txns_ever_are():
    assert paced().wait_s([append(1)]) == 0
    pace = paced(flush_delay_ms=60_000, max_write_queue_poll_ms=20_000)
    assert pace.wait_s([append(1)]) == 20
    assert pace.wait_s([append(1), *commands(2)]) == 0
    # Never longer than until the delay is over.
    assert 0 < paced(flush_delay_ms=10_000, max_write_queue_poll_ms=20_000).wait_s([append(1)]) <= 10


def test_what_does_not_fit_into_a_batch_is_the_next_one():
    async def main():
        done: asyncio.Queue[int] = asyncio.Queue()
        worker = Worker()
        pace = paced(max_batch_size=2)
        thread = CommandThread("t", worker, asyncio.get_running_loop(), done.put_nowait, None, pace)
        thread.submit([append(1, 2)])
        await asyncio.to_thread(worker.entered.wait, 20)
        for token in (2, 3, 4):
            thread.submit([append(token)])
        worker.go.set()
        assert [await done.get() for _ in range(3)] == [1, 3, 4]
        assert worker.batches == [[1], [2, 3], [4]]
        await asyncio.to_thread(thread.stop)

    asyncio.run(main())


def test_a_flush_that_is_held_back_takes_what_comes_meanwhile():
    async def main():
        done: asyncio.Queue[int] = asyncio.Queue()
        worker = Worker()
        worker.go.set()
        pace = paced(flush_delay_ms=600_000, max_write_queue_poll_ms=600_000, max_batch_size=3)
        thread = CommandThread("t", worker, asyncio.get_running_loop(), done.put_nowait, None, pace)
        for token in (1, 2, 3):
            assert worker.batches == []
            thread.submit([append(token)])
        assert await done.get() == 3
        # Stopping does not wait for the time to pass.
        thread.submit([append(4)])
        await asyncio.to_thread(thread.stop)
        assert worker.batches == [[1, 2, 3], [4]]

    asyncio.run(main())
