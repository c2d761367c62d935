"""Broadcast: commits in order, by quorums of every configuration, whatever order acks come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.zab.broadcast import Broadcast
from zabra.zab.quorum import QuorumMaj, QuorumOracleMaj

EPOCH = 0x500000000
THREE = QuorumMaj([1, 2, 3], 1)


def broadcast(proposals: int = 0) -> Broadcast:
    b = Broadcast(1, [THREE], EPOCH)
    for _ in range(proposals):
        b.propose(b.next_zxid(), b"txn")
    return b


def zxids(proposals: list[object]) -> list[int]:
    return [p.zxid - EPOCH for p in proposals]  # type: ignore[attr-defined]


def test_a_proposal_commits_with_a_quorum_of_acks() -> None:
    b = broadcast()
    assert b.next_zxid() == EPOCH + 1
    proposal = b.propose(EPOCH + 1, b"bytes")
    assert proposal.raw == b"bytes"
    assert b.ack(2, EPOCH + 1) == []
    committed = b.ack(3, EPOCH + 1)
    assert committed == [proposal]
    assert b.last_committed == EPOCH + 1
    assert b.outstanding == {}
    assert "acked by [2, 3]" in repr(proposal)


def test_commits_are_in_order() -> None:
    b = broadcast(3)
    for zxid in (EPOCH + 2, EPOCH + 3):
        assert b.ack(2, zxid) == []
        assert b.ack(3, zxid) == []
    assert b.ack(2, EPOCH + 1) == []
    assert zxids(b.ack(3, EPOCH + 1)) == [1, 2, 3]


def test_the_leaders_own_log_acks_everything_up_to_a_zxid() -> None:
    b = broadcast(3)
    b.ack(2, EPOCH + 1)
    b.ack(2, EPOCH + 2)
    b.ack(2, EPOCH + 3)
    assert zxids(b.log_synced(EPOCH + 2)) == [1, 2]
    assert b.log_synced(EPOCH + 2) == []
    assert zxids(b.log_synced(EPOCH + 3)) == [3]
    assert b.log_synced(EPOCH + 9) == []


def test_followers_may_commit_before_the_leader_has_synced() -> None:
    b = broadcast(2)
    b.ack(2, EPOCH + 1)
    assert zxids(b.ack(3, EPOCH + 1)) == [1]
    assert b.log_synced(EPOCH + 2) == []
    assert zxids(b.ack(3, EPOCH + 2)) == [2]


def test_acks_that_are_ignored() -> None:
    b = broadcast(2)
    assert b.ack(2, EPOCH) == []  # of UPTODATE
    assert b.ack(2, EPOCH + 9) == []  # not proposed
    assert b.ack(2, EPOCH - 1) == []  # of an earlier epoch
    assert b.ack(9, EPOCH + 1) == []  # of no voter
    assert b.ack(2, EPOCH + 1) == []
    assert b.ack(2, EPOCH + 1) == []  # twice
    assert zxids(b.ack(3, EPOCH + 1)) == [1]
    assert b.ack(1, EPOCH + 1) == []  # late
    assert b.last_committed == EPOCH + 1


def test_every_zxid_is_proposed_in_order() -> None:
    b = broadcast(1)
    for wrong in (EPOCH + 1, EPOCH + 3, EPOCH):
        with pytest.raises(AssertionError):
            b.propose(wrong, b"")
    with pytest.raises(AssertionError):
        Broadcast(1, [THREE], EPOCH + 1)


def test_the_counter_runs_out() -> None:
    # Upstream ZOOKEEPER-1277.
    b = broadcast()
    b.last_proposed = EPOCH + 0xFFFFFFFD
    b.last_committed = b.last_proposed
    assert not b.is_exhausted()
    b.propose(EPOCH + 0xFFFFFFFE, b"")
    assert b.is_exhausted()
    with pytest.raises(AssertionError, match="rolled over"):
        b.next_zxid()


def test_a_reconfig_needs_quorums_of_both_configurations() -> None:
    b = broadcast(1)
    new = QuorumMaj([3, 4, 5], 2)
    b.set_verifiers([THREE, new])
    reconfig = b.propose(EPOCH + 2, b"reconfig", is_reconfig=True)
    after = b.propose(EPOCH + 3, b"after")
    for zxid in (EPOCH + 1, EPOCH + 2, EPOCH + 3):
        b.ack(1, zxid)
        b.ack(3, zxid)
    assert b.last_committed == EPOCH + 1
    assert b.ack(4, EPOCH + 3) == []
    # Committing stops at the reconfig, for it to be activated.
    assert b.ack(4, EPOCH + 2) == [reconfig]
    assert b.last_committed == EPOCH + 2
    b.activate([new])
    assert b.take_committed() == [after]
    assert b.take_committed() == []


def test_who_has_left_is_not_needed_for_what_was_proposed_behind_the_reconfig() -> None:
    """Of 1 to 4, 4 is away; 2 leaves with the reconfig, and never acks what came behind it."""
    old = QuorumMaj([1, 2, 3, 4], 1)
    new = QuorumMaj([1, 3, 4], 2)
    b = Broadcast(1, [old], EPOCH)
    b.set_verifiers([old, new])
    reconfig = b.propose(EPOCH + 1, b"reconfig", is_reconfig=True)
    first, second = b.propose(EPOCH + 2, b""), b.propose(EPOCH + 3, b"")
    b.log_synced(EPOCH + 3)
    b.ack(3, EPOCH + 1)
    b.ack(3, EPOCH + 2)
    assert b.ack(2, EPOCH + 1) == [reconfig]
    assert b.take_committed() == []
    b.activate([new])
    assert b.take_committed() == [first]
    assert b.ack(3, EPOCH + 3) == [second]


def test_a_leader_that_is_not_designated_stops() -> None:
    b = broadcast()
    b.propose(EPOCH + 1, b"reconfig", is_reconfig=True)
    b.propose(EPOCH + 2, b"after")
    b.ack(2, EPOCH + 1)
    b.ack(2, EPOCH + 2)
    assert zxids(b.ack(3, EPOCH + 1)) == [1]
    b.stop_committing()
    assert b.ack(3, EPOCH + 2) == []
    assert b.log_synced(EPOCH + 2) == []
    assert sorted(b.outstanding) == [EPOCH + 2]


def test_the_designated_leader() -> None:
    b = broadcast()
    new = QuorumMaj([2, 3, 4, 5, 6], 2)
    b.set_verifiers([THREE, new])
    reconfig = b.propose(EPOCH + 1, b"", is_reconfig=True)
    b.propose(EPOCH + 2, b"")
    b.propose(EPOCH + 3, b"")
    for sid in (1, 3, 4, 5):
        b.ack(sid, EPOCH + 1)
    assert b.designated_leader(reconfig, stays=True) == 1
    assert b.designated_leader(reconfig, stays=False) == 3
    b.ack(4, EPOCH + 2)
    b.ack(5, EPOCH + 2)
    assert b.designated_leader(reconfig, stays=False) == 4
    b.ack(5, EPOCH + 3)
    assert b.designated_leader(reconfig, stays=False) == 5
    alone = broadcast()
    nobody = alone.propose(EPOCH + 1, b"", is_reconfig=True)
    assert alone.designated_leader(nobody, stays=False) == -1


def test_learners_that_join() -> None:
    b = broadcast(3)
    b.ack(2, EPOCH + 1)
    b.ack(3, EPOCH + 1)
    assert zxids(b.start_forwarding(EPOCH + 1, participant=True)) == [2, 3]
    assert zxids(b.start_forwarding(EPOCH + 2, participant=True)) == [3]
    assert b.start_forwarding(EPOCH + 3, participant=True) == []
    # Java observers fail on a proposal that is not committed.
    assert b.start_forwarding(EPOCH + 1, participant=False) == []


def test_one_that_comes_again_has_not_acked_what_it_is_told_to_cut() -> None:
    b = broadcast()
    for counter in (1, 2, 3):
        b.propose(EPOCH + counter, b"")
    assert zxids(b.ack(2, EPOCH + 1)) == zxids(b.ack(2, EPOCH + 2)) == []
    b.forget_acks(2, EPOCH + 1)
    assert zxids(b.log_synced(EPOCH + 2)) == [1]
    assert zxids(b.ack(2, EPOCH + 2)) == [2]
    b.forget_acks(2, EPOCH + 3)
    b.forget_acks(9, EPOCH + 2)
    assert zxids(b.log_synced(EPOCH + 3)) == []
    assert zxids(b.ack(3, EPOCH + 3)) == [3]


def test_syncs_wait_for_what_was_proposed_before_them() -> None:
    b = broadcast()
    assert b.sync(7)
    b.propose(EPOCH + 1, b"")
    assert not b.sync(7)
    b.propose(EPOCH + 2, b"")
    assert not b.sync(8)
    assert not b.sync(7)
    assert b.take_syncs(EPOCH + 1) == [7]
    assert b.take_syncs(EPOCH + 1) == []
    assert b.take_syncs(EPOCH + 2) == [8, 7]
    assert b.take_syncs(EPOCH + 3) == []


def test_the_oracle_may_commit_what_is_outstanding() -> None:
    verifier = QuorumOracleMaj([1, 2], 1, False)
    b = Broadcast(1, [verifier], EPOCH)
    b.propose(EPOCH + 1, b"")
    assert b.log_synced(EPOCH + 1) == []
    verifier.oracle = True
    assert zxids(b.recount()) == [1]


@given(
    st.integers(1, 7),
    st.integers(1, 8),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10)), max_size=120),
)
def test_any_acks_in_any_order(voters: int, proposed: int, acks: list[tuple[int, int]]) -> None:
    """Against the definition: the longest prefix in which every txn has a quorum of acks."""
    members = list(range(1, voters + 1))
    b = Broadcast(1, [QuorumMaj(members, 0)], EPOCH)
    for _ in range(proposed):
        b.propose(b.next_zxid(), b"")
    heard: dict[int, set[int]] = {n: set() for n in range(1, proposed + 1)}
    committed: list[int] = []
    for sid, counter in acks:
        committed += zxids(b.ack(sid, EPOCH + counter))
        if counter in heard and sid <= voters:
            heard[counter].add(sid)
        expected = 0
        while expected < proposed and 2 * len(heard[expected + 1]) > voters:
            expected += 1
        assert committed == list(range(1, expected + 1))
        assert b.last_committed == EPOCH + expected
        assert [z - EPOCH for z in b.outstanding] == list(range(expected + 1, proposed + 1))
