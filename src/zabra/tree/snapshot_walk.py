"""The tree as a stream of bytes, written in bounded slices while it changes, and rebuilt from them.

The stream is the body of a snapshot file and what follows a SNAP packet: sessions, the ACL table, the nodes
parents first, and the path "/" as the end.  It is *fuzzy*: each node is written as it is when the walk gets
to it.  Replaying every txn after ``SnapshotWalk.zxid`` makes the result exact.  Source: upstream
``SerializeUtils``, ``DataTree.serialize`` and ``deserialize``.
"""

from typing import Final
from zlib import crc32

from librt.strings import BytesWriter, read_i32_be, read_i64_be, write_i32_be, write_i64_be
from mypy_extensions import i64

from zabra.jute.primitives import EndOfData, JuteError, Reader, Writer, encode_ustring
from zabra.proto.records import ACL, read_acl_vector
from zabra.tree.acl import UNRESOLVED_ACL, UNRESOLVED_ACL_ID, write_acl_table
from zabra.tree.datatree import ROOT, DataTree
from zabra.tree.digest import UNCOUNTED_PREFIX
from zabra.tree.ephemerals import EphemeralTypes
from zabra.tree.node import DataNode

# A node behind its path and data: long acl, then StatPersisted.
_ACL_BYTES: Final = 8
_STAT_BYTES: Final = 60
_FIXED_BYTES: Final = _ACL_BYTES + _STAT_BYTES
_END_OF_NODES: Final = b"\x00\x00\x00\x01/"

# What stands in a snapshot of one's own came in a txn, and none is longer, whatever jute.maxbuffer was then.
LONGEST_VALUE: Final = 0x10000000
# An ACL came in one request; what is around it is less than this.
_ACL_MARGIN_BYTES: Final = 1024

# What comes next in the stream.  (The walk writes sessions and ACLs at once.)
_HEAD: Final = 0
_SESSIONS: Final = 1
_ACLS: Final = 2
_NODES: Final = 3
_DONE: Final = 4


class SnapshotWalk:
    """Serialises a tree from now on; ``zxid`` is the last txn that is certainly in it.

    Sessions and the ACL table are taken at once, here.  A node that got its ACL after that is written with
    UNRESOLVED_ACL, which the replay of that very txn sets right; where the stream is used without replay such
    a node stays closed to all but the super user, rather than open (ZK-3306).
    """

    __slots__ = (
        "_acl_limit",
        "_fuzzy_acls",
        "_phase",
        "_rows",
        "_sessions",
        "_stack",
        "nodes_written",
        "tree",
        "zxid",
    )

    def __init__(self, tree: DataTree) -> None:
        self.tree: DataTree = tree
        self.zxid: i64 = tree.last_processed_zxid
        self.nodes_written: i64 = 0
        self._phase: i64 = _HEAD
        self._sessions: list[tuple[int, int]] = list(tree.sessions.items())
        self._rows: list[tuple[int, list[ACL]]] = tree.acls.items()
        # Numbers from here on were given out after the table was taken.
        self._acl_limit: i64 = tree.acls.next_id()
        self._fuzzy_acls: bool = False
        # For each level the siblings still to come, last first.
        self._stack: list[list[str]] = [[ROOT]]

    def step(self, max_nodes: int) -> bytes | None:
        """The next slice, of at most ``max_nodes`` nodes; None when all has been given.

        The first slice also has all sessions and ACLs, the last one the terminator.
        """
        if self._phase == _DONE:
            return None
        out = BytesWriter()
        if self._phase == _HEAD:
            self._write_head(out, max_nodes)
            self._phase = _NODES
        self._write_nodes(out, max_nodes)
        if not self._stack:
            out.write(_END_OF_NODES)
            self._phase = _DONE
        return out.getvalue()

    def _write_head(self, out: BytesWriter, max_nodes: int) -> None:
        w = Writer()
        w.write_int(len(self._sessions))
        for session_id, timeout in self._sessions:
            w.write_long(session_id)
            w.write_int(timeout)
        # A walk that ends in its first slice is exact and needs no stand-in.
        if len(self.tree.nodes) > max_nodes and not self.tree.acls.contains(UNRESOLVED_ACL_ID):
            self._rows.insert(0, (UNRESOLVED_ACL_ID, UNRESOLVED_ACL))
        write_acl_table(w, self._rows)
        out.write(w.getvalue())
        self._sessions = []
        self._rows = []

    def _write_nodes(self, out: BytesWriter, max_nodes: i64) -> None:
        stack = self._stack
        nodes = self.tree.nodes
        acl_limit = self._acl_limit
        while stack and max_nodes > 0:
            siblings = stack[-1]
            path = siblings.pop()
            if not siblings:
                stack.pop()
            node = nodes.get(path)
            if node is None:
                continue
            max_nodes -= 1
            self.nodes_written += 1
            acl_id = node.acl_id
            write_node(out, path, node, acl_id if acl_id < acl_limit else UNRESOLVED_ACL_ID)
            children = node.child_paths
            if children:
                below = list(children)
                below.reverse()
                stack.append(below)


def write_node(out: BytesWriter, path: str, node: DataNode, acl_id: i64) -> None:
    """One node: ustring path ("" for the root), buffer data, long acl, StatPersisted."""
    narrow: int
    if path == ROOT:
        write_i32_be(out, 0)
    else:
        raw = encode_ustring(path)
        narrow = len(raw)
        write_i32_be(out, narrow)
        out.write(raw)
    data = node.data
    if data is None:
        write_i32_be(out, -1)
    else:
        narrow = len(data)
        write_i32_be(out, narrow)
        out.write(data)
    write_i64_be(out, acl_id)
    write_i64_be(out, node.czxid)
    write_i64_be(out, node.mzxid)
    write_i64_be(out, node.ctime)
    write_i64_be(out, node.mtime)
    narrow = node.version
    write_i32_be(out, narrow)
    narrow = node.cversion
    write_i32_be(out, narrow)
    narrow = node.aversion
    write_i32_be(out, narrow)
    write_i64_be(out, node.ephemeral_owner)
    write_i64_be(out, node.pzxid)


class TreeLoader:
    """Rebuilds a tree from the stream, in whatever pieces it comes.

    When ``done``, ``tree`` is complete, its zxid aside (``last_processed_zxid`` is the caller's to set, from
    the file's name or the SNAP packet), and ``leftover`` holds what followed the stream.  ``limit`` bounds
    one string, buffer or ACL in bytes, and so what is kept of a stream that never gets to the end of one.
    """

    __slots__ = (
        "_buffer",
        "_left",
        "_limit",
        "_phase",
        "_scratch",
        "done",
        "leftover",
        "tree",
        "unresolved_acls",
    )

    def __init__(
        self,
        types: EphemeralTypes | None = None,
        digest_enabled: bool = True,
        limit: i64 = LONGEST_VALUE,
    ) -> None:
        self.tree: DataTree = DataTree(types, digest_enabled)
        self.tree.clear()
        self.done: bool = False
        self.leftover: bytes = b""
        # Nodes whose ACL the table lacked; replay sets them (an upstream server writes such snapshots).
        self.unresolved_acls: i64 = 0
        self._limit: i64 = limit
        self._buffer: bytes = b""
        self._phase: i64 = _HEAD
        # Sessions, or ACLs, that are still to come.
        self._left: i64 = 0
        # What is summed up for the digest of one node.
        self._scratch: BytesWriter = BytesWriter()

    def feed(self, data: bytes) -> None:
        """Takes the next piece.  Raises JuteError if the stream is not that of a tree."""
        if self.done:
            self.leftover += data
            return
        buffer = self._buffer + data if self._buffer else data
        pos: i64 = 0
        if self._phase < _NODES:
            pos = self._read_head(buffer)
        if self._phase == _NODES:
            pos = self._read_nodes(buffer, pos)
        if self._phase == _DONE:
            self.leftover = buffer[pos:]
            self._buffer = b""
            self._finish()
        else:
            self._buffer = buffer[pos:]

    def _read_head(self, buffer: bytes) -> i64:
        """Reads the sessions and ACLs that are there in full; returns where the rest begins."""
        tree = self.tree
        r = Reader(buffer, 0, -1, self._limit)
        pos: i64 = 0
        try:
            if self._phase == _HEAD:
                self._left = r.read_int()
                self._phase = _SESSIONS
                pos = r.pos
            if self._phase == _SESSIONS:
                while self._left > 0:
                    session_id = r.read_long()
                    tree.sessions[session_id] = r.read_int()
                    self._left -= 1
                    pos = r.pos
                self._left = r.read_int()
                self._phase = _ACLS
                pos = r.pos
            while self._left > 0:
                acl_id = r.read_long()
                tree.acls.put_loaded(acl_id, read_acl_vector(r))
                self._left -= 1
                pos = r.pos
        except EndOfData:
            if r.end - pos > self._limit + _ACL_MARGIN_BYTES:
                raise JuteError(f"unreasonable length of an ACL: more than {self._limit} bytes") from None
            return pos
        self._phase = _NODES
        return pos

    def _read_nodes(self, buffer: bytes, pos: i64) -> i64:
        """Reads the nodes that are there in full; returns where the rest begins."""
        limit = self._limit
        end: i64 = len(buffer)
        while pos + 4 <= end:
            size: int = read_i32_be(buffer, pos)
            path_size: i64 = size
            if path_size < 0 or path_size > limit:
                raise JuteError(f"unreasonable length of a path = {path_size}")
            data_at = pos + 4 + path_size
            if path_size == 1:
                # "/", the end of the nodes; no other path is so short.
                if data_at > end:
                    return pos
                self._phase = _DONE
                return data_at
            if data_at + 4 > end:
                return pos
            size = read_i32_be(buffer, data_at)
            data_size: i64 = size
            if data_size < -1 or data_size > limit:
                raise JuteError(f"unreasonable length of data = {data_size}")
            stat_at = data_at + 4 + _ACL_BYTES + (0 if data_size < 0 else data_size)
            if stat_at + _STAT_BYTES > end:
                return pos
            self._add_node(buffer, pos + 4, data_at, data_size, stat_at)
            pos = stat_at + _STAT_BYTES
        return pos

    def _add_node(self, buffer: bytes, path_at: i64, data_at: i64, data_size: i64, stat_at: i64) -> None:
        tree = self.tree
        raw_path = buffer[path_at:data_at]
        data: bytes | None = None if data_size < 0 else buffer[data_at + 4 : data_at + 4 + data_size]
        czxid = read_i64_be(buffer, stat_at)
        # Equal stamps are one object where integers are objects: most nodes are never changed.
        mzxid = read_i64_be(buffer, stat_at + 8)
        if mzxid == czxid:
            mzxid = czxid
        pzxid = read_i64_be(buffer, stat_at + 52)
        if pzxid == czxid:
            pzxid = czxid
        ctime = read_i64_be(buffer, stat_at + 16)
        mtime = read_i64_be(buffer, stat_at + 24)
        if mtime == ctime:
            mtime = ctime
        owner = read_i64_be(buffer, stat_at + 44)
        acl_id = read_i64_be(buffer, stat_at - _ACL_BYTES)
        path = raw_path.decode("utf-8", "replace") if data_at > path_at else ROOT
        version: int = read_i32_be(buffer, stat_at + 32)
        cversion: int = read_i32_be(buffer, stat_at + 36)
        aversion: int = read_i32_be(buffer, stat_at + 40)
        node = DataNode(
            data, acl_id, czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner, 0
        )
        self._attach(path, node)
        if owner != 0:
            node.session_owner = tree.types.session_owner(owner)
            tree.ephemerals.add(path, owner)
        if tree.digest_enabled and not path.startswith(UNCOUNTED_PREFIX):
            # The digest has the fields of the stat in another order: pzxid is third.
            scratch = self._scratch
            scratch.truncate(0)
            scratch.write(raw_path)
            if data is not None:
                scratch.write(data)
            scratch.write(buffer[stat_at : stat_at + 16])
            scratch.write(buffer[stat_at + 52 : stat_at + 60])
            scratch.write(buffer[stat_at + 16 : stat_at + 52])
            value: int = crc32(scratch.getvalue())
            tree.digest += value

    def _attach(self, path: str, node: DataNode) -> None:
        tree = self.tree
        if path in tree.nodes:
            raise JuteError(f"node {path} appears twice")
        if path != ROOT:
            slash = path.rfind("/")
            parent = tree.nodes.get(path[:slash] if slash > 0 else ROOT)
            if parent is None:
                raise JuteError(f"invalid tree: no parent of {path}")
            if parent.child_paths is None:
                parent.child_paths = {path: None}
            else:
                parent.child_paths[path] = None
        tree.nodes[path] = node
        if not tree.acls.contains(node.acl_id):
            self.unresolved_acls += 1
            node.acl_id = tree.acls.intern(UNRESOLVED_ACL)
        else:
            tree.acls.add_usage(node.acl_id)
        tree.approximate_data_size += len(path) + node.data_length()

    def _finish(self) -> None:
        tree = self.tree
        if ROOT not in tree.nodes:
            raise JuteError("invalid tree: no root")
        tree.acls.purge_unused()
        tree.rebuild_quota()
        self.done = True


def serialize_tree(tree: DataTree) -> bytes:
    """The whole stream at once, for trees that are small enough."""
    walk = SnapshotWalk(tree)
    piece = walk.step(len(tree.nodes))
    assert piece is not None
    assert walk.step(1) is None
    return piece


def load_tree(data: bytes, types: EphemeralTypes | None = None, digest_enabled: bool = True) -> DataTree:
    """The tree of a complete stream.  Raises JuteError if it ends early or goes on behind the tree."""
    loader = TreeLoader(types, digest_enabled)
    loader.feed(data)
    if not loader.done:
        raise EndOfData("tree")
    if loader.leftover:
        raise JuteError(f"{len(loader.leftover)} bytes behind the tree")
    return loader.tree
