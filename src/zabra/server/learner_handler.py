"""LearnerHandler: a learner as its master (leader, or whoever relays) sees it.

Which packet is legal depends on the phase the connection is in; what to do about it is the master's
business (``LearnerMaster``).  Source: upstream ``LearnerHandler``.
"""

from typing import Final

from mypy_extensions import i64, trait

from zabra.jute.primitives import JuteError, Writer
from zabra.proto import codes
from zabra.proto.packets import PacketBuffer, describe_packet, encode_packet
from zabra.proto.records import QuorumPacket
from zabra.server.host import Host
from zabra.server.views import LearnerView
from zabra.tree.snapshot_walk import SnapshotWalk

# Where the connection stands.
DISCOVERY: Final = 1
SYNCHRONIZATION: Final = 2
BROADCAST: Final = 3
CLOSED: Final = 4

SNAPSHOT_END_MARK: Final = "BenWasHere"
# Bytes kept for one learner that does not take them; beyond that it is cut off and must come again.
BACKLOG_MAX_BYTES: Final = 256 * 1024 * 1024
# The first slice of a snapshot for a learner, as so many ordinary ones.
FIRST_SLICE_TURNS: Final = 5


@trait
class LearnerMaster:
    """What a handler tells whoever it works for."""

    def learner_info(self, handler: "LearnerHandler", packet: QuorumPacket) -> None:
        """FOLLOWERINFO or OBSERVERINFO: the first packet."""
        raise AssertionError("not reached")

    def ack_epoch(self, handler: "LearnerHandler", packet: QuorumPacket) -> None:
        """ACKEPOCH."""
        raise AssertionError("not reached")

    def acked(self, handler: "LearnerHandler", zxid: i64) -> None:
        """ACK of NEWLEADER, UPTODATE or a proposal."""
        raise AssertionError("not reached")

    def learner_packet(self, handler: "LearnerHandler", packet: QuorumPacket) -> None:
        """REQUEST, PING or REVALIDATE, once the learner is in BROADCAST."""
        raise AssertionError("not reached")

    def touch_handler(self, handler: "LearnerHandler") -> None:
        """The handler has, or may send, something."""
        raise AssertionError("not reached")

    def snapshot_sent(self, handler: "LearnerHandler") -> None:
        """The snapshot, and what came behind it, are written."""
        raise AssertionError("not reached")

    def handler_closed(self, handler: "LearnerHandler") -> None:
        """The connection is over."""
        raise AssertionError("not reached")


class LearnerHandler:
    """One learner's connection; ``sid`` is known from its first packet."""

    __slots__ = (
        "backlog",
        "backlog_bytes",
        "buffer",
        "config_version",
        "congested",
        "conn_id",
        "connected_ms",
        "forwarding",
        "host",
        "introduced",
        "is_observer",
        "last_heard_ms",
        "last_zxid",
        "master",
        "new_leader_sent",
        "out",
        "packets_received",
        "packets_sent",
        "peer_host",
        "peer_port",
        "requests",
        "sid",
        "state",
        "sync_kind",
        "told_epoch",
        "unacked_ms",
        "unacked_zxid",
        "walk",
    )

    def __init__(
        self, host: Host, master: LearnerMaster, conn_id: i64, peer_host: str, peer_port: i64
    ) -> None:
        self.host: Host = host
        self.master: LearnerMaster = master
        self.conn_id: i64 = conn_id
        self.peer_host: str = peer_host
        self.peer_port: i64 = peer_port
        self.state: i64 = DISCOVERY
        # Known once it is introduced; 0 is as good a sid as any.
        self.sid: i64 = 0
        self.introduced: bool = False
        self.is_observer: bool = False
        self.config_version: i64 = 0
        self.connected_ms: i64 = host.now_ms
        self.last_heard_ms: i64 = host.now_ms
        self.last_zxid: i64 = 0
        self.told_epoch: bool = False
        self.sync_kind: str = ""
        # It is sent whatever is proposed or committed from now on.
        self.forwarding: bool = False
        self.new_leader_sent: bool = False
        self.buffer: PacketBuffer = PacketBuffer(host.settings.longest_packet())
        self.out: Writer = Writer()
        # A snapshot on its way, and what must come behind it.
        self.walk: SnapshotWalk | None = None
        self.backlog: list[bytes] = []
        self.backlog_bytes: i64 = 0
        self.congested: bool = False
        # The oldest proposal it has not acked, and since when.
        self.unacked_zxid: i64 = 0
        self.unacked_ms: i64 = 0
        self.packets_received: i64 = 0
        self.packets_sent: i64 = 0
        self.requests: i64 = 0

    def describe(self) -> LearnerView:
        """What an operator may see of it."""
        host = self.host
        view = LearnerView(
            self.sid, f"{self.peer_host}:{self.peer_port}", host.wall_ms - (host.now_ms - self.connected_ms)
        )
        view.queued_packets = len(self.backlog)
        view.queued_bytes = self.backlog_bytes
        view.packets_received = self.packets_received
        view.packets_sent = self.packets_sent
        view.requests = self.requests
        view.last_zxid = self.last_zxid
        return view

    def reset_stats(self) -> None:
        """Forgets what was counted."""
        self.packets_received = 0
        self.packets_sent = 0
        self.requests = 0

    # --- out ----------------------------------------------------------------------------------------------

    def send(self, kind: i64, zxid: i64, data: bytes | None) -> None:
        """One packet, at the end of the turn, behind a snapshot that is on its way."""
        self.send_raw(encode_packet(kind, zxid, data))

    def send_raw(self, packet: bytes) -> None:
        """As ``send``, for a packet that is encoded already (and shared with other learners)."""
        self.packets_sent += 1
        if self.walk is not None:
            self.backlog.append(packet)
            self.backlog_bytes += len(packet)
            if self.backlog_bytes > BACKLOG_MAX_BYTES:
                self.close(f"more than {BACKLOG_MAX_BYTES} bytes wait behind its snapshot")
        else:
            self.out.write_raw(packet)

    def flush(self) -> None:
        """The bytes of this turn, and some more of a snapshot."""
        if self.state == CLOSED:
            return
        walk = self.walk
        if walk is not None and not self.congested:
            self.next_slice(walk)
        if self.out.size() > 0:
            self.host.send(self.conn_id, self.out.getvalue())
            self.out.truncate(0)

    def begin_snapshot(self) -> None:
        """SNAP was written: the tree follows, and only then what is sent meanwhile.

        A tree that fits into the first slice is sent as it is at the zxid that SNAP names.  Of a larger one
        the later slices are newer, as all of it is upstream; until it has caught up, an Apache learner takes
        that for wrong digests.
        """
        walk = SnapshotWalk(self.host.tree)
        self.walk = walk
        self.next_slice(walk)

    def next_slice(self, walk: SnapshotWalk) -> None:
        """Serialises the next nodes, or ends the snapshot."""
        slice_nodes = self.host.settings.snapshot_nodes_per_turn
        chunk = walk.step(FIRST_SLICE_TURNS * slice_nodes if walk.nodes_written == 0 else slice_nodes)
        self.host.wake_by(self.host.now_ms)
        if chunk is not None:
            self.out.write_raw(chunk)
            return
        self.out.write_ustring(SNAPSHOT_END_MARK)
        self.walk = None
        backlog = self.backlog
        self.backlog = []
        self.backlog_bytes = 0
        for packet in backlog:
            self.out.write_raw(packet)
        self.master.snapshot_sent(self)

    def close(self, reason: str) -> None:
        """Ends the connection."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.forwarding = False
            self.walk = None
            self.backlog = []
            self.host.info(f"learner {self.sid} at {self.peer_host}:{self.peer_port}: {reason}")
            self.host.close_conn(self.conn_id)
            self.master.handler_closed(self)

    def lost(self) -> None:
        """The connection is gone."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.forwarding = False
            self.walk = None
            self.backlog = []
            self.host.info(f"learner {self.sid} at {self.peer_host}:{self.peer_port} is gone")
            self.master.handler_closed(self)

    # --- in -----------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes from the learner."""
        self.last_heard_ms = self.host.now_ms
        self.buffer.feed(data)
        try:
            while self.state != CLOSED:
                packet = self.buffer.next()
                if packet is None:
                    return
                self.packets_received += 1
                self.packet(packet)
        except JuteError as error:
            self.close(f"cannot be read: {error}")

    def packet(self, p: QuorumPacket) -> None:
        """One packet; legal or not by the phase."""
        kind = p.type
        if self.state == DISCOVERY:
            if not self.introduced and (
                kind == codes.PACKET_FOLLOWERINFO or kind == codes.PACKET_OBSERVERINFO
            ):
                self.introduced = True
                self.master.learner_info(self, p)
            elif self.told_epoch and kind == codes.PACKET_ACKEPOCH:
                self.master.ack_epoch(self, p)
            else:
                self.close(f"unexpected in DISCOVERY: {describe_packet(p)}")
        elif kind == codes.PACKET_REQUEST and self.state == BROADCAST:
            self.requests += 1
            self.master.learner_packet(self, p)
        elif kind == codes.PACKET_ACK:
            self.master.acked(self, p.zxid)
        elif self.state == SYNCHRONIZATION:
            self.close(f"expected ACK of NEWLEADER, not {describe_packet(p)}")
        else:
            self.master.learner_packet(self, p)
