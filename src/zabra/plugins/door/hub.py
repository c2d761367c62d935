"""The hub: gives every committed txn to those subscribers that want it and may see it.

Subscribers with the same path, ops, rights and format are a ``Channel``; what they are sent is made once,
and sent to all.  A subscriber whose buffer is full leaves its channel, and reads on by itself, from the zxid
where it was, when it can take more: from memory, then from the log, and is told ``compacted`` where that no
longer reaches back.  When it has caught up it is put into its channel again.  So each has a zxid up to which
it was told everything, in order, once; and costs a bounded buffer.

All runs on one event loop.  A *pass* takes a batch of txns to all channels; a subscriber enters a channel
only at the zxid where the last pass began to end, so that it neither misses nor sees anything twice.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from zabra.jute.primitives import JuteError
from zabra.plugins.door import frames
from zabra.plugins.door.frames import TxnTexts, frame
from zabra.plugins.door.query import NDJSON, POLL, SSE, FeedQuery
from zabra.plugins.door.rights import NOTHING, UNKNOWN, Before, Judged, PlainAcl, Reader, all_open, judge
from zabra.plugins.door.settings import DoorSettings, Status
from zabra.plugins.door.snapshots import Snapshots, SnapshotTooLarge
from zabra.plugins.feed import Compacted, Feed, Subscription
from zabra.plugins.publisher import Change, CommittedTxn
from zabra.storage.errors import StorageError
from zabra.tree.paths import ROOT, parent_path

log = logging.getLogger("zabra.feed")

# Subscribers that are written to before others of the loop have their turn.
SLICE: Final = 256
# What one that catches up is sent at once.
BATCH_TXNS: Final = 200
BATCH_BYTES: Final = 64 * 1024
SNAPSHOT_SLICE: Final = 200
# Snapshots that one subscriber may need before something is wrong.
TRIES: Final = 3
RETRY_S: Final = 0.5
BEGIN_S: Final = 0.05


class Sink(Protocol):
    """Where a subscriber is reached."""

    is_paused: bool
    """Whether it has as much as may wait for it."""

    def send(self, data: bytes, upto: int) -> None:
        """More, up to the zxid ``upto``."""

    def end(self, data: bytes) -> None:
        """The last it hears; then it is gone."""

    async def writable(self) -> None:
        """Returns when it is not paused."""


class Rights(Protocol):
    """Where the ACLs are known."""

    async def before(self, txns: Sequence[CommittedTxn]) -> list[Before | None]:
        """For each txn the restricted ACLs before it, or UNKNOWN."""

    def floor(self) -> int:
        """Before and at this zxid, they are not known."""


class Subscriber:
    """One that reads the feed; ``after``: the zxid up to which it was told everything, while it is behind."""

    __slots__ = ("after", "channel", "greeted", "is_gone", "query", "reader", "sink", "task")

    def __init__(self, query: FeedQuery, reader: Reader, sink: Sink, after: int) -> None:
        self.query = query
        self.reader = reader
        self.sink = sink
        self.after = after
        self.channel: Channel | None = None
        self.task: asyncio.Task[None] | None = None
        self.greeted = False
        self.is_gone = False


class Channel:
    """Subscribers that are sent the same."""

    __slots__ = ("format", "key", "ops", "path", "reader", "sent_at", "subscribers")

    def __init__(self, key: "ChannelKey", now: float) -> None:
        self.key = key
        self.path, ops, self.reader, self.format = key
        self.ops = dict.fromkeys(ops)
        self.subscribers: dict[Subscriber, None] = {}
        self.sent_at = now

    def shown(self, txn: CommittedTxn, judged: Sequence[Judged], is_open: bool) -> tuple[Change, ...] | None:
        """What its subscribers are shown of a txn; None: nothing."""
        if not txn.changes:
            # Nobody but who sees everything is told of refused requests.
            return () if self.reader.sees_all and self.path == ROOT and not self.ops else None
        found = []
        for one in judged:
            if self.wants(one.change):
                change = one.change if is_open else self.reader.shown(one)
                if change is not None:
                    found.append(change)
        return tuple(found) or None

    def wants(self, change: Change) -> bool:
        """Whether path and op are those asked for."""
        if self.ops and change.op not in self.ops:
            return False
        path = self.path
        return path == ROOT or change.path == path or change.path.startswith(path + "/")


ChannelKey = tuple[str, tuple[str, ...], Reader, str]


def wrapped(kind: str, pieces: list[bytes]) -> bytes:
    """Frames as one write."""
    if kind == POLL:
        return b",".join(pieces)
    data = b"".join(pieces)
    return frames.chunk(data) if kind in (SSE, NDJSON) else data


class Hub:
    """See the module.

    Args:
        status: the server's state as last heard.
    """

    def __init__(
        self,
        feed: Feed,
        rights: Rights,
        snapshots: Snapshots,
        settings: DoorSettings,
        status: Callable[[], Status],
    ) -> None:
        self._feed = feed
        self._rights = rights
        self._snapshots = snapshots
        self._settings = settings
        self.status = status
        self._channels: dict[ChannelKey, Channel] = {}
        self._by_path: dict[str, dict[Channel, None]] = {}
        self._texts = TxnTexts()
        self._lock = asyncio.Lock()
        self._advanced: asyncio.Future[None] | None = None
        self.position = -1
        """Everything up to here was given to the channels; -1: nothing is known to be committed yet."""
        self.subscribers: dict[Subscriber, None] = {}
        self.sent_bytes = 0
        self.fell_behind = 0

    # --- subscribers ----------------------------------------------------------------------------------------

    def add(self, query: FeedQuery, reader: Reader, sink: Sink) -> Subscriber:
        """A new one, which is sent what it asked for from now on."""
        since = self.position if query.since is None else query.since
        subscriber = Subscriber(query, reader, sink, since)
        self.subscribers[subscriber] = None
        subscriber.task = asyncio.create_task(self._catch_up(subscriber, query.snapshot))
        return subscriber

    async def begin_at(self, query: FeedQuery, reader: Reader) -> FeedQuery:
        """The query with the zxid where it begins.

        Raises Compacted where history does not reach back to it, and no snapshot is wanted instead.
        """
        since = query.since
        floor = 0 if reader.sees_all else self._rights.floor()
        if since == 0:
            began = self.position
            oldest = await self._feed.oldest()
            return replace(query, since=max(oldest - 1, floor) if oldest else began)
        if since is None or query.snapshot or since >= self.position:
            return query
        if since < floor:
            raise Compacted(since, max(await self._feed.oldest(), floor + 1))
        if since < self._feed.floor:
            # (Closed to the one that comes next.)
            await self._feed.subscribe(since).next(1, 1)
        return query

    def remove(self, subscriber: Subscriber) -> None:
        """It is gone."""
        subscriber.is_gone = True
        self.subscribers.pop(subscriber, None)
        self._leave(subscriber)
        task, subscriber.task = subscriber.task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def settle(self, subscriber: Subscriber) -> int:
        """Up to where it was told everything, when no pass is under way."""
        async with self._lock:
            return self.position if subscriber.channel is not None else subscriber.after

    def _join(self, subscriber: Subscriber) -> None:
        query = subscriber.query
        key = (query.path, query.ops, subscriber.reader, query.format)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(key, asyncio.get_running_loop().time())
            self._by_path.setdefault(query.path, {})[channel] = None
        channel.subscribers[subscriber] = None
        subscriber.channel = channel
        subscriber.task = None
        if not subscriber.greeted:
            subscriber.greeted = True
            self._send_bookmark(subscriber, self.position)

    def _leave(self, subscriber: Subscriber) -> None:
        channel, subscriber.channel = subscriber.channel, None
        if channel is None:
            return
        del channel.subscribers[subscriber]
        if not channel.subscribers:
            del self._channels[channel.key]
            there = self._by_path[channel.path]
            del there[channel]
            if not there:
                del self._by_path[channel.path]

    def _fall_behind(self, subscriber: Subscriber, after: int) -> None:
        """It reads on by itself from ``after``."""
        self._leave(subscriber)
        self.fell_behind += 1
        subscriber.after = after
        subscriber.task = asyncio.create_task(self._catch_up(subscriber, False))

    # --- the pass -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        while self._feed.committed < 0 and self.status().committed < 0:  # noqa: ASYNC110  once, at the start
            await asyncio.sleep(BEGIN_S)
        # (Where an epoch has just begun, that is known only by the server's state.)
        self.position = max(self._feed.committed, self.status().committed)
        self._wake()
        reading = self._feed.subscribe(self.position)
        while True:
            try:
                txns = await reading.next()
                await self._pass(txns, await self._rights.before(txns))
            except Compacted as compacted:
                # History was replaced: everybody finds out for himself.
                log.info("the feed goes on at 0x%x: %s", self._feed.committed, compacted)
                reading = await self._begin_anew()
            except (StorageError, OSError, JuteError) as error:
                log.warning("the log cannot be read, trying again: %s", error)
                await asyncio.sleep(RETRY_S)
                reading = self._feed.subscribe(self.position)

    async def _begin_anew(self) -> Subscription:
        async with self._lock:
            for channel in list(self._channels.values()):
                for subscriber in list(channel.subscribers):
                    self._fall_behind(subscriber, self.position)
            self.position = self._feed.committed
            self._wake()
        return self._feed.subscribe(self.position)

    async def _pass(self, txns: Sequence[CommittedTxn], befores: Sequence[Before | None]) -> None:
        async with self._lock:
            found, lost = self._collect(txns, befores)
            began = self.position
            self.position = upto = txns[-1].zxid
            now = asyncio.get_running_loop().time()
            work = []
            for channel, pieces in found.items():
                channel.sent_at = now
                work.append((channel, wrapped(channel.format, pieces), list(channel.subscribers)))
            for channel in lost:
                for subscriber in list(channel.subscribers):
                    self._fall_behind(subscriber, began)
            self._wake()
            await self._send_all(work, upto)

    async def _send_all(self, work: list[tuple[Channel, bytes, list[Subscriber]]], upto: int) -> None:
        count = 0
        for channel, data, subscribers in work:
            for subscriber in subscribers:
                # It may have gone while others had their turn.
                if subscriber.channel is not channel:
                    continue
                sink = subscriber.sink
                sink.send(data, upto)
                self.sent_bytes += len(data)
                if sink.is_paused and subscriber.channel is channel:
                    self._fall_behind(subscriber, upto)
                count += 1
                if count % SLICE == 0:
                    await asyncio.sleep(0)

    def _collect(
        self, txns: Sequence[CommittedTxn], befores: Sequence[Before | None]
    ) -> tuple[dict[Channel, list[bytes]], list[Channel]]:
        """What each channel is sent; and those for whom some txn's ACLs are not known."""
        found: dict[Channel, list[bytes]] = {}
        lost: dict[Channel, None] = {}
        for txn, before in zip(txns, befores, strict=True):
            touched = self._touched(txn)
            if not touched:
                continue
            judged = judge(txn.changes, before or NOTHING)
            is_open = all_open(judged)
            for channel in touched:
                if before is UNKNOWN and not channel.reader.sees_all:
                    lost[channel] = None
                    found.pop(channel, None)
                elif channel not in lost:
                    shown = channel.shown(txn, judged, is_open)
                    if shown is not None:
                        text = self._texts.text(txn, shown)
                        piece = frame(channel.format, frames.TXN, text, txn.zxid)
                        found.setdefault(channel, []).append(piece)
        # What a lost channel was to be sent before that, its subscribers read themselves.
        return found, list(lost)

    def _touched(self, txn: CommittedTxn) -> list[Channel]:
        """The channels on or above any path of the txn."""
        by_path = self._by_path
        whole = by_path.get(ROOT)
        found = [] if whole is None else list(whole)
        if len(by_path) == (whole is not None):
            return found
        # A channel has one path, so none is found twice.
        seen: dict[str, None] = {ROOT: None}
        for change in txn.changes:
            path = change.path or ROOT
            while path not in seen:
                seen[path] = None
                there = by_path.get(path)
                if there is not None:
                    found += there
                path = parent_path(path)
        return found

    # --- bookmarks ------------------------------------------------------------------------------------------

    async def keep_in_touch(self) -> None:
        """Tells channels that had nothing for a while how far the feed has come; until cancelled."""
        every_s = self._settings.heartbeat_ms / 1000
        while True:
            await asyncio.sleep(min(1.0, every_s / 4))
            async with self._lock:
                now = asyncio.get_running_loop().time()
                count = 0
                for channel in list(self._channels.values()):
                    if now - channel.sent_at < every_s or channel.format == POLL:
                        continue
                    channel.sent_at = now
                    for subscriber in list(channel.subscribers):
                        self._send_bookmark(subscriber, self.position)
                        count += 1
                        if count % SLICE == 0:
                            await asyncio.sleep(0)

    def _send_bookmark(self, subscriber: Subscriber, zxid: int) -> None:
        kind = subscriber.query.format
        if kind == POLL or subscriber.is_gone:
            return
        text = frames.bookmark_text(zxid, self.status())
        subscriber.sink.send(wrapped(kind, [frame(kind, frames.BOOKMARK, text, zxid)]), zxid)
        if subscriber.sink.is_paused and subscriber.channel is not None:
            self._fall_behind(subscriber, zxid)

    # --- those who are behind -------------------------------------------------------------------------------

    def _wake(self) -> None:
        waiter, self._advanced = self._advanced, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _reach(self, subscriber: Subscriber) -> None:
        """Waits for a server that is behind what the subscriber has; tells it so meanwhile."""
        while self.position < subscriber.after or self.position < 0:
            if self._advanced is None:
                self._advanced = asyncio.get_running_loop().create_future()
            done, _ = await asyncio.wait([self._advanced], timeout=self._settings.heartbeat_ms / 1000)
            if not done and subscriber.query.format != POLL:
                kind = subscriber.query.format
                text = frames.behind_text(self.position, self.status())
                piece = frame(kind, frames.BEHIND, text, None)
                subscriber.sink.send(wrapped(kind, [piece]), subscriber.after)

    async def _catch_up(self, subscriber: Subscriber, wants_snapshot: bool) -> None:
        """Until it is in its channel, or gone."""
        kind = subscriber.query.format
        # A snapshot at once: where no zxid to go on from was given.
        at_once = wants_snapshot and subscriber.query.since is None
        try:
            for _ in range(TRIES):
                try:
                    if at_once:
                        await self._snapshot(subscriber)
                    await self._read_on(subscriber)
                    return
                except Compacted as compacted:
                    at_once = subscriber.query.snapshot
                    if not at_once:
                        self._end(subscriber, frames.COMPACTED, self._compacted_text(subscriber, compacted))
                        return
            raise OSError("history is gone before a snapshot could be sent")
        except (StorageError, OSError, JuteError, SnapshotTooLarge) as error:
            log.warning("a subscriber of %s is given up: %s", subscriber.query.path, error)
            self._end(subscriber, frames.ERROR, frames.text_of({"error": "failed", "message": str(error)}))
        except Exception:
            log.exception("a subscriber of %s (%s) is given up", subscriber.query.path, kind)
            self._end(subscriber, frames.ERROR, frames.text_of({"error": "failed", "message": "see the log"}))

    def _compacted_text(self, subscriber: Subscriber, compacted: Compacted) -> bytes:
        oldest = self.oldest_for(subscriber.reader, compacted.oldest)
        return frames.text_of(frames.compacted_object(subscriber.after, oldest))

    def oldest_for(self, reader: Reader, oldest: int) -> int:
        """The oldest txn that these credentials may be shown."""
        return oldest if reader.sees_all else max(oldest, self._rights.floor() + 1)

    def _end(self, subscriber: Subscriber, event: str, text: bytes) -> None:
        kind = subscriber.query.format
        subscriber.sink.end(text if kind == POLL else wrapped(kind, [frame(kind, event, text, None)]))
        self.remove(subscriber)

    async def _read_on(self, subscriber: Subscriber) -> None:
        """Sends it what it lacks, and puts it into its channel."""
        query = subscriber.query
        channel = Channel((query.path, query.ops, subscriber.reader, query.format), 0.0)
        limit = min(query.limit, BATCH_TXNS) if query.format == POLL else BATCH_TXNS
        await self._reach(subscriber)
        reading = self._feed.subscribe(subscriber.after)
        told_at = asyncio.get_running_loop().time()
        while True:
            await subscriber.sink.writable()
            if subscriber.is_gone:
                return
            if subscriber.after >= self.position:
                self._join(subscriber)
                return
            txns = await reading.next(limit, BATCH_BYTES)
            befores = await self._rights.before(txns)
            pieces = []
            for txn, before in zip(txns, befores, strict=True):
                if txn.zxid > self.position:
                    # That will come in the next pass.
                    reading = self._feed.subscribe(subscriber.after)
                    break
                piece = self._piece(channel, txn, before, subscriber.after)
                if piece is not None:
                    pieces.append(piece)
                subscriber.after = txn.zxid
            now = asyncio.get_running_loop().time()
            if pieces and not subscriber.is_gone:
                data = wrapped(query.format, pieces)
                self.sent_bytes += len(data)
                told_at = now
                subscriber.sink.send(data, subscriber.after)
            elif now - told_at > self._settings.heartbeat_ms / 1000:
                told_at = now
                self._send_bookmark(subscriber, subscriber.after)
            await asyncio.sleep(0)

    def _piece(self, channel: Channel, txn: CommittedTxn, before: Before | None, after: int) -> bytes | None:
        """The frame for one txn; None where it shows nothing.  Raises Compacted where nothing is known."""
        if before is UNKNOWN:
            if not channel.reader.sees_all:
                raise Compacted(after, self._rights.floor() + 1)
            before = {}
        judged = judge(txn.changes, before)
        shown = channel.shown(txn, judged, False)
        if shown is None:
            return None
        return frame(channel.format, frames.TXN, self._texts.text(txn, shown), txn.zxid)

    async def _snapshot(self, subscriber: Subscriber) -> None:
        """The subtree at a zxid, from which it goes on."""
        kind = subscriber.query.format
        snap = await self._snapshots.get(subscriber.query.path)
        pieces = [frame(kind, frames.SNAPSHOT, frames.snapshot_text(snap.zxid, subscriber.query.path), None)]
        count = 0
        for first in range(0, len(snap.nodes), SNAPSHOT_SLICE):
            for place in range(first, min(first + SNAPSHOT_SLICE, len(snap.nodes))):
                acl: PlainAcl | None = snap.acl(place)
                if subscriber.reader.may_read(acl):
                    count += 1
                    pieces.append(frame(kind, frames.NODE, snap.text(place), None))
            await subscriber.sink.writable()
            if pieces:
                subscriber.sink.send(wrapped(kind, pieces), subscriber.after)
            pieces = []
            await asyncio.sleep(0)
        await subscriber.sink.writable()
        end = frames.snapshot_end_text(snap.zxid, count)
        pieces.append(frame(kind, frames.SNAPSHOT_END, end, snap.zxid))
        subscriber.after = snap.zxid
        subscriber.sink.send(wrapped(kind, pieces), snap.zxid)
