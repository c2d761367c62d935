"""CommandThread: one thread that carries out disk commands in order and reports back to the loop.

While it waits for a disk the next commands gather behind it, and it takes all of them at once: that is
the group commit.  The log has one, fuzzy snapshots have another.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from zabra.server.disk_worker import DiskFailure, DiskWorker
from zabra.server.ready import DISK_APPEND, DiskCommand
from zabra.server.settings import Settings

log = logging.getLogger("zabra")

Done = Callable[[int], None]
Failed = Callable[[int, str], None]


class FlushPace:
    """How long the log may hold a flush back, so that more txns share it (flushDelay and its like).

    By default not at all: what has gathered while the disk was busy is taken, about ``max_batch`` txns of it.
    With a delay a flush begins when so much time has passed since the last one, or when for ``poll_ms``
    nothing more has come, or when the batch is full.  Source: upstream ``SyncRequestProcessor``.
    """

    def __init__(self, settings: Settings) -> None:
        self._delay_ms = settings.flush_delay_ms
        self._poll_ms = settings.max_write_queue_poll_ms
        self._max_batch = settings.max_batch_size
        self._flushed = time.monotonic()

    def is_full(self, batch: list[DiskCommand]) -> bool:
        """Whether no more may join."""
        return self._max_batch > 0 and txns_in(batch) >= self._max_batch

    def wait_s(self, batch: list[DiskCommand]) -> float:
        """How long to wait for more, in seconds; only txns are ever held back."""
        if self._delay_ms <= 0 or any(command.kind != DISK_APPEND for command in batch):
            return 0.0
        left_ms = self._delay_ms - (time.monotonic() - self._flushed) * 1000
        return max(0.0, min(self._poll_ms, left_ms) / 1000)

    def flushed(self) -> None:
        """A flush has just ended."""
        self._flushed = time.monotonic()


def txns_in(batch: list[DiskCommand]) -> int:
    """How many txns are to be appended."""
    return sum(len(command.entries) for command in batch)


class CommandThread:
    """``submit`` from the loop; ``done(token)`` and ``failed(token, message)`` are called on the loop."""

    def __init__(
        self,
        name: str,
        worker: DiskWorker,
        loop: asyncio.AbstractEventLoop,
        done: Done,
        failed: Failed,
        pace: FlushPace | None = None,
    ) -> None:
        self._pace = pace or FlushPace(Settings())
        self._worker = worker
        self._loop = loop
        self._done = done
        self._failed = failed
        self._queue: SimpleQueue[list[DiskCommand] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, commands: list[DiskCommand]) -> None:
        """Queues commands; they are carried out in the order they were given."""
        self._queue.put(commands)

    def stop(self) -> None:
        """Carries out what is queued and ends the thread."""
        self._queue.put(None)
        self._thread.join()

    def abandon(self) -> None:
        """Ends the thread; what it has not begun is forgotten."""
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            self.stop()

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch, ended = self._gather(first)
            try:
                token = self._worker.run(batch)
            except DiskFailure as failure:
                # Nothing after a failure may be tried: what the kernel dropped stays dropped.
                self._report(self._failed, failure.token, failure.message)
                return
            except Exception as bug:
                # Not a disk's refusal but a mistake of ours: as little may be acknowledged after it.
                log.exception("internal error in the %s thread", self._thread.name)
                self._report(self._failed, batch[-1].token, f"internal error: {bug!r}")
                return
            self._pace.flushed()
            self._report(self._done, token)
            if ended:
                return

    def _gather(self, first: list[DiskCommand]) -> tuple[list[DiskCommand], bool]:
        batch = first
        while not self._pace.is_full(batch):
            wait_s = self._pace.wait_s(batch)
            try:
                more = self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
            except Empty:
                return batch, False
            if more is None:
                return batch, True
            batch = batch + more
        return batch, False

    def _report(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # The loop is closed: the server has stopped and nobody waits for the answer.
            return
