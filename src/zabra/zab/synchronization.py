"""Phase 2, both ends: the learner's history is made the leader's, and a quorum says so.

Leader: ``choose_sync`` decides how (the six rules of upstream ``LearnerHandler.syncFollower``) and does
nothing; ``NewLeaderAcks`` counts who has done it.  Learner: ``LearnerSync`` turns the packets of the sync
stream into commands, in an order in which no crash can lose what was acked: txns, then currentEpoch, then
the ack of NEWLEADER, the ack only when the others are reported durable (upstream ZOOKEEPER-3911, 3023,
4643, 4646, 4785).

Source: Zab paper, section IV-B; upstream ``LearnerHandler``, ``Learner.syncWithLeader``, ``Leader``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import JuteError
from zabra.proto import codes
from zabra.proto.packets import decode_activate, decode_inform_and_activate, describe_packet
from zabra.proto.records import QuorumPacket
from zabra.zab.phases import SYNC_DIFF, SYNC_MODES, SYNC_NONE, SYNC_SNAP, SYNC_TRUNC
from zabra.zab.quorum import AckSet, QuorumVerifier
from zabra.zab.zxid import epoch_of, follows, hex_zxid, is_epoch_start

# SyncPlan.mode when the txns must first be read from the log on disk: then call ``choose_from_log``.
SYNC_READ_LOG: Final = -1


class SyncPlan:
    """How to bring one learner up to date.

    ``mode`` is SYNC_DIFF, SYNC_TRUNC or SYNC_SNAP (or SYNC_READ_LOG), ``op_zxid`` the zxid of that packet
    (SNAP: taken when the snapshot is).  Then go, each as PROPOSAL and COMMIT, ``log[log_start:log_end]`` and
    ``committed[committed_start:]``; then whatever is proposed after ``forward_from``.
    """

    __slots__ = (
        "committed_start",
        "forward_from",
        "log_end",
        "log_start",
        "mode",
        "op_zxid",
        "why",
    )

    def __init__(self, mode: i64, op_zxid: i64, forward_from: i64, why: str) -> None:
        self.mode: i64 = mode
        self.op_zxid: i64 = op_zxid
        self.forward_from: i64 = forward_from
        self.log_start: i64 = 0
        self.log_end: i64 = 0
        self.committed_start: i64 = 0
        self.why: str = why

    def __repr__(self) -> str:
        mode = "READ_LOG" if self.mode == SYNC_READ_LOG else SYNC_MODES[self.mode]
        return (
            f"SyncPlan({mode} {hex_zxid(self.op_zxid)} log[{self.log_start}:{self.log_end}] "
            f"committed[{self.committed_start}:] then {hex_zxid(self.forward_from)}: {self.why})"
        )


def choose_sync(
    peer: i64,
    last_processed: i64,
    committed: list[int],
    force_snapshot: bool,
    log_sync_enabled: bool,
) -> SyncPlan:
    """The way to synchronise a learner whose last zxid is ``peer``.

    ``committed`` are the zxids of the committed txns in memory, ascending (commitLogCount of them at most);
    ``last_processed`` is the leader's; ``log_sync_enabled`` is snapshotSizeFactor >= 0.  The first rule
    that applies decides.
    """
    low: i64 = committed[0] if committed else last_processed
    high: i64 = committed[len(committed) - 1] if committed else last_processed
    if force_snapshot:
        return _snap(last_processed, committed, "a snapshot is forced")
    if peer == last_processed:
        return _plan(SYNC_DIFF, peer, peer, committed, len(committed), "the learner is in sync")
    if peer > high and not is_epoch_start(peer):
        why = "the learner has txns this leader does not know"
        return _plan(SYNC_TRUNC, high, high, committed, len(committed), why)
    if low <= peer <= high:
        walk = _Walk(peer)
        walk.through(committed, high, high)
        return _from_walk(walk, peer, committed, last_processed)
    if peer < low and log_sync_enabled:
        return SyncPlan(SYNC_READ_LOG, high, peer, "the learner is behind the txns in memory")
    return _snap(last_processed, committed, "no history in common is known")


def choose_from_log(
    peer: i64,
    last_processed: i64,
    committed: list[int],
    log: list[int],
    log_reaches_back: bool,
) -> SyncPlan:
    """The way to synchronise, once the log on disk has been read (after SYNC_READ_LOG).

    ``log`` are zxids of committed txns from the log, ascending, up to any point; ``log_reaches_back`` says
    that the log begins at or before ``peer`` and was within the size limit (snapshotSizeFactor times the
    newest snapshot).  ``committed`` and ``last_processed`` are as they are now, not as when it was asked.
    """
    low: i64 = committed[0] if committed else last_processed
    high: i64 = committed[len(committed) - 1] if committed else last_processed
    if peer >= low:
        return choose_sync(peer, last_processed, committed, False, False)
    if not log_reaches_back or not log:
        return _snap(last_processed, committed, "the log does not reach back to the learner")
    walk = _Walk(peer)
    walk.through(log, low, high)
    if walk.queued < low:
        return _snap(last_processed, committed, "a gap between the log and the txns in memory")
    log_start = walk.start
    log_end = walk.end
    rest = _Walk(walk.queued)
    rest.needs_op = False
    rest.through(committed, high, high)
    if log_start >= 0 and not _is_gap_free(peer, log, log_start, log_end):
        return _snap(last_processed, committed, "a gap in the log")
    before = walk.queued
    walk.queued = rest.queued
    walk.start = rest.start
    plan = _from_walk(walk, before, committed, last_processed)
    if plan.mode != SYNC_SNAP and log_start >= 0:
        plan.log_start = log_start
        plan.log_end = log_end
        plan.why = "the learner is within the log"
    return plan


def _plan(mode: i64, op_zxid: i64, forward_from: i64, committed: list[int], start: i64, why: str) -> SyncPlan:
    plan = SyncPlan(mode, op_zxid, forward_from, why)
    plan.committed_start = start
    return plan


def _snap(last_processed: i64, committed: list[int], why: str) -> SyncPlan:
    return _plan(SYNC_SNAP, last_processed, last_processed, committed, len(committed), why)


def _from_walk(walk: "_Walk", before: i64, committed: list[int], last_processed: i64) -> SyncPlan:
    if walk.needs_op:
        return _snap(last_processed, committed, walk.why)
    start: i64 = walk.start if walk.start >= 0 else len(committed)
    if not _is_gap_free(before, committed, start, len(committed)):
        # Upstream ZOOKEEPER-4925: a hole in memory must never be sent as a history.
        return _snap(last_processed, committed, "a gap in the txns in memory")
    return _plan(walk.mode, walk.op_zxid, walk.queued, committed, start, walk.why)


def _is_gap_free(before: i64, zxids: list[int], start: i64, end: i64) -> bool:
    last = before
    index = start
    while index < end:
        zxid: i64 = zxids[index]
        if not follows(last, zxid):
            return False
        last = zxid
        index += 1
    return True


class _Walk:
    """One walk through known history, looking for the learner's place in it."""

    __slots__ = ("end", "mode", "needs_op", "op_zxid", "peer", "queued", "start", "why")

    def __init__(self, peer: i64) -> None:
        self.peer: i64 = peer
        # The last zxid the learner will have; the slice of the list that brings it there.
        self.queued: i64 = peer
        self.start: i64 = -1
        self.end: i64 = -1
        self.needs_op: bool = True
        self.mode: i64 = SYNC_SNAP
        self.op_zxid: i64 = 0
        self.why: str = "the learner's place in the history was not found"

    def _op(self, mode: i64, zxid: i64, why: str) -> None:
        self.mode = mode
        self.op_zxid = zxid
        self.why = why
        self.needs_op = False

    def through(self, zxids: list[int], limit: i64, high: i64) -> None:
        """Walks ``zxids`` up to ``limit``; ``high`` is the last committed zxid, which DIFF names."""
        epoch_start = is_epoch_start(self.peer)
        for index in range(len(zxids)):
            zxid: i64 = zxids[index]
            if zxid > limit:
                break
            if zxid < self.peer:
                continue
            if self.needs_op:
                if zxid == self.peer:
                    self._op(SYNC_DIFF, high, "the learner's last txn is known")
                    continue
                if not epoch_start:
                    # Its last txn is none of this history's, which goes on in a later epoch.  (Upstream
                    # has a TRUNC for one that goes on in the same epoch; without gaps there is none.)  A
                    # learner cannot cut its log across an epoch boundary, where a snapshot may stand.
                    self.why = "the learner's last txn is of another history"
                    return
                # No txn has the zxid that begins an epoch, so nothing is to be cut.
                self._op(SYNC_DIFF, high, "the learner stands at the start of an epoch")
            if zxid <= self.queued:
                continue
            if self.start < 0:
                self.start = index
            self.end = index + 1
            self.queued = zxid
        if self.needs_op and epoch_start:
            self._op(SYNC_DIFF, high, "the learner stands at the start of an epoch")


class NewLeaderAcks:
    """The leader's count of NEWLEADER acks, in the current configuration and in a newer last seen one.

    The leader's own ack is due when its currentEpoch is durable.
    """

    __slots__ = ("_acks", "_deadline_ms", "formed", "zxid")

    def __init__(self, verifiers: list[QuorumVerifier], zxid: i64, limit_ms: i64, now_ms: i64) -> None:
        assert is_epoch_start(zxid), "NEWLEADER stands at the start of an epoch"
        self._acks: AckSet = AckSet(verifiers)
        self._deadline_ms: i64 = now_ms + limit_ms
        self.zxid: i64 = zxid
        self.formed: bool = False

    def ack(self, sid: i64, zxid: i64) -> bool:
        """An ACK of ``sid`` where NEWLEADER's is due; whether it is one.

        One of another zxid is not, and is ignored: older learners may ack proposals of the sync before it
        (upstream ZOOKEEPER-4685), so the caller goes on waiting.
        """
        if zxid != self.zxid:
            return False
        self._acks.add(sid)
        if self._acks.has_all_quorums():
            self.formed = True
        return True

    def acks(self) -> AckSet:
        """Who has acked."""
        return self._acks

    def next_deadline_ms(self) -> i64:
        """When ``tick`` must be called, or -1."""
        return -1 if self.formed else self._deadline_ms

    def tick(self, now_ms: i64) -> str:
        """Time has passed: why the leader must give up, or the empty string."""
        if self.formed or now_ms < self._deadline_ms:
            return ""
        return f"timeout while waiting for NEWLEADER to be acked by quorum; acked: {self._acks!r}"


# Kinds of SyncCommand, to be carried out in the order given.
LOAD_SNAPSHOT: Final = 1  # zxid: the raw stream follows; report with snapshot_loaded
TRUNCATE: Final = 2  # zxid: cut log and snapshots after it, reload the tree; report with truncated
DISCARD_LOG: Final = 3  # zxid: cut the log after it, without reloading: a snapshot replaces it
PERSIST: Final = 4  # txns: append to the log and sync
SAVE_SNAPSHOT: Final = 5  # write a snapshot of the tree and sync it
SAVE_CONFIG: Final = 6  # raw: the leader's last seen configuration
SAVE_CURRENT_EPOCH: Final = 7  # zxid: the epoch
APPLY: Final = 8  # txns: apply to the tree, in order
ACK: Final = 9  # zxid: send it
ANSWER_PING: Final = 10  # zxid: send a PING back, with nothing touched
ACTIVATE: Final = 11  # zxid: the designated leader; txns: the reconfig txn that is now committed
DONE: Final = 12  # the learner is in BROADCAST: go on with pending and commits
REFUSE: Final = 13  # why: leave this leader

SYNC_COMMAND_NAMES: Final[dict[int, str]] = {
    LOAD_SNAPSHOT: "LOAD_SNAPSHOT",
    TRUNCATE: "TRUNCATE",
    DISCARD_LOG: "DISCARD_LOG",
    PERSIST: "PERSIST",
    SAVE_SNAPSHOT: "SAVE_SNAPSHOT",
    SAVE_CONFIG: "SAVE_CONFIG",
    SAVE_CURRENT_EPOCH: "SAVE_CURRENT_EPOCH",
    APPLY: "APPLY",
    ACK: "ACK",
    ANSWER_PING: "ANSWER_PING",
    ACTIVATE: "ACTIVATE",
    DONE: "DONE",
    REFUSE: "REFUSE",
}


class Txn:
    """A txn as Zab sees it: its zxid and its bytes."""

    __slots__ = ("raw", "zxid")

    def __init__(self, zxid: i64, raw: bytes) -> None:
        self.zxid: i64 = zxid
        self.raw: bytes = raw

    def __repr__(self) -> str:
        return f"Txn({hex_zxid(self.zxid)})"


class SyncCommand:
    """One thing for the learner's server to do; which fields count is said beside the kinds."""

    __slots__ = ("kind", "raw", "txns", "why", "zxid")

    def __init__(self, kind: i64, zxid: i64 = 0) -> None:
        self.kind: i64 = kind
        self.zxid: i64 = zxid
        self.txns: list[Txn] = []
        self.raw: bytes = b""
        self.why: str = ""

    def __repr__(self) -> str:
        return f"{SYNC_COMMAND_NAMES[self.kind]}({hex_zxid(self.zxid)}, {self.txns!r}{self.why})"


# What LearnerSync waits for.
_FIRST_PACKET: Final = 0
_BASE: Final = 1  # the snapshot to be loaded, or the log to be cut
_NEWLEADER: Final = 2
_DURABLE: Final = 3  # everything the ack of NEWLEADER promises
_UPTODATE: Final = 4
_FINISHED: Final = 5


class LearnerSync:
    """The learner's side: packets and reports in, commands out.

    ``last_zxid`` is where the learner's history ends; ``new_leader_zxid`` the start of the epoch it
    accepted; an ``observer`` drops what was proposed to it and not committed.  One that ``wants_snap`` had
    accepted this epoch before, and cannot cut its log where this leader wants it cut.

    Durable commands may be carried out one after another without waiting: ``durable`` reports that all of
    them are done.  While ``must_reload`` is set the tree is not what the disk holds: a learner that leaves
    then must load it anew (upstream ZOOKEEPER-3642).
    """

    __slots__ = (
        "_ack_sent",
        "_applicable",
        "_base_zxid",
        "_new_leader_seen",
        "_observer",
        "_state",
        "commits",
        "config",
        "last_queued",
        "last_zxid",
        "mode",
        "must_reload",
        "new_leader_zxid",
        "pending",
        "wants_snap",
    )

    def __init__(
        self, last_zxid: i64, new_leader_zxid: i64, observer: bool, wants_snap: bool = False
    ) -> None:
        self.last_zxid: i64 = last_zxid
        self.new_leader_zxid: i64 = new_leader_zxid
        self.wants_snap: bool = wants_snap
        self.mode: i64 = SYNC_NONE
        self.must_reload: bool = False
        # Where the txns that follow begin; the last one proposed.
        self._base_zxid: i64 = last_zxid
        self.last_queued: i64 = last_zxid
        # Proposed and not handed on, in order; of these, how many are committed, in order.
        self.pending: list[Txn] = []
        self.commits: i64 = 0
        # Committed and on their way to the disk: applied when they are there.
        self._applicable: list[Txn] = []
        # The configuration that came with NEWLEADER.
        self.config: bytes = b""
        self._observer: bool = observer
        self._new_leader_seen: bool = False
        self._ack_sent: bool = False
        self._state: i64 = _FIRST_PACKET

    def is_finished(self) -> bool:
        """Whether UPTODATE has come, or the sync was refused."""
        return self._state == _FINISHED

    def told_zxid(self) -> i64:
        """What ACKEPOCH says of the history.

        There is no packet that asks for a SNAP.  The start of an epoch that is still to come is behind
        everything the leader has, and no txn has that zxid which could be cut: every leader, upstream's too,
        sends its tree then.
        """
        if self.wants_snap:
            return (epoch_of(self.new_leader_zxid) + 1) << 32
        return self.last_zxid

    def cut_zxid(self) -> i64:
        """Where TRUNC has cut the history."""
        return self._base_zxid

    # Packets.

    def packet(self, p: QuorumPacket) -> list[SyncCommand]:
        """The next packet of the stream."""
        out: list[SyncCommand] = []
        if self._state == _FINISHED:
            return out
        try:
            why = self._packet(p, out)
        except JuteError as error:
            why = f"{describe_packet(p)}: {error}"
        if why:
            self._refuse(why, out)
        return out

    def _packet(self, p: QuorumPacket, out: list[SyncCommand]) -> str:
        """Returns why the leader must be left, or the empty string."""
        kind = p.type
        if self._state == _FIRST_PACKET:
            return self._first(p, out)
        if kind == codes.PACKET_PROPOSAL:
            return self._proposed(p.zxid, p.data)
        if kind == codes.PACKET_COMMIT:
            return self._committed(p.zxid)
        if kind == codes.PACKET_INFORM:
            return self._proposed(p.zxid, p.data) or self._committed(p.zxid)
        if kind == codes.PACKET_COMMIT_AND_ACTIVATE:
            return self._activate(p.zxid, decode_activate(p.data), out)
        if kind == codes.PACKET_INFORM_AND_ACTIVATE:
            leader, raw = decode_inform_and_activate(p.data)
            return self._proposed(p.zxid, raw) or self._activate(p.zxid, leader, out)
        if kind == codes.PACKET_NEWLEADER:
            return self._new_leader(p, out)
        if kind == codes.PACKET_UPTODATE:
            return self._up_to_date(out)
        if kind == codes.PACKET_PING:
            # Before the ack of NEWLEADER a leader takes any packet for that ack.
            if self._ack_sent:
                out.append(SyncCommand(ANSWER_PING, p.zxid))
            return ""
        return f"unexpected packet while synchronising: {describe_packet(p)}"

    def _first(self, p: QuorumPacket, out: list[SyncCommand]) -> str:
        if self.wants_snap and p.type != codes.PACKET_SNAP:
            return f"a SNAP was asked for, not {describe_packet(p)}"
        if p.type == codes.PACKET_DIFF:
            self.mode = SYNC_DIFF
            self._state = _NEWLEADER
        elif p.zxid < 0:
            return f"{describe_packet(p)}: no such zxid"
        elif p.type == codes.PACKET_SNAP:
            self.mode = SYNC_SNAP
            self._start_from(p.zxid)
            out.append(SyncCommand(LOAD_SNAPSHOT, p.zxid))
        elif p.type == codes.PACKET_TRUNC and p.zxid > self.last_zxid:
            return f"a cut at {hex_zxid(p.zxid)}, behind the last txn {hex_zxid(self.last_zxid)}"
        elif p.type == codes.PACKET_TRUNC:
            self.mode = SYNC_TRUNC
            self._start_from(p.zxid)
            out.append(SyncCommand(TRUNCATE, p.zxid))
        else:
            return f"neither DIFF nor TRUNC nor SNAP: {describe_packet(p)}"
        return ""

    def _start_from(self, zxid: i64) -> None:
        self._base_zxid = zxid
        self.last_queued = zxid
        self.must_reload = True
        self._state = _BASE

    def _proposed(self, zxid: i64, raw: bytes | None) -> str:
        if raw is None:
            return f"proposal {hex_zxid(zxid)} without a txn"
        if self.mode == SYNC_SNAP and zxid <= self._base_zxid:
            # Queued when the sync was decided; the snapshot was taken later and has it.
            return ""
        last = self.last_queued
        if not follows(last, zxid):
            return f"proposal {hex_zxid(zxid)} does not follow {hex_zxid(last)}"
        if epoch_of(zxid) > epoch_of(self.new_leader_zxid):
            return f"proposal {hex_zxid(zxid)} of an epoch after the leader's"
        self.last_queued = zxid
        self.pending.append(Txn(zxid, raw))
        return ""

    def _committed(self, zxid: i64) -> str:
        if zxid <= self._base_zxid and self.mode == SYNC_SNAP:
            return ""
        if self.commits >= len(self.pending):
            return f"commit of {hex_zxid(zxid)}, and no proposal is pending"
        head = self.pending[self.commits]
        if head.zxid != zxid:
            return f"commit of {hex_zxid(zxid)}, but the next proposal is {hex_zxid(head.zxid)}"
        self.commits += 1
        return ""

    def _activate(self, zxid: i64, leader: i64, out: list[SyncCommand]) -> str:
        why = self._committed(zxid)
        if not why and self.commits > 0 and self.pending[self.commits - 1].zxid == zxid:
            command = SyncCommand(ACTIVATE, leader)
            command.txns = [self.pending[self.commits - 1]]
            out.append(command)
        return why

    def _new_leader(self, p: QuorumPacket, out: list[SyncCommand]) -> str:
        if self._new_leader_seen:
            return "a second NEWLEADER"
        if p.zxid != self.new_leader_zxid:
            return f"NEWLEADER {hex_zxid(p.zxid)}, but {hex_zxid(self.new_leader_zxid)} was accepted"
        self._new_leader_seen = True
        data = p.data
        if data is not None and len(data) > 1:
            self.config = data
        if self._state == _NEWLEADER:
            self._make_durable(out)
        return ""

    def _up_to_date(self, out: list[SyncCommand]) -> str:
        if self._state != _UPTODATE:
            return "UPTODATE before NEWLEADER was acked"
        if self._observer:
            self.pending = self.pending[: self.commits]
        out.append(SyncCommand(ACK, self.new_leader_zxid))
        out.append(SyncCommand(DONE))
        self._state = _FINISHED
        return ""

    # Reports.

    def snapshot_loaded(self) -> list[SyncCommand]:
        """The snapshot's stream has been read to its end and the tree is what it says."""
        return self._base_ready()

    def truncated(self) -> list[SyncCommand]:
        """The log is cut, durably, and the tree has been loaded anew."""
        if self._state == _BASE:
            self.must_reload = False
        return self._base_ready()

    def _base_ready(self) -> list[SyncCommand]:
        out: list[SyncCommand] = []
        if self._state == _BASE:
            self._state = _NEWLEADER
            if self._new_leader_seen:
                self._make_durable(out)
        return out

    def failed(self, why: str) -> list[SyncCommand]:
        """A command could not be carried out (upstream ZOOKEEPER-3701: a failed cut ends the sync)."""
        out: list[SyncCommand] = []
        if self._state != _FINISHED:
            self._refuse(why, out)
        return out

    def _make_durable(self, out: list[SyncCommand]) -> None:
        """Everything the ack of NEWLEADER promises, in the order in which it must reach the disk."""
        self._state = _DURABLE
        committed = self.pending[: self.commits]
        self.pending = self.pending[self.commits :]
        self.commits = 0
        if self.mode == SYNC_SNAP:
            # The snapshot is taken of the tree with what was committed meanwhile; what the old log holds
            # beyond it would be replayed over it.
            if committed:
                apply = SyncCommand(APPLY)
                apply.txns = committed
                out.append(apply)
                self._base_zxid = committed[len(committed) - 1].zxid
            if self.last_zxid > self._base_zxid:
                out.append(SyncCommand(DISCARD_LOG, self._base_zxid))
            out.append(SyncCommand(SAVE_SNAPSHOT, self._base_zxid))
        elif committed:
            persist = SyncCommand(PERSIST)
            persist.txns = committed
            out.append(persist)
            self._applicable = committed
        if self.config:
            save = SyncCommand(SAVE_CONFIG)
            save.raw = self.config
            out.append(save)
        out.append(SyncCommand(SAVE_CURRENT_EPOCH, epoch_of(self.new_leader_zxid)))

    def durable(self) -> list[SyncCommand]:
        """All durable commands given so far are done: NEWLEADER may be acked."""
        out: list[SyncCommand] = []
        if self._state != _DURABLE:
            return out
        self._state = _UPTODATE
        self.must_reload = False
        self._ack_sent = True
        if self._applicable:
            apply = SyncCommand(APPLY)
            apply.txns = self._applicable
            out.append(apply)
            self._applicable = []
        out.append(SyncCommand(ACK, self.new_leader_zxid))
        return out

    def _refuse(self, why: str, out: list[SyncCommand]) -> None:
        self._state = _FINISHED
        command = SyncCommand(REFUSE)
        command.why = why
        out.append(command)
