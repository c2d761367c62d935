"""Session ids of observers that nobody gave a number: a range of their own, whoever asks at the same time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.clusters import Ensemble

from zabra.config.ensemble import EnsembleConfig, QuorumServer
from zabra.server.prng import SplitMix
from zabra.server.server import Server
from zabra.server.session_claim import FIRST_BYTE, LAST_BYTE, RANGE_BITS, RENEW_IDS, SessionClaim
from zabra.server.settings import Settings
from zabra.sessions.session_id import first_session_id
from zabra.sim.cluster import RELAYS_UNLISTED, Shape
from zabra.sim.monitor import ClusterMonitor

NOW_MS = 1_795_000_000_000


def view(*sids: int) -> EnsembleConfig:
    return EnsembleConfig({sid: QuorumServer(sid, [(f"h{sid}", 1, 2)]) for sid in sids})


def asked(seed: int, config: EnsembleConfig, wall_ms: int = NOW_MS) -> SessionClaim:
    claim = SessionClaim(SplitMix(seed))
    claim.choose(config, wall_ms, 10_000)
    return claim


def range_of(claim: SessionClaim) -> int:
    return int(claim.asked_id) >> RANGE_BITS


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**50), st.sets(st.integers(0, 255)))
def test_a_range_is_never_a_members(seed: int, wall_ms: int, sids: set[int]) -> None:
    claim = asked(seed, view(*sids), wall_ms)
    first = int(claim.asked_id)
    byte = first >> 56 & 0xFF
    if len(sids) < 200:
        assert byte not in sids
        assert byte not in (0, 0x80, 0xFF)
    if not set(range(FIRST_BYTE, LAST_BYTE + 1)) <= set(sids):
        assert FIRST_BYTE <= byte <= LAST_BYTE
    assert first & ((1 << RANGE_BITS) - 1) == 0
    assert 0 < claim.asked_cxid < 1 << 31
    assert 10_000 <= claim.asked_timeout_ms < 15_000


def test_a_range_looks_like_ids_of_a_server_of_that_number() -> None:
    claim = asked(1, view(1, 2, 3))
    byte = int(claim.asked_id) >> 56
    assert 0 <= int(first_session_id(byte, NOW_MS)) - int(claim.asked_id) < 1 << RANGE_BITS


def test_the_first_to_be_committed_has_the_range() -> None:
    first, second = asked(1, view(1)), asked(1, view(1))
    assert first.asked_id == second.asked_id
    sessions: dict[int, int] = {}
    wanted = int(first.asked_id)
    cxid, timeout_ms = first.asked_cxid, first.asked_timeout_ms
    assert first.is_answer(wanted, cxid, timeout_ms)
    assert not first.is_answer(wanted, cxid + 1, timeout_ms)
    assert not first.is_answer(wanted, cxid, timeout_ms + 1)
    assert not first.is_answer(wanted + 1, cxid, timeout_ms)
    assert first.settle(sessions)
    sessions[wanted] = 10_000
    assert not second.settle(sessions)
    assert first.is_held()
    assert not second.is_held()
    second.choose(view(1), NOW_MS, 10_000)
    assert range_of(second) != wanted >> RANGE_BITS
    assert second.settle(sessions)


@pytest.mark.parametrize("offset", [0, 1, 77, (1 << RANGE_BITS) - 1])
def test_any_session_that_lives_in_a_range_keeps_others_out(offset: int) -> None:
    claim = asked(1, view(1))
    assert not claim.settle({int(claim.asked_id) + offset: 1})
    claim = asked(1, view(1))
    assert claim.settle({int(claim.asked_id) + offset + (1 << RANGE_BITS): 1, int(claim.asked_id) - 1: 1})


def test_every_try_is_for_another_range() -> None:
    claim = SessionClaim(SplitMix(1))
    seen = []
    for _ in range(100):
        claim.choose(view(1), NOW_MS, 10_000)
        seen.append(range_of(claim))
    assert len(set(seen)) == 100


def test_a_used_up_range_is_renewed() -> None:
    claim = asked(1, view(1))
    assert claim.settle({})
    assert not claim.is_worn(claim.first_id + RENEW_IDS)
    assert claim.is_worn(claim.first_id + RENEW_IDS + 1)


# --- on ensembles -------------------------------------------------------------------------------------------


def unlisted(observers: int, seed: int = 1) -> Ensemble:
    shape = Shape([1, 2, 3], list(range(4, 4 + observers)), relays=RELAYS_UNLISTED)
    return Ensemble(shape, seed=seed).start(30_000)


def claims(ensemble: Ensemble) -> dict[int, int]:
    """The range each observer holds."""
    return {sid: int(peer_of(server).claim.first_id) for sid, server in ensemble.servers().items() if sid > 3}


def peer_of(server: Server):  # type: ignore[no-untyped-def]
    assert server.peer is not None
    return server.peer


def test_unlisted_observers_have_ids_of_their_own() -> None:
    ensemble = unlisted(8)
    held = claims(ensemble)
    assert len({first >> RANGE_BITS for first in held.values()}) == 8
    for sid in (4, 8, 11):
        client = ensemble.client(sid)
        assert int(client.session.session_id) == held[sid] + 1
    config = peer_of(ensemble.server(1)).config
    assert sorted(config.servers) == [1, 2, 3]


def test_nobody_is_served_before_there_are_ids() -> None:
    ensemble = unlisted(1)
    observing = ensemble.observing(4)
    peer = peer_of(ensemble.server(4))
    assert observing.serves()
    peer.claim.lose()
    assert not observing.serves()


def test_a_claim_that_is_lost_while_away_is_made_anew() -> None:
    ensemble = unlisted(1)
    before = claims(ensemble)[4]
    client = ensemble.client(4)
    session_id = int(client.session.session_id)
    client.servers = [1]
    for sid in (1, 2, 3):
        ensemble.cluster.network.block(4, sid)
        ensemble.cluster.network.block(sid, 4)
    ensemble.until("its claim has expired", lambda: before not in ensemble.server(1).tree.sessions, 60_000)
    ensemble.cluster.network.heal()
    ensemble.until("it serves again", lambda: 4 in ensemble.modes(), 20_000)
    after = claims(ensemble)[4]
    assert after not in (0, before)
    # The session made from the old range lives on elsewhere.
    assert session_id in ensemble.server(1).tree.sessions
    assert int(ensemble.client(4).session.session_id) == after + 1


def test_a_claim_outlives_its_master_and_the_leader() -> None:
    ensemble = unlisted(3)
    before = claims(ensemble)
    ensemble.cluster.machines[ensemble.leader()].kill()
    ensemble.until("no leader", lambda: "leader" not in ensemble.modes().values())
    ensemble.until("all serve", lambda: {4, 5, 6} <= set(ensemble.modes()), 20_000)
    assert claims(ensemble) == before


def test_those_who_ask_for_the_same_range_at_once_get_different_ones() -> None:
    """Every observer draws the same byte first: all ask for one range, in the same moment."""
    bytes_ = range(FIRST_BYTE, LAST_BYTE + 1)
    seeds = [seed for seed in range(10_000) if SplitMix(seed).below(len(bytes_)) == 5]

    def same(sid: int, settings: Settings) -> None:
        settings.tick_ms = 200

    shape = Shape([1, 2, 3], list(range(4, 12)), relays=RELAYS_UNLISTED)
    ensemble = Ensemble(shape, change=same)
    for sid in (1, 2, 3):
        assert ensemble.cluster.machines[sid].start()
    ensemble.until("the voters serve", lambda: len(ensemble.modes()) == 3)
    for sid in range(4, 12):
        assert ensemble.cluster.machines[sid].start()
        peer_of(ensemble.server(sid)).claim = SessionClaim(SplitMix(seeds[sid]))
    ensemble.until("all serve", lambda: len(ensemble.modes()) == 11, 30_000)
    assert len({first >> RANGE_BITS for first in claims(ensemble).values()}) == 8
    assert isinstance(ensemble.monitor, ClusterMonitor)
    made: list[int] = [int(one.header.client_id) for one in ensemble.monitor.chain if one.header.cxid > 0]
    assert len(made) > len(set(made)), "nobody asked for what another had"


