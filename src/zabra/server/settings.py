"""Settings: what the server core needs to know of its configuration, in its own units.

The composition root fills it from ``config.ServerConfig``; the simulator fills it from a seed.
"""

from typing import Final

DEFAULT_TICK_MS: Final = 2000
# What a packet between servers has around a record of the greatest length.
PACKET_MARGIN_BYTES: Final = 1024


class Settings:
    """Every field has the default Apache ZooKeeper 3.9 uses; times in ms, sizes in bytes."""

    def __init__(self) -> None:
        self.set_throttles()
        self.set_beyond()
        self.server_id: int = 0
        self.tick_ms: int = DEFAULT_TICK_MS
        self.init_limit_ticks: int = 10
        self.sync_limit_ticks: int = 5
        # Election and learners.
        self.finalize_wait_ms: int = 200
        self.min_notification_ms: int = 200
        self.max_notification_ms: int = 60_000
        self.election_connect_timeout_ms: int = 5000
        self.quorum_handshake_timeout_ms: int = -1
        self.multi_address: bool = False
        self.connect_to_leader_limit_ticks: int = 0
        self.connect_retry_delay_ms: int = 100
        self.observer_election_delay_ms: int = 200
        self.observer_reconnect_delay_ms: int = 0
        # An observer keeps log and snapshots.
        self.sync_enabled: bool = True
        # What this server is now: a reconfiguration may change it.
        self.is_observer: bool = False
        self.leader_serves: bool = True
        self.force_snapshot_sync: bool = False
        self.max_concurrent_snap_syncs: int = 10
        self.max_concurrent_diff_syncs: int = 100
        self.observer_master_port: int = 0
        self.observer_master_size_limit: int = 32 * 1024 * 1024
        # (host, port) of those an observer may stand under; empty: the voters, at observer_master_port.
        self.observer_masters: list[tuple[str, int]] = []
        # This observer has no line in anybody's configuration, perhaps not even a number of its own: then it
        # must not make session ids from it.
        self.is_self_registered: bool = False
        self.claims_session_ids: bool = False
        # An observer that is further behind serves nobody; 0: no limit.
        self.max_serve_lag_txns: int = 20_000
        self.max_serve_lag_ms: int = 5_000
        self.listen_on_all_ips: bool = False
        self.min_session_timeout_ms: int = -1
        self.max_session_timeout_ms: int = -1
        self.jute_max_buffer: int = 0xFFFFF
        # By how much records between servers may be longer.
        self.jute_extra_size: int = 0xFFFFF
        self.max_connections: int = 0
        self.max_connections_per_ip: int = 60
        self.global_outstanding_limit: int = 1000
        # An fsync of the log that takes longer is worth a warning.
        self.fsync_warning_ms: int = 1000
        # A flush may be held back so long to gather more txns; it begins earlier when for poll ms nothing
        # has come, or with so many txns.
        self.flush_delay_ms: int = 0
        self.max_write_queue_poll_ms: int = 0
        self.max_batch_size: int = 1000
        self.large_request_threshold: int = -1
        self.large_request_max_bytes: int = 100 * 1024 * 1024
        self.throttled_op_wait_ms: int = 0
        self.snap_count: int = 100_000
        self.snap_size_limit: int = 4_194_304 * 1024
        self.commit_log_count: int = 500
        self.snapshot_size_factor: float = 0.33
        self.digest_enabled: bool = True
        self.enforce_quota: bool = False
        self.extended_types_enabled: bool = False
        self.close_session_txn_enabled: bool = True
        self.local_sessions_enabled: bool = False
        self.local_sessions_upgrading_enabled: bool = False
        self.reconfig_enabled: bool = False
        # A view of one voter is for a server on its own.
        self.standalone_enabled: bool = True
        # Name and folder of the static configuration file, beside which views are kept; empty: nowhere.
        self.config_file: str = ""
        self.config_folder: str = ""
        self.enforce_auth_enabled: bool = False
        self.enforce_auth_schemes: list[str] = []
        self.sessionless_timeout_ms: int = 10_000
        self.container_check_interval_ms: int = 60_000
        self.container_max_per_minute: int = 10_000
        self.container_max_never_used_ms: int = 0
        # Bytes queued for one client before the connection is given up (a reader that never reads).
        self.max_client_backlog: int = 64 * 1024 * 1024
        # Nodes serialised per turn while a snapshot is taken, or sent to a learner.
        self.snapshot_nodes_per_turn: int = 2000

    def set_beyond(self) -> None:
        """What most servers do without."""
        # So many pieces of a snapshot may wait for the disk; then the snapshot waits, too.
        self.snapshot_chunks_in_flight: int = 64
        # A learner or leader looks at the access list before it takes a write.
        self.eager_acl_check: bool = False
        # Of two voters, one may go on alone while an oracle says so.
        self.has_oracle: bool = False
        # The tree notes the ACLs that it had, for whoever shows its past.
        self.keep_acl_trail: bool = False
        # A member that finds no leader serves reads to clients that allow it.
        self.read_only_enabled: bool = False

    def set_throttles(self) -> None:
        """Defaults of what holds clients back: everything is off."""
        # Connection throttle (token bucket); 0 tokens: off.
        self.connection_throttle_tokens: int = 0
        self.connection_throttle_fill_time_ms: int = 1
        self.connection_throttle_fill_count: int = 1
        # BLUE beside it; -1: off.
        self.connection_throttle_freeze_time_ms: int = -1
        self.connection_throttle_drop_increase: float = 0.02
        self.connection_throttle_drop_decrease: float = 0.002
        self.connection_throttle_decrease_ratio: float = 0.0
        self.connection_throttle_weight_enabled: bool = False
        self.connection_throttle_global_session_weight: int = 3
        self.connection_throttle_renew_session_weight: int = 2
        self.connection_throttle_local_session_weight: int = 1
        # Requests under way at which further ones are held back; 0: none are.
        self.request_throttle_max_requests: int = 0
        self.request_throttle_stall_time_ms: int = 100
        self.request_throttle_drop_stale: bool = True
        self.request_stale_connection_check: bool = True
        self.request_stale_latency_check: bool = False

    def longest_record(self) -> int:
        """Bytes of the longest string or buffer between servers: a request's, and what is put around it."""
        return self.jute_max_buffer + self.jute_extra_size

    def longest_packet(self) -> int:
        """Bytes of the longest packet between servers."""
        return self.longest_record() + PACKET_MARGIN_BYTES

    def session_timeout_bounds(self) -> tuple[int, int]:
        """(min, max) negotiable session timeout in ms; the defaults are 2 and 20 ticks."""
        low = self.min_session_timeout_ms if self.min_session_timeout_ms >= 0 else 2 * self.tick_ms
        high = self.max_session_timeout_ms if self.max_session_timeout_ms >= 0 else 20 * self.tick_ms
        return low, high
