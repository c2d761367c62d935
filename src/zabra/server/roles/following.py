"""Following: logs what is proposed, acks when it is durable, applies what is committed."""


from mypy_extensions import i64

from zabra.fifo import Fifo
from zabra.proto import codes
from zabra.proto.packets import decode_activate, describe_packet
from zabra.proto.records import QuorumPacket
from zabra.proto.txn import TxnEntry
from zabra.server.host import Host
from zabra.server.peer import Peer
from zabra.server.roles.learning import NO_RECONFIG, Learning, entry_of
from zabra.server.roles.role import shares_of
from zabra.server.serving import Serving
from zabra.zab.zxid import follows


class Following(Learning):
    """A follower: a voter, or a participant that is not in the view yet and whose acks do not count."""

    def __init__(self, host: Host, peer: Peer, serving: Serving, leader_sid: i64) -> None:
        super().__init__(host, peer, serving, leader_sid)
        # Logged, perhaps committed by others meanwhile, and not durable here yet.
        self.unacked: Fifo[TxnEntry] = Fifo()

    def name(self) -> str:
        return "follower"

    def shares_of_limit(self) -> int:
        return shares_of(len(self.peer.config.voters()))

    def propose(self, entry: TxnEntry) -> None:
        zxid = entry.header.zxid
        last = self.host.last_logged_zxid
        if not follows(last, zxid):
            self.end(f"proposal 0x{zxid:x} does not follow 0x{last:x}")
            return
        host = self.host
        host.metrics.learner_proposal_received_count.add(1)
        host.stats.aged(host.metrics.proposal_latency, entry, host.wall_ms)
        if entry.header.type == codes.OP_RECONFIG:
            self.peer.saw_proposal(entry.raw)
        self.pending.append(entry)
        self.unacked.append(entry)
        self.host.append(entry)

    def commit(self, zxid: i64, designated_leader: i64 = NO_RECONFIG) -> None:
        pending = self.pending
        if pending.is_empty():
            self.host.warn(f"commit of 0x{zxid:x}, and no proposal is pending")
            return
        entry = pending.first()
        if entry.header.zxid != zxid:
            # Upstream exits with code 12 here; leaving the leader is enough: nothing was applied.
            self.end(f"commit of 0x{zxid:x}, but 0x{entry.header.zxid:x} is the next proposal")
            return
        pending.take()
        host = self.host
        host.metrics.learner_commit_received_count.add(1)
        host.stats.aged(host.metrics.commit_propagation_latency, entry, host.wall_ms)
        moves = designated_leader != NO_RECONFIG and self.peer.activate(entry.raw, designated_leader)
        self.commit_entry(entry, designated_leader)
        if moves:
            self.move()

    def broadcast_packet(self, p: QuorumPacket) -> None:
        kind = p.type
        if kind == codes.PACKET_PROPOSAL:
            data = p.data
            if data is None:
                self.end(f"a proposal without a txn: {describe_packet(p)}")
            else:
                self.propose(entry_of(p.zxid, data))
        elif kind == codes.PACKET_COMMIT:
            self.commit(p.zxid)
        elif kind == codes.PACKET_COMMIT_AND_ACTIVATE:
            self.commit(p.zxid, decode_activate(p.data))
        else:
            super().broadcast_packet(p)

    def log_synced(self, zxid: i64) -> None:
        """ACK exists only now: everything up to ``zxid`` is on this server's disk."""
        unacked = self.unacked
        host = self.host
        while not unacked.is_empty() and unacked.first().header.zxid <= zxid:
            entry = unacked.take()
            host.stats.aged(host.metrics.proposal_ack_creation_latency, entry, host.wall_ms)
            self.send(codes.PACKET_ACK, entry.header.zxid, None)
