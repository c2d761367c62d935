"""LogWriter: gets the commands of the log's queue carried out in order, and reports what is durable.

Appends to a file that has room for them are written at once, which the kernel's cache takes in
microseconds, and the kernel is asked for the fdatasync (``KernelSync``); what comes meanwhile gathers, and
goes with the next: that is the group commit.  Everything else (a new file, a roll, epochs, snapshots, cuts)
waits for the disk in more than one place, so a thread does it.  Without a ``KernelSync`` it does it all,
unless nobody wants a sync (``forceSync=no``).

A disk that is slow to sync may also be slow to take a write, and then the loop would stand still: after a
slow sync the thread takes over for a while.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from zabra.runtime.command_thread import CommandThread, Done, Failed, FlushPace
from zabra.runtime.kernel_sync import KernelSync
from zabra.runtime.os_disk import OsDiskFile
from zabra.server.disk_worker import DiskFailure, DiskWorker
from zabra.server.ready import DISK_APPEND, DiskCommand
from zabra.server.settings import Settings

log = logging.getLogger("zabra")

# How long an fdatasync took, in ms.
SyncTook = Callable[[float], None]

# A sync this long says that the disk is in trouble.
_SLOW_SYNC_S: Final = 0.05
# So many syncs are then left to the thread.
_WARY_SYNCS: Final = 100


class LogWriter:
    """``submit`` from the loop; ``done(token)`` and ``failed(token, message)`` are called on the loop."""

    def __init__(
        self,
        worker: DiskWorker,
        loop: asyncio.AbstractEventLoop,
        done: Done,
        failed: Failed,
        settings: Settings,
        kernel: KernelSync | None,
        sync_took: SyncTook,
    ) -> None:
        self._worker = worker
        self._loop = loop
        self._sync_took = sync_took
        self._done = done
        self._failed = failed
        self._kernel = kernel
        self._needs_sync = worker.needs_sync()
        # A delay before flushes is the thread's to keep.
        self._thread_only = settings.flush_delay_ms > 0 or (kernel is None and self._needs_sync)
        self._max_batch = settings.max_batch_size
        self._waiting: deque[DiskCommand] = deque()
        self._is_busy = False
        self._has_failed = False
        self._token = 0
        self._began = 0.0
        self._wary = 0
        pace = FlushPace(settings)
        self._thread = CommandThread("zabra-log", worker, loop, self._thread_done, self._thread_failed, pace)
        if self._kernel is not None:
            self._kernel.attach(loop)

    def submit(self, commands: list[DiskCommand]) -> None:
        """Queues commands; they are carried out in the order they were given."""
        if self._thread_only:
            self._thread.submit(commands)
        elif not self._has_failed:
            self._waiting.extend(commands)
            if not self._is_busy:
                self._next()

    def _take(self) -> list[DiskCommand]:
        """What goes next: all that waits, or a full batch of it."""
        batch: list[DiskCommand] = []
        txns = 0
        while self._waiting and (self._max_batch <= 0 or txns < self._max_batch):
            txns += len(self._waiting[0].entries)
            batch.append(self._waiting.popleft())
        return batch

    def _next(self) -> None:
        batch = self._take()
        self._is_busy = bool(batch)
        if not batch:
            return
        file = self._worker.file_for(batch) if self._wary == 0 else None
        if type(file) is OsDiskFile:
            self._write(batch, file)
        else:
            self._wary = max(0, self._wary - 1)
            self._thread.submit(batch)

    def _write(self, batch: list[DiskCommand], file: OsDiskFile) -> None:
        self._token = batch[-1].token
        self._began = time.perf_counter()
        try:
            self._worker.write(batch)
        except DiskFailure as failure:
            self._fail(failure.token, failure.message)
            return
        if self._needs_sync:
            self._sync(file)
        else:
            self._loop.call_soon(self._written)

    def _sync(self, file: OsDiskFile) -> None:
        assert self._kernel is not None
        try:
            self._kernel.sync(file.fileno(), self._synced)
        except OSError as error:
            # The kernel will not take the order, which says nothing of the disk: an append of nothing has
            # the thread sync what was written, and all that comes later.
            log.warning("the kernel does not sync the txn log for us any more, a thread does: %s", error)
            self._thread_only = True
            self._thread.submit([DiskCommand(DISK_APPEND, self._token), *self._waiting])
            self._waiting.clear()

    def _synced(self, code: int) -> None:
        took_s = time.perf_counter() - self._began
        if code:
            message = os.strerror(code)
            self._worker.sync_failed(message)
            self._fail(self._token, f"OSError: fdatasync of the txn log failed: {message}")
            return
        self._sync_took(took_s * 1000)
        if took_s > _SLOW_SYNC_S:
            self._wary = _WARY_SYNCS
        self._written()

    def _written(self) -> None:
        """Written, and that is all that is wanted (``forceSync=no``)."""
        self._worker.synced()
        self._done(self._token)
        self._next()

    def _thread_done(self, token: int) -> None:
        self._done(token)
        if not self._thread_only:
            self._next()

    def _thread_failed(self, token: int, message: str) -> None:
        self._has_failed = True
        self._failed(token, message)

    def _fail(self, token: int, message: str) -> None:
        """Nothing after a failure may be tried: what the kernel dropped stays dropped."""
        self._has_failed = True
        self._waiting.clear()
        self._failed(token, message)

    def detach(self) -> None:
        """Nothing is reported any more; on the loop, before ``stop`` or ``abandon``."""
        if self._kernel is not None:
            self._kernel.detach()

    def stop(self) -> None:
        """Carries out what is queued and ends (blocks)."""
        self._settle()
        if self._waiting and not self._has_failed:
            self._thread.submit(list(self._waiting))
        self._thread.stop()
        self._close()

    def abandon(self) -> None:
        """Ends; what has not begun is forgotten (blocks)."""
        self._waiting.clear()
        self._settle()
        self._thread.abandon()
        self._close()

    def _settle(self) -> None:
        """Waits for the sync under way."""
        kernel = self._kernel
        if kernel is not None and kernel.busy():
            if kernel.wait():
                # Nobody was told of it, so nobody relies on it; but nothing may be written behind it.
                self._has_failed = True
            else:
                self._worker.synced()

    def _close(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
