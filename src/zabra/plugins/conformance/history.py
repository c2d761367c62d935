"""The history that publishers are checked with: short, and with everything in it that a log can have."""

from typing import Final

from zabra.jute.primitives import Writer
from zabra.plugins.changes import committed_txn
from zabra.plugins.conformance.judge import Truth, told
from zabra.plugins.filters import Filter
from zabra.plugins.tree_snapshots import is_below
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    Id,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    Txn,
    TxnHeader,
)
from zabra.proto.txn import TxnEntry, TxnRecord, decode_txn, encode_record, encode_txn
from zabra.tree.datatree import DataTree

OPEN: Final = [ACL(codes.PERM_ALL, Id("world", "anyone"))]
CLOSED: Final = [ACL(codes.PERM_READ, Id("digest", "user:hash"))]
SESSION: Final = 0x1000000A
_START_MS: Final = 1_700_000_000_000


class CommittedHistory:
    """What an ensemble has committed so far, and what of it is wanted.

    Without ``refusals``, txns that changed nothing are not.
    """

    def __init__(self, wanted: Filter, refusals: bool = True) -> None:
        self.tree = DataTree()
        self.entries: list[TxnEntry] = []
        self.truth = Truth()
        self._wanted = wanted
        self._refusals = refusals
        self._zxid = 1 << 32
        self._numbers = 0

    @property
    def last(self) -> int:
        """The zxid of the last txn."""
        return int(self.entries[-1].header.zxid) if self.entries else 0

    def after(self, zxid: int) -> list[TxnEntry]:
        """What was committed after ``zxid``."""
        return [entry for entry in self.entries if entry.header.zxid > zxid]

    def next_epoch(self) -> None:
        """Another leader."""
        self._zxid = ((self._zxid >> 32) + 1) << 32

    def commit(self, kind: int, record: TxnRecord) -> TxnEntry:
        """One more txn."""
        self._zxid += 1
        header = TxnHeader(SESSION, self._zxid & 0xFFFF, self._zxid, _START_MS + self._zxid & 0xFFFF, kind)
        entry = decode_txn(encode_txn(header, record, None).raw)
        self.tree.process_txn(entry.header, entry.record)
        self.entries.append(entry)
        self.truth.txns += [
            told(txn) for txn in self._wanted.of([committed_txn(entry)]) if txn.changes or self._refusals
        ]
        prefix = self._wanted.path
        self.truth.nodes[self._zxid] = {
            path: node.data for path, node in self.tree.nodes.items() if is_below(path, prefix)
        }
        return entry

    # What clients do.

    def beginning(self) -> list[TxnEntry]:
        """A session, nodes with data, without, and with data that is no text."""
        return [
            self.commit(codes.OP_CREATE_SESSION, CreateSessionTxn(30_000)),
            self.create("/a", b"first"),
            self.create("/b", None),
            self.create("/a/x", b"\xff\x00"),
            self.create("/a/y", "zwölf".encode()),
            self.create("/a/e", b"", ephemeral=True),
        ]

    def every_kind(self) -> list[TxnEntry]:
        """A refusal, an ACL, multis (one of them refused), a container, a delete, the end of a session."""
        parts: list[tuple[int, TxnRecord]] = [
            (codes.OP_CHECK, CheckVersionTxn("/a", 0)),
            (codes.OP_CREATE, CreateTxn("/a/m", b"1", OPEN, False, self._cversion("/a"))),
            (codes.OP_SET_DATA, SetDataTxn("/a", b"second", self.tree.nodes["/a"].version + 1)),
            (codes.OP_CREATE, CreateTxn("/b/m", b"", OPEN, False, self._cversion("/b"))),
            (codes.OP_DELETE, DeleteTxn("/a/y")),
        ]
        refused: list[tuple[int, TxnRecord]] = [
            (codes.OP_ERROR, ErrorTxn(codes.ERR_NO_NODE)),
            (codes.OP_ERROR, ErrorTxn(-2)),
        ]
        return [
            self.commit(codes.OP_ERROR, ErrorTxn(codes.ERR_BAD_VERSION)),
            self.commit(codes.OP_MULTI, _multi(parts)),
            self.commit(codes.OP_SET_ACL, SetACLTxn("/a/x", CLOSED, 1)),
            self.commit(codes.OP_MULTI, _multi(refused)),
            self.commit(
                codes.OP_CREATE_CONTAINER, CreateContainerTxn("/a/c", b"", OPEN, self._cversion("/a"))
            ),
            self.set("/a/e"),
            self.commit(codes.OP_CLOSE_SESSION, CloseSessionTxn(["/a/e"])),
            self.delete("/b/m"),
        ]

    def some(self, count: int) -> list[TxnEntry]:
        """Creates and sets, and now and then a delete."""
        made: list[TxnEntry] = []
        for _ in range(count):
            self._numbers += 1
            number = self._numbers
            if number % 4 == 1:
                made.append(self.create(f"/a/n{number}", b"%d" % number))
            elif number % 7 == 5:
                made.append(self.delete(f"/a/n{number - number % 4 + 1 if number % 4 else number - 3}"))
            else:
                made.append(self.set("/b" if number % 3 else "/a/x"))
        return made

    def create(self, path: str, data: bytes | None, ephemeral: bool = False) -> TxnEntry:
        """A node."""
        parent = path.rpartition("/")[0]
        record = CreateTxn(path, data, OPEN, ephemeral, self._cversion(parent))
        return self.commit(codes.OP_CREATE, record)

    def set(self, path: str) -> TxnEntry:
        """Other data."""
        version = int(self.tree.nodes[path].version) + 1
        return self.commit(codes.OP_SET_DATA, SetDataTxn(path, b"set %d" % version, version))

    def delete(self, path: str) -> TxnEntry:
        """It goes; where it has gone already, a refusal."""
        if self.tree.find(path) is None:
            return self.commit(codes.OP_ERROR, ErrorTxn(codes.ERR_NO_NODE))
        return self.commit(codes.OP_DELETE, DeleteTxn(path))

    def _cversion(self, parent: str) -> int:
        node = self.tree.find(parent or "/")
        assert node is not None
        return int(node.cversion) + 1


def _multi(parts: list[tuple[int, TxnRecord]]) -> MultiTxn:
    out: list[Txn] = []
    for kind, record in parts:
        w = Writer()
        encode_record(record, w)
        out.append(Txn(kind, w.getvalue()))
    return MultiTxn(out)
