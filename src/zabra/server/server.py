"""Server: one ZooKeeper server without sockets, files, clocks or threads.

A driver calls ``begin_turn``, then the methods that say what happened, then ``ready``, and carries out
what that returns.  See ``ready`` for the vocabulary and docs/ARCHITECTURE.md for the walk of a write.
"""

from typing import Final

from mypy_extensions import i64

from zabra.auth.registry import Providers
from zabra.config.ensemble import EnsembleConfig
from zabra.proto.txn import TxnEntry
from zabra.server.host import Host
from zabra.server.learner_handler import LearnerHandler
from zabra.server.masters import NOBODY
from zabra.server.peer import Peer
from zabra.server.ready import (
    PORT_CLIENT,
    PORT_ELECTION,
    PORT_OBSERVER_MASTER,
    PORT_QUORUM,
    Listen,
    Ready,
)
from zabra.server.reconfig import config_of_tree
from zabra.server.recovery import Recovered
from zabra.server.roles.following import Following
from zabra.server.roles.leading import Leading
from zabra.server.roles.learning import Learning
from zabra.server.roles.looking import Looking
from zabra.server.roles.observing import Observing
from zabra.server.roles.reading import Reading, grace_ms
from zabra.server.roles.relaying import Relay
from zabra.server.roles.role import Role
from zabra.server.roles.standalone import Standalone
from zabra.server.serving import Serving
from zabra.server.settings import Settings
from zabra.server.snapshotter import Snapshotter
from zabra.server.status import ENTRIES_MAX, NO_PARTS, ServerView
from zabra.server.views import RoleView
from zabra.tree.datatree import DataTree
from zabra.zab.phases import LEADING, OBSERVING

# Exit codes are upstream's (ExitCode).
EXIT_TXNLOG_ERROR: Final = 10
EXIT_CANNOT_BIND: Final = 14


# Learners that may wait while it is not clear who leads, and what each may have said by then.
EARLY_MAX: Final = 1000
EARLY_MAX_BYTES: Final = 64 * 1024


# Doublings of the time after which an observer that finds no master tries again.
MAX_BACKOFF: Final = 5


class EarlyLearner:
    """A learner that connected while this server was still LOOKING."""

    __slots__ = ("host", "port", "received", "size")

    def __init__(self, host: str, port: i64) -> None:
        self.host: str = host
        self.port: i64 = port
        self.received: list[bytes] = []
        self.size: i64 = 0

    def take(self, data: bytes) -> None:
        """Keeps what it says."""
        self.received.append(data)
        self.size += len(data)


class Server(Host):
    """The object that drivers call; see the module docstring for the order of calls."""

    def __init__(
        self,
        settings: Settings,
        providers: Providers,
        recovered: Recovered,
        seed: int,
        now_ms: int,
        wall_ms: int,
        ensemble: EnsembleConfig | None = None,
        next_ensemble: EnsembleConfig | None = None,
    ) -> None:
        super().__init__(
            settings, providers, recovered.tree, recovered.last_zxid, seed, now_ms, wall_ms
        )
        for entry in recovered.recent:
            self.committed_log.add(entry)
        self.metrics.digest_mismatches_count.add(recovered.tree.digest_mismatches)
        if recovered.fuzzy_zxid > recovered.last_zxid:
            self.warn(
                f"the snapshot holds parts of txns up to 0x{recovered.fuzzy_zxid:x}, "
                f"and the log ends at 0x{recovered.last_zxid:x}: parts of the tree may be ahead of it"
            )
        self.role: Role = Role()
        self.serving: Serving = Serving(self, self.role)
        self.snapshotter: Snapshotter = Snapshotter(self)
        # Which door each connection came through.
        self.doors: dict[int, int] = {}
        # Learners that came before it was clear that this server leads, with what they have sent.
        self.early: dict[int, EarlyLearner] = {}
        # Where learners may come in now.
        self.listening: list[tuple[str, int]] = []
        self.peer: Peer | None = None
        self.looking: Looking | None = None
        self.learning: Learning | None = None
        self.leading: Leading | None = None
        if ensemble is None:
            self.stand_alone()
        else:
            self.join(ensemble, next_ensemble, recovered.accepted_epoch, recovered.current_epoch)

    def stand_alone(self) -> None:
        """A server without an ensemble serves at once."""
        role = Standalone(self, self.serving)
        self.set_role(role)
        role.start()
        # As upstream: a server that starts to serve first saves what it starts from.
        self.snapshotter.begin()

    def join(
        self,
        ensemble: EnsembleConfig,
        next_ensemble: EnsembleConfig | None,
        accepted_epoch: i64,
        current_epoch: i64,
    ) -> None:
        """A member of an ensemble begins by looking for its leader."""
        peer = Peer(self, ensemble, accepted_epoch, current_epoch)
        self.peer = peer
        if next_ensemble is not None and next_ensemble.version > self.last_logged_zxid:
            # Its txn was lost before it was durable here, and so never acked: as if it had not been heard of.
            self.info(f"configuration 0x{next_ensemble.version:x}, once proposed, is not in the log")
            peer.files.forget_next()
            next_ensemble = None
        # What was proposed last, by its own file or by the log: perhaps committed, so its quorums count.
        for seen in (next_ensemble, config_of_tree(self.tree)):
            if seen is not None and seen.version > peer.newest_config().version:
                peer.saw(seen)
        self.show_config(ensemble)
        self.out.listens.append(
            Listen(PORT_ELECTION, peer.listen_addresses(peer.own_election_addresses()), True)
        )
        self.look([], False, 0)

    def show_config(self, ensemble: EnsembleConfig) -> None:
        """Puts the view into /zookeeper/config."""
        self.tree.set_config_node(ensemble.format(), ensemble.version, self.wall_ms)

    # --- roles --------------------------------------------------------------------------------------------

    def set_role(self, role: Role) -> None:
        """From now on ``role`` decides."""
        self.role = role
        self.serving.set_role(role)

    def look(self, unfinished: list[TxnEntry], must_reload: bool, delay_ms: i64) -> None:
        """No leader is known."""
        peer = self.peer
        assert peer is not None
        peer.outcome = None
        self.metrics.looking_count.add(1)
        self.note_unavailable()
        looking = Looking(self, peer, unfinished, must_reload, delay_ms)
        self.looking = looking
        self.set_role(looking)
        # Followers may know before we do that we lead: they find the door open.
        self.listen(peer.is_voter(peer.sid))
        looking.advance()
        if peer.is_decided():
            # It is known at once whom to ask, and nothing else need happen that would take it up.
            self.wake_by(self.now_ms)

    def listen(self, opened: bool) -> None:
        """Opens or closes the door for learners."""
        peer = self.peer
        assert peer is not None
        addresses = peer.own_quorum_addresses() if opened else []
        if self.listening != addresses:
            self.listening = addresses
            self.out.listens.append(Listen(PORT_QUORUM, addresses, len(addresses) > 0))

    def advance(self) -> None:
        """Moves from role to role, as far as is possible now."""
        peer = self.peer
        if peer is None:
            return
        if self.looking is not None:
            self.looking.advance()
            if peer.outcome is not None:
                self.take_up(peer)
            else:
                # A view that was heard of may give this server a vote, or take it away.
                self.listen(peer.is_voter(peer.sid))
                self.serve_reads(self.looking)
        if peer.abandoned:
            self.abandon(peer)
        learning = self.learning
        if learning is not None:
            if learning.wants_reload and self.disk_is_at_rest():
                learning.wants_reload = False
                self.ask_reload()
            if learning.lost:
                self.leave(learning, learning.lost, learning.must_reload)
        leading = self.leading
        if leading is not None and leading.lost:
            self.leave(leading, leading.lost, False)

    def serve_reads(self, looking: Looking) -> None:
        """Where the read-only mode is enabled: a server without a leader for long enough serves reads."""
        if not self.settings.read_only_enabled or not looking.looking or self.serving.role is not looking:
            return
        since_ms = looking.began_ms + grace_ms(self.settings)
        if self.now_ms < since_ms:
            self.wake_by(since_ms)
        else:
            self.info(f"no leader found: serving reads, zxid 0x{self.tree.last_processed_zxid:x}")
            self.serving.set_role(Reading(self.serving, looking))

    def abandon(self, peer: Peer) -> None:
        """Those that the election's outcome rests on look for another leader: no need to wait in vain."""
        peer.abandoned = False
        leading = self.leading
        learning = self.learning
        if leading is not None and leading.is_discovering():
            leading.end("its supporters are looking for another leader")
        elif learning is not None and learning.is_discovering():
            learning.end("the leader is looking for another leader")

    def take_up(self, peer: Peer) -> None:
        """The election has named a leader."""
        outcome = peer.outcome
        assert outcome is not None
        peer.outcome = None
        looked_ms: i64 = 0
        if self.looking is not None:
            looked_ms = self.now_ms - self.looking.began_ms
            self.metrics.election_time.add(looked_ms)
        self.looking = None
        leader = outcome.vote.leader
        if self.serving.role.is_read_only():
            # Their sessions are nobody's from now on: clients come back for others.
            self.serving.close_all()
        if outcome.state == LEADING:
            self.info(f"LEADING, zxid 0x{self.tree.last_processed_zxid:x}")
            leading = Leading(self, peer, self.serving)
            self.leading = leading
            self.set_role(leading)
            leading.start()
            self.adopt_early(leading)
            # Nobody may come: it must still notice.
            leading.tick()
            return
        self.listen(False)
        self.drop_early()
        word = "OBSERVING" if outcome.state == OBSERVING else "FOLLOWING"
        self.info(f"{word} {'through a master' if leader == NOBODY else leader}")
        learning: Learning
        if outcome.state == OBSERVING:
            learning = Observing(self, peer, self.serving, leader, looked_ms)
        else:
            learning = Following(self, peer, self.serving, leader)
        self.learning = learning
        self.set_role(learning)
        learning.tick()

    def leave(self, role: Role, reason: str, must_reload: bool) -> None:
        """The role is over: clients go elsewhere, and the server looks again."""
        self.warn(f"{role.name()} no more: {reason}")
        unfinished = role.unfinished()
        self.serving.close_all()
        self.drop_durables()
        self.flush_appends()
        if must_reload:
            self.snapshotter.abort()
        self.learning = None
        self.leading = None
        delay_ms: i64 = 0
        peer = self.peer
        if peer is not None and self.settings.is_observer and peer.next_leader == NOBODY:
            # Those who lost the same master do not come back all at once, and less and less often.
            longest_ms = self.settings.observer_election_delay_ms << min(peer.failures, MAX_BACKOFF)
            delay_ms = self.random.below(longest_ms)
            peer.failures += 1
        self.look(unfinished, must_reload, delay_ms)

    def adopt_early(self, leading: Leading) -> None:
        """Learners that came early are told now."""
        early = self.early
        self.early = {}
        for conn_id, learner in early.items():
            handler = leading.accepted(conn_id, learner.host, learner.port)
            for data in learner.received:
                handler.receive(data)

    def drop_early(self) -> None:
        """Learners that came to the wrong server."""
        for conn_id in self.early:
            self.doors.pop(conn_id, None)
            self.close_conn(conn_id)
        self.early = {}

    def disk_is_at_rest(self) -> bool:
        return self.disk_is_idle() and not self.snapshotter.busy()

    def tree_is_void(self) -> None:
        self.snapshotter.abort()

    def replace_tree(self, tree: DataTree) -> None:
        super().replace_tree(tree)
        peer = self.peer
        if peer is not None:
            self.show_config(peer.config)
        for conn in self.serving.connections.values():
            conn.context.tree = tree

    def reloaded(self, recovered: Recovered) -> None:
        """The tree was loaded from disk, as ``Ready.reload`` has asked."""
        self.reloading = False
        self.replace_tree(recovered.tree)
        for entry in recovered.recent:
            self.committed_log.add(entry)
        self.last_logged_zxid = recovered.last_zxid
        self.last_synced_zxid = recovered.last_zxid
        if self.looking is not None:
            self.looking.reloaded()
        elif self.learning is not None:
            self.learning.reloaded()

    # --- what a driver reports ----------------------------------------------------------------------------

    def begin_turn(self, now_ms: int, wall_ms: int) -> None:
        """Starts a turn at monotonic ``now_ms`` and wall-clock ``wall_ms``."""
        if now_ms > self.now_ms:
            self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.stats.begin_turn(self.now_ms)
        if self.peer is not None:
            self.peer.tick()
        self.role.tick()
        self.serving.tick()

    def connection_made(
        self, conn_id: int, port: int, peer_host: str, peer_port: int, dial_id: int = 0
    ) -> None:
        """A connection came in through ``port``, or (``dial_id`` not 0) a dial succeeded."""
        if port == PORT_CLIENT:
            self.serving.connection_made(conn_id, peer_host, peer_port)
            return
        self.doors[conn_id] = port
        peer = self.peer
        assert peer is not None, "only members of an ensemble have other doors"
        if port == PORT_ELECTION:
            if dial_id != 0:
                peer.dialled(dial_id, conn_id)
            else:
                peer.accepted(conn_id)
        elif port == PORT_OBSERVER_MASTER:
            relay = self.relay()
            if relay is None:
                self.close_conn(conn_id)
            else:
                relay.accepted(conn_id, peer_host, peer_port)
        elif dial_id != 0:
            learning = self.learning
            if learning is None or not learning.dialled(dial_id, conn_id):
                self.close_conn(conn_id)
        elif self.leading is not None:
            self.leading.accepted(conn_id, peer_host, peer_port)
        elif self.looking is not None and len(self.early) < EARLY_MAX:
            self.early[conn_id] = EarlyLearner(peer_host, peer_port)
        else:
            self.close_conn(conn_id)

    def dial_failed(self, dial_id: int) -> None:
        """A dial did not succeed."""
        peer = self.peer
        if peer is not None and not peer.dial_failed(dial_id) and self.learning is not None:
            self.learning.dial_failed(dial_id)

    def data_received(self, conn_id: int, data: bytes) -> None:
        """Bytes from a connection."""
        port = self.doors.get(conn_id, PORT_CLIENT)
        if port == PORT_CLIENT:
            self.serving.receive(conn_id, data)
        elif port == PORT_ELECTION:
            peer = self.peer
            assert peer is not None
            peer.received(conn_id, data)
        else:
            self.quorum_data(conn_id, data)

    def quorum_data(self, conn_id: int, data: bytes) -> None:
        """Bytes from our leader, or from a learner of ours."""
        learning = self.learning
        if learning is not None and learning.conn_id == conn_id:
            learning.receive(data)
            return
        handler = self.handler_of(conn_id)
        if handler is not None:
            handler.receive(data)
            return
        early = self.early.get(conn_id)
        if early is not None:
            early.take(data)
            if early.size > EARLY_MAX_BYTES:
                del self.early[conn_id]
                self.close_conn(conn_id)

    def connection_lost(self, conn_id: int) -> None:
        """A connection is gone."""
        port = self.doors.pop(conn_id, PORT_CLIENT)
        if port == PORT_CLIENT:
            self.serving.connection_lost(conn_id)
        elif port == PORT_ELECTION:
            peer = self.peer
            assert peer is not None
            peer.lost(conn_id)
        else:
            self.early.pop(conn_id, None)
            learning = self.learning
            if learning is not None and learning.conn_id == conn_id:
                learning.connection_lost()
            else:
                handler = self.handler_of(conn_id)
                if handler is not None:
                    handler.lost()

    def close_conn(self, conn_id: i64) -> None:
        super().close_conn(conn_id)
        self.doors.pop(conn_id, None)

    def congested(self, conn_id: int) -> None:
        """The peer does not take what is sent to it."""
        self.set_congested(conn_id, True)

    def drained(self, conn_id: int) -> None:
        """The peer has caught up."""
        self.set_congested(conn_id, False)

    def set_congested(self, conn_id: int, congested: bool) -> None:
        """The connection's transport has much (or again little) to send."""
        port = self.doors.get(conn_id, PORT_CLIENT)
        if port == PORT_CLIENT:
            self.serving.set_congested(conn_id, congested)
        elif port == PORT_ELECTION:
            peer = self.peer
            assert peer is not None
            peer.set_congested(conn_id, congested)
        else:
            handler = self.handler_of(conn_id)
            if handler is not None:
                handler.congested = congested
                handler.master.touch_handler(handler)

    def disk_failed(self, token: int, message: str) -> None:
        """The disk refused: what it was asked to keep cannot be promised, so the server stops."""
        self.stop(EXIT_TXNLOG_ERROR, f"disk failure, nothing more is acknowledged: {message}")

    def snapshot_done(self, token: int) -> None:
        """Snapshot commands up to ``token`` are carried out."""
        self.snapshotter.done(token)

    def snapshot_failed(self, token: int, message: str) -> None:
        """A snapshot could not be written: upstream stops, and so do we."""
        self.metrics.snapshot_error_count.add(1)
        self.stop(EXIT_TXNLOG_ERROR, f"snapshot failed: {message}")

    def log_read(self, token: int, entries: list[TxnEntry], complete: bool) -> None:
        """Txns read back from the log."""
        if self.leading is not None:
            self.leading.log_read(token, entries, complete)
        else:
            relay = self.relay()
            if relay is not None:
                relay.log_read(token, entries, complete)

    def listen_failed(self, port: int, message: str) -> None:
        """A door for other servers could not be opened."""
        if port == PORT_OBSERVER_MASTER:
            self.warn(f"observers cannot be relayed to: {message}")
            return
        self.stop(EXIT_CANNOT_BIND, f"cannot open a port for other servers: {message}")

    def oracle_says(self, says: bool) -> None:
        """The oracle's file says whether this server may go on alone."""
        peer = self.peer
        if peer is not None:
            peer.oracle_says(says)

    def relay(self) -> Relay | None:
        """Where observers under this server are, if it relays."""
        return None if self.learning is None else self.learning.relay

    def handler_of(self, conn_id: int) -> LearnerHandler | None:
        """The learner behind a connection."""
        if self.leading is not None:
            return self.leading.handlers.get(conn_id)
        relay = self.relay()
        return None if relay is None else relay.handlers.get(conn_id)

    def is_client(self, conn_id: int) -> bool:
        """Whether the connection is a client's."""
        return conn_id in self.serving.connections

    # --- what the driver is to do -------------------------------------------------------------------------

    def ready(self) -> Ready:
        """Ends the turn: everything to be done now."""
        self.serving.take_held()
        self.advance()
        if self.peer is not None:
            self.peer.end_turn()
        self.role.end_turn()
        if self.role.tree_is_committed():
            self.snapshotter.step()
        self.flush_appends()
        self.serving.flush()
        ready = self.out
        self.out = Ready()
        return ready

    def turn_took(self, took_ms: i64) -> None:
        """The turn is carried out, ``took_ms`` after it began; a driver without a clock never says so."""
        self.stats.end_turn(took_ms)

    def fsync_took(self, took_ms: float) -> None:
        """One fsync of the txn log took so long."""
        whole = int(took_ms)
        self.metrics.fsynctime.add(whole)
        self.metrics.sync_processor_queue_flush_time_ms.add(whole)
        if whole > self.settings.fsync_warning_ms:
            self.stats.fsync_threshold_exceeded += 1
            self.warn(f"an fsync of the txn log took {whole} ms: every write waits for it")

    def recovery_took(self, took_ms: i64, txns: i64) -> None:
        """Loading snapshot and log took so long; the log gave ``txns``."""
        self.metrics.dbinittime.add(took_ms)
        self.metrics.startup_txns_loaded.add(txns)

    # --- what others may see and do -----------------------------------------------------------------------

    def status(self, parts: i64 = NO_PARTS, limit: i64 = ENTRIES_MAX) -> ServerView:
        """A picture of the server, with the parts asked for (``views.PART_*``), ``limit`` entries in each."""
        # What clients see: the role itself, unless reads are served while it looks for a leader.
        role = self.serving.role
        view = RoleView(role.name(), role.serves(), parts)
        role.describe(view)
        return ServerView(self, self.serving, self.snapshotter, view, limit)

    def reset_stats(self) -> None:
        """The ``srst`` command."""
        self.stats.reset()
        self.role.reset_stats()

    def reset_connection_stats(self) -> None:
        """The ``crst`` command."""
        for conn in self.serving.connections.values():
            conn.reset_stats()

    def reset_observer_stats(self) -> None:
        """The admin server's observer_connection_stat_reset."""
        self.role.reset_observer_stats()

    def note_packets_sent(self, count: i64) -> None:
        """The driver has written to clients on its own account (four-letter words)."""
        self.stats.packets_sent += count

    def note_synced(self, zxid: i64) -> None:
        super().note_synced(zxid)
        self.role.log_synced(zxid)
