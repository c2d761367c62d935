"""Server: one ZooKeeper server without sockets, files, clocks or threads.

A driver calls ``begin_turn``, then the methods that say what happened, then ``ready``, and carries out
what that returns.  See ``ready`` for the vocabulary and docs/ARCHITECTURE.md for the walk of a write.
"""

from typing import Final

from mypy_extensions import i64

from zabra.auth.registry import Providers
from zabra.proto.txn import TxnEntry
from zabra.server.host import Host
from zabra.server.ready import PORT_CLIENT, Ready
from zabra.server.recovery import Recovered
from zabra.server.roles.standalone import Standalone
from zabra.server.serving import Serving
from zabra.server.settings import Settings
from zabra.server.snapshotter import Snapshotter
from zabra.server.status import ENTRIES_MAX, NO_PARTS, ServerView
from zabra.server.views import RoleView

# Exit codes are upstream's (ExitCode).
EXIT_TXNLOG_ERROR: Final = 10
EXIT_CANNOT_BIND: Final = 14


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
    ) -> None:
        super().__init__(
            settings, providers, recovered.tree, recovered.last_zxid, seed, now_ms, wall_ms
        )
        role = Standalone(self)
        self.role: Standalone = role
        self.serving: Serving = Serving(self, role)
        self.snapshotter: Snapshotter = Snapshotter(self)
        role.start(self.serving)
        # As upstream: a server that starts to serve first saves what it starts from.
        self.snapshotter.begin()

    # --- what a driver reports ------------------------------------------------------------------------

    def begin_turn(self, now_ms: int, wall_ms: int) -> None:
        """Starts a turn at monotonic ``now_ms`` and wall-clock ``wall_ms``."""
        if now_ms > self.now_ms:
            self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.stats.begin_turn(self.now_ms)
        self.role.tick()
        self.serving.tick()

    def connection_made(
        self, conn_id: int, port: int, peer_host: str, peer_port: int, dial_id: int = 0
    ) -> None:
        """A connection came in through ``port``, or (``dial_id`` not 0) a dial succeeded."""
        assert port == PORT_CLIENT, f"no door {port}"
        self.serving.connection_made(conn_id, peer_host, peer_port)

    def dial_failed(self, dial_id: int) -> None:
        """A dial did not succeed."""
        raise AssertionError(f"dial {dial_id} was never asked for")

    def data_received(self, conn_id: int, data: bytes) -> None:
        """Bytes from a connection."""
        self.serving.receive(conn_id, data)

    def connection_lost(self, conn_id: int) -> None:
        """A connection is gone."""
        self.serving.connection_lost(conn_id)

    def congested(self, conn_id: int) -> None:
        """The peer does not take what is sent to it."""
        self.serving.set_congested(conn_id, True)

    def drained(self, conn_id: int) -> None:
        """The peer has caught up."""
        self.serving.set_congested(conn_id, False)

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
        raise AssertionError(f"log read {token} was never asked for")

    def listen_failed(self, port: int, message: str) -> None:
        """A door for other servers could not be opened."""
        self.stop(EXIT_CANNOT_BIND, f"cannot open a port for other servers: {message}")

    def is_client(self, conn_id: int) -> bool:
        """Whether the connection is a client's."""
        return conn_id in self.serving.connections

    # --- what the driver is to do ----------------------------------------------------------------------

    def ready(self) -> Ready:
        """Ends the turn: everything to be done now."""
        self.role.end_turn()
        self.snapshotter.step()
        self.flush_appends()
        self.serving.flush()
        ready = self.out
        self.out = Ready()
        return ready

    def turn_took(self, took_ms: i64) -> None:
        """The turn is carried out, ``took_ms`` after ``begin_turn``; a driver without a clock never says so."""
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

    # --- what others may see and do ----------------------------------------------------------------------

    def status(self, parts: i64 = NO_PARTS, limit: i64 = ENTRIES_MAX) -> ServerView:
        """A picture of the server, with the parts asked for (``views.PART_*``), ``limit`` entries in each."""
        view = RoleView(self.role.name(), self.role.serves(), parts)
        self.role.describe(view)
        return ServerView(self, self.serving, self.snapshotter, view, limit)

    def reset_stats(self) -> None:
        """The ``srst`` command."""
        self.stats.reset()

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
