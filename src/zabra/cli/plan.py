"""From a ServerConfig to what a server is made of (``runtime.assembly.Plan``)."""

from importlib.metadata import entry_points
from typing import Final

from zabra.auth.provider import AuthenticationProvider
from zabra.auth.registry import Providers, default_providers
from zabra.auth.schemes import DigestProvider, EnsembleProvider, IpProvider, SaslProvider, X509Provider
from zabra.config.server import ConfigErrors, ConfigProblem, ServerConfig
from zabra.runtime.assembly import Plan
from zabra.server.settings import Settings

# Entry points that are authentication providers, by the name for ``authProvider.N``.
AUTH_GROUP: Final = "zabra.auth"


def settings_of(config: ServerConfig) -> Settings:
    """The settings of the server core."""
    settings = Settings()
    settings.server_id = config.server_id
    settings.tick_ms = config.tick_time_ms
    settings.init_limit_ticks = config.init_limit_ticks
    settings.sync_limit_ticks = config.sync_limit_ticks
    settings.min_notification_ms = config.min_notification_interval_ms
    settings.max_notification_ms = config.max_notification_interval_ms
    settings.election_connect_timeout_ms = config.election_connect_timeout_ms
    settings.quorum_handshake_timeout_ms = config.quorum_connection_timeout_ms
    settings.multi_address = config.multi_address_enabled
    settings.connect_to_leader_limit_ticks = config.connect_to_learner_master_limit_ticks
    settings.connect_retry_delay_ms = config.leader_connect_delay_during_retry_ms
    settings.observer_election_delay_ms = config.observer_election_delay_ms
    settings.observer_reconnect_delay_ms = config.observer_reconnect_delay_ms
    settings.sync_enabled = config.sync_enabled
    settings.is_observer = config.peer_type == "observer"
    settings.leader_serves = config.leader_serves
    settings.force_snapshot_sync = config.force_snapshot_sync
    settings.max_concurrent_snap_syncs = config.max_concurrent_snap_syncs
    settings.max_concurrent_diff_syncs = config.max_concurrent_diff_syncs
    settings.observer_master_port = config.observer_master_port
    settings.observer_master_size_limit = config.observer_master_size_limit
    settings.observer_masters = list(config.observer_masters)
    settings.is_self_registered = bool(config.join)
    settings.claims_session_ids = bool(config.join) and config.server_id == 0
    settings.max_serve_lag_txns = config.max_serve_lag_txns
    settings.max_serve_lag_ms = config.max_serve_lag_ms
    settings.listen_on_all_ips = config.quorum_listen_on_all_ips
    settings.min_session_timeout_ms = config.min_session_timeout_ms
    settings.max_session_timeout_ms = config.max_session_timeout_ms
    settings.jute_max_buffer = config.jute_max_buffer
    settings.jute_extra_size = config.jute_extra_size
    settings.max_connections = config.max_connections
    settings.max_connections_per_ip = config.max_client_connections_per_ip
    settings.global_outstanding_limit = config.global_outstanding_limit
    settings.fsync_warning_ms = config.fsync_warning_threshold_ms
    settings.flush_delay_ms = config.flush_delay_ms
    settings.max_write_queue_poll_ms = config.max_write_queue_poll_time_ms
    settings.max_batch_size = config.max_batch_size
    settings.large_request_threshold = config.large_request_threshold
    settings.large_request_max_bytes = config.large_request_max_bytes
    settings.throttled_op_wait_ms = config.throttled_op_wait_time_ms
    settings.snap_count = config.snapshot_count
    settings.snap_size_limit = config.snapshot_size_limit_kb * 1024
    settings.commit_log_count = config.commit_log_count
    settings.snapshot_size_factor = config.snapshot_size_factor
    settings.digest_enabled = config.digest_enabled
    settings.enforce_quota = config.enforce_quota
    settings.extended_types_enabled = config.extended_types_enabled
    settings.close_session_txn_enabled = config.close_session_txn_enabled
    # As upstream: a server on its own keeps every session as an ensemble would.
    settings.local_sessions_enabled = config.local_sessions_enabled and config.ensemble is not None
    settings.local_sessions_upgrading_enabled = config.local_sessions_upgrading_enabled
    settings.reconfig_enabled = config.reconfig_enabled
    settings.standalone_enabled = config.standalone_enabled
    settings.enforce_auth_enabled = config.enforce_auth_enabled
    settings.enforce_auth_schemes = list(config.enforce_auth_schemes)
    settings.sessionless_timeout_ms = config.sessionless_connection_timeout_ms
    settings.container_check_interval_ms = config.container_check_interval_ms
    settings.container_max_per_minute = config.container_max_per_minute
    settings.container_max_never_used_ms = config.container_max_never_used_interval_ms
    set_throttles(settings, config)
    settings.eager_acl_check = config.enable_eager_acl_check
    settings.read_only_enabled = config.read_only_mode_enabled
    settings.keep_acl_trail = config.feed_port is not None
    settings.has_oracle = bool(config.oracle_path) and config.ensemble is not None
    return settings


def set_throttles(settings: Settings, config: ServerConfig) -> None:
    """What holds clients back."""
    settings.connection_throttle_tokens = config.connection_throttle_tokens
    settings.connection_throttle_fill_time_ms = config.connection_throttle_fill_time_ms
    settings.connection_throttle_fill_count = config.connection_throttle_fill_count
    settings.connection_throttle_freeze_time_ms = config.connection_throttle_freeze_time_ms
    settings.connection_throttle_drop_increase = config.connection_throttle_drop_increase
    settings.connection_throttle_drop_decrease = config.connection_throttle_drop_decrease
    settings.connection_throttle_decrease_ratio = config.connection_throttle_decrease_ratio
    settings.connection_throttle_weight_enabled = config.connection_throttle_weight_enabled
    settings.connection_throttle_global_session_weight = config.connection_throttle_global_session_weight
    settings.connection_throttle_renew_session_weight = config.connection_throttle_renew_session_weight
    settings.connection_throttle_local_session_weight = config.connection_throttle_local_session_weight
    settings.request_throttle_max_requests = config.request_throttle_max_requests
    settings.request_throttle_stall_time_ms = config.request_throttle_stall_time_ms
    settings.request_throttle_drop_stale = config.request_throttle_drop_stale
    settings.request_stale_connection_check = config.request_stale_connection_check
    settings.request_stale_latency_check = config.request_stale_latency_check


def plan_of(config: ServerConfig) -> Plan:
    """Folders, doors and providers."""
    plan = Plan(settings_of(config), config.data_dir)
    plan.ensemble = config.ensemble
    plan.next_ensemble = config.next_ensemble
    plan.oracle_path = config.oracle_path if plan.settings.has_oracle else ""
    plan.has_dynamic_file = bool(config.dynamic_config_file)
    plan.config_path = config.config_path
    plan.data_log_dir = config.data_log_dir
    if config.client_port is not None:
        plan.client_addresses.append((config.client_port_address, config.client_port))
    if config.client_port_listen_backlog > 0:
        plan.listen_backlog = config.client_port_listen_backlog
    plan.preallocate_bytes = config.preallocate_kb * 1024
    plan.log_size_limit_bytes = max(0, config.txnlog_size_limit_kb) * 1024
    plan.force_sync = config.force_sync
    plan.compression_method = config.snapshot_compression_method
    plan.autocreate_folders = config.datadir_autocreate
    plan.last_zxid_in_snapshots = config.serialize_last_processed_zxid_enabled
    plan.trust_empty_snapshot = config.snapshot_trust_empty
    plan.autocreate_db = config.db_autocreate
    plan.emulate_353_ttl = config.emulate_353_ttl
    plan.sockets.client_keep_alive = config.client_tcp_keep_alive
    plan.sockets.peer_keep_alive = config.tcp_keep_alive
    plan.sockets.leader_nodelay = config.leader_nodelay
    plan.sockets.follower_nodelay = config.follower_nodelay
    plan.election_bind_attempts = config.election_port_bind_retry
    plan.purge_interval_ms = config.autopurge_purge_interval_ms
    plan.purge_retain_count = config.autopurge_snap_retain_count
    plan.providers = Providers(providers_of(config), config.skip_acl)
    return plan


def providers_of(config: ServerConfig) -> list[AuthenticationProvider]:
    """Those that are always there, and the ones named by ``authProvider.N``.  Raises ConfigErrors."""
    providers = default_providers(config.digest_alg, config.super_digest, config.digest_auth_enabled)
    problems: list[ConfigProblem] = []
    for suffix, name in config.auth_providers:
        try:
            providers.append(provider_named(name, config))
        except (LookupError, ImportError, AttributeError, TypeError) as error:
            where = config.origins.get("auth_providers", "configuration")
            problems.append(ConfigProblem(where, f"authProvider.{suffix}", str(error)))
    if problems:
        raise ConfigErrors(problems)
    return providers


def provider_named(name: str, config: ServerConfig) -> AuthenticationProvider:
    """A built-in provider, or an installed one, which is made without arguments.  Raises LookupError."""
    if name == "digest":
        return DigestProvider(config.digest_alg, config.super_digest)
    if name == "ip":
        return IpProvider()
    if name == "x509":
        return X509Provider(config.x509_super_user)
    if name == "sasl":
        return SaslProvider(config.let_any_sasl_user_do_x)
    if name == "ensemble":
        return EnsembleProvider(",".join(config.ensemble_auth_names))
    found = {entry.name: entry for entry in entry_points(group=AUTH_GROUP)}
    if name not in found:
        known = ", ".join(sorted(["digest", "ensemble", "ip", "sasl", "x509", *found]))
        raise LookupError(f"no authentication provider {name!r} is installed; there are {known}")
    provider: AuthenticationProvider = found[name].load()()
    return provider
