"""LearnerSyncer: a master's side of synchronisation: which history a learner gets, and how many at once.

Used by the leader, and by whoever relays to observers.  Source: upstream ``LearnerHandler.syncFollower``,
``LearnerSyncThrottler``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.proto import codes
from zabra.proto.txn import TxnEntry
from zabra.server.host import Host
from zabra.server.learner_handler import CLOSED, LearnerHandler
from zabra.server.ready import LogRead
from zabra.zab.phases import SYNC_DIFF, SYNC_SNAP, SYNC_TRUNC
from zabra.zab.synchronization import SYNC_READ_LOG, SyncPlan, choose_from_log, choose_sync

KIND_SNAP: Final = "SNAP"
KIND_DIFF: Final = "DIFF"

# What a DIFF from the log may cost at least, however small the snapshot is (bytes of txns).
LOG_SYNC_MIN_BYTES: Final = 4 * 1024 * 1024
# What a node costs in a snapshot beside its path and data.
NODE_OVERHEAD_BYTES: Final = 80


def zxids_of(entries: list[TxnEntry]) -> list[int]:
    """Their zxids."""
    return [entry.header.zxid for entry in entries]


class WaitingForLog:
    """A learner whose history is being read from the log."""

    __slots__ = ("handler", "token")

    def __init__(self, token: i64, handler: LearnerHandler) -> None:
        self.token: i64 = token
        self.handler: LearnerHandler = handler


class LearnerSyncer:
    """Chooses, sends, and counts."""

    def __init__(self, host: Host) -> None:
        self.host: Host = host
        self.snaps: dict[int, None] = {}
        self.diffs: dict[int, None] = {}
        self._waiting: dict[int, WaitingForLog] = {}
        self._next_token: i64 = 0
        self._next_anonymous: i64 = -1
        # How many learners were synchronised how, for metrics.
        self.snap_count: i64 = 0
        self.diff_count: i64 = 0
        self.trunc_count: i64 = 0

    def anonymous_sid(self) -> i64:
        """A sid for a learner that tells none."""
        sid = self._next_anonymous
        self._next_anonymous -= 1
        return sid

    def history(self, peer: i64) -> list[TxnEntry]:
        """The committed txns in memory, oldest first, as far as a learner at ``peer`` can need them."""
        return self.host.committed_log.entries()

    def begin(self, handler: LearnerHandler, may_refuse: bool) -> bool:
        """Sends the learner its history; False if the log must be read first, or it was refused.

        ``may_refuse``: it does not vote, so it can wait until fewer are synchronised at once.
        """
        host = self.host
        history = self.history(handler.last_zxid)
        plan = choose_sync(
            handler.last_zxid,
            host.tree.last_processed_zxid,
            zxids_of(history),
            host.settings.force_snapshot_sync,
            host.settings.snapshot_size_factor >= 0,
        )
        if plan.mode != SYNC_READ_LOG:
            return self.carry_out(handler, plan, [], history, may_refuse)
        if may_refuse and len(self._waiting) + len(self.diffs) >= host.settings.max_concurrent_diff_syncs:
            handler.close("too many learners are synchronised now")
            return False
        self._next_token += 1
        token = self._next_token
        self._waiting[token] = WaitingForLog(token, handler)
        tree = host.tree
        size: int = tree.approximate_data_size + NODE_OVERHEAD_BYTES * tree.node_count()
        limit = int(size * host.settings.snapshot_size_factor)
        # What others have made durable may be applied here before it is in the log; it is in memory.
        last = min(tree.last_processed_zxid, host.last_synced_zxid)
        host.out.log_reads.append(LogRead(token, handler.last_zxid, last, max(limit, LOG_SYNC_MIN_BYTES)))
        return False

    def log_read(self, token: int, entries: list[TxnEntry], complete: bool) -> LearnerHandler | None:
        """The log was read: sends the history; None if there is nobody to send it to any more."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return None
        handler = waiting.handler
        if handler.state == CLOSED:
            return None
        host = self.host
        last = host.tree.last_processed_zxid
        committed = [entry for entry in entries if entry.header.zxid <= last]
        zxids = zxids_of(committed)
        reaches = complete and len(zxids) > 0 and zxids[0] <= max(handler.last_zxid, 1)
        history = self.history(handler.last_zxid)
        plan = choose_from_log(handler.last_zxid, last, zxids_of(history), zxids, reaches)
        if self.carry_out(handler, plan, committed, history, handler.is_observer):
            return handler
        return None

    def carry_out(
        self,
        handler: LearnerHandler,
        plan: SyncPlan,
        log: list[TxnEntry],
        history: list[TxnEntry],
        may_refuse: bool,
    ) -> bool:
        """Sends what the plan, made of ``log`` and ``history``, says; False where the learner was refused."""
        host = self.host
        host.info(f"synchronising learner {handler.sid} at zxid 0x{handler.last_zxid:x}: {plan!r}")
        settings = host.settings
        if plan.mode == SYNC_SNAP:
            if may_refuse and len(self.snaps) >= settings.max_concurrent_snap_syncs:
                handler.close("too many learners are sent a snapshot now")
                return False
            self.snaps[handler.conn_id] = None
            host.metrics.inflight_snap_count.add(len(self.snaps))
            host.metrics.snap_count.add(1)
            self.snap_count += 1
            handler.sync_kind = KIND_SNAP
            handler.send(codes.PACKET_SNAP, host.tree.last_processed_zxid, None)
            handler.last_zxid = host.tree.last_processed_zxid
            handler.begin_snapshot()
            return True
        if may_refuse and len(self.diffs) >= settings.max_concurrent_diff_syncs:
            handler.close("too many learners are synchronised now")
            return False
        self.diffs[handler.conn_id] = None
        host.metrics.inflight_diff_count.add(len(self.diffs))
        host.metrics.diff_count.add(1)
        handler.sync_kind = KIND_DIFF
        if plan.mode == SYNC_TRUNC:
            self.trunc_count += 1
            handler.send(codes.PACKET_TRUNC, plan.op_zxid, None)
        else:
            assert plan.mode == SYNC_DIFF
            self.diff_count += 1
            handler.send(codes.PACKET_DIFF, plan.op_zxid, None)
        for entry in log[plan.log_start : plan.log_end]:
            self.send_committed(handler, entry)
        for entry in history[plan.committed_start :]:
            self.send_committed(handler, entry)
        handler.last_zxid = plan.forward_from
        return True

    def send_committed(self, handler: LearnerHandler, entry: TxnEntry) -> None:
        """PROPOSAL and COMMIT of a txn that is history here."""
        zxid = entry.header.zxid
        handler.send(codes.PACKET_PROPOSAL, zxid, entry.raw)
        handler.send(codes.PACKET_COMMIT, zxid, None)

    def ended(self, handler: LearnerHandler) -> None:
        """The learner is synchronised, or gone."""
        self.snaps.pop(handler.conn_id, None)
        self.diffs.pop(handler.conn_id, None)
