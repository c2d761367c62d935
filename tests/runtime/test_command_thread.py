"""The disk thread: order, what gathers behind a sync, failures, and mistakes of our own."""

import asyncio
import threading

from zabra.runtime.command_thread import CommandThread
from zabra.server.disk_worker import DiskFailure
from zabra.server.ready import DISK_ROLL, DiskCommand


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
