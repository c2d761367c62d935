"""Publishers on a real server: from its configuration and its parts to a running ``PublisherHost``."""

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Final

from zabra.config.server import ServerConfig
from zabra.plugins.cursors import CursorStore
from zabra.plugins.door.server_end import DoorPort, DoorProcess, restricts
from zabra.plugins.door.settings import DoorSettings, Status
from zabra.plugins.feed import Feed
from zabra.plugins.host import PublisherHost
from zabra.plugins.log_history import LogHistory
from zabra.plugins.registry import PublisherError, plan_publishers
from zabra.plugins.tree_snapshots import TreeSnapshots
from zabra.proto.txn import TxnEntry
from zabra.runtime.assembly import Plan, RunningServer, open_disks
from zabra.server.server import Server
from zabra.server.status import NO_PARTS
from zabra.server.views import RoleView
from zabra.tree.datatree import DataTree

# Nobody is ahead of them.
MODES_WITHOUT_LAG: Final = ("leader", "standalone")


class AttachedPublishers:
    """``informed`` goes to ``assembly.start``; then ``start`` with what that has made; ``stop`` before it.

    Raises PublisherError for a configuration that is wrong.
    """

    def __init__(self, configured: Mapping[str, Mapping[str, str]], port: DoorPort | None = None) -> None:
        self._plans = plan_publishers(configured)
        self._port = port
        self.host: PublisherHost | None = None
        self.door: DoorProcess | None = None

    @property
    def feed_port(self) -> int:
        """The port of the feed's door; 0: there is none."""
        return 0 if self._port is None else self._port.port

    @property
    def informed(self) -> Callable[[list[TxnEntry]], None] | None:
        """The callback; None without publishers, so that a server pays nothing for what it has not."""
        return self._informed if self._plans or self._port is not None else None

    def gauge_sets(self) -> Mapping[str, Mapping[str, int]]:
        """For operators."""
        return {} if self.host is None else self.host.gauge_sets()

    def _informed(self, entries: list[TxnEntry]) -> None:
        # What is told before ``start`` is in the log.
        if self.host is not None:
            self.host.informed(entries)
            if self.door is not None:
                self.door.informed(entries)

    def start(self, plan: Plan, running: RunningServer) -> None:
        """Begins to publish."""
        if self.informed is None:
            return
        server = running.server
        data, logs = open_disks(plan)
        keeps_log = plan.settings.sync_enabled or not plan.settings.is_observer
        feed = Feed(
            (lambda since: LogHistory(logs, data, since)) if keeps_log else None,
            lambda: int(server.last_synced_zxid),
        )
        snapshots = TreeSnapshots(feed, lambda: committed_tree(server))
        self.host = PublisherHost(
            self._plans,
            feed,
            CursorStore(data),
            snapshots,
            int(plan.settings.server_id),
            lambda: committed_zxid(server),
            lambda: plan.ensemble is not None and not server.settings.is_observer,
            running.store.log.bytes_from,
        )
        running.purge.keep_zxid = self.host.keep_zxid
        self.host.start()
        if self._port is not None:
            in_ensemble = plan.ensemble is not None
            self.door = DoorProcess(
                self._port, lambda: server.tree, snapshots, lambda: status_of(server, in_ensemble)
            )
            self.door.start()

    async def stop(self) -> None:
        """Stops publishing; cursors are saved."""
        if self.door is not None:
            await self.door.stop()
        elif self._port is not None:
            self._port.close()
        if self.host is not None:
            await self.host.stop()


def open_door(config: ServerConfig) -> DoorPort | None:
    """The port of the feed's HTTP door, where one is configured.

    Raises PublisherError where the extra is not installed, OSError where it cannot listen.
    """
    if config.feed_port is None:
        return None
    for module in ("h11", "wsproto"):
        if find_spec(module) is None:
            raise PublisherError("feed.port", f"needs the package {module}: pip install 'zabra[http]'")
    settings = DoorSettings(
        os.path.abspath(config.data_dir),
        os.path.abspath(config.data_log_dir),
        config.sync_enabled or config.peer_type != "observer",
        config.server_id,
        config.feed_on_voters,
        config.feed_max_subscribers,
        config.feed_buffer_bytes,
        config.feed_slow_reader_ms,
        config.feed_heartbeat_ms,
        config.feed_max_filter_bytes,
        config.feed_max_header_bytes,
        config.feed_max_snapshot_nodes,
        config.feed_allow_origins,
        config.digest_alg,
        config.super_digest,
        config.digest_auth_enabled,
        config.skip_acl,
    )
    return DoorPort(config.feed_address, config.feed_port, settings)


def status_of(server: Server, in_ensemble: bool) -> Status:
    """What the door is told of its server."""
    role = server.role
    view = RoleView(role.name(), role.serves(), NO_PARTS)
    role.describe(view)
    leads = view.name in MODES_WITHOUT_LAG
    tree = server.tree
    zxid = int(tree.last_processed_zxid)
    trail = tree.acl_trail
    return Status(
        view.name,
        bool(view.serves),
        in_ensemble and not server.settings.is_observer,
        committed_zxid(server),
        int(server.last_synced_zxid),
        zxid,
        zxid if trail is None else int(trail.floor),
        -1 if restricts(tree) else zxid,
        int(view.lag_ms) if view.has_lag else 0 if leads else -1,
        int(view.lag_txns) if view.has_lag else 0 if leads else -1,
    )


def committed_tree(server: Server) -> DataTree | None:
    """The tree, where all that it holds is committed."""
    return server.tree if server.role.tree_is_committed() else None


def committed_zxid(server: Server) -> int:
    """The tree's last zxid, where all that it holds is committed; else -1."""
    return int(server.tree.last_processed_zxid) if server.role.tree_is_committed() else -1
