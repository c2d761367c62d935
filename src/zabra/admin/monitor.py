"""The values of ``mntr``: texts first, then gauges, then everything counted, under upstream's names.

The order matters to one reader: collectd's plug-in looks at the first 4096 bytes only, so nothing whose
number of lines depends on the ensemble's use may come before the gauges.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from zabra.admin.surroundings import descriptor_limit, open_descriptors
from zabra.metrics import GAUGES, Number
from zabra.server.status import ServerView

Value = Number | str

NO_SETS: Final[Mapping[str, Mapping[str, Number]]] = MappingProxyType({})


def monitor_values(
    view: ServerView, version: str, more: Mapping[str, Mapping[str, Number]] = NO_SETS
) -> dict[str, Value]:
    """Everything ``mntr`` prints, without the ``zk_`` before each name; ``view`` must have PART_METRICS.

    ``more``: gauges that others than the server know, by name and key.
    """
    out: dict[str, Value] = {"version": version, "server_state": view.role.name}
    if view.role.quorum is not None:
        out["peer_state"] = view.role.quorum.peer_state
    if view.role.observer_master_id >= 0:
        out["observer_master_id"] = view.role.observer_master_id
    values = gauges(view)
    for row in GAUGES:
        if row.name in values:
            out[row.name] = values[row.name]
    for name, members in (*gauge_sets(view).items(), *more.items()):
        for key, value in members.items():
            out[f"{key}_{name}"] = value
    out.update(view.metrics)
    return out


def gauges(view: ServerView) -> dict[str, Number]:
    """The gauges this server has in its present role, by name."""
    sizes = view.response_sizes
    out: dict[str, Number] = {
        "avg_latency": view.latency_average_ms,
        "max_latency": view.latency_maximum_ms,
        "min_latency": view.latency_minimum_ms,
        "packets_received": view.packets_received,
        "packets_sent": view.packets_sent,
        "num_alive_connections": view.connection_count,
        "outstanding_requests": view.outstanding,
        "uptime": view.uptime_ms,
        "znode_count": view.node_count,
        "watch_count": view.watch_count,
        "ephemerals_count": view.ephemeral_count,
        "approximate_data_size": view.approximate_data_size,
        "global_sessions": view.global_sessions,
        "local_sessions": view.role.local_sessions,
        "open_file_descriptor_count": open_descriptors(),
        "max_file_descriptor_count": descriptor_limit(),
        "connection_drop_probability": view.connection_drop_probability,
        "last_client_response_size": sizes.last,
        "max_client_response_size": sizes.largest,
        "min_client_response_size": sizes.smallest,
        "outstanding_tls_handshake": view.outstanding_tls_handshakes,
        "auth_failed_count": view.auth_failed,
        "non_mtls_remote_conn_count": view.non_mtls_remote_connections,
        "non_mtls_local_conn_count": view.non_mtls_local_connections,
    }
    if view.role.quorum is not None:
        out["quorum_size"] = len(view.role.quorum.config.voters())
    if view.role.synced_observers >= 0:
        out["synced_observers"] = view.role.synced_observers
    if view.role.has_lag:
        out["lag_txns"] = view.role.lag_txns
        out["lag_ms"] = view.role.lag_ms
    leader = view.role.leader
    if leader is not None:
        out["learners"] = leader.learners
        out["synced_followers"] = leader.synced_followers
        out["synced_non_voting_followers"] = leader.synced_non_voting_followers
        out["pending_syncs"] = leader.pending_syncs
        out["leader_uptime"] = leader.uptime_ms
        out["last_proposal_size"] = leader.proposal_sizes.last
        out["max_proposal_size"] = leader.proposal_sizes.largest
        out["min_proposal_size"] = leader.proposal_sizes.smallest
    return out


def gauge_sets(view: ServerView) -> dict[str, dict[str, int]]:
    """The gauges that exist once per top-level node with a quota."""
    names = (
        "quota_count_limit_per_namespace",
        "quota_bytes_limit_per_namespace",
        "quota_count_usage_per_namespace",
        "quota_bytes_usage_per_namespace",
    )
    return {
        name: {namespace: numbers[column] for namespace, numbers in view.quotas.items()}
        for column, name in enumerate(names)
    }
