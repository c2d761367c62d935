"""What the rows of the op table may see while they prepare a write or answer a read."""

from mypy_extensions import i64

from zabra.auth.registry import Providers
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, Id
from zabra.tree.datatree import DataTree


class Rules:
    """Settings of the server that decide how operations behave."""

    __slots__ = (
        "close_session_lists_paths",
        "digest_enabled",
        "enforce_quota",
        "extended_types_enabled",
        "local_sessions_enabled",
        "reconfig_enabled",
        "server_id",
    )

    def __init__(
        self,
        digest_enabled: bool,
        enforce_quota: bool,
        extended_types_enabled: bool,
        close_session_lists_paths: bool,
        reconfig_enabled: bool,
        local_sessions_enabled: bool = False,
        server_id: i64 = 0,
    ) -> None:
        self.digest_enabled: bool = digest_enabled
        self.enforce_quota: bool = enforce_quota
        self.extended_types_enabled: bool = extended_types_enabled
        self.close_session_lists_paths: bool = close_session_lists_paths
        self.reconfig_enabled: bool = reconfig_enabled
        # With local sessions a session that the tracker does not know may live at the server that made it.
        self.local_sessions_enabled: bool = local_sessions_enabled
        self.server_id: i64 = server_id


class ReadContext:
    """One connection's view: the tree, who asks, and under which watcher id its watches stand."""

    __slots__ = ("ids", "providers", "session_id", "tree", "watcher")

    def __init__(self, tree: DataTree, providers: Providers, watcher: i64) -> None:
        self.tree: DataTree = tree
        self.providers: Providers = providers
        self.watcher: i64 = watcher
        self.session_id: i64 = 0
        self.ids: list[Id] = []

    def require(self, acl: list[ACL], perm: int, path: str) -> None:
        """Raises NOAUTH unless one of the connection's ids may do ``perm``."""
        if not self.providers.check_acl(acl, perm, self.ids, path):
            raise KeeperError(codes.ERR_NO_AUTH, path)
