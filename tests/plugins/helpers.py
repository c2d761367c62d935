"""Txns for feeds, a log for them in memory, and a publisher that notes what it is told."""

from collections.abc import Sequence

from zabra.plugins.feed import Compacted
from zabra.plugins.publisher import CommittedTxn, PublisherContext, Snap
from zabra.proto import codes
from zabra.proto.records import ACL, CreateTxn, Id, TxnHeader
from zabra.proto.txn import TxnEntry, decode_txn, encode_txn
from zabra.storage.txnlog_format import follows

OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]
FOLDER = "version-2"
E1 = 1 << 32
E2 = 2 << 32
E3 = 3 << 32


def create(zxid: int, path: str | None = None, data: bytes = b"x") -> TxnEntry:
    """A create whose zxid is in its path."""
    header = TxnHeader(0x77, zxid & 0xFFFF, zxid, 1_700_000_000_000, codes.OP_CREATE)
    record = CreateTxn(path or f"/n{zxid:x}", data, OPEN, False, 1)
    return decode_txn(encode_txn(header, record, None).raw)


class MemoryLog:
    """``feed.History`` for tests: what is in the log, from where on."""

    def __init__(self) -> None:
        self.entries: list[TxnEntry] = []
        self.opened = 0

    def open(self, since: int) -> "MemoryHistory":
        """A reader behind ``since``."""
        self.opened += 1
        return MemoryHistory(self, since)

    def last(self) -> int:
        """The last zxid that is on disk."""
        return self.entries[-1].header.zxid if self.entries else 0


class MemoryHistory:
    """One place in a MemoryLog."""

    def __init__(self, log: MemoryLog, since: int) -> None:
        self.log = log
        self.after = since

    def oldest(self) -> int:
        """The first zxid."""
        return self.log.entries[0].header.zxid if self.log.entries else 0

    def read(self, upto: int, max_bytes: int) -> list[bytes]:
        """Up to ``upto``."""
        found: list[bytes] = []
        has_place = self.after == 0 or any(entry.header.zxid == self.after for entry in self.log.entries)
        for entry in self.log.entries:
            zxid = entry.header.zxid
            if zxid <= self.after or zxid > upto or sum(map(len, found)) >= max_bytes:
                continue
            if zxid != self.after + 1 and not (has_place and follows(zxid, self.after)):
                raise Compacted(self.after, self.oldest())
            has_place = True
            self.after = zxid
            found.append(entry.raw)
        return found


class Noted:
    """A publisher that keeps what it was told; ``fail`` is raised by the next calls as long as it is set."""

    def __init__(self, cursor: int | None = 0) -> None:
        self.cursor = cursor
        self.told: list[CommittedTxn] = []
        self.snaps: list[tuple[int, dict[str, bytes | None]]] = []
        self.opened = 0
        self.closed = 0
        self.context: PublisherContext | None = None
        self.fail: Exception | None = None

    @property
    def zxids(self) -> list[int]:
        """Of all that it was told."""
        return [txn.zxid for txn in self.told]

    async def open(self, context: PublisherContext) -> int | None:
        """Remembers."""
        self.opened += 1
        self.context = context
        return self.cursor

    async def snap(self, snap: Snap) -> None:
        """Remembers."""
        self.snaps.append((snap.zxid, {node.path: node.data async for node in snap.nodes}))
        if self.cursor is not None:
            self.cursor = snap.zxid

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """Remembers."""
        if self.fail is not None:
            raise self.fail
        self.told += txns
        if self.cursor is not None:
            self.cursor = txns[-1].zxid
        return txns[-1].zxid

    async def close(self) -> None:
        """Remembers."""
        self.closed += 1
