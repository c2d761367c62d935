"""What the Zab paper claims, claim by claim, of the pure objects that carry it out.

Junqueira, Reed, Serafini: "Zab: High-performance broadcast for primary-backup systems", DSN 2011.  Its f.p
is acceptedEpoch, its f.a currentEpoch, its CEPOCH, NEWEPOCH and ACK-E are FOLLOWERINFO, LEADERINFO and
ACKEPOCH.  The properties of section III are checked on whole runs: epochs with leaders, learners that join
at once or later, and a stop at any message or any write to disk.
"""

import contextlib
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.proto import codes
from zabra.proto.records import QuorumPacket
from zabra.zab import synchronization as sync
from zabra.zab.broadcast import Broadcast
from zabra.zab.discovery import (
    NOT_AN_ACK,
    PROCEED,
    REFUSE,
    EpochProposer,
    StateSummary,
    answer_epoch,
)
from zabra.zab.phases import SYNC_DIFF, SYNC_SNAP, SYNC_TRUNC
from zabra.zab.quorum import QuorumMaj
from zabra.zab.synchronization import LearnerSync, NewLeaderAcks, SyncCommand, choose_sync
from zabra.zab.vote import supersedes
from zabra.zab.zxid import epoch_of, make_zxid

OP_OF_MODE = {SYNC_DIFF: codes.PACKET_DIFF, SYNC_TRUNC: codes.PACKET_TRUNC, SYNC_SNAP: codes.PACKET_SNAP}


class Stopped(Exception):
    """The leader's epoch ends here, in the middle of whatever was going on."""


class Process:
    """One process of the paper: f.p, f.a and the history are stable, what was delivered is remembered."""

    def __init__(self, sid: int) -> None:
        self.sid = sid
        self.accepted_epoch = 0
        self.current_epoch = 0
        self.history: list[int] = []
        self.delivered: list[int] = []
        # (epoch, the history it had) whenever it acked a NEWLEADER.
        self.acked_new_leaders: list[tuple[int, list[int]]] = []

    def last_zxid(self) -> int:
        return self.history[-1] if self.history else 0

    def deliver_up_to(self, zxid: int) -> None:
        """Delivers what of its history is committed; histories only grow where it was delivered from."""
        assert self.history[: len(self.delivered)] == self.delivered
        self.delivered = [z for z in self.history if z <= zxid]


class Ensemble:
    """Processes, one epoch at a time; ``stop_rate`` is the chance that an epoch stops at a given point."""

    def __init__(self, size: int, seed: int, stop_rate: float) -> None:
        self.random = random.Random(seed)
        self.stop_rate = stop_rate
        self.processes = {sid: Process(sid) for sid in range(1, size + 1)}
        self.verifier = QuorumMaj(sorted(self.processes), 0)
        self.broadcast_zxids: list[int] = []
        self.established: dict[int, tuple[int, list[int]]] = {}  # epoch -> (leader, its initial history)
        self.committed: set[int] = set()

    def maybe_stop(self) -> None:
        if self.random.random() < self.stop_rate:
            raise Stopped

    def quorum(self) -> list[int]:
        sids = sorted(self.processes)
        self.random.shuffle(sids)
        count = self.random.randint(len(sids) // 2 + 1, len(sids))
        return sids[:count]

    def run(self, epochs: int) -> None:
        for _ in range(epochs):
            members = self.quorum()
            # Phase 0 owes nothing for safety: any of them may believe that it leads.
            if self.random.random() < 0.8:
                leader = max(members, key=lambda sid: (self.summary(sid), sid))
            else:
                leader = members[0]
            with contextlib.suppress(Stopped):
                self.epoch(leader, [sid for sid in members if sid != leader])
            self.check()

    def summary(self, sid: int) -> tuple[int, int]:
        process = self.processes[sid]
        return process.current_epoch, process.last_zxid()

    # Phase 1.

    def epoch(self, sid: int, learners: list[int]) -> None:
        leader = self.processes[sid]
        proposer = EpochProposer(sid, self.verifier, StateSummary(*self.summary(sid)), 1000, 0)
        step = proposer.start(leader.accepted_epoch)
        for learner in learners:
            self.maybe_stop()
            if step.save_accepted_epoch < 0:
                step = proposer.learner_info(learner, self.processes[learner].accepted_epoch)
        if step.save_accepted_epoch < 0:
            return
        leader.accepted_epoch = step.save_accepted_epoch
        epoch = proposer.epoch
        self.maybe_stop()
        acked = proposer.accepted_epoch_saved(0).acked
        ready: list[int] = []
        for learner in learners:
            self.maybe_stop()
            process = self.processes[learner]
            answer = answer_epoch(make_zxid(epoch, 0), process.accepted_epoch, process.current_epoch)
            if answer.reason:
                continue
            if answer.save_accepted_epoch >= 0:
                process.accepted_epoch = answer.save_accepted_epoch
            self.maybe_stop()
            step = proposer.ack_epoch(learner, answer.ack_epoch, process.last_zxid())
            if step.verdict != REFUSE:
                ready.append(learner)
            acked = acked or step.acked
        if not acked:
            return
        self.synchronise(leader, epoch, ready)

    # Phase 2.

    def synchronise(self, leader: Process, epoch: int, learners: list[int]) -> None:
        initial = list(leader.history)
        acks = NewLeaderAcks([self.verifier], make_zxid(epoch, 0), 1000, 0)
        late = [sid for sid in learners if self.random.random() < 0.2]
        followers: list[int] = []
        own_ack_at = self.random.randint(0, len(learners))
        for index, learner in enumerate([*learners, -1]):
            if index == own_ack_at:
                self.maybe_stop()
                leader.current_epoch = epoch
                leader.acked_new_leaders.append((epoch, list(leader.history)))
                acks.ack(leader.sid, make_zxid(epoch, 0))
            if learner >= 0 and learner not in late:
                self.learn(self.processes[learner], initial, epoch)
                acks.ack(learner, make_zxid(epoch, 0))
                followers.append(learner)
        if not acks.formed:
            return
        assert epoch not in self.established, "two leaders of one epoch"
        self.established[epoch] = (leader.sid, initial)
        self.committed |= set(initial)
        self.deliver([leader.sid, *followers], initial[-1] if initial else 0)
        self.broadcast(leader, epoch, followers, late)

    def learn(self, process: Process, history: list[int], epoch: int) -> None:
        """A learner is given ``history``; every write of it may be the last that happens."""
        plan = choose_sync(process.last_zxid(), history[-1] if history else 0, history, False, False)
        learner = LearnerSync(process.last_zxid(), make_zxid(epoch, 0), False)
        packets = [QuorumPacket(OP_OF_MODE[plan.mode], plan.op_zxid, None, None)]
        for zxid in history[plan.committed_start :]:
            packets.append(QuorumPacket(codes.PACKET_PROPOSAL, zxid, b"txn", None))
            packets.append(QuorumPacket(codes.PACKET_COMMIT, zxid, None, None))
        packets.append(QuorumPacket(codes.PACKET_NEWLEADER, make_zxid(epoch, 0), None, None))
        snapshot: list[int] = []
        for packet in packets:
            self.maybe_stop()
            snapshot = self.carry_out(process, learner, learner.packet(packet), history, snapshot)
        self.carry_out(process, learner, learner.durable(), history, snapshot)
        self.carry_out(
            process, learner, learner.packet(QuorumPacket(codes.PACKET_UPTODATE, -1, None, None)), history, []
        )
        assert process.history == history
        process.acked_new_leaders.append((epoch, list(process.history)))

    def carry_out(
        self,
        process: Process,
        learner: LearnerSync,
        commands: list[SyncCommand],
        history: list[int],
        snapshot: list[int],
    ) -> list[int]:
        for command in commands:
            self.maybe_stop()
            if command.kind == sync.LOAD_SNAPSHOT:
                snapshot = [z for z in history if z <= command.zxid]
                self.carry_out(process, learner, learner.snapshot_loaded(), history, snapshot)
            elif command.kind in (sync.TRUNCATE, sync.DISCARD_LOG):
                process.history = [z for z in process.history if z <= command.zxid]
                if command.kind == sync.TRUNCATE:
                    self.carry_out(process, learner, learner.truncated(), history, snapshot)
            elif command.kind == sync.PERSIST:
                for txn in command.txns:
                    self.maybe_stop()
                    process.history.append(txn.zxid)
            elif command.kind == sync.SAVE_SNAPSHOT:
                process.history = list(snapshot)
            elif command.kind == sync.SAVE_CURRENT_EPOCH:
                process.current_epoch = command.zxid
            else:
                assert command.kind in (sync.APPLY, sync.ACK, sync.DONE), command
        return snapshot

    # Phase 3.

    def broadcast(self, leader: Process, epoch: int, followers: list[int], late: list[int]) -> None:
        order = Broadcast(leader.sid, [self.verifier], make_zxid(epoch, 0))
        queues: dict[int, list[int]] = {sid: [] for sid in followers}
        queues[leader.sid] = []
        for _ in range(self.random.randint(0, 25)):
            self.maybe_stop()
            roll = self.random.random()
            if roll < 0.35:
                zxid = order.next_zxid()
                order.propose(zxid, b"txn")
                self.broadcast_zxids.append(zxid)
                for queue in queues.values():
                    queue.append(zxid)
            elif roll < 0.45 and late:
                joiner = late.pop()
                known = [z for z in leader.history if z <= order.last_committed]
                self.learn(self.processes[joiner], known, epoch)
                queues[joiner] = [p.zxid for p in order.start_forwarding(order.last_committed, True)]
                self.deliver([joiner], order.last_committed)
            else:
                sid = self.random.choice(sorted(queues))
                if queues[sid]:
                    zxid = queues[sid].pop(0)
                    self.processes[sid].history.append(zxid)
                    if sid == leader.sid:
                        done = order.log_synced(zxid)
                    else:
                        done = order.ack(sid, zxid)
                    for proposal in done:
                        self.commit(proposal.zxid, proposal.acks.acked(0))
                        self.deliver(sorted(queues), proposal.zxid)

    def commit(self, zxid: int, acked: list[int]) -> None:
        assert self.verifier.contains_quorum(acked)
        assert all(zxid in self.processes[sid].history for sid in acked)
        self.committed.add(zxid)

    def deliver(self, sids: list[int], zxid: int) -> None:
        for sid in sids:
            if self.random.random() < 0.8:
                self.processes[sid].deliver_up_to(zxid)

    # Section III.

    def check(self) -> None:
        everything = [p.delivered for p in self.processes.values()]
        for delivered in everything:
            # Integrity: what is delivered was broadcast.
            assert set(delivered) <= set(self.broadcast_zxids)
            # Local and global primary order: by counter within an epoch, and epoch after epoch.
            assert delivered == sorted(set(delivered))
            for epoch, group in itertools.groupby(delivered, epoch_of):
                zxids = list(group)
                assert zxids == [make_zxid(epoch, c) for c in range(1, len(zxids) + 1)]
        # Total order and agreement: of two, one is the beginning of the other.
        for one, two in itertools.combinations(everything, 2):
            short, long = sorted((one, two), key=len)
            assert long[: len(short)] == short
        for epoch, (_, initial) in self.established.items():
            # Primary integrity: a primary starts from everything committed in epochs before its own.
            for zxid in self.committed:
                assert epoch_of(zxid) >= epoch or zxid in initial
        # No commit is ever forgotten by a quorum.
        for zxid in self.committed:
            holders = [p.sid for p in self.processes.values() if zxid in p.history]
            assert self.verifier.contains_quorum(holders)


@settings(max_examples=250, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32), st.sampled_from([0.0, 0.01, 0.05, 0.15]))
def test_section_iii_properties_hold_on_every_run(size: int, seed: int, stop_rate: float) -> None:
    """III: integrity, total order, agreement, local and global primary order, primary integrity."""
    ensemble = Ensemble(size, seed, stop_rate)
    ensemble.run(8)
    if stop_rate == 0.0:
        assert ensemble.established


def test_the_runs_are_about_something() -> None:
    """Vacuity: deposed leaders with uncommitted txns, late learners and each way to synchronise all occur."""
    committed = 0
    forgotten = 0
    epochs = 0
    for seed in range(60):
        ensemble = Ensemble(3, seed, 0.03)
        ensemble.run(10)
        committed += len(ensemble.committed)
        forgotten += len(set(ensemble.broadcast_zxids) - ensemble.committed)
        epochs += len(ensemble.established)
    assert committed > 100
    assert forgotten > 20
    assert epochs > 100


def test_section_iii_quorums_intersect() -> None:
    """III-A: every two quorums have a process in common."""
    for size in range(1, 7):
        verifier = QuorumMaj(list(range(size)), 0)
        quorums = [
            set(chosen)
            for count in range(size + 1)
            for chosen in itertools.combinations(range(size), count)
            if verifier.contains_quorum(list(chosen))
        ]
        assert quorums
        assert all(one & two for one, two in itertools.product(quorums, quorums))


def test_section_iv_a_the_new_epoch_is_later_than_any_of_a_quorum() -> None:
    """IV-A, l.1.1: upon a quorum of CEPOCH(e), propose e' later than all of them."""
    for epochs in itertools.product(range(4), repeat=3):
        proposer = EpochProposer(1, QuorumMaj([1, 2, 3, 4, 5], 0), StateSummary(0, 0), 1000, 0)
        assert proposer.start(epochs[0]).save_accepted_epoch == -1
        assert proposer.learner_info(2, epochs[1]).save_accepted_epoch == -1
        assert proposer.learner_info(3, epochs[2]).save_accepted_epoch > max(epochs)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_section_iv_a_a_follower_accepts_only_later_epochs(new: int, accepted: int, current: int) -> None:
    """IV-A, f.1.1: f.p := e' and ACK-E(f.a, ...) only if f.p < e'."""
    answer = answer_epoch(make_zxid(new, 0), accepted, current)
    acks = answer.ack_epoch != NOT_AN_ACK
    assert acks == (new > accepted)
    assert answer.save_accepted_epoch == (new if new > accepted else -1)
    assert bool(answer.reason) == (new < accepted)


def test_section_iv_a_the_leader_has_the_most_recent_history_of_its_quorum() -> None:
    """IV-A, l.1.2: it starts from the latest history, by (f.a, zxid), of a quorum: its own, or it fails."""
    values = list(itertools.product(range(3), range(3)))
    for own, other in itertools.product(values, values):
        proposer = EpochProposer(1, QuorumMaj([1, 2], 0), StateSummary(*own), 1000, 0)
        proposer.start(5)
        proposer.learner_info(2, 5)
        proposer.accepted_epoch_saved(0)
        step = proposer.ack_epoch(2, *other)
        assert (step.verdict == PROCEED) is (own >= other)
        assert step.acked is (own >= other)


def test_section_iv_b_the_history_is_stable_before_the_ack() -> None:
    """IV-B, f.2.1: f.a := e', the history accepted, both stable, then ACK; nothing is acked before."""
    learner = LearnerSync(0, make_zxid(3, 0), False)
    learner.packet(QuorumPacket(codes.PACKET_DIFF, make_zxid(2, 1), None, None))
    learner.packet(QuorumPacket(codes.PACKET_PROPOSAL, make_zxid(2, 1), b"txn", None))
    learner.packet(QuorumPacket(codes.PACKET_COMMIT, make_zxid(2, 1), None, None))
    given_out = learner.packet(QuorumPacket(codes.PACKET_NEWLEADER, make_zxid(3, 0), None, None))
    assert [c.kind for c in given_out] == [sync.PERSIST, sync.SAVE_CURRENT_EPOCH]
    assert [c.kind for c in learner.durable()] == [sync.APPLY, sync.ACK]


def test_section_iv_b_a_follower_of_another_epoch_does_not_ack() -> None:
    """IV-B, f.2.1: if f.p is not e', start over."""
    learner = LearnerSync(0, make_zxid(3, 0), False)
    learner.packet(QuorumPacket(codes.PACKET_DIFF, 0, None, None))
    refused = learner.packet(QuorumPacket(codes.PACKET_NEWLEADER, make_zxid(4, 0), None, None))
    assert [c.kind for c in refused] == [sync.REFUSE]


def test_section_iv_b_commit_upon_a_quorum_of_acks() -> None:
    """IV-B, l.2.2: the initial history is committed when a quorum has accepted it, not before."""
    acks = NewLeaderAcks([QuorumMaj([1, 2, 3, 4, 5], 0)], make_zxid(3, 0), 1000, 0)
    for sid, formed in ((1, False), (2, False), (2, False), (9, False), (4, True)):
        acks.ack(sid, make_zxid(3, 0))
        assert acks.formed is formed


def test_section_iv_c_proposals_have_increasing_zxids_of_the_epoch() -> None:
    """IV-C, l.3.1: proposed in increasing order of zxid, whose epoch is the leader's."""
    order = Broadcast(1, [QuorumMaj([1, 2, 3], 0)], make_zxid(3, 0))
    zxids = [order.propose(order.next_zxid(), b"").zxid for _ in range(5)]
    assert zxids == [make_zxid(3, counter) for counter in range(1, 6)]
    with pytest.raises(AssertionError):
        order.propose(make_zxid(3, 9), b"")


def test_section_iv_c_commits_follow_the_order_of_proposals() -> None:
    """IV-C, l.3.2 and f.3.3: COMMIT upon a quorum of acks; delivered once everything before it is."""
    for acks in itertools.permutations([(1, 1), (1, 2), (2, 1), (2, 2)]):
        order = Broadcast(1, [QuorumMaj([1, 2, 3], 0)], make_zxid(3, 0))
        order.propose(order.next_zxid(), b"")
        order.propose(order.next_zxid(), b"")
        seen = []
        for sid, counter in acks:
            seen += [p.zxid for p in order.ack(sid, make_zxid(3, counter))]
        assert seen == [make_zxid(3, 1), make_zxid(3, 2)]


def test_section_iv_c_a_new_follower_gets_the_history_and_what_is_proposed_since() -> None:
    """IV-C, l.3.3 and l.3.4: CEPOCH during broadcast; the rest of the proposals follow its ACK."""
    proposer = EpochProposer(1, QuorumMaj([1, 2, 3], 0), StateSummary(0, 0), 1000, 0)
    proposer.start(2)
    proposer.learner_info(2, 2)
    proposer.accepted_epoch_saved(0)
    proposer.ack_epoch(2, 0, 0)
    assert proposer.learner_info(3, 0).verdict == PROCEED
    assert proposer.ack_epoch(3, 0, 0).verdict == PROCEED
    order = Broadcast(1, [QuorumMaj([1, 2, 3], 0)], make_zxid(3, 0))
    for _ in range(3):
        order.propose(order.next_zxid(), b"")
    order.ack(1, make_zxid(3, 1))
    order.ack(2, make_zxid(3, 1))
    assert [p.zxid for p in order.start_forwarding(order.last_committed, True)] == [
        make_zxid(3, 2),
        make_zxid(3, 3),
    ]


def test_section_iv_a_an_epoch_has_one_leader_that_a_quorum_acked() -> None:
    """IV-A and the claim of III-B: a process acks an epoch once, so of two leaders one has no quorum."""
    for first, second in itertools.product(itertools.combinations(range(5), 3), repeat=2):
        accepted = dict.fromkeys(range(5), 3)
        acks = []
        for quorum in (first, second):
            acked = []
            for sid in quorum:
                answer = answer_epoch(make_zxid(4, 0), accepted[sid], 3)
                assert not answer.reason
                if answer.save_accepted_epoch >= 0:
                    accepted[sid] = answer.save_accepted_epoch
                    acked.append(sid)
            acks.append(acked)
        verifier = QuorumMaj([0, 1, 2, 3, 4], 0)
        assert [verifier.contains_quorum(acked) for acked in acks] == [True, False]


def test_section_iv_a_the_leader_waits_for_a_quorum_and_not_for_ever() -> None:
    """IV-A: without a quorum of CEPOCH, or of ACK-E, the prospective leader goes back to phase 0."""
    proposer = EpochProposer(1, QuorumMaj([1, 2, 3], 0), StateSummary(0, 0), 1000, 0)
    proposer.start(0)
    assert proposer.tick(999) == ""
    assert "quorum" in proposer.tick(1000)
    proposer = EpochProposer(1, QuorumMaj([1, 2, 3], 0), StateSummary(0, 0), 1000, 0)
    proposer.start(0)
    proposer.learner_info(2, 0)
    proposer.accepted_epoch_saved(500)
    assert proposer.tick(1499) == ""
    assert "acked by quorum" in proposer.tick(1500)
    acks = NewLeaderAcks([QuorumMaj([1, 2, 3], 0)], make_zxid(1, 0), 1000, 0)
    acks.ack(1, make_zxid(1, 0))
    assert acks.tick(999) == ""
    assert "quorum" in acks.tick(1000)


def test_section_iv_b_a_follower_delivers_the_history_in_order_and_serves_on_commit() -> None:
    """IV-B, f.2.2: upon COMMIT (here UPTODATE) the follower delivers what it has accepted, in zxid order."""
    learner = LearnerSync(0, make_zxid(3, 0), False)
    learner.packet(QuorumPacket(codes.PACKET_DIFF, make_zxid(2, 3), None, None))
    for counter in (1, 2, 3):
        learner.packet(QuorumPacket(codes.PACKET_PROPOSAL, make_zxid(2, counter), b"txn", None))
        learner.packet(QuorumPacket(codes.PACKET_COMMIT, make_zxid(2, counter), None, None))
    learner.packet(QuorumPacket(codes.PACKET_NEWLEADER, make_zxid(3, 0), None, None))
    apply = next(c for c in learner.durable() if c.kind == sync.APPLY)
    assert [txn.zxid for txn in apply.txns] == [make_zxid(2, counter) for counter in (1, 2, 3)]
    assert not learner.is_finished()
    done = learner.packet(QuorumPacket(codes.PACKET_UPTODATE, -1, None, None))
    assert [c.kind for c in done] == [sync.ACK, sync.DONE]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_section_iv_c_a_follower_accepts_proposals_without_gaps(counters: list[int]) -> None:
    """IV-C, f.3.2 over FIFO channels: it accepts <v, z> after everything its leader proposed before z."""
    learner = LearnerSync(make_zxid(1, 0), make_zxid(1, 0), False)
    learner.packet(QuorumPacket(codes.PACKET_DIFF, make_zxid(1, 0), None, None))
    due = 1
    for counter in counters:
        given_out = learner.packet(QuorumPacket(codes.PACKET_PROPOSAL, make_zxid(1, counter), b"txn", None))
        if counter != due:
            assert [c.kind for c in given_out] == [sync.REFUSE]
            return
        assert given_out == []
        due += 1


def test_section_iii_b_a_primary_may_have_several_txns_outstanding() -> None:
    """I and III-B (figure 1): of several outstanding, what is delivered is a prefix of what was broadcast."""
    verifier = QuorumMaj([1, 2, 3], 0)
    for acked in range(4):
        order = Broadcast(1, [verifier], make_zxid(3, 0))
        proposed = [order.propose(order.next_zxid(), b"").zxid for _ in range(3)]
        delivered = []
        # A follower that has missed one acks nothing behind it; should it do so, nothing comes of it.
        for zxid in [*proposed[:acked], proposed[-1]]:
            delivered += [p.zxid for p in order.ack(2, zxid)]
        delivered += [p.zxid for p in order.log_synced(proposed[-1])]
        assert delivered == proposed[: len(delivered)]
        assert len(delivered) == (3 if acked >= 2 else acked)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=3))
def test_section_v_the_election_orders_votes_totally(votes: list[tuple[int, int, int]]) -> None:
    """V-A: the leader elected has the latest history: by epoch, then zxid, then identifier."""

    def beats(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
        return supersedes(*one, *other)

    one, two, three = votes
    assert not beats(one, one)
    assert beats(one, two) + beats(two, one) == (one != two)
    if beats(one, two) and beats(two, three):
        assert beats(one, three)
    assert beats((1, 0, 2), (5, 3, 1))
