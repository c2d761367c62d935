"""What users of observers have suffered from, a test each: slow and stormy rejoins, stale reads, and so on.

The numbers are those of upstream's issues.  Number 7 (ZOOKEEPER-4886) is about SASL between servers; here is
the part of it that has nothing to do with SASL.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.observers.scenarios import ELECTION_MS, TICK_MS, Reader, Scene, quick_settings
from tests.server.clusters import Ensemble

from zabra.client import calls
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.packets import (
    PacketBuffer,
    encode_ack_epoch,
    encode_learner_info,
    encode_packet,
)
from zabra.server.ready import PORT_QUORUM
from zabra.server.session_claim import RANGE_BITS
from zabra.sim.client import SimClient
from zabra.sim.cluster import RELAYS_FOLLOWERS, RELAYS_NONE, RELAYS_TREE, RELAYS_UNLISTED, Shape
from zabra.testing import AsyncEnsemble

ALL_RELAYS = [RELAYS_NONE, RELAYS_FOLLOWERS, RELAYS_TREE, RELAYS_UNLISTED]


# --- 1: slow rejoin (ZOOKEEPER-3218) ------------------------------------------------------------------------


@pytest.mark.parametrize("relays", ALL_RELAYS)
def test_1_every_observer_serves_again_within_two_election_times(relays: int) -> None:
    scene = Scene(1, 12, relays, links=False).start()
    clients = [scene.ensemble.client(sid) for sid in scene.observers]
    old = scene.ensemble.leader()
    began_ms = scene.now_ms()
    scene.cluster.machines[old].kill()

    def serve_again() -> bool:
        modes = scene.ensemble.modes()
        return old not in modes and "leader" in modes.values() and set(scene.observers) <= set(modes)

    scene.ensemble.until("all observers serve", serve_again, 2 * ELECTION_MS)
    assert scene.now_ms() - began_ms <= 2 * ELECTION_MS
    scene.ensemble.until("all clients are back", lambda: all(one.is_connected() for one in clients))
    assert [one.sessions for one in clients] == [1] * 12


# --- 2: rejoin storm ----------------------------------------------------------------------------------------


def test_2_fifty_observers_come_back_one_by_one_and_a_bounded_number_is_synchronised_at_once() -> None:
    settings = quick_settings(
        commit_log_count=2, snapshot_size_factor=-1.0, max_concurrent_snap_syncs=4, snapshot_nodes_per_turn=5
    )
    scene = Scene(1, 50, RELAYS_NONE, settings, links=False).start()
    ensemble = scene.ensemble
    # A disk that makes the copying of a snapshot take a while, so that they could pile up.
    client = ensemble.client(1)
    for number in range(30):
        ensemble.ask(client, calls.create(f"/n{number}", b"x" * 500))
    ensemble.until("all have everything", scene._is_level)
    for sid in scene.observers:
        scene.cluster.machines[sid].fsync_us = 20_000
        scene.cluster.network.slow_pair(sid, ensemble.leader(), 10_000)
    dials: list[int] = []
    most = 0
    known: dict[int, None] = {}

    def look() -> None:
        nonlocal most
        leading = ensemble.server(ensemble.leader()).leading
        assert leading is not None
        for handler in leading.handlers.values():
            if handler.is_observer and handler.conn_id not in known:
                known[handler.conn_id] = None
                dials.append(int(scene.now_ms()))
        most = max(most, len(leading.syncer.snaps))

    look()
    dials.clear()
    # All lose their leader in the same moment, and meanwhile more happens than is kept for a DIFF.
    for sid in scene.observers:
        scene.cut_off(sid)
    for number in range(30, 40):
        ensemble.ask(client, calls.create(f"/n{number}", b""))
    ensemble.until("all have noticed", lambda: len(ensemble.modes()) == 3, 30_000)
    scene.cluster.network.heal()

    def are_back() -> bool:
        look()
        return scene.all_serve()

    ensemble.until("all are back", are_back, 30_000)
    snaps = scene.syncs()[2]
    assert snaps >= 50
    assert 0 < most <= 4
    # No moment has seen half of them: they come at times of their own.
    busiest = max(sum(1 for at in dials if start <= at < start + 20) for start in dials)
    assert len(dials) >= 50
    assert busiest < 25, f"{busiest} of {len(dials)} dials within 20 ms"


def test_2_fifty_observers_that_waited_for_a_leader_do_not_come_all_at_once() -> None:
    """They find it in the same moment: what had spread them is long over."""
    scene = Scene(1, 50, RELAYS_NONE, links=False)
    ensemble = scene.ensemble
    for sid in scene.observers:
        assert scene.cluster.machines[sid].start()
    scene.cluster.run_ms(3_000)
    for sid in (1, 2, 3):
        assert scene.cluster.machines[sid].start()
    came: dict[int, float] = {}

    def are_there() -> bool:
        for server in ensemble.servers().values():
            for conn_id, handler in server.leading.handlers.items() if server.leading else ():
                if handler.is_observer:
                    came.setdefault(conn_id, scene.now_ms())
        return scene.all_serve()

    ensemble.until("all are there", are_there)
    dials = list(came.values())
    assert len(dials) == 50
    assert max(sum(1 for at in dials if start <= at < start + 20) for start in dials) < 25


# --- 3: serving while far behind (ZOOKEEPER-3500) -----------------------------------------------------------


@pytest.mark.parametrize("limit", [50, 0])
def test_3_no_read_is_answered_while_far_behind_unless_that_is_asked_for(limit: int) -> None:
    """Writes pile up behind UPTODATE on a slow line: the observer is in step, and its tree is old."""
    settings = quick_settings(max_serve_lag_txns=limit, max_serve_lag_ms=0, sync_limit_ticks=50)
    scene = Scene(1, 1, RELAYS_NONE, settings, links=False)
    ensemble = scene.ensemble
    for sid in (1, 2, 3):
        assert scene.cluster.machines[sid].start()
    ensemble.until("the voters serve", lambda: len(ensemble.modes()) == 3)
    for sid in (1, 2, 3):
        scene.work_at(sid, think_us=5_000)
    assert scene.cluster.machines[4].start()
    ensemble.until("it has found the leader", lambda: ensemble.server(4).learning is not None)
    scene.cluster.network.slow_pair(ensemble.leader(), 4, 500_000)
    reader = Reader(scene)
    client = scene.cluster.add_client(reader, 10_000, [4])
    client.start()
    scene.cluster.run_ms(2_500)
    if limit:
        assert not reader.reads
        assert ensemble.observing(4).lag.txns() > limit
        scene.cluster.network.slow_pair(ensemble.leader(), 4, 0)
        ensemble.until("it serves once it is near", lambda: reader.reads > 10)
        assert reader.oldest_ms < 2 * TICK_MS
    else:
        assert reader.reads
        assert reader.oldest_ms >= 500


# --- 4: snapshot over WAN -----------------------------------------------------------------------------------


@pytest.mark.parametrize("relays", ALL_RELAYS)
def test_4_an_observer_with_data_gets_a_diff_over_a_long_line(relays: int) -> None:
    scene = Scene(1, 2, relays, links=False).start()
    ensemble = scene.ensemble
    client = ensemble.client(1)
    ensemble.ask(client, calls.create("/a", b""))
    ensemble.until("all have it", scene.all_have_something)
    sid = scene.observers[-1]
    for other in scene.cluster.machines:
        for pair in ((sid, other), (other, sid)):
            scene.cluster.network.slow_pair(*pair, 40_000)
    before = scene.not_by_diff()
    scene.cluster.machines[sid].cut_power()
    for number in range(50):
        ensemble.ask(client, calls.set_data("/a", b"%d" % number))
    assert scene.cluster.machines[sid].start()
    ensemble.until("it serves again", lambda: sid in ensemble.modes())
    assert scene.not_by_diff() == before


def test_4_a_snapshot_that_breaks_off_is_begun_again_and_never_by_more_than_the_limit() -> None:
    settings = quick_settings(
        commit_log_count=2, snapshot_size_factor=-1.0, max_concurrent_snap_syncs=1, snapshot_nodes_per_turn=5
    )
    scene = Scene(1, 4, RELAYS_NONE, settings, links=False)
    ensemble = scene.ensemble
    for sid in (1, 2, 3):
        assert scene.cluster.machines[sid].start()
    ensemble.until("the voters serve", lambda: len(ensemble.modes()) == 3)
    client = ensemble.client(1)
    for number in range(40):
        ensemble.ask(client, calls.create(f"/n{number}", b"x" * 1_000))
    leading = ensemble.server(ensemble.leader()).leading
    assert leading is not None
    for sid in scene.observers:
        scene.cluster.network.slow_pair(ensemble.leader(), sid, 30_000)
        assert scene.cluster.machines[sid].start()
    most = broken = 0

    def look() -> bool:
        nonlocal most, broken
        most = max(most, len(leading.syncer.snaps))
        if broken < 3 and leading.syncer.snaps:
            conn_id = next(iter(leading.syncer.snaps))
            broken += 1
            leading.handlers[conn_id].close("the line is cut")
        return scene.all_serve()

    ensemble.until("all serve", look, 60_000)
    assert (most, broken) == (1, 3)
    ensemble.until("all have everything", scene._is_level)


# --- 5: sessions (ZOOKEEPER-2926) ---------------------------------------------------------------------------


@pytest.mark.parametrize("relays", ALL_RELAYS)
def test_5_a_session_moves_between_observers_and_a_follower_and_keeps_what_it_owns(relays: int) -> None:
    scene = Scene(1, 2, relays, links=False).start()
    ensemble = scene.ensemble
    client = ensemble.client(4)
    ensemble.ask(client, calls.create("/mine", b"", flags=codes.MODE_EPHEMERAL))
    for sid in (5, ensemble.followers()[0], 4, ensemble.leader(), 5):
        move(scene, client, sid)
        stat = ensemble.ask(client, calls.exists("/mine"))
        assert stat.ephemeral_owner == client.session.session_id
        ensemble.ask(client, calls.set_data("/mine", b"%d" % sid))
    assert client.sessions == 1


def move(scene: Scene, client: SimClient, sid: int) -> None:
    """The client goes to another server."""
    client.servers = [sid]
    client.move()
    scene.ensemble.until(f"the session is at {sid}", client.is_connected)


@pytest.mark.parametrize("upgrades", [True, False])
def test_5_a_local_session_owns_nothing_until_it_is_everybodys(upgrades: bool) -> None:
    settings = quick_settings(local_sessions_enabled=True, local_sessions_upgrading_enabled=upgrades)
    scene = Scene(1, 2, RELAYS_TREE, settings, links=False).start()
    ensemble = scene.ensemble
    client = ensemble.client(5)
    session_id = client.session.session_id
    ensemble.ask(client, calls.create("/lasting", b""))
    assert session_id not in ensemble.server(1).tree.sessions
    mine = calls.create("/mine", b"", flags=codes.MODE_EPHEMERAL)
    if not upgrades:
        with pytest.raises(KeeperError) as caught:
            ensemble.ask(client, mine)
        assert caught.value.code == codes.ERR_EPHEMERAL_ON_LOCAL_SESSION
        return
    ensemble.ask(client, mine)
    assert client.session.session_id == session_id
    for sid in (4, ensemble.followers()[0], 5):
        move(scene, client, sid)
        assert ensemble.ask(client, calls.exists("/mine")).ephemeral_owner == session_id
    client.abandon()
    everybody = ensemble.servers().values()
    ensemble.until("it goes", lambda: all("/mine" not in one.tree.nodes for one in everybody), 60_000)
    assert all(session_id not in one.tree.sessions for one in everybody)


# --- 6: membership (PR 337) ---------------------------------------------------------------------------------


def test_6_twenty_observers_join_without_configuration_and_no_session_id_is_used_twice() -> None:
    scene = Scene(1, 20, RELAYS_UNLISTED, links=False).start()
    ensemble = scene.ensemble
    sessions = [int(ensemble.client(sid).session.session_id) for sid in scene.observers for _ in range(5)]
    scene.cluster.machines[ensemble.leader()].kill()
    ensemble.until("all are back", lambda: set(scene.observers) <= set(ensemble.modes()))
    sessions += [int(ensemble.client(sid).session.session_id) for sid in scene.observers for _ in range(5)]
    assert len(set(sessions)) == len(sessions) == 200
    # Of each range that was claimed, one observer only makes ids.
    ranges = [{one >> RANGE_BITS for one in sessions[first : first + 5]} for first in range(0, 100, 5)]
    for one, other in itertools.combinations(ranges, 2):
        assert not one & other
    for sid in (1, 2, 3):
        if sid in ensemble.modes():
            peer = ensemble.server(sid).peer
            assert peer is not None
            assert sorted(peer.config.servers) == [1, 2, 3]
    scene._check_session_ids()


# --- 7: a small myid (ZOOKEEPER-4886, without SASL) ---------------------------------------------------------


@pytest.mark.parametrize("relays", [RELAYS_NONE, RELAYS_FOLLOWERS])
@pytest.mark.parametrize("sid", [0, 1])
def test_7_an_observer_with_the_smallest_id_joins_and_follows_a_new_leader(sid: int, relays: int) -> None:
    ensemble = Ensemble(Shape([2, 3, 4], [sid], relays=relays), settings=quick_settings()).start()
    client = ensemble.client(sid)
    ensemble.ask(client, calls.create("/a", b""))
    ensemble.cluster.machines[ensemble.leader()].kill()
    ensemble.until("there is no leader", lambda: "leader" not in ensemble.modes().values())
    ensemble.until("it is led again", lambda: "leader" in ensemble.modes().values())
    ensemble.until("it serves again", lambda: sid in ensemble.modes())
    ensemble.until("its client is back", client.is_connected)
    ensemble.ask(client, calls.set_data("/a", b"again"))


# --- 8: blindness (ZOOKEEPER-4284) --------------------------------------------------------------------------


def test_8_lag_in_txns_and_ms_is_told_by_mntr_and_so_is_the_time_of_the_last_sync() -> None:
    async def word(port: int, text: bytes) -> dict[str, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text)
        answer = (await reader.read()).decode()
        writer.close()
        return dict(line.split("\t", 1) for line in answer.splitlines() if "\t" in line)

    async def scenario() -> None:
        async with AsyncEnsemble(3, 1, options={"zabra.maxServeLagMs": 300}) as ensemble:
            found = await word(ensemble.members[4].client_port, b"mntr")
            assert 0 <= int(found["zk_lag_ms"]) <= 300
            assert int(found["zk_lag_txns"]) == 0
            assert float(found["zk_max_observer_sync_time"]) >= 0
            assert int(found["zk_cnt_observer_sync_time"]) == 1
            assert "zk_observer_master_id" in found
            assert "zk_lag_ms" not in await word(ensemble.members[1].client_port, b"mntr")
            # Far behind, it serves nobody, and tells how far it is behind.
            await ensemble.lag(4, 0.6)
            await ensemble.wait("it serves nobody", lambda: not ensemble.members[4].serves)
            found = await word(ensemble.members[4].client_port, b"mntr")
            assert int(found["zk_lag_ms"]) > 300
            await ensemble.lag(4, 0.0)
            await ensemble.wait_ready(4)

    asyncio.run(scenario())


# --- 9: one level only --------------------------------------------------------------------------------------


def test_9_observers_stand_under_observers_five_levels_deep() -> None:
    scene = Scene(1, 20, RELAYS_TREE, links=False).start()
    ensemble = scene.ensemble
    depth = dict.fromkeys((1, 2, 3), 0)
    for sid in scene.observers:
        depth[sid] = depth[ensemble.master_of(sid)] + 1
    assert max(depth.values()) == 5
    assert ensemble.below(ensemble.leader()) == ensemble.followers()
    deepest = max(depth, key=lambda sid: depth[sid])
    client = ensemble.client(deepest)
    other = ensemble.client(ensemble.leader())
    ensemble.ask(client, calls.create("/from-below", b""))
    ensemble.ask(other, calls.set_data("/from-below", b"from above"))
    ensemble.ask(client, calls.sync("/from-below"))
    assert ensemble.ask(client, calls.get_data("/from-below"))[0] == b"from above"


# --- 10: epochs and acks (ZOOKEEPER-2959, ZOOKEEPER-1784) ---------------------------------------------------


class Stranger:
    """Somebody at the leader's quorum port who says that it observes."""

    conn_id = 9500

    def __init__(self, ensemble: Ensemble) -> None:
        self.server = ensemble.server(ensemble.leader())
        self.buffer = PacketBuffer()
        Stranger.conn_id += 1
        self.conn_id = Stranger.conn_id
        self.server.connection_made(self.conn_id, PORT_QUORUM, "10.0.0.99", 1)

    def say(self, kind: int, zxid: int, data: bytes | None = None) -> list[int]:
        """Sends one packet; the kinds of those that come back at once."""
        self.server.data_received(self.conn_id, encode_packet(kind, zxid, data))
        leading = self.server.leading
        assert leading is not None
        leading.end_turn()
        out = self.server.out
        for conn_id, sent in list(out.sends):
            if conn_id == self.conn_id:
                self.buffer.feed(sent)
                out.sends.remove((conn_id, sent))
        kinds = []
        while (packet := self.buffer.next()) is not None:
            kinds.append(int(packet.type))
        return kinds


def test_10_an_observers_acks_and_accepted_epoch_are_ignored() -> None:
    ensemble = Ensemble(Shape([1, 2, 3], [4]), settings=quick_settings(sync_limit_ticks=50)).start()
    leader = ensemble.leader()
    client = ensemble.client(leader)
    ensemble.ask(client, calls.create("/before", b""))
    peer = ensemble.server(leader).peer
    assert peer is not None
    epoch = int(peer.accepted_epoch)
    # It has accepted epoch 90, and calls itself by a voter's number when it acks.
    stranger = Stranger(ensemble)
    info = encode_learner_info(99, 0)
    assert codes.PACKET_LEADERINFO in stranger.say(codes.PACKET_OBSERVERINFO, 90 << 32, info)
    assert int(peer.accepted_epoch) == int(peer.current_epoch) == epoch
    last = ensemble.server(leader).tree.last_processed_zxid
    kinds = stranger.say(codes.PACKET_ACKEPOCH, last, encode_ack_epoch(90))
    assert codes.PACKET_NEWLEADER in kinds
    stranger.say(codes.PACKET_ACK, epoch << 32)
    # No voter's ack arrives: an observer's is not enough.
    now_us = ensemble.cluster.scheduler.now_us
    for sid in ensemble.followers():
        ensemble.cluster.network.clog(sid, leader, now_us + 3_000_000)
    call = calls.create("/needs-a-quorum", b"")
    client.ask(call)
    ensemble.cluster.run_ms(500)
    stranger.say(codes.PACKET_ACK, last + 1)
    ensemble.cluster.run_ms(500)
    assert not call.done
    ensemble.until("voters have acked", lambda: call.done)
    # Whoever leads next begins the next epoch, not the ninety-first.
    ensemble.cluster.machines[leader].kill()
    ensemble.until("there is another leader", lambda: "leader" in ensemble.modes().values())
    ensemble.until("it is established", lambda: leader not in ensemble.modes())
    peer = ensemble.server(ensemble.leader()).peer
    assert peer is not None
    assert int(peer.current_epoch) == epoch + 1


@pytest.mark.interpreted
def test_10_an_observer_is_told_of_a_view_by_informandactivate_and_a_follower_by_commitandactivate() -> None:
    """Each ignores, and says so, what is meant for the other."""

    async def scenario() -> None:
        options = {"reconfigEnabled": "true", "skipACL": "yes"}
        async with AsyncEnsemble(3, 1, options=options) as ensemble, ensemble.client() as admin:
            gone = ensemble.followers[0]
            heard: dict[int, list[int]] = {}
            for sid in (1, 2, 3, 4):
                running = ensemble.members[sid].running
                assert running is not None
                role = running.server.learning
                if role is not None:
                    spy(role, heard.setdefault(sid, []))
            await admin.reconfig(leaving=str(gone))
            await ensemble.wait(
                "all know", lambda: all(gone not in voters(ensemble, sid) for sid in (1, 2, 3, 4))
            )
            assert codes.PACKET_INFORM_AND_ACTIVATE in heard[4]
            assert codes.PACKET_COMMIT_AND_ACTIVATE not in heard[4]
            follower = ensemble.followers[0]
            assert codes.PACKET_COMMIT_AND_ACTIVATE in heard[follower]
            assert codes.PACKET_INFORM_AND_ACTIVATE not in heard[follower]

    asyncio.run(scenario())


def spy(role: object, heard: list[int]) -> None:
    """Has a learner write down the kinds of packets it takes."""
    take = role.packet  # type: ignore[attr-defined]  # any learner

    def packet(p: object) -> None:
        heard.append(int(p.type))  # type: ignore[attr-defined]  # a QuorumPacket
        take(p)

    role.packet = packet  # type: ignore[attr-defined]  # instead of the method


def voters(ensemble: AsyncEnsemble, sid: int) -> list[int]:
    """Who votes, as a server knows it."""
    running = ensemble.members[sid].running
    assert running is not None
    assert running.server.peer is not None
    return running.server.peer.config.voters()
