"""How far an observer is behind: by question and answer, in units and on simulated ensembles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.clusters import Busy, Ensemble

from zabra.client import calls
from zabra.jute.primitives import Writer
from zabra.server.lag import Lag, decode_lag, encode_lag
from zabra.server.settings import Settings
from zabra.server.views import RoleView
from zabra.sim.cluster import RELAYS_FOLLOWERS, RELAYS_TREE, Shape


def lag_of(limit_ms: int, limit_txns: int) -> Lag:
    settings = Settings()
    settings.tick_ms = 1000
    settings.max_serve_lag_ms = limit_ms
    settings.max_serve_lag_txns = limit_txns
    return Lag(settings, 0)


def test_without_limits_an_observer_is_in_step_at_once() -> None:
    lag = lag_of(0, 0)
    assert lag.in_step
    assert not lag.is_limited()
    lag.asked(0)
    lag.tick(1_000_000, 0)
    assert lag.in_step


@pytest.mark.parametrize(
    ("took_ms", "txns", "in_step"),
    [(0, 0, True), (100, 10, True), (101, 0, False), (0, 11, False)],
)
def test_an_answer_says_how_far(took_ms: int, txns: int, in_step: bool) -> None:
    lag = lag_of(100, 10)
    assert not lag.in_step
    assert lag.should_ask(0)
    assert (lag.ms(0), lag.txns()) == (-1, -1)
    lag.asked(0)
    assert not lag.should_ask(0)
    for _ in range(txns):
        lag.informed(0)
    lag.answered(took_ms, 0, 0)
    assert lag.in_step == in_step
    assert (lag.ms(took_ms), lag.txns()) == (took_ms, txns)


def test_what_the_master_is_behind_is_added() -> None:
    lag = lag_of(100, 10)
    lag.asked(0)
    lag.informed(1)
    lag.answered(5, 95, 3)
    assert (lag.ms(5), lag.txns()) == (100, 4)
    assert lag.in_step
    lag.asked(5)
    lag.answered(10, 96, 0)
    assert not lag.in_step


def test_it_comes_back_only_when_clearly_near() -> None:
    lag = lag_of(100, 0)
    for took_ms, in_step in [(101, False), (100, True), (101, False), (51, False), (50, True), (100, True)]:
        lag.asked(0)
        lag.answered(took_ms, 0, 0)
        assert lag.in_step == in_step, took_ms


def test_an_answer_that_does_not_come_counts_while_txns_do() -> None:
    lag = lag_of(100, 0)
    lag.asked(0)
    lag.answered(0, 0, 0)
    lag.asked(1000)
    lag.tick(5000, 4000)
    # PINGs come and no txn does: nothing is committed, so nobody is behind.
    assert lag.in_step
    assert lag.ms(5000) == 4000
    lag.informed(5000)
    lag.tick(5000, 5000)
    assert not lag.in_step


def test_an_answer_that_does_not_come_counts_while_nothing_comes_at_all() -> None:
    lag = lag_of(100, 0)
    lag.asked(0)
    lag.answered(0, 0, 0)
    lag.asked(1000)
    # It wants to be woken when the answer is overdue, and from then on once a tick.
    assert lag.wake_ms(1050) == 1101
    assert lag.wake_ms(1101) == 2101
    lag.tick(1101, 101)
    assert lag.in_step
    lag.tick(1102, 101)
    assert not lag.in_step


def test_txns_that_come_before_the_answer_count_at_once() -> None:
    lag = lag_of(0, 3)
    lag.asked(0)
    lag.answered(0, 0, 0)
    lag.asked(0)
    for count in range(1, 6):
        lag.informed(0)
        lag.tick(0, 0)
        assert lag.in_step == (count <= 3)
        assert lag.txns() == count


def test_an_answer_nobody_asked_for_is_nothing() -> None:
    lag = lag_of(100, 10)
    lag.answered(5, 0, 0)
    assert not lag.is_known()


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_lags_travel(ms: int, txns: int) -> None:
    assert decode_lag(encode_lag(ms, txns)) == (ms, txns)


def test_an_apache_answer_tells_nothing_of_the_master() -> None:
    assert decode_lag(None) == (0, 0)
    writer = Writer()
    writer.write_int(1)
    assert decode_lag(writer.getvalue()) == (0, 0)


# --- on ensembles -------------------------------------------------------------------------------------------


def view_of(ensemble: Ensemble, sid: int) -> RoleView:
    view = RoleView("", True, 0)
    ensemble.server(sid).role.describe(view)
    return view


def test_lag_is_told_by_observers_only() -> None:
    ensemble = Ensemble(Shape([1, 2, 3], [4])).start()
    assert not any(view_of(ensemble, sid).has_lag for sid in (1, 2, 3))
    view = view_of(ensemble, 4)
    assert view.has_lag
    assert 0 <= view.lag_ms < 100
    assert view.lag_txns == 0


def test_lags_add_up_along_the_tree() -> None:
    ensemble = Ensemble(Shape([1, 2, 3], [4, 5, 6, 7], relays=RELAYS_TREE)).start_in_order()
    assert ensemble.master_of(7) == 5
    # 30 ms more between 4 and 5, 50 ms between 5 and 7.
    for above, below, extra_us in ((4, 5, 30_000), (5, 7, 50_000)):
        ensemble.cluster.network.slow_pair(above, below, extra_us)
    ensemble.until("both have asked again", lambda: view_of(ensemble, 7).lag_ms >= 80, 5_000)
    assert 30 <= view_of(ensemble, 5).lag_ms < 50
    assert view_of(ensemble, 7).lag_ms < 110
    assert view_of(ensemble, 6).lag_ms < 20


def test_an_observer_that_is_far_behind_serves_nobody_until_it_is_near() -> None:
    """A snapshot's worth of writes waits in the network behind UPTODATE: no read is answered meanwhile."""
    settings = Settings()
    settings.tick_ms = 1000
    settings.max_serve_lag_ms = 300
    settings.max_serve_lag_txns = 0
    ensemble = Ensemble(Shape([1, 2, 3], [4]), settings=settings).start()
    leader = ensemble.leader()
    reader = ensemble.client(4)
    ensemble.ask(reader, calls.exists("/"))
    ensemble.client(leader, Busy("/w"))
    # What the leader sends takes half a second to the observer; every write of the others goes on.
    ensemble.cluster.network.slow_pair(leader, 4, 500_000)
    ensemble.until("it serves nobody", lambda: 4 not in ensemble.modes(), 5_000)
    ensemble.until("its client is gone", lambda: not reader.is_connected(), 1_000)
    view = view_of(ensemble, 4)
    assert view.lag_ms > 300
    # In this state nobody gets in.
    ensemble.cluster.run_ms(3_000)
    assert not reader.is_connected()
    assert ensemble.observing(4).state == 3
    ensemble.cluster.network.slow_pair(leader, 4, 0)
    ensemble.until("it serves again", reader.is_connected, 5_000)
    assert view_of(ensemble, 4).lag_ms <= 150


def test_a_leader_that_cannot_commit_has_no_observer_behind() -> None:
    settings = Settings()
    settings.tick_ms = 1000
    settings.max_serve_lag_ms = 200
    ensemble = Ensemble(Shape([1, 2, 3], [4]), settings=settings).start()
    leader = ensemble.leader()
    writer = ensemble.client(leader)
    reader = ensemble.client(4)
    # The followers' acks do not come: the write waits, and the observer knows all there is to know.
    now_us = ensemble.cluster.scheduler.now_us
    for sid in ensemble.followers():
        ensemble.cluster.network.clog(sid, leader, now_us + 2_000_000)
    call = calls.create("/late", b"")
    writer.ask(call)
    ensemble.cluster.run_ms(1_900)
    assert not call.done
    assert ensemble.modes()[4] == "observer"
    assert ensemble.ask(reader, calls.exists("/")) is not None
    ensemble.until("the write is done", lambda: call.done)


def test_relays_answer_for_themselves() -> None:
    """The leader is not asked by those who stand under a relay."""
    ensemble = Ensemble(Shape([1, 2, 3], [4, 5], relays=RELAYS_FOLLOWERS)).start()
    leading = ensemble.server(ensemble.leader()).leading
    assert leading is not None
    before = [int(one.requests) for one in leading.handlers.values()]
    ensemble.cluster.run_ms(10_000)
    assert [int(one.requests) for one in leading.handlers.values()] == before
