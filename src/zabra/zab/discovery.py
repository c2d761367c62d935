"""Phase 1, both ends: the leader learns the newest epoch a quorum has accepted and proposes the next one.

Leader: ``EpochProposer`` counts first who has come (FOLLOWERINFO), then who has acked the epoch (ACKEPOCH);
the two have their own quorums and their own flags (upstream ZOOKEEPER-1192).  Learner: ``answer_epoch``.
Whatever promises that an epoch is remembered waits for ``..._saved``.

Source: Zab paper, section IV-A; upstream ``Leader.getEpochToPropose`` and ``waitForEpochAck``,
``Learner.registerWithLeader``, ``StateSummary``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.zab.quorum import AckSet, QuorumVerifier
from zabra.zab.zxid import NO_ZXID, epoch_of, hex_zxid

# ACKEPOCH with this epoch does not ack: the learner had accepted the epoch before.
NOT_AN_ACK: Final = -1

# An epoch above this cannot be followed by another one in 32 bits.
EPOCH_MAX: Final = 0x7FFFFFFE

# What has become of the leader.
WAITING_FOR_LEARNERS: Final = 0
SAVING_ACCEPTED_EPOCH: Final = 1
WAITING_FOR_EPOCH_ACKS: Final = 2
EPOCH_ACKED: Final = 3
GIVEN_UP: Final = 4

# What a learner is told to do.
WAIT: Final = 0
PROCEED: Final = 1
REFUSE: Final = 2


class StateSummary:
    """How far a server's history goes: its currentEpoch, then its last zxid."""

    __slots__ = ("current_epoch", "last_zxid")

    def __init__(self, current_epoch: i64, last_zxid: i64) -> None:
        self.current_epoch: i64 = current_epoch
        self.last_zxid: i64 = last_zxid

    def is_more_recent_than(self, other: "StateSummary") -> bool:
        """By epoch first (upstream ``StateSummary.isMoreRecentThan``)."""
        if self.current_epoch != other.current_epoch:
            return self.current_epoch > other.current_epoch
        return self.last_zxid > other.last_zxid

    def __repr__(self) -> str:
        return f"(currentEpoch={self.current_epoch}, lastZxid={hex_zxid(self.last_zxid)})"


class DiscoveryStep:
    """What one call asks for.

    ``verdict`` is for the learner of the call: WAIT, PROCEED, or REFUSE with ``reason``.
    ``save_accepted_epoch`` and ``save_current_epoch`` (-1: nothing) are to be made durable, then reported.
    ``epoch_ready``: the epoch may now be told to every learner that waits.  ``acked``: a quorum has
    acked it, everybody who waits goes on to SYNCHRONIZATION.  ``actions`` name TLA+ actions.
    """

    __slots__ = (
        "acked",
        "actions",
        "epoch_ready",
        "reason",
        "save_accepted_epoch",
        "save_current_epoch",
        "verdict",
    )

    def __init__(self) -> None:
        self.verdict: i64 = WAIT
        self.reason: str = ""
        self.save_accepted_epoch: i64 = -1
        self.save_current_epoch: i64 = -1
        self.epoch_ready: bool = False
        self.acked: bool = False
        self.actions: list[str] = []


class EpochProposer:
    """The leader's side.

    ``summary`` is the leader's own state, ``accepted_epoch`` its acceptedEpoch; only voters of ``verifier``,
    the current configuration, count, and only they can raise the epoch (upstream ZOOKEEPER-2959): an
    observer's acceptedEpoch comes from no quorum.  Each of the two waits may last ``limit_ms``
    (initLimit * tickTime).
    """

    __slots__ = (
        "_acks",
        "_connecting",
        "_deadline_ms",
        "_limit_ms",
        "_sid",
        "_summary",
        "_verifier",
        "epoch",
        "state",
    )

    def __init__(
        self, sid: i64, verifier: QuorumVerifier, summary: StateSummary, limit_ms: i64, now_ms: i64
    ) -> None:
        self._sid: i64 = sid
        self._verifier: QuorumVerifier = verifier
        self._summary: StateSummary = summary
        self._limit_ms: i64 = limit_ms
        self._deadline_ms: i64 = now_ms + limit_ms
        self._connecting: AckSet = AckSet([verifier])
        self._acks: AckSet = AckSet([verifier])
        # The epoch to propose; final once the state is beyond WAITING_FOR_LEARNERS.
        self.epoch: i64 = -1
        self.state: i64 = WAITING_FOR_LEARNERS

    def start(self, accepted_epoch: i64) -> DiscoveryStep:
        """The leader itself comes first: without it no quorum counts."""
        step = DiscoveryStep()
        assert self._verifier.is_voter(self._sid), "a leader votes in its own configuration"
        self._hear(self._sid, accepted_epoch, step)
        return step

    def learner_info(self, sid: i64, accepted_epoch: i64) -> DiscoveryStep:
        """FOLLOWERINFO or OBSERVERINFO of ``sid``; PROCEED: send it LEADERINFO now."""
        step = DiscoveryStep()
        step.actions.append("LeaderProcessFOLLOWERINFO")
        if self.state == GIVEN_UP:
            self._refuse(step, "this leader has given up")
        elif self.state == WAITING_FOR_LEARNERS:
            if accepted_epoch > EPOCH_MAX:
                self._refuse(step, f"accepted epoch {accepted_epoch} leaves no next one")
            else:
                self._hear(sid, accepted_epoch, step)
        elif self.state != SAVING_ACCEPTED_EPOCH:
            # A higher accepted epoch is the learner's to refuse: it goes back to the election.
            step.verdict = PROCEED
        return step

    def _hear(self, sid: i64, accepted_epoch: i64, step: DiscoveryStep) -> None:
        if not self._connecting.add(sid):
            return
        if accepted_epoch >= self.epoch:
            self.epoch = accepted_epoch + 1
        if self._connecting.has_all_quorums():
            self.state = SAVING_ACCEPTED_EPOCH
            step.save_accepted_epoch = self.epoch

    def accepted_epoch_saved(self, now_ms: i64) -> DiscoveryStep:
        """The leader's acceptedEpoch is durable: the epoch may be told, and the leader acks it."""
        step = DiscoveryStep()
        if self.state != SAVING_ACCEPTED_EPOCH:
            return step
        step.epoch_ready = True
        self.state = WAITING_FOR_EPOCH_ACKS
        self._deadline_ms = now_ms + self._limit_ms
        if self._summary.last_zxid != NO_ZXID:
            self._acks.add(self._sid)
        self._count_acks(step)
        return step

    def ack_epoch(self, sid: i64, current_epoch: i64, last_zxid: i64) -> DiscoveryStep:
        """ACKEPOCH of ``sid``; PROCEED: choose how to synchronise it now; WAIT: when ``acked`` comes."""
        step = DiscoveryStep()
        step.actions.append("LeaderProcessACKEPOCH")
        if self.state == EPOCH_ACKED:
            step.verdict = PROCEED
            return step
        if self.state != WAITING_FOR_EPOCH_ACKS:
            self._refuse(step, "ACKEPOCH before any epoch was proposed")
            return step
        if current_epoch != NOT_AN_ACK:
            summary = StateSummary(current_epoch, last_zxid)
            if summary.is_more_recent_than(self._summary):
                self._refuse(step, f"server {sid} {summary!r} is ahead of the leader {self._summary!r}")
                return step
            if last_zxid != NO_ZXID:
                self._acks.add(sid)
        self._count_acks(step)
        return step

    def _count_acks(self, step: DiscoveryStep) -> None:
        if self._acks.has_all_quorums() and self._sid in self._acks.acked(0):
            self.state = EPOCH_ACKED
            step.acked = True
            step.verdict = PROCEED
            step.save_current_epoch = self.epoch

    def _refuse(self, step: DiscoveryStep, reason: str) -> None:
        step.verdict = REFUSE
        step.reason = reason

    def next_deadline_ms(self) -> i64:
        """When ``tick`` must be called, or -1."""
        if self.state == EPOCH_ACKED or self.state == GIVEN_UP:
            return -1
        return self._deadline_ms

    def tick(self, now_ms: i64) -> str:
        """Time has passed: why the leader must give up, or the empty string."""
        deadline = self.next_deadline_ms()
        if deadline == -1 or now_ms < deadline:
            return ""
        if self.state == WAITING_FOR_LEARNERS:
            why = f"timeout while waiting for epoch from quorum; connected: {self._connecting!r}"
        elif self.state == WAITING_FOR_EPOCH_ACKS:
            why = f"timeout while waiting for epoch to be acked by quorum; acked: {self._acks!r}"
        else:
            why = "timeout while saving the accepted epoch"
        self.state = GIVEN_UP
        return why


class EpochAnswer:
    """The learner's answer to LEADERINFO.

    ``save_accepted_epoch`` (-1: nothing) must be durable before ACKEPOCH is sent with ``ack_epoch`` as its
    payload; ``reason`` not empty: leave this leader.
    """

    __slots__ = ("ack_epoch", "reason", "save_accepted_epoch")

    def __init__(self, save_accepted_epoch: i64, ack_epoch: i64, reason: str) -> None:
        self.save_accepted_epoch: i64 = save_accepted_epoch
        self.ack_epoch: i64 = ack_epoch
        self.reason: str = reason


def answer_epoch(new_epoch_zxid: i64, accepted_epoch: i64, current_epoch: i64) -> EpochAnswer:
    """The learner's side: what to do about a LEADERINFO with ``new_epoch_zxid``.

    A newer epoch is accepted, once and durably; the same epoch again is no second ack, though the learner
    still wants to be synchronised; an older one is refused.
    """
    new_epoch = epoch_of(new_epoch_zxid)
    if new_epoch > accepted_epoch:
        return EpochAnswer(new_epoch, current_epoch, "")
    if new_epoch == accepted_epoch:
        return EpochAnswer(-1, NOT_AN_ACK, "")
    reason = f"the leader's epoch {new_epoch} is less than the accepted epoch {accepted_epoch}"
    return EpochAnswer(-1, NOT_AN_ACK, reason)
