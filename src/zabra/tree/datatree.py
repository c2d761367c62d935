"""DataTree: the znodes, and what each committed txn does to them.

The tree applies, it never decides: whether an operation is allowed was settled when its txn was made.  The
same txn may be applied again to a tree loaded from a fuzzy snapshot, and must then lead to the same state,
so every rule here is also a rule about replay (ZK-1573, 3127, 3144, 3145, 3249).  ``last_processed_zxid``
moves only once the whole txn is applied.  Source: upstream ``DataTree`` and ``ZKDatabase``.
"""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from zabra.jute.primitives import JuteError, Reader, Writer
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
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    Stat,
    TxnDigest,
    TxnHeader,
)
from zabra.proto.txn import DIGEST_VERSION, NO_DIGEST, TxnRecord, decode_record
from zabra.tree.acl import OPEN_ACL_ID, READ_ACL_UNSAFE, AclCache
from zabra.tree.acl_trail import AclTrail, is_readable_by_all
from zabra.tree.digest import UNCOUNTED_PREFIX
from zabra.tree.ephemerals import CONTAINER_OWNER, TTL_MAX_MS, Ephemerals, EphemeralTypes, ttl_owner
from zabra.tree.node import DIGEST_UNKNOWN, DataNode
from zabra.tree.quota import QUOTA_ROOT, Quota
from zabra.tree.watches import WatchManager

ROOT: Final = "/"
PROC_NODE: Final = "/zookeeper"
CONFIG_NODE: Final = "/zookeeper/config"
SPECIAL_PATHS: Final = (ROOT, PROC_NODE, QUOTA_ROOT, CONFIG_NODE)

# A digest is remembered every so many zxids, and so many of them (the ``hash`` command compares servers by
# them).
DIGEST_LOG_INTERVAL: Final = 128
DIGEST_LOG_LIMIT: Final = 1024
# Data above this many bytes is worth keeping a digest for from the start; otherwise it is recomputed when
# the node changes for the first time, which saves a word for every node that never does.
_DIGEST_KEEP_BYTES: Final = 1024

_INT_MIN: Final = -0x80000000
_INT_MAX: Final = 0x7FFFFFFF
_INT_MASK: Final = 0xFFFFFFFF


def signed32(value: i64) -> i64:
    """``value`` as a Java int, which is what every other server will read."""
    if _INT_MIN <= value <= _INT_MAX:
        return value
    low: i64 = value & _INT_MASK
    return low - (_INT_MASK + 1) if low > _INT_MAX else low


def is_special_path(path: str) -> bool:
    """Whether the path belongs to ZooKeeper itself and may not be deleted."""
    return path in SPECIAL_PATHS


def ttl_owner_of_txn(ttl_ms: i64) -> i64:
    """The owner word of a TTL node.  Raises JuteError for a TTL that no server proposes."""
    if ttl_ms <= 0 or ttl_ms > TTL_MAX_MS:
        raise JuteError(f"unreasonable ttl = {ttl_ms}")
    return ttl_owner(ttl_ms)


@mypyc_attr(acyclic=True)
class TxnResult:
    """What a txn did: all that its originator's reply is made of.

    ``err`` is 0 or codes.ERR_*; ``type`` is the txn's (codes.OP_*); ``path`` is empty where the op has none.
    ``results`` are the parts of a multi.  ``node`` is the node it left (create*, setData, setACL) and the
    source of the reply's stat: take that before the next txn is applied.
    """

    __slots__ = ("cxid", "err", "node", "path", "results", "saved_stat", "session_id", "type", "zxid")

    def __init__(self, session_id: i64, cxid: i64, zxid: i64, type: i64) -> None:
        self.session_id: i64 = session_id
        self.cxid: i64 = cxid
        self.zxid: i64 = zxid
        self.type: i64 = type
        self.err: i64 = codes.OK
        self.path: str = ""
        self.node: DataNode | None = None
        # In a multi a later part may change the node again: there the stat is taken at once.
        self.saved_stat: Stat | None = None
        self.results: list[TxnResult] | None = None

    @property
    def stat(self) -> Stat | None:
        """The client's view of ``node`` as this txn left it; None where it left none."""
        if self.saved_stat is not None:
            return self.saved_stat
        node = self.node
        return None if node is None else node.to_stat()

    def encode_stat(self, w: Writer) -> None:
        """Writes the stat; asserts that there is one."""
        saved = self.saved_stat
        if saved is not None:
            saved.encode(w)
            return
        node = self.node
        assert node is not None, "the txn left no node"
        node.encode_stat(w)

    def __repr__(self) -> str:
        return f"TxnResult(type={self.type}, err={self.err}, path={self.path!r}, zxid={self.zxid:#x})"


class DataTree:
    """One server's tree, with its sessions, ACL table, ephemerals, watches and quotas.

    ``nodes`` is keyed by full path; the root is "/" (written as "" in snapshots and digests).
    ``digest`` is the sum of the nodes' digests, 0 throughout where ``digest_enabled`` is False.
    ``sessions`` maps session ids to timeouts in ms.
    """

    __slots__ = (
        "acl_trail",
        "acls",
        "approximate_data_size",
        "digest",
        "digest_enabled",
        "digest_log",
        "digest_mismatches",
        "ephemerals",
        "is_fuzzy",
        "last_digest",
        "last_digest_zxid",
        "last_processed_zxid",
        "nodes",
        "quota",
        "sessions",
        "snapshot_digest",
        "snapshot_digest_zxid",
        "types",
        "watches",
    )

    def __init__(self, types: EphemeralTypes | None = None, digest_enabled: bool = True) -> None:
        self.types: EphemeralTypes = EphemeralTypes() if types is None else types
        self.nodes: dict[str, DataNode] = {}
        self.sessions: dict[int, int] = {}
        self.acls: AclCache = AclCache()
        # The ACLs that were, where somebody wants to know.
        self.acl_trail: AclTrail | None = None
        self.ephemerals: Ephemerals = Ephemerals(self.types)
        self.watches: WatchManager = WatchManager()
        self.quota: Quota = Quota(self.nodes)
        self.last_processed_zxid: i64 = 0
        self.digest_enabled: bool = digest_enabled
        self.digest: i64 = 0
        # The digest after the last txn, and that txn: what a snapshot's digest part says (0, 0: none yet).
        self.last_digest_zxid: i64 = 0
        self.last_digest: i64 = 0
        self.digest_log: list[tuple[int, int]] = []
        self.digest_mismatches: i64 = 0
        # It may hold more than the txn just applied: digests mean nothing.
        self.is_fuzzy: bool = False
        # While replay has not passed this zxid the tree is fuzzy, and digests mean nothing; 0: it is not.
        self.snapshot_digest_zxid: i64 = 0
        self.snapshot_digest: i64 = 0
        # Characters of all paths plus bytes of all data (zk_approximate_data_size).
        self.approximate_data_size: i64 = 0
        for path in (ROOT, PROC_NODE, QUOTA_ROOT):
            self._add_reserved(path, OPEN_ACL_ID)
        self._add_config_node()

    def clear(self) -> None:
        """Forgets all nodes, sessions, ACLs and quotas; not the watches, which belong to connections."""
        self.nodes.clear()
        self.sessions.clear()
        self.acls.clear()
        self.ephemerals.clear()
        self.quota.paths.clear()
        self.digest = 0
        self.approximate_data_size = 0

    def rebuild_quota(self) -> None:
        """Finds and recounts the quotas of a tree whose nodes were put in directly."""
        self.quota.rebuild()
        self._take_quota_size()

    # Reads.

    def find(self, path: str) -> DataNode | None:
        """The node at ``path`` ("/" for the root), or None."""
        return self.nodes.get(path)

    def find_for_read(self, path: str) -> DataNode | None:
        """As ``find``; but "" is the root, too: upstream keeps it under both names."""
        node = self.nodes.get(path)
        if node is None and path == "":
            return self.nodes[ROOT]
        return node

    def acl_of(self, node: DataNode) -> list[ACL]:
        """The ACL of a node; shared, never to be changed."""
        return self.acls.get(node.acl_id)

    def children(self, path: str) -> list[str]:
        """Names of the children, in the order of their creation; empty if there is no such node."""
        node = self.find_for_read(path)
        if node is None:
            return []
        paths = node.child_paths
        if paths is None:
            return []
        start = 1 if len(path) <= 1 else len(path) + 1
        return [child[start:] for child in paths]

    def count_descendants(self, path: str) -> i64:
        """How many nodes there are below ``path``, itself not counted (getAllChildrenNumber)."""
        if path == ROOT:
            return len(self.nodes) - 1
        if path == "":
            return len(self.nodes)  # upstream counts the root below its other name
        count: i64 = 0
        stack = [path]
        while stack:
            node = self.nodes.get(stack.pop())
            if node is not None and node.child_paths is not None:
                count += len(node.child_paths)
                stack.extend(node.child_paths)
        return count

    def ephemerals_of(self, session_id: i64, prefix: str) -> list[str]:
        """The session's ephemeral paths that begin with ``prefix`` (empty or "/": all)."""
        paths = self.ephemerals.paths_of(session_id)
        if prefix == "" or prefix == ROOT:
            return paths
        return [path for path in paths if path.startswith(prefix)]

    def node_count(self) -> i64:
        """zk_znode_count: upstream keeps the root twice, so that a fresh tree has five."""
        return len(self.nodes) + 1

    # Txns.

    def process_txn(
        self,
        header: TxnHeader,
        record: TxnRecord,
        node_digest: i64 = NO_DIGEST,
        parent_digest: i64 = NO_DIGEST,
    ) -> TxnResult:
        """Applies one committed txn; the parts of a multi all or none.

        The digests are those of ``TxnEntry``, from who made the txn and has applied all before it.

        A txn whose node is missing or already there (replay) reports that in ``err`` and is otherwise
        ignored.  Raises JuteError, with nothing applied, if ``record`` is not what the header announces.
        """
        result = TxnResult(header.client_id, header.cxid, header.zxid, header.type)
        if header.type == codes.OP_MULTI:
            if not isinstance(record, MultiTxn):
                raise JuteError("multi txn without its record")
            self._apply_multi(header, record, result)
        else:
            self._apply(header, record, result, node_digest, parent_digest)
        if header.zxid > self.last_processed_zxid:
            self.last_processed_zxid = header.zxid
        if self.digest_enabled:
            self._note_digest(header.zxid)
        return result

    def _apply_multi(self, header: TxnHeader, multi: MultiTxn, result: TxnResult) -> None:
        """Parts in order; one error part and none of them is applied."""
        results: list[TxnResult] = []
        failed = False
        records: list[TxnRecord] = []
        for part in multi.txns:
            failed = failed or part.type == codes.OP_ERROR
            records.append(decode_part(part.type, part.data))
        after_failure = False
        for i in range(len(records)):
            record = records[i]
            kind = multi.txns[i].type
            part_result = TxnResult(header.client_id, header.cxid, header.zxid, kind)
            if not failed:
                part_header = TxnHeader(header.client_id, header.cxid, header.zxid, header.time, kind)
                self._apply(part_header, record, part_result)
                if part_result.node is not None:
                    part_result.saved_stat = part_result.node.to_stat()
            elif isinstance(record, ErrorTxn):
                after_failure = True
                part_result.err = record.err
            else:
                part_result.type = codes.OP_ERROR
                part_result.err = codes.ERR_RUNTIME_INCONSISTENCY if after_failure else codes.OK
            if part_result.err != codes.OK and result.err == codes.OK:
                result.err = part_result.err
            results.append(part_result)
        result.results = results

    def _apply(
        self,
        header: TxnHeader,
        record: TxnRecord,
        result: TxnResult,
        node_digest: i64 = NO_DIGEST,
        parent_digest: i64 = NO_DIGEST,
    ) -> None:
        """Applies anything but a multi, by the record that the txn has."""
        zxid = header.zxid
        time = header.time
        if isinstance(record, SetDataTxn):
            result.path = record.path
            result.node = self._set_data(
                record.path, record.data, record.version, zxid, time, node_digest
            )
            if result.node is None:
                result.err = codes.ERR_NO_NODE
        elif isinstance(record, CreateTxn):
            owner: i64 = header.client_id if record.ephemeral else 0
            result.path = record.path
            result.err = self._create(
                record.path,
                record.data,
                record.acl,
                owner,
                record.parent_cversion,
                zxid,
                time,
                node_digest,
                parent_digest,
            )
            result.node = self.nodes.get(record.path)
        elif isinstance(record, DeleteTxn):
            result.path = record.path
            result.err = self._delete(record.path, zxid)
        elif isinstance(record, ErrorTxn):
            result.err = record.err
        else:
            self._apply_rare(header, record, result)

    def _apply_rare(self, header: TxnHeader, record: TxnRecord, result: TxnResult) -> None:
        zxid = header.zxid
        time = header.time
        kind = header.type
        if isinstance(record, SetACLTxn):
            result.path = record.path
            result.node = self._set_acl(record.path, record.acl, record.version, zxid)
            if result.node is None:
                result.err = codes.ERR_NO_NODE
        elif isinstance(record, CreateTTLTxn):
            result.path = record.path
            result.err = self._create(
                record.path,
                record.data,
                record.acl,
                ttl_owner_of_txn(record.ttl),
                record.parent_cversion,
                zxid,
                time,
            )
            result.node = self.nodes.get(record.path)
        elif isinstance(record, CreateContainerTxn):
            result.path = record.path
            result.err = self._create(
                record.path, record.data, record.acl, CONTAINER_OWNER, record.parent_cversion, zxid, time
            )
            result.node = self.nodes.get(record.path)
        elif isinstance(record, CreateSessionTxn):
            self.sessions[header.client_id] = record.time_out
        elif kind == codes.OP_CLOSE_SESSION and (record is None or isinstance(record, CloseSessionTxn)):
            self._close_session(header.client_id, zxid, None if record is None else record.paths2_delete)
        elif kind == codes.OP_CHECK and isinstance(record, CheckVersionTxn):
            result.path = record.path
        else:
            raise JuteError(f"txn of type {kind} without its record")

    def acl_before(self, path: str, zxid: i64) -> list[ACL] | None:
        """The ACL in force on ``path`` just before the txn ``zxid``; None: everybody could read it.

        Also None where there was no node.  Only for a tree with an ``acl_trail``, and above its floor.
        """
        trail = self.acl_trail
        assert trail is not None
        ending = trail.find(path, zxid)
        if ending is not None:
            # What came into being with that txn or later: the one before it ended readable by all.
            return None if ending.czxid >= zxid else ending.acl
        node = self.nodes.get(path)
        if node is None or node.czxid >= zxid:
            return None
        acl = self.acls.get(node.acl_id)
        return None if is_readable_by_all(acl) else acl

    # Changes.

    def _create(
        self,
        path: str,
        data: bytes | None,
        acl: list[ACL],
        owner: i64,
        parent_cversion: i64,
        zxid: i64,
        time: i64,
        node_digest: i64 = NO_DIGEST,
        parent_digest: i64 = NO_DIGEST,
    ) -> i64:
        """Returns the error code.

        NODEEXISTS happens in replay only.  The node is made anew all the same: the snapshot has this one or
        a later one at its path, and whatever happened to either since then is still to be replayed.
        """
        slash = path.rfind("/")
        parent_path = path[:slash] if slash > 0 else ROOT
        parent = self.nodes.get(parent_path)
        if parent is None:
            return codes.ERR_NO_NODE
        existing = self.nodes.get(path)
        self._sub_digest(parent_path, parent)
        cversion = parent.cversion + 1 if parent_cversion == -1 else parent_cversion
        cversion = signed32(cversion)
        # Replaying the creation of a node that is gone again must not turn these back.
        if cversion > parent.cversion:
            parent.cversion = cversion
            parent.pzxid = zxid
        self._add_digest(parent_path, parent, parent_digest)
        # Replay may have removed the parent and with it its list of children, while the child stayed in the
        # table; so the child is entered also where it exists.
        children = parent.child_paths
        if children is None:
            parent.child_paths = {path: None}
        else:
            children[path] = None
        acl_id = self.acls.intern(acl)
        node = DataNode(
            data, acl_id, zxid, zxid, zxid, time, time, 0, 0, 0, owner, self.types.session_owner(owner)
        )
        size = node.data_length()
        count: i64 = 1
        if existing is not None:
            size -= existing.data_length()
            count = 0
            self._forget(path, existing)
            if self.acl_trail is not None:
                self.acl_trail.unsure(zxid)
        self._insert(path, node, node_digest)
        if owner != 0:
            self.ephemerals.add(path, owner)
        self.approximate_data_size += len(path) + node.data_length()
        self.quota.node_added(path, parent_path)
        self.quota.update(path, size, count)
        self._take_quota_size()
        if existing is not None:
            return codes.ERR_NODE_EXISTS
        if not self.watches.is_idle():
            self.watches.node_created(path, parent_path, zxid, acl, self.acls.get(parent.acl_id))
        return codes.OK

    def _forget(self, path: str, node: DataNode) -> None:
        """Takes a node out of every table but ``nodes`` and its parent's children."""
        self._sub_digest(path, node)
        self.acls.remove_usage(node.acl_id)
        if node.ephemeral_owner != 0:
            self.ephemerals.remove(path, node.ephemeral_owner)
        self.approximate_data_size -= len(path) + node.data_length()

    def _insert(self, path: str, node: DataNode, known: i64 = NO_DIGEST) -> None:
        # The key of ``nodes`` and of the parent's children must be one string, or it is kept twice.
        self.nodes[path] = node
        if self.digest_enabled and not path.startswith(UNCOUNTED_PREFIX):
            value = node.compute_digest(path) if known == NO_DIGEST else known
            self.digest += value
            if node.data_length() > _DIGEST_KEEP_BYTES:
                node.digest = value

    def _take_quota_size(self) -> None:
        self.approximate_data_size += self.quota.size_delta
        self.quota.size_delta = 0

    def _delete(self, path: str, zxid: i64) -> i64:
        """Returns the error code."""
        slash = path.rfind("/")
        parent_path = path[:slash] if slash > 0 else ROOT
        parent = self.nodes.get(parent_path)
        trail = self.acl_trail
        if parent is None or path == ROOT:
            if trail is not None:
                trail.unsure(zxid)
            return codes.ERR_NO_NODE
        # The parent is brought up to date also where the child is gone already: the snapshot may have taken
        # the parent before this txn and the child after it.
        self._sub_digest(parent_path, parent)
        children = parent.child_paths
        if children is not None:
            children.pop(path, None)
            if not children:
                parent.child_paths = None
        if zxid > parent.pzxid:
            parent.pzxid = zxid
        self._add_digest(parent_path, parent)
        node = self.nodes.get(path)
        if node is None:
            if trail is not None:
                trail.unsure(zxid)
            return codes.ERR_NO_NODE
        acl = self.acls.get(node.acl_id)
        if trail is not None:
            trail.deleted(path, node.czxid, acl, zxid)
        self._forget(path, node)
        del self.nodes[path]
        self.quota.node_removed(path, parent_path)
        self.quota.update(path, -node.data_length(), -1)
        self._take_quota_size()
        if not self.watches.is_idle():
            self.watches.node_deleted(path, parent_path, zxid, acl, self.acls.get(parent.acl_id))
        return codes.OK

    def _set_data(
        self,
        path: str,
        data: bytes | None,
        version: i64,
        zxid: i64,
        time: i64,
        known: i64 = NO_DIGEST,
    ) -> DataNode | None:
        node = self.nodes.get(path)
        if node is None:
            return None
        self._sub_digest(path, node)
        before = node.data_length()
        node.data = data
        node.mtime = time
        node.mzxid = zxid
        node.version = signed32(version)
        self._add_digest(path, node, known)
        delta = node.data_length() - before
        self.approximate_data_size += delta
        self.quota.update(path, delta, 0)
        self._take_quota_size()
        if not self.watches.is_idle():
            self.watches.node_data_changed(path, zxid, self.acls.get(node.acl_id))
        return node

    def _set_acl(self, path: str, acl: list[ACL], version: i64, zxid: i64) -> DataNode | None:
        node = self.nodes.get(path)
        trail = self.acl_trail
        if node is None:
            if trail is not None:
                trail.unsure(zxid)
            return None
        if trail is not None:
            if signed32(node.aversion + 1) != signed32(version):
                trail.unsure(zxid)
            trail.replaced(path, node.czxid, self.acls.get(node.acl_id), zxid)
        self._sub_digest(path, node)
        node.aversion = signed32(version)
        acl_id = self.acls.intern(acl)
        self.acls.remove_usage(node.acl_id)
        node.acl_id = acl_id
        self._add_digest(path, node)
        return node

    def _close_session(self, session_id: i64, zxid: i64, paths: list[str] | None) -> None:
        """Deletes the listed nodes, then whatever else the session still owns here."""
        self.sessions.pop(session_id, None)
        if paths is not None:
            for path in paths:
                self._delete(path, zxid)
        for path in self.ephemerals.take(session_id):
            self._delete(path, zxid)

    def kill_session(self, session_id: i64, zxid: i64) -> None:
        """Removes a session and its ephemerals without a txn (a session unknown at start-up)."""
        self._close_session(session_id, zxid, None)

    def dead_sessions(self) -> list[int]:
        """Owners of ephemerals that are not in ``sessions``."""
        return [owner for owner in self.ephemerals.by_session if owner not in self.sessions]

    # The reserved nodes.

    def _add_reserved(self, path: str, acl_id: i64) -> None:
        self._insert(path, DataNode(b"", acl_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        self.approximate_data_size += len(path)
        if path != ROOT:
            slash = path.rfind("/")
            parent = self.nodes[path[:slash] if slash > 0 else ROOT]
            if parent.child_paths is None:
                parent.child_paths = {path: None}
            else:
                parent.child_paths[path] = None

    def _add_config_node(self) -> None:
        self._add_reserved(CONFIG_NODE, self.acls.intern(READ_ACL_UNSAFE))
        self.nodes[CONFIG_NODE].aversion = -1

    def set_config_node(self, config_text: str, version: i64, now_ms: i64) -> None:
        """Puts the ensemble's configuration into /zookeeper/config; its version becomes the mzxid.

        Done by each server for itself, at start-up and after loading a tree; no txn is involved.
        """
        if CONFIG_NODE not in self.nodes:
            self._add_config_node()
        self._set_data(CONFIG_NODE, config_text.encode(), -1, version, now_ms)

    # Watches.

    def set_watches(
        self,
        relative_zxid: i64,
        data: list[str],
        exist: list[str],
        child: list[str],
        persistent: list[str],
        persistent_recursive: list[str],
        watcher: int,
    ) -> None:
        """setWatches: registers a reconnected client's watches; what it missed meanwhile fires."""
        watches = self.watches
        for path in data:
            node = self.find_for_read(path)
            if node is None:
                watches.catch_up(codes.EVENT_NODE_DELETED, path, watcher)
            elif node.mzxid > relative_zxid:
                watches.catch_up(codes.EVENT_NODE_DATA_CHANGED, path, watcher)
            else:
                watches.add_data(path, watcher)
        for path in exist:
            if self.find_for_read(path) is not None:
                watches.catch_up(codes.EVENT_NODE_CREATED, path, watcher)
            else:
                watches.add_data(path, watcher)
        for path in child:
            node = self.find_for_read(path)
            if node is None:
                watches.catch_up(codes.EVENT_NODE_DELETED, path, watcher)
            elif node.pzxid > relative_zxid:
                watches.catch_up(codes.EVENT_NODE_CHILDREN_CHANGED, path, watcher)
            else:
                watches.add_child(path, watcher)
        for path in persistent:
            watches.add(path, watcher, codes.ADD_WATCH_PERSISTENT)
        for path in persistent_recursive:
            watches.add(path, watcher, codes.ADD_WATCH_PERSISTENT_RECURSIVE)

    # Digests.

    def _sub_digest(self, path: str, node: DataNode) -> None:
        if self.digest_enabled and not path.startswith(UNCOUNTED_PREFIX):
            value = node.digest
            self.digest -= node.compute_digest(path) if value == DIGEST_UNKNOWN else value

    def _add_digest(self, path: str, node: DataNode, known: i64 = NO_DIGEST) -> None:
        if self.digest_enabled and not path.startswith(UNCOUNTED_PREFIX):
            value = node.compute_digest(path) if known == NO_DIGEST else known
            node.digest = value
            self.digest += value

    def _note_digest(self, zxid: i64) -> None:
        if self.snapshot_digest_zxid != 0:
            self._compare_snapshot_digest(zxid)
            return
        self.last_digest_zxid = zxid
        self.last_digest = self.digest
        if zxid % DIGEST_LOG_INTERVAL == 0:
            self.digest_log.append((zxid, self.digest))
            if len(self.digest_log) > DIGEST_LOG_LIMIT:
                del self.digest_log[0]

    def expect_snapshot_digest(self, digest_zxid: i64, digest: i64, snapshot_zxid: i64) -> None:
        """A loaded snapshot says what the digest is at ``digest_zxid``: checked when replay gets there.

        Ignored if the snapshot itself is newer than that (it was not fuzzy), or says nothing (zxid 0).
        """
        if self.digest_enabled and digest_zxid > 0 and digest_zxid >= snapshot_zxid:
            self.snapshot_digest_zxid = digest_zxid
            self.snapshot_digest = digest

    def _compare_snapshot_digest(self, zxid: i64) -> None:
        if zxid < self.snapshot_digest_zxid:
            return
        # Beyond it without having met it, the txn that it was taken at is not in the log: nothing to compare.
        if zxid == self.snapshot_digest_zxid and self.digest != self.snapshot_digest:
            self.digest_mismatches += 1
        self.snapshot_digest_zxid = 0

    def compare_digest(self, digest: TxnDigest | None) -> bool:
        """False, and counted, if the txn just applied says another digest than this tree has."""
        if digest is None or not self.digest_enabled or self.is_fuzzy or self.snapshot_digest_zxid != 0:
            return True
        if digest.version != DIGEST_VERSION or digest.tree_digest == self.digest:
            return True
        self.digest_mismatches += 1
        return False


def decode_part(kind: i64, data: bytes | None) -> TxnRecord:
    """The record of one part of a multi.  Raises JuteError for a type that no multi has."""
    if (
        kind == codes.OP_MULTI
        or kind == codes.OP_SET_ACL
        or kind == codes.OP_CREATE_SESSION
        or kind == codes.OP_CLOSE_SESSION
        or kind == codes.OP_RECONFIG
    ):
        raise JuteError(f"invalid type of op in a multi: {kind}")
    return decode_record(kind, Reader(b"" if data is None else data))
