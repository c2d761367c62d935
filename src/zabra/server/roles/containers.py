"""ContainerCollector: which containers and ttl nodes have become garbage.

Source: upstream ``ContainerManager``.
"""

from mypy_extensions import i64

from zabra.server.host import Host


class ContainerCollector:
    """Asked by whoever may propose; spreads what it finds over time."""

    def __init__(self, host: Host) -> None:
        self.host: Host = host
        self.next_ms: i64 = host.now_ms + host.settings.container_check_interval_ms

    def due(self) -> list[str]:
        """The paths to delete now: empty except once per check interval."""
        host = self.host
        if host.now_ms < self.next_ms:
            host.wake_by(self.next_ms)
            return []
        settings = host.settings
        self.next_ms = host.now_ms + settings.container_check_interval_ms
        host.wake_by(self.next_ms)
        limit = max(1, settings.container_max_per_minute * settings.container_check_interval_ms // 60_000)
        found: list[str] = []
        for path in host.tree.ephemerals.containers:
            if len(found) < limit and self.is_spent_container(path):
                found.append(path)
        for path in host.tree.ephemerals.ttls:
            if len(found) < limit and self.is_expired_ttl(path):
                found.append(path)
        return found

    def is_spent_container(self, path: str) -> bool:
        """Childless after having had children (or, where configured, never used for too long)."""
        node = self.host.tree.find(path)
        if node is None or node.num_children() > 0:
            return False
        if node.cversion > 0:
            return True
        never_used_ms = self.host.settings.container_max_never_used_ms
        return never_used_ms > 0 and self.host.wall_ms - node.ctime > never_used_ms

    def is_expired_ttl(self, path: str) -> bool:
        """Childless and not modified for its ttl."""
        tree = self.host.tree
        node = tree.find(path)
        if node is None or node.num_children() > 0:
            return False
        ttl_ms = tree.types.ttl_ms(node.ephemeral_owner)
        return self.host.wall_ms - node.mtime > ttl_ms
