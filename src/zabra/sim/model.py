"""A naive ZooKeeper: the oracle that everything else is measured against.

Written from the protocol's description, not from ``zabra.tree``: dictionaries and loops, no cleverness, no
shared code beyond records and numbers.  ``Model.apply`` takes committed txns in order and is strict: a txn
that does not fit the state is a ``ModelError``, because nothing of the kind can be committed.
"""

import zlib
from typing import Final

from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    Id,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    Stat,
    TxnHeader,
)
from zabra.proto.txn import TxnEntry, TxnRecord, decode_record

OPEN: Final = [ACL(codes.PERM_ALL, Id("world", "anyone"))]
CONTAINER: Final = -(1 << 63)
# Which watch managers an event goes to.
TO_DATA: Final = 1
TO_CHILD: Final = 2
TO_BOTH: Final = 3


QUOTA_ROOT: Final = "/zookeeper/quota"
LIMITS: Final = "/zookeeper_limits"
STATS: Final = "/zookeeper_stats"


class ModelError(Exception):
    """A committed txn that could not have been committed."""


class Node:
    """One znode, as dumbly as possible; ``cversion`` counts creates only, as stored."""

    __slots__ = (
        "acl",
        "aversion",
        "children",
        "ctime",
        "cversion",
        "czxid",
        "data",
        "mtime",
        "mzxid",
        "owner",
        "pzxid",
        "version",
    )

    def __init__(self, data: bytes | None, acl: list[ACL], zxid: int, time: int, owner: int) -> None:
        self.data = data
        self.acl = acl
        self.czxid = self.mzxid = self.pzxid = zxid
        self.ctime = self.mtime = time
        self.version = self.cversion = self.aversion = 0
        self.owner = owner
        self.children: dict[str, None] = {}

    def is_ephemeral(self) -> bool:
        """An ordinary ephemeral: neither container nor ttl node."""
        return self.owner != 0 and self.owner != CONTAINER and (self.owner >> 56) & 0xFF != 0xFF

    def stat(self) -> Stat:
        """The client's view."""
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime,
            self.mtime,
            self.version,
            self.cversion * 2 - len(self.children),
            self.aversion,
            self.owner if self.is_ephemeral() else 0,
            0 if self.data is None else len(self.data),
            len(self.children),
            self.pzxid,
        )


class Event:
    """What a change tells those who watch: ``to`` is TO_DATA, TO_CHILD or TO_BOTH."""

    __slots__ = ("acl", "path", "to", "type")

    def __init__(self, event_type: int, path: str, to: int, acl: list[ACL]) -> None:
        self.type = event_type
        self.path = path
        self.to = to
        self.acl = acl

    def __repr__(self) -> str:
        return f"Event(type={self.type}, path={self.path!r}, to={self.to})"


class Result:
    """What the originator of a txn may be told."""

    __slots__ = ("err", "parts", "path", "stat", "type")

    def __init__(self, txn_type: int) -> None:
        self.type = txn_type
        self.err = codes.OK
        self.path = ""
        self.stat: Stat | None = None
        self.parts: list[Result] = []


def parent_of(path: str) -> str:
    """The parent's path."""
    return path[: path.rfind("/")] or "/"


def wrap32(value: int) -> int:
    """As a Java int."""
    return (value + 0x80000000) % 0x100000000 - 0x80000000


def ttl_owner(ttl_ms: int) -> int:
    """ephemeralOwner of a ttl node."""
    return (0xFF << 56 | ttl_ms) - (1 << 64)


class Model:
    """Nodes, sessions and digest after the txns applied so far; ``zxid`` is the last one."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.sessions: dict[int, int] = {}
        self.zxid = 0
        self.digest = 0
        self._digests: dict[str, int] = {}
        for path in ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
            self.nodes[path] = Node(b"", OPEN, 0, 0, 0)
            if path != "/":
                self.nodes[parent_of(path)].children[path[path.rfind("/") + 1 :]] = None
            self._count(path)
        self.nodes["/zookeeper/config"].acl = [ACL(codes.PERM_READ, Id("world", "anyone"))]

    def copy(self) -> "Model":
        """An independent model in the same state."""
        twin = Model()
        twin.zxid = self.zxid
        twin.digest = self.digest
        twin._digests = dict(self._digests)
        twin.sessions = dict(self.sessions)
        twin.nodes = {path: copy_node(node) for path, node in self.nodes.items()}
        return twin

    def ephemerals_of(self, session_id: int) -> list[str]:
        """Paths of the session's ephemeral nodes, sorted."""
        return sorted(path for path, node in self.nodes.items() if node.owner == session_id)

    # Quotas.

    def quota_of(self, path: str) -> str:
        """The nearest path, at or above, that has a quota; "" for none."""
        while path != "/":
            if QUOTA_ROOT + path + LIMITS in self.nodes:
                return path
            path = parent_of(path)
        return ""

    def quota_use(self, quota: str) -> tuple[int, int]:
        """How many nodes and bytes there are at and below a path."""
        count = size = 0
        for path, node in self.nodes.items():
            if path == quota or path.startswith(quota + "/"):
                count += 1
                size += len(node.data or b"")
        return count, size

    def _recount(self, path: str) -> None:
        """A change at ``path``: the quota above it says what there is now."""
        if path.startswith(QUOTA_ROOT + "/") and path.endswith(STATS):
            quota = path[len(QUOTA_ROOT) : -len(STATS)]
        elif path.startswith(QUOTA_ROOT + "/") and path.endswith(LIMITS):
            quota = path[len(QUOTA_ROOT) : -len(LIMITS)]
        else:
            quota = self.quota_of(path)
        stats = self.nodes.get(QUOTA_ROOT + quota + STATS) if quota else None
        if stats is not None:
            stats.data = b"count=%d,bytes=%d" % self.quota_use(quota)

    # Applying.

    def apply(self, entry: TxnEntry) -> tuple[Result, list[Event]]:
        """The next committed txn.  Raises ModelError where it cannot be right."""
        header = entry.header
        if header.zxid <= self.zxid:
            raise ModelError(f"zxid 0x{header.zxid:x} after 0x{self.zxid:x}")
        events: list[Event] = []
        result = Result(header.type)
        if isinstance(entry.record, MultiTxn):
            self._apply_multi(header, entry.record, result, events)
        else:
            self._apply_one(header, header.type, entry.record, result, events)
        self.zxid = header.zxid
        if entry.digest is not None and (int(entry.digest.tree_digest) - self.digest) % (1 << 64) != 0:
            raise ModelError(
                f"txn 0x{header.zxid:x} promises digest {int(entry.digest.tree_digest) % (1 << 64):x}, "
                f"the tree has {self.digest % (1 << 64):x}"
            )
        return result, events

    def _apply_multi(self, header: TxnHeader, multi: MultiTxn, result: Result, events: list[Event]) -> None:
        failed = any(part.type == codes.OP_ERROR for part in multi.txns)
        after = False
        for part in multi.txns:
            one = Result(part.type)
            record = decode_record(part.type, Reader(part.data or b""))
            if not failed:
                self._apply_one(header, part.type, record, one, events)
            elif isinstance(record, ErrorTxn):
                after = True
                one.err = record.err
            else:
                one.type = codes.OP_ERROR
                one.err = codes.ERR_RUNTIME_INCONSISTENCY if after else codes.OK
            if one.err != codes.OK and result.err == codes.OK:
                result.err = one.err
            result.parts.append(one)

    def _apply_one(
        self, header: TxnHeader, kind: int, record: TxnRecord, result: Result, events: list[Event]
    ) -> None:
        zxid, time = header.zxid, header.time
        if isinstance(record, CreateTxn):
            self._create(record, header.client_id if record.ephemeral else 0, zxid, time, events)
        elif isinstance(record, CreateContainerTxn):
            self._create(record, CONTAINER, zxid, time, events)
        elif isinstance(record, CreateTTLTxn):
            self._create(record, ttl_owner(record.ttl), zxid, time, events)
        elif isinstance(record, DeleteTxn):
            self._delete(record.path, zxid, events)
        elif isinstance(record, SetDataTxn):
            self._set_data(record, zxid, time, events)
        elif isinstance(record, SetACLTxn):
            node = self._node(record.path)
            node.acl = record.acl
            node.aversion = record.version
            self._count(record.path)
        elif isinstance(record, CreateSessionTxn):
            self.sessions[header.client_id] = record.time_out
        elif kind == codes.OP_CLOSE_SESSION:
            self._close_session(header.client_id, record, zxid, events)
        elif isinstance(record, ErrorTxn):
            result.err = record.err
        elif not isinstance(record, CheckVersionTxn):
            raise ModelError(f"a txn of type {kind} with {record!r}")
        if isinstance(record, CreateTxn | CreateContainerTxn | CreateTTLTxn | SetDataTxn | SetACLTxn):
            result.path = record.path
            result.stat = self.nodes[record.path].stat()

    def _node(self, path: str) -> Node:
        node = self.nodes.get(path)
        if node is None:
            raise ModelError(f"there is no {path}")
        return node

    def _create(
        self,
        record: CreateTxn | CreateContainerTxn | CreateTTLTxn,
        owner: int,
        zxid: int,
        time: int,
        events: list[Event],
    ) -> None:
        path = record.path
        parent_path = parent_of(path)
        parent = self._node(parent_path)
        if path in self.nodes:
            raise ModelError(f"{path} is created twice")
        if parent.is_ephemeral():
            raise ModelError(f"{path} is created under an ephemeral")
        due = wrap32(parent.cversion + 1)
        if record.parent_cversion not in (-1, due):
            raise ModelError(f"{path}: parent's cversion {record.parent_cversion}, due {due}")
        parent.cversion = wrap32(parent.cversion + 1)
        parent.pzxid = zxid
        parent.children[path[path.rfind("/") + 1 :]] = None
        self.nodes[path] = Node(record.data, record.acl, zxid, time, owner)
        self._recount(path)
        self._count(path)
        self._count(parent_path)
        events.append(Event(codes.EVENT_NODE_CREATED, path, TO_DATA, record.acl))
        events.append(Event(codes.EVENT_NODE_CHILDREN_CHANGED, parent_path, TO_CHILD, parent.acl))

    def _delete(self, path: str, zxid: int, events: list[Event]) -> None:
        node = self._node(path)
        if node.children:
            raise ModelError(f"{path} is deleted with children")
        parent_path = parent_of(path)
        parent = self._node(parent_path)
        del self.nodes[path]
        del parent.children[path[path.rfind("/") + 1 :]]
        self._recount(path)
        parent.pzxid = zxid
        self._count(path)
        self._count(parent_path)
        events.append(Event(codes.EVENT_NODE_DELETED, path, TO_BOTH, node.acl))
        events.append(Event(codes.EVENT_NODE_CHILDREN_CHANGED, parent_path, TO_CHILD, parent.acl))

    def _set_data(self, record: SetDataTxn, zxid: int, time: int, events: list[Event]) -> None:
        node = self._node(record.path)
        if record.path != "/zookeeper/config" and record.version != wrap32(node.version + 1):
            raise ModelError(f"{record.path}: version {record.version} after {node.version}")
        node.data = record.data
        node.version = record.version
        node.mzxid = zxid
        node.mtime = time
        self._recount(record.path)
        self._count(record.path)
        events.append(Event(codes.EVENT_NODE_DATA_CHANGED, record.path, TO_DATA, node.acl))

    def _close_session(self, session_id: int, record: TxnRecord, zxid: int, events: list[Event]) -> None:
        owned = self.ephemerals_of(session_id)
        paths = owned
        if isinstance(record, CloseSessionTxn):
            paths = record.paths2_delete
            if sorted(paths) != owned:
                raise ModelError(f"closeSession of 0x{session_id:x} lists {sorted(paths)}, it owns {owned}")
        for path in paths:
            self._delete(path, zxid, events)
        self.sessions.pop(session_id, None)

    # Digest: CRC-32 of every node outside /zookeeper/, summed.

    def _count(self, path: str) -> None:
        self.digest -= self._digests.pop(path, 0)
        node = self.nodes.get(path)
        if node is not None and not path.startswith("/zookeeper/"):
            value = node_digest(path, node)
            self._digests[path] = value
            self.digest += value


def copy_node(node: Node) -> Node:
    """A twin of a node."""
    twin = Node(node.data, node.acl, node.czxid, node.ctime, node.owner)
    for name in ("mzxid", "pzxid", "mtime", "version", "cversion", "aversion"):
        setattr(twin, name, getattr(node, name))
    twin.children = dict(node.children)
    return twin


def node_digest(path: str, node: Node) -> int:
    """CRC-32 over path, data and the stored stat, in the order that the digest's version 2 says."""
    w = Writer()
    for value in (node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime):
        w.write_long(value)
    for value in (node.version, node.cversion, node.aversion):
        w.write_int(value)
    w.write_long(node.owner)
    name = b"" if path == "/" else path.encode()
    return zlib.crc32(name + (node.data or b"") + w.getvalue())
