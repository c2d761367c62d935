"""Wiretap: the packets between servers as lines that people read, taken from the simulated links.

Words are upstream's: ``3 > 2 PROPOSAL 0x100000001 setData /a``.  PINGs are left out.
"""

from typing import Final

from zabra.jute.primitives import JuteError, Reader
from zabra.proto import codes
from zabra.proto.packets import PacketBuffer, decode_ack_epoch, decode_request
from zabra.proto.records import QuorumPacket
from zabra.proto.txn import TxnEntry, decode_txn

# Behind the snapshot's stream: a string of this text.
_SNAPSHOT_END: Final = b"\x00\x00\x00\x0aBenWasHere"


def describe_txn(entry: TxnEntry) -> str:
    """Operation and path of a txn."""
    name = codes.OP_NAMES.get(entry.header.type, str(entry.header.type))
    path = getattr(entry.record, "path", "")
    return f"{name} {path}".rstrip()


def describe(packet: QuorumPacket) -> str:
    """One packet; "" for those not worth a line."""
    kind = packet.type
    name = codes.PACKET_NAMES.get(kind, str(kind))
    zxid = f"0x{packet.zxid & 0xFFFFFFFFFFFFFFFF:x}"
    if kind in (codes.PACKET_PING, codes.PACKET_REVALIDATE):
        return ""
    if kind in (codes.PACKET_PROPOSAL, codes.PACKET_INFORM):
        return f"{name} {zxid} {describe_txn(decode_txn(packet.data or b''))}"
    if kind == codes.PACKET_REQUEST:
        request = decode_request(packet.data)
        return f"{name} {codes.OP_NAMES.get(request.op, str(request.op))}"
    if kind in (codes.PACKET_FOLLOWERINFO, codes.PACKET_OBSERVERINFO):
        return f"{name} acceptedEpoch={packet.zxid >> 32}"
    if kind in (codes.PACKET_LEADERINFO, codes.PACKET_NEWLEADER):
        return f"{name} epoch={packet.zxid >> 32}"
    if kind == codes.PACKET_ACKEPOCH:
        return f"{name} lastZxid={zxid} currentEpoch={decode_ack_epoch(packet.data)}"
    if kind in (codes.PACKET_UPTODATE, codes.PACKET_SYNC):
        return name
    return f"{name} {zxid}"


class Stream:
    """One direction of one connection between a learner and its master."""

    def __init__(self) -> None:
        self._buffer = PacketBuffer()
        self._in_snapshot = False
        self._tail = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines for what has become complete with ``data``."""
        out: list[str] = []
        if self._in_snapshot:
            data = self._skip_snapshot(data)
        while not self._in_snapshot:
            self._buffer.feed(data)
            data = b""
            try:
                packet = self._buffer.next()
                if packet is None:
                    break
                line = describe(packet)
            except JuteError as error:
                out.append(f"unreadable: {error}")
                break
            if line:
                out.append(line)
            if packet.type == codes.PACKET_SNAP:
                self._in_snapshot = True
                data = self._skip_snapshot(self._buffer.take_raw())
        return out

    def _skip_snapshot(self, data: bytes) -> bytes:
        """Drops the snapshot's stream; returns what follows it."""
        self._tail += data
        at = self._tail.find(_SNAPSHOT_END)
        if at < 0:
            self._tail = self._tail[-len(_SNAPSHOT_END) :]
            return b""
        rest = self._tail[at + len(_SNAPSHOT_END) :]
        self._in_snapshot = False
        self._tail = b""
        return rest


class Wiretap:
    """Listens to every connection to a quorum or observer-master port; ``lines`` grows."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self.ports = ports
        self.lines: list[str] = []
        self._streams: dict[int, Stream] = {}

    def delivered(self, serial: int, source: int, target: int, port: int, data: bytes) -> None:
        """Bytes of the end ``serial`` have reached its peer."""
        if port not in self.ports:
            return
        stream = self._streams.get(serial)
        if stream is None:
            stream = self._streams[serial] = Stream()
        self.lines += [f"{source} > {target} {line}" for line in stream.feed(data)]


def path_of(body: bytes) -> str:
    """The path with which most requests begin."""
    return Reader(body).read_ustring()
