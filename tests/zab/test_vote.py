"""The total order of votes, and when two votes are for the same leadership."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from zabra.zab.phases import FOLLOWING, LEADING, LOOKING
from zabra.zab.vote import Vote, supersedes

small = st.integers(-1, 2)
triples = st.tuples(small, small, small)


def test_epoch_then_zxid_then_sid_exhaustively() -> None:
    # Upstream ZOOKEEPER-1419: equal zxids of different epochs never settled.
    values = list(itertools.product((0, 1, 2), repeat=3))
    for epoch, zxid, sid in values:
        for other_epoch, other_zxid, other_sid in values:
            expected = (epoch, zxid, sid) > (other_epoch, other_zxid, other_sid)
            assert supersedes(sid, zxid, epoch, other_sid, other_zxid, other_epoch) is expected


@given(triples, triples, triples)
def test_the_order_is_strict_and_total(
    a: tuple[int, int, int], b: tuple[int, int, int], c: tuple[int, int, int]
) -> None:
    assert not supersedes(*a, *a)
    assert supersedes(*a, *b) + supersedes(*b, *a) == (a != b)
    if supersedes(*a, *b) and supersedes(*b, *c):
        assert supersedes(*a, *c)


def test_while_looking_everything_must_agree() -> None:
    base = Vote(1, 2, 3, 4)
    assert base.matches(Vote(1, 2, 3, 4, FOLLOWING))
    for other in (Vote(9, 2, 3, 4), Vote(1, 9, 3, 4), Vote(1, 2, 9, 4), Vote(1, 2, 3, 9)):
        assert not base.matches(other)
        assert not other.matches(base)


def test_out_of_the_election_zxid_and_round_may_differ() -> None:
    # Upstream ZOOKEEPER-1805.
    assert Vote(1, 2, 3, 4, FOLLOWING, 2).matches(Vote(1, 7, 8, 4, LEADING, 2))
    assert not Vote(1, 2, 3, 4, FOLLOWING, 2).matches(Vote(1, 2, 3, 5, LEADING, 2))
    assert not Vote(1, 2, 3, 4, FOLLOWING, 2).matches(Vote(2, 2, 3, 4, LEADING, 2))


def test_one_server_without_versions_makes_the_epoch_not_count() -> None:
    # Upstream ZOOKEEPER-1732, for rolling upgrades.
    assert Vote(1, 2, 3, 4, FOLLOWING, 0).matches(Vote(1, 2, 3, 5, LEADING, 2))
    assert not Vote(1, 2, 3, 4, FOLLOWING, 0).matches(Vote(1, 2, 3, 5, LEADING, 0))


def test_repr_says_all() -> None:
    assert (
        repr(Vote(1, 0x100000002, 3, 4, LOOKING))
        == "Vote(LOOKING leader=1 zxid=0x100000002 round=3 peer_epoch=4)"
    )
