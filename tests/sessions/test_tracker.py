"""The session tracker against a plain dictionary of deadlines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.request import OWNER_LOCAL, OWNER_NONE
from zabra.sessions.tracker import ENDED_KEPT_TICKS, SessionTracker

TICK = 100
SESSIONS = st.integers(1, 4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), SESSIONS, st.integers(1, 1000)),
        st.tuples(st.just("touch"), SESSIONS, st.integers(1, 1000)),
        st.tuples(st.just("remove"), SESSIONS, st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.integers(0, 700)),
    ),
    max_size=60,
)


@given(STEPS)
def test_a_session_expires_after_its_timeout_and_within_a_tick_of_it(steps):
    now = 0
    tracker = SessionTracker(TICK, now)
    deadlines: dict[int, int] = {}
    for kind, session, number in steps:
        if kind == "add":
            tracker.add(session, number, now)
            deadlines[session] = max(deadlines.get(session, 0), now + number)
        elif kind == "touch":
            assert tracker.touch(session, number, now) == (session in deadlines)
            if session in deadlines:
                deadlines[session] = max(deadlines[session], now + number)
        elif kind == "remove":
            tracker.remove(session)
            deadlines.pop(session, None)
        else:
            now += number
        for session_id in tracker.expired(now):
            assert deadlines[session_id] <= now
            deadlines.pop(session_id)
            tracker.remove(session_id)
        assert all(deadline + TICK > now for deadline in deadlines.values())
    assert tracker.session_ids() == [one for one in tracker.session_ids() if one in deadlines]
    assert len(tracker) == len(deadlines)


def test_a_session_that_closes_does_not_expire_on_top_of_it():
    tracker = SessionTracker(100, 0)
    tracker.add(7, 300, 0)
    tracker.set_closing(7)
    assert tracker.expired(10_000) == []
    assert 7 in tracker


def test_an_expired_session_is_told_once_and_nothing_more_is_done_for_it():
    tracker = SessionTracker(TICK, 0)
    tracker.add(7, 100, 0)
    assert tracker.expired(1000) == [7]
    assert tracker.expired(2000) == []
    assert not tracker.touch(7, 100, 2000)
    assert not tracker.is_live(7)
    with pytest.raises(KeeperError) as refused:
        tracker.check(7, OWNER_LOCAL)
    assert refused.value.code == codes.ERR_SESSION_EXPIRED


def test_who_speaks_for_a_session():
    tracker = SessionTracker(TICK, 0)
    tracker.add(7, 100, 0)
    tracker.check(7, 20)
    assert tracker.owner_of(7) == 20
    tracker.check(7, OWNER_NONE)
    with pytest.raises(KeeperError) as moved:
        tracker.check(7, 21)
    assert moved.value.code == codes.ERR_SESSION_MOVED
    tracker.set_owner(7, 21)
    tracker.check(7, 21)
    tracker.set_closing(7)
    with pytest.raises(KeeperError):
        tracker.set_owner(7, 22)
    with pytest.raises(KeeperError):
        tracker.check(8, 20)


def test_the_dump_is_in_order_of_time():
    tracker = SessionTracker(TICK, 0)
    tracker.add(1, 950, 0)
    tracker.add(2, 50, 0)
    tracker.add(3, 60, 0)
    assert tracker.expiry_buckets() == [(100, [2, 3]), (1000, [1])]
    assert tracker.timeout_of(1) == 950
    assert tracker.timeout_of(9) == 0


def test_everybody_may_be_given_more_time():
    tracker = SessionTracker(TICK, 0)
    tracker.add(1, 950, 0)
    tracker.add(2, 50, 0)
    tracker.add(3, 60, 0)
    tracker.extend(1234)
    assert tracker.expiry_buckets() == [(1400, [2, 3]), (2300, [1])]
    assert tracker.expired(1399) == []
    assert tracker.touch(3, 500, 1000)
    assert tracker.expired(1400) == [2]
    assert tracker.expired(1600) == [3]
    tracker.remove(1)
    assert tracker.expired(10_000) == []


def test_it_is_known_for_a_while_that_a_session_has_ended():
    tracker = SessionTracker(TICK, 0)
    tracker.add(1, 950, 0)
    tracker.end(1, 500)
    assert 1 not in tracker
    assert tracker.has_ended(1)
    assert not tracker.has_ended(2)
    # One that nobody knew any more ends again.
    tracker.end(1, 600)
    tracker.end(2, 500 + ENDED_KEPT_TICKS * TICK - 1)
    assert tracker.has_ended(1)
    tracker.end(3, 500 + ENDED_KEPT_TICKS * TICK)
    assert not tracker.has_ended(1)
    assert tracker.has_ended(2)


def test_where_learners_may_be_far_behind_it_is_known_for_longer():
    tracker = SessionTracker(TICK, 0, 50)
    tracker.end(1, 0)
    tracker.end(2, 200 * TICK - 1)
    assert tracker.has_ended(1)
    tracker.end(3, 200 * TICK)
    assert not tracker.has_ended(1)
