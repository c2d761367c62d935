"""Every option gets to where it is read: from a line of zoo.cfg to the plan of a server."""

import pytest

from zabra.auth.schemes import EnsembleProvider, SaslProvider
from zabra.cli.plan import plan_of
from zabra.config.load import ConfigErrors, parse_config
from zabra.config.options import HONOURED, OPTIONS
from zabra.runtime.assembly import Plan

FILES = {"/d/myid": "1"}
MEMBER = "initLimit=5\nsyncLimit=2\nserver.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4\nserver.3=127.0.0.1:5:6\n"


def plan(*lines: str, member: bool = False) -> Plan:
    text = "\n".join(("dataDir=/d", MEMBER if member else "clientPort=2181", *lines))
    return plan_of(parse_config(text, read=FILES.get)[0])


WEIGHT = "connection_throttle"

# A line that differs from the default, where its value ends up, and as what.
LINES = [
    ("clientPortListenBacklog=7", "listen_backlog", 7),
    ("dataLogDir=/l", "data_log_dir", "/l"),
    ("tickTime=123", "settings.tick_ms", 123),
    ("minSessionTimeout=11", "settings.min_session_timeout_ms", 11),
    ("maxSessionTimeout=99999", "settings.max_session_timeout_ms", 99_999),
    ("maxClientCnxns=3", "settings.max_connections_per_ip", 3),
    ("maxCnxns=4", "settings.max_connections", 4),
    ("syncEnabled=false", "settings.sync_enabled", False),
    ("observerMasterPort=77", "settings.observer_master_port", 77),
    ("zabra.maxServeLagTxns=5", "settings.max_serve_lag_txns", 5),
    ("zabra.maxServeLagMs=6", "settings.max_serve_lag_ms", 6),
    ("standaloneEnabled=false", "settings.standalone_enabled", False),
    ("reconfigEnabled=true", "settings.reconfig_enabled", True),
    ("localSessionsEnabled=true", "settings.local_sessions_enabled", True),
    ("localSessionsUpgradingEnabled=true", "settings.local_sessions_upgrading_enabled", True),
    ("quorumListenOnAllIPs=true", "settings.listen_on_all_ips", True),
    ("multiAddress.enabled=true", "settings.multi_address", True),
    ("preAllocSize=8", "preallocate_bytes", 8192),
    ("snapCount=10", "settings.snap_count", 10),
    ("snapSizeLimitInKb=2", "settings.snap_size_limit", 2048),
    ("txnLogSizeLimitInKb=3", "log_size_limit_bytes", 3072),
    ("txnLogSizeLimitInKb=-1", "log_size_limit_bytes", 0),
    ("commitLogCount=600", "settings.commit_log_count", 600),
    ("snapshotSizeFactor=0.5", "settings.snapshot_size_factor", 0.5),
    ("forceSync=no", "force_sync", False),
    ("fsync.warningthresholdms=5", "settings.fsync_warning_ms", 5),
    ("flushDelay=30", "settings.flush_delay_ms", 30),
    ("flushDelay=30", "settings.max_write_queue_poll_ms", 10),
    ("maxBatchSize=8", "settings.max_batch_size", 8),
    ("snapshot.compression.method=gz", "compression_method", "gz"),
    ("snapshot.trust.empty=true", "trust_empty_snapshot", True),
    ("digest.enabled=false", "settings.digest_enabled", False),
    ("serializeLastProcessedZxid.enabled=false", "last_zxid_in_snapshots", False),
    ("closeSessionTxn.enabled=false", "settings.close_session_txn_enabled", False),
    ("datadir.autocreate=false", "autocreate_folders", False),
    ("db.autocreate=false", "autocreate_db", False),
    ("forceSnapshotSync=true", "settings.force_snapshot_sync", True),
    ("autopurge.snapRetainCount=5", "purge_retain_count", 5),
    ("autopurge.purgeInterval=2", "purge_interval_ms", 7_200_000),
    ("autopurge.purgeInterval=90s", "purge_interval_ms", 90_000),
    ("leaderServes=no", "settings.leader_serves", False),
    ("leader.nodelay=false", "sockets.leader_nodelay", False),
    ("follower.nodelay=false", "sockets.follower_nodelay", False),
    ("tcpKeepAlive=true", "sockets.peer_keep_alive", True),
    ("clientTcpKeepAlive=true", "sockets.client_keep_alive", True),
    ("leader.maxConcurrentSnapSyncs=3", "settings.max_concurrent_snap_syncs", 3),
    ("leader.maxConcurrentDiffSyncs=4", "settings.max_concurrent_diff_syncs", 4),
    ("leaderConnectDelayDuringRetryMs=5", "settings.connect_retry_delay_ms", 5),
    ("cnxTimeout=6", "settings.election_connect_timeout_ms", 6),
    ("quorumCnxnTimeoutMs=7", "settings.quorum_handshake_timeout_ms", 7),
    ("electionPortBindRetry=0", "election_bind_attempts", 0),
    ("fastleader.minNotificationInterval=8", "settings.min_notification_ms", 8),
    ("fastleader.maxNotificationInterval=70000", "settings.max_notification_ms", 70_000),
    ("observer.reconnectDelayMs=9", "settings.observer_reconnect_delay_ms", 9),
    ("observer.election.DelayMs=10", "settings.observer_election_delay_ms", 10),
    ("observerMaster.sizeLimit=11", "settings.observer_master_size_limit", 11),
    ("readonlymode.enabled=true", "settings.read_only_enabled", True),
    ("jute.maxbuffer=5000", "settings.jute_max_buffer", 5000),
    ("jute.maxbuffer=5000", "settings.jute_extra_size", 5000),
    ("jute.maxbuffer.extrasize=6000", "settings.jute_extra_size", 6000),
    ("globalOutstandingLimit=12", "settings.global_outstanding_limit", 12),
    ("request_throttle_max_requests=13", "settings.request_throttle_max_requests", 13),
    ("request_throttle_stall_time=14", "settings.request_throttle_stall_time_ms", 14),
    ("request_throttle_drop_stale=false", "settings.request_throttle_drop_stale", False),
    ("request_stale_latency_check=true", "settings.request_stale_latency_check", True),
    ("request_stale_connection_check=false", "settings.request_stale_connection_check", False),
    ("throttled_op_wait_time=15", "settings.throttled_op_wait_ms", 15),
    ("largeRequestMaxBytes=16", "settings.large_request_max_bytes", 16),
    ("largeRequestThreshold=17", "settings.large_request_threshold", 17),
    ("connection_throttle_tokens=18", "settings.connection_throttle_tokens", 18),
    ("connection_throttle_fill_time=19", "settings.connection_throttle_fill_time_ms", 19),
    ("connection_throttle_fill_count=20", "settings.connection_throttle_fill_count", 20),
    ("connection_throttle_freeze_time=21", "settings.connection_throttle_freeze_time_ms", 21),
    ("connection_throttle_drop_increase=0.5", "settings.connection_throttle_drop_increase", 0.5),
    ("connection_throttle_drop_decrease=0.25", "settings.connection_throttle_drop_decrease", 0.25),
    ("connection_throttle_decrease_ratio=0.75", "settings.connection_throttle_decrease_ratio", 0.75),
    ("connection_throttle_weight_enabled=true", "settings.connection_throttle_weight_enabled", True),
    (f"{WEIGHT}_global_session_weight=22", f"settings.{WEIGHT}_global_session_weight", 22),
    (f"{WEIGHT}_renew_session_weight=23", f"settings.{WEIGHT}_renew_session_weight", 23),
    (f"{WEIGHT}_local_session_weight=24", f"settings.{WEIGHT}_local_session_weight", 24),
    ("enforceQuota=true", "settings.enforce_quota", True),
    ("extendedTypesEnabled=true", "settings.extended_types_enabled", True),
    ("emulate353TTLNodes=true", "emulate_353_ttl", True),
    ("znode.container.checkIntervalMs=25", "settings.container_check_interval_ms", 25),
    ("znode.container.maxPerMinute=26", "settings.container_max_per_minute", 26),
    ("znode.container.maxNeverUsedIntervalMs=27", "settings.container_max_never_used_ms", 27),
    ("nio.sessionlessCnxnTimeout=28", "settings.sessionless_timeout_ms", 28),
    ("skipACL=yes", "providers.skip_acl", True),
    ("enableEagerACLCheck=true", "settings.eager_acl_check", True),
]


# Without effect on a server of its own.
FOR_MEMBERS = ("standaloneEnabled", "localSessionsEnabled")


@pytest.mark.parametrize(("line", "place", "value"), LINES, ids=[row[0] + " " + row[1] for row in LINES])
def test_line(line: str, place: str, value: object) -> None:
    found: object = plan(line, member=line.startswith(FOR_MEMBERS))
    for name in place.split("."):
        found = getattr(found, name)
    assert found == value


# Rows whose effect the tests below, or tests of other parts, look at.
ELSEWHERE = (
    "clientPort", "clientPortAddress", "dataDir", "4lw.commands.whitelist", "initLimit", "syncLimit",
    "connectToLearnerMasterLimit", "server.", "group.", "weight.", "version", "peerType",
    "observer.syncEnabled", "zabra.observerMasters", "zabra.join", "electionAlg", "dynamicConfigFile",
    "oraclePath", "maxWriteQueuePollTime", "zabra.versionText", "publisher.", "authProvider.",
    "ensembleAuthName", "enforce.auth.enabled", "enforce.auth.schemes", "sessionRequireClientSASLAuth",
    "letAnySaslUserDoX", "DigestAuthenticationProvider.enabled",
    "DigestAuthenticationProvider.superDigest", "DigestAuthenticationProvider.digestAlg",
)  # fmt: skip


def test_no_row_is_left_out() -> None:
    # The feed's are told to its door: tests/plugins/door/test_settings.py.
    honoured = {
        option.key
        for option in OPTIONS
        if option.status == HONOURED and not option.key.startswith("feed.")
    }
    told = {line.partition("=")[0] for line, _, _ in LINES}
    assert honoured - told - set(ELSEWHERE) == set()


def test_a_member() -> None:
    made = plan("peerType=observer", "zabra.observerMasters=h:1", member=True)
    assert made.client_addresses == []
    assert made.ensemble is not None
    assert made.settings.server_id == 1
    assert (made.settings.init_limit_ticks, made.settings.sync_limit_ticks) == (5, 2)
    assert made.settings.connect_to_leader_limit_ticks == 5
    assert made.settings.observer_masters == [("h", 1)]


def test_doors() -> None:
    assert plan("clientPortAddress=127.0.0.9").client_addresses == [("127.0.0.9", 2181)]
    assert plan().listen_backlog == 1024


def test_enforced_authentication() -> None:
    settings = plan("enforce.auth.enabled=true", "enforce.auth.schemes=digest,ip").settings
    assert (settings.enforce_auth_enabled, settings.enforce_auth_schemes) == (True, ["digest", "ip"])
    settings = plan("authProvider.1=sasl", "sessionRequireClientSASLAuth=true").settings
    assert (settings.enforce_auth_enabled, settings.enforce_auth_schemes) == (True, ["sasl"])


def test_providers_by_upstream_s_class_names() -> None:
    assert plan().providers.schemes() == ["ip", "digest"]
    assert plan("DigestAuthenticationProvider.enabled=false").providers.schemes() == ["ip"]
    prefix = "org.apache.zookeeper.server.auth."
    names = [
        f"authProvider.{number}={prefix}{name}AuthenticationProvider"
        for number, name in enumerate(("SASL", "X509", "Ensemble"))
    ]
    providers = plan(*names, "letAnySaslUserDoX=root", "ensembleAuthName=blue,green").providers
    assert providers.schemes() == ["ip", "digest", "sasl", "x509", "ensemble"]
    sasl = providers.get("sasl")
    assert isinstance(sasl, SaslProvider)
    assert sasl.matches("anybody", "root")
    assert isinstance(providers.get("ensemble"), EnsembleProvider)
    assert providers.authenticate("ensemble", b"green") == []
    assert providers.authenticate("ensemble", b"red") is None


def test_the_digest_scheme_as_configured() -> None:
    digest = "DigestAuthenticationProvider"
    ids = plan(f"{digest}.digestAlg=SHA-256", f"{digest}.superDigest=x").providers.authenticate(
        "digest", b"a:b"
    )
    assert ids is not None
    assert len(ids[0].id) == len("a:") + 44


def test_a_provider_that_is_not_installed_is_an_error_that_names_what_there_is() -> None:
    with pytest.raises(ConfigErrors, match=r"authProvider\.1: .*'mine' is installed; there are digest, ens"):
        plan("authProvider.1=mine")
