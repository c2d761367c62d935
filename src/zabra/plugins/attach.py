"""Publishers on a real server: from its configuration and its parts to a running ``PublisherHost``."""

from collections.abc import Callable, Mapping

from zabra.plugins.cursors import CursorStore
from zabra.plugins.feed import Feed
from zabra.plugins.host import PublisherHost
from zabra.plugins.log_history import LogHistory
from zabra.plugins.registry import plan_publishers
from zabra.plugins.tree_snapshots import TreeSnapshots
from zabra.proto.txn import TxnEntry
from zabra.runtime.assembly import Plan, RunningServer, open_disks
from zabra.server.server import Server
from zabra.tree.datatree import DataTree


class AttachedPublishers:
    """``informed`` goes to ``assembly.start``; then ``start`` with what that has made; ``stop`` before it.

    Raises PublisherError for a configuration that is wrong.
    """

    def __init__(self, configured: Mapping[str, Mapping[str, str]]) -> None:
        self._plans = plan_publishers(configured)
        self.host: PublisherHost | None = None

    @property
    def informed(self) -> Callable[[list[TxnEntry]], None] | None:
        """The callback; None without publishers, so that a server pays nothing for what it has not."""
        return self._informed if self._plans else None

    def _informed(self, entries: list[TxnEntry]) -> None:
        # What is told before ``start`` is in the log.
        if self.host is not None:
            self.host.informed(entries)

    def start(self, plan: Plan, running: RunningServer) -> None:
        """Begins to publish."""
        if not self._plans:
            return
        server = running.server
        data, logs = open_disks(plan)
        keeps_log = plan.settings.sync_enabled or not plan.settings.is_observer
        feed = Feed(
            (lambda since: LogHistory(logs, data, since)) if keeps_log else None,
            lambda: int(server.last_synced_zxid),
        )
        self.host = PublisherHost(
            self._plans,
            feed,
            CursorStore(data),
            TreeSnapshots(feed, lambda: committed_tree(server)),
            int(plan.settings.server_id),
            lambda: committed_zxid(server),
            lambda: plan.ensemble is not None and not server.settings.is_observer,
            running.store.log.bytes_from,
        )
        running.purge.keep_zxid = self.host.keep_zxid
        self.host.start()

    async def stop(self) -> None:
        """Stops publishing; cursors are saved."""
        if self.host is not None:
            await self.host.stop()


def committed_tree(server: Server) -> DataTree | None:
    """The tree, where all that it holds is committed."""
    return server.tree if server.role.tree_is_committed() else None


def committed_zxid(server: Server) -> int:
    """The tree's last zxid, where all that it holds is committed; else -1."""
    return int(server.tree.last_processed_zxid) if server.role.tree_is_committed() else -1
