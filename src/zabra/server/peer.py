"""Peer: a member of an ensemble: its views, its epochs, its election and the connections of the election.

It lives as long as the server; roles come and go above it.  Source: upstream ``QuorumPeer``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.config.ensemble import EnsembleConfig, EnsembleError, QuorumServer
from zabra.proto.notification import Notification
from zabra.server.election_connection import ElectionActions, ElectionConnections
from zabra.server.host import Durable, Host
from zabra.server.masters import NOBODY, Masters
from zabra.server.oracle import Oracle
from zabra.server.ready import (
    DISK_ACCEPTED_EPOCH,
    DISK_CURRENT_EPOCH,
    PORT_CLIENT,
    PORT_ELECTION,
    Listen,
)
from zabra.server.reconfig import ConfigFiles, config_of_txn
from zabra.server.session_claim import SessionClaim
from zabra.zab.election import ElectionStep, ElectionTiming, FastLeaderElection, Outcome
from zabra.zab.quorum import QuorumVerifier, verifier_of

WILDCARD_HOST: Final = "0.0.0.0"


class Peer:
    """One member.  ``outcome`` is set when an election has ended, and taken by the server."""

    def __init__(
        self, host: Host, config: EnsembleConfig, accepted_epoch: i64, current_epoch: i64
    ) -> None:
        self.host: Host = host
        settings = host.settings
        self.sid: i64 = settings.server_id
        self.config: EnsembleConfig = config
        # Another configuration that was proposed and is not active yet.
        self.last_seen: EnsembleConfig | None = None
        # It has no file any more, although its quorums count until a leader says what does.
        self.next_is_void: bool = False
        self.files: ConfigFiles = ConfigFiles(host)
        # This server's line: the last one there was, where it is in no view any more.
        self.own: QuorumServer | None = config.servers.get(self.sid)
        # Whether an agreed view ever had this server.
        self.was_member: bool = self.own is not None and config.version > 0
        # Where clients find it; from a static clientPort, or from its line.
        self.client_address: tuple[str, int] | None = None if self.own is None else self.own.client
        if self.own is not None and settings.reconfig_enabled:
            settings.is_observer = self.own.observer
        # What the leader sent with NEWLEADER: in force once it says UPTODATE.
        self.leaders_config: EnsembleConfig | None = None
        self.accepted_epoch: i64 = accepted_epoch
        # The epoch whose leader cannot be followed but by a SNAP, -1 if there is none.
        self.snap_wanted_in: i64 = -1
        self.current_epoch: i64 = current_epoch
        self.outcome: Outcome | None = None
        # Those the leadership needs are leaving it again, or a newer configuration was heard of.
        self.abandoned: bool = False
        # What decides between two voters, where that is configured.
        self.oracle: Oracle | None = Oracle() if settings.has_oracle else None
        self.heard_config: EnsembleConfig | None = None
        timing = ElectionTiming(
            settings.finalize_wait_ms, settings.min_notification_ms, settings.max_notification_ms
        )
        self.election: FastLeaderElection = FastLeaderElection(
            self.sid, not settings.is_observer, config, timing, settings.reconfig_enabled,
            None if self.oracle is None else False,
        )
        handshake_ms = settings.quorum_handshake_timeout_ms
        if handshake_ms < 0:
            handshake_ms = settings.sync_limit_ticks * settings.tick_ms
        self.links: ElectionConnections = ElectionConnections(
            self.sid, self.own_election_addresses(), settings.multi_address, handshake_ms
        )
        # At an observer: whom it may stand under, how often in a row that came to nothing, and the session
        # ids of one without a number.
        self.masters: Masters = Masters(settings, host.random)
        self.masters.use(config)
        self.failures: i64 = 0
        self.claim: SessionClaim = SessionClaim(host.random)
        self.show_view()
        # Who leads after the reconfiguration that ended the last role, without an election.
        self.next_leader: i64 = NOBODY
        # Dials of the election under way: which server each is for.
        self._dials: dict[int, int] = {}

    # --- views ------------------------------------------------------------------------------------------

    def own_election_addresses(self) -> list[tuple[str, int]]:
        """What this server says of itself to those it dials."""
        return [] if self.own is None else self.own.election_addresses()

    def own_quorum_addresses(self) -> list[tuple[str, int]]:
        """Where learners find this server when it leads; empty if it never was in a configuration."""
        return [] if self.own is None else self.listen_addresses(self.own.quorum_addresses())

    def observer_master_addresses(self) -> list[tuple[str, int]]:
        """Where observers find this server when it relays."""
        port = self.host.settings.observer_master_port
        own = self.own
        if own is None:
            return [(WILDCARD_HOST, port)]
        return self.listen_addresses([(host, port) for host, _ in own.quorum_addresses()])

    def listen_addresses(self, addresses: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """``addresses``, on all interfaces where quorumListenOnAllIPs says so."""
        if self.host.settings.listen_on_all_ips:
            # Two addresses may have one port, which can be opened once.
            ports: dict[int, None] = {}
            for _, port in addresses:
                ports[port] = None
            return [(WILDCARD_HOST, port) for port in ports]
        return addresses

    def show_view(self) -> None:
        """Tells the election's connections whom there is to talk to."""
        addresses: dict[int, list[tuple[str, int]]] = {}
        for config in (self.last_seen, self.config):
            if config is not None:
                for sid, server in config.servers.items():
                    if sid != self.sid:
                        addresses[sid] = server.election_addresses()
        self.links.set_view(addresses)

    def verifiers(self) -> list[QuorumVerifier]:
        """Who must agree: the current view, and a newer one that was seen."""
        found = [self.verifier(self.config)]
        last_seen = self.last_seen
        if last_seen is not None and last_seen.version > self.config.version:
            found.append(self.verifier(last_seen))
        return found

    def verifier(self, config: EnsembleConfig) -> QuorumVerifier:
        """Who must agree in one view."""
        oracle = self.oracle
        return verifier_of(config) if oracle is None else oracle.verifier(config)

    def oracle_says(self, says: bool) -> None:
        """What the oracle's file says now."""
        oracle = self.oracle
        assert oracle is not None, "nobody asked for an oracle"
        oracle.hear(says)
        self.election.set_oracle(says)
        self.host.info(f"the oracle {'lets' if says else 'does not let'} this server go on alone")

    def is_decided(self) -> bool:
        """Whether the election has named a leader that nobody has taken up yet."""
        return self.outcome is not None

    def is_voter(self, sid: i64) -> bool:
        """Whether ``sid`` votes in the current view."""
        server = self.config.servers.get(sid)
        return server is not None and not server.observer

    def quorum_addresses_of(self, sid: i64) -> list[tuple[str, int]]:
        """Where ``sid`` takes learners when it leads."""
        server = self.config.servers.get(sid)
        if server is None and self.last_seen is not None:
            server = self.last_seen.servers.get(sid)
        return [] if server is None else server.quorum_addresses()

    def set_config(self, config: EnsembleConfig, last_seen: EnsembleConfig | None) -> None:
        """Another view is active."""
        before = self.own_election_addresses()
        self.config = config
        self.last_seen = last_seen
        self.own = config.servers.get(self.sid) or self.own
        self.election.set_config(config, last_seen)
        addresses = self.own_election_addresses()
        if addresses != before:
            self.host.out.listens.append(Listen(PORT_ELECTION, self.listen_addresses(addresses), True))
        self.links.set_own_addresses(addresses)
        self.masters.use(config)
        self.show_view()

    # --- reconfiguration ----------------------------------------------------------------------------------

    def newest_config(self) -> EnsembleConfig:
        """The view that was proposed last, active or not."""
        last_seen = self.last_seen
        if last_seen is not None and last_seen.version > self.config.version:
            return last_seen
        return self.config

    def saw(self, config: EnsembleConfig) -> None:
        """A view is proposed: from now on its quorums count as well, over a restart too.

        What a leader says takes the place also of a newer view, whose proposal was not committed then.
        """
        if not self.host.settings.reconfig_enabled:
            return
        last_seen = self.last_seen
        if last_seen is not None and last_seen.version == config.version and not self.next_is_void:
            return
        self.next_is_void = False
        if config.version == self.config.version:
            if last_seen is not None:
                self.files.forget_next()
            self.last_seen = None
        else:
            self.last_seen = config
            self.files.save_next(config)
        self.election.set_config(self.config, self.last_seen)
        self.show_view()

    def history_ends_at(self, zxid: i64) -> None:
        """The history is about to be cut behind ``zxid``, or replaced (0).

        A view that was proposed behind that is in no log of this server then.  Its file goes first: found at
        a start with nothing to say that its txn was cut off, it would be put in force without it.
        """
        last_seen = self.last_seen
        if last_seen is not None and last_seen.version > zxid:
            self.files.forget_next()
            self.next_is_void = True

    def saw_proposal(self, raw: bytes) -> None:
        """A reconfig txn is proposed."""
        try:
            self.saw(config_of_txn(raw))
        except EnsembleError as error:
            self.host.warn(f"the configuration that is proposed cannot be read: {error}")

    def process_reconfig(self, config: EnsembleConfig, designated_leader: i64, in_tree: bool) -> bool:
        """The view is committed: it is the active one.  True where this server's role or leader changes.

        ``designated_leader`` is NOBODY where none is named, and an election follows any change of leader;
        ``in_tree``: a txn brings the view into the tree.  Source: upstream ``QuorumPeer.processReconfig``.
        """
        settings = self.host.settings
        if not settings.reconfig_enabled and not settings.is_self_registered:
            return False
        old = self.config
        if config.version <= old.version:
            return False
        leader = self.election.current_vote.leader
        self.put_in_force(config)
        if not in_tree:
            self.host.show_config(config)
        if config.same_as(old):
            return False
        self.move_client_port(config)
        role_changes = self.take_role(config)
        self.next_leader = NOBODY
        if designated_leader == NOBODY:
            return self.leader_moves(leader, old, config) or role_changes
        leader_changes = leader != NOBODY and leader != designated_leader
        if role_changes or leader_changes:
            self.next_leader = designated_leader
            self.host.info(f"after the reconfiguration {designated_leader} leads")
        return role_changes or leader_changes

    def put_in_force(self, config: EnsembleConfig) -> None:
        """Makes the view the active one, on disk as well."""
        last_seen = self.last_seen
        if last_seen is not None and last_seen.version <= config.version:
            last_seen = None
        self.set_config(config, last_seen)
        self.host.info(f"configuration 0x{config.version:x} is active: voters {config.voters()}")
        own = config.servers.get(self.sid)
        has_client = own is not None and own.client is not None and not own.client_from_static
        # A joiner goes on as its own file says until it is a member, so that it can be started again; one
        # that was a member must never again take itself for a voter of an older view.
        self.was_member = self.was_member or own is not None
        if self.was_member:
            self.files.save_active(config, has_client)
        if last_seen is None:
            self.files.forget_next()

    def move_client_port(self, config: EnsembleConfig) -> None:
        """Listens for clients where the view says."""
        own = config.servers.get(self.sid)
        if own is None or own.client is None or own.client == self.client_address:
            return
        old = self.client_address
        self.client_address = own.client
        if old is None or old[1] != own.client[1] or (old[0] or WILDCARD_HOST) != own.client[0]:
            self.host.out.listens.append(Listen(PORT_CLIENT, [own.client], True))

    def take_role(self, config: EnsembleConfig) -> bool:
        """Participant or observer, as the view says; one that is in no view is a follower without a vote."""
        settings = self.host.settings
        if settings.is_self_registered:
            return False
        own = config.servers.get(self.sid)
        is_observer = own is not None and own.observer
        if is_observer == settings.is_observer:
            return False
        settings.is_observer = is_observer
        self.election.participant = not is_observer
        self.masters.use(config)
        self.host.info("becoming an observer" if is_observer else "becoming a participant")
        return True

    def leader_moves(self, leader: i64, old: EnsembleConfig, new: EnsembleConfig) -> bool:
        """Whether ``leader`` is not where it was, or does not vote."""
        if leader == NOBODY:
            return False
        before = old.servers.get(leader)
        after = new.servers.get(leader)
        if before is None or after is None or before.observer or after.observer:
            return True
        return sorted(before.quorum_addresses()) != sorted(after.quorum_addresses())

    def stays_leader(self, config: EnsembleConfig) -> bool:
        """Whether this server may go on leading under ``config``: a voter where its learners find it now."""
        own = self.own
        after = config.servers.get(self.sid)
        if own is None or after is None or after.observer:
            return False
        return sorted(own.quorum_addresses()) == sorted(after.quorum_addresses())

    def adopt_leaders_config(self) -> bool:
        """UPTODATE: what came with NEWLEADER is committed.  True as in ``process_reconfig``."""
        config = self.leaders_config
        self.leaders_config = None
        return config is not None and self.process_reconfig(config, NOBODY, False)

    def adopt_heard_config(self) -> bool:
        """While LOOKING: another server has a newer view.  True where the election must begin anew."""
        config = self.heard_config
        self.heard_config = None
        if config is None or config.version <= self.config.version:
            return False
        before = self.config
        self.process_reconfig(config, NOBODY, False)
        self.next_leader = NOBODY
        return not config.same_as(before)

    def take_next_leader(self) -> i64:
        """Whom to follow without an election, once; NOBODY where one is needed."""
        leader = self.next_leader
        self.next_leader = NOBODY
        return leader

    def saw_config(self, text: bytes) -> None:
        """The leader's newest view, sent with NEWLEADER: what counts from now on, where views may change."""
        settings = self.host.settings
        if not settings.reconfig_enabled and not settings.is_self_registered:
            return
        try:
            seen = EnsembleConfig.parse(text.decode("utf-8", "replace"))
        except EnsembleError as error:
            self.host.warn(f"the leader's configuration cannot be read: {error}")
            return
        if settings.is_self_registered:
            if seen.version > self.config.version or self.may_replace(seen):
                self.set_config(seen, None)
                self.host.show_config(seen)
        else:
            self.saw(seen)
            self.leaders_config = seen

    def may_replace(self, seen: EnsembleConfig) -> bool:
        """Whether another view of the same version counts: for one that has no view of its own."""
        if not self.host.settings.is_self_registered or seen.version < self.config.version:
            return False
        return seen.format() != self.config.format()

    def activate(self, raw: bytes, designated_leader: i64) -> bool:
        """The committed reconfig txn ``raw`` brings a view.  True as in ``process_reconfig``."""
        try:
            config = config_of_txn(raw)
        except EnsembleError as error:
            self.host.warn(f"the configuration that is committed cannot be read: {error}")
            return False
        return self.process_reconfig(config, designated_leader, True)

    # --- epochs -----------------------------------------------------------------------------------------

    def save_accepted_epoch(self, epoch: i64, durable: Durable) -> None:
        """Writes acceptedEpoch; ``durable`` hears when it may be acted upon."""
        self.accepted_epoch = epoch
        self._save_epoch(DISK_ACCEPTED_EPOCH, epoch, durable)

    def save_current_epoch(self, epoch: i64, durable: Durable | None) -> None:
        """Writes currentEpoch, behind everything that was appended before."""
        self.current_epoch = epoch
        self._save_epoch(DISK_CURRENT_EPOCH, epoch, durable)

    def _save_epoch(self, kind: i64, epoch: i64, durable: Durable | None) -> None:
        self.host.flush_appends()
        command = self.host.disk_command(kind)
        command.value = epoch
        self.host.submit_disk(command, durable)

    # --- the election -------------------------------------------------------------------------------------

    def look(self, last_zxid: i64) -> None:
        """Begins an election with this much history."""
        self.outcome = None
        self.abandoned = False
        step = self.election.start(last_zxid, self.current_epoch, self.host.now_ms)
        actions = ElectionActions()
        self.links.connect_all(actions)
        self._drive(step, actions)
        self._carry_out(actions)

    def follow(self, leader: i64, last_zxid: i64) -> None:
        """Without an election: a reconfiguration has named the leader, perhaps this server."""
        self.abandoned = False
        self.outcome = self.election.adopt(leader, last_zxid, self.host.now_ms)

    def observe(self, last_zxid: i64) -> None:
        """Without an election: this server's masters know who leads."""
        self.abandoned = False
        self.outcome = self.election.adopt(NOBODY, last_zxid, self.host.now_ms)

    def tick(self) -> None:
        """Time has passed."""
        now = self.host.now_ms
        actions = self.links.tick(now)
        self._drive(self.election.tick(now), actions)
        self._carry_out(actions)

    def end_turn(self) -> None:
        """Asks for the turns that the election needs next; this turn may have begun it."""
        for deadline in (self.election.next_deadline_ms(), self.links.next_deadline_ms()):
            if deadline >= 0:
                self.host.wake_by(deadline)

    def accepted(self, conn_id: i64) -> None:
        """A connection came in through the election port."""
        self._carry_out(self.links.accepted(conn_id, self.host.now_ms))

    def dialled(self, dial_id: int, conn_id: i64) -> None:
        """A dial of the election has succeeded."""
        sid = self._dials.pop(dial_id, None)
        if sid is None:
            self.host.close_conn(conn_id)
        else:
            self._carry_out(self.links.dialled(sid, conn_id))

    def dial_failed(self, dial_id: int) -> bool:
        """A dial has failed; False if it was none of the election's."""
        sid = self._dials.pop(dial_id, None)
        if sid is None:
            return False
        self._carry_out(self.links.dial_failed(sid))
        return True

    def received(self, conn_id: i64, data: bytes) -> None:
        """Bytes on an election connection."""
        self._carry_out(self.links.received(conn_id, data))

    def lost(self, conn_id: i64) -> None:
        """An election connection is gone."""
        self._carry_out(self.links.lost(conn_id))

    def set_congested(self, conn_id: i64, congested: bool) -> None:
        """An election connection does not take, or takes again, what is sent."""
        self._carry_out(self.links.set_congested(conn_id, congested))

    def _drive(self, step: ElectionStep, actions: ElectionActions) -> None:
        """Turns what the election wants into work for its connections."""
        for sid, notification in step.sends:
            self.links.send(sid, notification, actions)
        if step.connect_all:
            self.links.connect_all(actions)
        if step.outcome is not None:
            self.outcome = step.outcome
        if step.abandoned:
            self.abandoned = True
        if step.newer_config is not None:
            self.heard_config = step.newer_config
        for note in step.notes:
            self.host.info(note)

    def _carry_out(self, actions: ElectionActions) -> None:
        """Carries out what the connections want, which may make the election want more."""
        while True:
            for conn_id, data in actions.sends:
                self.host.send(conn_id, data)
            for conn_id, reason in actions.closes:
                self.host.info(f"election connection closed: {reason}")
                self.host.close_conn(conn_id)
            for sid, addresses in actions.dials:
                timeout_ms = self.host.settings.election_connect_timeout_ms
                self._dials[self.host.dial(PORT_ELECTION, addresses, timeout_ms)] = sid
            for note in actions.notes:
                self.host.info(note)
            if not actions.notifications and not actions.ups and not actions.downs:
                return
            more = ElectionActions()
            self._tell_election(actions.ups, actions.downs, actions.notifications, more)
            actions = more

    def _tell_election(
        self,
        ups: list[int],
        downs: list[int],
        notifications: list[tuple[int, Notification]],
        more: ElectionActions,
    ) -> None:
        for sid in ups:
            self.election.peer_up(sid)
        for sid in downs:
            self._drive(self.election.peer_down(sid, self.host.now_ms), more)
        for sid, notification in notifications:
            self._drive(self.election.receive(sid, notification, self.host.now_ms), more)
