"""What a server does to its disk, step by step, with what it has promised after each step."""

from collections.abc import Callable

from tests.storage.crash_points import History, Peer, Promises
from tests.storage.folders import FOLDER, new_store, options, save_snapshot

from zabra.proto.txn import TxnEntry
from zabra.server.disk_worker import DiskWorker
from zabra.server.ready import (
    DISK_APPEND,
    DISK_CURRENT_EPOCH,
    DISK_DELETE_FILE,
    DISK_SAVE_FILE,
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_CHUNK,
    DISK_SNAPSHOT_END,
    DiskCommand,
)
from zabra.server.recovery import open_store, recover
from zabra.sim.disk import SimDisk
from zabra.sim.prng import Prng
from zabra.storage.txnlog import FileTxnLog
from zabra.storage.txnsnaplog import FileTxnSnapLog
from zabra.tree.snapshot_walk import SnapshotWalk, serialize_tree


def append_one_by_one(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    for _ in range(24):
        peer.log(1)


def append_batches(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    for count in (5, 40, 2, 60, 13, 90, 1, 120):
        peer.log(count)


def roll_often(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    for count in (3, 1, 9, 4):
        peer.log(count)
        peer.store.roll()


def roll_by_size(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    log = FileTxnLog(disk, FOLDER, preallocate_bytes=4096, size_limit_bytes=1500)
    log.open()
    peer.store = FileTxnSnapLog(log, peer.store.snaps)
    for count in (3, 12, 1, 7, 8, 2):
        peer.log(count)


def zeros_ahead(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    _fill(disk, peer)
    for count in (3, 12, 1, 7, 8, 2):
        peer.log(count)


def _fill(disk: SimDisk, peer: Peer) -> None:
    log = FileTxnLog(disk, FOLDER, preallocate_bytes=16384, fill_bytes=512)
    log.open()
    peer.store = FileTxnSnapLog(log, peer.store.snaps)


def exact_snapshots(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    for count in (4, 9, 6):
        peer.log(count)
        save_snapshot(peer.store, peer.applied.tree)
        peer.store.roll()


def fuzzy_snapshot(disk: SimDisk, promises: Promises) -> None:
    """The tree changes, and the log grows, while it is walked."""
    peer = Peer(disk, promises)
    for _ in range(2):
        peer.log(14)
        peer.store.roll()
        walk = SnapshotWalk(peer.applied.tree)
        writer = peer.store.begin(walk.zxid)
        while (chunk := walk.step(2)) is not None:
            writer.write(chunk)
            peer.log(1)
        tree = peer.applied.tree
        writer.finish(tree.last_processed_zxid, tree.digest)
        peer.log(3)


def compressed_snapshots(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    for method in ("gz", "snappy"):
        store = open_store(disk, disk, preallocate_bytes=4096, compression_method=method)
        recover(store, disk, options())
        peer.store = store
        peer.log(6)
        save_snapshot(store, peer.applied.tree)


def abandoned_snapshot(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    peer.log(5)
    writer = peer.store.begin(peer.low)
    writer.write(b"some")
    writer.abort()
    peer.log(2)


def snap_from_leader(disk: SimDisk, promises: Promises) -> None:
    """SNAP: this server has txns that were never committed; the leader's history replaces its own."""
    for own, epoch, extra_snapshot in ((7, 2, False), (30, 3, True)):
        _snap(SimDisk(), Promises(), disk, promises, own, epoch, extra_snapshot)
        for name in disk.list(FOLDER):
            hook, disk.after = disk.after, None
            disk.delete(f"{FOLDER}/{name}")
            disk.sync_folder(FOLDER)
            disk.after = hook
        promises.accepted = promises.current = (0,)


def _snap(
    other_disk: SimDisk,
    other_promises: Promises,
    disk: SimDisk,
    promises: Promises,
    own: int,
    epoch: int,
    extra_snapshot: bool,
) -> None:
    leader = Peer(other_disk, other_promises)
    leader.log(12)
    peer = Peer(disk, promises)
    peer.log(own)
    if extra_snapshot:
        save_snapshot(peer.store, peer.applied.tree)
        peer.store.roll()
        peer.log(4)
    _adopt(leader, peer, epoch)


def snap_of_another_history(disk: SimDisk, promises: Promises) -> None:
    """SNAP of a later epoch than all this server has, some of which was never committed, in several files."""
    peer = Peer(disk, promises)
    for count in (12, 7, 6):
        peer.log(count)
        peer.store.roll()
    leader = Peer(SimDisk(), Promises())
    leader.applied = peer.applied.forget_after(peer.applied.entries[9].header.zxid)
    leader.applied.new_epoch()
    leader.low = leader.applied.some(6)[-1].header.zxid
    promises.accepted = (1, 3)
    peer.epochs.save_accepted(3)
    promises.accepted = (3,)
    # With txns of epoch 2 it is in that.
    promises.current = (1, 2)
    _adopt(leader, peer, 3)


def _adopt(leader: Peer, peer: Peer, epoch: int) -> None:
    """``peer`` is sent the tree of ``leader``, who leads in ``epoch``."""
    disk, promises = peer.disk, peer.promises
    base = leader.low
    mine = peer.history
    lowest = max(zxid for zxid in mine.at if zxid <= base)
    snapshot_at = max((f.zxid for f in peer.store.snaps.files()), default=0)
    theirs = History(leader.applied)
    worker = DiskWorker(peer.store, True, peer.epochs, disk, FOLDER)
    # Its own history, less what was never committed, or the leader's.
    promises.history(mine, min(peer.low, max(lowest, snapshot_at)), peer.low)
    promises.either(theirs, base, base)
    body = serialize_tree(leader.applied.tree)
    commands = [_command(DISK_SNAPSHOT_BEGIN, zxid=base)]
    for start in range(0, len(body), 700):
        commands.append(_command(DISK_SNAPSHOT_CHUNK, data=body[start : start + 700]))
    commands.append(_command(DISK_SNAPSHOT_END, zxid=base, value=leader.applied.tree.digest))
    worker.run(commands)
    promises.history(theirs, base, base)
    # What the leader committed meanwhile is logged before the epoch is entered.
    more = leader.applied.some(5)
    theirs = History(leader.applied)
    promises.history(theirs, base, more[-1].header.zxid)
    worker.run([_append(more)])
    promises.history(theirs, more[-1].header.zxid, more[-1].header.zxid)
    promises.accepted = (*promises.accepted, epoch)
    peer.epochs.save_accepted(epoch)
    promises.accepted = (epoch,)
    promises.current = (*promises.current, epoch)
    worker.run([_command(DISK_CURRENT_EPOCH, value=epoch)])
    promises.current = (epoch,)


def _command(kind: int, zxid: int = 0, value: int = 0, data: bytes = b"", name: str = "") -> DiskCommand:
    command = DiskCommand(kind, 1)
    command.zxid, command.value, command.data, command.name = zxid, value, data, name
    return command


def _append(entries: list[TxnEntry]) -> DiskCommand:
    command = DiskCommand(DISK_APPEND, 1)
    command.entries = entries
    return command


def truncate(disk: SimDisk, promises: Promises) -> None:
    """TRUNC, within the last file and across files, with and without a snapshot beyond the cut."""
    peer = Peer(disk, promises)
    peer.log(8)
    save_snapshot(peer.store, peer.applied.tree)
    for back in (2, 9, 17):
        for _ in range(3):
            peer.log(6)
            peer.store.roll()
        if back == 9:
            save_snapshot(peer.store, peer.applied.tree)
            peer.log(3)
        target = peer.applied.entries[-1 - back].header.zxid
        promises.history(peer.history, target, peer.low)
        assert peer.store.truncate(target)
        promises.history(peer.history, target, target)
        _continue_after(peer, target)


def _continue_after(peer: Peer, target: int) -> None:
    """The leader's next txns are of a new epoch and of another content."""
    peer.applied = peer.applied.forget_after(target)
    peer.applied.draws = Prng(target, "txns of another leader")
    peer.low = target
    peer.history = History(peer.applied)
    peer.promises.history(peer.history, target, target)
    peer.enter_epoch(peer.promises.current[-1] + 1)
    peer.log(3)


def epochs_only(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    peer.log(2)
    for epoch in range(2, 22):
        peer.enter_epoch(epoch)


def epochs_with_txns(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    for epoch in range(2, 7):
        peer.enter_epoch(epoch)
        peer.log(3)
        peer.store.roll()


def purge(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    for count in (3, 5, 2, 6, 4, 3):
        peer.log(count)
        save_snapshot(peer.store, peer.applied.tree)
        peer.store.roll()
    peer.log(3)
    snapshots, logs = peer.store.purge(3)
    assert len(snapshots) == 4
    assert len(logs) == 3
    peer.log(2)


def config_file(disk: SimDisk, promises: Promises) -> None:
    peer = Peer(disk, promises)
    worker = DiskWorker(peer.store, True, peer.epochs, disk, FOLDER)
    promises.config = (b"",)
    for version in range(12):
        data = f"server.1=host{version}".encode() * version * 40
        promises.config = (promises.config[-1], data)
        worker.run([_command(DISK_SAVE_FILE, name="zoo.cfg.dynamic", data=data)])
        promises.config = (data,)
    promises.config = (data, b"")
    worker.run([_command(DISK_DELETE_FILE, name="zoo.cfg.dynamic")])
    promises.config = (b"",)


def initialize_file(disk: SimDisk, promises: Promises) -> None:
    """An empty folder that an operator has marked as new."""
    disk.create("initialize")
    disk.sync_folder("")
    peer = Peer(disk, promises)
    peer.log(2)


def mended_end_byte(disk: SimDisk, promises: Promises) -> None:
    """The byte behind a txn rots; the checksum vouches for the txn."""
    peer = Peer(disk, promises)
    peer.log(6)
    peer.store.roll()
    peer.log(6)
    peer.store.log.close()
    first, second = sorted(name for name in disk.list(FOLDER) if name.startswith("log."))
    disk.flip(f"{FOLDER}/{first}", disk.size(f"{FOLDER}/{first}") - 1)
    content = disk.read(f"{FOLDER}/{second}").rstrip(b"\0")
    disk.flip(f"{FOLDER}/{second}", len(content) - 1)
    peer.store = new_store(disk)
    recover(peer.store, disk, options())
    peer.log(2)


def restarts(disk: SimDisk, promises: Promises) -> None:
    """Processes come and go on the same files."""
    peer = Peer(disk, promises)
    for count in (4, 1, 8, 2):
        peer.log(count)
        peer.store.log.close()
        peer.store = new_store(disk)
        recover(peer.store, disk, options())


def some_life(seed: int, disk: SimDisk, promises: Promises) -> None:
    """Everything above in an order drawn from ``seed``."""
    prng = Prng(seed, "life")
    peer = Peer(disk, promises)
    for _ in range(22):
        step = prng.below(10)
        if step < 4:
            peer.log(1 + prng.below(20))
        elif step == 4:
            peer.store.roll()
        elif step == 5:
            save_snapshot(peer.store, peer.applied.tree)
        elif step == 6:
            peer.enter_epoch(promises.current[-1] + 1)
        elif step == 7:
            peer.store.purge(3)
        elif step == 8:
            peer.store.log.close()
            peer.store = new_store(disk)
            recover(peer.store, disk, options())
        else:
            _truncate_somewhere(peer, prng)


def _truncate_somewhere(peer: Peer, prng: Prng) -> None:
    oldest = min(file.zxid for file in peer.store.snaps.files())
    choices = [e.header.zxid for e in peer.applied.entries[-15:] if e.header.zxid >= oldest]
    if not choices:
        return
    target = prng.pick(choices)
    peer.promises.history(peer.history, target, max(target, peer.low))
    assert peer.store.truncate(target)
    _continue_after(peer, target)


Workload = Callable[[SimDisk, Promises], None]
WORKLOADS: list[Workload] = [
    append_one_by_one,
    append_batches,
    roll_often,
    roll_by_size,
    zeros_ahead,
    exact_snapshots,
    fuzzy_snapshot,
    compressed_snapshots,
    abandoned_snapshot,
    snap_from_leader,
    snap_of_another_history,
    truncate,
    epochs_only,
    epochs_with_txns,
    purge,
    config_file,
    initialize_file,
    mended_end_byte,
    restarts,
]


def everything_once(disk: SimDisk, promises: Promises) -> None:
    """A short life that passes every place where storage uses the disk."""
    disk.create("initialize")
    disk.sync_folder("")
    peer = Peer(disk, promises)
    _fill(disk, peer)
    peer.log(5)
    for _ in range(4):
        save_snapshot(peer.store, peer.applied.tree)
        peer.store.roll()
        peer.log(3)
    peer.store.purge(3)
    peer.store.begin(peer.low).abort()
    packed = open_store(disk, disk, preallocate_bytes=4096, compression_method="gz")
    save_snapshot(packed, peer.applied.tree)
    target = peer.applied.entries[-5].header.zxid
    promises.history(peer.history, target, peer.low)
    assert peer.store.truncate(target)
    _continue_after(peer, target)
    base = peer.low
    body = serialize_tree(peer.applied.tree)
    worker = DiskWorker(peer.store, True, peer.epochs, disk, FOLDER)
    end = _command(DISK_SNAPSHOT_END, zxid=base, value=peer.applied.tree.digest)
    worker.run([_command(DISK_SNAPSHOT_BEGIN, zxid=base), _command(DISK_SNAPSHOT_CHUNK, data=body), end])
    promises.config = (b"", b"new")
    worker.run([_command(DISK_SAVE_FILE, name="zoo.cfg.dynamic", data=b"new")])
    promises.config = (b"new",)
    promises.config = (b"new", b"")
    worker.run([_command(DISK_DELETE_FILE, name="zoo.cfg.dynamic")])
    promises.config = (b"",)
    peer.log(2)
    peer.store.log.close()
    peer.store.begin(peer.low).write(b"left behind")
    disk.create(f"{FOLDER}/new.log")
    peer.store = new_store(disk)
    recover(peer.store, disk, options())
    peer.log(2)
