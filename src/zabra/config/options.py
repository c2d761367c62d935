"""The table of all options: one row each.  Reader, manual, ``config show`` and tests are written from it.

A row says how the option is called in ``zoo.cfg`` and as a Java system property, which field of
``ServerConfig`` it fills, what its value may be, and what becomes of it: *honoured*, *ignored* (accepted with
a warning and a reason) or *refused* (an error with a reason, since going on without it would mislead).  What
is understood and checked but not built yet is *waiting*: a warning, or *withheld*: an error.

A key of ``zoo.cfg`` may also be written with ``zookeeper.`` before it, and as ``-Dzookeeper.<key>``.  Source:
upstream ``QuorumPeerConfig`` and the classes that read system properties.
"""

from zabra.config.kinds import (
    LONG_MAX,
    Addresses,
    Boolean,
    Choice,
    Decimal,
    Hours,
    Integer,
    Kind,
    Text,
    Words,
)

HONOURED = "honoured"
IGNORED = "ignored"
REFUSED = "refused"
WAITING = "waiting"
WITHHELD = "withheld"
# Rows whose value gets into a ServerConfig.
FILLING = (HONOURED, WAITING, WITHHELD)

# Must be the same on every member / may differ / concerns clients and tools, not servers.
ENSEMBLE = "ensemble"
SERVER = "server"
CLIENT = "client"

BOOL = Boolean()
YES_NO = Boolean(yes_no=True)
TEXT = Text()
PATH = Text("path")
HOST = Text("host")
WORDS = Words()
ADDRESSES = Addresses()
PORT = Integer(0, 65535)
COUNT = Integer(0)
POSITIVE = Integer(1)
INT = Integer()
LONG = Integer(-LONG_MAX - 1, LONG_MAX)
NUMBER = Decimal()


class Option:
    """One row.

    ``field`` is the name in ``ServerConfig`` (``client_tls.protocol``: inside one of its parts), empty for an
    option that is ignored or refused.  ``default`` is written as in the file; None: not set.  ``prefix`` rows
    stand for a family of keys (``server.N``): ``key`` then ends in a dot.  ``property_only``: upstream
    reads it as a system property only, not in the file.  ``harmless``: the value of a row without effect at
    which nothing is missing; the default unless given.
    """

    __slots__ = (
        "changeable", "default", "doc", "field", "harmless", "key", "kind", "prefix", "properties",
        "property_only", "reason",
        "scope", "secret", "section", "status", "unit",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        field: str,
        kind: Kind,
        default: str | None,
        doc: str,
        *,
        unit: str = "",
        scope: str = SERVER,
        properties: tuple[str, ...] = (),
        property_only: bool = False,
        changeable: bool = False,
        secret: bool = False,
        status: str = HONOURED,
        reason: str = "",
        harmless: str | None = None,
    ) -> None:
        assert status == HONOURED or reason, key
        self.key = key
        self.field = field
        self.kind = kind
        self.default = default
        self.doc = doc
        self.unit = unit
        self.scope = scope
        self.properties = properties or (f"zookeeper.{key}",)
        self.property_only = property_only
        self.changeable = changeable
        self.secret = secret
        self.prefix = key.endswith(".")
        self.status = status
        self.reason = reason
        self.harmless = default if harmless is None else harmless
        self.section = ""

    def default_value(self) -> object:
        """The default as a value; None: not set."""
        return None if self.default is None else self.kind.parse(self.default)

    def is_harmless(self, value: object) -> bool:
        """Whether a row without effect may be set to ``value`` without anything being missing."""
        return self.harmless is not None and value == self.kind.parse(self.harmless)

    def __repr__(self) -> str:
        return f"Option({self.key!r})"


NO_JVM = "belongs to the Java virtual machine"
NO_THREADS = "there are no worker threads to size: one loop executes everything in order"
NO_NETTY = "belongs to Netty's or NIO's buffers and threads"
NO_KERBEROS = "Kerberos is not supported; without it the server would accept nobody or everybody"
NEVER_BLOCKS = "sending and closing never block here"
NO_JMX = "there is no JMX here; mntr shows the metrics"
FOR_TESTS = "exists for upstream's own tests"
IN_TURN = "addresses are tried in turn, and the first that answers is taken"
NOT_KEPT = "packets are not kept; what ends a connection is logged with its reason"
FOR_CLIENTS = "an option of clients; a server does not read it"
NO_TLS_YET = "TLS is not built yet: no port speaks it"
NO_SASL_YET = "SASL is not built yet: nobody can authenticate by it"
NO_X509_YET = "TLS is not built yet: no client can show a certificate"
NO_ADMIN_YET = "the admin server is not built yet: no port is opened for it"
NO_EXPORTER_YET = "a port for metrics is not built yet; mntr shows them"
PLAIN_QUORUM = "not built yet, and without it servers would talk to each other in the clear"
OPEN_QUORUM = "not built yet, and without it any server could join"
NO_AUDIT_YET = "not built yet, and without it changes would go unrecorded"


def _ignored(
    key: str, kind: Kind, default: str | None, doc: str, reason: str, *, unit: str = "", scope: str = SERVER
) -> Option:
    return Option(key, "", kind, default, doc, unit=unit, scope=scope, status=IGNORED, reason=reason)


def _refused(key: str, kind: Kind, default: str | None, doc: str, reason: str) -> Option:
    return Option(key, "", kind, default, doc, status=REFUSED, reason=reason)


BASIC = (
    Option("clientPort", "client_port", PORT, None,
           "Port for clients; without it no plain client port is opened."),
    Option("clientPortAddress", "client_port_address", HOST, "",
           "Address to bind the client port to; empty: all."),
    Option("secureClientPort", "secure_client_port", PORT, None, "Port for clients that speak TLS.",
        status=WAITING, reason=NO_TLS_YET),
    Option(
        "secureClientPortAddress", "secure_client_port_address", HOST, "",
        "Address to bind the TLS client port to; empty: all.",
        status=WAITING, reason=NO_TLS_YET,
    ),
    Option(
        "clientPortListenBacklog", "client_port_listen_backlog", INT, "-1",
        "Connections that may wait to be accepted; -1: as the operating system likes.", unit="connections",
    ),
    Option("dataDir", "data_dir", PATH, None, "Folder of snapshots, epochs and `myid`. Required."),
    Option("dataLogDir", "data_log_dir", PATH, None, "Folder of the transaction log; default: `dataDir`."),
    Option(
        "tickTime", "tick_time_ms", POSITIVE, "3000",
        "The unit of time: heartbeats between servers, rounding of session timeouts.", unit="ms",
        scope=ENSEMBLE,
    ),
    Option(
        "minSessionTimeout", "min_session_timeout_ms", INT, "-1",
        "Shortest session timeout a client may have; -1: two ticks.", unit="ms",
    ),
    Option(
        "maxSessionTimeout", "max_session_timeout_ms", INT, "-1",
        "Longest session timeout a client may have; -1: twenty ticks.", unit="ms",
    ),
    Option(
        "maxClientCnxns", "max_client_connections_per_ip", COUNT, "60",
        "Connections one address may have open; 0: no limit.", unit="connections",
    ),
    Option("maxCnxns", "max_connections", COUNT, "0", "Client connections in all; 0: as many as there are "
           "file descriptors (`ulimit -n`, which is raised as far as it may be).", unit="connections"),
    Option(
        "4lw.commands.whitelist", "four_letter_words", WORDS, "srvr",
        "Four-letter words that are answered, separated by commas; `*`: all. "
        "`isro` is answered as well when the read-only mode is enabled.",
    ),
)  # fmt: skip

CLUSTER = (
    Option(
        "initLimit", "init_limit_ticks", COUNT, "0",
        "Time a learner has to connect to the leader and synchronise. Required in an ensemble.",
        unit="ticks", scope=ENSEMBLE,
    ),
    Option(
        "syncLimit", "sync_limit_ticks", COUNT, "0",
        "Time a learner may lag or be silent before it is dropped. Required in an ensemble.",
        unit="ticks", scope=ENSEMBLE,
    ),
    Option(
        "connectToLearnerMasterLimit", "connect_to_learner_master_limit_ticks", COUNT, "0",
        "Time a learner has to connect to the leader; 0: `initLimit`.", unit="ticks",
    ),
    Option(
        "server.", "ensemble", TEXT, None,
        "A member: `server.N=host:quorumPort:electionPort[:participant|observer][;[host:]clientPort"
        "[;[host:]secureClientPort]]`; several addresses are separated by `|`.",
        scope=ENSEMBLE, changeable=True,
    ),
    Option(
        "group.", "ensemble", TEXT, None, "A group of a hierarchical quorum: `group.N=1:2:3`.",
        scope=ENSEMBLE, changeable=True,
    ),
    Option(
        "weight.", "ensemble", TEXT, None, "A member's weight in a hierarchical quorum, 1 if not given.",
        scope=ENSEMBLE, changeable=True,
    ),
    Option(
        "version", "ensemble", TEXT, None,
        "Version of the member list, hexadecimal; servers write it, not people.",
        scope=ENSEMBLE, changeable=True,
    ),
    Option(
        "peerType", "peer_type", Choice({"participant": "participant", "observer": "observer"}),
        "participant",
        "Whether this server votes; the member list wins where the two differ.",
    ),
    Option("syncEnabled", "sync_enabled", BOOL, "true",
           "Whether an observer keeps log and snapshots on disk."),
    Option(
        "observer.syncEnabled", "sync_enabled", BOOL, None, "Wins over `syncEnabled` when set.",
    ),
    Option(
        "observerMasterPort", "observer_master_port", PORT, "0",
        "Port on which a follower, or an observer, serves observers in the leader's place; an observer looks "
        "for the voters' there. 0: none.",
    ),
    Option(
        "zabra.observerMasters", "observer_masters", ADDRESSES, "",
        "Who may serve this observer in the leader's place, `host:port,host:port`, the preferred one first: "
        "followers or observers with `observerMasterPort`. Empty: the voters, where this server has "
        "`observerMasterPort` set.",
    ),
    Option(
        "zabra.join", "join", ADDRESSES, "",
        "Makes this server an observer of the ensemble found at `host:port,host:port` (client or quorum "
        "ports), without a `server.N` line of its own anywhere.",
    ),
    Option(
        "zabra.maxServeLagTxns", "max_serve_lag_txns", COUNT, "20000",
        "An observer that is further behind serves no clients; 0: no limit.", unit="txns",
    ),
    Option(
        "zabra.maxServeLagMs", "max_serve_lag_ms", COUNT, "5000",
        "An observer that is further behind serves no clients; 0: no limit.", unit="ms",
    ),
    Option(
        "electionAlg", "election_alg", Choice({"3": "3"},
        otherwise="the other algorithms are gone upstream too"), "3",
        "The election algorithm.", scope=ENSEMBLE,
    ),
    Option(
        "standaloneEnabled", "standalone_enabled", BOOL, "true",
        "Whether a list with one voter means a server without an ensemble.",
    ),
    Option(
        "reconfigEnabled", "reconfig_enabled", BOOL, "false",
        "Whether members may be changed while the ensemble runs.", scope=ENSEMBLE,
    ),
    Option(
        "dynamicConfigFile", "dynamic_config_file", PATH, "",
        "File with the member list; its name ends in the list's version.", changeable=True,
    ),
    Option(
        "localSessionsEnabled", "local_sessions_enabled", BOOL, "false",
        "Whether new sessions stay on the server they were made on.", scope=ENSEMBLE,
    ),
    Option(
        "localSessionsUpgradingEnabled", "local_sessions_upgrading_enabled", BOOL, "false",
        "Whether a local session becomes global when it creates an ephemeral node.", scope=ENSEMBLE,
    ),
    Option(
        "quorumListenOnAllIPs", "quorum_listen_on_all_ips", BOOL, "false",
        "Whether the quorum and election ports are bound on all addresses.",
    ),
    Option("multiAddress.enabled", "multi_address_enabled", BOOL, "false",
           "Whether members may have several addresses."),
    _ignored(
        "multiAddress.reachabilityCheckEnabled", BOOL, "true",
        "Whether a member's addresses are tried to find one that answers.", IN_TURN,
    ),
    _ignored(
        "multiAddress.reachabilityCheckTimeoutMs", POSITIVE, "1000",
        "How long one address may take to answer.", IN_TURN, unit="ms",
    ),
    Option(
        "oraclePath", "oracle_path", PATH, "",
        "File that decides for an ensemble of two voters whether this one may go on alone: it contains 1 or "
        "0. Whoever writes it must never say 1 to both.",
    ),
    _ignored(
        "quorum.cnxn.threads.size", INT, "20", "Threads for connections between servers.", NO_THREADS,
    ),
)  # fmt: skip

PERSISTENCE = (
    Option(
        "preAllocSize", "preallocate_kb", COUNT, "65536", "By how much a log file is extended at a time.",
        unit="KiB",
    ),
    Option(
        "snapCount", "snapshot_count", INT, "100000",
        "Txns between snapshots; the actual number is drawn between the half and all of it, so that members "
        "do not take theirs at the same time.", unit="txns",
    ),
    Option(
        "snapSizeLimitInKb", "snapshot_size_limit_kb", LONG, "4194304",
        "Log written between snapshots, drawn in the same way; 0 or less: only the number of txns counts.",
        unit="KiB",
    ),
    Option(
        "txnLogSizeLimitInKb", "txnlog_size_limit_kb", LONG, "-1",
        "Size at which a new log file is begun; -1: none.",
        unit="KiB",
    ),
    Option(
        "commitLogCount", "commit_log_count", INT, "500",
        "Committed txns kept in memory for learners that fell behind; 500 at least.", unit="txns",
    ),
    Option(
        "snapshotSizeFactor", "snapshot_size_factor", NUMBER, "0.33",
        "A learner is synchronised from log files as long as they are smaller than this share of the "
        "snapshot; negative: never from log files.",
    ),
    Option(
        "forceSync", "force_sync", YES_NO, "yes",
        "Whether a txn is forced to disk before it is acknowledged. With `no`, a power failure can lose "
        "acknowledged writes.",
    ),
    Option(
        "fsync.warningthresholdms", "fsync_warning_threshold_ms", COUNT, "1000",
        "An fsync that takes longer is reported.", unit="ms",
        properties=("zookeeper.fsync.warningthresholdms", "fsync.warningthresholdms"),
    ),
    Option(
        "flushDelay", "flush_delay_ms", COUNT, "0", "How long a flush may be held back to gather more txns.",
        unit="ms",
    ),
    Option(
        "maxWriteQueuePollTime", "max_write_queue_poll_time_ms", INT, "-1",
        "How long the log waits for another txn while a flush is held back; -1: a third of `flushDelay`.",
        unit="ms",
    ),
    Option("maxBatchSize", "max_batch_size", POSITIVE, "1000",
           "Txns at which a flush is not held back for more.",
           unit="txns"),
    Option(
        "snapshot.compression.method", "snapshot_compression_method",
        Choice({"": "", "gz": "gz", "snappy": "snappy"}), "", "How snapshots are compressed.",
    ),
    Option(
        "snapshot.trust.empty", "snapshot_trust_empty", BOOL, "false",
        "Whether a server may start that has a log and no snapshot. Only for an upgrade from 3.4.",
    ),
    Option(
        "digest.enabled", "digest_enabled", BOOL, "true",
        "Whether txns and snapshots carry a digest of the tree to compare with.", scope=ENSEMBLE,
    ),
    Option(
        "serializeLastProcessedZxid.enabled", "serialize_last_processed_zxid_enabled", BOOL, "true",
        "Whether a snapshot ends with the last zxid it holds.", scope=ENSEMBLE,
    ),
    Option(
        "closeSessionTxn.enabled", "close_session_txn_enabled", BOOL, "true",
        "Whether the txn that closes a session names the nodes to delete.", scope=ENSEMBLE,
    ),
    Option("datadir.autocreate", "datadir_autocreate", BOOL, "true",
           "Whether missing data folders are made."),
    Option(
        "db.autocreate", "db_autocreate", BOOL, "true",
        "Whether a server without any data may vote at once; with false only after its `initialize` file "
        "was made.",
    ),
    Option("forceSnapshotSync", "force_snapshot_sync", BOOL, "false",
           "Whether learners always get a snapshot."),
    Option(
        "autopurge.snapRetainCount", "autopurge_snap_retain_count", INT, "3",
        "Snapshots that a purge keeps, 3 at least, with the log files they need.", unit="snapshots",
    ),
    Option(
        "autopurge.purgeInterval", "autopurge_purge_interval_ms", Hours(), "0",
        "Time between purges; 0: no purges.",
        unit="hours",
    ),
)  # fmt: skip

REPLICATION = (
    Option("leaderServes", "leader_serves", YES_NO, "yes", "Whether the leader takes clients."),
    Option(
        "leader.nodelay", "leader_nodelay", BOOL, "true",
        "Whether the leader's connections send without delay.",
        properties=("leader.nodelay",), property_only=True,
    ),
    Option(
        "follower.nodelay", "follower_nodelay", BOOL, "true",
        "Whether a learner's connection sends without delay.",
        properties=("follower.nodelay",), property_only=True,
    ),
    Option(
        "leader.maxConcurrentSnapSyncs", "max_concurrent_snap_syncs", POSITIVE, "10",
        "Observers that may be synchronised by SNAP at the same time.", unit="learners",
    ),
    Option(
        "leader.maxConcurrentDiffSyncs", "max_concurrent_diff_syncs", POSITIVE, "100",
        "Observers that may be synchronised by DIFF at the same time.", unit="learners",
    ),
    _ignored(
        "leader.maxTimeToWaitForEpoch", INT, "-1",
        "How long a new leader waits before it looks again because its supporters do.",
        "it looks again as soon as they do", unit="ms",
    ),
    _ignored("leader.ackLoggingFrequency", POSITIVE, "1000", "Every how many acks one is measured.",
             "every ack is measured"),
    _ignored("leader.closeSocketAsync", BOOL, "false", "Close learners' connections in the background.",
             NEVER_BLOCKS),
    _ignored("learner.closeSocketAsync", BOOL, "false", "Close the leader's connection in the background.",
             NEVER_BLOCKS),
    _ignored("learner.asyncSending", BOOL, "false", "Send to the leader in the background.", NEVER_BLOCKS),
    Option(
        "leaderConnectDelayDuringRetryMs", "leader_connect_delay_during_retry_ms", COUNT, "100",
        "Pause between a learner's attempts to connect to the leader.", unit="ms",
    ),
    Option("cnxTimeout", "election_connect_timeout_ms", POSITIVE, "5000",
           "Time to connect to an election port.", unit="ms"),
    Option(
        "quorumCnxnTimeoutMs", "quorum_connection_timeout_ms", INT, "-1",
        "Time another server has to say who it is on the election port; -1: `syncLimit`.", unit="ms",
    ),
    Option(
        "electionPortBindRetry", "election_port_bind_retry", COUNT, "3",
        "Attempts to bind the election port before giving up; 0: for ever.", unit="attempts",
    ),
    Option("tcpKeepAlive", "tcp_keep_alive", BOOL, "false", "TCP keep-alive between servers."),
    Option("clientTcpKeepAlive", "client_tcp_keep_alive", BOOL, "false",
           "TCP keep-alive on client connections."),
    Option(
        "fastleader.minNotificationInterval", "min_notification_interval_ms", POSITIVE, "200",
        "Shortest wait of an election before votes are sent again.", unit="ms",
    ),
    Option(
        "fastleader.maxNotificationInterval", "max_notification_interval_ms", POSITIVE, "60000",
        "Longest such wait.", unit="ms",
    ),
    Option(
        "observer.reconnectDelayMs", "observer_reconnect_delay_ms", COUNT, "0",
        "An observer waits up to this long, at random, before it connects to a leader.", unit="ms",
    ),
    Option(
        "observer.election.DelayMs", "observer_election_delay_ms", COUNT, "200",
        "An observer that lost its leader waits up to this long, at random, before it looks for another.",
        unit="ms",
    ),
    Option(
        "observerMaster.sizeLimit", "observer_master_size_limit", COUNT, "33554432",
        "Committed txns that a follower keeps for observers.", unit="bytes",
    ),
    _ignored(
        "follower.skipLearnerRequestToNextProcessor", BOOL, "false",
        "Whether a follower only passes its observers' requests on, without queueing them.",
        "they are always passed on at once",
    ),
    _ignored(
        "forward_learner_requests_to_commit_processor_disabled", BOOL, "false",
        "Keep learners' requests out of the leader's own queue.", "they are never in it",
    ),
    Option(
        "readonlymode.enabled", "read_only_mode_enabled", BOOL, "false",
        "Whether a server without an ensemble serves reads to clients that allow it.",
        properties=("readonlymode.enabled",), property_only=True,
    ),
)  # fmt: skip

LIMITS = (
    Option(
        "jute.maxbuffer", "jute_max_buffer", Integer(1), "1048575",
        "Longest request, and longest string or buffer in one. Clients need the same.",
        unit="bytes", scope=ENSEMBLE, properties=("jute.maxbuffer",), property_only=True,
    ),
    Option(
        "jute.maxbuffer.extrasize", "jute_extra_size", INT, "-1",
        "How much longer records between servers may be; -1: `jute.maxbuffer`.",
        unit="bytes", scope=ENSEMBLE, properties=("zookeeper.jute.maxbuffer.extrasize",),
    ),
    Option(
        "globalOutstandingLimit", "global_outstanding_limit", COUNT, "1000",
        "Unanswered requests at which reading from clients stops; of three voters or more each "
        "takes this divided by one less than there are voters.", unit="requests",
    ),
    Option(
        "request_throttle_max_requests", "request_throttle_max_requests", COUNT, "0",
        "Requests under way at which further ones are held back; 0: none are.", unit="requests",
    ),
    Option(
        "request_throttle_stall_time", "request_throttle_stall_time_ms", COUNT, "100",
        "How long a held-back request waits before it is looked at again.", unit="ms",
    ),
    Option(
        "request_throttle_drop_stale", "request_throttle_drop_stale", BOOL, "true",
        "Whether stale requests are dropped rather than executed.",
    ),
    Option(
        "request_stale_latency_check", "request_stale_latency_check", BOOL, "false",
        "Whether a request older than its session's timeout is stale.",
    ),
    Option(
        "request_stale_connection_check", "request_stale_connection_check", BOOL, "true",
        "Whether a request whose connection is gone is stale.",
    ),
    _ignored("request_throttler.shutdownTimeout", COUNT, "10000", "Time to drain the throttle at shutdown.",
             "what is held back at shutdown is dropped with its connection", unit="ms"),
    Option(
        "throttled_op_wait_time", "throttled_op_wait_time_ms", COUNT, "0",
        "A request that waited longer than this is answered THROTTLEDOP; 0: none is.", unit="ms",
    ),
    Option(
        "largeRequestMaxBytes", "large_request_max_bytes", COUNT, "104857600",
        "Large requests under way, in all.", unit="bytes",
    ),
    Option(
        "largeRequestThreshold", "large_request_threshold", INT, "-1",
        "Size from which a request is large; -1: none is.", unit="bytes",
    ),
    Option(
        "connection_throttle_tokens", "connection_throttle_tokens", COUNT, "0",
        "Size of the token bucket for new sessions; 0: no throttle.", unit="tokens",
    ),
    Option(
        "connection_throttle_fill_time", "connection_throttle_fill_time_ms", POSITIVE, "1",
        "Time after which tokens are added.", unit="ms",
    ),
    Option(
        "connection_throttle_fill_count", "connection_throttle_fill_count", COUNT, "1",
        "Tokens added each time.",
        unit="tokens",
    ),
    Option(
        "connection_throttle_freeze_time", "connection_throttle_freeze_time_ms", INT, "-1",
        "Time after which the drop probability is set anew; -1: it stays 0.", unit="ms",
    ),
    Option(
        "connection_throttle_drop_increase", "connection_throttle_drop_increase", NUMBER, "0.02",
        "How much it grows when tokens are short.", unit="share",
    ),
    Option(
        "connection_throttle_drop_decrease", "connection_throttle_drop_decrease", NUMBER, "0.002",
        "How much it shrinks when they are not.", unit="share",
    ),
    Option(
        "connection_throttle_decrease_ratio", "connection_throttle_decrease_ratio", NUMBER, "0",
        "Share of tokens above which it shrinks.", unit="share",
    ),
    Option(
        "connection_throttle_weight_enabled", "connection_throttle_weight_enabled", BOOL, "false",
        "Whether session kinds cost different numbers of tokens.",
    ),
    Option(
        "connection_throttle_global_session_weight", "connection_throttle_global_session_weight", POSITIVE,
        "3",
        "Price of a new global session.", unit="tokens",
    ),
    Option(
        "connection_throttle_renew_session_weight", "connection_throttle_renew_session_weight", POSITIVE, "2",
        "Price of a session that comes back.", unit="tokens",
    ),
    Option(
        "connection_throttle_local_session_weight", "connection_throttle_local_session_weight", POSITIVE, "1",
        "Price of a new local session.", unit="tokens",
    ),
    Option("enforceQuota", "enforce_quota", BOOL, "false", "Whether hard quotas refuse writes.",
           scope=ENSEMBLE),
    Option(
        "extendedTypesEnabled", "extended_types_enabled", BOOL, "false",
        "Whether nodes may have a time to live; server ids then end at 254.", scope=ENSEMBLE,
    ),
    Option(
        "emulate353TTLNodes", "emulate_353_ttl", BOOL, "false",
        "Whether times to live are stored as 3.5.3 stored them.", scope=ENSEMBLE,
    ),
    Option(
        "znode.container.checkIntervalMs", "container_check_interval_ms", POSITIVE, "60000",
        "Time between searches for container and TTL nodes to delete.", unit="ms",
        properties=("znode.container.checkIntervalMs",), property_only=True,
    ),
    Option(
        "znode.container.maxPerMinute", "container_max_per_minute", POSITIVE, "10000",
        "Deletions of such nodes in a minute at most.", unit="nodes",
        properties=("znode.container.maxPerMinute",), property_only=True,
    ),
    Option(
        "znode.container.maxNeverUsedIntervalMs", "container_max_never_used_interval_ms", COUNT, "0",
        "A container that never had a child is deleted after this time; 0: never.", unit="ms",
        properties=("znode.container.maxNeverUsedIntervalMs",), property_only=True,
    ),
    Option(
        "nio.sessionlessCnxnTimeout", "sessionless_connection_timeout_ms", POSITIVE, "10000",
        "A connection of which no session comes is closed after this time.", unit="ms",
    ),
    _ignored("messageTracker.Enabled", BOOL, "false",
             "Report the newest packets of a learner when its connection is lost.", NOT_KEPT),
    _ignored("messageTracker.BufferSize", POSITIVE, "10", "How many packets.", NOT_KEPT, unit="packets"),
    _ignored("maxResponseCacheSize", INT, "400", "Replies to getData kept ready.",
             "a reply costs less than its cache"),
    _ignored("maxGetChildrenResponseCacheSize", INT, "400", "Replies to getChildren kept ready.",
             "a reply costs less than its cache"),
    _ignored("intBufferStartingSizeBytes", INT, "1024", "First size of an internal buffer.", NO_JVM,
             unit="bytes"),
    _ignored("nio.numSelectorThreads", INT, None, "Threads that wait for connections.", NO_THREADS),
    _ignored("nio.numWorkerThreads", INT, None, "Threads that read and write.", NO_THREADS),
    _ignored("nio.directBufferBytes", INT, "65536", "Size of a write buffer.", NO_NETTY, unit="bytes"),
    _ignored("nio.shutdownTimeout", INT, "5000", "Time those threads have to end.", NO_THREADS, unit="ms"),
    _ignored("commitProcessor.numWorkerThreads", INT, None, "Threads that execute reads.", NO_THREADS),
    _ignored("commitProcessor.maxReadBatchSize", INT, "-1", "Reads executed before commits.", NO_THREADS),
    _ignored("commitProcessor.maxCommitBatchSize", INT, "1", "Commits executed before reads.", NO_THREADS),
    _ignored("commitProcessor.shutdownTimeout", INT, "5000", "Time those threads have to end.", NO_THREADS,
             unit="ms"),
    Option(
        "serverCnxnFactory", "",
        Choice(
            {
                "org.apache.zookeeper.server.NIOServerCnxnFactory": "NIOServerCnxnFactory",
                "org.apache.zookeeper.server.NettyServerCnxnFactory": "NettyServerCnxnFactory",
            },
            otherwise="Java classes cannot be loaded here",
        ),
        "org.apache.zookeeper.server.NIOServerCnxnFactory",
        "Java class that accepts connections.", status=IGNORED,
        reason="one listener does what both of upstream's do",
    ),
    _ignored("netty.advancedFlowControl.enabled", BOOL, "false", "Netty's flow control.", NO_NETTY),
    Option(
        "netty.server.outstandingHandshake.limit", "outstanding_tls_handshake_limit", INT, "-1",
        "TLS handshakes of clients under way at most; -1: no limit.", unit="handshakes",
        status=WAITING, reason=NO_TLS_YET,
    ),
    _ignored("netty.server.earlyDropSecureConnectionHandshakes", BOOL, "false",
             "Drop TLS connections before their handshake while the server does not serve.", NO_NETTY),
    _ignored("watchManagerName", TEXT, None, "Java class that keeps watches.", "there is one watch manager"),
    _ignored("watcherCleanThreadsNum", INT, "2", "Threads that clean up after watchers.", NO_THREADS),
    _ignored("watcherCleanThreshold", INT, "1000", "Watchers cleaned up together.", NO_THREADS),
    _ignored("watcherCleanIntervalInSeconds", INT, "600", "Time between clean-ups.", NO_THREADS, unit="s"),
    _ignored("maxInProcessingDeadWatchers", INT, "-1", "Watchers that may wait for it.", NO_THREADS),
    _ignored("bitHashCacheSize", INT, "10", "A cache of the optimised watch manager.",
             "there is one watch manager"),
    _ignored("pathStats.enabled", BOOL, "false", "Statistics of the busiest paths.", "not collected"),
    _ignored("pathStats.slotCapacity", INT, "60", "Their slots.", "not collected"),
    _ignored("pathStats.slotDuration", INT, "15", "Length of a slot.", "not collected", unit="s"),
    _ignored("pathStats.maxDepth", INT, "6", "Depth of the paths.", "not collected"),
    _ignored("pathStats.sampleRate", NUMBER, "0.1", "Share of requests.", "not collected"),
    _ignored("pathStats.initialDelay", INT, "5", "Time before the first report.", "not collected", unit="s"),
    _ignored("pathStats.delay", INT, "5", "Time between reports.", "not collected", unit="s"),
    _ignored("pathStats.topPathMax", INT, "20", "Paths in a report.", "not collected"),
    _ignored("jvm.pause.monitor", BOOL, "false", "Watch for pauses of the JVM.", NO_JVM),
    _ignored("jvm.pause.info-threshold.ms", LONG, "1000", "Pause that is noted.", NO_JVM, unit="ms"),
    _ignored("jvm.pause.warn-threshold.ms", LONG, "10000", "Pause that is warned of.", NO_JVM, unit="ms"),
    _ignored("jvm.pause.sleep.time.ms", LONG, "500", "Time between checks.", NO_JVM, unit="ms"),
    _ignored("testingonly.initialZxid", TEXT, None, "First zxid of a leader.", FOR_TESTS),
    _ignored("test.allowDiscontinuousProposals", BOOL, "false", "Accept gaps between proposals.", FOR_TESTS),
    _ignored("controllerPort", INT, None, "Port that injects faults.", FOR_TESTS),
)  # fmt: skip

SECURITY = (
    Option("skipACL", "skip_acl", YES_NO, "no", "Whether access lists are not checked at all.",
           scope=ENSEMBLE),
    Option(
        "DigestAuthenticationProvider.enabled", "digest_auth_enabled", BOOL, "true",
        "Whether the digest scheme exists.",
    ),
    Option(
        "DigestAuthenticationProvider.superDigest", "super_digest", TEXT, "",
        "`super:<hash>`: who authenticates so may do everything.", secret=True,
    ),
    Option(
        "DigestAuthenticationProvider.digestAlg", "digest_alg", TEXT, "SHA1", "Hash of the digest scheme.",
        scope=ENSEMBLE,
    ),
    Option(
        "X509AuthenticationProvider.superUser", "x509_super_user", TEXT, "",
        "Certificate name of a client that may do everything.",
        status=WAITING, reason=NO_X509_YET,
    ),
    Option("superUser", "super_users", WORDS, "", "SASL ids that may do everything.",
           properties=("zookeeper.superUser",),
        status=WAITING, reason=NO_SASL_YET),
    Option("superUser.", "super_users", TEXT, None, "Further such ids: `superUser.1`, `superUser.2`, ...",
        status=WAITING, reason=NO_SASL_YET),
    Option(
        "IPAuthenticationProvider.usexforwardedfor", "ip_auth_use_x_forwarded_for", BOOL, "false",
        "Whether the admin server believes the X-Forwarded-For header.",
        status=WAITING, reason=NO_ADMIN_YET,
    ),
    Option(
        "SASLAuthenticationProvider.superPassword", "sasl_super_password", TEXT, "",
        "Password of the SASL user `super`.", secret=True,
        status=WAITING, reason=NO_SASL_YET,
    ),
    Option(
        "authProvider.", "auth_providers", TEXT, None,
        "A further authentication scheme: the name of an installed provider, or upstream's class name of a "
        "built-in one.",
    ),
    Option("ensembleAuthName", "ensemble_auth_names", WORDS, "",
           "Names under which clients may ask for this ensemble."),
    Option("enforce.auth.enabled", "enforce_auth_enabled", BOOL, "false",
           "Whether clients must authenticate."),
    Option("enforce.auth.schemes", "enforce_auth_schemes", WORDS, "", "By one of these schemes."),
    Option(
        "sessionRequireClientSASLAuth", "enforce_auth_enabled", BOOL, "false",
        "Whether clients must authenticate by SASL; the older form of `enforce.auth`.",
    ),
    Option(
        "allowSaslFailedClients", "allow_sasl_failed_clients", BOOL, "false",
        "Whether a client whose SASL authentication failed may go on without.",
        status=WAITING, reason=NO_SASL_YET,
    ),
    Option(
        "letAnySaslUserDoX", "let_any_sasl_user_do_x", TEXT, "",
        "When set, any SASL user passes for any SASL id in access lists.",
    ),
    Option(
        "enableEagerACLCheck", "enable_eager_acl_check", BOOL, "false",
        "Whether a learner checks access before it forwards a write.",
    ),
    Option("sasl.serverconfig", "sasl_server_section", TEXT, "Server",
           "Section of the JAAS file for clients.",
        status=WAITING, reason=NO_SASL_YET),
    Option(
        "java.security.auth.login.config", "jaas_config_file", PATH, "",
        "JAAS file with the users of DIGEST-MD5.", properties=("java.security.auth.login.config",),
        property_only=True,
        status=WAITING, reason=NO_SASL_YET,
    ),
    Option("quorum.auth.enableSasl", "quorum_auth_enable_sasl", BOOL, "false",
           "Whether servers authenticate to each other.",
        status=WITHHELD, reason=OPEN_QUORUM),
    Option(
        "quorum.auth.learnerRequireSasl", "quorum_auth_learner_require_sasl", BOOL, "false",
        "Whether this server, connecting, insists on it.",
        status=WAITING, reason=NO_SASL_YET,
    ),
    Option(
        "quorum.auth.serverRequireSasl", "quorum_auth_server_require_sasl", BOOL, "false",
        "Whether this server, being connected to, insists on it.",
        status=WAITING, reason=NO_SASL_YET,
    ),
    Option(
        "quorum.auth.learner.saslLoginContext", "quorum_auth_learner_section", TEXT, "QuorumLearner",
        "Section of the JAAS file for connecting.",
        status=WAITING, reason=NO_SASL_YET,
    ),
    Option(
        "quorum.auth.server.saslLoginContext", "quorum_auth_server_section", TEXT, "QuorumServer",
        "Section of the JAAS file for being connected to.",
        status=WAITING, reason=NO_SASL_YET,
    ),
    _refused("quorum.auth.kerberos.servicePrincipal", TEXT, "zkquorum/localhost",
             "Kerberos name of the servers.", NO_KERBEROS),
    _refused("server.principal", TEXT, None, "Kerberos name of this server.", NO_KERBEROS),
    _refused("server.realm", TEXT, None, "Kerberos realm.", NO_KERBEROS),
    _refused("security.auth_to_local", TEXT, None, "Kerberos names and local ones.", NO_KERBEROS),
    _refused("kinit", PATH, None, "Path of Kerberos' kinit.", NO_KERBEROS),
    _refused("requireKerberosConfig", BOOL, "false", "Insist on a Kerberos configuration.", NO_KERBEROS),
    _ignored("kerberos.removeHostFromPrincipal", BOOL, "false", "Shorten Kerberos names.", NO_KERBEROS),
    _ignored("kerberos.removeRealmFromPrincipal", BOOL, "false", "Shorten Kerberos names.", NO_KERBEROS),
    _ignored("kerberos.canonicalizeHostNames", BOOL, "false", "Look up Kerberos host names.", NO_KERBEROS),
    _ignored("kerberos.minReLoginTimeMs", INT, "60000", "Time between Kerberos logins.", NO_KERBEROS,
             unit="ms"),
    Option("audit.enable", "audit_enabled", BOOL, "false", "Whether changes are written to the audit log.",
        status=WITHHELD, reason=NO_AUDIT_YET),
    Option(
        "audit.impl.class", "",
        Choice({"org.apache.zookeeper.audit.Slf4jAuditLogger": "Slf4jAuditLogger"},
               otherwise="Java classes cannot be loaded here"),
        "org.apache.zookeeper.audit.Slf4jAuditLogger", "Java class that writes it.",
        status=IGNORED, reason="Java classes cannot be loaded here",
    ),
    _ignored("jmx.log4j.disable", BOOL, "false", "JMX and log4j.", NO_JMX),
    _ignored("jmx.log4j.mbean", TEXT, None, "JMX and log4j.", NO_JMX),
)  # fmt: skip

STORE_TYPE = Choice(
    {"": "", "PEM": "PEM", "PKCS12": "PKCS12", "JKS": "JKS", "BCFKS": "BCFKS"},
)
STORES = "PEM, PKCS12 or JKS by the ending of its name (.pem, .p12 or .pfx, .jks), unless the type is given"


def _tls(prefix: str, part: str, of: str, client_hostnames: str) -> tuple[Option, ...]:
    """The rows of one of the two TLS configurations."""
    rows = (
        Option(f"{prefix}.keyStore.location", f"{part}.key_store_location", PATH, "",
               f"File with this server's certificate and key for {of}: {STORES}."),
        Option(f"{prefix}.keyStore.password", f"{part}.key_store_password", TEXT, "", "Its password.",
               secret=True),
        Option(f"{prefix}.keyStore.passwordPath", f"{part}.key_store_password", PATH, "",
               "File with its password; wins over the password."),
        Option(f"{prefix}.keyStore.type", f"{part}.key_store_type", STORE_TYPE, "", "Its type."),
        Option(f"{prefix}.trustStore.location", f"{part}.trust_store_location", PATH, "",
               f"File with the certificates trusted for {of}."),
        Option(f"{prefix}.trustStore.password", f"{part}.trust_store_password", TEXT, "", "Its password.",
               secret=True),
        Option(f"{prefix}.trustStore.passwordPath", f"{part}.trust_store_password", PATH, "",
               "File with its password; wins over the password."),
        Option(f"{prefix}.trustStore.type", f"{part}.trust_store_type", STORE_TYPE, "", "Its type."),
        Option(f"{prefix}.protocol", f"{part}.protocol", TEXT, "",
               "TLS version to offer: `TLSv1.2`, `TLSv1.3`."),
        Option(f"{prefix}.enabledProtocols", f"{part}.enabled_protocols", WORDS, "",
               "TLS versions to accept; default: the one of `protocol`, or 1.3 and 1.2."),
        Option(f"{prefix}.ciphersuites", f"{part}.cipher_suites", WORDS, "",
               "Ciphers to accept, in Java's names; default: OpenSSL's."),
        Option(f"{prefix}.hostnameVerification", f"{part}.hostname_verification", BOOL, "true",
               "Whether a server's certificate must name its host."),
        Option(f"{prefix}.clientHostnameVerification", f"{part}.client_hostname_verification", BOOL,
               client_hostnames,
               "Whether a client's certificate must name its host."),
        Option(f"{prefix}.allowReverseDnsLookup", f"{part}.allow_reverse_dns_lookup", BOOL, "false",
               "Whether the host's name may come from its address."),
        Option(f"{prefix}.crl", f"{part}.crl", BOOL, "false", "Whether revocation lists are checked."),
        _refused(f"{prefix}.ocsp", BOOL, "false", "Whether certificates are checked by OCSP.",
                 "Python's TLS has no OCSP; going on without would accept revoked certificates"),
        Option(f"{prefix}.clientAuth", f"{part}.client_auth", Choice({"need": "need", "want": "want",
               "none": "none"}),
               "need", "Whether a client must, may or need not have a certificate."),
        Option(f"{prefix}.handshakeDetectionTimeoutMillis", f"{part}.handshake_detection_timeout_ms",
               POSITIVE, "5000",
               "Time to tell TLS from plain on a port that takes both.", unit="ms"),
        _refused(f"{prefix}.context.supplier.class", TEXT, None, "Java class that makes TLS contexts.",
                 "Java classes cannot be loaded here"),
    )  # fmt: skip
    for row in rows:
        if row.status == HONOURED:
            row.status, row.reason = WAITING, NO_TLS_YET
    return rows


TLS = (
    Option("sslQuorum", "ssl_quorum", BOOL, "false", "Whether servers speak TLS to each other.",
           scope=ENSEMBLE,
        status=WITHHELD, reason=PLAIN_QUORUM),
    Option("portUnification", "port_unification", BOOL, "false",
           "Whether the quorum ports take plain and TLS alike.",
        status=WAITING, reason=NO_TLS_YET),
    Option("sslQuorumReloadCertFiles", "ssl_quorum_reload_cert_files", BOOL, "false",
           "Whether changed certificate files are loaded while running, for servers.",
        status=WAITING, reason=NO_TLS_YET),
    Option("client.portUnification", "client_port_unification", BOOL, "false",
           "Whether the client port takes plain and TLS alike.",
        status=WAITING, reason=NO_TLS_YET),
    Option("client.certReload", "client_cert_reload", BOOL, "false",
           "Whether changed certificate files are loaded while running, for clients.",
        status=WAITING, reason=NO_TLS_YET),
    Option("ssl.authProvider", "ssl_auth_provider", TEXT, "x509",
           "Scheme that authenticates clients with certificates.",
        status=WAITING, reason=NO_TLS_YET),
    _ignored("ssl.sslProvider", TEXT, None, "Java's or OpenSSL's TLS.", "TLS is Python's, that is OpenSSL's"),
    _ignored("fips-mode", BOOL, "true", "Leave certificate checks to Java's own classes.",
             "they are left to OpenSSL in any case"),
    *_tls("ssl", "client_tls", "clients", "false"),
    *_tls("ssl.quorum", "quorum_tls", "servers", "true"),
)  # fmt: skip

ADMIN = (
    Option(
        "zabra.versionText", "version_text", TEXT, "",
        "What `srvr` and its like give as the version, for clients that insist on one: a version (`3.5.6`) "
        "or a whole text (`3.5.6-abc, built on 10/08/2019 20:18 GMT`). Before 3.6, latencies are integers.",
    ),
    Option("admin.enableServer", "admin_enable_server", BOOL, "true", "Whether the admin server runs.",
        status=WAITING, reason=NO_ADMIN_YET, harmless="false"),
    Option("admin.serverAddress", "admin_server_address", HOST, "0.0.0.0", "Address it binds to.",
        status=WAITING, reason=NO_ADMIN_YET),
    Option("admin.serverPort", "admin_server_port", PORT, "8080", "Its port.",
        status=WAITING, reason=NO_ADMIN_YET),
    Option("admin.commandURL", "admin_command_url", PATH, "/commands", "Path under which its commands are.",
        status=WAITING, reason=NO_ADMIN_YET),
    Option("admin.idleTimeout", "admin_idle_timeout_ms", INT, "30000", "Time an idle connection stays open.",
           unit="ms",
        status=WAITING, reason=NO_ADMIN_YET),
    _ignored("admin.httpVersion", Choice({"10": "10", "11": "11"}), "11", "HTTP version.",
             "HTTP/1.1 is spoken"),
    Option("admin.snapshot.enabled", "admin_snapshot_enabled", BOOL, "true",
           "Whether its snapshot command works.",
        status=WAITING, reason=NO_ADMIN_YET),
    Option("admin.restore.enabled", "admin_restore_enabled", BOOL, "true",
           "Whether its restore command works.",
        status=WAITING, reason=NO_ADMIN_YET),
    Option("admin.rateLimiterIntervalInMS", "admin_rate_limiter_interval_ms", COUNT, "300000",
           "Time between two snapshots, and two restores, at least.", unit="ms",
        status=WAITING, reason=NO_ADMIN_YET),
    Option("admin.portUnification", "admin_port_unification", BOOL, "false",
           "Whether its port takes plain and TLS alike.",
        status=WAITING, reason=NO_ADMIN_YET),
    Option("admin.forceHttps", "admin_force_https", BOOL, "false", "Whether its port takes TLS only.",
        status=WAITING, reason=NO_ADMIN_YET),
    Option("admin.needClientAuth", "admin_need_client_auth", BOOL, "false",
           "Whether its clients need a certificate.",
        status=WAITING, reason=NO_ADMIN_YET),
    Option(
        "metricsProvider.className", "metrics_provider",
        Choice(
            {
                "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider": "default",
                "org.apache.zookeeper.metrics.impl.NullMetricsProvider": "null",
                "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider": "prometheus",
                "default": "default",
                "null": "null",
                "prometheus": "prometheus",
            },
            otherwise="Java classes cannot be loaded here",
        ),
        "default", "Who shows metrics; `prometheus` opens a port of its own for them.",
        status=WAITING, reason=NO_EXPORTER_YET,
    ),
    Option("metricsProvider.httpHost", "metrics_http_host", HOST, "0.0.0.0",
           "Address of the Prometheus port.",
        status=WAITING, reason=NO_EXPORTER_YET),
    Option("metricsProvider.httpPort", "metrics_http_port", PORT, "7000", "The Prometheus port.",
        status=WAITING, reason=NO_EXPORTER_YET),
    _refused("metricsProvider.httpsPort", Integer(-1, 65535), "-1", "The Prometheus port with TLS.",
             "metrics are not served over TLS"),
    _ignored("metricsProvider.exportJvmInfo", BOOL, "true", "Show the JVM's metrics too.", NO_JVM),
    _ignored("metricsProvider.", TEXT, None, "Whatever else the Java classes know.", NO_JVM),
)  # fmt: skip

PUBLISHERS = (
    Option(
        "publisher.", "publishers", TEXT, None,
        "Publishers: `publisher.<name>.class` names an installed one, `publisher.<name>.<key>` are its own "
        "options.",
    ),
)  # fmt: skip

FEED = (
    Option("feed.port", "feed_port", PORT, None,
           "The feed's own HTTP port: SSE, WebSocket, long-poll (docs/publishers.md). Not set: none; 0: any "
           "free one. Needs the extra `zabra[http]`."),
    Option("feed.address", "feed_address", HOST, "0.0.0.0", "Address of the feed's HTTP port."),
    Option("feed.onVoters", "feed_on_voters", BOOL, "false",
           "Serve the feed on a voter of an ensemble too, not only on observers and servers on their own."),
    Option("feed.maxSubscribers", "feed_max_subscribers", POSITIVE, "15000",
           "Connections at the feed's port; each needs a file descriptor."),
    Option("feed.bufferBytes", "feed_buffer_bytes", POSITIVE, "65536",
           "What may wait for one subscriber; one that has more to take reads on from the log.",
           unit="bytes"),
    Option("feed.slowReaderMs", "feed_slow_reader_ms", POSITIVE, "30000",
           "A subscriber that takes nothing for so long, although there is something, is cut.", unit="ms"),
    Option("feed.heartbeatMs", "feed_heartbeat_ms", POSITIVE, "10000",
           "A subscriber that was told nothing for so long is told how far the feed has come.", unit="ms"),
    Option("feed.maxFilterBytes", "feed_max_filter_bytes", POSITIVE, "8192",
           "The longest path with query that a request may ask for.", unit="bytes"),
    Option("feed.maxHeaderBytes", "feed_max_header_bytes", POSITIVE, "16384",
           "The longest head of a request.", unit="bytes"),
    Option("feed.maxSnapshotNodes", "feed_max_snapshot_nodes", POSITIVE, "100000",
           "The largest subtree of which a snapshot is given."),
    Option("feed.allowOrigins", "feed_allow_origins", WORDS, "",
           "Web pages of other origins (`https://host`) that may read the feed; `*`: all, without their "
           "users' passwords."),
)  # fmt: skip

CLIENTS = (
    _ignored("sasl.client", BOOL, "true", "Use SASL.", FOR_CLIENTS, scope=CLIENT),
    _ignored("sasl.clientconfig", TEXT, "Client", "Section of the JAAS file.", FOR_CLIENTS, scope=CLIENT),
    _ignored("sasl.client.username", TEXT, "zookeeper", "First part of the server's name.", FOR_CLIENTS,
             scope=CLIENT),
    _ignored("sasl.client.canonicalize.hostname", BOOL, "true", "Look up the server's name.", FOR_CLIENTS,
             scope=CLIENT),
    _ignored("sasl.client.allowReverseDnsLookup", BOOL, "false", "Look up the server's address.", FOR_CLIENTS,
             scope=CLIENT),
    _ignored("disableAutoWatchReset", BOOL, "false", "Do not set watches again.", FOR_CLIENTS, scope=CLIENT),
    _ignored("clientCnxnSocket", TEXT, None, "Java class of the connection.", FOR_CLIENTS, scope=CLIENT),
    _ignored("client.secure", BOOL, "false", "Use TLS.", FOR_CLIENTS, scope=CLIENT),
    _ignored("request.timeout", INT, "0", "Time for a reply.", FOR_CLIENTS, scope=CLIENT, unit="ms"),
    _ignored("shuffleDnsResponse", BOOL, "false", "Try addresses in random order.", FOR_CLIENTS,
             scope=CLIENT),
    _ignored("hostProvider.dnsSrvRefreshIntervalSeconds", INT, "60", "Look up servers again.", FOR_CLIENTS,
             scope=CLIENT, unit="s"),
)  # fmt: skip

SECTIONS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    ("Basics", BASIC),
    ("The ensemble", CLUSTER),
    ("Log and snapshots", PERSISTENCE),
    ("Leader, learners, election", REPLICATION),
    ("Limits and throttles", LIMITS),
    ("Access", SECURITY),
    ("TLS", TLS),
    ("Admin server and metrics", ADMIN),
    ("Publishers", PUBLISHERS),
    ("The feed over HTTP", FEED),
    ("Clients", CLIENTS),
)


def _all() -> tuple[Option, ...]:
    rows: list[Option] = []
    for section, options in SECTIONS:
        for option in options:
            option.section = section
            rows.append(option)
    return tuple(rows)


OPTIONS = _all()


def _names() -> dict[str, Option]:
    """Every name an option has, prefixes excepted."""
    names: dict[str, Option] = {}
    for option in OPTIONS:
        if not option.prefix:
            for name in (option.key, f"zookeeper.{option.key}", *option.properties):
                assert names.setdefault(name, option) is option, name
    return names


BY_NAME = _names()
# The longest first, so that ``metricsProvider.`` does not take what belongs to a longer prefix.
PREFIXES = tuple(sorted([option for option in OPTIONS if option.prefix], key=lambda option: -len(option.key)))


def find(name: str) -> tuple[Option, str] | None:
    """The option a name belongs to, and what follows its prefix (empty without one); None: unknown."""
    option = BY_NAME.get(name)
    if option is not None:
        return option, ""
    bare = name.removeprefix("zookeeper.")
    for option in PREFIXES:
        if bare.startswith(option.key) and len(bare) > len(option.key):
            return option, bare[len(option.key) :]
    return None
