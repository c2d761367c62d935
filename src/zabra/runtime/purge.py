"""AutoPurge: removes snapshots and logs that nobody needs any more, every so often.

It works in a thread of its own making, beside the threads that write: what it removes is older than anything
they write.  Only a truncation and a SNAP change the old end of the history too, so these and a purge exclude
each other.  Source: upstream ``DatadirCleanupManager``; ``storage.txnsnaplog.purge`` says what may go.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

from zabra.storage.errors import StorageError
from zabra.storage.txnsnaplog import FileTxnSnapLog

log = logging.getLogger("zabra")

# For nobody but the server itself anything need be kept.
NOBODY_READS = -1


class GuardedStore(FileTxnSnapLog):
    """A store of which one thread may purge while another one writes."""

    def __init__(self, store: FileTxnSnapLog) -> None:
        super().__init__(store.log, store.snaps)
        self._old_end = threading.Lock()

    def drop_after(self, zxid: int) -> None:
        with self._old_end:
            super().drop_after(zxid)

    def truncate(self, zxid: int) -> bool:
        with self._old_end:
            return super().truncate(zxid)

    def forget_beyond(self, zxid: int) -> None:
        with self._old_end:
            super().forget_beyond(zxid)

    def adopt(self, zxid: int) -> None:
        with self._old_end:
            super().adopt(zxid)

    def purge(self, retain: int, keep_zxid: int = NOBODY_READS) -> tuple[list[str], list[str]]:
        with self._old_end:
            return super().purge(retain, keep_zxid)


class AutoPurge:
    """Purges at once and then every ``interval_ms``, keeping ``retain`` snapshots and what belongs to them.

    ``keep_zxid`` may be replaced by whoever reads old logs: it says, at the time of a purge, from which zxid
    on they need them (-1: no need).  It is asked in the thread that purges, and may look at files.
    """

    def __init__(self, store: FileTxnSnapLog, retain: int, interval_ms: int) -> None:
        self._store = store
        self._retain = retain
        self._interval_ms = interval_ms
        self._task: asyncio.Task[None] | None = None
        self.keep_zxid: Callable[[], int] = lambda: NOBODY_READS
        # How many purges there have been.
        self.runs = 0

    def start(self) -> None:
        """Begins, on the running loop; without an interval nothing is ever purged."""
        if self._interval_ms > 0:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ends; a purge under way is waited for."""
        task = self._task
        if task is not None:
            self._task = None
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            purge = loop.run_in_executor(None, self.purge)
            try:
                await asyncio.shield(purge)
            except asyncio.CancelledError:
                await purge
                raise
            await asyncio.sleep(self._interval_ms / 1000)

    def purge(self) -> None:
        """One purge.  A disk that refuses is reported, and tried again the next time."""
        self.runs += 1
        try:
            snapshots, logs = self._store.purge(self._retain, self.keep_zxid())
        except (OSError, StorageError) as error:
            log.error("purging old snapshots and logs failed: %s", error)
            return
        if snapshots or logs:
            log.info(
                "purged %d snapshots and %d logs, keeping %d snapshots: %s",
                len(snapshots),
                len(logs),
                self._retain,
                " ".join(snapshots + logs),
            )
