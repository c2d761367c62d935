"""Learning: what followers and observers have in common: finding the leader, being synchronised, forwarding.

The connection goes through DISCOVERY (who is newer), SYNCHRONIZATION (``zab.synchronization.LearnerSync``
says what to do, in which order) and BROADCAST.  Source: upstream ``Learner``, ``Follower``, ``Observer``.
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from zabra.fifo import Fifo
from zabra.jute.primitives import EndOfData, JuteError, Reader
from zabra.processors.operation import KIND_SYNC
from zabra.processors.ops import OPS
from zabra.proto import codes
from zabra.proto.packets import (
    PacketBuffer,
    decode_leader_info,
    decode_revalidate_answer,
    describe_packet,
    encode_ack_epoch,
    encode_learner_info,
    encode_packet,
    encode_revalidate,
    encode_touches,
    request_packet,
)
from zabra.proto.records import QuorumPacket
from zabra.proto.request import Request
from zabra.proto.txn import TxnEntry, decode_txn
from zabra.server.host import Durable, Host
from zabra.server.lag import encode_lag
from zabra.server.learner_handler import LearnerHandler
from zabra.server.peer import Peer
from zabra.server.ready import (
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_CHUNK,
    DISK_SNAPSHOT_END,
    DISK_TRUNCATE,
    PORT_QUORUM,
    DiskCommand,
)
from zabra.server.roles.relaying import OWN_CLIENT, Relay, RelayBase
from zabra.server.roles.role import Role
from zabra.server.serving import Serving
from zabra.server.views import RoleView, quorum_view
from zabra.tree.datatree import DataTree
from zabra.tree.snapshot_walk import SnapshotWalk, TreeLoader
from zabra.zab import phases
from zabra.zab import synchronization as sync
from zabra.zab.discovery import NOT_AN_ACK, answer_epoch
from zabra.zab.phases import SYNC_MODES, SYNC_SNAP
from zabra.zab.synchronization import LearnerSync, SyncCommand
from zabra.zab.zxid import epoch_of

# Where the connection stands.
CONNECTING: Final = 0
DISCOVERY: Final = 1
SYNCHRONIZATION: Final = 2
BROADCAST: Final = 3
LOST: Final = 4

# How often connecting to the leader is tried: a few times at once, then as often as upstream
# (Learner.LeaderConnector) and as slowly.
FIRST_RETRY_MS: Final = 5
QUICK_TRIES: Final = 3
CONNECT_TRIES: Final = QUICK_TRIES + 5
SNAPSHOT_SLICE_NODES: Final = 5000
# In place of a designated leader.
NO_RECONFIG: Final = -0x8000000000000000
SNAPSHOT_END_MARK: Final = "BenWasHere"


def entry_of(zxid: i64, raw: bytes) -> TxnEntry:
    """The txn in a packet of ``zxid``.  Raises JuteError where it is none, or another one."""
    entry = decode_txn(raw)
    if entry.header.zxid != zxid:
        raise JuteError(f"the txn 0x{entry.header.zxid:x} in a packet of 0x{zxid:x}")
    return entry


class SyncDurable(Durable):
    """The disk has everything that the ack of NEWLEADER promises."""

    def __init__(self, role: "Learning") -> None:
        self.role: Learning = role

    def done(self) -> None:
        self.role.sync_durable()


class EpochAccepted(Durable):
    """acceptedEpoch is durable: the epoch may be acked."""

    def __init__(self, role: "Learning", payload: i64) -> None:
        self.role: Learning = role
        self.payload: i64 = payload

    def done(self) -> None:
        self.role.send_ack_epoch(self.payload)


class Truncated(Durable):
    """The log is cut, and the tree must be loaded anew; or it could not be cut."""

    def __init__(self, role: "Learning", command: DiskCommand) -> None:
        self.role: Learning = role
        self.command: DiskCommand = command

    def done(self) -> None:
        if self.command.refused:
            self.role.cannot_truncate(self.command.zxid)
        else:
            self.role.reload_tree()


class PendingSync:
    """A sync on its way: a client's of ours, an observer's under us, or (neither) our own question."""

    __slots__ = ("handler", "is_probe", "request")

    def __init__(self, request: Request | None, handler: LearnerHandler | None, is_probe: bool) -> None:
        self.request: Request | None = request
        self.handler: LearnerHandler | None = handler
        # It asks how far behind its asker is: a leader or relay of ours answers it out of turn.
        self.is_probe: bool = is_probe


class PendingRevalidation:
    """A REVALIDATE on its way: for a client connection of ours, or for an observer under us."""

    __slots__ = ("conn_id", "handler", "session_id", "timeout_ms")

    def __init__(
        self, session_id: i64, timeout_ms: i64, conn_id: i64, handler: LearnerHandler | None
    ) -> None:
        self.session_id: i64 = session_id
        self.timeout_ms: i64 = timeout_ms
        self.conn_id: i64 = conn_id
        self.handler: LearnerHandler | None = handler


class Learning(Role, RelayBase):
    """One attempt to learn from one leader; any failure sets ``lost`` and the server looks again."""

    def __init__(self, host: Host, peer: Peer, serving: Serving, leader_sid: i64) -> None:
        self.host: Host = host
        self.peer: Peer = peer
        self.serving: Serving = serving
        self.leader_sid: i64 = leader_sid
        self.state: i64 = CONNECTING
        # Why this role is over, once it is.
        self.lost: str = ""
        # The tree is not what the disk holds.
        self.must_reload: bool = False
        self.wants_reload: bool = False
        self.conn_id: i64 = 0
        self.dial_id: i64 = 0
        self.tries: i64 = 0
        self.retry_at_ms: i64 = host.now_ms
        settings = host.settings
        self.connect_deadline_ms: i64 = host.now_ms + settings.tick_ms * (
            settings.connect_to_leader_limit_ticks or settings.init_limit_ticks
        )
        self.read_timeout_ms: i64 = settings.tick_ms * settings.init_limit_ticks
        self.last_heard_ms: i64 = host.now_ms
        self.buffer: PacketBuffer = PacketBuffer(settings.longest_packet())
        self.sync: LearnerSync | None = None
        self.sync_began_ms: i64 = host.now_ms
        self.loader: TreeLoader | None = None
        self.snapshot_read: bool = False
        # Bytes behind the snapshot's stream, until the end mark is complete.
        self.after_snapshot: bytes = b""
        # Txns logged and not committed, in order; of these, how many are acked.
        self.pending: Fifo[TxnEntry] = Fifo()
        # Logged while synchronising, and not applied yet: a leader lost meanwhile leaves them in the log.
        self.logged_in_sync: list[TxnEntry] = []
        self.out: list[bytes] = []
        self.touched: dict[int, int] = {}
        self.syncs: deque[PendingSync] = deque()
        # Those that wait for REVALIDATE, oldest first.
        self.revalidating: deque[PendingRevalidation] = deque()
        # The observers under this server, where it relays.
        self.relay: Relay | None = None
        self.is_observer: bool = settings.is_observer

    # --- what Server asks ---------------------------------------------------------------------------------

    def serves(self) -> bool:
        return self.state == BROADCAST

    def describe(self, view: RoleView) -> None:
        phase: i64 = phases.DISCOVERY
        mode: i64 = phases.SYNC_NONE
        if self.state == BROADCAST:
            phase = phases.BROADCAST
        elif self.state == SYNCHRONIZATION:
            phase = phases.SYNCHRONIZATION
            if self.sync is not None:
                mode = self.sync.mode
        state = phases.OBSERVING if self.is_observer else phases.FOLLOWING
        quorum = quorum_view(self.peer.config, state, phase, mode)
        quorum.led_by(self.leader_sid)
        view.quorum = quorum
        if self.relay is not None:
            self.relay.describe(view)

    def reset_observer_stats(self) -> None:
        if self.relay is not None:
            self.relay.reset_stats()

    def tree_is_committed(self) -> bool:
        return self.state == BROADCAST

    def unfinished(self) -> list[TxnEntry]:
        """Logged here and not known to be committed, in order."""
        return self.logged_in_sync + self.pending.items()

    def end(self, reason: str) -> None:
        """The role is over."""
        if self.state != LOST:
            self.state = LOST
            self.lost = reason
            if self.relay is not None:
                self.relay.stop()
            if self.conn_id != 0:
                self.host.close_conn(self.conn_id)

    def tick(self) -> None:
        host = self.host
        now = host.now_ms
        if self.state == CONNECTING:
            self.connect(now)
        elif self.state != LOST:
            deadline = self.last_heard_ms + self.read_timeout_ms
            if now >= deadline:
                self.end(f"nothing heard from the leader for {self.read_timeout_ms} ms")
            else:
                host.wake_by(deadline)
                if self.relay is not None:
                    self.relay.tick()

    def connect(self, now: i64) -> None:
        """Dials the leader, a few times."""
        host = self.host
        if self.dial_id != 0:
            # Its end wakes this server; a deadline that has passed meanwhile must not, again and again.
            if now < self.connect_deadline_ms:
                host.wake_by(self.connect_deadline_ms)
            return
        if now < self.retry_at_ms:
            host.wake_by(self.retry_at_ms)
            return
        if self.tries >= CONNECT_TRIES or now >= self.connect_deadline_ms:
            self.end(f"cannot connect to leader {self.leader_sid}")
            return
        addresses = self.master_addresses()
        if not addresses:
            self.end(f"no address of leader {self.leader_sid} is known")
            return
        self.tries += 1
        timeout_ms = max(1, self.connect_deadline_ms - now)
        self.dial_id = host.dial(PORT_QUORUM, addresses, timeout_ms)

    def master_addresses(self) -> list[tuple[str, int]]:
        """Whom to learn from."""
        return self.peer.quorum_addresses_of(self.leader_sid)

    def dial_failed(self, dial_id: i64) -> None:
        """The leader does not listen (yet)."""
        if dial_id == self.dial_id:
            self.dial_id = 0
            # One that has just been elected may be a few ms behind this server.
            delay_ms = self.host.settings.connect_retry_delay_ms
            if self.tries <= QUICK_TRIES:
                delay_ms = min(delay_ms, FIRST_RETRY_MS << (self.tries - 1))
            self.retry_at_ms = self.host.now_ms + delay_ms
            self.host.wake_by(self.retry_at_ms)

    def dialled(self, dial_id: i64, conn_id: i64) -> bool:
        """Connected: say who we are.  False if this was not our dial."""
        if dial_id != self.dial_id or self.state != CONNECTING:
            return False
        self.dial_id = 0
        self.conn_id = conn_id
        self.state = DISCOVERY
        self.last_heard_ms = self.host.now_ms
        kind = codes.PACKET_OBSERVERINFO if self.is_observer else codes.PACKET_FOLLOWERINFO
        info = encode_learner_info(self.peer.sid, self.peer.config.version)
        self.send(kind, self.peer.accepted_epoch << 32, info)
        return True

    def is_discovering(self) -> bool:
        """Whether nothing has come of this role yet."""
        return self.state == CONNECTING or self.state == DISCOVERY

    def move(self) -> None:
        """A reconfiguration changes the leader, or this server's role; those below hear of it first."""
        if self.relay is not None:
            self.relay.end_turn()
        self.end("the reconfiguration changes the leader, or this server's role")

    def connection_lost(self) -> None:
        """The leader has closed, or is gone."""
        self.conn_id = 0
        self.end("the connection to the leader is gone")

    def end_turn(self) -> None:
        if self.out and self.conn_id != 0:
            self.host.send(self.conn_id, b"".join(self.out))
        self.out = []
        if self.relay is not None:
            self.relay.end_turn()

    def send(self, kind: i64, zxid: i64, data: bytes | None) -> None:
        """One packet to the leader, at the end of the turn."""
        self.out.append(encode_packet(kind, zxid, data))

    # --- what the leader says -----------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes from the leader."""
        self.last_heard_ms = self.host.now_ms
        try:
            if self.loader is not None:
                self.feed_snapshot(data)
            else:
                self.buffer.feed(data)
                self.take_packets()
        except JuteError as error:
            self.end(f"the leader sent what cannot be read: {error}")

    def take_packets(self) -> None:
        """Handles whole packets, until the stream becomes a snapshot's."""
        while self.state != LOST and self.loader is None:
            packet = self.buffer.next()
            if packet is None:
                return
            self.packet(packet)

    def packet(self, p: QuorumPacket) -> None:
        """One packet, by the phase."""
        if self.state == BROADCAST:
            self.broadcast_packet(p)
        elif self.state == SYNCHRONIZATION:
            sync_now = self.sync
            assert sync_now is not None
            self.carry_out(sync_now.packet(p))
        elif p.type == codes.PACKET_LEADERINFO:
            self.leader_info(p)
        else:
            self.end(f"expected LEADERINFO, not {describe_packet(p)}")

    def leader_info(self, p: QuorumPacket) -> None:
        """The leader names its epoch: accept it durably, then ack."""
        if decode_leader_info(p.data) < 0x10000:
            self.end("the leader speaks an older protocol")
            return
        peer = self.peer
        answer = answer_epoch(p.zxid, peer.accepted_epoch, peer.current_epoch)
        if answer.reason:
            self.end(answer.reason)
            return
        self.state = SYNCHRONIZATION
        self.sync_began_ms = self.host.now_ms
        # An epoch that is acked must be acked with the history there is: it counts for the leader's quorum.
        wants_snap = answer.ack_epoch == NOT_AN_ACK and peer.snap_wanted_in == epoch_of(p.zxid)
        self.sync = LearnerSync(self.host.tree.last_processed_zxid, p.zxid, self.is_observer, wants_snap)
        if answer.save_accepted_epoch >= 0:
            peer.save_accepted_epoch(answer.save_accepted_epoch, EpochAccepted(self, answer.ack_epoch))
        else:
            self.send_ack_epoch(answer.ack_epoch)

    def send_ack_epoch(self, payload: i64) -> None:
        """ACKEPOCH: where our history ends."""
        sync_now = self.sync
        if self.state != LOST and sync_now is not None:
            self.send(codes.PACKET_ACKEPOCH, sync_now.told_zxid(), encode_ack_epoch(payload))

    # --- synchronisation ----------------------------------------------------------------------------------

    def carry_out(self, commands: list[SyncCommand]) -> None:
        """Does what LearnerSync says; durable things are queued, and reported together by the epoch's."""
        try:
            for command in commands:
                if self.state == LOST:
                    return
                self.carry_out_one(command)
        except JuteError as error:
            self.end(f"the leader sent what cannot be read: {error}")

    def carry_out_one(self, command: SyncCommand) -> None:
        """One command."""
        kind = command.kind
        if kind == sync.LOAD_SNAPSHOT:
            self.begin_snapshot()
        elif kind == sync.TRUNCATE:
            self.truncate(command.zxid)
        elif kind == sync.PERSIST:
            for txn in command.txns:
                entry = entry_of(txn.zxid, txn.raw)
                self.log(entry)
                self.logged_in_sync.append(entry)
        elif kind == sync.SAVE_SNAPSHOT:
            self.save_snapshot()
        elif kind == sync.DISCARD_LOG:
            # Saving the snapshot on the log's own queue begins with that.
            pass
        elif kind == sync.SAVE_CONFIG:
            self.peer.saw_config(command.raw)
        elif kind == sync.ACTIVATE:
            self.activate(command.txns[0].zxid, command.txns[0].raw, command.zxid)
        elif kind == sync.SAVE_CURRENT_EPOCH:
            # The last of what NEWLEADER's ack promises: behind everything else in the disk's queue.
            self.peer.save_current_epoch(command.zxid, SyncDurable(self))
        elif kind == sync.APPLY:
            for txn in command.txns:
                self.apply(entry_of(txn.zxid, txn.raw))
            self.logged_in_sync = []
        elif kind == sync.ACK:
            self.send(codes.PACKET_ACK, command.zxid, None)
            # From now on the leader speaks at least this often.
            settings = self.host.settings
            self.read_timeout_ms = settings.tick_ms * settings.sync_limit_ticks
        elif kind == sync.ANSWER_PING:
            self.answer_ping(command.zxid)
        elif kind == sync.DONE:
            if self.peer.adopt_leaders_config():
                self.move()
            else:
                self.synchronised()
        elif kind == sync.REFUSE:
            self.end(f"synchronisation failed: {command.why}")

    def activate(self, zxid: i64, raw: bytes, designated_leader: i64) -> None:
        """A reconfiguration is committed: its view is the current one."""
        if self.peer.activate(raw, designated_leader):
            self.move()

    def sync_durable(self) -> None:
        """NEWLEADER may be acked."""
        sync_now = self.sync
        if self.state == SYNCHRONIZATION and sync_now is not None:
            self.must_reload = False
            self.carry_out(sync_now.durable())

    def truncate(self, zxid: i64) -> None:
        """TRUNC: cut the log, then load the tree anew."""
        host = self.host
        self.must_reload = True
        self.serving_tree_is_void()
        self.peer.history_ends_at(zxid)
        host.flush_appends()
        command = host.disk_command(DISK_TRUNCATE)
        command.zxid = zxid
        host.submit_disk(command, Truncated(self, command))

    def cannot_truncate(self, zxid: i64) -> None:
        """The oldest snapshot has more than TRUNC would leave: only the leader's own tree will do.

        Nothing was changed: what there is may have been acked, and stays until a SNAP is durable in its
        place.  Upstream exits here, and again after each restart.
        """
        self.must_reload = False
        sync_now = self.sync
        if self.state == SYNCHRONIZATION and sync_now is not None:
            self.peer.snap_wanted_in = epoch_of(sync_now.new_leader_zxid)
            self.end(f"no snapshot reaches back to 0x{zxid:x}, where the log is to be cut: asking for a SNAP")

    def serving_tree_is_void(self) -> None:
        """No snapshot may be taken of a tree that is about to be replaced."""
        self.host.tree_is_void()

    def reload_tree(self) -> None:
        """Asks for the tree to be loaded from disk."""
        if self.state != LOST:
            self.wants_reload = True

    def reloaded(self) -> None:
        """The tree is what the disk holds."""
        self.must_reload = False
        sync_now = self.sync
        if self.state == SYNCHRONIZATION and sync_now is not None:
            last = self.host.tree.last_processed_zxid
            cut = sync_now.cut_zxid()
            if not self.ends_at(last, cut):
                # What the leader sends next goes on from the cut, and not from here.
                self.end(f"the log is cut at 0x{cut:x}, and what is left of the history ends at 0x{last:x}")
                return
            self.carry_out(sync_now.truncated())
            self.resume()

    def ends_at(self, last: i64, cut: i64) -> bool:
        """Whether a history that ends with ``last`` is all there was up to ``cut``.

        No txn has the zxid at which an epoch starts: a log that is cut there ends with the epoch before.  One
        that keeps no log has only its last snapshot to go back to.
        """
        if cut & 0xFFFFFFFF == 0 and self.keeps_log():
            return last <= cut
        return last == cut

    def keeps_log(self) -> bool:
        """Whether txns go to a log (an observer may be told to keep none)."""
        return not self.is_observer or self.host.settings.sync_enabled

    def begin_snapshot(self) -> None:
        """SNAP: from here the stream is a snapshot's."""
        self.must_reload = True
        self.serving_tree_is_void()
        host = self.host
        self.loader = TreeLoader(
            host.tree.types, host.settings.digest_enabled, host.settings.longest_record()
        )
        self.snapshot_read = False
        self.after_snapshot = b""
        self.feed_snapshot(self.buffer.take_raw())

    def feed_snapshot(self, data: bytes) -> None:
        """More of the snapshot's stream, or of the mark behind it."""
        loader = self.loader
        assert loader is not None
        if self.snapshot_read:
            self.after_snapshot += data
        else:
            loader.feed(data)
            self.snapshot_read = loader.done
            self.after_snapshot = loader.leftover
        if not self.snapshot_read:
            return
        r = Reader(self.after_snapshot)
        try:
            mark = r.read_ustring()
        except EndOfData:
            return
        if mark != SNAPSHOT_END_MARK:
            raise JuteError(f"the snapshot ends with {mark!r}")
        rest = r.read_rest()
        self.loader = None
        self.after_snapshot = b""
        self.adopt_tree(loader.tree)
        sync_now = self.sync
        assert sync_now is not None
        self.buffer.feed(rest)
        self.carry_out(sync_now.snapshot_loaded())
        self.take_packets()

    def adopt_tree(self, tree: DataTree) -> None:
        """The received tree takes the place of the own one."""
        sync_now = self.sync
        assert sync_now is not None
        tree.last_processed_zxid = sync_now.last_queued
        self.host.replace_tree(tree)

    def resume(self) -> None:
        """Goes on with packets that came while something had to be waited for."""
        if self.state != LOST and self.loader is None:
            self.take_packets()

    def save_snapshot(self) -> None:
        """The received tree, durably, in the place of the history there was."""
        host = self.host
        zxid = host.tree.last_processed_zxid
        host.last_logged_zxid = zxid
        host.last_synced_zxid = zxid
        self.peer.history_ends_at(0)
        host.flush_appends()
        begin = host.disk_command(DISK_SNAPSHOT_BEGIN)
        begin.zxid = zxid
        host.submit_disk(begin, None)
        walk = SnapshotWalk(host.tree)
        chunk = walk.step(SNAPSHOT_SLICE_NODES)
        while chunk is not None:
            command = host.disk_command(DISK_SNAPSHOT_CHUNK)
            command.data = chunk
            host.submit_disk(command, None)
            chunk = walk.step(SNAPSHOT_SLICE_NODES)
        end = host.disk_command(DISK_SNAPSHOT_END)
        end.zxid = zxid
        end.value = host.tree.digest
        host.submit_disk(end, None)

    def log(self, entry: TxnEntry) -> None:
        """A txn goes to the log."""
        if self.keeps_log():
            self.host.append(entry)

    def apply(self, entry: TxnEntry) -> None:
        """A txn of the leader's history takes effect before anybody is served.

        Publishers do not hear of it here: before UPTODATE the leader itself may not have a quorum, and what
        it had logged and nobody else may still be lost with it.  They read it from the log afterwards.
        """
        host = self.host
        if entry.header.zxid > host.tree.last_processed_zxid:
            host.tree.process_txn(entry.header, entry.record)
            host.committed_log.add(entry)

    def synchronised(self) -> None:
        """UPTODATE: serve, and take the rest of the proposals like any other."""
        sync_now = self.sync
        assert sync_now is not None
        self.sync = None
        self.state = BROADCAST
        took_ms = self.host.now_ms - self.sync_began_ms
        metrics = self.host.metrics
        (metrics.observer_sync_time if self.is_observer else metrics.follower_sync_time).add(took_ms)
        self.host.note_available(False)
        self.peer.election.update_election_vote(sync_now.new_leader_zxid >> 32)
        self.host.info(
            f"{self.name()}: synchronised by {SYNC_MODES[sync_now.mode]} with leader {self.leader_sid} "
            f"at zxid 0x{self.host.tree.last_processed_zxid:x}"
        )
        self.begin_broadcast()
        self.begin_relaying(sync_now.new_leader_zxid)
        committed = sync_now.pending[: sync_now.commits]
        # An Apache leader dumps its tree behind what it has queued up to NEWLEADER: the dump may have these.
        self.host.tree.is_fuzzy = sync_now.mode == SYNC_SNAP
        for txn in sync_now.pending:
            self.propose(entry_of(txn.zxid, txn.raw))
        for txn in committed:
            self.commit(txn.zxid)
        self.host.tree.is_fuzzy = False

    def begin_broadcast(self) -> None:
        """Serving begins: every session is touched once, so that the leader hears who is here."""

    # --- broadcast ----------------------------------------------------------------------------------------

    def broadcast_packet(self, p: QuorumPacket) -> None:
        """One packet of the BROADCAST phase; subclasses take PROPOSAL, COMMIT, INFORM."""
        kind = p.type
        if kind == codes.PACKET_PING:
            self.answer_ping(p.zxid)
        elif kind == codes.PACKET_SYNC:
            self.sync_answered(p.data)
        elif kind == codes.PACKET_REVALIDATE:
            self.revalidate_answered(p)
        elif kind == codes.PACKET_UPTODATE:
            self.host.warn("a second UPTODATE")
        else:
            self.host.warn(f"unexpected packet: {describe_packet(p)}")

    def propose(self, entry: TxnEntry) -> None:
        """A txn is proposed."""
        raise AssertionError("not reached")

    def commit(self, zxid: i64) -> None:
        """The oldest proposed txn is committed."""
        raise AssertionError("not reached")

    def commit_entry(self, entry: TxnEntry, designated_leader: i64 = NO_RECONFIG) -> None:
        """A committed txn takes effect; whoever asked for it here is answered.

        ``designated_leader`` is given with a reconfiguration that is activated by its commit.
        """
        header = entry.header
        self.serving.commit(entry, self.serving.match(header.client_id, header.cxid))
        if header.type == codes.OP_CREATE_SESSION:
            timeout_ms = self.host.tree.sessions.get(header.client_id, 0)
            self.touched[header.client_id] = timeout_ms
        relay = self.relay
        if relay is not None:
            if designated_leader == NO_RECONFIG:
                relay.inform(entry)
            else:
                relay.inform_and_activate(entry, designated_leader)

    def answer_ping(self, zxid: i64) -> None:
        """PING back, with the sessions heard since the last one."""
        touches = list(self.touched.items())
        self.touched = {}
        self.send(codes.PACKET_PING, zxid, encode_touches(touches))

    def touch(self, session_id: i64, timeout_ms: i64) -> bool:
        self.touched[session_id] = timeout_ms
        return True

    def revalidate(self, conn_id: i64, session_id: i64, timeout_ms: i64) -> None:
        if self.relay is not None:
            self.relay.owners[session_id] = OWN_CLIENT
        self.revalidating.append(PendingRevalidation(session_id, timeout_ms, conn_id, None))
        self.send(codes.PACKET_REVALIDATE, -1, encode_revalidate(session_id, timeout_ms))

    def revalidate_answered(self, p: QuorumPacket) -> None:
        """The leader knows whether the session lives; answers come in the order of the questions."""
        session_id, valid = decode_revalidate_answer(p.data)
        asked: PendingRevalidation | None = None
        for one in self.revalidating:
            if one.session_id == session_id:
                asked = one
                break
        if asked is None:
            self.host.warn(f"a REVALIDATE that nobody asked for: {describe_packet(p)}")
            return
        self.revalidating.remove(asked)
        if asked.handler is None:
            self.serving.revalidated(asked.conn_id, session_id, valid)
            return
        if valid:
            self.touched[session_id] = asked.timeout_ms
        relay = self.relay
        if relay is not None and asked.handler.conn_id in relay.handlers:
            relay.queue(asked.handler, codes.PACKET_REVALIDATE, p.zxid, p.data)

    def submit(self, request: Request) -> None:
        row = OPS.get(request.op)
        assert row is not None
        # A write that no leader could read must not get that far: it would be given a zxid, and a Java
        # leader of 3.9 would be stopped by it.
        row.validate(request.body)
        if row.kind == KIND_SYNC:
            self.syncs.append(PendingSync(request, None, False))
        self.forward(request)

    def forward(self, request: Request) -> None:
        """REQUEST to the leader."""
        ids = None if request.op == codes.OP_CREATE_SESSION else request.ids
        self.out.append(request_packet(request.session_id, request.cxid, request.op, request.body, ids))

    def sync_answered(self, data: bytes | None) -> None:
        """SYNC: the oldest sync is done; or, where it tells a lag, the oldest question for one."""
        found: PendingSync | None = None
        for one in self.syncs:
            if data is None or one.is_probe:
                found = one
                break
        if found is None:
            self.host.warn("a SYNC that nobody asked for")
            return
        self.syncs.remove(found)
        if found.request is not None:
            self.serving.synced(found.request)
        elif found.handler is None:
            self.probe_answered(data)
        else:
            relay = self.relay
            if relay is not None and found.handler.conn_id in relay.handlers:
                relay.queue(found.handler, codes.PACKET_SYNC, 0, data)

    def probe_answered(self, data: bytes | None) -> None:
        """Our own question how far behind we are is answered."""

    # --- observers under this server ----------------------------------------------------------------------

    def begin_relaying(self, epoch_zxid: i64) -> None:
        """Takes observers from now on, where the configuration says so."""
        if self.host.settings.observer_master_port > 0 and self.state == BROADCAST:
            self.relay = Relay(self.host, self.peer, self, epoch_zxid)
            self.relay.start()

    def pass_up(self, packet: bytes) -> None:
        self.out.append(packet)

    def sync_for(self, handler: LearnerHandler, is_probe: bool) -> None:
        self.syncs.append(PendingSync(None, handler, is_probe))

    def revalidate_for(self, handler: LearnerHandler, session_id: i64, timeout_ms: i64) -> None:
        # The client is with that observer now: what its old connection here still brings comes too late.
        self.serving.session_closed(session_id)
        self.revalidating.append(PendingRevalidation(session_id, timeout_ms, 0, handler))

    def heard_for(self, session_id: i64, timeout_ms: i64) -> None:
        self.touched[session_id] = timeout_ms

    def answer_probe(self) -> bytes | None:
        # A follower is as near to the leader as anybody can be.
        return encode_packet(codes.PACKET_SYNC, 0, encode_lag(0, 0))
