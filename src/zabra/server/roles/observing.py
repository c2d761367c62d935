"""Observing: hears what is committed (INFORM), applies and publishes it; never votes, never acks."""

from mypy_extensions import i64

from zabra.proto import codes
from zabra.proto.packets import decode_inform_and_activate, describe_packet
from zabra.proto.records import QuorumPacket
from zabra.proto.txn import TxnEntry, decode_txn
from zabra.server.roles.learning import Learning
from zabra.server.views import RoleView
from zabra.zab.zxid import follows


class Observing(Learning):
    """An observer: the third role of ZOOKEEPER-368."""

    def name(self) -> str:
        return "observer"

    def describe(self, view: RoleView) -> None:
        super().describe(view)
        view.observer_master_id = self.leader_sid

    def broadcast_packet(self, p: QuorumPacket) -> None:
        kind = p.type
        if kind == codes.PACKET_INFORM:
            data = p.data
            if data is None:
                self.end(f"INFORM without a txn: {describe_packet(p)}")
            else:
                self.inform(decode_txn(data))
        elif kind == codes.PACKET_INFORM_AND_ACTIVATE:
            leader, raw = decode_inform_and_activate(p.data)
            self.inform(decode_txn(raw))
            self.peer.activate(raw, leader)
        elif kind == codes.PACKET_PROPOSAL or kind == codes.PACKET_COMMIT:
            self.host.warn(f"ignoring {describe_packet(p)}: observers hear by INFORM")
        else:
            super().broadcast_packet(p)

    def inform(self, entry: TxnEntry) -> None:
        """A committed txn: applied at once; the own log follows in its own time."""
        zxid = entry.header.zxid
        last = self.host.tree.last_processed_zxid
        if not follows(last, zxid) and last & 0xFFFFFFFF != 0:
            self.end(f"INFORM 0x{zxid:x} does not follow 0x{last:x}")
            return
        host = self.host
        host.metrics.learner_commit_received_count.add(1)
        host.stats.aged(host.metrics.commit_propagation_latency, entry, host.wall_ms)
        self.log(entry)
        self.commit_entry(entry)

    def propose(self, entry: TxnEntry) -> None:
        # Only right after synchronisation: what was proposed and committed meanwhile.
        self.pending.append(entry)

    def commit(self, zxid: i64) -> None:
        entry = self.pending.popleft()
        assert entry.header.zxid == zxid, "LearnerSync keeps commits in order"
        self.inform(entry)
