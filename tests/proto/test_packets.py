"""QuorumPackets: recorded bytes, any chunking, the way round a snapshot, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.jute.primitives import EndOfData, JuteError
from zabra.proto import codes, packets
from zabra.proto.records import Id, QuorumPacket

# Read from Apache's own traffic.
VECTORS = [
    (
        "00000010000000000000000000000014000000000000000300010000" + "0000000000000000" + "ffffffff",
        QuorumPacket(codes.PACKET_OBSERVERINFO, 0, packets.encode_learner_info(3, 0), None),
    ),
    (
        "0000001100000001000000000000000400010000ffffffff",
        QuorumPacket(codes.PACKET_LEADERINFO, 0x100000000, packets.encode_leader_info(), None),
    ),
    (
        "0000001200000001000000050000000400000001ffffffff",
        QuorumPacket(codes.PACKET_ACKEPOCH, 0x100000005, packets.encode_ack_epoch(1), None),
    ),
    (
        "000000030000000100000000ffffffffffffffff",
        QuorumPacket(codes.PACKET_ACK, 0x100000000, None, None),
    ),
    (
        "00000006ffffffffffffffff0000000c0100001a844f000000002710ffffffff",
        QuorumPacket(codes.PACKET_REVALIDATE, -1, packets.encode_revalidate(0x0100001A844F0000, 10000), None),
    ),
]


@pytest.mark.parametrize(("hex_bytes", "packet"), VECTORS)
def test_recorded_bytes(hex_bytes: str, packet: QuorumPacket) -> None:
    raw = bytes.fromhex(hex_bytes)
    assert packets.packet_bytes(packet) == raw
    buffer = packets.PacketBuffer()
    buffer.feed(raw)
    assert buffer.next() == packet
    assert buffer.next() is None
    assert buffer.buffered() == 0


def test_recorded_payloads() -> None:
    touches = bytes.fromhex("0100001a844f0000000027100200001a85dd000000002710")
    table = [(0x0100001A844F0000, 10000), (0x0200001A85DD0000, 10000)]
    assert packets.decode_touches(touches) == table
    assert packets.encode_touches(table) == touches
    assert packets.encode_touches([]) == b""
    assert packets.decode_touches(None) == []


def test_learner_info_in_its_three_lengths() -> None:
    whole = packets.encode_learner_info(7, 9)
    info = packets.decode_learner_info(whole)
    assert info is not None
    assert (info.serverid, info.protocol_version, info.config_version) == (7, 0x10000, 9)
    info = packets.decode_learner_info(whole[:12])
    assert info is not None
    assert (info.serverid, info.protocol_version, info.config_version) == (7, 0x10000, -1)
    info = packets.decode_learner_info(whole[:8])
    assert info is not None
    assert (info.serverid, info.protocol_version, info.config_version) == (7, 1, -1)
    assert packets.decode_learner_info(None) is None
    with pytest.raises(EndOfData):
        packets.decode_learner_info(whole[:7])


def test_request() -> None:
    raw = packets.request_packet(5, 6, codes.OP_CREATE2, b"body", [Id("ip", "127.0.0.1")])
    buffer = packets.PacketBuffer()
    buffer.feed(raw)
    packet = buffer.next()
    assert packet is not None
    assert packet.zxid == -1
    assert packet.authinfo == [Id("ip", "127.0.0.1")]
    request = packets.decode_request(packet.data)
    assert (request.session_id, request.cxid, request.op, request.body) == (5, 6, 15, b"body")
    assert "op=15" in repr(request)


def test_small_payloads_round_trip() -> None:
    assert packets.decode_leader_info(packets.encode_leader_info()) == packets.PROTOCOL_VERSION
    assert packets.decode_ack_epoch(packets.encode_ack_epoch(-1)) == -1
    assert packets.decode_revalidate(packets.encode_revalidate(-5, 4000)) == (-5, 4000)
    assert packets.decode_revalidate_answer(packets.encode_revalidate_answer(3, True)) == (3, True)
    assert packets.decode_revalidate_answer(packets.encode_revalidate_answer(3, False)) == (3, False)
    assert packets.decode_activate(packets.encode_activate(2)) == 2
    assert packets.decode_inform_and_activate(packets.encode_inform_and_activate(2, b"txn")) == (2, b"txn")


@pytest.mark.parametrize(
    "decode",
    [
        packets.decode_leader_info,
        packets.decode_ack_epoch,
        packets.decode_revalidate,
        packets.decode_revalidate_answer,
        packets.decode_request,
        packets.decode_activate,
        packets.decode_inform_and_activate,
    ],
)
def test_missing_and_short_payloads_are_refused(decode: object) -> None:
    assert callable(decode)
    for data in (None, b"", b"\0\0\0"):
        with pytest.raises(JuteError):
            decode(data)


# Java writes characters beyond the BMP as it does not read them, so only those within it come back.
words = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=5)
ids = st.builds(Id, words, words)
any_packet = st.builds(
    QuorumPacket,
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.binary(max_size=50),
    st.none() | st.lists(ids, max_size=3),
)


@given(st.lists(any_packet, max_size=6), st.lists(st.integers(1, 30), min_size=1, max_size=10))
def test_any_chunking_gives_the_same_packets(sent: list[QuorumPacket], sizes: list[int]) -> None:
    stream = b"".join(packets.packet_bytes(p) for p in sent)
    buffer = packets.PacketBuffer()
    got = []
    position = 0
    turn = 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        turn += 1
        buffer.feed(stream[position : position + size])
        position += size
        while (packet := buffer.next()) is not None:
            got.append(packet)
    assert got == sent
    assert buffer.buffered() == 0


def test_the_way_round_a_snapshot() -> None:
    snap = packets.encode_packet(codes.PACKET_SNAP, 5, None)
    after = packets.encode_packet(codes.PACKET_NEWLEADER, 6, b"x")
    buffer = packets.PacketBuffer()
    buffer.feed(snap + b"snapshot bytes" + after[:3])
    packet = buffer.next()
    assert packet is not None
    assert packet.type == codes.PACKET_SNAP
    raw = buffer.take_raw()
    assert raw == b"snapshot bytes" + after[:3]
    assert buffer.buffered() == 0
    assert buffer.take_raw() == b""
    buffer.feed(after[:3])
    assert buffer.next() is None
    buffer.feed(after[3:])
    packet = buffer.next()
    assert packet is not None
    assert packet.type == codes.PACKET_NEWLEADER


@pytest.mark.parametrize("length", ["fffffffe", "7fffffff", "00000065"])
def test_unreasonable_data_is_refused_before_it_is_waited_for(length: str) -> None:
    buffer = packets.PacketBuffer(100)
    buffer.feed(bytes.fromhex("00000003" + "00" * 8 + length + "00000000"))
    with pytest.raises(JuteError, match="unreasonable length"):
        buffer.next()


@pytest.mark.parametrize("count", ["fffffffe", "7fffffff", "00020001"])
def test_unreasonable_authinfo_is_refused(count: str) -> None:
    buffer = packets.PacketBuffer()
    buffer.feed(bytes.fromhex("00000003" + "00" * 8 + "ffffffff" + count))
    with pytest.raises(JuteError, match="unreasonable vector length"):
        buffer.next()


def test_authinfo_is_bounded_as_a_whole() -> None:
    buffer = packets.PacketBuffer()
    one = bytes.fromhex("00000001" + "61") + (1000).to_bytes(4, "big") + b"b" * 1000
    buffer.feed(bytes.fromhex("00000003" + "00" * 8 + "ffffffff" + "0000ffff"))
    while buffer.buffered() <= packets.AUTHINFO_BYTES_MAX:
        assert buffer.next() is None
        buffer.feed(one)
    with pytest.raises(JuteError, match="authinfo exceeds"):
        buffer.next()


def test_a_big_packet_is_not_decoded_before_it_is_whole() -> None:
    raw = packets.encode_packet(codes.PACKET_PROPOSAL, 1, b"z" * 500_000)
    buffer = packets.PacketBuffer()
    for start in range(0, 500_000, 1000):
        buffer.feed(raw[start : start + 1000])
        assert buffer.next() is None
    buffer.feed(raw[500_000:])
    packet = buffer.next()
    assert packet is not None
    assert packet.data == b"z" * 500_000


def test_describe() -> None:
    assert (
        packets.describe_packet(QuorumPacket(2, -1, b"ab", None)) == "PROPOSAL zxid=0xffffffffffffffff data=2"
    )
    assert packets.describe_packet(QuorumPacket(99, 0, None, None)) == "UNKNOWN(99) zxid=0x0 data=-1"
