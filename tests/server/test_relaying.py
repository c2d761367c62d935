"""Relays: observers under followers and under each other, on simulated ensembles; and their parts."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.clusters import Asker, Busy, Ensemble

from zabra.client import calls
from zabra.jute.primitives import Writer
from zabra.proto import codes
from zabra.proto.packets import (
    PacketBuffer,
    encode_ack_epoch,
    encode_learner_info,
    encode_packet,
    request_packet,
)
from zabra.proto.records import CreateSessionTxn, CreateTxn, QuorumPacket, TxnHeader
from zabra.proto.txn import TxnEntry
from zabra.server import learner_handler
from zabra.server.ready import PORT_OBSERVER_MASTER
from zabra.server.roles.relaying import LEARNERS_MAX, RETAINED_OVERHEAD_BYTES, RetainedTxns
from zabra.server.server import Server
from zabra.server.settings import Settings
from zabra.sim.cluster import (
    OBSERVER_MASTER_PORT,
    RELAYS_FOLLOWERS,
    RELAYS_NONE,
    RELAYS_TREE,
    RELAYS_UNLISTED,
    Shape,
)
from zabra.sim.model import OPEN
from zabra.tree.snapshot_walk import TreeLoader

VOTERS = [1, 2, 3]


def followers_relay(observers: int, **options: object) -> Ensemble:
    """Three voters, and observers that look for followers."""
    shape = Shape(VOTERS, list(range(4, 4 + observers)), relays=RELAYS_FOLLOWERS)
    return Ensemble(shape, **options).start()  # type: ignore[arg-type]  # passed on


def tree(observers: int, relays: int = RELAYS_TREE, **options: object) -> Ensemble:
    """Three voters, one observer under one of them, and the others under each other, two under each."""
    shape = Shape(VOTERS, list(range(4, 4 + observers)), relays=relays)
    return Ensemble(shape, **options).start_in_order()  # type: ignore[arg-type]  # passed on


def in_step(ensemble: Ensemble) -> Callable[[], bool]:
    """Whether everybody has every txn."""

    def check() -> bool:
        return len({server.tree.last_processed_zxid for server in ensemble.servers().values()}) == 1

    return check


# --- who stands under whom ----------------------------------------------------------------------------------


def test_observers_stand_under_followers_and_never_under_the_leader() -> None:
    ensemble = followers_relay(4)
    leader = ensemble.leader()
    assert ensemble.below(leader) == sorted(ensemble.followers())
    assert sorted(one for sid in ensemble.followers() for one in ensemble.below(sid)) == [4, 5, 6, 7]


def test_the_leader_of_a_tree_knows_of_its_followers_only() -> None:
    ensemble = tree(7)
    assert ensemble.below(ensemble.leader()) == sorted(ensemble.followers())
    assert ensemble.master_of(4) in ensemble.followers()
    assert [ensemble.master_of(sid) for sid in range(5, 11)] == [4, 4, 5, 5, 6, 6]


def test_without_the_option_nobody_relays() -> None:
    ensemble = Ensemble(Shape(VOTERS, [4], relays=RELAYS_NONE)).start()
    assert ensemble.master_of(4) == ensemble.leader()
    assert all(server.relay() is None for server in ensemble.servers().values())


def test_what_leaders_send_does_not_depend_on_the_size_of_the_tree() -> None:
    sent = []
    for observers in (1, 7):
        ensemble = tree(observers)
        client = ensemble.client(ensemble.leader())
        handlers = list(ensemble.server(ensemble.leader()).leading.handlers.values())  # type: ignore[union-attr]
        before = sum(int(one.packets_sent) for one in handlers)
        for number in range(20):
            ensemble.ask(client, calls.create(f"/n{number}", b"x" * 100))
        pings = sum(int(one.packets_sent) for one in handlers) - before - 20 * 2 * len(handlers)
        sent.append(len(handlers))
        assert 0 <= pings <= 20
    assert sent == [2, 2]


# --- what clients of observers see --------------------------------------------------------------------------


@pytest.mark.parametrize("relays", [RELAYS_FOLLOWERS, RELAYS_TREE, RELAYS_UNLISTED])
def test_writes_reads_and_syncs_through_every_level(relays: int) -> None:
    ensemble = tree(4, relays)
    deepest = ensemble.client(7)
    assert ensemble.ask(deepest, calls.create("/a", b"7")) == "/a"
    newest = b"7"
    for sid in (4, 5, 6):
        client = ensemble.client(sid)
        ensemble.ask(client, calls.sync("/a"))
        assert ensemble.ask(client, calls.get_data("/a"))[0] == newest
        newest = b"%d" % sid
        ensemble.ask(client, calls.set_data("/a", newest))
        ensemble.ask(deepest, calls.sync("/a"))
        assert ensemble.ask(deepest, calls.get_data("/a"))[0] == newest


def test_a_session_moves_between_levels_and_keeps_its_ephemerals() -> None:
    ensemble = tree(4)
    client = ensemble.client(7)
    ensemble.ask(client, calls.create("/mine", b"", flags=1))
    for sid in (5, 1, 6, 4):
        client.servers = [sid]
        client.move()
        ensemble.until(f"the session is at {sid}", client.is_connected)
        owner = ensemble.ask(client, calls.exists("/mine")).ephemeral_owner
        assert owner == client.session.session_id
        ensemble.ask(client, calls.set_data("/mine", b"%d" % sid))
    assert client.sessions == 1


def test_a_silent_session_lives_while_its_client_does() -> None:
    """Touches travel up the tree with PINGs: 10 s of timeout, 60 s of nothing but the client's own pings."""
    ensemble = tree(4)
    client = ensemble.client(7)
    ensemble.ask(client, calls.create("/mine", b"", flags=1))
    ensemble.cluster.run_ms(60_000)
    assert client.is_connected()
    assert ensemble.ask(client, calls.exists("/mine")).ephemeral_owner == client.session.session_id
    assert client.expired == 0
    client.abandon()
    others = ensemble.client(1)
    ensemble.until("it expires", lambda: "/mine" not in ensemble.server(1).tree.nodes, 60_000)
    assert ensemble.ask(others, calls.get_children("/"))


def test_syncs_of_clients_and_of_observers_are_answered_in_their_order() -> None:
    ensemble = tree(2)
    upper, lower = ensemble.client(4), ensemble.client(5)
    writer = ensemble.client(ensemble.leader(), Busy("/w"))
    syncs = []
    for _ in range(30):
        for client in (upper, lower):
            call = calls.sync("/")
            client.ask(call)
            syncs.append(call)
        ensemble.cluster.run_ms(1)
    ensemble.until("all syncs are answered", lambda: all(call.done for call in syncs))
    assert all(call.err == 0 for call in syncs)
    assert isinstance(writer.program, Busy)
    assert writer.program.written > 0


# --- relays that end ----------------------------------------------------------------------------------------


def test_observers_of_a_relay_that_dies_go_elsewhere_by_diff_and_the_leader_sees_none_of_it() -> None:
    ensemble = tree(3)
    assert [ensemble.master_of(sid) for sid in (5, 6)] == [4, 4]
    leader = ensemble.server(ensemble.leader())
    assert leader.leading is not None
    known = list(leader.leading.handlers)
    writer = ensemble.client(ensemble.leader(), Busy("/w"))
    ensemble.cluster.run_ms(500)
    snapshots = sum(syncer.snap_count for syncer in relay_syncers(ensemble))
    ensemble.cluster.machines[4].kill()
    ensemble.until("they serve nobody", lambda: not {5, 6} & set(ensemble.modes()), 5_000)
    ensemble.until("they serve under others", lambda: {5, 6} <= set(ensemble.modes()), 5_000)
    assert {ensemble.master_of(sid) for sid in (5, 6)} <= set(ensemble.followers())
    assert list(leader.leading.handlers) == known
    assert sum(syncer.snap_count for syncer in relay_syncers(ensemble)) == snapshots
    writer.abandon()
    ensemble.until("all have everything", in_step(ensemble))


def relay_syncers(ensemble: Ensemble) -> list:  # type: ignore[type-arg]
    """The syncers of all relays."""
    return [relay.syncer for server in ensemble.servers().values() if (relay := server.relay()) is not None]


@pytest.mark.parametrize("relays", [RELAYS_FOLLOWERS, RELAYS_TREE, RELAYS_UNLISTED])
def test_a_new_leader_has_all_observers_back(relays: int) -> None:
    ensemble = tree(5, relays)
    first = ensemble.leader()
    ensemble.cluster.machines[first].kill()

    def all_back() -> bool:
        modes = ensemble.modes()
        return "leader" in modes.values() and sorted(modes) == sorted({1, 2, 3, 4, 5, 6, 7, 8} - {first})

    ensemble.until("everybody serves under another leader", all_back, 10_000)
    # Nobody was driven to the leader by the time without one.
    assert ensemble.below(ensemble.leader()) == ensemble.followers()


def test_a_relay_cut_off_from_its_master_lets_its_observers_go() -> None:
    ensemble = tree(3)
    for voter in VOTERS:
        ensemble.cluster.network.block(4, voter)
        ensemble.cluster.network.block(voter, 4)
    ensemble.until("it serves nobody", lambda: 4 not in ensemble.modes(), 20_000)
    ensemble.until("they left it", lambda: all(ensemble.master_of(sid) in VOTERS for sid in (5, 6)), 20_000)
    ensemble.cluster.network.heal()
    ensemble.until("it is back", lambda: 4 in ensemble.modes(), 20_000)


def test_an_observer_ahead_of_its_new_master_waits_instead_of_being_cut() -> None:
    ensemble = followers_relay(1)
    old = ensemble.master_of(4)
    (slow,) = [sid for sid in ensemble.followers() if sid != old]
    leader = ensemble.leader()
    client = ensemble.client(leader)
    now_us = ensemble.cluster.scheduler.now_us
    # The other follower hears nothing for a while, but not long enough to be dropped.
    ensemble.cluster.network.clog(leader, slow, now_us + 700_000)
    for number in range(5):
        ensemble.ask(client, calls.create(f"/n{number}", b""))
    ensemble.until("the observer has them", lambda: "/n4" in ensemble.server(4).tree.nodes)
    ahead = ensemble.server(4).tree.last_processed_zxid
    assert ensemble.server(slow).tree.last_processed_zxid < ahead
    observer = ensemble.server(4)
    ensemble.cluster.machines[old].kill()

    def waits() -> bool:
        relay = ensemble.server(slow).relay()
        return relay is not None and len(relay.ahead) == 1

    ensemble.until("it waits at the slow one", waits)
    ensemble.until("it serves", lambda: ensemble.modes().get(4) == "observer")
    relay = ensemble.server(slow).relay()
    assert relay is not None
    assert (relay.syncer.trunc_count, relay.syncer.snap_count, relay.syncer.diff_count) == (0, 0, 1)
    assert observer.tree.last_processed_zxid >= ahead


def test_with_no_relay_left_the_leader_is_asked() -> None:
    def only_observers_know(sid: int, settings: Settings) -> None:
        settings.observer_master_port = OBSERVER_MASTER_PORT if sid == 4 else 0

    ensemble = Ensemble(Shape(VOTERS, [4], relays=RELAYS_FOLLOWERS), change=only_observers_know).start(20_000)
    assert ensemble.master_of(4) == ensemble.leader()


def test_syncs_at_once_are_bounded() -> None:
    def one_at_a_time(sid: int, settings: Settings) -> None:
        settings.max_concurrent_snap_syncs = 1
        settings.max_concurrent_diff_syncs = 1

    ensemble = followers_relay(6, change=one_at_a_time)
    for sid in ensemble.followers():
        relay = ensemble.server(sid).relay()
        assert relay is not None
        assert not relay.syncer.snaps
        assert not relay.syncer.diffs


# --- at the relay's door ------------------------------------------------------------------------------------


class Door:
    """A connection to a server's observer-master port, byte by byte."""

    conn_id = 9000

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.sid = ensemble.followers()[0]
        self.server: Server = ensemble.server(self.sid)
        self.buffer = PacketBuffer()
        self.closed = False
        self.conn_id = Door.conn_id
        Door.conn_id += 1
        self.server.connection_made(self.conn_id, PORT_OBSERVER_MASTER, "10.0.0.99", 1)

    def say(self, data: bytes) -> list[QuorumPacket]:
        """Sends bytes; the packets that come back at once."""
        self.server.data_received(self.conn_id, data)
        relay = self.server.relay()
        assert relay is not None
        relay.end_turn()
        out = self.server.out
        for conn_id, sent in list(out.sends):
            if conn_id == self.conn_id:
                self.buffer.feed(sent)
                out.sends.remove((conn_id, sent))
        if self.conn_id in out.closes:
            self.closed = True
        packets = []
        while (packet := self.buffer.next()) is not None:
            packets.append(packet)
        return packets

    def greet(self, zxid: int) -> list[QuorumPacket]:
        """As an observer at ``zxid``, up to NEWLEADER."""
        info = encode_learner_info(99, 0)
        (epoch,) = self.say(encode_packet(codes.PACKET_OBSERVERINFO, 0, info))
        assert epoch.type == codes.PACKET_LEADERINFO
        assert epoch.zxid == self.server.peer.current_epoch << 32  # type: ignore[union-attr]
        return self.say(encode_packet(codes.PACKET_ACKEPOCH, zxid, encode_ack_epoch(-1)))


@pytest.fixture
def door() -> Door:
    ensemble = followers_relay(0)
    client = ensemble.client(1)
    ensemble.ask(client, calls.create("/a", b""))
    ensemble.ask(client, calls.create("/b", b""))
    ensemble.until("all have everything", in_step(ensemble))
    return Door(ensemble)


def test_an_observer_is_brought_up_to_date_and_told_the_view(door: Door) -> None:
    last = door.server.tree.last_processed_zxid
    packets = door.greet(last - 1)
    kinds = [packet.type for packet in packets]
    assert kinds == [
        codes.PACKET_DIFF,
        codes.PACKET_PROPOSAL,
        codes.PACKET_COMMIT,
        codes.PACKET_NEWLEADER,
    ]
    assert packets[1].zxid == last
    assert packets[3].data == door.server.peer.config.format().encode()  # type: ignore[union-attr]
    epoch_zxid = packets[3].zxid
    (up_to_date,) = door.say(encode_packet(codes.PACKET_ACK, epoch_zxid, None))
    assert up_to_date.type == codes.PACKET_UPTODATE
    # The ack of UPTODATE is that of NEWLEADER again, and changes nothing.
    assert door.say(encode_packet(codes.PACKET_ACK, epoch_zxid, None)) == []
    assert not door.closed


def test_a_snapshot_is_the_tree_at_the_zxid_that_it_names(door: Door) -> None:
    """A txn applied in the turn in which SNAP was written was in it: Apache's learners saw wrong digests."""
    server = door.server
    server.settings.force_snapshot_sync = True
    relay = server.relay()
    assert relay is not None
    info = encode_learner_info(99, 0)
    assert len(door.say(encode_packet(codes.PACKET_OBSERVERINFO, 0, info))) == 1
    named, digest = server.tree.last_processed_zxid, server.tree.digest
    ack = encode_packet(codes.PACKET_ACKEPOCH, 0, encode_ack_epoch(-1))
    server.data_received(door.conn_id, ack)
    handler = relay.handlers[door.conn_id]
    server.tree.process_txn(
        TxnHeader(1, 1, named + 1, 1, codes.OP_CREATE), CreateTxn("/later", b"", OPEN, False, 3)
    )
    assert server.tree.digest != digest
    handler.flush()
    sent = b"".join(data for conn_id, data in server.out.sends if conn_id == door.conn_id)
    head = encode_packet(codes.PACKET_SNAP, named, None)
    assert sent.startswith(head)
    loader = TreeLoader()
    loader.feed(sent[len(head) :])
    assert loader.done
    assert loader.tree.digest == digest


@pytest.mark.parametrize(
    "first",
    [
        encode_packet(codes.PACKET_FOLLOWERINFO, 0, encode_learner_info(1, 0)),
        encode_packet(codes.PACKET_OBSERVERINFO, 0, encode_learner_info(99, 1 << 40)),
        encode_packet(codes.PACKET_ACKEPOCH, 0, encode_ack_epoch(1)),
        encode_packet(codes.PACKET_PING, 0, b""),
        encode_packet(codes.PACKET_OBSERVERINFO, 0, b"abc"),
        b"\x00\x00\x00\x10" + bytes(8) + b"\x7f\xff\xff\xff" + bytes(4),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["follower", "newer view", "ack before info", "ping", "short info", "endless packet", "http"],
)
def test_whoever_is_no_observer_is_turned_away(door: Door, first: bytes) -> None:
    assert door.say(first) == []
    assert door.closed
    door.ensemble.check()


@pytest.mark.parametrize(
    "packet",
    [
        encode_packet(codes.PACKET_ACK, 0x100000001, None),
        request_packet(1, 1, 999, b"", []),
        request_packet(1, 1, codes.OP_CREATE, b"\x00\x00", []),
        request_packet(1, 1, codes.OP_GET_DATA, struct.pack(">i2s?", 2, b"/a", False), []),
        request_packet(1, 1, codes.OP_PING, b"", []),
        encode_packet(codes.PACKET_REQUEST, -1, b"short"),
        encode_packet(codes.PACKET_REVALIDATE, -1, b"short"),
        encode_packet(codes.PACKET_PING, 0, b"odd"),
    ],
    ids=[
        *("ack of a txn", "unknown op", "malformed create", "read", "ping request"),
        *("short request", "short revalidate", "touches"),
    ],
)
def test_an_observer_that_misbehaves_is_cut_off_and_nothing_goes_up(door: Door, packet: bytes) -> None:
    packets = door.greet(door.server.tree.last_processed_zxid)
    door.say(encode_packet(codes.PACKET_ACK, packets[-1].zxid, None))
    learning = door.server.learning
    assert learning is not None
    sent_before = list(learning.out)
    assert door.say(packet) == []
    assert door.closed
    assert learning.out == sent_before


def test_an_ack_of_the_epoch_without_an_epoch_is_none(door: Door) -> None:
    (told,) = door.say(encode_packet(codes.PACKET_OBSERVERINFO, 0, encode_learner_info(99, 0)))
    assert told.type == codes.PACKET_LEADERINFO
    assert door.say(encode_packet(codes.PACKET_ACKEPOCH, 0, None)) == []
    assert door.closed


def test_there_is_a_limit_to_connections(door: Door) -> None:
    doors = [Door(door.ensemble) for _ in range(LEARNERS_MAX)]
    assert not any(one.conn_id in door.server.out.closes for one in doors[:-1])
    assert doors[-1].conn_id in door.server.out.closes
    relay = door.server.relay()
    assert relay is not None
    assert len(relay.handlers) == LEARNERS_MAX
    # They never say anything: their time is limited as well.
    door.ensemble.until("they are gone", lambda: not relay.handlers, 60_000)


def test_a_silent_observer_is_dropped(door: Door) -> None:
    packets = door.greet(door.server.tree.last_processed_zxid)
    door.say(encode_packet(codes.PACKET_ACK, packets[-1].zxid, None))
    relay = door.server.relay()
    assert relay is not None
    handler = relay.handlers[door.conn_id]
    assert handler.state == learner_handler.BROADCAST
    door.ensemble.until("it is dropped", lambda: door.conn_id not in relay.handlers, 60_000)


# --- retained txns ------------------------------------------------------------------------------------------


def entry_at(zxid: int, size: int) -> TxnEntry:
    header = TxnHeader(1, 0, zxid, 0, codes.OP_CREATE_SESSION)
    return TxnEntry(header, CreateSessionTxn(1), None, b"x" * size)


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(0, 70), st.integers(0, 5000))
def test_retained_txns_are_the_newest_that_fit(sizes: list[int], asked: int, limit: int) -> None:
    retained = RetainedTxns(limit)
    entries = [entry_at(zxid, size) for zxid, size in enumerate(sizes, 1)]
    for entry in entries:
        retained.add(entry)
    kept: list[TxnEntry] = []
    room = limit
    for entry in reversed(entries):
        room -= len(entry.raw) + RETAINED_OVERHEAD_BYTES
        if room < 0:
            break
        kept.insert(0, entry)
    assert len(retained) == len(kept)
    zxids = [int(entry.header.zxid) for entry in kept]
    assert retained.reaches(asked) == (bool(zxids) and zxids[0] <= asked)
    before = [zxid for zxid in zxids if zxid <= asked]
    first = before[-1] if before else 0
    assert [int(entry.header.zxid) for entry in retained.since(asked)] == [z for z in zxids if z >= first]


def test_many_retained_txns_are_cut_off_for_good() -> None:
    retained = RetainedTxns(10 * (1 + RETAINED_OVERHEAD_BYTES))
    for zxid in range(1, 5001):
        retained.add(entry_at(zxid, 1))
    assert len(retained) == 10
    assert [int(entry.header.zxid) for entry in retained.since(0)] == list(range(4991, 5001))


def test_observers_far_behind_get_a_diff_from_what_a_relay_has_retained() -> None:
    def little_memory(sid: int, settings: Settings) -> None:
        settings.commit_log_count = 5
        # No history from the log on disk.
        settings.snapshot_size_factor = -1.0

    ensemble = followers_relay(1, change=little_memory)
    client = ensemble.client(1)
    ensemble.ask(client, calls.create("/a", b""))
    ensemble.until("all have everything", in_step(ensemble))
    ensemble.cluster.machines[4].kill()
    for number in range(50):
        ensemble.ask(client, calls.set_data("/a", b"%d" % number))
    assert ensemble.cluster.machines[4].start()
    ensemble.until("it serves", lambda: ensemble.modes().get(4) == "observer")
    counts = [(syncer.diff_count, syncer.snap_count) for syncer in relay_syncers(ensemble)]
    assert sum(diffs for diffs, _ in counts) >= 1
    relay = ensemble.server(ensemble.master_of(4)).relay()
    assert relay is not None
    assert ensemble.ask(ensemble.client(4, Asker()), calls.get_data("/a"))[0] == b"49"


def test_a_createsession_body_is_passed_up_as_it_came() -> None:
    body = Writer()
    body.write_int(4000)
    packet = request_packet(77, 0, codes.OP_CREATE_SESSION, body.getvalue(), None)
    ensemble = followers_relay(0)
    door = Door(ensemble)
    packets = door.greet(door.server.tree.last_processed_zxid)
    door.say(encode_packet(codes.PACKET_ACK, packets[-1].zxid, None))
    learning = door.server.learning
    assert learning is not None
    door.say(packet)
    assert learning.out[-1] == packet
