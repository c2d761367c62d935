"""The gate cuts streams into packets, snapshots included, and holds them where it is told to."""

import pytest

from zabra.proto import codes
from zabra.proto.notification import encode_initial_message, frame_notification
from zabra.proto.packets import encode_packet
from zabra.sim.events import Scheduler
from zabra.sim.gate import (
    ACKLD,
    RAW_BYTES,
    SNAPSHOT_BYTES,
    SNAPSHOT_END,
    Cutter,
    Gate,
    Splitter,
    VoteDoubler,
)
from zabra.sim.network import End, Network
from zabra.sim.prng import Prng

PORT = 2888


class Listener:
    """An ``Owner`` that keeps what it is sent."""

    def __init__(self) -> None:
        self.data = b""
        self.end: End | None = None
        self.lost = 0

    def accepts(self, port: int) -> bool:
        return True

    def link_made(self, end: End, port: int, dial_id: int) -> None:
        self.end = end
        end.owner = self

    def link_data(self, end: End, data: bytes) -> None:
        self.data += data

    def link_lost(self, end: End) -> None:
        self.lost += 1

    def dial_failed(self, dial_id: int) -> None:
        raise AssertionError("somebody listens")

    def link_congested(self, end: End, congested: bool) -> None:
        raise AssertionError("so little does not congest")


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_stream_is_cut_into_packets_and_a_snapshots_bytes(size: int) -> None:
    snapshot = b"nodes" * 20 + b"\x00\x00\x00\x0aBenWasHere"
    stream = (
        encode_packet(codes.PACKET_SNAP, 7, None)
        + snapshot
        + encode_packet(codes.PACKET_PROPOSAL, 8, b"txn")
        + encode_packet(codes.PACKET_NEWLEADER, 1 << 32, None)
    )
    splitter = Splitter()
    pieces = [piece for at in range(0, len(stream), size) for piece in splitter.feed(stream[at : at + size])]
    assert b"".join(piece.raw for piece in pieces) == stream
    of_snapshot = [piece for piece in pieces if piece.kind in (SNAPSHOT_BYTES, SNAPSHOT_END)]
    kinds = [piece.kind for piece in pieces if piece not in of_snapshot]
    assert kinds == [codes.PACKET_SNAP, codes.PACKET_PROPOSAL, codes.PACKET_NEWLEADER]
    assert b"".join(piece.raw for piece in of_snapshot) == snapshot
    assert [piece.kind for piece in of_snapshot].index(SNAPSHOT_END) == len(of_snapshot) - 1


def test_what_is_no_packet_goes_on_as_it_is() -> None:
    splitter = Splitter()
    pieces = splitter.feed(bytes(range(1, 60))) + splitter.feed(b"more")
    assert [piece.kind for piece in pieces] == [RAW_BYTES, RAW_BYTES]
    assert b"".join(piece.raw for piece in pieces) == bytes(range(1, 60)) + b"more"


def connected() -> tuple[Gate, Network, Listener, Listener]:
    network = Network(Scheduler(), Prng(1, "network"))
    gate = network.gate = Gate(network, (PORT,))
    near, far = Listener(), Listener()
    network.owners[2] = far
    network.dial(1, near, PORT, [2], 1, 1000)
    network.scheduler.run_until(10_000)
    assert near.end is not None
    return gate, network, near, far


def test_a_direction_stops_at_a_kind_and_what_is_behind_it_waits() -> None:
    gate, network, near, far = connected()
    assert near.end is not None
    gate.stop(1, 2, frozenset({ACKLD}))
    first = encode_packet(codes.PACKET_ACK, 1 << 32 | 1, None)
    ackld = encode_packet(codes.PACKET_ACK, 1 << 32, None)
    network.send(near.end, first + ackld + first)
    network.scheduler.run_until(20_000)
    assert far.data == first
    front = gate.front(1, 2)
    assert front is not None
    assert front.is_a(ACKLD)
    assert not gate.let(1, 2, codes.PACKET_PROPOSAL)
    assert gate.let(1, 2, ACKLD)
    network.scheduler.run_until(30_000)
    assert far.data == first + ackld + first
    network.send(near.end, ackld)
    network.scheduler.run_until(40_000)
    assert far.data == first + ackld + first
    gate.open_all()
    assert gate.inject(1, 2, first)
    assert not gate.inject(2, 3, first)
    network.scheduler.run_until(50_000)
    assert far.data == first + ackld + first + ackld + first


def test_held_bytes_are_lost_with_their_connection() -> None:
    gate, network, near, far = connected()
    assert near.end is not None
    gate.stop(1, 2, frozenset({codes.PACKET_ACK}))
    network.send(near.end, encode_packet(codes.PACKET_ACK, 1, None))
    network.close(near.end)
    gate.open(1, 2)
    network.scheduler.run_until(50_000)
    assert far.data == b""


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_connection_breaks_right_behind_a_packet(size: int) -> None:
    _, network, near, far = connected()
    assert near.end is not None
    cutter = network.gate = Cutter(network, (PORT,))
    snapshot = b"nodes" * 20 + b"\x00\x00\x00\x0aBenWasHere"
    whole = encode_packet(codes.PACKET_SNAP, 7, None) + snapshot
    rest = encode_packet(codes.PACKET_NEWLEADER, 1 << 32, None)
    cutter.kind = SNAPSHOT_END
    stream = whole + rest
    for at in range(0, len(stream), size):
        network.send(near.end, stream[at : at + size])
    network.scheduler.run_until(20_000)
    assert far.data == whole
    assert (near.lost, far.lost) == (1, 1)
    assert cutter.kind is None
    assert network.counts["cut behind a packet"] == 1


def test_so_many_packets_pass_before_it() -> None:
    _, network, near, far = connected()
    assert near.end is not None
    cutter = network.gate = Cutter(network, (PORT,))
    ack = encode_packet(codes.PACKET_ACK, 1 << 32 | 1, None)
    network.send(near.end, ack[:7])
    cutter.kind, cutter.skip = codes.PACKET_ACK, 2
    network.send(near.end, ack[7:] + ack * 4)
    network.send(near.end, ack)
    network.scheduler.run_until(20_000)
    assert far.data == ack * 3
    assert (near.lost, far.lost) == (1, 1)


def doubled(chance: float) -> tuple[VoteDoubler, Network]:
    network = Network(Scheduler(), Prng(1, "network"))
    doubler = VoteDoubler(network, PORT, Prng(1, "votes"), chance)
    network.gate, network.tap = doubler, doubler.heard
    return doubler, network


def connect(network: Network) -> tuple[Listener, Listener]:
    near, far = Listener(), Listener()
    network.owners[2] = far
    network.dial(1, near, PORT, [2], 1, 1000)
    network.scheduler.run_until(network.scheduler.now_us + 10_000)
    return near, far


def test_a_vote_that_is_heard_and_sent_again_over_the_next_connection_comes_twice() -> None:
    _, network = doubled(0.0)
    hello = encode_initial_message(1, [("10.0.0.1", PORT)], False)
    votes = [frame_notification(bytes([number]) * 40) for number in (1, 2)]
    # The dialer's second connection brings what it last sent on the first, and so does the other's answer.
    said = [hello[:5], hello[5:] + votes[0] + votes[1][:7], votes[1][7:]], [hello + votes[1], votes[0]]
    answers = [votes[1]], [votes[1], votes[0]]
    for mine, theirs in zip(said, answers, strict=True):
        near, far = connect(network)
        assert near.end is not None
        assert far.end is not None
        for end, parts in ((near.end, mine), (far.end, theirs)):
            for part in parts:
                network.send(end, part)
                network.scheduler.run_until(network.scheduler.now_us + 10_000)
    assert network.counts == {"votes twice": 2}


def test_a_connection_breaks_behind_a_vote_and_behind_nothing_else() -> None:
    doubler, network = doubled(1.0)
    near, far = connect(network)
    assert near.end is not None
    network.send(near.end, b"a vote")
    network.scheduler.run_until(20_000)
    assert (far.data, near.lost, far.lost) == (b"a vote", 1, 1)
    doubler.port = PORT + 1
    near, far = connect(network)
    assert near.end is not None
    network.send(near.end, b"a packet")
    network.scheduler.run_until(40_000)
    assert (far.data, near.lost, far.lost) == (b"a packet", 0, 0)
