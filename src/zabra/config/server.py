"""ServerConfig: everything one server was told, validated, in one frozen object.

Units stand at the end of names.  What each field means, and how it is called in ``zoo.cfg``, is in the table
``config.options``; ``config.load`` makes the object.  What the ensemble has to agree on as a whole, its
members, is a type of its own: ``EnsembleConfig``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zabra.config.ensemble import EnsembleConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsConfig:
    """One of the two TLS configurations: towards clients, or between servers."""

    key_store_location: str
    key_store_password: str = field(repr=False)
    key_store_type: str
    trust_store_location: str
    trust_store_password: str = field(repr=False)
    trust_store_type: str
    protocol: str
    enabled_protocols: tuple[str, ...]
    cipher_suites: tuple[str, ...]
    hostname_verification: bool
    client_hostname_verification: bool
    allow_reverse_dns_lookup: bool
    crl: bool
    client_auth: str
    handshake_detection_timeout_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """The configuration of one server.

    ``ensemble`` is None for a standalone server; ``next_ensemble`` is the newest configuration this server
    has seen proposed (``zoo.cfg.dynamic.next``).  ``origins`` says for each field where its value came from.
    """

    # Basics
    client_port: int | None
    client_port_address: str
    secure_client_port: int | None
    secure_client_port_address: str
    client_port_listen_backlog: int
    data_dir: str
    data_log_dir: str
    tick_time_ms: int
    min_session_timeout_ms: int
    max_session_timeout_ms: int
    max_client_connections_per_ip: int
    max_connections: int
    four_letter_words: tuple[str, ...]

    # The ensemble
    server_id: int
    ensemble: EnsembleConfig | None
    next_ensemble: EnsembleConfig | None
    init_limit_ticks: int
    sync_limit_ticks: int
    connect_to_learner_master_limit_ticks: int
    peer_type: str
    sync_enabled: bool
    observer_master_port: int
    observer_masters: tuple[tuple[str, int], ...]
    join: tuple[tuple[str, int], ...]
    max_serve_lag_txns: int
    max_serve_lag_ms: int
    election_alg: str
    standalone_enabled: bool
    reconfig_enabled: bool
    dynamic_config_file: str
    local_sessions_enabled: bool
    local_sessions_upgrading_enabled: bool
    quorum_listen_on_all_ips: bool
    multi_address_enabled: bool
    oracle_path: str

    # Log and snapshots
    preallocate_kb: int
    snapshot_count: int
    snapshot_size_limit_kb: int
    txnlog_size_limit_kb: int
    commit_log_count: int
    snapshot_size_factor: float
    force_sync: bool
    fsync_warning_threshold_ms: int
    flush_delay_ms: int
    max_write_queue_poll_time_ms: int
    max_batch_size: int
    snapshot_compression_method: str
    snapshot_trust_empty: bool
    digest_enabled: bool
    serialize_last_processed_zxid_enabled: bool
    close_session_txn_enabled: bool
    datadir_autocreate: bool
    db_autocreate: bool
    force_snapshot_sync: bool
    autopurge_snap_retain_count: int
    autopurge_purge_interval_ms: int

    # Leader, learners, election
    leader_serves: bool
    leader_nodelay: bool
    follower_nodelay: bool
    max_concurrent_snap_syncs: int
    max_concurrent_diff_syncs: int
    leader_connect_delay_during_retry_ms: int
    election_connect_timeout_ms: int
    quorum_connection_timeout_ms: int
    election_port_bind_retry: int
    tcp_keep_alive: bool
    client_tcp_keep_alive: bool
    min_notification_interval_ms: int
    max_notification_interval_ms: int
    observer_reconnect_delay_ms: int
    observer_election_delay_ms: int
    observer_master_size_limit: int
    read_only_mode_enabled: bool

    # Limits and throttles
    jute_max_buffer: int
    jute_extra_size: int
    global_outstanding_limit: int
    request_throttle_max_requests: int
    request_throttle_stall_time_ms: int
    request_throttle_drop_stale: bool
    request_stale_latency_check: bool
    request_stale_connection_check: bool
    throttled_op_wait_time_ms: int
    large_request_max_bytes: int
    large_request_threshold: int
    connection_throttle_tokens: int
    connection_throttle_fill_time_ms: int
    connection_throttle_fill_count: int
    connection_throttle_freeze_time_ms: int
    connection_throttle_drop_increase: float
    connection_throttle_drop_decrease: float
    connection_throttle_decrease_ratio: float
    connection_throttle_weight_enabled: bool
    connection_throttle_global_session_weight: int
    connection_throttle_renew_session_weight: int
    connection_throttle_local_session_weight: int
    enforce_quota: bool
    extended_types_enabled: bool
    emulate_353_ttl: bool
    container_check_interval_ms: int
    container_max_per_minute: int
    container_max_never_used_interval_ms: int
    sessionless_connection_timeout_ms: int
    outstanding_tls_handshake_limit: int

    # Access
    skip_acl: bool
    digest_auth_enabled: bool
    super_digest: str = field(repr=False)
    digest_alg: str
    x509_super_user: str
    super_users: tuple[str, ...]
    ip_auth_use_x_forwarded_for: bool
    sasl_super_password: str = field(repr=False)
    # (suffix of the key, name of the provider), in the order of the suffixes
    auth_providers: tuple[tuple[str, str], ...]
    ensemble_auth_names: tuple[str, ...]
    enforce_auth_enabled: bool
    enforce_auth_schemes: tuple[str, ...]
    allow_sasl_failed_clients: bool
    let_any_sasl_user_do_x: str
    enable_eager_acl_check: bool
    sasl_server_section: str
    jaas_config_file: str
    quorum_auth_enable_sasl: bool
    quorum_auth_learner_require_sasl: bool
    quorum_auth_server_require_sasl: bool
    quorum_auth_learner_section: str
    quorum_auth_server_section: str
    audit_enabled: bool

    # TLS
    ssl_quorum: bool
    port_unification: bool
    ssl_quorum_reload_cert_files: bool
    client_port_unification: bool
    client_cert_reload: bool
    ssl_auth_provider: str
    client_tls: TlsConfig
    quorum_tls: TlsConfig

    # Admin server and metrics
    version_text: str
    admin_enable_server: bool
    admin_server_address: str
    admin_server_port: int
    admin_command_url: str
    admin_idle_timeout_ms: int
    admin_snapshot_enabled: bool
    admin_restore_enabled: bool
    admin_rate_limiter_interval_ms: int
    admin_port_unification: bool
    admin_force_https: bool
    admin_need_client_auth: bool
    metrics_provider: str
    metrics_http_host: str
    metrics_http_port: int

    # Publishers: options by name, by publisher
    publishers: Mapping[str, Mapping[str, str]]

    # The feed over HTTP
    feed_port: int | None
    feed_address: str
    feed_on_voters: bool
    feed_max_subscribers: int
    feed_buffer_bytes: int
    feed_slow_reader_ms: int
    feed_heartbeat_ms: int
    feed_max_filter_bytes: int
    feed_max_header_bytes: int
    feed_max_snapshot_nodes: int
    feed_allow_origins: tuple[str, ...]

    # Where all this came from
    config_path: str
    config_text: str = field(repr=False)
    origins: Mapping[str, str] = field(repr=False, compare=False)

    def is_distributed(self) -> bool:
        """Whether this server is a member of an ensemble."""
        return self.ensemble is not None


class ConfigProblem:
    """Something about one key: where it stands, what is wrong, and the name that may have been meant."""

    __slots__ = ("key", "message", "nearest", "where")

    def __init__(self, where: str, key: str, message: str, nearest: str = "") -> None:
        self.where = where
        self.key = key
        self.message = message
        self.nearest = nearest

    def __str__(self) -> str:
        hint = f" (did you mean {self.nearest}?)" if self.nearest else ""
        key = f"{self.key}: " if self.key else ""
        return f"{self.where}: {key}{self.message}{hint}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class ConfigWarning(ConfigProblem):
    """A problem that one can live with."""


class ConfigErrors(ValueError):
    """All that is wrong with a configuration, one line each; ``warnings`` is what is doubtful beside that."""

    def __init__(self, problems: Sequence[ConfigProblem], warnings: Sequence[ConfigWarning] = ()) -> None:
        assert problems
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
