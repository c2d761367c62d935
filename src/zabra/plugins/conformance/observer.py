"""The observer of a check: the parts that run publishers on a real one, on a simulated disk.

It hears what is committed (and publishes it) before its own log has it, as a real one does; it may be killed,
lose power, be stopped, and have its log compacted, and comes back with what its disk then holds.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Final

from zabra.plugins.conformance.faults import LIFE, Faults, Killed, TargetError
from zabra.plugins.conformance.history import CommittedHistory
from zabra.plugins.conformance.virtual_time import end_others
from zabra.plugins.cursors import FOLDER, CursorStore
from zabra.plugins.feed import Feed
from zabra.plugins.host import PublisherHost
from zabra.plugins.log_history import LogHistory
from zabra.plugins.publisher import CommittedTxn, Publisher, PublisherContext, Snap, SnapNode
from zabra.plugins.registry import HostOptions, PublisherPlan
from zabra.plugins.tree_snapshots import TreeSnapshots
from zabra.proto.txn import TxnEntry
from zabra.server.recovery import open_store, recover
from zabra.sim.disk import SimDisk
from zabra.sim.prng import Prng
from zabra.storage.names import VERSION_FOLDER, join
from zabra.storage.txnsnaplog import FileTxnSnapLog
from zabra.tree.datatree import DataTree
from zabra.tree.snapshot_walk import serialize_tree

# In memory there is room for so many: whoever is further behind reads the log.
MEMORY_TXNS: Final = 6
BATCH_TXNS: Final = 4
_LOG_BYTES: Final = 4096


class WatchedPublisher:
    """A publisher whose calls, and the nodes of whose snapshots, are points."""

    def __init__(self, inner: Publisher, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def open(self, context: PublisherContext) -> int | None:
        """See ``Publisher``."""
        await self._faults.point("before open()", False)
        found = await self._inner.open(context)
        await self._faults.point("after open()", False)
        return found

    async def snap(self, snap: Snap) -> None:
        """See ``Publisher``."""
        await self._faults.point("before snap()", False)
        await self._inner.snap(replace(snap, nodes=self._nodes(snap.nodes)))
        await self._faults.point("after snap()", False)

    async def _nodes(self, nodes: AsyncIterator[SnapNode]) -> AsyncIterator[SnapNode]:
        number = 0
        async for node in nodes:
            if number == 3:
                await self._faults.point("in the middle of a snapshot", False)
            number += 1
            yield node

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """See ``Publisher``."""
        text = f"inform(0x{txns[0].zxid:x}…0x{txns[-1].zxid:x})"
        await self._faults.point(f"before {text}", False)
        durable = await self._inner.inform(txns)
        await self._faults.point(f"after {text}", False)
        return durable

    async def close(self) -> None:
        """See ``Publisher``."""
        await self._faults.point("before close()", False)
        await self._inner.close()
        await self._faults.point("after close()", False)


class ModelObserver:
    """See the module.  ``make`` gives a new publisher for the same target."""

    def __init__(
        self,
        history: CommittedHistory,
        faults: Faults,
        make: Callable[[], Publisher],
        prng: Prng,
        path: str,
    ) -> None:
        self.disk = SimDisk()
        self.disk.before = self._before_disk
        self._history = history
        self._faults = faults
        self._make = make
        self._prng = prng
        self._path = path
        self._store: FileTxnSnapLog | None = None
        self._tree: DataTree | None = None
        self._unlogged: list[TxnEntry] = []
        self._logged = 0
        self.host: PublisherHost | None = None

    @property
    def store(self) -> FileTxnSnapLog:
        """Log and snapshots, while it runs."""
        assert self._store is not None
        return self._store

    def _before_disk(self, operation: str, path: str) -> None:
        """Saving a cursor is a row of points; whatever a dead process tries has no effect."""
        if LIFE.get() != self._faults.life:
            raise Killed(f"{operation} {path}")
        if path.startswith(f"{FOLDER}/") and operation in ("rename", "sync_folder"):
            try:
                self._faults.step_point(f"before {operation} {path}", False)
            except TargetError as error:
                raise OSError(str(error)) from error

    # Life.

    def start(self) -> None:
        """A new process: recovers from the disk, and begins to publish."""
        LIFE.set(self._faults.life)
        self._store = open_store(self.disk, self.disk, preallocate_bytes=_LOG_BYTES)
        recovered = recover(self._store, self.disk)
        self._tree = tree = recovered.tree
        self._logged = int(recovered.last_zxid)
        self._unlogged = []
        feed = Feed(
            lambda since: LogHistory(self.disk, self.disk, since),
            lambda: self._logged,
            memory_txns=MEMORY_TXNS,
        )
        plan = PublisherPlan(
            "checked",
            "checked",
            HostOptions(path=self._path, batch_txns=BATCH_TXNS, max_backoff_ms=2000),
            {},
            lambda: WatchedPublisher(self._make(), self._faults),
        )
        self.host = PublisherHost(
            [plan],
            feed,
            CursorStore(self.disk),
            TreeSnapshots(feed, lambda: tree),
            1,
            lambda: int(tree.last_processed_zxid),
            lambda: False,
            self._store.log.bytes_from,
        )
        self.host.start()

    async def stop(self) -> None:
        """Ends cleanly."""
        assert self.host is not None
        await self.host.stop()
        self.write_log()
        self.store.log.close()
        self.host = None

    async def end(self, power_cut: bool) -> None:
        """Ends as a process that is killed does; with ``power_cut``, as a machine does."""
        self._faults.life += 1
        # Those who were waiting hear of the end; what they then try has no effect any more.
        await end_others()
        LIFE.set(self._faults.life)
        if power_cut:
            self.disk.crash(self._prng)
            self._faults.power_cut()
        self.host = None

    # What it hears.

    def hear(self, entries: Sequence[TxnEntry], logged: bool = True) -> None:
        """Txns whose commit was just learned; ``logged``: they are on its disk at once."""
        assert self.host is not None
        assert self._tree is not None
        for entry in entries:
            self._tree.process_txn(entry.header, entry.record)
        self._unlogged += entries
        self.host.informed(list(entries))
        if logged:
            self.write_log()

    def hear_the_rest(self) -> None:
        """All that is committed, and that it was not told yet."""
        assert self._tree is not None
        self.hear(self._history.after(int(self._tree.last_processed_zxid)))

    def has_heard(self, entry: TxnEntry) -> bool:
        """Whether it knows of it already."""
        assert self._tree is not None
        return bool(self._tree.last_processed_zxid >= entry.header.zxid)

    def synchronise(self) -> None:
        """Gets what it lacks from its leader, without being told of each."""
        assert self._tree is not None
        for entry in self._history.after(int(self._tree.last_processed_zxid)):
            self._tree.process_txn(entry.header, entry.record)
            self._unlogged.append(entry)
        self.write_log()

    def write_log(self) -> None:
        """What it has heard becomes durable."""
        log = self.store.log
        for entry in self._unlogged:
            log.append(int(entry.header.zxid), entry.raw)
        self._unlogged = []
        log.sync()
        self._logged = max(self._logged, int(log.last_zxid))

    def compact(self) -> None:
        """Takes a snapshot, and removes every log and every other snapshot."""
        tree = self._tree
        assert tree is not None
        self.write_log()
        store = self.store
        zxid = int(tree.last_processed_zxid)
        store.roll()
        store.snaps.save(zxid, [serialize_tree(tree)], zxid, int(tree.digest))
        for file in store.snaps.files():
            if file.zxid != zxid:
                store.snaps.delete(file)
        for name in self.disk.list(VERSION_FOLDER):
            if name.startswith("log."):
                self.disk.delete(join(VERSION_FOLDER, name))
        self.disk.sync_folder(VERSION_FOLDER)

    def adopt_snapshot(self) -> None:
        """Joins an ensemble that has a history already: gets a snapshot, and no log."""
        store = self.store
        tree = self._history.tree
        zxid = self._history.last
        store.snaps.save(zxid, [serialize_tree(tree)], zxid, int(tree.digest))
        store.adopt(zxid)
