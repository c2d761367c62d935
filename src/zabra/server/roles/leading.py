"""Leading: discovers the epoch, synchronises learners, proposes, commits, and steps down without a quorum.

Source: Zab paper, section IV; upstream ``Leader``.
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from zabra.config.ensemble import EnsembleConfig
from zabra.processors.membership import Membership
from zabra.processors.ops import OPS
from zabra.proto import codes
from zabra.proto.packets import (
    decode_ack_epoch,
    decode_learner_info,
    decode_request,
    decode_revalidate,
    decode_touches,
    describe_packet,
    encode_activate,
    encode_inform_and_activate,
    encode_leader_info,
    encode_packet,
    encode_revalidate_answer,
)
from zabra.proto.records import QuorumPacket
from zabra.proto.request import Request
from zabra.proto.txn import TxnEntry
from zabra.server import learner_handler
from zabra.server.host import Durable, Host
from zabra.server.lag import PROBE_SESSION, encode_lag
from zabra.server.learner_handler import LearnerHandler, LearnerMaster
from zabra.server.masters import NOBODY
from zabra.server.peer import Peer
from zabra.server.roles.learning import NO_RECONFIG
from zabra.server.roles.proposing import Proposing
from zabra.server.roles.role import shares_of
from zabra.server.roles.syncing import LearnerSyncer
from zabra.server.serving import Serving
from zabra.server.views import LeaderView, RoleView, SizeStats, quorum_view
from zabra.zab import phases
from zabra.zab.broadcast import Broadcast, Proposal
from zabra.zab.discovery import EPOCH_MAX, PROCEED, REFUSE, DiscoveryStep, EpochProposer, StateSummary
from zabra.zab.quorum import AckSet, verifier_of
from zabra.zab.synchronization import NewLeaderAcks

# The leader's own phase.
DISCOVERY: Final = 1
SYNCHRONIZATION: Final = 2
BROADCAST: Final = 3
LOST: Final = 4

# Learner id of a local client's sync in Broadcast's list.
LOCAL_SYNC: Final = 0


class AcceptedSaved(Durable):
    """acceptedEpoch is durable: the epoch may be told."""

    def __init__(self, role: "Leading") -> None:
        self.role: Leading = role

    def done(self) -> None:
        self.role.accepted_saved()


class CurrentSaved(Durable):
    """currentEpoch is durable: the leader's own ack of NEWLEADER."""

    def __init__(self, role: "Leading") -> None:
        self.role: Leading = role

    def done(self) -> None:
        self.role.current_saved()


def inform_packet(proposal: Proposal, designated: i64) -> bytes:
    """INFORM; INFORMANDACTIVATE where the proposal is a reconfiguration."""
    if designated == NO_RECONFIG:
        return encode_packet(codes.PACKET_INFORM, proposal.zxid, proposal.raw)
    data = encode_inform_and_activate(designated, proposal.raw)
    return encode_packet(codes.PACKET_INFORM_AND_ACTIVATE, proposal.zxid, data)


class Leading(Proposing, LearnerMaster, Membership):
    """One leadership.  ``lost`` says why it is over, once it is."""

    def __init__(self, host: Host, peer: Peer, serving: Serving) -> None:
        super().__init__(host, serving)
        self.peer: Peer = peer
        self.state: i64 = DISCOVERY
        self.lost: str = ""
        settings = host.settings
        limit_ms: i64 = settings.init_limit_ticks * settings.tick_ms
        summary = StateSummary(peer.current_epoch, host.tree.last_processed_zxid)
        verifiers = peer.verifiers()
        if peer.oracle is not None:
            peer.oracle.count_followers(0)
        self.proposer: EpochProposer = EpochProposer(peer.sid, verifiers[0], summary, limit_ms, host.now_ms)
        self.acks: NewLeaderAcks | None = None
        self.broadcast: Broadcast | None = None
        self.epoch_zxid: i64 = 0
        self.handlers: dict[int, LearnerHandler] = {}
        self.dirty: dict[int, LearnerHandler] = {}
        self.syncer: LearnerSyncer = LearnerSyncer(host)
        # Local clients' syncs that wait for a commit.
        self.local_syncs: deque[Request] = deque()
        self.next_ping_ms: i64 = host.now_ms
        self.next_quorum_check_ms: i64 = host.now_ms
        self.started_ms: i64 = host.now_ms
        self.established_ms: i64 = -1
        self.proposal_sizes: SizeStats = SizeStats()
        # A reconfiguration was committed under which another server leads.
        self.handed_over: bool = False

    def name(self) -> str:
        return "leader"

    def shares_of_limit(self) -> int:
        return shares_of(len(self.peer.config.voters()))

    def describe(self, view: RoleView) -> None:
        super().describe(view)
        phase = self.state if self.state != LOST else phases.ELECTION
        quorum = quorum_view(self.peer.config, phases.LEADING, phase, phases.SYNC_NONE)
        quorum.led_by(self.peer.sid)
        view.quorum = quorum
        leader = LeaderView()
        leader.uptime_ms = self.host.now_ms - self.established_ms if self.established_ms >= 0 else 0
        leader.learners = len(self.handlers)
        leader.proposal_sizes = self.proposal_sizes.copy()
        if self.broadcast is not None:
            leader.pending_syncs = self.broadcast.pending_syncs()
        view.synced_observers = 0
        for handler in self.handlers.values():
            if not handler.forwarding:
                continue
            if handler.is_observer:
                view.synced_observers += 1
                view.observers.append(handler.describe())
            else:
                leader.synced_followers += 1
                if not self.peer.is_voter(handler.sid):
                    leader.synced_non_voting_followers += 1
        view.leader = leader

    def reset_stats(self) -> None:
        self.proposal_sizes.reset()

    def reset_observer_stats(self) -> None:
        for handler in self.handlers.values():
            if handler.is_observer:
                handler.reset_stats()

    def serves(self) -> bool:
        return self.state == BROADCAST and self.host.settings.leader_serves

    def tree_is_committed(self) -> bool:
        return self.state == BROADCAST

    def is_discovering(self) -> bool:
        """Whether nothing has come of this leadership yet."""
        return self.state == DISCOVERY

    # --- membership ----------------------------------------------------------------------------------------

    def active_config(self) -> EnsembleConfig:
        return self.peer.config

    def last_seen_config(self) -> EnsembleConfig:
        return self.peer.newest_config()

    def allows_standalone(self) -> bool:
        return self.host.settings.standalone_enabled

    def is_quorum_synced(self, config: EnsembleConfig) -> bool:
        settings = self.host.settings
        limit_ms: i64 = settings.sync_limit_ticks * settings.tick_ms
        synced = [int(self.peer.sid)]
        for handler in self.handlers.values():
            in_step = handler.forwarding and handler.state == learner_handler.BROADCAST
            if in_step and not handler.is_observer and self.host.now_ms - handler.last_heard_ms <= limit_ms:
                synced.append(int(handler.sid))
        return verifier_of(config).contains_quorum(synced)

    def stamp_config(self) -> None:
        """The first view gets a version, so that it counts for more than one that was never agreed upon.

        Source: upstream ZOOKEEPER-1783: agreed upon with NEWLEADER, in force once the leadership is.
        """
        peer = self.peer
        if self.host.settings.reconfig_enabled and peer.newest_config().version == 0:
            peer.saw(peer.config.with_version(self.epoch_zxid))

    def start(self) -> None:
        """The leader is the first of its quorum."""
        self.discovered(self.proposer.start(self.peer.accepted_epoch), None)

    def end(self, reason: str) -> None:
        """The leadership is over."""
        if self.state != LOST:
            self.state = LOST
            self.lost = reason
            for handler in list(self.handlers.values()):
                handler.close("the leadership is over")

    # --- discovery ----------------------------------------------------------------------------------------

    def accepted(self, conn_id: int, peer_host: str, peer_port: int) -> LearnerHandler:
        """A learner has connected."""
        handler = LearnerHandler(self.host, self, conn_id, peer_host, peer_port)
        self.handlers[conn_id] = handler
        if self.state == LOST:
            # It came in the turn in which the leadership ended: nobody would ever answer it.
            handler.close("the leadership is over")
        return handler

    def learner_info(self, handler: LearnerHandler, packet: QuorumPacket) -> None:
        handler.is_observer = packet.type == codes.PACKET_OBSERVERINFO
        info = decode_learner_info(packet.data)
        if info is None:
            handler.sid = self.syncer.anonymous_sid()
        else:
            handler.sid = info.serverid
            handler.config_version = info.config_version
        if handler.config_version > self.peer.config.version:
            handler.close("its configuration is newer than the leader's")
            return
        if handler.sid == self.peer.sid:
            # Two servers with one id: its acks would count as this server's own.
            handler.close(f"sid {handler.sid} is the leader's own")
            return
        if not handler.is_observer and self.is_outgrown(handler.sid, packet.zxid >> 32):
            return
        self.host.info(
            f"learner {handler.sid} at {handler.peer_host}:{handler.peer_port}: "
            f"{'observer' if handler.is_observer else 'follower'}, accepted epoch {packet.zxid >> 32}"
        )
        self.discovered(self.proposer.learner_info(handler.sid, packet.zxid >> 32), handler)

    def is_outgrown(self, sid: i64, accepted_epoch: i64) -> bool:
        """Whether a voter can never follow this leader, having accepted a later epoch; then the leader ends.

        It had joined somebody who did not come to lead.  Upstream's leader stays, and the voter comes again
        and again until something else ends the epoch: for so long a quorum has a server less to lose.
        """
        epoch: i64 = self.epoch_zxid >> 32
        if epoch == 0 or accepted_epoch <= epoch or accepted_epoch > EPOCH_MAX or not self.peer.is_voter(sid):
            return False
        for other in self.handlers.values():
            if other.introduced and other.sid == sid and other.forwarding:
                # It follows this leader: whoever says otherwise is somebody else.
                return False
        self.end(f"voter {sid} has accepted epoch {accepted_epoch}, and can follow only a later one")
        return True

    def discovered(self, step: DiscoveryStep, handler: LearnerHandler | None) -> None:
        """Does what discovery asks for; ``handler`` is whose packet it was about."""
        if step.save_accepted_epoch >= 0:
            self.peer.save_accepted_epoch(step.save_accepted_epoch, AcceptedSaved(self))
        if handler is not None:
            if step.verdict == REFUSE:
                handler.close(step.reason)
            elif step.verdict == PROCEED and not handler.told_epoch:
                self.tell_epoch(handler)
        if step.epoch_ready:
            self.epoch_zxid = self.proposer.epoch << 32
            self.stamp_config()
            for one in list(self.handlers.values()):
                if one.introduced and not one.told_epoch:
                    self.tell_epoch(one)
        if step.acked:
            self.epoch_acked()

    def tell_epoch(self, handler: LearnerHandler) -> None:
        """LEADERINFO."""
        handler.told_epoch = True
        self.queue(handler, codes.PACKET_LEADERINFO, self.epoch_zxid, encode_leader_info())

    def accepted_saved(self) -> None:
        """The new epoch is durable here."""
        if self.state == DISCOVERY:
            self.discovered(self.proposer.accepted_epoch_saved(self.host.now_ms), None)

    def ack_epoch(self, handler: LearnerHandler, packet: QuorumPacket) -> None:
        epoch = decode_ack_epoch(packet.data)
        handler.last_zxid = packet.zxid
        step = self.proposer.ack_epoch(handler.sid, epoch, packet.zxid)
        if step.verdict == REFUSE:
            handler.close(step.reason)
            return
        handler.state = learner_handler.SYNCHRONIZATION
        if step.acked:
            self.epoch_acked()
        elif step.verdict == PROCEED:
            self.synchronise(handler)

    def epoch_acked(self) -> None:
        """A quorum follows in this epoch: it is the current one, and learners are brought up to date."""
        host = self.host
        settings = host.settings
        self.state = SYNCHRONIZATION
        limit_ms: i64 = settings.init_limit_ticks * settings.tick_ms
        self.acks = NewLeaderAcks(self.peer.verifiers(), self.epoch_zxid, limit_ms, host.now_ms)
        self.peer.save_current_epoch(self.proposer.epoch, CurrentSaved(self))
        for handler in list(self.handlers.values()):
            if handler.state == learner_handler.SYNCHRONIZATION:
                self.synchronise(handler)

    # --- synchronisation ----------------------------------------------------------------------------------

    def synchronise(self, handler: LearnerHandler) -> None:
        """Decides how to bring the learner up to date, and begins."""
        self.touch_handler(handler)
        if self.syncer.begin(handler, handler.is_observer and not self.peer.is_voter(handler.sid)):
            self.forward_to(handler)

    def log_read(self, token: int, entries: list[TxnEntry], complete: bool) -> None:
        """History for a learner was read back from the log."""
        handler = self.syncer.log_read(token, entries, complete)
        if handler is not None and handler.state == learner_handler.SYNCHRONIZATION:
            self.touch_handler(handler)
            self.forward_to(handler)

    def forward_to(self, handler: LearnerHandler) -> None:
        """What is outstanding goes to it (never to an observer), and from now on whatever comes."""
        # Not before: whoever merely says that he has this sid must not cost it its connection.
        for other in list(self.handlers.values()):
            if other.introduced and other.sid == handler.sid and other is not handler:
                # Acks that are still on their way there were given in a former life.
                other.close("it has come again")
        broadcast = self.broadcast
        if broadcast is not None:
            broadcast.forget_acks(handler.sid, handler.last_zxid)
            for proposal in broadcast.start_forwarding(handler.last_zxid, not handler.is_observer):
                handler.send(codes.PACKET_PROPOSAL, proposal.zxid, proposal.raw)
        handler.forwarding = True
        self.oracle_overrides()
        if handler.walk is None:
            self.send_new_leader(handler)

    def snapshot_sent(self, handler: LearnerHandler) -> None:
        self.send_new_leader(handler)

    def send_new_leader(self, handler: LearnerHandler) -> None:
        """NEWLEADER: behind everything the learner must have before it acks."""
        if not handler.new_leader_sent:
            handler.new_leader_sent = True
            # Once in BROADCAST, a newer view is a proposal like any other: the learner hears of it as such.
            config = self.peer.config if self.state == BROADCAST else self.peer.newest_config()
            text = config.format().encode("utf-8")
            self.queue(handler, codes.PACKET_NEWLEADER, self.epoch_zxid, text)

    def current_saved(self) -> None:
        """currentEpoch is durable here."""
        acks = self.acks
        if acks is not None and self.state == SYNCHRONIZATION:
            acks.ack(self.peer.sid, self.epoch_zxid)
            self.check_formed()

    def acked(self, handler: LearnerHandler, zxid: i64) -> None:
        acks = self.acks
        if handler.state == learner_handler.SYNCHRONIZATION:
            if acks is not None and acks.ack(handler.sid, zxid):
                self.learner_synced(handler)
                return
            # A 3.8 follower acks the proposals of its DIFF, perhaps before NEWLEADER (ZOOKEEPER-4685).
        if zxid >= handler.unacked_zxid:
            handler.unacked_zxid = 0
        broadcast = self.broadcast
        if broadcast is not None:
            self.note_ack(handler.sid, zxid)
            self.commit_all(broadcast.ack(handler.sid, zxid))

    def note_ack(self, sid: i64, zxid: i64) -> None:
        """How long this server took to ack, if the txn is not committed yet."""
        pending = self.pending
        if not pending.is_empty():
            place = zxid - pending.first().entry.header.zxid
            if 0 <= place < len(pending):
                age_ms = self.host.wall_ms - pending.at(place).entry.header.time
                if age_ms >= 0:
                    self.host.metrics.ack_latency.add(str(sid), age_ms)

    def learner_synced(self, handler: LearnerHandler) -> None:
        """NEWLEADER is acked: the learner is told to serve as soon as the leader does."""
        handler.state = learner_handler.BROADCAST
        self.syncer.ended(handler)
        if self.state == BROADCAST:
            self.queue(handler, codes.PACKET_UPTODATE, -1, None)
        else:
            self.check_formed()

    def check_formed(self) -> None:
        """With a quorum of acks the leadership is established."""
        acks = self.acks
        if self.state == SYNCHRONIZATION and acks is not None and acks.formed:
            self.establish()

    def establish(self) -> None:
        """Serves: proposals count on from the start of the epoch."""
        host = self.host
        self.state = BROADCAST
        host.tree.last_processed_zxid = self.epoch_zxid
        host.last_logged_zxid = self.epoch_zxid
        host.last_synced_zxid = self.epoch_zxid
        self.prep = self.new_prep(self.epoch_zxid)
        self.prep.membership = self
        designated = self.settle_config()
        self.broadcast = Broadcast(self.peer.sid, self.peer.verifiers(), self.epoch_zxid)
        self.peer.election.update_election_vote(self.proposer.epoch)
        for handler in list(self.handlers.values()):
            if handler.state == learner_handler.BROADCAST:
                self.queue(handler, codes.PACKET_UPTODATE, -1, None)
        self.next_quorum_check_ms = host.now_ms + host.settings.tick_ms
        self.established_ms = host.now_ms
        host.note_available(True)
        host.info(f"leading in epoch {self.proposer.epoch} after {host.now_ms - self.started_ms} ms")
        self.begin_sessions()
        if designated != self.peer.sid:
            self.hand_over(designated)

    def settle_config(self) -> i64:
        """What was agreed upon with NEWLEADER is in force; returns who leads under it."""
        peer = self.peer
        acks = self.acks
        assert acks is not None
        if not self.host.settings.reconfig_enabled:
            return peer.sid
        config = peer.newest_config()
        designated: i64 = peer.sid
        if not peer.stays_leader(config):
            who = acks.acks()
            others = [sid for sid in who.acked(len(who.verifiers) - 1) if sid != peer.sid]
            designated = others[0] if others else NOBODY
        peer.process_reconfig(config, designated, False)
        return designated

    def hand_over(self, designated: i64) -> None:
        """Another server leads: this one commits nothing more, and goes when its followers have gone.

        They go when they hear of it, so that a quorum of them does hear of it.
        """
        broadcast = self.broadcast
        assert broadcast is not None
        broadcast.stop_committing()
        self.handed_over = True
        self.host.info(f"the leadership goes to {designated}")

    # --- broadcast ----------------------------------------------------------------------------------------

    def queue(self, handler: LearnerHandler, kind: i64, zxid: i64, data: bytes | None) -> None:
        """One packet to one learner, at the end of the turn."""
        handler.send(kind, zxid, data)
        self.touch_handler(handler)

    def touch_handler(self, handler: LearnerHandler) -> None:
        """The handler has something to send."""
        self.dirty[handler.conn_id] = handler

    def send_proposal(self, entry: TxnEntry) -> None:
        """PROPOSAL to every follower; the bytes are made once."""
        broadcast = self.broadcast
        assert broadcast is not None
        zxid = entry.header.zxid
        is_reconfig = entry.header.type == codes.OP_RECONFIG
        if is_reconfig:
            # Its own acks count under both views, and those of everything behind it.
            self.peer.saw_proposal(entry.raw)
            broadcast.set_verifiers(self.peer.verifiers())
        broadcast.propose(zxid, entry.raw, is_reconfig)
        self.host.metrics.proposal_count.add(1)
        self.proposal_sizes.note(len(entry.raw))
        packet = encode_packet(codes.PACKET_PROPOSAL, zxid, entry.raw)
        for handler in self.handlers.values():
            if handler.forwarding and not handler.is_observer:
                handler.send_raw(packet)
                self.dirty[handler.conn_id] = handler
                if handler.unacked_zxid == 0:
                    handler.unacked_zxid = zxid
                    handler.unacked_ms = self.host.now_ms

    def propose(self, request: Request) -> None:
        broadcast = self.broadcast
        if broadcast is None or self.state != BROADCAST:
            # The leadership has ended earlier in this turn: whoever asked will be disconnected.
            return
        if broadcast.is_exhausted():
            self.end("the counter of this epoch is used up: a new epoch must begin")
            return
        super().propose(request)

    def log_synced(self, zxid: i64) -> None:
        broadcast = self.broadcast
        if broadcast is not None and self.state == BROADCAST:
            host = self.host
            # The leader's own ack of each.
            host.metrics.proposal_ack_creation_latency.add_many(host.synced_took_ms, host.synced_count)
            self.commit_all(broadcast.log_synced(zxid))

    def commit_all(self, proposals: list[Proposal]) -> None:
        """Commits, in order: COMMIT to followers, INFORM to observers, then here."""
        for proposal in proposals:
            zxid = proposal.zxid
            designated = self.activate(proposal) if proposal.is_reconfig else NO_RECONFIG
            if designated == NO_RECONFIG:
                commit = encode_packet(codes.PACKET_COMMIT, zxid, None)
            else:
                commit = encode_packet(codes.PACKET_COMMIT_AND_ACTIVATE, zxid, encode_activate(designated))
            inform: bytes | None = None
            for handler in self.handlers.values():
                if not handler.forwarding:
                    continue
                if handler.is_observer:
                    if inform is None:
                        inform = inform_packet(proposal, designated)
                    handler.send_raw(inform)
                else:
                    handler.send_raw(commit)
                self.dirty[handler.conn_id] = handler
            host = self.host
            host.metrics.commit_count.add(1)
            host.stats.aged(host.metrics.quorum_ack_latency, self.pending.first().entry, host.wall_ms)
            self.commit_next(zxid)
            self.answer_syncs(zxid)
            if designated != NO_RECONFIG:
                self.activated(designated)

    def activate(self, proposal: Proposal) -> i64:
        """A reconfiguration is committed: its view is in force.  Returns who leads under it."""
        broadcast = self.broadcast
        assert broadcast is not None
        stays = self.peer.stays_leader(self.peer.newest_config())
        designated = broadcast.designated_leader(proposal, stays)
        self.peer.activate(proposal.raw, designated)
        return designated

    def activated(self, designated: i64) -> None:
        """Goes on under the new view, or hands over."""
        broadcast = self.broadcast
        assert broadcast is not None
        if designated == self.peer.sid:
            broadcast.activate(self.peer.verifiers())
            self.commit_all(broadcast.take_committed())
        else:
            self.hand_over(designated)

    def answer_syncs(self, zxid: i64) -> None:
        """The syncs that waited for this commit."""
        broadcast = self.broadcast
        assert broadcast is not None
        for learner in broadcast.take_syncs(zxid):
            if learner == LOCAL_SYNC:
                self.serving.synced(self.local_syncs.popleft())
            else:
                handler = self.handlers.get(learner)
                if handler is not None:
                    self.queue(handler, codes.PACKET_SYNC, 0, None)

    def sync(self, request: Request) -> None:
        broadcast = self.broadcast
        assert broadcast is not None
        if broadcast.sync(LOCAL_SYNC):
            self.serving.synced(request)
        else:
            self.local_syncs.append(request)

    def learner_packet(self, handler: LearnerHandler, packet: QuorumPacket) -> None:
        kind = packet.type
        if kind == codes.PACKET_PING:
            for session_id, timeout_ms in decode_touches(packet.data):
                self.sessions.touch(session_id, timeout_ms, self.host.now_ms)
        elif kind == codes.PACKET_REVALIDATE:
            self.host.metrics.revalidate_count.add(1)
            session_id, timeout_ms = decode_revalidate(packet.data)
            valid = self.take_over(session_id, timeout_ms, handler.conn_id)
            data = encode_revalidate_answer(session_id, valid)
            self.queue(handler, codes.PACKET_REVALIDATE, packet.zxid, data)
        elif kind == codes.PACKET_REQUEST:
            self.forwarded(handler, packet)
        else:
            self.host.warn(f"learner {handler.sid}: unexpected {describe_packet(packet)}")

    def forwarded(self, handler: LearnerHandler, packet: QuorumPacket) -> None:
        """A learner's client asks for something."""
        if self.state != BROADCAST:
            return
        broadcast = self.broadcast
        assert broadcast is not None
        request = decode_request(packet.data)
        if request.op == codes.OP_SYNC:
            if request.session_id == PROBE_SESSION and handler.is_observer:
                # All it misses is in the stream already; what is not committed yet does not count.
                self.queue(handler, codes.PACKET_SYNC, 0, encode_lag(0, 0))
            elif broadcast.sync(handler.conn_id):
                self.queue(handler, codes.PACKET_SYNC, 0, None)
            return
        row = OPS.get(request.op)
        if row is not None and not row.makes_txn():
            # Closing would punish a relay for what an observer below it does.
            self.host.warn(f"learner {handler.sid}: {row.name} is not for a leader to do")
            return
        self.propose(
            Request(
                request.session_id,
                request.cxid,
                request.op,
                request.body,
                packet.authinfo or [],
                handler.conn_id,
                0,
                self.host.now_ms,
            )
        )

    def handler_closed(self, handler: LearnerHandler) -> None:
        self.handlers.pop(handler.conn_id, None)
        self.dirty.pop(handler.conn_id, None)
        self.syncer.ended(handler)
        if self.handed_over:
            # They are leaving: no need to find out at the next tick.
            self.next_quorum_check_ms = self.host.now_ms
            self.host.wake_by(self.host.now_ms)

    # --- time ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        host = self.host
        now = host.now_ms
        if self.state == LOST:
            return
        why = self.proposer.tick(now)
        acks = self.acks
        if not why and acks is not None:
            why = acks.tick(now)
        if why:
            self.end(why)
            return
        for deadline in (self.proposer.next_deadline_ms(), -1 if acks is None else acks.next_deadline_ms()):
            if deadline >= 0:
                host.wake_by(deadline)
        if now >= self.next_ping_ms:
            self.next_ping_ms = now + host.settings.tick_ms // 2
            self.ping_all()
        host.wake_by(self.next_ping_ms)
        if self.state == BROADCAST:
            self.tick_sessions()
            if now >= self.next_quorum_check_ms:
                self.next_quorum_check_ms = now + host.settings.tick_ms
                self.check_quorum()

    def ping_all(self) -> None:
        """PING to every learner that is past NEWLEADER; who does not answer, or not ack, is dropped."""
        settings = self.host.settings
        now = self.host.now_ms
        limit_ms: i64 = settings.sync_limit_ticks * settings.tick_ms
        zxid = self.prep.last_zxid
        for handler in list(self.handlers.values()):
            if handler.state == learner_handler.BROADCAST:
                if handler.unacked_zxid != 0 and now - handler.unacked_ms > limit_ms:
                    handler.close(f"proposal 0x{handler.unacked_zxid:x} was not acked in {limit_ms} ms")
                elif now - handler.last_heard_ms > limit_ms:
                    handler.close(f"nothing heard for {limit_ms} ms")
                else:
                    self.queue(handler, codes.PACKET_PING, zxid, None)
            elif now - handler.connected_ms > limit_ms + settings.init_limit_ticks * settings.tick_ms:
                handler.close("did not synchronise in time")

    def check_quorum(self) -> None:
        """Steps down unless a quorum was heard within syncLimit ticks."""
        settings = self.host.settings
        limit_ms: i64 = settings.sync_limit_ticks * settings.tick_ms
        heard = AckSet(self.peer.verifiers())
        if not self.handed_over:
            heard.add(self.peer.sid)
        for handler in self.handlers.values():
            if not handler.is_observer and self.host.now_ms - handler.last_heard_ms <= limit_ms:
                heard.add(handler.sid)
        if not self.handed_over and not heard.has_all_quorums() and self.oracle_overrides():
            broadcast = self.broadcast
            if broadcast is not None:
                self.commit_all(broadcast.recount())
            return
        if self.handed_over and not heard.has_all_quorums():
            self.end("another server leads under the new configuration")
        elif not heard.has_all_quorums():
            self.end(f"not heard from a quorum within {limit_ms} ms; heard: {heard!r}")

    def oracle_overrides(self) -> bool:
        """Whether the oracle lets this leader go on without the other one of two voters."""
        oracle = self.peer.oracle
        if oracle is None:
            return False
        followers: i64 = 0
        for handler in self.handlers.values():
            if handler.forwarding and not handler.is_observer:
                followers += 1
        return oracle.count_followers(followers)

    def end_turn(self) -> None:
        dirty = self.dirty
        if dirty:
            self.dirty = {}
            for handler in dirty.values():
                handler.flush()
                if handler.walk is not None and handler.state != learner_handler.CLOSED:
                    self.dirty[handler.conn_id] = handler

    def take_over(self, session_id: i64, timeout_ms: i64, owner: i64) -> bool:
        if self.state != BROADCAST:
            return False
        return super().take_over(session_id, timeout_ms, owner)
