"""The texts of the four-letter words, byte for byte as Apache ZooKeeper 3.9 writes them.

Each takes the context, a picture of the server with the parts that the word's row in ``commands`` names,
and what came behind the word.  Source: upstream ``server/command``, ``ServerCnxn.dumpConnectionInfo``,
``ServerStats``, ``ExpiryQueue.dump``, ``WatchManager``.
"""

from zabra.admin.context import AdminContext
from zabra.admin.monitor import monitor_values
from zabra.admin.surroundings import environment
from zabra.admin.texts import hex_long, java_date, socket_address
from zabra.config.ensemble import QuorumServer
from zabra.metrics import mntr_text
from zabra.server.status import ConnectionView, ServerView
from zabra.server.views import ExpiryBucket

# The last line of an answer that does not show everything.
CUT = "... and more, which are not shown"

# A member that is not (or no longer) in the configuration.
NOBODY = QuorumServer(-1, [])

_MASK_BYTES = 8


def ruok(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """``imok``, whatever the state."""
    return "imok"


def isro(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """``rw``, ``ro``, or ``null`` while not serving."""
    if not view.role.serves:
        return "null"
    return "ro" if view.is_read_only() else "rw"


def srvr(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """The summary that everybody parses."""
    return _head(context, view) + _summary(context, view)


def stat(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """The summary with the clients in it."""
    lines = ["Clients:\n", *[f"{_connection(one)})\n" for one in view.connections]]
    return _head(context, view) + "".join(lines) + _cut(view) + "\n" + _summary(context, view)


def _head(context: AdminContext, view: ServerView) -> str:
    read_only = "READ-ONLY mode; serving only read-only clients\n" if view.is_read_only() else ""
    return f"Zookeeper version: {context.version}\n{read_only}"


def _summary(context: AdminContext, view: ServerView) -> str:
    average = mntr_text(view.latency_average_ms)
    if context.old_form:
        average = str(int(view.latency_average_ms))
    text = (
        f"Latency min/avg/max: {view.latency_minimum_ms}/{average}/{view.latency_maximum_ms}\n"
        f"Received: {view.packets_received}\n"
        f"Sent: {view.packets_sent}\n"
        f"Connections: {view.connection_count}\n"
        f"Outstanding: {view.outstanding}\n"
        f"Zxid: 0x{hex_long(view.last_zxid)}\n"
        f"Mode: {view.role.name}\n"
        f"Node count: {view.node_count}\n"
    )
    leader = view.role.leader
    if leader is not None:
        sizes = leader.proposal_sizes
        text += f"Proposal sizes last/min/max: {sizes.last}/{sizes.smallest}/{sizes.largest}\n"
    return text


def _connection(one: ConnectionView) -> str:
    """What ``stat`` tells of a connection; the parenthesis is open."""
    return (
        f" {socket_address(one.peer_host, one.peer_port)}[{one.interest:x}]"
        f"(queued={one.queued},recved={one.received},sent={one.sent}"
    )


def cons(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """One line per connection."""
    return "".join([f"{_connection(one)}{_session(one)})\n" for one in view.connections]) + _cut(view) + "\n"


def _session(one: ConnectionView) -> str:
    """What ``cons`` adds for a connection with a session."""
    if one.session_id == 0:
        return ""
    last_cxid = f",lcxid=0x{hex_long(one.last_cxid)}" if one.last_cxid >= 0 else ""
    return (
        f",sid=0x{hex_long(one.session_id)},lop={one.last_op},est={one.established_ms},to={one.timeout_ms}"
        f"{last_cxid},lzxid=0x{hex_long(one.last_zxid)},lresp={one.last_response_ms}"
        f",llat={one.last_latency_ms},minlat={one.minimum_latency_ms},avglat={one.average_latency_ms}"
        f",maxlat={one.maximum_latency_ms}"
    )


def conf(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """The configuration in force."""
    rows: list[tuple[str, object]] = [
        ("clientPort", context.client_port),
        ("secureClientPort", context.secure_client_port),
        ("dataDir", context.data_folder),
        ("dataDirSize", context.data_size()),
        ("dataLogDir", context.log_folder),
        ("dataLogSize", context.log_size()),
        ("tickTime", view.tick_ms),
        ("maxClientCnxns", view.max_connections_per_ip),
        ("minSessionTimeout", view.min_session_timeout_ms),
        ("maxSessionTimeout", view.max_session_timeout_ms),
        ("clientPortListenBacklog", context.config.client_port_listen_backlog),
        ("serverId", view.server_id),
    ]
    quorum = view.role.quorum
    if quorum is not None:
        own = quorum.config.servers.get(view.server_id, NOBODY)
        rows += [
            ("initLimit", view.init_limit_ticks),
            ("syncLimit", view.sync_limit_ticks),
            ("electionAlg", context.config.election_alg),
            ("electionPort", _ports(own.election_addresses())),
            ("quorumPort", _ports(own.quorum_addresses())),
            ("peerType", 1 if own.observer else 0),
        ]
    text = "".join([f"{key}={value}\n" for key, value in rows])
    if quorum is not None and not view.is_read_only():
        # The configuration string has no line feed at its end, so neither has the answer.
        text += f"membership: \n{quorum.config.format()}"
    return text


def _ports(addresses: list[tuple[str, int]]) -> str:
    return "|".join([str(port) for _, port in addresses])


def dump(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Sessions by expiry, ephemeral nodes by session, connections by expiry."""
    parts = ["SessionTracker dump:\n"]
    role = view.role
    if role.local_buckets is not None:
        parts.append(f"Local {_session_sets(view, role.local_buckets)}")
        if role.tracks_sessions:
            parts.append("Global ")
    if role.tracks_sessions:
        parts.append(_session_sets(view, role.session_buckets))
    else:
        parts.append(f"Global Sessions({view.global_sessions}):\n")
        parts += [f"0x{hex_long(one)}\t{timeout}ms\n" for one, timeout in view.sessions]
    parts.append(f"ephemeral nodes dump:\nSessions with Ephemerals ({view.ephemeral_sessions}):\n")
    for session_id, paths in view.ephemerals:
        parts.append(f"0x{hex_long(session_id)}:\n")
        parts += [f"\t{path}\n" for path in paths]
    parts.append(f"Connections dump:\nConnections {_connection_sets(view)}")
    return "".join(parts) + _cut(view)


def _session_sets(view: ServerView, buckets: list[ExpiryBucket]) -> str:
    named = [(one.when_ms, [f"0x{hex_long(session)}" for session in one.session_ids]) for one in buckets]
    return f"Session {_sets(view, named)}"


def _connection_sets(view: ServerView) -> str:
    """Connections by the time at which upstream would give them up, in steps of the sessionless timeout."""
    step = view.sessionless_timeout_ms
    buckets: dict[int, list[str]] = {}
    for one in view.connections:
        when = (one.expires_ms // step + 1) * step
        address = socket_address(one.peer_host, one.peer_port)
        buckets.setdefault(when, []).append(f"ip: {address} sessionId: 0x{hex_long(one.session_id)}")
    return _sets(view, sorted(buckets.items()))


def _sets(view: ServerView, buckets: list[tuple[int, list[str]]]) -> str:
    parts = [f"Sets ({len(buckets)})/({sum([len(members) for _, members in buckets])}):\n"]
    for when, members in buckets:
        parts.append(f"{len(members)} expire at {java_date(view.wall_ms + when - view.now_ms)}:\n")
        parts += [f"\t{member}\n" for member in members]
    return "".join(parts)


def envi(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """The environment of the process."""
    return "Environment:\n" + "".join([f"{key}={value}\n" for key, value in environment(context.version)])


def mntr(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Every metric."""
    lines = []
    for key, value in monitor_values(view, context.version, context.more_gauges()).items():
        lines.append(f"zk_{key}\t{value if isinstance(value, str) else mntr_text(value)}\n")
    return "".join(lines)


def wchs(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """How many watch how much."""
    connections, paths, watches = view.watch_summary
    return f"{connections} connections watching {paths} paths\nTotal watches:{watches}\n"


def wchc(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Watched paths by session."""
    parts = []
    for session_id, paths in view.watches_by_session:
        parts.append(f"0x{hex_long(session_id)}\n")
        parts += [f"\t{path}\n" for path in paths]
    return "".join(parts) + _cut(view) + "\n"


def wchp(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Watching sessions by path."""
    parts = []
    for path, sessions in view.watches_by_path:
        parts.append(f"{path}\n")
        parts += [f"\t0x{hex_long(session_id)}\n" for session_id in sessions]
    return "".join(parts) + _cut(view) + "\n"


def dirs(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Sizes of the data folders."""
    return f"datadir_size: {context.data_size()}\nlogdir_size: {context.log_size()}\n"


def digest_log(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Digests of the tree at some zxids, for comparing servers."""
    return "".join([f"{hex_long(zxid)}: {digest}\n" for zxid, digest in view.digest_log])


def gtmk(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """The trace mask."""
    return str(context.trace_mask)


def stmk(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Sets the trace mask to the eight bytes behind the word; nothing is said without them, as upstream."""
    if len(rest) < _MASK_BYTES:
        return ""
    context.trace_mask = int.from_bytes(rest[:_MASK_BYTES], "big", signed=True)
    return str(context.trace_mask)


def crst(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Resets what ``cons`` counts."""
    context.server.reset_connection_stats()
    return "Connection stats reset.\n"


def srst(context: AdminContext, view: ServerView, rest: bytes) -> str:
    """Resets what ``srvr`` and ``mntr`` count."""
    context.server.reset_stats()
    return "Server stats reset.\n"


def _cut(view: ServerView) -> str:
    """The line that says that not everything is shown."""
    return f"{CUT}\n" if view.cut else ""
