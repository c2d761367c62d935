"""Data folders to test with: stores on a SimDisk, valid txns, and the tree that they lead to."""

from tests.tree.naive import Leader

from zabra.proto import codes
from zabra.proto.records import ACL, CreateTxn, Id, TxnDigest, TxnHeader
from zabra.proto.txn import TxnEntry, encode_txn
from zabra.server.recovery import Recovered, RecoveryOptions, open_store, recover
from zabra.sim.disk import SimDisk
from zabra.sim.prng import Prng
from zabra.storage.disk import Disk
from zabra.storage.txnlog import FileTxnLog
from zabra.storage.txnsnaplog import FileTxnSnapLog
from zabra.tree.datatree import DataTree
from zabra.tree.ephemerals import EphemeralTypes
from zabra.tree.snapshot_walk import SnapshotWalk

FOLDER = "version-2"
OPEN = [ACL(31, Id("world", "anyone"))]
PREALLOCATE_BYTES = 8192


def options() -> RecoveryOptions:
    """With the types of ephemerals that the txns of ``Leader`` use."""
    out = RecoveryOptions()
    out.types = EphemeralTypes(extended=True)
    return out


def new_store(disk: Disk, preallocate_bytes: int = PREALLOCATE_BYTES) -> FileTxnSnapLog:
    """A store with small files."""
    return open_store(disk, disk, preallocate_bytes=preallocate_bytes)


def recovered(disk: Disk) -> Recovered:
    """Recovers a folder as a server's start would."""
    return recover(new_store(disk), disk, options())


def new_log(disk: Disk, preallocate_bytes: int = PREALLOCATE_BYTES, size_limit_bytes: int = 0) -> FileTxnLog:
    """An open log in a folder of its own."""
    disk.make_folder(FOLDER)
    log = FileTxnLog(disk, FOLDER, preallocate_bytes=preallocate_bytes, size_limit_bytes=size_limit_bytes)
    log.open()
    return log


def fill(log: FileTxnLog, first: int, last: int, size: int = 50) -> None:
    """Logs txns of these zxids, with ``size`` bytes of data each."""
    for zxid in range(first, last + 1):
        log.append(zxid, simple_txn(zxid, b"d" * size))
    log.sync()


def zxids(log: FileTxnLog, start: int = 1) -> list[int]:
    """What can be read back."""
    return [zxid for zxid, _ in log.read_from(start)]


def simple_txn(zxid: int, data: bytes = b"data") -> bytes:
    """An encoded create; what matters is its zxid."""
    header = TxnHeader(0x1000, zxid & 0xFFFF, zxid, 1_700_000_000_000 + (zxid & 0xFFFF), codes.OP_CREATE)
    return encode_txn(header, CreateTxn(f"/n{zxid:x}", data, OPEN, False, zxid & 0xFFFF), None).raw


class Applied:
    """A tree and the txns applied to it so far, as a server of an ensemble would hold them."""

    def __init__(self) -> None:
        self.leader = Leader()
        self.tree = DataTree(EphemeralTypes(extended=True))
        self.entries: list[TxnEntry] = []
        self.draws = Prng(1, "txns")
        self.calls: list[tuple[tuple[int, int, int, int], tuple[int, int, int]]] = []

    def propose(self, op: int, path: int, value: int, session: int) -> TxnEntry | None:
        """Makes the next txn and applies it; None if nothing valid comes of the draws."""
        leader = self.leader
        before = (leader.zxid, leader.time, leader.next_session)
        made = leader.propose(op, path, value, session)
        if made is None:
            return None
        self.calls.append(((op, path, value, session), before))
        header, record = made
        self.tree.process_txn(header, record)
        digest = None if header.type == codes.OP_ERROR else TxnDigest(2, self.tree.digest)
        entry = encode_txn(header, record, digest)
        self.entries.append(entry)
        return entry

    def some(self, count: int) -> list[TxnEntry]:
        """``count`` txns of all kinds; the same ones for the same calls."""
        out: list[TxnEntry] = []
        while len(out) < count:
            # Creates come up most, or there would be little to delete and to change.
            op = self.draws.pick([0, 0, 1, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11])
            entry = self.propose(op, self.draws.below(17), self.draws.below(11), self.draws.below(4))
            if entry is not None:
                out.append(entry)
        return out

    def new_epoch(self) -> None:
        """The next txn is the first of the next epoch."""
        self.leader.zxid = ((self.leader.zxid >> 32) + 1) << 32

    def forget_after(self, zxid: int) -> "Applied":
        """The same history up to ``zxid``, made anew, from where it can go on in another way."""
        out = Applied()
        for entry, (draws, before) in zip(self.entries, self.calls, strict=True):
            if entry.header.zxid <= zxid:
                out.leader.zxid, out.leader.time, out.leader.next_session = before
                again = out.propose(*draws)
                assert again is not None
                assert again.raw == entry.raw
        return out


def log_txns(store: FileTxnSnapLog, entries: list[TxnEntry]) -> None:
    """Appends and syncs."""
    for entry in entries:
        store.append(entry.header.zxid, entry.raw)
    store.sync()


def save_snapshot(store: FileTxnSnapLog, tree: DataTree) -> str:
    """Takes an exact snapshot; returns its path."""
    walk = SnapshotWalk(tree)
    body = []
    while (chunk := walk.step(8)) is not None:
        body.append(chunk)
    return store.snaps.save(walk.zxid, body, tree.last_processed_zxid, tree.digest)


def small_folder(disk: Disk | None = None) -> tuple[Disk, Applied]:
    """A folder with a snapshot, a rolled log and a log of a second epoch; and what is in it."""
    disk = SimDisk() if disk is None else disk
    store = new_store(disk)
    recover(store, disk, options())
    applied = Applied()
    log_txns(store, applied.some(12))
    store.roll()
    save_snapshot(store, applied.tree)
    log_txns(store, applied.some(9))
    applied.new_epoch()
    store.roll()
    log_txns(store, applied.some(7))
    store.log.close()
    return disk, applied
