"""Discovery: two quorums that are not mixed up, an epoch that only voters raise, and refusals."""

import itertools

import pytest

from zabra.zab.discovery import (
    EPOCH_ACKED,
    EPOCH_MAX,
    GIVEN_UP,
    NOT_AN_ACK,
    PROCEED,
    REFUSE,
    WAIT,
    WAITING_FOR_EPOCH_ACKS,
    EpochProposer,
    StateSummary,
    answer_epoch,
)
from zabra.zab.quorum import QuorumHierarchical, QuorumMaj, QuorumVerifier

LIMIT = 1000


def proposer(
    verifier: QuorumVerifier | None = None, summary: StateSummary | None = None, sid: int = 1
) -> EpochProposer:
    verifier = QuorumMaj([1, 2, 3], 0) if verifier is None else verifier
    summary = StateSummary(4, 0x400000009) if summary is None else summary
    return EpochProposer(sid, verifier, summary, LIMIT, 0)


def acking() -> EpochProposer:
    """A leader whose epoch 6 is out."""
    leader = proposer()
    leader.start(4)
    assert leader.learner_info(2, 5).save_accepted_epoch == 6
    assert leader.accepted_epoch_saved(10).epoch_ready
    return leader


def test_the_epoch_is_one_more_than_any_of_a_quorum() -> None:
    for own, second, third in itertools.product(range(4), repeat=3):
        leader = proposer(QuorumMaj([1, 2, 3, 4, 5], 0))
        assert leader.start(own).save_accepted_epoch == -1
        step = leader.learner_info(2, second)
        assert (step.verdict, step.save_accepted_epoch) == (WAIT, -1)
        step = leader.learner_info(3, third)
        assert step.save_accepted_epoch == max(own, second, third) + 1
        # Nothing is told before the leader's own acceptedEpoch is durable.
        assert (step.verdict, step.epoch_ready) == (WAIT, False)
        assert leader.learner_info(4, 0).verdict == WAIT
        assert leader.accepted_epoch_saved(5).epoch_ready
        assert leader.learner_info(5, 0).verdict == PROCEED


def test_the_epoch_is_fixed_once_a_quorum_has_come() -> None:
    leader = acking()
    step = leader.learner_info(3, 99)
    assert step.verdict == PROCEED
    assert leader.epoch == 6
    assert not leader.accepted_epoch_saved(20).epoch_ready


def test_observers_and_strangers_wait_and_do_not_count() -> None:
    # Upstream ZOOKEEPER-2959: neither for the quorum nor for the epoch.
    leader = proposer()
    leader.start(4)
    for sid in (4, 5, 99):
        step = leader.learner_info(sid, 70)
        assert (step.verdict, step.save_accepted_epoch) == (WAIT, -1)
    assert leader.learner_info(3, 4).save_accepted_epoch == 5
    leader.accepted_epoch_saved(0)
    assert leader.ack_epoch(4, 3, 0x300000001).verdict == WAIT
    assert leader.state == WAITING_FOR_EPOCH_ACKS


def test_the_same_learner_counts_once() -> None:
    leader = proposer(QuorumMaj([1, 2, 3, 4, 5], 0))
    leader.start(0)
    for _ in range(3):
        assert leader.learner_info(2, 0).save_accepted_epoch == -1


def test_the_leader_is_needed_in_its_quorum() -> None:
    verifier = QuorumHierarchical([1, 2, 3], 0, {1: [1, 2, 3]}, {1: 0})
    leader = proposer(verifier)
    leader.start(0)
    leader.learner_info(2, 0)
    leader.learner_info(3, 0)
    assert leader.accepted_epoch_saved(0).epoch_ready
    leader.ack_epoch(2, 0, 0)
    step = leader.ack_epoch(3, 0, 0)
    assert step.acked
    uninitialised = proposer(verifier, StateSummary(0, -1))
    uninitialised.start(0)
    uninitialised.learner_info(2, 0)
    uninitialised.learner_info(3, 0)
    uninitialised.accepted_epoch_saved(0)
    uninitialised.ack_epoch(2, 0, -1)
    assert not uninitialised.ack_epoch(3, 0, -1).acked


def test_a_leader_without_a_vote_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        proposer(QuorumMaj([2, 3], 0)).start(0)


def test_acks_of_a_quorum_let_everybody_go_on() -> None:
    leader = acking()
    step = leader.ack_epoch(2, 4, 0x400000009)
    assert (step.verdict, step.acked, step.save_current_epoch) == (PROCEED, True, 6)
    assert leader.state == EPOCH_ACKED
    # Later ones need no comparison any more.
    step = leader.ack_epoch(3, 5, 0x500000001)
    assert (step.verdict, step.acked) == (PROCEED, False)


@pytest.mark.parametrize(
    ("epoch", "zxid", "ahead"),
    [
        (4, 0x400000009, False),
        (4, 0x40000000A, True),
        (4, 0x400000001, False),
        (5, 0, True),
        (3, 0x4FFFFFFFF, False),
    ],
)
def test_a_peer_ahead_is_refused(epoch: int, zxid: int, ahead: bool) -> None:
    leader = acking()
    step = leader.ack_epoch(2, epoch, zxid)
    assert (step.verdict == REFUSE) is ahead
    assert ("ahead of the leader" in step.reason) is ahead
    assert leader.state == (WAITING_FOR_EPOCH_ACKS if ahead else EPOCH_ACKED)
    summary = StateSummary(epoch, zxid)
    assert summary.is_more_recent_than(StateSummary(4, 0x400000009)) is ahead


def test_minus_one_is_no_ack_and_no_comparison() -> None:
    leader = acking()
    step = leader.ack_epoch(2, NOT_AN_ACK, 0x700000000)
    assert (step.verdict, step.acked) == (WAIT, False)
    assert leader.ack_epoch(3, 4, 0).acked


def test_an_uninitialised_database_does_not_count() -> None:
    leader = acking()
    assert not leader.ack_epoch(2, 0, -1).acked
    assert leader.ack_epoch(3, 0, 0).acked


def test_an_ack_before_the_epoch_is_refused() -> None:
    leader = proposer()
    leader.start(4)
    assert leader.ack_epoch(2, 4, 0).verdict == REFUSE


def test_epochs_do_not_overflow() -> None:
    leader = proposer()
    leader.start(4)
    assert leader.learner_info(2, EPOCH_MAX + 1).verdict == REFUSE
    assert leader.learner_info(2, EPOCH_MAX).save_accepted_epoch == EPOCH_MAX + 1


def test_each_wait_has_its_own_deadline() -> None:
    leader = proposer()
    leader.start(4)
    assert leader.next_deadline_ms() == LIMIT
    assert leader.tick(LIMIT - 1) == ""
    leader.learner_info(2, 4)
    leader.accepted_epoch_saved(600)
    assert leader.next_deadline_ms() == 600 + LIMIT
    assert leader.tick(LIMIT) == ""
    assert "acked by quorum; acked: [1]" in leader.tick(600 + LIMIT)
    assert leader.state == GIVEN_UP
    assert leader.next_deadline_ms() == -1
    assert leader.tick(10**9) == ""
    assert leader.learner_info(3, 4).verdict == REFUSE
    assert leader.ack_epoch(3, 4, 0).verdict == REFUSE
    assert not leader.accepted_epoch_saved(0).epoch_ready


def test_a_leader_that_nobody_follows_gives_up() -> None:
    leader = proposer()
    leader.start(4)
    assert "waiting for epoch from quorum; connected: [1]" in leader.tick(LIMIT)
    saving = proposer()
    saving.start(4)
    saving.learner_info(2, 4)
    assert "saving" in saving.tick(LIMIT)
    done = acking()
    done.ack_epoch(2, 4, 0)
    assert done.tick(10**9) == ""


def test_a_single_voter_needs_nobody() -> None:
    leader = proposer(QuorumMaj([1], 0))
    assert leader.start(0).save_accepted_epoch == 1
    step = leader.accepted_epoch_saved(0)
    assert (step.epoch_ready, step.acked, step.save_current_epoch) == (True, True, 1)


def test_the_learners_answer() -> None:
    newer = answer_epoch(0x700000000, 6, 5)
    assert (newer.save_accepted_epoch, newer.ack_epoch, newer.reason) == (7, 5, "")
    again = answer_epoch(0x600000000, 6, 5)
    assert (again.save_accepted_epoch, again.ack_epoch, again.reason) == (-1, NOT_AN_ACK, "")
    older = answer_epoch(0x500000000, 6, 5)
    assert older.save_accepted_epoch == -1
    assert "less than the accepted epoch" in older.reason


def test_summaries_read_well() -> None:
    assert repr(StateSummary(1, 0x100000002)) == "(currentEpoch=1, lastZxid=0x100000002)"
