"""Phase 3, the leader's side: proposals, acks, and commits in zxid order.

Txns are opaque bytes, encoded once; the same bytes are in the log, in PROPOSAL and in INFORM.  A proposal
commits when a quorum of every configuration it was proposed under has acked it and all before it have
committed.  TLA+ actions: ``propose`` is LeaderProcessRequest, ``ack`` is LeaderProcessACK.

Source: Zab paper, section IV-C; upstream ``Leader.propose``, ``processAck``, ``tryToCommit``.
"""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from zabra.zab.quorum import AckSet, QuorumVerifier
from zabra.zab.zxid import COUNTER_MASK, COUNTER_MAX, counter_of, hex_zxid, is_epoch_start


@mypyc_attr(acyclic=True)
class Proposal:
    """One txn on its way: ``raw`` are its bytes; a reconfig changes who counts for those after it."""

    __slots__ = ("acks", "is_reconfig", "raw", "zxid")

    def __init__(self, zxid: i64, raw: bytes, acks: AckSet, is_reconfig: bool) -> None:
        self.zxid: i64 = zxid
        self.raw: bytes = raw
        self.acks: AckSet = acks
        self.is_reconfig: bool = is_reconfig

    def __repr__(self) -> str:
        return f"Proposal({hex_zxid(self.zxid)}, acked by {self.acks!r})"


NOTHING: Final[list[Proposal]] = []


class Broadcast:
    """Outstanding proposals of one epoch.

    ``verifiers`` are the current configuration's and, while a newer one is last seen, that one's too.  The
    first txn has counter 1, and every zxid is proposed: learners refuse gaps.
    """

    __slots__ = (
        "_pending_syncs",
        "_self_acked",
        "_sid",
        "_stopped",
        "_verifiers",
        "last_committed",
        "last_proposed",
        "outstanding",
    )

    def __init__(self, sid: i64, verifiers: list[QuorumVerifier], new_leader_zxid: i64) -> None:
        assert is_epoch_start(new_leader_zxid), "an epoch starts with counter 0"
        self._sid: i64 = sid
        self._verifiers: list[QuorumVerifier] = verifiers
        self.last_proposed: i64 = new_leader_zxid
        self.last_committed: i64 = new_leader_zxid
        # In zxid order: dicts keep the order of insertion.
        self.outstanding: dict[int, Proposal] = {}
        self._self_acked: i64 = new_leader_zxid
        self._stopped: bool = False
        self._pending_syncs: dict[int, list[int]] = {}

    def set_verifiers(self, verifiers: list[QuorumVerifier]) -> None:
        """Who counts for proposals from now on (a reconfig was proposed, or has been activated)."""
        self._verifiers = verifiers

    def activate(self, verifiers: list[QuorumVerifier]) -> None:
        """A reconfig is committed: who was in the old view is not needed for what was proposed behind it.

        Whoever leads next has the reconfig in its log, and so needs a quorum of the new view.  Upstream goes
        on to count the old view's acks too; where one of those that it needs leaves at the reconfig, nothing
        is committed any more, for as long as the leader is there (docs/adr/0124).
        """
        self._verifiers = verifiers
        for proposal in self.outstanding.values():
            proposal.acks.activate()

    def is_exhausted(self) -> bool:
        """Whether the counter is used up: the leader must step down, a new epoch begins (ZOOKEEPER-1277).

        Upstream never proposes the last counter.
        """
        return counter_of(self.last_proposed) >= COUNTER_MAX - 1

    def next_zxid(self) -> i64:
        """The zxid the next proposal must have."""
        assert not self.is_exhausted(), "zxid lower 32 bits have rolled over"
        return self.last_proposed + 1

    def propose(self, zxid: i64, raw: bytes, is_reconfig: bool = False) -> Proposal:
        """One more outstanding proposal; it is for the caller to log it and to send it."""
        assert zxid == self.next_zxid(), "every zxid of an epoch is proposed, in order"
        proposal = Proposal(zxid, raw, AckSet(self._verifiers), is_reconfig)
        self.last_proposed = zxid
        self.outstanding[zxid] = proposal
        return proposal

    # Acks.

    def ack(self, sid: i64, zxid: i64) -> list[Proposal]:
        """An ACK; returns what is now committed, in order (see ``take_committed``).

        Ignored are the ack of UPTODATE (counter 0), those that come again or after the commit, those of
        zxids that are not outstanding, and all of them once ``stop_committing`` was called.
        """
        if (zxid & COUNTER_MASK) == 0 or zxid <= self.last_committed:
            return NOTHING
        proposal = self.outstanding.get(zxid)
        if proposal is None:
            return NOTHING
        proposal.acks.add(sid)
        return self.take_committed()

    def log_synced(self, zxid: i64) -> list[Proposal]:
        """The leader's own log is durable up to and including ``zxid``: its acks."""
        start = self._self_acked
        if start < self.last_committed:
            start = self.last_committed
        while start < zxid:
            start += 1
            proposal = self.outstanding.get(start)
            if proposal is None:
                break
            proposal.acks.add(self._sid)
            self._self_acked = start
        return self.take_committed()

    def take_committed(self) -> list[Proposal]:
        """Proposals that have become committed, in order, up to and including the first reconfig.

        After a reconfig the caller activates the configuration and calls this again.
        """
        zxid = self.last_committed + 1
        first = self.outstanding.get(zxid)
        if first is None or self._stopped or not first.acks.has_all_quorums():
            return NOTHING
        committed: list[Proposal] = []
        proposal: Proposal | None = first
        while proposal is not None and proposal.acks.has_all_quorums():
            del self.outstanding[zxid]
            self.last_committed = zxid
            committed.append(proposal)
            if proposal.is_reconfig:
                break
            zxid += 1
            proposal = self.outstanding.get(zxid)
        return committed

    def recount(self) -> list[Proposal]:
        """Acks counted anew, after the oracle has changed its mind (two voters only)."""
        for proposal in self.outstanding.values():
            proposal.acks.recount()
        return self.take_committed()

    def stop_committing(self) -> None:
        """A committed reconfig has named another leader: what is outstanding is for that one to commit."""
        self._stopped = True

    def designated_leader(self, reconfig: Proposal, stays: bool) -> i64:
        """Who should lead under the configuration that ``reconfig`` has brought.

        This server, if it ``stays`` (a voter with the same quorum address); otherwise, of the new voters
        that have acked the reconfig, one that has acked as many later proposals as any.  -1: there is none.
        """
        if stays:
            return self._sid
        last: i64 = len(reconfig.acks.verifiers) - 1
        candidates = [sid for sid in reconfig.acks.acked(last) if sid != self._sid]
        zxid = reconfig.zxid + 1
        proposal = self.outstanding.get(zxid)
        while proposal is not None and len(candidates) > 1:
            acked: list[int] = []
            for index in range(len(proposal.acks.verifiers)):
                acked += proposal.acks.acked(index)
            further = [sid for sid in candidates if sid in acked]
            if not further:
                break
            candidates = further
            zxid += 1
            proposal = self.outstanding.get(zxid)
        return candidates[0] if candidates else -1

    # Learners that join, and syncs.

    def start_forwarding(self, last_seen: i64, participant: bool) -> list[Proposal]:
        """What a learner synchronised up to ``last_seen`` must be sent before it joins the broadcast.

        Observers are never sent what is not committed: they learn it by INFORM.
        """
        if not participant or self.last_proposed <= last_seen:
            return NOTHING
        return [proposal for proposal in self.outstanding.values() if proposal.zxid > last_seen]

    def forget_acks(self, sid: i64, last_seen: i64) -> None:
        """``sid`` has come again and is synchronised up to ``last_seen``: what it had beyond that is cut.

        What it acked before it left would count for a txn that it no longer has; it acks it again.  Upstream
        counts both, and can commit what only the leader has.
        """
        if self.last_proposed > last_seen:
            for proposal in self.outstanding.values():
                if proposal.zxid > last_seen:
                    proposal.acks.discard(sid)

    def sync(self, learner: int) -> bool:
        """A sync request: True, answer at once; False: ``take_syncs`` has it after the right commit."""
        if not self.outstanding:
            return True
        self._pending_syncs.setdefault(self.last_proposed, []).append(learner)
        return False

    def pending_syncs(self) -> int:
        """How many syncs wait for a commit."""
        return sum([len(waiting) for waiting in self._pending_syncs.values()])

    def take_syncs(self, zxid: i64) -> list[int]:
        """The syncs that were waiting for the commit of ``zxid``, in order."""
        if not self._pending_syncs:
            return []
        return self._pending_syncs.pop(zxid, [])
