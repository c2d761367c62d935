"""A naive tree, and a maker of valid txns: what the clever tree is compared with.

Nodes are dictionaries, children are found by looking at every path, the digest is summed up from scratch.
``Leader`` turns arbitrary small numbers into txns that a real leader could have proposed.
"""

import struct
import zlib
from typing import Any

from zabra.jute.primitives import Writer
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
    StatPersisted,
    Txn,
    TxnHeader,
)
from zabra.proto.txn import TxnRecord
from zabra.tree.datatree import DataTree
from zabra.tree.ephemerals import EphemeralTypes

Node = dict[str, Any]
Entry = tuple[TxnHeader, TxnRecord]

OPEN = [ACL(31, Id("world", "anyone"))]
READ = [ACL(1, Id("world", "anyone"))]
ACLS = [OPEN, READ, [ACL(31, Id("digest", "a:x"))], [ACL(3, Id("ip", "10.0.0.0/8")), *READ]]
NAMES = ["a", "b", "c"]
# Every path of up to three levels.
PATHS = [
    "/" + "/".join(parts)
    for parts in [
        *[(x,) for x in NAMES],
        *[(x, y) for x in NAMES for y in NAMES[:2]],
        *[(x, y, z) for x in NAMES[:2] for y in NAMES[:2] for z in NAMES[:2]],
    ]
]
DATA = [b"", b"x", None, b"hello", bytes(2000)]
TTL_MS = 5000
# Fields of a naive node in the order of StatPersisted.
PERSISTED = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "owner", "pzxid")
KEY_OF_CONTAINER = -(2**63)
KEY_OF_TTL = (0xFF << 56 | TTL_MS) - 2**64


def parent_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


class NaiveTree:
    """The rules of applying a txn to a tree that is never fuzzy."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.sessions: dict[int, int] = {}
        for path in ("/", "/zookeeper", "/zookeeper/quota"):
            self.nodes[path] = self.fresh(b"", OPEN, 0, 0, 0)
        self.nodes["/zookeeper/config"] = self.fresh(b"", READ, 0, 0, 0) | {"aversion": -1}

    @staticmethod
    def fresh(data: bytes | None, acl: list[ACL], owner: int, zxid: int, time: int) -> Node:
        stamps = {"czxid": zxid, "mzxid": zxid, "pzxid": zxid, "ctime": time, "mtime": time}
        versions = {"version": 0, "cversion": 0, "aversion": 0}
        return {"data": data, "acl": acl, "owner": owner, **stamps, **versions}

    def children(self, path: str) -> list[str]:
        return sorted(p for p in self.nodes if p != "/" and parent_of(p) == path)

    def ephemerals(self, session_id: int) -> list[str]:
        return sorted(p for p, node in self.nodes.items() if node["owner"] == session_id)

    def create(self, path: str, data: bytes | None, acl: list[ACL], owner: int, header: TxnHeader) -> None:
        self.nodes[path] = self.fresh(data, acl, owner, header.zxid, header.time)
        parent = self.nodes[parent_of(path)]
        parent["cversion"] += 1
        parent["pzxid"] = header.zxid

    def delete(self, path: str, header: TxnHeader) -> None:
        del self.nodes[path]
        self.nodes[parent_of(path)]["pzxid"] = header.zxid

    def apply(self, header: TxnHeader, record: TxnRecord) -> None:
        if isinstance(record, CreateTxn):
            owner = header.client_id if record.ephemeral else 0
            self.create(record.path, record.data, record.acl, owner, header)
        elif isinstance(record, CreateContainerTxn):
            self.create(record.path, record.data, record.acl, KEY_OF_CONTAINER, header)
        elif isinstance(record, CreateTTLTxn):
            self.create(record.path, record.data, record.acl, KEY_OF_TTL, header)
        elif isinstance(record, DeleteTxn):
            self.delete(record.path, header)
        elif isinstance(record, SetDataTxn):
            stamps = {"mzxid": header.zxid, "mtime": header.time, "version": record.version}
            self.nodes[record.path] |= {"data": record.data, **stamps}
        elif isinstance(record, SetACLTxn):
            self.nodes[record.path] |= {"acl": record.acl, "aversion": record.version}
        elif isinstance(record, CreateSessionTxn):
            self.sessions[header.client_id] = record.time_out
        elif header.type == codes.OP_CLOSE_SESSION:
            for path in self.ephemerals(header.client_id):
                self.delete(path, header)
            self.sessions.pop(header.client_id, None)

    def digest(self) -> int:
        total = 0
        for path, n in self.nodes.items():
            if not path.startswith("/zookeeper/"):
                stat = struct.pack(
                    ">qqqqqiiiq",
                    *[n[key] for key in ("czxid", "mzxid", "pzxid", "ctime", "mtime")],
                    *[n[key] for key in ("version", "cversion", "aversion", "owner")],
                )
                total += zlib.crc32(("" if path == "/" else path).encode() + (n["data"] or b"") + stat)
        return total

    def stat(self, path: str) -> Stat:
        n = self.nodes[path]
        count = len(self.children(path))
        owner = n["owner"] if n["owner"] not in (KEY_OF_CONTAINER, KEY_OF_TTL) else 0
        return Stat(
            *[n[key] for key in ("czxid", "mzxid", "ctime", "mtime", "version")],
            n["cversion"] * 2 - count,
            n["aversion"],
            owner,
            len(n["data"] or b""),
            count,
            n["pzxid"],
        )


def encoded(record: TxnRecord) -> bytes:
    w = Writer()
    assert record is not None
    record.encode(w)
    return w.getvalue()


class Leader:
    """Makes txns from draws ``(op, path, value, session)`` of small numbers; None where nothing is valid.

    ``lists_paths`` is closeSessionTxn.enabled.
    """

    KINDS = 12

    def __init__(self, lists_paths: bool = True) -> None:
        self.tree = NaiveTree()
        self.zxid = 0x100000000
        self.time = 1_700_000_000_000
        self.lists_paths = lists_paths
        self.next_session = 0x1000000000000001
        self.open: list[int] = []

    def propose(self, op: int, path_index: int, value: int, session: int) -> Entry | None:
        session_id = self.open[session % len(self.open)] if self.open else 0
        made = self.record(op, PATHS[path_index % len(PATHS)], value, session_id)
        if made is None:
            return None
        kind, record, session_id = made
        self.zxid += 1
        self.time += 7
        header = TxnHeader(session_id, self.zxid & 0xFFFF, self.zxid, self.time, kind)
        # The parts of a multi were applied while they were made.
        self.tree.apply(header, record)
        return header, record

    def record(self, op: int, path: str, value: int, session_id: int) -> tuple[int, TxnRecord, int] | None:
        if op <= 5:
            part = self.part(op, path, value, session_id)
            return None if part is None else (*part, session_id)
        if op == 6:
            return self.set_acl(path, value, session_id)
        if op == 7:
            return self.multi(path, value, session_id)
        if op == 8:
            return codes.OP_MULTI, self.failed_multi(path, value), session_id
        if op == 9:
            self.next_session += 1
            self.open.append(self.next_session)
            return codes.OP_CREATE_SESSION, CreateSessionTxn(4000 + value), self.next_session
        if op == 10 and session_id:
            self.open.remove(session_id)
            paths = self.tree.ephemerals(session_id)
            return codes.OP_CLOSE_SESSION, CloseSessionTxn(paths) if self.lists_paths else None, session_id
        return codes.OP_ERROR, ErrorTxn(codes.ERR_NO_NODE), session_id

    def can_create(self, path: str) -> bool:
        parent = self.tree.nodes.get(parent_of(path))
        return parent is not None and path not in self.tree.nodes and not parent["owner"] > 0

    def part(self, op: int, path: str, value: int, session_id: int) -> tuple[int, TxnRecord] | None:
        """An op that may also stand in a multi."""
        data = DATA[value % len(DATA)]
        acl = ACLS[value % len(ACLS)]
        if op == 5:
            if path in self.tree.nodes:
                version = self.tree.nodes[path]["version"] + 1
                return codes.OP_SET_DATA, SetDataTxn(path, data, version)
        elif op == 4:
            if path in self.tree.nodes and not self.tree.children(path):
                kind = codes.OP_DELETE_CONTAINER if value % 2 else codes.OP_DELETE
                return kind, DeleteTxn(path)
        elif self.can_create(path):
            cversion = self.tree.nodes[parent_of(path)]["cversion"] + 1
            if op == 0:
                return codes.OP_CREATE, CreateTxn(path, data, acl, False, cversion)
            if op == 1:
                return codes.OP_CREATE2, CreateTxn(path, data, acl, session_id != 0, cversion)
            if op == 2:
                return codes.OP_CREATE_CONTAINER, CreateContainerTxn(path, data, acl, cversion)
            return codes.OP_CREATE_TTL, CreateTTLTxn(path, data, acl, cversion, TTL_MS)
        return None

    def set_acl(self, path: str, value: int, session_id: int) -> tuple[int, TxnRecord, int] | None:
        if path not in self.tree.nodes:
            return None
        aversion = self.tree.nodes[path]["aversion"] + 1
        return codes.OP_SET_ACL, SetACLTxn(path, ACLS[value % len(ACLS)], aversion), session_id

    def multi(self, path: str, value: int, session_id: int) -> tuple[int, TxnRecord, int]:
        """Up to three parts around ``path``, each made against what the parts before it leave."""
        parts = [Txn(codes.OP_CHECK, encoded(CheckVersionTxn("/", 1)))]
        start = PATHS.index(path)
        for i in range(3):
            made = self.part((value + i * 4) % 6, PATHS[(start + i) % len(PATHS)], value + i, session_id)
            if made is not None:
                kind, record = made
                header = TxnHeader(session_id, 0, self.zxid + 1, self.time + 7, kind)
                self.tree.apply(header, record)
                parts.append(Txn(kind, encoded(record)))
        return codes.OP_MULTI, MultiTxn(parts), session_id

    def failed_multi(self, path: str, value: int) -> TxnRecord:
        """One part that would have worked, the failure, and what came after it."""
        return MultiTxn(
            [
                Txn(codes.OP_CREATE, encoded(CreateTxn(path, b"never", OPEN, False, 1))),
                Txn(codes.OP_ERROR, encoded(ErrorTxn(codes.ERR_BAD_VERSION))),
                Txn(codes.OP_ERROR, encoded(ErrorTxn(codes.ERR_RUNTIME_INCONSISTENCY))),
            ]
        )


def new_tree() -> DataTree:
    return DataTree(EphemeralTypes(extended=True))


def describe(tree: DataTree) -> dict[str, Any]:
    """Everything about a tree that two servers must agree on, in a form to compare."""
    nodes = {}
    for path, node in tree.nodes.items():
        stat = node.to_persisted()
        nodes[path] = (node.data, tree.acl_of(node), stat, sorted(tree.children(path)), node.session_owner)
    return {
        "nodes": nodes,
        "sessions": dict(sorted(tree.sessions.items())),
        "digest": tree.digest,
        "zxid": tree.last_processed_zxid,
        "size": tree.approximate_data_size,
        "ephemerals": {s: sorted(paths) for s, paths in sorted(tree.ephemerals.by_session.items())},
        "containers": sorted(tree.ephemerals.containers),
        "ttls": sorted(tree.ephemerals.ttls),
        "acl_usage": {repr(acl): tree.acls.usage(number) for number, acl in sorted(tree.acls.items())},
        "quota": sorted(tree.quota.paths),
    }


def describe_naive(naive: NaiveTree, zxid: int) -> dict[str, Any]:
    """The same of the naive tree."""
    nodes = {}
    users: dict[str, int] = {}
    for path, n in naive.nodes.items():
        names = [child.rpartition("/")[2] for child in naive.children(path)]
        hidden = n["owner"] in (KEY_OF_CONTAINER, KEY_OF_TTL)
        stat = StatPersisted(*[n[key] for key in PERSISTED])
        nodes[path] = (n["data"], n["acl"], stat, sorted(names), 0 if hidden else n["owner"])
        if n["acl"] != OPEN:
            users[repr(n["acl"])] = users.get(repr(n["acl"]), 0) + 1
    owners = sorted({n["owner"] for n in naive.nodes.values()} - {0, KEY_OF_CONTAINER, KEY_OF_TTL})
    return {
        "nodes": nodes,
        "sessions": dict(sorted(naive.sessions.items())),
        "digest": naive.digest(),
        "zxid": zxid,
        "size": sum(len(path) + len(n["data"] or b"") for path, n in naive.nodes.items()),
        "ephemerals": {owner: naive.ephemerals(owner) for owner in owners},
        "containers": naive.ephemerals(KEY_OF_CONTAINER),
        "ttls": naive.ephemerals(KEY_OF_TTL),
        "acl_usage": users,
        "quota": [],
    }
