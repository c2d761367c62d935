"""OutstandingChanges: the tree as it will be once every proposal made so far commits.

Prep reads nodes through this overlay, so that a request sees the effects of those before it although
none of them is applied yet.  A record is dropped when the txn that made it is applied.  Source: upstream
``ZooKeeperServer.outstandingChanges`` and ``ChangeRecord``.
"""


from mypy_extensions import i64, mypyc_attr

from zabra.fifo import Fifo
from zabra.proto.records import ACL, StatPersisted
from zabra.tree.datatree import DataTree
from zabra.tree.digest import node_digest
from zabra.tree.node import DIGEST_UNKNOWN, DataNode


@mypyc_attr(acyclic=True)
class ChangeRecord:
    """A node as the txn ``zxid`` leaves it; ``exists`` is False where that txn deletes it."""

    __slots__ = (
        "acl",
        "aversion",
        "child_count",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "digest",
        "ephemeral_owner",
        "exists",
        "mtime",
        "mzxid",
        "path",
        "pzxid",
        "version",
        "zxid",
    )

    def __init__(self, zxid: i64, path: str, data: bytes | None, acl: list[ACL]) -> None:
        self.zxid: i64 = zxid
        self.path: str = path
        self.exists: bool = True
        self.data: bytes | None = data
        self.acl: list[ACL] = acl
        self.czxid: i64 = 0
        self.mzxid: i64 = 0
        self.pzxid: i64 = 0
        self.ctime: i64 = 0
        self.mtime: i64 = 0
        self.version: i64 = 0
        self.cversion: i64 = 0
        self.aversion: i64 = 0
        self.ephemeral_owner: i64 = 0
        self.child_count: i64 = 0
        # Digest of the node as it is in this record; 0 until computed.
        self.digest: i64 = 0

    def to_stat_persisted(self) -> StatPersisted:
        """The stat as it is stored."""
        return StatPersisted(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion,
            self.aversion,
            self.ephemeral_owner,
            self.pzxid,
        )

    def compute_digest(self) -> i64:
        """The node's digest from the fields as they are now."""
        return node_digest(
            self.path,
            self.data,
            self.czxid,
            self.mzxid,
            self.pzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion,
            self.aversion,
            self.ephemeral_owner,
        )


def record_of_node(path: str, node: DataNode, acl: list[ACL], zxid: i64) -> ChangeRecord:
    """The applied node as a change record."""
    record = ChangeRecord(zxid, path, node.data, acl)
    record.czxid = node.czxid
    record.mzxid = node.mzxid
    record.pzxid = node.pzxid
    record.ctime = node.ctime
    record.mtime = node.mtime
    record.version = node.version
    record.cversion = node.cversion
    record.aversion = node.aversion
    record.ephemeral_owner = node.ephemeral_owner
    record.child_count = node.num_children()
    return record


def copy_record(old: ChangeRecord, zxid: i64) -> ChangeRecord:
    """A record for the txn ``zxid`` that starts where ``old`` ends."""
    record = ChangeRecord(zxid, old.path, old.data, old.acl)
    record.exists = old.exists
    record.czxid = old.czxid
    record.mzxid = old.mzxid
    record.pzxid = old.pzxid
    record.ctime = old.ctime
    record.mtime = old.mtime
    record.version = old.version
    record.cversion = old.cversion
    record.aversion = old.aversion
    record.ephemeral_owner = old.ephemeral_owner
    record.child_count = old.child_count
    record.digest = old.digest
    return record


@mypyc_attr(acyclic=True)
class Undo:
    """What one change replaced: the record that stood for the path before (None: the tree's own node)."""

    __slots__ = ("before", "path")

    def __init__(self, path: str, before: ChangeRecord | None) -> None:
        self.path: str = path
        self.before: ChangeRecord | None = before


class OutstandingChanges:
    """Change records by path, forgotten in zxid order."""

    __slots__ = ("_journal", "_queue", "_records")

    def __init__(self) -> None:
        self._records: dict[str, ChangeRecord] = {}
        self._queue: Fifo[ChangeRecord] = Fifo()
        self._journal: list[Undo] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def get(self, path: str) -> ChangeRecord | None:
        """The newest record of ``path``, or None where the tree itself is the truth."""
        return self._records.get(path)

    def put(self, record: ChangeRecord) -> None:
        """Makes ``record`` the newest of its path."""
        if self._journal is not None:
            self._journal.append(Undo(record.path, self._records.get(record.path)))
        self._records[record.path] = record
        self._queue.append(record)

    def begin(self) -> None:
        """Starts remembering what is replaced, for ``rollback`` (a multi that may fail)."""
        self._journal = []

    def commit(self) -> None:
        """Keeps what was changed since ``begin``."""
        self._journal = None

    def rollback(self) -> None:
        """Undoes, exactly and in reverse, everything since ``begin``."""
        journal = self._journal
        assert journal is not None, "rollback without begin"
        self._journal = None
        while journal:
            undo = journal.pop()
            self._queue.drop_last()
            if undo.before is None:
                del self._records[undo.path]
            else:
                self._records[undo.path] = undo.before

    def forget(self, zxid: i64) -> i64:
        """Drops the records of every txn up to ``zxid``, the tree has them now; returns how many."""
        queue = self._queue
        count: i64 = 0
        while not queue.is_empty() and queue.first().zxid <= zxid:
            record = queue.take()
            count += 1
            if self._records.get(record.path) is record:
                del self._records[record.path]
        return count

    def clear(self) -> None:
        """Forgets everything (leadership is over; none of it will commit through us)."""
        self._records.clear()
        self._queue.clear()
        self._journal = None

    def in_order(self) -> list[ChangeRecord]:
        """All records, oldest first."""
        return self._queue.items()


def find_record(
    outstanding: OutstandingChanges, tree: DataTree, path: str, zxid: i64
) -> ChangeRecord | None:
    """A fresh record for txn ``zxid`` of the node as it will be; None where there is no such node."""
    newest = outstanding.get(path)
    if newest is not None:
        return copy_record(newest, zxid) if newest.exists else None
    node = tree.find(path)
    if node is None:
        return None
    record = record_of_node(path, node, tree.acl_of(node), zxid)
    known = node.digest
    record.digest = record.compute_digest() if known == DIGEST_UNKNOWN else known
    return record
