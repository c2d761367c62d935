"""Whom observers ask, in which order; on simulated ensembles in test_relaying."""

import pytest

from zabra.config.ensemble import EnsembleConfig, QuorumServer
from zabra.server.masters import NOBODY, Masters, sid_at
from zabra.server.prng import SplitMix
from zabra.server.settings import Settings


def view(voters: int, observers: int = 0, host: str = "h{}") -> EnsembleConfig:
    servers = {
        sid: QuorumServer(sid, [(host.format(sid), 2888, 3888)], observer=sid > voters)
        for sid in range(1, voters + observers + 1)
    }
    return EnsembleConfig(servers)


def masters(seed: int = 1, **changes: object) -> Masters:
    settings = Settings()
    settings.is_observer = True
    settings.server_id = 9
    for name, value in changes.items():
        setattr(settings, name, value)
    return Masters(settings, SplitMix(seed))


def addresses(found: Masters) -> list[tuple[str, int]]:
    return [address for master in found.round() for address in master.addresses]


def test_without_options_there_is_nobody_but_the_leader() -> None:
    found = masters()
    found.use(view(3, 1))
    assert not found.has_list()
    assert not found.has_any()
    assert found.round() == []


def test_participants_have_no_masters() -> None:
    found = masters(is_observer=False, observer_master_port=2191)
    found.use(view(3, 1))
    assert not found.has_any()


def test_voters_are_asked_at_the_port_in_an_order_of_ones_own() -> None:
    orders = []
    for seed in range(20):
        found = masters(seed, observer_master_port=2191)
        found.use(view(3, 2))
        assert sorted(addresses(found)) == [("h1", 2191), ("h2", 2191), ("h3", 2191)]
        orders.append([int(one.sid) for one in found.round()])
    assert len({tuple(order) for order in orders}) == 6


def test_each_is_asked_in_turn() -> None:
    found = masters(observer_master_port=2191)
    found.use(view(3))
    order = [int(one.sid) for one in found.round()]
    for turn in range(7):
        assert [int(one.sid) for one in found.round()] == [order[(turn + i) % 3] for i in range(3)]
        found.asked()
    # Upstream does not go back to the first either.
    found.succeeded()
    assert int(found.round()[0].sid) == order[1]


def test_a_single_voter_has_no_follower_to_ask() -> None:
    found = masters(observer_master_port=2191)
    found.use(view(1, 2))
    assert not found.has_any()


def test_those_named_are_asked_in_their_order_and_the_first_is_preferred() -> None:
    named = [("relay", 1), ("h2", 2), ("h1", 3)]
    found = masters(observer_masters=named, observer_master_port=2191)
    found.use(view(3))
    assert addresses(found) == named
    assert [int(one.sid) for one in found.round()] == [NOBODY, 2, 1]
    found.asked()
    assert addresses(found) == [*named[1:], named[0]]
    found.succeeded()
    assert addresses(found) == named


def test_whoever_has_given_up_looks_for_the_leader_once() -> None:
    found = masters(observer_master_port=2191)
    found.use(view(3))
    assert found.has_any()
    found.given_up = True
    assert not found.has_any()
    assert found.has_list()
    found.succeeded()
    assert found.has_any()


def test_a_server_that_registered_itself_finds_the_leader_at_an_open_quorum_port() -> None:
    found = masters(is_self_registered=True)
    found.use(view(3, 1))
    assert found.has_any()
    assert sorted(addresses(found)) == [("h1", 2888), ("h2", 2888), ("h3", 2888)]


def test_it_asks_masters_first_and_leaders_only_when_those_fail() -> None:
    found = masters(is_self_registered=True, observer_masters=[("relay", 1)])
    found.use(view(3, 1))
    assert addresses(found) == [("relay", 1)]
    found.given_up = True
    assert found.has_any()
    assert addresses(found)[0] == ("relay", 1)
    assert sorted(addresses(found)[1:]) == [("h1", 2888), ("h2", 2888), ("h3", 2888)]


def test_it_asks_those_named_while_it_knows_no_view() -> None:
    found = masters(is_self_registered=True, observer_masters=[("a", 1), ("b", 2)])
    found.use(EnsembleConfig({}))
    assert addresses(found) == [("a", 1), ("b", 2)]


def test_another_view_is_another_list() -> None:
    found = masters(observer_master_port=2191)
    config = view(3)
    found.use(config)
    found.asked()
    turn = [int(one.sid) for one in found.round()]
    found.use(config)
    assert [int(one.sid) for one in found.round()] == turn
    found.use(view(5))
    assert len(found.round()) == 5


@pytest.mark.parametrize(("host", "sid"), [("h1", 1), ("h3", 3), ("elsewhere", NOBODY)])
def test_sids_by_host(host: str, sid: int) -> None:
    assert sid_at(view(3), host) == sid


def test_a_host_of_several_members_is_nobody_in_particular() -> None:
    assert sid_at(view(3, host="127.0.0.1"), "127.0.0.1") == NOBODY


def test_descriptions_for_the_log() -> None:
    found = masters(observer_masters=[("relay", 1), ("h2", 2)])
    found.use(view(3))
    assert [one.describe() for one in found.round()] == ["relay:1", "2 (h2:2)"]
