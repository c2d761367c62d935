"""The table of commands: what the admin server runs by name, and what four-letter words print.

One row per command.  ``run`` gives the answer as a dict that is printed as JSON, ``text`` the old form of
the words; both read one picture of the server and nothing else of it.  Names, keys and their order are
upstream's ``Commands`` (3.9); a row's picture has the ``parts`` it names.
"""

from collections.abc import Callable, Mapping

from zabra.admin import word_texts
from zabra.admin.context import AdminContext
from zabra.admin.monitor import monitor_values
from zabra.admin.surroundings import environment
from zabra.admin.texts import hex_long, host_address
from zabra.server.status import ConnectionView, ServerView
from zabra.server.views import (
    PART_CONNECTIONS,
    PART_DIGESTS,
    PART_EPHEMERALS,
    PART_METRICS,
    PART_SESSIONS,
    PART_WATCHES_BY_PATH,
    PART_WATCHES_BY_SESSION,
    LearnerView,
    QuorumView,
    SizeStats,
)

NOT_SERVING = "This ZooKeeper instance is not currently serving requests"

Answer = dict[str, object]
Arguments = Mapping[str, str]
Run = Callable[[AdminContext, ServerView, Arguments], Answer]
Text = Callable[[AdminContext, ServerView, bytes], str]
"""The third argument is what came behind the word."""


class Command:
    """One row.

    ``names``: the primary name first; a word is the alias of four letters.  ``needs_auth``: only for who has
    all permissions on the root node.  ``method``: of HTTP.  ``text``: None where there is no such word.
    """

    __slots__ = ("method", "names", "needs_auth", "needs_serving", "parts", "run", "text")

    def __init__(
        self,
        names: tuple[str, ...],
        run: Run,
        text: Text | None = None,
        *,
        parts: int = 0,
        needs_serving: bool = True,
        needs_auth: bool = False,
        method: str = "GET",
    ) -> None:
        self.names = names
        self.run = run
        self.text = text
        self.parts = parts
        self.needs_serving = needs_serving
        self.needs_auth = needs_auth
        self.method = method

    @property
    def name(self) -> str:
        """The primary name."""
        return self.names[0]

    @property
    def word(self) -> str:
        """The four-letter word, empty if there is none."""
        return "" if self.text is None else next(name for name in reversed(self.names) if len(name) == 4)


def run_command(context: AdminContext, name: str, arguments: Arguments, limit: int) -> Answer:
    """The answer to a command without authentication: what ``run`` gives, then ``command`` and ``error``."""
    row = BY_NAME.get(name)
    if row is None:
        return {"command": name, "error": f"Unknown command: {name}"}
    view = context.server.status(row.parts, limit)
    tells_lag = row.name == "monitor" and view.role.has_lag
    if row.needs_serving and not view.role.serves and not tells_lag:
        return {"command": name, "error": NOT_SERVING}
    answer = row.run(context, view, arguments)
    answer["command"] = row.name
    answer.setdefault("error", None)
    return answer


# --- answers --------------------------------------------------------------------------------------------


def nothing(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """For commands that only tell that there is somebody."""
    return {}


def reset_connections(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Forgets what the connections counted."""
    context.server.reset_connection_stats()
    return {}


def reset_stats(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Forgets what the server counted."""
    context.server.reset_stats()
    return {}


def reset_observers(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Forgets what was counted for observers."""
    context.server.reset_observer_stats()
    return {}


def configuration(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The configuration in force."""
    return {
        "client_port": context.client_port,
        "data_dir": context.data_folder,
        "data_log_dir": context.log_folder,
        "tick_time": view.tick_ms,
        "max_client_cnxns": view.max_connections_per_ip,
        "min_session_timeout": view.min_session_timeout_ms,
        "max_session_timeout": view.max_session_timeout_ms,
        "server_id": view.server_id,
        "client_port_listen_backlog": context.config.client_port_listen_backlog,
    }


def connections(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Every connection."""
    return _connections(view, brief=False)


def _connections(view: ServerView, brief: bool) -> Answer:
    plain = [_connection(one, brief) for one in view.connections if not one.is_secure]
    secure = [_connection(one, brief) for one in view.connections if one.is_secure]
    return {"connections": plain, "secure_connections": secure}


def _connection(one: ConnectionView, brief: bool) -> Answer:
    out: Answer = {
        "remote_socket_address": f"{host_address(one.peer_host)}:{one.peer_port}",
        "interest_ops": one.interest,
        "outstanding_requests": one.queued,
        "packets_received": one.received,
        "packets_sent": one.sent,
    }
    if not brief:
        out |= {
            "session_id": one.session_id,
            "last_operation": one.last_op,
            "established": one.established_ms,
            "session_timeout": one.timeout_ms,
            "last_cxid": one.last_cxid,
            "last_zxid": one.last_zxid,
            "last_response_time": one.last_response_ms,
            "last_latency": one.last_latency_ms,
            "min_latency": one.minimum_latency_ms,
            "avg_latency": one.average_latency_ms,
            "max_latency": one.maximum_latency_ms,
        }
    return out


def digests(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Digests of the tree at some zxids."""
    log = [{"zxid": zxid, "digest": digest, "digest_version": 2} for zxid, digest in view.digest_log]
    return {"digests": log}


def dirs(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Sizes of the data folders."""
    return {"datadir_size": context.data_size(), "logdir_size": context.log_size()}


def dump(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """When sessions expire (where this server expires them), and who owns which ephemeral nodes."""
    return {
        "expiry_time_to_session_ids": {
            str(one.when_ms): one.session_ids for one in view.role.session_buckets
        },
        "session_id_to_ephemeral_paths": {str(session): paths for session, paths in view.ephemerals},
    }


def environment_of(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The environment of the process."""
    return dict(environment(context.version))


def trace_mask(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The trace mask."""
    return {"tracemask": context.trace_mask}


def set_trace_mask(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Sets the trace mask to the argument ``traceMask``."""
    given = arguments.get("traceMask")
    if given is None:
        return {"error": "setTraceMask requires long traceMask argument"}
    try:
        mask = int(given)
    except ValueError:
        return {"error": f"setTraceMask requires long traceMask argument, got {given}"}
    if not -(2**63) <= mask < 2**63:
        return {"error": f"setTraceMask requires long traceMask argument, got {given}"}
    context.trace_mask = mask
    return {"tracemask": mask}


def initial_configuration(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The text of the configuration file as it was when the server started."""
    return {"initial_configuration": context.config.config_text}


def is_read_only(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Whether this server serves without a quorum."""
    return {"read_only": view.is_read_only()}


def last_snapshot(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The newest snapshot: zxid in hexadecimal, time in seconds; -1 for both before the first."""
    seconds = view.snapshot_wall_ms // 1000 if view.snapshot_zxid >= 0 else -1
    return {"zxid": hex_long(view.snapshot_zxid), "timestamp": seconds}


def leader(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Who leads."""
    quorum = view.role.quorum
    if quorum is None:
        return {"error": "server is not initialized"}
    return {
        "is_leader": view.role.leader is not None,
        "leader_id": quorum.leader_id,
        "leader_ip": quorum.leader_address,
    }


def monitor(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Every metric."""
    return dict(monitor_values(view, context.version, context.more_gauges()))


def server_stats(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The summary."""
    sizes = _sizes(view.response_sizes)
    out: Answer = {
        "version": context.version,
        "read_only": view.is_read_only(),
        "server_stats": {
            "packets_sent": view.packets_sent,
            "packets_received": view.packets_received,
            "fsync_threshold_exceed_count": view.fsync_threshold_exceeded,
            "client_response_stats": sizes,
            "data_dir_size": context.data_size(),
            "log_dir_size": context.log_size(),
            "provider_null": False,
            "last_processed_zxid": view.last_zxid,
            "outstanding_requests": view.outstanding,
            "server_state": view.role.name,
            "avg_latency": view.latency_average_ms,
            "max_latency": view.latency_maximum_ms,
            "min_latency": view.latency_minimum_ms,
            "num_alive_client_connections": view.connection_count,
            "uptime": view.uptime_ms,
            "auth_failed_count": view.auth_failed,
            "non_mtlsremote_conn_count": view.non_mtls_remote_connections,
            "non_mtlslocal_conn_count": view.non_mtls_local_connections,
        },
        "client_response": sizes,
    }
    if view.role.leader is not None:
        out["proposal_stats"] = _sizes(view.role.leader.proposal_sizes)
    out["node_count"] = view.node_count
    return out


def _sizes(sizes: SizeStats) -> Answer:
    return {
        "last_buffer_size": sizes.last,
        "min_buffer_size": sizes.smallest,
        "max_buffer_size": sizes.largest,
    }


def stats(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The summary and the clients."""
    return server_stats(context, view, arguments) | _connections(view, brief=True)


def observers(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The observers in step with this server."""
    learners = [_learner(one) for one in view.role.observers]
    return {"synced_observers": max(0, view.role.synced_observers), "observers": learners}


def _learner(one: LearnerView) -> Answer:
    return {
        "remote_socket_address": f"/{one.address}",
        "sid": one.sid,
        "established": one.established_ms,
        "queued_packets": one.queued_packets,
        "queued_packets_size": one.queued_bytes,
        "packets_received": one.packets_received,
        "packets_sent": one.packets_sent,
        "requests": one.requests,
        "last_zxid": one.last_zxid,
    }


def system_properties(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The settings that were given, where upstream shows those of the JVM."""
    return dict(context.properties())


def voting_view(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The members that vote, by server id."""
    quorum = view.role.quorum
    if quorum is None:
        return {"current_config": {}}
    return {"current_config": {str(sid): _member(quorum, sid) for sid in quorum.config.voters()}}


def _member(quorum: QuorumView, sid: int) -> Answer:
    server = quorum.config.servers[sid]
    return {
        "server_addresses": [_address(one) for one in server.quorum_addresses()],
        "election_addresses": [_address(one) for one in server.election_addresses()],
        "client_address": "" if server.client is None else _address(server.client),
        "learner_type": "observer" if server.observer else "participant",
    }


def _address(address: tuple[str, int]) -> str:
    return f"{host_address(address[0])}:{address[1]}"


def watches(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Watched paths by session."""
    by_session: dict[str, list[str]] = {str(session): paths for session, paths in view.watches_by_session}
    return {"session_id_to_watched_paths": by_session}


def watches_by_path(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """Watching sessions by path."""
    return {"path_to_session_ids": dict(view.watches_by_path)}


def watch_summary(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """How many watch how much."""
    count, paths, total = view.watch_summary
    return {"num_connections": count, "num_paths": paths, "num_total_watches": total}


def zab_state(context: AdminContext, view: ServerView, arguments: Arguments) -> Answer:
    """The phase of Zab this server is in, and how far its history goes."""
    quorum = view.role.quorum
    if quorum is None:
        return {"voting": False, "zabstate": ""}
    own = quorum.config.servers.get(view.server_id)
    return {
        "myid": view.server_id,
        "is_leader": view.role.leader is not None,
        "quorum_address": _addresses([] if own is None else own.quorum_addresses()),
        "election_address": _addresses([] if own is None else own.election_addresses()),
        "client_address": "" if own is None or own.client is None else _address(own.client),
        "voting": own is not None and not own.observer,
        "last_zxid": f"0x{hex_long(view.last_zxid)}",
        "zab_epoch": view.last_zxid >> 32,
        "zab_counter": view.last_zxid & 0xFFFFFFFF,
        "zabstate": quorum.zab_state,
    }


def _addresses(addresses: list[tuple[str, int]]) -> Answer:
    """What is known of a MultipleAddresses; whether one of them can be reached was never asked."""
    texts = [_address(one) for one in addresses]
    return {
        "empty": not texts,
        "all_addresses": texts,
        "wildcard_addresses": [f"0.0.0.0:{port}" for _, port in addresses],
        "all_ports": [port for _, port in addresses],
        "all_host_strings": [host for host, _ in addresses],
        "one": texts[0] if texts else None,
    }


COMMANDS: tuple[Command, ...] = (
    Command(("connection_stat_reset", "crst"), reset_connections, word_texts.crst),
    Command(("configuration", "config", "conf"), configuration, word_texts.conf),
    Command(("connections", "cons"), connections, word_texts.cons, parts=PART_CONNECTIONS),
    Command(("hash",), digests, word_texts.digest_log, parts=PART_DIGESTS),
    Command(("dirs",), dirs, word_texts.dirs),
    Command(("dump",), dump, word_texts.dump, parts=PART_SESSIONS | PART_EPHEMERALS | PART_CONNECTIONS),
    Command(("environment", "env", "envi"), environment_of, word_texts.envi, needs_serving=False),
    Command(("get_trace_mask", "gtmk"), trace_mask, word_texts.gtmk, needs_serving=False),
    Command(("initial_configuration", "icfg"), initial_configuration),
    Command(("is_read_only", "isro"), is_read_only, word_texts.isro),
    Command(("last_snapshot", "lsnp"), last_snapshot),
    Command(("leader", "lead"), leader),
    Command(("monitor", "mntr"), monitor, word_texts.mntr, parts=PART_METRICS),
    Command(("observer_connection_stat_reset", "orst"), reset_observers),
    Command(("observers", "obsr"), observers),
    Command(("ruok",), nothing, word_texts.ruok),
    Command(("set_trace_mask", "stmk"), set_trace_mask, word_texts.stmk, needs_serving=False),
    Command(("server_stats", "srvr"), server_stats, word_texts.srvr),
    Command(("stats", "stat"), stats, word_texts.stat, parts=PART_CONNECTIONS),
    Command(("stat_reset", "srst"), reset_stats, word_texts.srst),
    Command(("system_properties", "sysp"), system_properties, needs_serving=False),
    Command(("voting_view",), voting_view),
    Command(("watches", "wchc"), watches, word_texts.wchc, parts=PART_WATCHES_BY_SESSION),
    Command(("watches_by_path", "wchp"), watches_by_path, word_texts.wchp, parts=PART_WATCHES_BY_PATH),
    Command(("watch_summary", "wchs"), watch_summary, word_texts.wchs),
    Command(("zabstate",), zab_state, needs_serving=False),
)

BY_NAME: dict[str, Command] = {name: row for row in COMMANDS for name in row.names}
BY_WORD: dict[str, Command] = {row.word: row for row in COMMANDS if row.text is not None}
