"""ServerView: an immutable picture of one server, taken between turns, for everybody who looks from outside.

The four-letter words, the admin server and the metrics read this and nothing else of the core, so none of
them can see half a txn or keep a turn waiting.  A picture without parts is a handful of counters, whatever
the size of the tree; the parts (``views.PART_*``) cost one entry per thing shown, up to a limit.
"""

from typing import Final

from mypy_extensions import i64

from zabra.metrics import Number
from zabra.proto import codes
from zabra.server.client_connection import CONN_CONNECTING, ClientConnection
from zabra.server.host import Host
from zabra.server.serving import Serving
from zabra.server.snapshotter import Snapshotter
from zabra.server.views import (
    PART_CONNECTIONS,
    PART_DIGESTS,
    PART_EPHEMERALS,
    PART_METRICS,
    PART_SESSIONS,
    PART_WATCHES_BY_PATH,
    PART_WATCHES_BY_SESSION,
    RoleView,
    SizeStats,
)

NO_PARTS: Final = 0

# Entries of each part that a picture holds unless it is asked for another number.
ENTRIES_MAX: Final = 100_000

# Bits of ``interest``: whether the server would read from, and has something to write to, a connection.
INTEREST_READ: Final = 1
INTEREST_WRITE: Final = 4

# The words by which upstream's connections call their last operation.
OP_WORDS: Final[dict[int, str]] = {
    codes.OP_CREATE: "CREA",
    codes.OP_CREATE2: "CREA",
    codes.OP_CREATE_TTL: "CREA",
    codes.OP_CREATE_CONTAINER: "CREA",
    codes.OP_DELETE: "DELE",
    codes.OP_EXISTS: "EXIS",
    codes.OP_GET_DATA: "GETD",
    codes.OP_SET_DATA: "SETD",
    codes.OP_GET_ACL: "GETA",
    codes.OP_SET_ACL: "SETA",
    codes.OP_GET_CHILDREN: "GETC",
    codes.OP_GET_CHILDREN2: "GETC",
    codes.OP_GET_ALL_CHILDREN_NUMBER: "GETACN",
    codes.OP_GET_EPHEMERALS: "GETE",
    codes.OP_SYNC: "SYNC",
    codes.OP_PING: "PING",
    codes.OP_CHECK: "CHEC",
    codes.OP_MULTI: "MULT",
    codes.OP_MULTI_READ: "MLTR",
    codes.OP_RECONFIG: "RECO",
    codes.OP_CHECK_WATCHES: "CHKW",
    codes.OP_REMOVE_WATCHES: "REMW",
    codes.OP_SET_WATCHES: "SETW",
    codes.OP_SET_WATCHES2: "STW2",
    codes.OP_ADD_WATCH: "ADDW",
    codes.OP_WHO_AM_I: "HOMI",
    codes.OP_CREATE_SESSION: "SESS",
    codes.OP_CLOSE_SESSION: "CLOS",
}
NO_OP_WORD: Final = "NA"


class ConnectionView:
    """One client connection.  ``established_ms`` is wall clock, ``last_response_ms`` and ``expires_ms``
    monotonic; ``last_cxid`` and ``last_zxid`` are -1 before the first request."""

    __slots__ = (
        "average_latency_ms",
        "conn_id",
        "established_ms",
        "expires_ms",
        "interest",
        "is_secure",
        "last_cxid",
        "last_latency_ms",
        "last_op",
        "last_response_ms",
        "last_zxid",
        "maximum_latency_ms",
        "minimum_latency_ms",
        "peer_host",
        "peer_port",
        "queued",
        "received",
        "sent",
        "session_id",
        "timeout_ms",
    )

    def __init__(self, conn: ClientConnection, host: Host) -> None:
        self.conn_id: i64 = conn.conn_id
        self.peer_host: str = conn.peer_host
        self.peer_port: i64 = conn.peer_port
        self.is_secure: bool = conn.is_secure
        self.interest: i64 = interest_of(conn)
        self.queued: i64 = len(conn.queue)
        self.received: i64 = conn.received
        self.sent: i64 = conn.sent
        self.session_id: i64 = conn.session_id
        self.last_op: str = OP_WORDS.get(conn.last_op, NO_OP_WORD)
        self.established_ms: i64 = conn.established_ms
        self.timeout_ms: i64 = conn.timeout_ms
        self.last_cxid: i64 = conn.last_cxid
        self.last_zxid: i64 = conn.last_zxid
        self.last_response_ms: i64 = conn.last_response_ms
        self.last_latency_ms: i64 = conn.last_latency_ms
        self.minimum_latency_ms: i64 = conn.latency_min_ms if conn.latency_min_ms > 0 else 0
        self.maximum_latency_ms: i64 = conn.latency_max_ms
        count = conn.latency_count
        self.average_latency_ms: i64 = conn.latency_sum_ms // count if count > 0 else 0
        if conn.session_id == 0:
            self.expires_ms: i64 = conn.created_ms + host.settings.sessionless_timeout_ms
        else:
            heard_ms = max(conn.last_response_ms, conn.created_ms)
            self.expires_ms = heard_ms + conn.timeout_ms


def interest_of(conn: ClientConnection) -> i64:
    """What the server waits for at this connection, as bits; 0 once it has asked a four-letter word."""
    if conn.state == CONN_CONNECTING and conn.session_id == 0:
        return 0
    interest: i64 = 0
    if not conn.paused and not conn.congested:
        interest = INTEREST_READ
    if conn.congested:
        interest += INTEREST_WRITE
    return interest


class ServerView:
    """The picture.  Times are ms; ``now_ms`` and those of buckets are monotonic, others wall clock.

    Session ids are as the wire has them (signed).  Parts that were not asked for are empty; ``cut`` says that
    some part has more entries than it was allowed to show.
    """

    def __init__(
        self,
        host: Host,
        serving: Serving,
        snapshotter: Snapshotter,
        role: RoleView,
        limit: i64,
    ) -> None:
        self.role: RoleView = role
        self.limit: i64 = limit
        self.cut: bool = False
        self._take_server(host, serving)
        self._take_config(host)
        self.snapshot_zxid: i64 = snapshotter.last_zxid
        self.snapshot_wall_ms: i64 = snapshotter.last_wall_ms
        self._take_tree(host)
        self._take_sessions(host)
        self._take_connections(host, serving)
        self._take_watches(host, serving)
        self._take_metrics(host)

    def _take_server(self, host: Host, serving: Serving) -> None:
        stats = host.stats
        self.now_ms: i64 = host.now_ms
        self.wall_ms: i64 = host.wall_ms
        self.uptime_ms: i64 = host.now_ms - stats.start_ms
        self.packets_received: i64 = stats.packets_received
        self.packets_sent: i64 = stats.packets_sent
        self.latency_minimum_ms: i64 = stats.latency.minimum
        self.latency_maximum_ms: i64 = stats.latency.maximum
        self.latency_average_ms: float = stats.latency.average()
        self.response_sizes: SizeStats = stats.response_sizes.copy()
        self.auth_failed: i64 = stats.auth_failed
        self.fsync_threshold_exceeded: i64 = stats.fsync_threshold_exceeded
        self.non_mtls_local_connections: i64 = stats.non_mtls_local
        self.non_mtls_remote_connections: i64 = stats.non_mtls_remote
        self.outstanding_tls_handshakes: i64 = stats.outstanding_tls_handshakes
        self.connection_drop_probability: float = stats.connection_drop_probability
        self.connection_count: i64 = len(serving.connections)
        self.outstanding: i64 = serving.in_flight

    def _take_config(self, host: Host) -> None:
        settings = host.settings
        bounds = settings.session_timeout_bounds()
        self.server_id: i64 = settings.server_id
        self.tick_ms: i64 = settings.tick_ms
        self.init_limit_ticks: i64 = settings.init_limit_ticks
        self.sync_limit_ticks: i64 = settings.sync_limit_ticks
        self.min_session_timeout_ms: i64 = bounds[0]
        self.max_session_timeout_ms: i64 = bounds[1]
        self.max_connections_per_ip: i64 = settings.max_connections_per_ip
        self.sessionless_timeout_ms: i64 = settings.sessionless_timeout_ms

    def _take_tree(self, host: Host) -> None:
        tree = host.tree
        self.last_zxid: i64 = tree.last_processed_zxid
        self.node_count: i64 = tree.node_count()
        self.ephemeral_count: i64 = tree.ephemerals.count()
        self.approximate_data_size: i64 = tree.approximate_data_size
        self.watch_count: i64 = tree.watches.count()
        # Connections that watch, paths watched, watches: of data, as upstream's summary.
        self.watch_summary: tuple[int, int, int] = tree.watches.summary()
        self.global_sessions: i64 = len(tree.sessions)
        digests: list[tuple[int, int]] = []
        if self.role.parts & PART_DIGESTS:
            digests = list(tree.digest_log)
        # (zxid, digest), oldest first.
        self.digest_log: list[tuple[int, int]] = digests

    def _take_sessions(self, host: Host) -> None:
        tree = host.tree
        sessions: list[tuple[int, int]] = []
        ephemerals: list[tuple[int, list[str]]] = []
        left = self.limit
        if self.role.parts & PART_SESSIONS and not self.role.tracks_sessions:
            ids = sorted(tree.sessions)
            self._note_cut(len(ids))
            sessions = [(one, tree.sessions[one]) for one in ids[:left]]
        if self.role.parts & PART_EPHEMERALS:
            for session_id, paths in tree.ephemerals.by_session.items():
                shown = self._first(list(paths), left)
                if not shown:
                    break
                left -= len(shown)
                ephemerals.append((session_id, shown))
        # (id, timeout ms) of every session the ensemble knows, where this server does not expire them.
        self.sessions: list[tuple[int, int]] = sessions
        self.ephemerals: list[tuple[int, list[str]]] = ephemerals
        self.ephemeral_sessions: i64 = len(tree.ephemerals.by_session)

    def _take_connections(self, host: Host, serving: Serving) -> None:
        out: list[ConnectionView] = []
        if self.role.parts & PART_CONNECTIONS:
            self._note_cut(len(serving.connections))
            for conn in serving.connections.values():
                if len(out) >= self.limit:
                    break
                out.append(ConnectionView(conn, host))
        self.connections: list[ConnectionView] = out

    def _take_watches(self, host: Host, serving: Serving) -> None:
        table = host.tree.watches.data
        by_session: list[tuple[int, list[str]]] = []
        by_path: list[tuple[str, list[int]]] = []
        left = self.limit
        if self.role.parts & PART_WATCHES_BY_SESSION:
            for watcher, paths in table.paths.items():
                shown = self._first(list(paths), left)
                if not shown:
                    break
                left -= len(shown)
                by_session.append((session_of(serving, watcher), shown))
        if self.role.parts & PART_WATCHES_BY_PATH:
            for path, here in table.modes.items():
                watchers: list[int] = list(here)[:left]
                self._note_left(len(here), left)
                if not watchers:
                    break
                left -= len(watchers)
                by_path.append((path, [session_of(serving, watcher) for watcher in watchers]))
        # Data watches only, as upstream's wchc and wchp.
        self.watches_by_session: list[tuple[int, list[str]]] = by_session
        self.watches_by_path: list[tuple[str, list[int]]] = by_path

    def _take_metrics(self, host: Host) -> None:
        metrics: dict[str, Number] = {}
        quotas: dict[str, tuple[int, int, int, int]] = {}
        if self.role.parts & PART_METRICS:
            metrics = host.metrics.dump()
            quotas = host.tree.quota.usage_by_namespace()
        # What was counted, by name, gauges aside.
        self.metrics: dict[str, Number] = metrics
        # By top-level node: count limit, bytes limit, count, bytes.
        self.quotas: dict[str, tuple[int, int, int, int]] = quotas

    def _first(self, paths: list[str], left: i64) -> list[str]:
        """The paths that may still be shown."""
        self._note_left(len(paths), left)
        return paths[:left]

    def _note_cut(self, count: i64) -> None:
        self._note_left(count, self.limit)

    def _note_left(self, count: i64, left: i64) -> None:
        if count > left:
            self.cut = True

    def is_read_only(self) -> bool:
        """Whether this server serves without a quorum."""
        return self.role.name == "read-only"


def session_of(serving: Serving, watcher: int) -> int:
    """The session of a watching connection."""
    conn = serving.connections.get(watcher)
    return 0 if conn is None else conn.session_id


