"""ServerStats: counts what one server does, for ``srvr``, ``mntr`` and the metrics.

Every call here stands on somebody's hot path, so what can wait is counted once a turn (``end_turn``), and
what costs more than a few instructions is sampled.  Source: upstream ``ServerStats``, ``ServerMetrics``,
``FinalRequestProcessor``; names of metrics are in ``zabra.metrics``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.metrics import Counter, Metrics, PercentileSummary, Summary
from zabra.proto import codes
from zabra.proto.records import CloseSessionTxn
from zabra.proto.txn import TxnEntry
from zabra.server.views import SizeStats
from zabra.tree.datatree import TxnResult
from zabra.tree.paths import top_namespace
from zabra.tree.watches import NO_ZXID, FiredWatch

# Opcodes run from -11 to 107.
_OP_OFFSET: Final = 16
_OP_SLOTS: Final = 128

# Reads per second of which each counts in read_per_namespace; beyond, one in so many counts for all of them.
# Finding a read's namespace costs more than the rest of its accounting: this keeps it from showing.
NAMESPACE_READS_EXACT: Final = 1000
NAMESPACE_READS_SHARE: Final = 64

# No path begins so.
NO_PREFIX: Final = "\0"

_LENGTH_BYTES: Final = 4
_STAT_BYTES: Final = 68

_READS_OF_NODES: Final = (
    codes.OP_EXISTS,
    codes.OP_GET_DATA,
    codes.OP_GET_CHILDREN,
    codes.OP_GET_CHILDREN2,
)


class OpAccount:
    """What is counted for one opcode; ``by_namespace``: a read that read_per_namespace counts."""

    __slots__ = ("by_namespace", "counter")

    def __init__(self, counter: Counter, by_namespace: bool) -> None:
        self.counter: Counter = counter
        self.by_namespace: bool = by_namespace


def counter_of(metrics: Metrics, op: i64) -> Counter | None:
    """The op_count_* metric of an opcode, None where upstream has none."""
    if op == codes.OP_CREATE or op == codes.OP_CREATE2:
        return metrics.op_count_create
    if op == codes.OP_CREATE_CONTAINER or op == codes.OP_CREATE_TTL:
        return metrics.op_count_create
    if op == codes.OP_DELETE or op == codes.OP_DELETE_CONTAINER:
        return metrics.op_count_delete
    if op == codes.OP_GET_CHILDREN or op == codes.OP_GET_CHILDREN2:
        return metrics.op_count_get_children
    if op == codes.OP_SET_WATCHES or op == codes.OP_SET_WATCHES2:
        return metrics.op_count_set_watches
    single: dict[int, Counter] = {
        codes.OP_ADD_WATCH: metrics.op_count_add_watch,
        codes.OP_CHECK: metrics.op_count_check,
        codes.OP_CHECK_WATCHES: metrics.op_count_check_watches,
        codes.OP_CLOSE_SESSION: metrics.op_count_close_session,
        codes.OP_CREATE_SESSION: metrics.op_count_create_session,
        codes.OP_EXISTS: metrics.op_count_exists,
        codes.OP_GET_ACL: metrics.op_count_get_acl,
        codes.OP_GET_ALL_CHILDREN_NUMBER: metrics.op_count_get_all_children_number,
        codes.OP_GET_DATA: metrics.op_count_get_data,
        codes.OP_GET_EPHEMERALS: metrics.op_count_get_ephemerals,
        codes.OP_MULTI: metrics.op_count_multi,
        codes.OP_MULTI_READ: metrics.op_count_multi_read,
        codes.OP_PING: metrics.op_count_ping,
        codes.OP_RECONFIG: metrics.op_count_reconfig,
        codes.OP_REMOVE_WATCHES: metrics.op_count_remove_watches,
        codes.OP_SET_ACL: metrics.op_count_set_acl,
        codes.OP_SET_DATA: metrics.op_count_set_data,
        codes.OP_SYNC: metrics.op_count_sync,
        codes.OP_WHO_AM_I: metrics.op_count_who_am_i,
    }
    return single.get(op)


class ServerStats:
    """The counters of one server; ``metrics`` are the named ones."""

    __slots__ = (
        "_exact_left",
        "_exact_until_ms",
        "_namespace_prefix",
        "_namespace_writes",
        "_ops",
        "_passed",
        "_response_bytes",
        "_turn_answers",
        "_turn_commits",
        "_turn_local_commits",
        "_turn_reads",
        "auth_failed",
        "connection_drop_probability",
        "fsync_threshold_exceeded",
        "latency",
        "metrics",
        "non_mtls_local",
        "non_mtls_remote",
        "outstanding_tls_handshakes",
        "packets_received",
        "packets_sent",
        "response_sizes",
        "start_ms",
    )

    def __init__(self, metrics: Metrics, now_ms: i64) -> None:
        self.metrics: Metrics = metrics
        self.start_ms: i64 = now_ms
        self.packets_received: i64 = 0
        self.packets_sent: i64 = 0
        # Of requests of local clients, from arrival to reply, in ms.
        self.latency: Summary = Summary("request_latency")
        self.response_sizes: SizeStats = SizeStats()
        self.auth_failed: i64 = 0
        # Fsyncs of the log that took longer than fsync.warningthresholdms.
        self.fsync_threshold_exceeded: i64 = 0
        self.non_mtls_local: i64 = 0
        self.non_mtls_remote: i64 = 0
        self.outstanding_tls_handshakes: i64 = 0
        self.connection_drop_probability: float = 0.0
        self._ops: list[OpAccount] = op_accounts(metrics)
        self._response_bytes: Counter = metrics.response_bytes
        # Of this turn: reads answered at once; everything answered; txns applied.
        self._turn_reads: i64 = 0
        self._turn_answers: i64 = 0
        self._turn_commits: i64 = 0
        self._turn_local_commits: i64 = 0
        self._exact_until_ms: i64 = now_ms + 1000
        self._exact_left: i64 = NAMESPACE_READS_EXACT
        self._passed: i64 = 0
        # The namespace written to last, as a prefix of paths, and its account.
        self._namespace_prefix: str = NO_PREFIX
        self._namespace_writes: Summary = Summary("")

    # --- requests -------------------------------------------------------------------------------------

    def read_answered(self) -> None:
        """A read was answered in the turn it came in; its latency is known when the turn ends."""
        self._turn_reads += 1

    def answered(self, op: i64, size: i64) -> bool:
        """A reply of ``size`` bytes was written; whether its namespace counts (``namespace_read``)."""
        self._turn_answers += 1
        self.response_sizes.note(size)
        self._response_bytes.value += size
        account = self._ops[op + _OP_OFFSET]
        account.counter.value += 1
        return account.by_namespace

    def namespace_weight(self) -> i64:
        """For how many reads this one counts in read_per_namespace: 0 if others count for it."""
        if self._exact_left > 0:
            self._exact_left -= 1
            return 1
        self._passed += 1
        if self._passed < NAMESPACE_READS_SHARE:
            return 0
        self._passed = 0
        return NAMESPACE_READS_SHARE

    def namespace_read(self, op: i64, path: str, size: i64, children: i64, weight: i64) -> None:
        """A node with ``children`` was read by ``op``, with a reply body of ``size`` bytes.

        Upstream counts path, data or names of children, and a Stat, whether or not it is sent.
        """
        namespace = top_namespace(path)
        if not namespace:
            return
        if op == codes.OP_GET_DATA:
            size -= _LENGTH_BYTES
        elif op == codes.OP_GET_CHILDREN:
            size += _STAT_BYTES - (children + 1) * _LENGTH_BYTES
        elif op == codes.OP_GET_CHILDREN2:
            size -= (children + 1) * _LENGTH_BYTES
        self.metrics.read_per_namespace.add_many(namespace, len(path) + size, weight)

    def waited(self, latency_ms: i64, is_update: bool) -> None:
        """A reply to a request that waited ``latency_ms`` for a txn, or behind one."""
        self.latency.add(latency_ms)
        metrics = self.metrics
        if is_update:
            metrics.updatelatency.add(latency_ms)
            metrics.write_commitproc_time_ms.add(latency_ms)
        else:
            metrics.readlatency.add(latency_ms)
            metrics.read_commitproc_time_ms.add(latency_ms)

    def drained(self, reads: i64, left: i64) -> None:
        """A write's answer let ``reads`` go that had waited behind it; ``left`` requests wait on."""
        metrics = self.metrics
        metrics.reads_after_write_in_session_queue.add(reads)
        metrics.reads_issued_from_session_queue.add(reads)
        if left == 0:
            metrics.session_queues_drained.add(1)

    # --- txns -----------------------------------------------------------------------------------------

    def applied(self, entry: TxnEntry, result: TxnResult, wall_ms: i64, is_local: bool) -> None:
        """A committed txn was applied; ``is_local``: a client of this server waits for it."""
        self._turn_commits += 1
        if is_local:
            self._turn_local_commits += 1
        metrics = self.metrics
        metrics.request_commit_queued.value += 1
        self.aged(metrics.propagation_latency, entry, wall_ms)
        parts = result.results
        if parts is not None:
            for part in parts:
                self._namespace_write(part)
        else:
            self._namespace_write(result)
        record = entry.record
        if isinstance(record, CloseSessionTxn):
            for path in record.paths2_delete:
                self._note_write(path, 0)

    def _namespace_write(self, result: TxnResult) -> None:
        if result.err != codes.OK or not result.path:
            return
        kind = result.type
        if kind == codes.OP_DELETE or kind == codes.OP_DELETE_CONTAINER:
            self._note_write(result.path, 0)
        elif kind != codes.OP_SET_ACL and result.node is not None:
            # In a multi a later part may have changed the node again.
            saved = result.saved_stat
            size = result.node.data_length() if saved is None else saved.data_length
            self._note_write(result.path, size)
            if kind == codes.OP_CREATE_TTL:
                self.metrics.ttl_node_created_count.add(1)

    def _note_write(self, path: str, size: i64) -> None:
        if path.startswith(self._namespace_prefix):
            self._namespace_writes.add(len(path) + size)
            return
        namespace = top_namespace(path)
        if namespace:
            writes = self.metrics.write_per_namespace.member(namespace)
            writes.add(len(path) + size)
            # The next write is most likely to the same one.
            self._namespace_prefix = "/" + namespace + "/"
            self._namespace_writes = writes

    def fired(self, events: list[FiredWatch]) -> None:
        """Watches were triggered."""
        metrics = self.metrics
        for one in events:
            kind = one.event_type
            count: i64 = len(one.watchers)
            if one.zxid == NO_ZXID:
                # What a client missed while it was away; upstream counts what changes trigger.
                continue
            if kind == codes.EVENT_NODE_CREATED:
                metrics.node_created_watch_count.add(count)
            elif kind == codes.EVENT_NODE_DELETED:
                metrics.node_deleted_watch_count.add(count)
            elif kind == codes.EVENT_NODE_DATA_CHANGED:
                metrics.node_changed_watch_count.add(count)
            elif kind == codes.EVENT_NODE_CHILDREN_CHANGED:
                metrics.node_children_watch_count.add(count)

    def aged(self, summary: PercentileSummary, entry: TxnEntry, wall_ms: i64) -> None:
        """How old a txn is by the leader's clock; a clock that is behind says nothing."""
        age_ms = wall_ms - entry.header.time
        if age_ms >= 0:
            summary.add(age_ms)

    # --- bytes ----------------------------------------------------------------------------------------

    def sent_event(self, size: i64) -> None:
        """A watch event of ``size`` bytes, its length not counted, was written."""
        self.packets_sent += 1
        self.metrics.watch_bytes.value += size

    # --- turns ----------------------------------------------------------------------------------------

    def begin_turn(self, now_ms: i64) -> None:
        """A turn begins."""
        if self._turn_answers > 0 or self._turn_commits > 0:
            # Nobody said how long the last turn took: below the clock's resolution, then.
            self.end_turn(0)
        if now_ms >= self._exact_until_ms:
            self._exact_until_ms = now_ms + 1000
            self._exact_left = NAMESPACE_READS_EXACT

    def end_turn(self, took_ms: i64) -> None:
        """The turn took ``took_ms`` from its first input to its last output: so long its reads waited."""
        metrics = self.metrics
        reads = self._turn_reads
        commits = self._turn_commits
        if reads > 0:
            self.latency.add_many(took_ms, reads)
            metrics.readlatency.add_many(took_ms, reads)
            metrics.read_commitproc_time_ms.add_many(0, reads)
            metrics.read_commit_proc_issued.add(reads)
            self._turn_reads = 0
        if commits > 0:
            local = self._turn_local_commits
            self._turn_local_commits = 0
            metrics.write_commit_proc_issued.add(commits)
            # A commit takes effect in the turn it comes in.
            metrics.local_write_committed_time_ms.add_many(0, local)
            metrics.server_write_committed_time_ms.add_many(0, commits - local)
            metrics.write_batch_time_in_commit_processor.add(took_ms)
            self._turn_commits = 0
        if self._turn_answers > 0:
            metrics.op_count_total.add(self._turn_answers)
            metrics.commit_process_time.add(took_ms)
            self._turn_answers = 0

    def reset(self) -> None:
        """The ``srst`` command."""
        self.end_turn(0)
        self.packets_received = 0
        self.packets_sent = 0
        self.latency.reset()
        self.response_sizes.reset()
        self.metrics.reset()


def op_accounts(metrics: Metrics) -> list[OpAccount]:
    """An account for each opcode; those without a metric share one that nobody reads."""
    other = OpAccount(Counter("other"), False)
    out: list[OpAccount] = []
    for slot in range(_OP_SLOTS):
        op = slot - _OP_OFFSET
        counter = counter_of(metrics, op)
        out.append(other if counter is None else OpAccount(counter, op in _READS_OF_NODES))
    return out
