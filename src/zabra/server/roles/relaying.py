"""Relaying: what is committed goes on to observers, so that the leader need not send it to each of them.

A follower relays as upstream's ObserverMaster does; an observer relays in the same way, so observers may
stand under observers, to any depth.  Towards those below, a relay is a leader that only takes observers and
never waits for a quorum; towards its own master it is one learner that speaks for all of them.  Source:
upstream ``ObserverMaster``; docs/adr/0075.
"""

from bisect import bisect_right
from typing import Final

from mypy_extensions import i64, trait

from zabra.jute.primitives import JuteError, hex64
from zabra.processors.operation import KIND_SYNC
from zabra.processors.ops import OPS
from zabra.proto import codes
from zabra.proto.packets import (
    decode_ack_epoch,
    decode_learner_info,
    decode_request,
    decode_revalidate,
    decode_touches,
    describe_packet,
    encode_inform_and_activate,
    encode_leader_info,
    encode_packet,
    packet_bytes,
)
from zabra.proto.records import QuorumPacket
from zabra.proto.txn import TxnEntry
from zabra.server import learner_handler
from zabra.server.host import Host
from zabra.server.lag import PROBE_SESSION
from zabra.server.learner_handler import LearnerHandler, LearnerMaster
from zabra.server.peer import Peer
from zabra.server.ready import PORT_OBSERVER_MASTER, Listen
from zabra.server.roles.syncing import LearnerSyncer
from zabra.server.views import RoleView
from zabra.zab.phases import SYNC_DIFF
from zabra.zab.synchronization import SyncPlan

# Connections that one relay takes.
LEARNERS_MAX: Final = 1000
# What a retained txn costs beside its bytes.
RETAINED_OVERHEAD_BYTES: Final = 200

# In ``Relay.owners``: the session's client is connected to this server itself.
OWN_CLIENT: Final = 0


@trait
class RelayBase:
    """What a relay needs of the learner it is a part of."""

    def pass_up(self, packet: bytes) -> None:
        """A packet of an observer's, for our own master."""
        raise AssertionError("not reached")

    def sync_for(self, handler: LearnerHandler, is_probe: bool) -> None:
        """An observer's sync has been passed up: the SYNC that answers it is for the observer."""
        raise AssertionError("not reached")

    def revalidate_for(self, handler: LearnerHandler, session_id: i64, timeout_ms: i64) -> None:
        """An observer's REVALIDATE has been passed up."""
        raise AssertionError("not reached")

    def heard_for(self, session_id: i64, timeout_ms: i64) -> None:
        """An observer has heard from a session: our own master is told with the next PING."""
        raise AssertionError("not reached")

    def answer_probe(self) -> bytes | None:
        """How far behind this server is itself, as a SYNC packet; None while it does not know."""
        raise AssertionError("not reached")


class RetainedTxns:
    """Committed txns in memory for those who come late: ``limit`` bytes at most, oldest first, no gaps."""

    __slots__ = ("_bytes", "_entries", "_start", "_zxids", "limit")

    def __init__(self, limit: i64) -> None:
        self.limit: i64 = limit
        self._entries: list[TxnEntry] = []
        self._zxids: list[int] = []
        # What is before this index is forgotten, and cut off from time to time.
        self._start: int = 0
        self._bytes: i64 = 0

    def __len__(self) -> int:
        return len(self._entries) - self._start

    def add(self, entry: TxnEntry) -> None:
        """The txn committed next."""
        self._entries.append(entry)
        self._zxids.append(entry.header.zxid)
        self._bytes += len(entry.raw) + RETAINED_OVERHEAD_BYTES
        while self._bytes > self.limit and self._start < len(self._entries):
            self._bytes -= len(self._entries[self._start].raw) + RETAINED_OVERHEAD_BYTES
            self._start += 1
        if self._start > 1000 and self._start * 2 > len(self._entries):
            del self._entries[: self._start]
            del self._zxids[: self._start]
            self._start = 0

    def reaches(self, zxid: int) -> bool:
        """Whether a txn at or before ``zxid`` is kept."""
        return self._start < len(self._zxids) and self._zxids[self._start] <= zxid

    def since(self, zxid: int) -> list[TxnEntry]:
        """From the last txn at or before ``zxid`` on; all, where there is none."""
        index = bisect_right(self._zxids, zxid, self._start) - 1
        return self._entries[max(index, self._start) :]


class RelaySyncer(LearnerSyncer):
    """Knows further back than the last few hundred txns: as far as the retained ones reach."""

    def __init__(self, host: Host, retained: RetainedTxns) -> None:
        super().__init__(host)
        self.retained: RetainedTxns = retained

    def history(self, peer: i64) -> list[TxnEntry]:
        if self.retained.reaches(peer):
            return self.retained.since(peer)
        return super().history(peer)


class Relay(LearnerMaster):
    """The observers under one learner, for as long as that learner is in BROADCAST."""

    def __init__(self, host: Host, peer: Peer, base: RelayBase, epoch_zxid: i64) -> None:
        self.host: Host = host
        self.peer: Peer = peer
        self.base: RelayBase = base
        self.epoch_zxid: i64 = epoch_zxid
        self.last_zxid: i64 = host.tree.last_processed_zxid
        self.handlers: dict[int, LearnerHandler] = {}
        self.dirty: dict[int, LearnerHandler] = {}
        # Observers that know more than this server does yet.
        self.ahead: dict[int, LearnerHandler] = {}
        # Through which observer (its connection; OWN_CLIENT: none) a session has last spoken.  To the leader
        # all of them are this server, so it cannot see that a session has moved from one to another.
        self.owners: dict[int, int] = {}
        self.retained: RetainedTxns = RetainedTxns(host.settings.observer_master_size_limit)
        for entry in host.committed_log.entries():
            self.retained.add(entry)
        self.syncer: RelaySyncer = RelaySyncer(host, self.retained)
        self.next_ping_ms: i64 = host.now_ms
        self.listening: bool = False

    # --- the door ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Observers may come."""
        self.listening = True
        addresses = self.peer.observer_master_addresses()
        self.host.out.listens.append(Listen(PORT_OBSERVER_MASTER, addresses, True))

    def stop(self) -> None:
        """This server has no master any more: observers have to find another."""
        if self.listening:
            self.listening = False
            self.host.out.listens.append(Listen(PORT_OBSERVER_MASTER, [], False))
        for handler in list(self.handlers.values()):
            handler.close("the relay has lost its own master")

    def accepted(self, conn_id: i64, peer_host: str, peer_port: i64) -> None:
        """Somebody has connected."""
        if len(self.handlers) >= LEARNERS_MAX:
            self.host.warn(f"{peer_host}:{peer_port} is refused: {LEARNERS_MAX} observers are connected")
            self.host.close_conn(conn_id)
            return
        handler = LearnerHandler(self.host, self, conn_id, peer_host, peer_port)
        self.handlers[conn_id] = handler
        if not self.listening:
            # It came in the turn in which the door was closed: nobody would ever answer it.
            handler.close("the relay has lost its own master")

    # --- discovery: nothing is discovered, the epoch stands -----------------------------------------------

    def learner_info(self, handler: LearnerHandler, packet: QuorumPacket) -> None:
        if packet.type != codes.PACKET_OBSERVERINFO:
            handler.close(f"only observers are taken here: {describe_packet(packet)}")
            return
        handler.is_observer = True
        info = decode_learner_info(packet.data)
        if info is None:
            handler.sid = self.syncer.anonymous_sid()
        else:
            handler.sid = info.serverid
            handler.config_version = info.config_version
        if handler.config_version > self.peer.config.version:
            handler.close("its configuration is newer than ours")
            return
        handler.told_epoch = True
        self.queue(handler, codes.PACKET_LEADERINFO, self.epoch_zxid, encode_leader_info())

    def ack_epoch(self, handler: LearnerHandler, packet: QuorumPacket) -> None:
        # Nothing depends on its epoch here; without one the packet is none.
        decode_ack_epoch(packet.data)
        handler.last_zxid = packet.zxid
        handler.state = learner_handler.SYNCHRONIZATION
        self.synchronise(handler)

    # --- synchronisation ----------------------------------------------------------------------------------

    def synchronise(self, handler: LearnerHandler) -> None:
        """Brings the observer up to where this server is."""
        last = self.host.tree.last_processed_zxid
        zxid = handler.last_zxid
        self.touch_handler(handler)
        if zxid > last and zxid >> 32 == self.epoch_zxid >> 32:
            if zxid == self.epoch_zxid:
                # It stands at the start of this epoch, and nothing has happened in it yet.
                history = self.syncer.history(last)
                plan = SyncPlan(SYNC_DIFF, zxid, zxid, "the learner stands at the start of the epoch")
                plan.committed_start = len(history)
                if self.syncer.carry_out(handler, plan, [], history, True):
                    self.forward_to(handler)
            else:
                # Its last master was faster.  What it has is committed: cutting it off (as upstream does)
                # would only mean to send it again.
                self.ahead[handler.conn_id] = handler
        elif self.syncer.begin(handler, True):
            self.forward_to(handler)

    def catch_up(self) -> None:
        """Takes in those who knew more than this server did, now that it knows as much."""
        last = self.host.tree.last_processed_zxid
        for handler in list(self.ahead.values()):
            if handler.last_zxid <= last:
                del self.ahead[handler.conn_id]
                self.synchronise(handler)

    def log_read(self, token: int, entries: list[TxnEntry], complete: bool) -> None:
        """History for an observer was read back from the log."""
        handler = self.syncer.log_read(token, entries, complete)
        if handler is not None and handler.state == learner_handler.SYNCHRONIZATION:
            self.touch_handler(handler)
            self.forward_to(handler)

    def forward_to(self, handler: LearnerHandler) -> None:
        """From now on it gets whatever comes."""
        handler.forwarding = True
        if handler.walk is None:
            self.send_new_leader(handler)

    def snapshot_sent(self, handler: LearnerHandler) -> None:
        self.send_new_leader(handler)

    def send_new_leader(self, handler: LearnerHandler) -> None:
        """NEWLEADER: behind everything the observer must have before it acks."""
        if not handler.new_leader_sent:
            handler.new_leader_sent = True
            text = self.peer.config.format().encode("utf-8")
            self.queue(handler, codes.PACKET_NEWLEADER, self.epoch_zxid, text)

    def acked(self, handler: LearnerHandler, zxid: i64) -> None:
        if handler.state == learner_handler.SYNCHRONIZATION:
            if zxid == self.epoch_zxid:
                handler.state = learner_handler.BROADCAST
                self.syncer.ended(handler)
                self.queue(handler, codes.PACKET_UPTODATE, -1, None)
        elif zxid & 0xFFFFFFFF != 0:
            handler.close(f"an observer acks nothing, and this one acks 0x{zxid:x}")

    # --- broadcast ------------------------------------------------------------------------------------------

    def inform(self, entry: TxnEntry) -> None:
        """A txn is committed: INFORM to every observer; the bytes are made once."""
        self.spread(entry, encode_packet(codes.PACKET_INFORM, entry.header.zxid, entry.raw))

    def inform_and_activate(self, entry: TxnEntry, designated_leader: i64) -> None:
        """A reconfiguration is committed."""
        data = encode_inform_and_activate(designated_leader, entry.raw)
        self.spread(entry, encode_packet(codes.PACKET_INFORM_AND_ACTIVATE, entry.header.zxid, data))

    def spread(self, entry: TxnEntry, packet: bytes) -> None:
        """One packet to everybody who is sent what comes."""
        self.last_zxid = entry.header.zxid
        self.retained.add(entry)
        if entry.header.type == codes.OP_CLOSE_SESSION:
            self.owners.pop(entry.header.client_id, None)
        dirty = self.dirty
        for handler in self.handlers.values():
            if handler.forwarding:
                handler.send_raw(packet)
                dirty[handler.conn_id] = handler
        if self.ahead:
            self.catch_up()

    def learner_packet(self, handler: LearnerHandler, packet: QuorumPacket) -> None:
        kind = packet.type
        if kind == codes.PACKET_PING:
            for session_id, timeout_ms in decode_touches(packet.data):
                self.base.heard_for(session_id, timeout_ms)
        elif kind == codes.PACKET_REVALIDATE:
            self.host.metrics.revalidate_count.add(1)
            session_id, timeout_ms = decode_revalidate(packet.data)
            self.owners[session_id] = handler.conn_id
            self.base.revalidate_for(handler, session_id, timeout_ms)
            self.base.pass_up(packet_bytes(packet))
        elif kind == codes.PACKET_REQUEST:
            self.forwarded(handler, packet)
        else:
            self.host.warn(f"observer {handler.sid}: unexpected {describe_packet(packet)}")

    def forwarded(self, handler: LearnerHandler, packet: QuorumPacket) -> None:
        """An observer's client asks for something: the leader gets it as if our own client had asked."""
        request = decode_request(packet.data)
        row = OPS.get(request.op)
        if row is None or not (row.makes_txn() or row.kind == KIND_SYNC):
            raise JuteError(f"operation {request.op} is not forwarded")
        # As for our own clients: nothing goes up that no leader could read.
        row.validate(request.body)
        if request.op == codes.OP_SYNC:
            is_probe = request.session_id == PROBE_SESSION
            if is_probe:
                answer = self.base.answer_probe()
                if answer is not None:
                    handler.send_raw(answer)
                    self.touch_handler(handler)
                    return
            self.base.sync_for(handler, is_probe)
        elif self.owners.get(request.session_id, handler.conn_id) != handler.conn_id:
            # Left behind on the way when its client moved on: after the client's later writes it would be
            # out of the session's order.  The leader would refuse it (SESSIONMOVED), could it tell.
            self.host.warn(
                f"observer {handler.sid}: a request of session {hex64(request.session_id)}, "
                "which has moved away"
            )
            return
        self.base.pass_up(packet_bytes(packet))

    def handler_closed(self, handler: LearnerHandler) -> None:
        self.handlers.pop(handler.conn_id, None)
        self.dirty.pop(handler.conn_id, None)
        self.ahead.pop(handler.conn_id, None)
        self.syncer.ended(handler)

    # --- out ------------------------------------------------------------------------------------------------

    def queue(self, handler: LearnerHandler, kind: i64, zxid: i64, data: bytes | None) -> None:
        """One packet to one observer, at the end of the turn."""
        handler.send(kind, zxid, data)
        self.touch_handler(handler)

    def touch_handler(self, handler: LearnerHandler) -> None:
        """The handler has something to send."""
        self.dirty[handler.conn_id] = handler

    def end_turn(self) -> None:
        """One write per observer."""
        dirty = self.dirty
        if dirty:
            self.dirty = {}
            for handler in dirty.values():
                handler.flush()
                if handler.walk is not None and handler.state != learner_handler.CLOSED:
                    self.dirty[handler.conn_id] = handler

    # --- time -----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """PING twice a tick; who does not answer, or never gets in step, is dropped."""
        host = self.host
        now = host.now_ms
        if now >= self.next_ping_ms:
            self.next_ping_ms = now + host.settings.tick_ms // 2
            self.ping_all(now)
        host.wake_by(self.next_ping_ms)

    def ping_all(self, now: i64) -> None:
        """PING to those in step, with the zxid of what was relayed last."""
        settings = self.host.settings
        limit_ms: i64 = settings.sync_limit_ticks * settings.tick_ms
        for handler in list(self.handlers.values()):
            if handler.state == learner_handler.BROADCAST:
                if now - handler.last_heard_ms > limit_ms:
                    handler.close(f"nothing heard for {limit_ms} ms")
                else:
                    self.queue(handler, codes.PACKET_PING, self.last_zxid, None)
            elif now - handler.connected_ms > limit_ms + settings.init_limit_ticks * settings.tick_ms:
                handler.close("did not synchronise in time")

    # --- for operators --------------------------------------------------------------------------------------

    def describe(self, view: RoleView) -> None:
        """The observers in step with this server."""
        view.synced_observers = 0
        for handler in self.handlers.values():
            if handler.forwarding:
                view.synced_observers += 1
                view.observers.append(handler.describe())

    def reset_stats(self) -> None:
        """Forgets what was counted for observers."""
        for handler in self.handlers.values():
            handler.reset_stats()
