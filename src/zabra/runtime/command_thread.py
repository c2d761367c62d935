"""CommandThread: one thread that carries out disk commands in order and reports back to the loop.

While it waits for a disk the next commands gather behind it, and it takes all of them at once: that is
the group commit.  The log has one, fuzzy snapshots have another.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from zabra.server.disk_worker import DiskFailure, DiskWorker
from zabra.server.ready import DiskCommand

log = logging.getLogger("zabra")

Done = Callable[[int], None]
Failed = Callable[[int, str], None]


class CommandThread:
    """``submit`` from the loop; ``done(token)`` and ``failed(token, message)`` are called on the loop."""

    def __init__(
        self, name: str, worker: DiskWorker, loop: asyncio.AbstractEventLoop, done: Done, failed: Failed
    ) -> None:
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
            self._report(self._done, token)
            if ended:
                return

    def _gather(self, first: list[DiskCommand]) -> tuple[list[DiskCommand], bool]:
        batch = first
        while True:
            try:
                more = self._queue.get_nowait()
            except Empty:
                return batch, False
            if more is None:
                return batch, True
            batch = batch + more

    def _report(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # The loop is closed: the server has stopped and nobody waits for the answer.
            return
