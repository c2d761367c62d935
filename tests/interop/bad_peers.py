"""What bad peers send to the ports between servers, case by case, and what has to come of it.

A case is a conversation: a function that gets a ``Wire`` (one connection to the port) and talks.  Each names
what the server's log must say about it (a regular expression; empty where a sane server has nothing to say,
as upstream serves such a peer too).
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Sequence

from zabra.jute.primitives import Writer
from zabra.proto import codes
from zabra.proto.notification import Notification, encode_initial_message, encode_notification
from zabra.proto.packets import (
    PacketBuffer,
    encode_ack_epoch,
    encode_learner_info,
    encode_packet,
    request_packet,
)
from zabra.proto.records import QuorumPacket

GARBAGE = random.Random(1).randbytes(1024)
HTTP = b"GET /commands/stat HTTP/1.1\r\nHost: zookeeper\r\n\r\n"
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)
INT_MAX = 0x7FFFFFFF


class Wire:
    """One connection to a port; waits are bounded by ``wait_s``."""

    def __init__(self, address: tuple[str, int], wait_s: float = 20.0) -> None:
        self.sock = socket.create_connection(address, wait_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._packets = PacketBuffer()

    def send(self, data: bytes) -> None:
        """Sends; a server that has closed already is for ``closed`` to notice."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            self.failure = error

    def closed(self) -> bool:
        """Waits until the server closes; False if it does not in time."""
        try:
            while self.sock.recv(65536):
                continue
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def packet(self) -> QuorumPacket:
        """The next QuorumPacket; pings are passed over."""
        while True:
            found = self._packets.next()
            if found is None:
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionError("closed instead of a packet")
                self._packets.feed(data)
            elif found.type != codes.PACKET_PING:
                return found

    def close(self) -> None:
        """Hangs up."""
        self.sock.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


Talk = Callable[[Wire], None]


class Case:
    """``closes``: the server must end the connection; otherwise the peer does, having said its piece."""

    def __init__(self, name: str, talk: Talk, log: str = "", closes: bool = True) -> None:
        self.name = name
        self.talk = talk
        self.log = log
        self.closes = closes

    def __repr__(self) -> str:
        return self.name


def says(data: bytes) -> Talk:
    """Sends, and that is all."""
    return lambda wire: wire.send(data)


# The quorum port of a leader.


def learner_info(
    sid: int = 77, epoch: int = 0, kind: int = codes.PACKET_OBSERVERINFO, config_version: int = 0
) -> bytes:
    """FOLLOWERINFO or OBSERVERINFO."""
    return encode_packet(kind, epoch << 32, encode_learner_info(sid, config_version))


def _follower_info(sid: int) -> bytes:
    return learner_info(sid, kind=codes.PACKET_FOLLOWERINFO)


def _old_info(data: bytes) -> bytes:
    """OBSERVERINFO as older versions send it."""
    return encode_packet(codes.PACKET_OBSERVERINFO, 0, data)


def discovered(wire: Wire, sid: int = 77, zxid: int = 0) -> int:
    """A learner's first words up to its ACKEPOCH; returns the epoch."""
    wire.send(learner_info(sid))
    info = wire.packet()
    assert info.type == codes.PACKET_LEADERINFO
    wire.send(encode_packet(codes.PACKET_ACKEPOCH, zxid, encode_ack_epoch(-1)))
    return int(info.zxid) >> 32


def synchronised(wire: Wire, sid: int = 77) -> int:
    """An observer with a log as long as the leader's, up to UPTODATE; returns the epoch."""
    epoch = discovered(wire, sid, zxid=(INT_MAX << 32) | 1)
    while wire.packet().type != codes.PACKET_NEWLEADER:
        continue
    wire.send(encode_packet(codes.PACKET_ACK, epoch << 32, None))
    while wire.packet().type != codes.PACKET_UPTODATE:
        continue
    return epoch


def _after_discovery(data: bytes) -> Talk:
    def talk(wire: Wire) -> None:
        discovered(wire)
        wire.send(data)

    return talk


def _after_sync(data: bytes) -> Talk:
    def talk(wire: Wire) -> None:
        synchronised(wire)
        wire.send(data)

    return talk


def _head(kind: int, length: int) -> bytes:
    return struct.pack(">iqi", kind, 0, length)


def _leader_info_first(data: bytes) -> Talk:
    """Says its name, and then ``data`` in the place of ACKEPOCH."""

    def talk(wire: Wire) -> None:
        wire.send(learner_info())
        wire.packet()
        wire.send(data)

    return talk


def _a_byte_at_a_time(wire: Wire) -> None:
    for byte in learner_info()[:20]:
        wire.send(bytes([byte]))


def _told(first: bytes) -> Talk:
    """Says its name in a way of its own, and is told the epoch."""

    def talk(wire: Wire) -> None:
        wire.send(first)
        assert wire.packet().type == codes.PACKET_LEADERINFO

    return talk


def _another_epochs_ack(wire: Wire) -> None:
    """Synchronises, and acks the NEWLEADER of an epoch that nobody leads."""
    epoch = discovered(wire, zxid=(INT_MAX << 32) | 1)
    while wire.packet().type != codes.PACKET_NEWLEADER:
        continue
    wire.send(encode_packet(codes.PACKET_ACK, (epoch + 1) << 32, None))


def _write(session: int, op: int, body: bytes) -> bytes:
    return request_packet(session, 1, op, body, None)


REFUSED = r"learner -?\d+ at .*: (unexpected|cannot be read|expected)"
SLOW = r"learner -?\d+ at .*: did not synchronise in time"

QUORUM_CASES: Sequence[Case] = (
    Case("garbage", says(GARBAGE), REFUSED),
    Case("HTTP", says(HTTP), REFUSED),
    Case("TLS hello", says(TLS_HELLO), REFUSED),
    Case("a four-letter word and more", says(b"ruok" * 8), REFUSED),
    Case("a notification", says(b"\xff\xff\xff\xff\xff\xff\x00\x00" + bytes(40)), REFUSED),
    Case("nothing at all", says(b""), SLOW),
    Case("half a packet", says(learner_info()[:17]), SLOW),
    Case("one byte at a time, then nothing", _a_byte_at_a_time, SLOW),
    Case("PING first", says(encode_packet(codes.PACKET_PING, 0, None)), REFUSED),
    Case("ACK first", says(encode_packet(codes.PACKET_ACK, 1 << 32, None)), REFUSED),
    Case("REQUEST first", says(_write(1, codes.OP_SET_DATA, b"")), REFUSED),
    Case("LEADERINFO first", says(encode_packet(codes.PACKET_LEADERINFO, 9 << 32, b"\0\1\0\0")), REFUSED),
    Case("a packet of no kind", says(encode_packet(99, 0, None)), REFUSED),
    Case("payload of 2 GiB", says(_head(codes.PACKET_FOLLOWERINFO, INT_MAX) + bytes(8)), REFUSED),
    Case("payload of -5 bytes", says(_head(codes.PACKET_FOLLOWERINFO, -5) + bytes(8)), REFUSED),
    Case(
        "2 billion ids",
        says(_head(codes.PACKET_FOLLOWERINFO, 0) + struct.pack(">i", INT_MAX)),
        REFUSED,
    ),
    Case("LearnerInfo of 5 bytes", says(encode_packet(codes.PACKET_OBSERVERINFO, 0, bytes(5))), REFUSED),
    Case("128 MiB in one packet", says(_head(codes.PACKET_OBSERVERINFO, 1 << 27) + bytes(1 << 20)), REFUSED),
    Case("no LearnerInfo at all", _told(encode_packet(codes.PACKET_OBSERVERINFO, 0, None)), closes=False),
    Case("LearnerInfo of 8 bytes", _told(_old_info(struct.pack(">q", 77))), closes=False),
    Case("LearnerInfo of version 0", _told(_old_info(struct.pack(">qi", 77, 0))), closes=False),
    Case("a sid below zero", _told(learner_info(sid=-5)), closes=False),
    Case("an epoch that no leader can follow", _told(learner_info(epoch=INT_MAX)), closes=False),
    Case("ACK of NEWLEADER of another epoch", _another_epochs_ack, SLOW),
    Case("a newer configuration", says(learner_info(config_version=1 << 40)), r"configuration is newer"),
    Case(
        "no reply to LEADERINFO but another FOLLOWERINFO",
        _leader_info_first(learner_info()),
        REFUSED,
    ),
    Case(
        "ACKEPOCH without an epoch",
        _leader_info_first(encode_packet(codes.PACKET_ACKEPOCH, 0, None)),
        REFUSED,
    ),
    Case("a REQUEST instead of ACK NEWLEADER", _after_discovery(_write(1, codes.OP_SYNC, b"")), REFUSED),
    Case("silence instead of ACK NEWLEADER", _after_discovery(b""), SLOW),
    Case(
        "touches cut short",
        _after_sync(encode_packet(codes.PACKET_PING, 0, bytes(13))),
        REFUSED,
    ),
    Case("REVALIDATE cut short", _after_sync(encode_packet(codes.PACKET_REVALIDATE, 0, bytes(7))), REFUSED),
    Case("REQUEST cut short", _after_sync(encode_packet(codes.PACKET_REQUEST, 0, bytes(11))), REFUSED),
    Case("silence after UPTODATE", _after_sync(b""), r"learner 77 at .*: nothing heard for"),
    Case(
        "an unknown packet in broadcast",
        _after_sync(encode_packet(42, 0, None)),
        r"learner 77: unexpected UNKNOWN\(42\)",
        closes=False,
    ),
    Case(
        "an ACK of what was never proposed",
        _after_sync(encode_packet(codes.PACKET_ACK, (9 << 32) | 12345, None)),
        closes=False,
    ),
    Case(
        "a write of nobody's session",
        _after_sync(_write(0x7777, codes.OP_SET_DATA, struct.pack(">i2sii", 2, b"/x", 0, -1))),
        closes=False,
    ),
    Case(
        "a write that cannot be decoded",
        _after_sync(_write(0x7777, codes.OP_SET_DATA, b"\x7f\xff\xff\xff")),
        closes=False,
    ),
    Case("an operation of no kind", _after_sync(_write(0x7777, 4242, b"?")), closes=False),
    Case(
        "a read as a REQUEST",
        _after_sync(_write(0x7777, codes.OP_GET_DATA, b"")),
        r"learner 77: getData is not for a leader",
        closes=False,
    ),
    Case(
        "a check as a REQUEST",
        _after_sync(_write(0x7777, codes.OP_CHECK, bytes(8))),
        closes=False,
    ),
    Case("a session of no length", _after_sync(_write(0x7778, codes.OP_CREATE_SESSION, b"")), closes=False),
    Case(
        "the end of nobody's session", _after_sync(_write(0x7777, codes.OP_CLOSE_SESSION, b"")), closes=False
    ),
)
"""Said to the leader, and to a follower that relays to observers; nobody else may notice."""


# What a relay says otherwise.  Nothing goes up that no leader could read, and an observer has nothing to ack.
_AT_A_RELAY = {
    "an unknown packet in broadcast": Case("", says(b""), r"observer 77: unexpected UNKNOWN\(42\)", False),
    "an ACK of what was never proposed": Case("", says(b""), r"an observer acks nothing"),
    "a write that cannot be decoded": Case("", says(b""), REFUSED),
    "an operation of no kind": Case("", says(b""), r"operation 4242 is not forwarded"),
    "a read as a REQUEST": Case("", says(b""), r"operation 4 is not forwarded"),
}


def _at_a_relay(case: Case) -> Case:
    other = _AT_A_RELAY.get(case.name, case)
    return Case(case.name, case.talk, other.log, other.closes)


LEADER_CASES: Sequence[Case] = (
    *QUORUM_CASES,
    Case("a follower that nobody lists", _told(_follower_info(99)), closes=False),
    Case("the leader's own sid", says(_follower_info(3)), r"sid 3 is the leader's own"),
    Case("the leader's own sid, as an observer", says(learner_info(sid=3)), r"sid 3 is the leader's own"),
)
"""Said to the leader, server 3."""


MASTER_CASES: Sequence[Case] = (
    *(_at_a_relay(case) for case in QUORUM_CASES),
    Case("a follower", says(_follower_info(77)), r"only observers are taken here"),
)
"""Said to a follower that relays to observers."""


# The election port of anybody.


def hello(sid: int, text: bytes = b"127.0.0.1:1", version: int = -65536) -> bytes:
    """The initial message."""
    return struct.pack(">qqi", version, sid, len(text)) + text


def framed(message: bytes) -> bytes:
    """A message behind its length."""
    return struct.pack(">i", len(message)) + message


def vote(state: int = 0, leader: int = 1, zxid: int = 0, clock: int = 1, epoch: int = 0) -> bytes:
    """A framed notification."""
    return framed(encode_notification(Notification(state, leader, zxid, clock, epoch, 2, b"version=0")))


def from_sid(sid: int, *messages: bytes) -> Talk:
    """Says hello as ``sid``, then messages."""
    return says(hello(sid) + b"".join(messages))


HUGE = 0x7FFFFFFFFFFFFFFF
STRANGER = 250

ELECTION_CASES: Sequence[Case] = (
    Case("garbage", says(b"\xfe" + GARBAGE), r"unrecognized protocol version"),
    Case("HTTP", says(HTTP), r"invalid message length|own sid|unknown peers"),
    Case("TLS hello", says(TLS_HELLO), r"invalid message length"),
    Case("nothing at all", says(b""), r"no initial message in time"),
    Case("half a hello", says(hello(STRANGER)[:19]), r"no initial message in time"),
    Case("a hello without its address", says(hello(STRANGER)[:-3]), r"no initial message in time"),
    Case("a protocol of the future", says(hello(STRANGER, version=-65530)), r"unrecognized protocol version"),
    Case("an address of no bytes", says(hello(STRANGER, b"")), r"unreasonable buffer length: 0"),
    Case("an address of -1 bytes", says(struct.pack(">qqi", -65536, STRANGER, -1)), r"length: -1"),
    Case("an address of 2 GiB", says(struct.pack(">qqi", -65536, STRANGER, INT_MAX)), r"buffer length: 2147"),
    Case("an address without a port", says(hello(STRANGER, b"somewhere")), r"badly formed address"),
    Case("an address with a bad port", says(hello(STRANGER, b"a:b")), r"bad port number"),
    Case("a port out of range", says(hello(STRANGER, b"a:70000")), r"bad port number"),
    Case("an address that is no text", says(hello(STRANGER, b"\xff\xfe:1|\x80")), r"badly formed address"),
    Case("many colons", says(hello(STRANGER, b"::::::1:2")), r"badly formed address"),
    Case("the server's own sid", says(hello(1)), r"own sid 1"),
    Case("the ancient hello of its own sid", says(struct.pack(">q", 1)), r"own sid 1"),
    Case("a smaller sid with an address of nobody", says(hello(0)), r"dialling the smaller sid 0 back"),
    Case("a smaller sid at no host's name", says(hello(0, b"a..b:1")), r"dialling the smaller sid 0 back"),
    Case("a message of no length", from_sid(STRANGER, struct.pack(">i", 0)), r"invalid message length 0"),
    Case("a message of -1 bytes", from_sid(STRANGER, struct.pack(">i", -1)), r"invalid message length -1"),
    Case("a message of 2 GiB", from_sid(STRANGER, struct.pack(">i", INT_MAX)), r"message length 2147"),
    Case("a short vote", from_sid(STRANGER, framed(bytes(27))), r"short notification: 27", closes=False),
    Case(
        "a vote of an odd length",
        from_sid(STRANGER, framed(bytes(33))),
        r"malformed notification",
        closes=False,
    ),
    Case("a vote in the oldest form", from_sid(STRANGER, framed(bytes(28))), closes=False),
    Case("a vote without a version", from_sid(STRANGER, framed(bytes(40))), closes=False),
    Case("a state of no kind", from_sid(STRANGER, vote(state=9)), r"unknown server state 9", closes=False),
    Case(
        "a configuration of -2 bytes",
        from_sid(STRANGER, framed(struct.pack(">iqqqqii", 0, 1, 0, 1, 0, 2, -2))),
        r"invalid config length -2",
        closes=False,
    ),
    Case(
        "a configuration longer than its message",
        from_sid(STRANGER, framed(struct.pack(">iqqqqii", 0, 1, 0, 1, 0, 2, 99) + b"x")),
        r"invalid config length 99",
        closes=False,
    ),
    Case("a stranger's vote for itself", from_sid(STRANGER, vote(leader=STRANGER, clock=9)), closes=False),
    Case("a stranger that leads", from_sid(STRANGER, vote(state=2, leader=STRANGER, clock=9)), closes=False),
    Case("a voter's vote for a stranger", from_sid(3, vote(leader=STRANGER, clock=99)), closes=False),
    Case(
        "a vote of the last round",
        from_sid(3, vote(0, 3, HUGE, HUGE, HUGE)),
        closes=False,
    ),
    Case(
        "a leader of the last round",
        from_sid(3, vote(2, 3, 0, HUGE, HUGE)),
        closes=False,
    ),
    Case("a vote of a round below zero", from_sid(3, vote(leader=3, clock=-HUGE)), closes=False),
    Case("an observer without a sid", says(hello(HUGE) + vote(leader=-HUGE - 1)), closes=False),
)
"""Said to server 1 of 3; nobody else may notice."""


def ustring(text: str) -> bytes:
    """Jute's string."""
    w = Writer()
    w.write_ustring(text)
    return w.getvalue()


def initial(sid: int, port: int) -> bytes:
    """A proper hello of a peer on this host."""
    return encode_initial_message(sid, [("127.0.0.1", port)], False)
