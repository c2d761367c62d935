"""Runs publishers: a task for each, which opens it, feeds it, and begins anew when it fails.

A publisher is told what comes after its cursor, in batches, and returns how far it is durable; that is its
next cursor.  The cursor is the publisher's own (``open`` returns it) or is kept here, in a file.  Where
history no longer reaches back to it, the publisher gets a snapshot of the tree instead.  Whatever it raises
means: close it, wait, open it again, from the cursor.  The server only ever appends to the feed.

A publisher may be ahead of its server: INFORM comes before the server's own fsync, so a server that was
killed may know less than it has published.  Then it waits until the server has caught up, and skips.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from zabra.plugins.cursors import CursorError, CursorStore, Reached
from zabra.plugins.feed import Compacted, Feed, Subscription
from zabra.plugins.publisher import (
    WANTS_SNAPSHOT,
    CommittedTxn,
    HasFigures,
    Publisher,
    PublisherContext,
    TryLater,
)
from zabra.plugins.registry import PublisherPlan, filter_of
from zabra.plugins.tree_snapshots import TreeSnapshots
from zabra.proto.txn import TxnEntry

log = logging.getLogger("zabra.publishers")

FIRST_BACKOFF_MS: Final = 100
# How often it is looked whether something was committed without being told.
COMMITS_EVERY_S: Final = 0.2
# The host's cursors are written at most this often: what is told twice after a crash.
CURSOR_EVERY_S: Final = 0.2
NOT_KNOWN: Final = -1
# States of a publisher in which it is well.
PUBLISHING: Final = "publishing"
SNAPSHOT: Final = "snapshot"
# How often it is noted how far a publisher with a cursor of its own has read: what is read again at a start.
REACHED_EVERY_S: Final = 5.0
# How long a stop waits for what a publisher has under way.
STOP_S: Final = 5.0

T = TypeVar("T")


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Awaits ``work``; when cancelled, first lets it end, for STOP_S at most.

    Work in a thread goes on whatever becomes of the task that waits for it, and nothing else may be done to
    the same target meanwhile.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        _, late = await asyncio.wait([task], timeout=STOP_S)
        for one in late:
            one.cancel()
        if not late and not task.cancelled() and task.exception() is not None:
            log.debug("failed while it was stopped: %s", task.exception())
        raise


@dataclass(frozen=True, slots=True)
class PublisherStatus:
    """What operators see; ``state``: opening, publishing, snapshot, waiting (after a failure), stopped."""

    name: str
    kind: str
    state: str
    cursor: int
    committed: int
    published_txns: int
    snapshots: int
    failures: int
    last_error: str
    figures: Mapping[str, int]


class PublisherRun:
    """One publisher, supervised.

    Args:
        store: where the cursor is kept if the publisher keeps none.
        snapshots: None where there is no tree to take one of.
    """

    def __init__(
        self,
        plan: PublisherPlan,
        context: PublisherContext,
        feed: Feed,
        store: CursorStore,
        snapshots: TreeSnapshots,
    ) -> None:
        self.plan = plan
        self._context = replace(
            context, snapshot=lambda: snapshots.take(plan.host.path), reached=lambda: self.cursor
        )
        self._feed = feed
        self._store = store
        self._snapshots = snapshots
        self._filter = filter_of(plan.host.path, plan.host.ops)
        self._wanted = f"{plan.host.path} {plan.host.ops}".strip()
        self._keeps_cursor = False
        self._saved = NOT_KNOWN
        self._saved_at = 0.0
        self.cursor = NOT_KNOWN
        # What a publisher with a cursor of its own has: see ``cursors.Reached``.
        self._reached: Reached | None = None
        self._reached_saved: Reached | None = None
        # The last zxid that it was given, and how far it then said that it was durable.
        self._given = NOT_KNOWN
        self._told = NOT_KNOWN
        self.state = "opening"
        self.published_txns = 0
        self.snapshot_count = 0
        self.failures = 0
        self.last_error = ""
        self._failures_in_a_row = 0
        self._asked_pause_s = 0.0
        self._publisher: object = None
        self._last_figures: Mapping[str, int] = {}

    def status(self) -> PublisherStatus:
        """A picture for operators."""
        return PublisherStatus(
            self.plan.name,
            self.plan.kind,
            self.state,
            self.cursor,
            self._feed.committed,
            self.published_txns,
            self.snapshot_count,
            self.failures,
            self.last_error,
            self._figures(),
        )

    def _figures(self) -> Mapping[str, int]:
        publisher: object = self._publisher
        if isinstance(publisher, HasFigures):
            self._last_figures = publisher.figures()
        return self._last_figures

    def needs(self) -> int:
        """The zxid from which on the log is still needed for it; NOT_KNOWN: none is.

        A publisher that could not be opened since the server's start has the cursor it had before.  Looks at
        files.
        """
        if self.cursor >= 0:
            return self.cursor
        try:
            reached = self._store.read_reached(self.plan.name)
            return self._store.read(self.plan.name) if reached is None else reached.zxid
        except (CursorError, OSError) as error:
            log.warning("publisher %s: %s", self.plan.name, error)
            return NOT_KNOWN

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._attempt()
                self.state = "waiting"
                await asyncio.sleep(self._pause_s())
        finally:
            self.state = "stopped"

    def _pause_s(self) -> float:
        """Grows with each failure, with jitter: targets that come back are not met by all at once."""
        limit = min(FIRST_BACKOFF_MS << min(self._failures_in_a_row, 20), self.plan.host.max_backoff_ms)
        return max(random.uniform(limit / 2, limit) / 1000, self._asked_pause_s)

    async def _attempt(self) -> None:
        """Opens and feeds it until it fails."""
        self.state = "opening"
        self._asked_pause_s = 0.0
        try:
            # What the one before it had counted ends with it.
            self._figures()
            publisher = self.plan.make()
            self._publisher = publisher
            try:
                await self._publish(publisher)
            finally:
                await self._close(publisher)
        except (Exception, asyncio.CancelledError) as error:
            this = asyncio.current_task()
            is_end = this is not None and this.cancelling() > 0
            if is_end and isinstance(error, asyncio.CancelledError):
                raise
            # A client that cancels itself has failed like any other.
            self.failures += 1
            self._failures_in_a_row += 1
            if isinstance(error, TryLater):
                self._asked_pause_s = error.after_s
            self.last_error = f"{type(error).__name__}: {error}"
            log.warning("publisher %s: %s; trying again", self.plan.name, self.last_error)
            log.debug("publisher %s", self.plan.name, exc_info=True)
            if is_end:
                # It was the end that failed.
                raise asyncio.CancelledError from error

    async def _close(self, publisher: Publisher) -> None:
        try:
            if self._keeps_cursor and self.cursor > self._saved:
                await self._save(self.cursor)
            if self._reached != self._reached_saved:
                await self._save_reached()
        finally:
            await publisher.close()

    async def _publish(self, publisher: Publisher) -> None:
        own = await finish(publisher.open(self._context))
        self._keeps_cursor = own is None
        if own is None:
            self.cursor = await asyncio.to_thread(self._last_known)
        else:
            self.cursor = await self._resumed(own)
        self._given = self._told = NOT_KNOWN
        if self.cursor > self._feed.committed >= 0:
            log.info(
                "publisher %s is at 0x%x, ahead of this server at 0x%x: waiting for it",
                self.plan.name,
                self.cursor,
                self._feed.committed,
            )
        if own == WANTS_SNAPSHOT:
            reading = await self._snap(publisher)
        else:
            reading = self._feed.subscribe(max(0, self.cursor))
        while True:
            self.state = PUBLISHING
            try:
                txns = await reading.next(self.plan.host.batch_txns, self.plan.host.batch_bytes)
            except Compacted as compacted:
                log.info("publisher %s gets a snapshot: %s", self.plan.name, compacted)
                reading = await self._snap(publisher)
                continue
            await self._inform(publisher, txns)

    def _last_known(self) -> int:
        """Where reading goes on for a publisher that has no cursor, or has none any more."""
        self._saved = self._store.read(self.plan.name)
        reached = self._store.read_reached(self.plan.name)
        if reached is None:
            return self._saved
        return max(self._saved, reached.zxid if reached.wanted == self._wanted else reached.own)

    async def _resumed(self, own: int) -> int:
        """Where reading goes on for a publisher whose own cursor is ``own``."""
        if await asyncio.to_thread(self._store.read, self.plan.name) > own:
            # From when it had none; the target has been made anew since.
            await self._save(max(own, 0))
        known = self._reached
        if known is None:
            known = self._reached_saved = await asyncio.to_thread(self._store.read_reached, self.plan.name)
        if known is None or known.own != own or known.wanted != self._wanted:
            known = Reached(own, own, self._wanted)
        self._reached = known
        return known.zxid

    async def _snap(self, publisher: Publisher) -> Subscription:
        self.state = SNAPSHOT
        snap = await self._snapshots.take(self.plan.host.path)
        await finish(publisher.snap(snap))
        self.snapshot_count += 1
        self._given = self._told = snap.zxid
        await self._durable(snap.zxid, snap.zxid, 0.0)
        return self._feed.subscribe(snap.zxid)

    async def _inform(self, publisher: Publisher, txns: Sequence[CommittedTxn]) -> None:
        """One batch; where the filter leaves nothing of it, the cursor moves on all the same."""
        wanted = self._filter.of(txns)
        last = txns[-1].zxid
        if wanted:
            self._told = await finish(publisher.inform(wanted))
            self._given = wanted[-1].zxid
        durable = last if self._told == self._given else self._told
        self.published_txns += len(wanted)
        await self._durable(durable, last, CURSOR_EVERY_S)

    async def _durable(self, zxid: int, last: int, every_s: float) -> None:
        """The publisher says that it is durable up to ``zxid``; it was given everything up to ``last``."""
        if zxid > last:
            raise ValueError(f"says it is durable up to 0x{zxid:x}, and was told nothing after 0x{last:x}")
        if zxid > self.cursor:
            self.cursor = zxid
            self._failures_in_a_row = 0
        now = asyncio.get_running_loop().time()
        if self._keeps_cursor:
            if self.cursor > self._saved and now - self._saved_at >= every_s:
                self._saved_at = now
                await self._save(self.cursor)
            return
        if self._told != NOT_KNOWN or self._reached is None:
            self._reached = Reached(self._told, zxid, self._wanted)
        else:
            self._reached = Reached(self._reached.own, zxid, self._wanted)
        if now - self._saved_at >= REACHED_EVERY_S:
            self._saved_at = now
            await self._save_reached()

    async def _save(self, cursor: int) -> None:
        await finish(asyncio.to_thread(self._store.write, self.plan.name, cursor))
        self._saved = cursor

    async def _save_reached(self) -> None:
        reached = self._reached
        if reached is None or reached.own < 0:
            return
        await finish(asyncio.to_thread(self._store.write_reached, self.plan.name, reached))
        self._reached_saved = reached


class PublisherHost:
    """All publishers of one server.

    Args:
        committed_zxid: the last zxid of the tree, where all of that is committed, else -1.
        is_voter: whether the server is, at the moment, a voter of an ensemble.
        log_bytes_from: how much log there is from a zxid on, in bytes.
    """

    def __init__(
        self,
        plans: Sequence[PublisherPlan],
        feed: Feed,
        store: CursorStore,
        snapshots: TreeSnapshots,
        server_id: int,
        committed_zxid: Callable[[], int],
        is_voter: Callable[[], bool],
        log_bytes_from: Callable[[int], int],
    ) -> None:
        self.feed = feed
        self._committed_zxid = committed_zxid
        self._is_voter = is_voter
        self._log_bytes_from = log_bytes_from
        self.runs = [
            PublisherRun(
                plan,
                PublisherContext(plan.name, plan.options, server_id, plan.host.path),
                feed,
                store,
                snapshots,
            )
            for plan in plans
        ]
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Those that were told to end, because the server votes now.
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    def informed(self, entries: list[TxnEntry]) -> None:
        """The ``Node``'s callback."""
        self.feed.informed(entries)

    def start(self) -> None:
        """Begins; needs the running loop."""
        if self._watch is None:
            self._watch = asyncio.create_task(self._keep_watch())

    async def stop(self) -> None:
        """Stops all; cursors are saved."""
        tasks = [*self._tasks.values(), *self._ending.values()]
        if self._watch is not None:
            tasks.append(self._watch)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = {}
        self._ending = {}
        self._watch = None

    async def _keep_watch(self) -> None:
        """Notes what was committed without being told, and who may run."""
        said = False
        while True:
            seen = self._committed_zxid()
            is_voter = self._is_voter()
            for run in self.runs:
                self._allow(run, not is_voter or run.plan.host.on_voters)
            refused = [run.plan.name for run in self.runs if run.plan.name not in self._tasks]
            if refused and not said:
                log.warning(
                    "publishers run on observers: %s not started here (publisher.%s.onVoters=true starts it)",
                    ", ".join(refused),
                    refused[0],
                )
            said = bool(refused)
            await asyncio.sleep(COMMITS_EVERY_S)
            # Whatever was told of by a turn that had not ended then has been told by now.
            self.feed.note_committed(seen)

    def _allow(self, run: PublisherRun, may_run: bool) -> None:
        name = run.plan.name
        task = self._tasks.get(name)
        ending = self._ending.get(name)
        if may_run and task is None:
            if ending is not None and not ending.done():
                # What it has under way must not meet what a second one does.
                return
            self._tasks[name] = asyncio.create_task(run.run(), name=f"publisher-{name}")
        elif not may_run and task is not None:
            task.cancel()
            self._ending[name] = self._tasks.pop(name)

    def statuses(self) -> list[PublisherStatus]:
        """For operators, in the order of the configuration."""
        return [run.status() for run in self.runs]

    def gauge_sets(self) -> dict[str, dict[str, int]]:
        """The gauges of each publisher (``zabra.metrics.GAUGE_SETS``), by gauge and name."""
        found: dict[str, dict[str, int]] = {}
        for status in self.statuses():
            values = {
                "publisher_cursor": status.cursor,
                "publisher_is_publishing": int(status.state in (PUBLISHING, SNAPSHOT)),
                "publisher_txns": status.published_txns,
                "publisher_snapshots": status.snapshots,
                "publisher_failures": status.failures,
                **status.figures,
            }
            for gauge, value in values.items():
                found.setdefault(gauge, {})[status.name] = value
        return found

    def keep_zxid(self) -> int:
        """The first zxid that the slowest publisher still needs, for ``purge``; -1: none needs any.

        A publisher whose part of the log is larger than its ``retainBytes`` is not waited for: it will get
        a snapshot.  Looks at files: not on the loop.
        """
        needed = []
        for run in self.runs:
            zxid = run.needs()
            if zxid >= 0 and self._log_bytes_from(zxid) <= run.plan.host.retain_bytes:
                needed.append(zxid)
        return min(needed) if needed else NOT_KNOWN
