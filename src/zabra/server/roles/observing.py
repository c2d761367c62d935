"""Observing: hears what is committed (INFORM), applies and publishes it; never votes, never acks.

Its master is the leader, or whoever relays (``masters``); the election is needed only where there is nobody
else to ask.  It serves clients while it is near enough to the leader (``lag``) and has session ids to give.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import Writer
from zabra.proto import codes
from zabra.proto.packets import decode_inform_and_activate, describe_packet, encode_packet, request_packet
from zabra.proto.records import CreateSessionTxn, QuorumPacket
from zabra.proto.txn import TxnEntry
from zabra.server.host import Host
from zabra.server.lag import PROBE_SESSION, Lag, decode_lag, encode_lag
from zabra.server.masters import NOBODY, Master
from zabra.server.peer import Peer
from zabra.server.ready import PORT_QUORUM
from zabra.server.roles.learning import BROADCAST, CONNECTING, NO_RECONFIG, Learning, PendingSync, entry_of
from zabra.server.serving import Serving
from zabra.server.views import RoleView
from zabra.zab.zxid import follows

# How long masters that do not answer are asked over and over before the leader is looked for, and again, once
# it is known, before it is asked itself: followers need a while to be in step with a new one.
PATIENCE_TICKS: Final = 4
# Between two rounds of asking all of them; doubled up to the second.
FIRST_PAUSE_MS: Final = 50
LONGEST_PAUSE_MS: Final = 800
# How long one of them may take to answer a dial.
DIAL_TIMEOUT_MS: Final = 2000


class Observing(Learning):
    """An observer: the third role of ZOOKEEPER-368.  ``leader_sid`` is NOBODY where masters are asked."""

    def __init__(
        self, host: Host, peer: Peer, serving: Serving, leader_sid: i64, looked_ms: i64
    ) -> None:
        super().__init__(host, peer, serving, leader_sid)
        settings = host.settings
        self.looked_ms: i64 = looked_ms
        # Who leads, if an election has told; asked when no master takes this observer.
        self.leader: i64 = leader_sid
        self.asks_masters: bool = peer.masters.has_list()
        # Those still to be asked in this round.
        self.round: list[Master] = []
        self.pause_ms: i64 = 0
        self.lag: Lag = Lag(settings, host.now_ms)
        self.served: bool = False
        if not self.asks_masters:
            self.ask_leader()
            return
        self.round = peer.masters.round()
        if not settings.is_self_registered or peer.masters.given_up:
            self.connect_deadline_ms = host.now_ms + PATIENCE_TICKS * settings.tick_ms

    def name(self) -> str:
        return "observer"

    def describe(self, view: RoleView) -> None:
        super().describe(view)
        view.observer_master_id = self.leader_sid
        view.has_lag = self.state == BROADCAST
        view.lag_ms = self.lag.ms(self.host.now_ms)
        view.lag_txns = self.lag.txns()

    def serves(self) -> bool:
        return self.state == BROADCAST and self.lag.in_step and self.may_make_sessions()

    # --- masters --------------------------------------------------------------------------------------------

    def connect(self, now: i64) -> None:
        if not self.asks_masters:
            super().connect(now)
            return
        host = self.host
        if self.dial_id != 0:
            # Its end wakes this server; a deadline that has passed meanwhile must not, again and again.
            if now < self.connect_deadline_ms:
                host.wake_by(self.connect_deadline_ms)
        elif now < self.retry_at_ms:
            host.wake_by(self.retry_at_ms)
        elif self.round:
            self.dial(self.round.pop(0))
        elif now >= self.connect_deadline_ms:
            self.give_up()
        else:
            # Nobody: perhaps they are electing a leader.  All observers are in this place together, so
            # each waits for a time of its own.
            self.round = self.peer.masters.round()
            self.pause_ms = min(max(FIRST_PAUSE_MS, 2 * self.pause_ms), LONGEST_PAUSE_MS)
            self.retry_at_ms = now + self.pause_ms // 2 + host.random.below(self.pause_ms)
            host.wake_by(self.retry_at_ms)

    def give_up(self) -> None:
        """No master would have this observer: the leader is asked, or looked for."""
        masters = self.peer.masters
        if self.leader != NOBODY:
            self.host.warn(f"no master takes this observer: asking the leader, {self.leader}")
            self.asks_masters = False
            settings = self.host.settings
            self.connect_deadline_ms = self.host.now_ms + settings.init_limit_ticks * settings.tick_ms
            self.ask_leader()
            self.connect(self.host.now_ms)
        else:
            masters.given_up = not masters.given_up
            self.end("no master takes this observer")

    def ask_leader(self) -> None:
        """From now on the leader itself is dialled, not by all observers at once."""
        host = self.host
        settings = host.settings
        self.leader_sid = self.leader
        longest_ms: i64 = settings.observer_reconnect_delay_ms
        if self.looked_ms > settings.observer_election_delay_ms:
            # What has spread those who lost their leader together is over: they have found it together.
            longest_ms = max(longest_ms, settings.observer_election_delay_ms)
        self.retry_at_ms = host.now_ms + host.random.below(longest_ms)

    def dial(self, master: Master) -> None:
        """Asks one of the masters."""
        self.peer.masters.asked()
        self.leader_sid = master.sid
        self.dial_id = self.host.dial(PORT_QUORUM, master.addresses, DIAL_TIMEOUT_MS)

    def dial_failed(self, dial_id: i64) -> None:
        if not self.asks_masters:
            super().dial_failed(dial_id)
        elif dial_id == self.dial_id:
            # The next one need not be waited for.
            self.dial_id = 0
            if self.state == CONNECTING:
                self.connect(self.host.now_ms)

    # --- in step --------------------------------------------------------------------------------------------

    def begin_broadcast(self) -> None:
        self.peer.masters.succeeded()
        self.peer.failures = 0
        if self.host.settings.claims_session_ids:
            self.check_claim()

    def synchronised(self) -> None:
        super().synchronised()
        if self.state == BROADCAST:
            # Nobody is served before the first answer: the question does not wait for the next turn, which
            # in a quiet ensemble comes with the leader's next PING.
            self.tick_lag(self.host.now_ms)

    def tick(self) -> None:
        super().tick()
        if self.state == BROADCAST:
            self.tick_lag(self.host.now_ms)

    def tick_lag(self, now: i64) -> None:
        """Asks how far behind this server is, and serves or stops serving by what is known of it."""
        lag = self.lag
        if lag.should_ask(now):
            self.ask(now)
        lag.tick(now, self.last_heard_ms)
        self.host.wake_by(lag.wake_ms(now))
        self.note_serving()

    def ask(self, now: i64) -> None:
        """The question: a sync of no session."""
        body = Writer()
        body.write_ustring("/")
        self.syncs.append(PendingSync(None, None, True))
        self.out.append(request_packet(PROBE_SESSION, 0, codes.OP_SYNC, body.getvalue(), []))
        self.lag.asked(now)

    def probe_answered(self, data: bytes | None) -> None:
        ms, txns = decode_lag(data)
        self.lag.answered(self.host.now_ms, ms, txns)
        self.note_serving()

    def answer_probe(self) -> bytes | None:
        lag = self.lag
        if not lag.is_known():
            return None
        return encode_packet(codes.PACKET_SYNC, 0, encode_lag(lag.ms(self.host.now_ms), lag.txns()))

    def note_serving(self) -> None:
        """Says when serving begins or ends; clients of a server that is too far behind go elsewhere."""
        serves = self.serves()
        if serves == self.served:
            return
        self.served = serves
        lag = self.lag
        behind = f"{lag.txns()} txns and {lag.ms(self.host.now_ms)} ms behind"
        if serves:
            self.host.info(f"observer: serving, {behind}")
        elif self.state == BROADCAST:
            self.host.warn(f"observer: serving nobody, {behind}")
            self.serving.close_all()

    # --- session ids of its own -----------------------------------------------------------------------------

    def may_make_sessions(self) -> bool:
        """Whether there are session ids to give out."""
        return not self.host.settings.claims_session_ids or self.peer.claim.is_held()

    def check_claim(self) -> None:
        """Sees to it that this server has session ids that nobody else has."""
        claim = self.peer.claim
        if claim.is_held() and claim.first_id not in self.host.tree.sessions:
            # It has expired while this server was away.
            claim.lose()
        if not claim.is_held() or claim.is_worn(self.serving.last_session_id):
            claim.choose(self.peer.config, self.host.wall_ms, self.serving.max_timeout_ms)
            body = Writer()
            body.write_int(int(claim.asked_timeout_ms))
            packet = request_packet(
                claim.asked_id, claim.asked_cxid, codes.OP_CREATE_SESSION, body.getvalue(), None
            )
            self.out.append(packet)

    def settle_claim(self, entry: TxnEntry) -> None:
        """Looks out for the txns that give and take the session ids; before they are applied."""
        header = entry.header
        claim = self.peer.claim
        record = entry.record
        if isinstance(record, CreateSessionTxn) and claim.is_answer(
            header.client_id, header.cxid, record.time_out
        ):
            if claim.settle(self.host.tree.sessions):
                self.serving.last_session_id = claim.first_id
                self.host.info(f"observer: session ids from 0x{claim.first_id:x} on")
            else:
                self.host.info("observer: somebody else has these session ids; asking for others")
                self.check_claim()
        elif header.type == codes.OP_CLOSE_SESSION and header.client_id == claim.first_id:
            claim.lose()
            self.check_claim()

    def answer_ping(self, zxid: i64) -> None:
        claim = self.peer.claim
        if claim.is_held() and self.state == BROADCAST:
            self.touched[claim.first_id] = int(self.serving.max_timeout_ms)
            if claim.asked_id == 0 and claim.is_worn(self.serving.last_session_id):
                self.check_claim()
        super().answer_ping(zxid)

    # --- what is committed ----------------------------------------------------------------------------------

    def broadcast_packet(self, p: QuorumPacket) -> None:
        kind = p.type
        if kind == codes.PACKET_INFORM:
            data = p.data
            if data is None:
                self.end(f"INFORM without a txn: {describe_packet(p)}")
            else:
                self.inform(entry_of(p.zxid, data), NO_RECONFIG)
        elif kind == codes.PACKET_INFORM_AND_ACTIVATE:
            leader, raw = decode_inform_and_activate(p.data)
            entry = entry_of(p.zxid, raw)
            moves = self.peer.activate(raw, leader)
            self.inform(entry, leader)
            if moves:
                self.move()
        elif kind == codes.PACKET_PROPOSAL or kind == codes.PACKET_COMMIT:
            self.host.warn(f"ignoring {describe_packet(p)}: observers hear by INFORM")
        else:
            super().broadcast_packet(p)

    def inform(self, entry: TxnEntry, designated_leader: i64) -> None:
        """A committed txn: applied at once; the own log follows in its own time."""
        zxid = entry.header.zxid
        last = self.host.tree.last_processed_zxid
        if zxid <= last or (not follows(last, zxid) and last & 0xFFFFFFFF != 0):
            self.end(f"INFORM 0x{zxid:x} does not follow 0x{last:x}")
            return
        host = self.host
        host.metrics.learner_commit_received_count.add(1)
        host.stats.aged(host.metrics.commit_propagation_latency, entry, host.wall_ms)
        self.lag.informed(host.now_ms)
        if host.settings.claims_session_ids:
            self.settle_claim(entry)
        self.log(entry)
        self.commit_entry(entry, designated_leader)

    def propose(self, entry: TxnEntry) -> None:
        # Only right after synchronisation: what was proposed and committed meanwhile.
        self.pending.append(entry)

    def commit(self, zxid: i64) -> None:
        entry = self.pending.take()
        assert entry.header.zxid == zxid, "LearnerSync keeps commits in order"
        self.inform(entry, NO_RECONFIG)
