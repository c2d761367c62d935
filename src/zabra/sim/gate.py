"""Gate: the packets between servers, let through one by one.

For directed schedules: a rule for a direction between two servers says at which kinds of packets its stream
stops; whatever comes behind the one that is held waits too, as it must on a TCP connection.  ``let`` passes
what is at the front up to a given kind.  Bytes that the gate holds when a connection ends are lost with it.
"""

from collections import deque
from typing import Final

from zabra.jute.primitives import JuteError
from zabra.proto import codes
from zabra.proto.notification import InitialMessage, decode_initial_message
from zabra.proto.packets import PacketBuffer
from zabra.proto.records import QuorumPacket
from zabra.sim.network import End, Network
from zabra.sim.prng import Prng

# The kind of a piece of a snapshot's stream, which is no packet.
SNAPSHOT_BYTES: Final = -1001
# Its last piece.
SNAPSHOT_END: Final = -1003
# Nor are these.
RAW_BYTES: Final = -1002
# Behind the snapshot's stream: a string of this text.
_SNAPSHOT_END: Final = b"\x00\x00\x00\x0aBenWasHere"
# The ack of NEWLEADER, which on the wire is an ACK like any other.
ACKLD: Final = 1000

KINDS: Final = {name: kind for kind, name in codes.PACKET_NAMES.items()} | {"ACKLD": ACKLD}


class Piece:
    """A packet, or a part of a snapshot, and its bytes."""

    __slots__ = ("kind", "raw", "zxid")

    def __init__(self, kind: int, zxid: int, raw: bytes) -> None:
        self.kind = kind
        self.zxid = zxid
        self.raw = raw

    def is_a(self, kind: int) -> bool:
        """Whether this is of ``kind``; an ack of counter 0 is of two kinds."""
        if kind == ACKLD:
            return self.kind == codes.PACKET_ACK and self.zxid & 0xFFFFFFFF == 0
        return self.kind == kind


class Splitter:
    """Cuts the bytes of one direction into pieces."""

    def __init__(self) -> None:
        self._buffer = PacketBuffer()
        self._bytes = b""
        self._in_snapshot = False
        self._tail = b""
        # Not packets at all: passed as they come.
        self._is_raw = False

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that ``data`` has completed."""
        if self._is_raw:
            return [Piece(RAW_BYTES, 0, data)]
        out: list[Piece] = []
        while data:
            if self._in_snapshot:
                data = self._snapshot_part(data, out)
                continue
            self._bytes += data
            self._buffer.feed(data)
            data = b""
            packet = self._next(out)
            while packet is not None:
                if packet.type == codes.PACKET_SNAP:
                    self._in_snapshot = True
                    self._tail = b""
                    self._buffer.take_raw()
                    data, self._bytes = self._bytes, b""
                    break
                packet = self._next(out)
        return out

    def _next(self, out: list[Piece]) -> QuorumPacket | None:
        before = self._buffer.buffered()
        try:
            packet = self._buffer.next()
        except JuteError:
            self._is_raw = True
            out.append(Piece(RAW_BYTES, 0, self._bytes))
            return None
        if packet is None:
            return None
        size = before - self._buffer.buffered()
        out.append(Piece(packet.type, packet.zxid, self._bytes[:size]))
        self._bytes = self._bytes[size:]
        return packet

    def _snapshot_part(self, data: bytes, out: list[Piece]) -> bytes:
        """Takes what of ``data`` belongs to the snapshot; returns what comes behind it."""
        seen = self._tail + data
        at = seen.find(_SNAPSHOT_END)
        if at < 0:
            self._tail = seen[-len(_SNAPSHOT_END) :]
            out.append(Piece(SNAPSHOT_BYTES, 0, data))
            return b""
        end = at + len(_SNAPSHOT_END) - len(self._tail)
        self._in_snapshot = False
        out.append(Piece(SNAPSHOT_END, 0, data[:end]))
        return data[end:]


class Cutter:
    """Breaks a connection right behind a packet (``Network.gate``); what was sent so far still arrives."""

    def __init__(self, network: Network, ports: tuple[int, ...]) -> None:
        self.network = network
        self.ports = ports
        # Behind which kind of packet, and how many of those to let pass before.
        self.kind: int | None = None
        self.skip = 0
        self._splitters: dict[int, Splitter] = {}
        # Of each stream, bytes sent that are not a whole packet yet.
        self._begun: dict[int, int] = {}

    def sent(self, end: End, data: bytes) -> bool:
        """Takes what is cut; leaves the rest to the network."""
        if end.port not in self.ports:
            return False
        serial = end.serial
        splitter = self._splitters.get(serial)
        if splitter is None:
            splitter = self._splitters[serial] = Splitter()
        begun = self._begun.get(serial, 0)
        pieces = splitter.feed(data)
        whole = 0
        for piece in pieces:
            whole += len(piece.raw)
            if self.kind is None or not piece.is_a(self.kind):
                continue
            self.skip -= 1
            if self.skip < 0:
                self.kind = None
                self.network.count("cut behind a packet")
                self.network.send_on(end, data[: whole - begun])
                self.network.break_behind(end)
                return True
        self._begun[serial] = begun + len(data) - whole
        return False


class VoteDoubler:
    """Breaks election connections behind what is sent (``Network.gate``), and counts votes that come twice.

    ``chance`` is how often it does; ``others`` stood in the network's way before.

    The protocol sends its newest vote again over a connection made anew, whether the old one has swallowed
    it or not; so a vote comes twice where a connection broke behind it.  What arrives is heard at the
    network's ``tap``.
    """

    def __init__(self, network: Network, port: int, prng: Prng, chance: float) -> None:
        self.network = network
        self.port = port
        self.prng = prng
        self.chance = chance
        self.others = network.gate
        self._buffers: dict[int, bytes] = {}
        # Streams whose first bytes say who dials: not those that had begun before.
        self._oldest = network.newest_serial() + 1
        self._greeted: dict[int, None] = {}
        # By sending and receiving host: over which stream its last vote came, and the vote.
        self._last: dict[tuple[int, int], tuple[int, bytes]] = {}

    def sent(self, end: End, data: bytes) -> bool:
        """Takes what nothing shall come behind."""
        if end.port != self.port:
            return self.others is not None and self.others.sent(end, data)
        if not self.prng.chance(self.chance):
            return False
        self.network.send_on(end, data)
        self.network.break_behind(end)
        return True

    def heard(self, serial: int, host: int, target: int, port: int, data: bytes) -> None:
        """Bytes that are handed over."""
        if port != self.port:
            return
        buffer = self._without_hello(serial, self._buffers.get(serial, b"") + data)
        while len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
            vote, buffer = buffer[:end], buffer[end:]
            before = self._last.get((host, target))
            if before is not None and before[0] != serial and before[1] == vote:
                self.network.count("votes twice")
            self._last[host, target] = (serial, vote)
        self._buffers[serial] = buffer

    def _without_hello(self, serial: int, buffer: bytes) -> bytes:
        """What a stream has said behind the initial message, with which a dialer's (even serial) begins."""
        if serial < self._oldest or serial % 2 or serial in self._greeted:
            return buffer
        hello = decode_initial_message(buffer)
        if not isinstance(hello, InitialMessage):
            return buffer
        self._greeted[serial] = None
        return buffer[hello.size :]


class _Stream:
    """One direction of one connection."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.splitter = Splitter()
        self.held: deque[Piece] = deque()


class Gate:
    """Stands in a network's way (``Network.gate``) on ``ports``.

    ``stops`` are the kinds at which every stream stops; ``rules`` those of single directions, which come
    first.
    """

    def __init__(self, network: Network, ports: tuple[int, ...]) -> None:
        self.network = network
        self.ports = ports
        self.stops: frozenset[int] = frozenset()
        self.rules: dict[tuple[int, int], frozenset[int]] = {}
        self._streams: dict[int, _Stream] = {}

    def sent(self, end: End, data: bytes) -> bool:
        """Takes what ``end`` sends; False if it is none of the gate's business."""
        if end.port not in self.ports:
            return False
        stream = self._streams.get(end.serial)
        if stream is None:
            stream = self._streams[end.serial] = _Stream(end)
        stream.held.extend(stream.splitter.feed(data))
        self._drain(stream)
        return True

    def _drain(self, stream: _Stream) -> None:
        end = stream.end
        stops = self.rules.get((end.host, end.peer_host), self.stops)
        held = stream.held
        while held and end.alive and not any(held[0].is_a(kind) for kind in stops):
            self.network.send_on(end, held.popleft().raw)

    def stop(self, source: int, target: int, kinds: frozenset[int]) -> None:
        """From now on the direction stops at each of ``kinds``."""
        self.rules[(source, target)] = kinds

    def open(self, source: int, target: int) -> None:
        """The direction stops at nothing any more."""
        self.rules[(source, target)] = frozenset()
        for stream in self._of(source, target):
            self._drain(stream)

    def open_all(self) -> None:
        """Nothing stops any more."""
        self.stops = frozenset()
        self.rules = {}
        for stream in list(self._streams.values()):
            self._drain(stream)

    def _of(self, source: int, target: int) -> list[_Stream]:
        return [
            stream
            for stream in self._streams.values()
            if (stream.end.host, stream.end.peer_host) == (source, target) and stream.end.alive
        ]

    def front(self, source: int, target: int) -> Piece | None:
        """What is held first in a direction."""
        for stream in self._of(source, target):
            if stream.held:
                return stream.held[0]
        return None

    def let(self, source: int, target: int, kind: int, zxid: int = -1) -> bool:
        """Passes what is held up to and including the first of ``kind``; False if there is none."""
        for stream in self._of(source, target):
            found = [
                i for i, piece in enumerate(stream.held) if piece.is_a(kind) and zxid in (-1, piece.zxid)
            ]
            if found:
                for _ in range(found[0] + 1):
                    self.network.send_on(stream.end, stream.held.popleft().raw)
                self._drain(stream)
                return True
        return False

    def inject(self, source: int, target: int, packet: bytes) -> bool:
        """Sends a packet that the source did not send; False if there is no connection."""
        streams = self._of(source, target)
        for stream in streams:
            self.network.send_on(stream.end, packet)
        return bool(streams)
