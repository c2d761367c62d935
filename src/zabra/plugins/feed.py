"""The feed: the committed log of a server as an ordered stream without gaps, from any zxid on.

Whoever reads pulls: from the newest txns in memory, shared by all readers and bounded; from the log on disk
where a reader is further behind; and where the log no longer reaches back, ``Compacted`` says what is the
oldest there is.  A slow reader therefore costs a cursor and nothing else.

What is *committed* is decided here.  A txn arrives by ``informed`` when its commit is known.  Others become
committed without that, by the end of a synchronisation or of an election (they were logged, and the new
leader has them): ``note_committed`` says so, and they are read from the log.  No reader gets any txn beyond.
At the first txn of an epoch the counter cannot tell whether something is missing before it, so readers go
through the log there, which can.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, Protocol

from zabra.plugins.changes import committed_txn
from zabra.plugins.publisher import CommittedTxn
from zabra.proto.txn import TxnEntry, decode_txn

DEFAULT_MEMORY_TXNS: Final = 20_000
DEFAULT_MEMORY_BYTES: Final = 32 * 1024 * 1024
DEFAULT_BATCH_TXNS: Final = 500
DEFAULT_BATCH_BYTES: Final = 1024 * 1024
# How long a reader waits for txns that are committed and not yet in the log.
LOG_WAIT_S: Final = 0.02
# What every txn costs beside its bytes, roughly.
_TXN_OVERHEAD_BYTES: Final = 600


class Compacted(Exception):
    """History no longer reaches back to where a reader wants to go on.

    ``oldest`` is the zxid of the oldest txn that can be read (reading may begin at ``oldest - 1``), 0 where
    nothing is known.
    """

    def __init__(self, since: int, oldest: int) -> None:
        super().__init__(f"history after 0x{since:x} is compacted, oldest = 0x{oldest:x}")
        self.since = since
        self.oldest = oldest


class History(Protocol):
    """A place in the log on disk; calls block, and come from one thread at a time."""

    def read(self, upto: int, max_bytes: int) -> list[bytes]:
        """The encoded txns that come next, up to the zxid ``upto``; empty: not there (yet).

        At least one where there is one, however large.  Raises Compacted, StorageError, OSError.
        """

    def oldest(self) -> int:
        """The zxid of the oldest txn there is; 0 for none."""


# since -> where reading goes on.
OpenHistory = Callable[[int], History]


class Feed:
    """What is committed; everything is called on one event loop.

    Args:
        open_history: readers of the log on disk; None for a server that keeps none.
        logged: the last zxid known to be on disk: what is missing below it will not come any more.
        memory_txns, memory_bytes: how much is kept in memory at most.
    """

    def __init__(
        self,
        open_history: OpenHistory | None,
        logged: Callable[[], int],
        *,
        memory_txns: int = DEFAULT_MEMORY_TXNS,
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        self._open_history = open_history
        self.logged = logged
        self._memory_txns = memory_txns
        self._memory_bytes = memory_bytes
        # The newest txns, without gaps, from ``_first`` on; each is turned into a CommittedTxn once.
        self._txns: list[TxnEntry | CommittedTxn] = []
        self._zxids: list[int] = []
        self._first = 0
        self._bytes = 0
        self.committed = -1
        """The last zxid known to be committed; -1: not known yet."""
        self.floor = -1
        """Whoever has read up to here finds everything after it in memory."""
        self._waiters: dict[asyncio.Future[None], None] = {}

    # --- in -----------------------------------------------------------------------------------------------

    def informed(self, entries: list[TxnEntry]) -> None:
        """Txns whose commit was just learned, in order (``Node``'s callback)."""
        for entry in entries:
            zxid = int(entry.header.zxid)
            if zxid <= self.committed:
                continue
            if zxid != self.committed + 1 or not self._zxids:
                # Something may be missing before it.
                self._clear()
                self.floor = zxid - 1
            self.committed = zxid
            self._zxids.append(zxid)
            self._txns.append(entry)
            self._bytes += len(entry.raw) + _TXN_OVERHEAD_BYTES
        self._thin_out()
        self._wake()

    def note_committed(self, zxid: int) -> None:
        """Everything up to ``zxid`` is committed, and was not told by ``informed``.

        The zxid with which an epoch begins is nobody's: it says nothing.
        """
        if zxid > self.committed and zxid & 0xFFFFFFFF:
            self._clear()
            self.committed = self.floor = zxid
            self._wake()

    def _clear(self) -> None:
        self._txns = []
        self._zxids = []
        self._first = 0
        self._bytes = 0

    def _thin_out(self) -> None:
        """Drops the oldest; the lists are shortened when half of them is gone."""
        first = self._first
        while len(self._txns) - first > self._memory_txns or (
            self._bytes > self._memory_bytes and first < len(self._txns)
        ):
            self._bytes -= len(self._txns[first].raw) + _TXN_OVERHEAD_BYTES
            self.floor = self._zxids[first]
            first += 1
        self._first = first
        if first > 64 and first * 2 > len(self._txns):
            del self._txns[:first]
            del self._zxids[:first]
            self._first = 0

    # --- out ----------------------------------------------------------------------------------------------

    def subscribe(self, since: int) -> "Subscription":
        """Reads everything after ``since``, which need not be committed here yet."""
        return Subscription(self, since)

    async def oldest(self) -> int:
        """The zxid of the oldest txn that can be read; 0 where there is none."""
        found = 0
        if self._open_history is not None:
            found = await asyncio.to_thread(self._open_history(0).oldest)
        if not found and self._first < len(self._zxids):
            found = self._zxids[self._first]
        return found

    @property
    def memory_txns(self) -> int:
        """How many txns are in memory."""
        return len(self._txns) - self._first

    @property
    def memory_bytes(self) -> int:
        """What they take, roughly."""
        return self._bytes

    def _recent(self, after: int, max_txns: int, max_bytes: int) -> list[CommittedTxn]:
        """Txns in memory behind ``after``, which is not below ``floor``."""
        place = bisect_right(self._zxids, after, self._first)
        found: list[CommittedTxn] = []
        size = 0
        while place < len(self._txns) and len(found) < max_txns and size < max_bytes:
            txn = self._txns[place]
            if not isinstance(txn, CommittedTxn):
                txn = committed_txn(txn)
                self._txns[place] = txn
            found.append(txn)
            size += len(txn.raw)
            place += 1
        return found

    def _history(self, since: int) -> History | None:
        return None if self._open_history is None else self._open_history(since)

    def _wake(self) -> None:
        if self._waiters:
            waiters = self._waiters
            self._waiters = {}
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def _changed(self) -> None:
        """Returns when something more is committed."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)


class Subscription:
    """One reader; ``after`` is the last zxid that it was given, or began with."""

    def __init__(self, feed: Feed, since: int) -> None:
        self._feed = feed
        self.after = since
        self._history: History | None = None

    @property
    def is_behind(self) -> bool:
        """Whether something is committed that it was not given."""
        return self._feed.committed > self.after

    async def next(
        self, max_txns: int = DEFAULT_BATCH_TXNS, max_bytes: int = DEFAULT_BATCH_BYTES
    ) -> list[CommittedTxn]:
        """The txns that come next, at least one, as soon as there is one.

        Raises Compacted; StorageError or OSError where the log cannot be read.
        """
        feed = self._feed
        while True:
            if feed.committed <= self.after:
                await feed._changed()
            elif self.after >= feed.floor:
                self._history = None
                found = feed._recent(self.after, max_txns, max_bytes)
                if found:
                    self.after = found[-1].zxid
                    return found
                await feed._changed()
            else:
                found = await self._from_log(max_bytes)
                if found:
                    self.after = found[-1].zxid
                    return found

    async def _from_log(self, max_bytes: int) -> list[CommittedTxn]:
        """What the log has; empty where txns are committed and still on their way to it."""
        feed = self._feed
        # One more than the floor: at the start of an epoch nobody has the floor's own zxid.
        upto = min(feed.committed, feed.floor + 1)
        logged = feed.logged()
        if self._history is None:
            self._history = feed._history(self.after)
        if self._history is None:
            raise Compacted(self.after, await feed.oldest())
        found = await asyncio.to_thread(self._read, self._history, upto, max_bytes)
        if not found:
            # (Where an epoch begins there is no txn: whether one is missing before it, the next one tells.)
            begins = logged & 0xFFFFFFFF == 0 and upto > logged
            if min(logged, upto) > self.after and not begins:
                # It was there before we looked: a snapshot has taken the place of this part of history.
                raise Compacted(self.after, await feed.oldest())
            await asyncio.sleep(LOG_WAIT_S)
        return found

    @staticmethod
    def _read(history: History, upto: int, max_bytes: int) -> list[CommittedTxn]:
        return [committed_txn(decode_txn(raw)) for raw in history.read(upto, max_bytes)]
