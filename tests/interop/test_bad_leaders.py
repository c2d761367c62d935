"""A bad leader, and a bad election: one real member, the other two voters played by the test.

The real server is LOOKING; peers 2 and 3 connect to its election port and have it follow 3, whose quorum
port is the test's.  Whatever the leader then says, the member leaves it with a reason in its log, stays
alive and follows the next one.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import Report
from tests.interop.bad_peers import GARBAGE, HUGE, Wire, initial, vote
from tests.interop.members import CFG, END_PORT, FIRST_PORT, ZABRA, make_member
from tests.interop.processes import free_ports, poll

from zabra.jute.primitives import Writer
from zabra.proto import codes
from zabra.proto.packets import PacketBuffer, encode_leader_info, encode_packet
from zabra.proto.records import CreateTxn, QuorumPacket, TxnHeader
from zabra.sim.model import OPEN

LOOKING, FOLLOWING, LEADING = 0, 1, 2
TICKS = {**CFG, "tickTime": 200, "initLimit": 10, "syncLimit": 5, "4lw.commands.whitelist": "*"}


class Prey:
    """Server 1, and what plays 2 and 3."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(10, FIRST_PORT, END_PORT)
        lines = {f"server.{sid}": f"127.0.0.1:{ports[2 * sid]}:{ports[2 * sid + 1]}" for sid in (1, 2, 3)}
        self.ports = ports
        self.server = make_member(
            ZABRA, 1, {**TICKS, "myid": 1, "clientPort": ports[0], **lines}, folder / "member"
        )
        self.door = socket.create_server(("127.0.0.1", ports[6]))
        self.door.settimeout(20)
        self.round = 1
        self.epoch = 0
        self.server.launch()
        poll("the member answers", 30, lambda: self.server.four_letter("srvr") or None)

    def election(self, sid: int) -> Wire:
        """A connection of peer ``sid`` to the member's election port."""

        def attempt() -> Wire | None:
            try:
                return Wire(("127.0.0.1", self.ports[3]))
            except ConnectionRefusedError:
                return None

        wire = poll("the election port is open", 20, attempt)
        wire.send(initial(sid, self.ports[2 * sid + 1]))
        return wire

    def follow(self) -> Learner:
        """Has the member follow 3; its connection, once it has introduced itself.

        Votes are repeated: a member that has not left its last leader yet only answers them.
        """
        peers = {sid: self.election(sid) for sid in (2, 3)}
        self.door.settimeout(0.1)

        def attempt() -> socket.socket | None:
            for sid, wire in peers.items():
                state = LEADING if sid == 3 else FOLLOWING
                wire.send(vote(state, leader=3, clock=HUGE >> 8, epoch=self.epoch))
            try:
                return self.door.accept()[0]
            except TimeoutError:
                return None

        learner = Learner(poll("the member follows", 20, attempt))
        for wire in peers.values():
            wire.close()
        info = learner.packet()
        assert info.type == codes.PACKET_FOLLOWERINFO
        self.epoch = max(self.epoch, int(info.zxid) >> 32)
        return learner

    def log(self) -> str:
        return self.server.log_path.read_text(errors="replace")

    def wait_log(self, pattern: str, start: int) -> None:
        """Waits until what the log says from ``start`` on matches."""
        poll(f"the log says {pattern!r}", 10, lambda: re.search(pattern, self.log()[start:]) or None)


class Learner:
    """The member as its leader sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(20)
        self._packets = PacketBuffer()

    def send(self, *packets: bytes) -> None:
        self.sock.sendall(b"".join(packets))

    def close(self) -> None:
        self.sock.close()

    def packet(self) -> QuorumPacket:
        while (found := self._packets.next()) is None:
            data = self.sock.recv(65536)
            assert data, "the member hangs up"
            self._packets.feed(data)
        return found

    def left(self) -> bool:
        """Whether the member hangs up; what it still says is passed over."""
        try:
            while self.sock.recv(65536):
                continue
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


def leader_info(epoch: int, version: bytes = b"\0\1\0\0") -> bytes:
    return encode_packet(codes.PACKET_LEADERINFO, epoch << 32, version)


def packet(kind: int, zxid: int = 0, data: bytes | None = None) -> bytes:
    return encode_packet(kind, zxid, data)


def txn(zxid: int, path: str = "/x") -> bytes:
    """The bytes of a create, without a digest."""
    w = Writer()
    TxnHeader(1, 1, zxid, 1, codes.OP_CREATE).encode(w)
    CreateTxn(path, b"", OPEN, False, 1).encode(w)
    return w.getvalue()


def proposal(zxid: int, raw: bytes | None = None) -> bytes:
    return packet(codes.PACKET_PROPOSAL, zxid, txn(zxid) if raw is None else raw)


class Play:
    """One leadership of the test's: up to the epoch (``discovered``), the ack of NEWLEADER, or broadcast."""

    def __init__(self, prey: Prey, learner: Learner) -> None:
        self.prey = prey
        self.learner = learner
        self.epoch = prey.epoch + 1
        self.last = 0

    def discovered(self) -> int:
        """The member's last zxid, from its ACKEPOCH."""
        self.learner.send(leader_info(self.epoch))
        answer = self.learner.packet()
        assert answer.type == codes.PACKET_ACKEPOCH
        self.prey.epoch = self.epoch
        self.last = int(answer.zxid)
        return self.last

    def in_sync(self) -> None:
        """DIFF of nothing, NEWLEADER, its ack."""
        last = self.discovered()
        zxid = self.epoch << 32
        self.learner.send(packet(codes.PACKET_DIFF, last), packet(codes.PACKET_NEWLEADER, zxid))
        assert self.learner.packet().zxid == zxid

    def broadcasting(self) -> int:
        """Up to date; the first zxid of the epoch."""
        self.in_sync()
        self.learner.send(packet(codes.PACKET_UPTODATE, -1))
        assert self.learner.packet().type == codes.PACKET_ACK
        return (self.epoch << 32) + 1


Move = Callable[[Play], None]


def _first(data: Callable[[Play], bytes]) -> Move:
    return lambda play: play.learner.send(data(play))


def _then(data: Callable[[Play, int], bytes]) -> Move:
    """After the epoch was acked; gets the member's last zxid."""

    def move(play: Play) -> None:
        last = play.discovered()
        play.learner.send(data(play, last))

    return move


def _broadcast(data: Callable[[int], bytes]) -> Move:
    """In broadcast; gets the first zxid of the epoch."""

    def move(play: Play) -> None:
        zxid = play.broadcasting()
        play.learner.send(data(zxid))

    return move


def _diff(last: int) -> bytes:
    return packet(codes.PACKET_DIFF, last)


def _half_a_snapshot(play: Play) -> None:
    """A snapshot that begins well and stops: what was in the tree before must come back."""
    play.discovered()
    play.learner.send(packet(codes.PACKET_SNAP, 5), struct.pack(">i", 1) + struct.pack(">qi", 7, 4000))
    play.learner.close()


READS = "the leader sent what cannot be read"
SYNC = "synchronisation failed"

CASES: list[tuple[str, Move, str]] = [
    ("garbage", _first(lambda play: GARBAGE), READS + "|expected LEADERINFO"),
    ("a payload of 2 GiB", _first(lambda play: struct.pack(">iqiq", 17, 0, 0x7FFFFFFF, 0)), READS),
    ("PING first", _first(lambda play: packet(codes.PACKET_PING)), "expected LEADERINFO"),
    ("NEWLEADER first", _first(lambda play: packet(codes.PACKET_NEWLEADER, 1 << 32)), "expected LEADERINFO"),
    ("an old protocol", _first(lambda play: leader_info(play.epoch, b"\0\0\0\1")), "older protocol"),
    ("LEADERINFO without a version", _first(lambda play: packet(17, play.epoch << 32)), READS),
    ("an epoch below zero", _first(lambda play: leader_info(-5)), "less than the accepted epoch"),
    ("silence", _first(lambda play: b""), "nothing heard from the leader for 2000 ms"),
    ("an unknown packet", _then(lambda play, last: packet(77)), SYNC),
    ("UPTODATE at once", _then(lambda play, last: packet(codes.PACKET_UPTODATE, -1)), SYNC),
    ("NEWLEADER without a sync", _then(lambda play, last: packet(10, play.epoch << 32)), SYNC),
    (
        "NEWLEADER of another epoch",
        _then(lambda play, last: _diff(last) + packet(codes.PACKET_NEWLEADER, (play.epoch + 1) << 32)),
        SYNC,
    ),
    ("a DIFF with a hole", _then(lambda play, last: _diff(last) + proposal(last + 2)), SYNC),
    (
        "a proposal without a txn",
        _then(lambda play, last: _diff(last) + packet(codes.PACKET_PROPOSAL, last + 1)),
        SYNC,
    ),
    (
        "a txn that is none",
        _then(
            lambda play, last: (
                _diff(last)
                + proposal((play.epoch << 32) + 1, b"\xff" * 40)
                + packet(codes.PACKET_COMMIT, (play.epoch << 32) + 1)
                + packet(codes.PACKET_NEWLEADER, play.epoch << 32)
            )
        ),
        f"{READS}|{SYNC}",
    ),
    ("a commit of nothing", _then(lambda play, last: _diff(last) + packet(codes.PACKET_COMMIT, 9)), SYNC),
    ("a TRUNC below all", _then(lambda play, last: packet(codes.PACKET_TRUNC, -7)), SYNC),
    ("a snapshot of garbage", _then(lambda play, last: packet(codes.PACKET_SNAP, 5) + GARBAGE), READS),
    (
        "a snapshot of 2 billion sessions",
        _then(lambda play, last: packet(codes.PACKET_SNAP, 5) + struct.pack(">i", 0x7FFFFFFF) + bytes(64)),
        "nothing heard from the leader for 2000 ms",
    ),
    ("half a snapshot", _half_a_snapshot, "connection to the leader is gone"),
    ("two NEWLEADERs", lambda play: _two_new_leaders(play), SYNC),
    ("a proposal with a hole", _broadcast(lambda zxid: proposal(zxid + 5)), "does not follow"),
    ("a txn that is none in broadcast", _broadcast(lambda zxid: proposal(zxid, b"\xff" * 30)), READS),
    ("no txn in broadcast", _broadcast(lambda zxid: packet(2, zxid)), "without a txn"),
    (
        "a commit out of order",
        _broadcast(lambda zxid: proposal(zxid) + proposal(zxid + 1) + packet(codes.PACKET_COMMIT, zxid + 1)),
        "is the next proposal",
    ),
    ("REVALIDATE cut short", _broadcast(lambda zxid: packet(codes.PACKET_REVALIDATE, 0, b"123")), READS),
    ("silence in broadcast", _broadcast(lambda zxid: b""), "nothing heard from the leader for 1000 ms"),
]


def _two_new_leaders(play: Play) -> None:
    last = play.discovered()
    one = packet(codes.PACKET_NEWLEADER, play.epoch << 32)
    play.learner.send(packet(codes.PACKET_DIFF, last), one, one)


@pytest.fixture(scope="module")
def prey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prey]:
    made = Prey(tmp_path_factory.mktemp("prey"))
    yield made
    made.server.stop()
    made.door.close()


@pytest.fixture(scope="module")
def counted(reliability: Report) -> Iterator[dict[str, int]]:
    found = {"leaders": 0, "elections": 0}
    yield found
    reliability("R12", "bad-leaders", **found)


@pytest.mark.slow
@pytest.mark.parametrize(("move", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_bad_leader_is_left(prey: Prey, move: Move, reason: str, counted: dict[str, int]) -> None:
    before = len(prey.log())
    learner = prey.follow()
    move(Play(prey, learner))
    assert learner.sock.fileno() < 0 or learner.left(), "the member stays with this leader"
    learner.close()
    prey.wait_log(rf"no more: .*({reason})", before)
    assert prey.server.running, prey.server.log_tail()
    # It is ready for the next one, and serves under it.
    good = prey.follow()
    Play(prey, good).broadcasting()
    poll("the member serves", 10, lambda: prey.server.mode() == "follower" or None)
    good.close()
    counted["leaders"] += 1


ELECTIONS: list[tuple[str, list[tuple[int, bytes]]]] = [
    ("the last round", [(2, vote(FOLLOWING, 3, 0, HUGE)), (3, vote(LEADING, 3, 0, HUGE))]),
    ("the last zxid and epoch", [(3, vote(LOOKING, 3, HUGE, 1, HUGE))]),
    ("rounds below zero", [(2, vote(LOOKING, 2, 0, -HUGE - 1)), (3, vote(FOLLOWING, 3, 0, -1))]),
    ("a leader that nobody follows", [(3, vote(LEADING, 3, 0, 5))]),
    ("followers of one who does not lead", [(2, vote(FOLLOWING, 3, 0, 5)), (3, vote(LOOKING, 3, 0, 5))]),
    ("votes for strangers", [(2, vote(LOOKING, 99, 0, 1)), (3, vote(LEADING, 99, 0, 1))]),
    ("observers' votes", [(2, vote(3, -HUGE - 1, -HUGE - 1, 1)), (3, vote(3, 3, 0, 1))]),
]


@pytest.mark.slow
@pytest.mark.parametrize("words", [case[1] for case in ELECTIONS], ids=[case[0] for case in ELECTIONS])
def test_a_bad_election_is_survived(
    prey: Prey, words: list[tuple[int, bytes]], counted: dict[str, int]
) -> None:
    peers = {sid: prey.election(sid) for sid in (2, 3)}
    for sid, data in words:
        peers[sid].send(data)
    for wire in peers.values():
        wire.close()
    assert prey.server.four_letter("srvr"), prey.server.log_tail()
    good = prey.follow()
    Play(prey, good).broadcasting()
    good.close()
    assert prey.server.running, prey.server.log_tail()
    counted["elections"] += 1


def test_the_leaders_own_words_are_understood() -> None:
    """The helper speaks as the shipped code does."""
    assert leader_info(7) == encode_packet(codes.PACKET_LEADERINFO, 7 << 32, encode_leader_info())
