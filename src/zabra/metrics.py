"""Every metric of ZooKeeper under its own name, and plain objects to count with.

One ``Metrics`` belongs to one server.  Each metric is an attribute of it with upstream's name, and its line
below says what it is and in which unit::

    metrics.commit_count.add(1)
    metrics.fsynctime.add(12)
    metrics.ack_latency.add("3", 7)

``dump`` gives what the ``mntr`` command prints, without the ``zk_`` before each name.  Gauges are not counted
but looked up when asked for; ``GAUGES`` and ``GAUGE_SETS`` list those that exist, and whoever dumps supplies
their values.  Source: upstream ``ServerMetrics``, ``AvgMinMaxCounter``, ``AvgMinMaxPercentileCounter``, and
the gauges registered by ``ZooKeeperServer`` and its subclasses.
"""

from decimal import ROUND_HALF_UP, Decimal
from math import exp, floor, log
from typing import Final

from mypy_extensions import i64

# Values that one percentile summary keeps, a uniform sample of all it was given (upstream's size).
RESERVOIR_SIZE: Final = 4096

# Different keys that one keyed set accepts; the rest is counted under OVERFLOW_KEY.
SET_KEYS_MAX: Final = 1000
OVERFLOW_KEY: Final = "other"

Number = int | float


class Counter:
    """A number that only grows, until it is reset."""

    __slots__ = ("name", "value")

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.value: i64 = 0

    def add(self, amount: i64) -> None:
        """Adds ``amount``."""
        self.value += amount

    def reset(self) -> None:
        """Back to zero."""
        self.value = 0

    def dump_into(self, out: dict[str, Number]) -> None:
        """One entry, under the metric's name."""
        out[self.name] = self.value


class Summary:
    """Count, sum, minimum and maximum of the values it was given."""

    __slots__ = ("count", "maximum", "minimum", "name", "total")

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.count: i64 = 0
        self.total: i64 = 0
        self.minimum: i64 = 0
        self.maximum: i64 = 0

    def add(self, value: i64) -> None:
        """Takes one more value into account."""
        if self.count == 0:
            self.minimum = value
            self.maximum = value
        elif value < self.minimum:
            self.minimum = value
        elif value > self.maximum:
            self.maximum = value
        self.count += 1
        self.total += value

    def add_many(self, value: i64, times: i64) -> None:
        """The same value ``times`` times over."""
        if times > 0:
            self.add(value)
            self.count += times - 1
            self.total += value * (times - 1)

    def average(self) -> float:
        """Rounded half up to four places, 0.0 before the first value."""
        if self.count == 0:
            return 0.0
        total: int = self.total
        count: int = self.count
        exact = Decimal(total / count)
        return float(exact.quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP))

    def reset_maximum(self) -> None:
        """The maximum falls back to the minimum (upstream's ``srst`` and JMX do this)."""
        self.maximum = self.minimum

    def reset(self) -> None:
        """Forgets all values."""
        self.count = 0
        self.total = 0
        self.minimum = 0
        self.maximum = 0

    def dump_into(self, out: dict[str, Number]) -> None:
        """Five entries: avg, min, max, cnt, sum."""
        name = self.name
        out["avg_" + name] = self.average()
        out["min_" + name] = self.minimum
        out["max_" + name] = self.maximum
        out["cnt_" + name] = self.count
        out["sum_" + name] = self.total


class PercentileSummary:
    """A ``Summary`` that also keeps a uniform sample of the values, for percentiles.

    The sample is drawn by Li's algorithm L, which knows in advance how many values to pass over, so that most
    values cost a subtraction.  It has a generator of its own: the same values give the same percentiles on
    every run.
    """

    __slots__ = ("_passes", "_sample", "_seed", "_weight", "summary")

    def __init__(self, name: str) -> None:
        self.summary: Summary = Summary(name)
        self._sample: list[int] = []
        self._seed: i64 = 1
        self._weight: float = 1.0
        # Values to pass over before the next one enters a full sample.
        self._passes: i64 = 0

    def add(self, value: i64) -> None:
        """Takes one more value into account."""
        self.summary.add(value)
        if self._passes > 0:
            self._passes -= 1
        else:
            self._enter(value)

    def add_many(self, value: i64, times: i64) -> None:
        """The same value ``times`` times over."""
        self.summary.add_many(value, times)
        while times > 0:
            if self._passes >= times:
                self._passes -= times
                return
            times -= self._passes + 1
            self._passes = 0
            self._enter(value)

    def _enter(self, value: i64) -> None:
        """Puts the value into the sample, and draws how many to pass over before the next."""
        if len(self._sample) < RESERVOIR_SIZE:
            self._sample.append(value)
            if len(self._sample) < RESERVOIR_SIZE:
                return
        else:
            self._sample[floor(self._draw() * RESERVOIR_SIZE)] = value
        self._weight *= exp(log(self._draw()) / RESERVOIR_SIZE)
        self._passes = floor(log(self._draw()) / log(1.0 - self._weight))

    def _draw(self) -> float:
        """A number between 0 and 1, both excluded, from a linear congruence of 31 bits."""
        self._seed = (self._seed * 1103515245 + 12345) & 0x7FFFFFFF
        seed: int = self._seed
        return (seed + 0.5) / 0x80000000

    def percentile(self, share: float) -> int:
        """The value below which ``share`` (0 to 1) of the sample lies, rounded; 0 without values."""
        return _percentile(sorted(self._sample), share)

    def reset_maximum(self) -> None:
        """As ``Summary.reset_maximum``."""
        self.summary.reset_maximum()

    def reset(self) -> None:
        """Forgets all values."""
        self.summary.reset()
        self._sample = []
        self._seed = 1
        self._weight = 1.0
        self._passes = 0

    def dump_into(self, out: dict[str, Number]) -> None:
        """Nine entries: those of ``Summary``, then p50, p95, p99, p999."""
        self.summary.dump_into(out)
        name = self.summary.name
        ordered = sorted(self._sample)
        out["p50_" + name] = _percentile(ordered, 0.5)
        out["p95_" + name] = _percentile(ordered, 0.95)
        out["p99_" + name] = _percentile(ordered, 0.99)
        out["p999_" + name] = _percentile(ordered, 0.999)


def _percentile(ordered: list[int], share: float) -> int:
    """Interpolates between neighbours, as the library behind upstream's histograms does."""
    size = len(ordered)
    if size == 0:
        return 0
    position = share * (size + 1)
    index = int(position)
    if index < 1:
        return ordered[0]
    if index >= size:
        return ordered[size - 1]
    lower = ordered[index - 1]
    exact = lower + (position - index) * (ordered[index] - lower)
    return floor(exact + 0.5)


class CounterSet:
    """Counters by key (a server id, a top-level node), named ``<key>_<name>``."""

    __slots__ = ("_members", "name")

    def __init__(self, name: str) -> None:
        self.name: str = name
        self._members: dict[str, Counter] = {}

    def add(self, key: str, amount: i64) -> None:
        """Adds ``amount`` to the counter of ``key``."""
        member = self._members.get(key)
        if member is None:
            member = self._new(key)
        member.add(amount)

    def _new(self, key: str) -> Counter:
        if len(self._members) >= SET_KEYS_MAX:
            key = OVERFLOW_KEY
        return self._members.setdefault(key, Counter(key + "_" + self.name))

    def reset(self) -> None:
        """Every member back to zero."""
        for member in self._members.values():
            member.reset()

    def dump_into(self, out: dict[str, Number]) -> None:
        """The entries of all members, in the order of their first use."""
        for member in self._members.values():
            member.dump_into(out)


class SummarySet:
    """Summaries by key, named ``<key>_<name>``."""

    __slots__ = ("_members", "name")

    def __init__(self, name: str) -> None:
        self.name: str = name
        self._members: dict[str, Summary] = {}

    def add(self, key: str, value: i64) -> None:
        """Gives ``value`` to the summary of ``key``."""
        self.member(key).add(value)

    def member(self, key: str) -> Summary:
        """The summary of ``key``."""
        member = self._members.get(key)
        return self._new(key) if member is None else member

    def add_many(self, key: str, value: i64, times: i64) -> None:
        """Gives ``value`` to the summary of ``key``, ``times`` times over."""
        member = self._members.get(key)
        if member is None:
            member = self._new(key)
        member.add_many(value, times)

    def _new(self, key: str) -> Summary:
        if len(self._members) >= SET_KEYS_MAX:
            key = OVERFLOW_KEY
        return self._members.setdefault(key, Summary(key + "_" + self.name))

    def reset_maximum(self) -> None:
        """As ``Summary.reset_maximum``, for every member."""
        for member in self._members.values():
            member.reset_maximum()

    def reset(self) -> None:
        """Every member forgets its values."""
        for member in self._members.values():
            member.reset()

    def dump_into(self, out: dict[str, Number]) -> None:
        """The entries of all members, in the order of their first use."""
        for member in self._members.values():
            member.dump_into(out)


class PercentileSummarySet:
    """Percentile summaries by key, named ``<key>_<name>``."""

    __slots__ = ("_members", "name")

    def __init__(self, name: str) -> None:
        self.name: str = name
        self._members: dict[str, PercentileSummary] = {}

    def add(self, key: str, value: i64) -> None:
        """Gives ``value`` to the summary of ``key``."""
        member = self._members.get(key)
        if member is None:
            member = self._new(key)
        member.add(value)

    def _new(self, key: str) -> PercentileSummary:
        if len(self._members) >= SET_KEYS_MAX:
            key = OVERFLOW_KEY
        return self._members.setdefault(key, PercentileSummary(key + "_" + self.name))

    def reset_maximum(self) -> None:
        """As ``Summary.reset_maximum``, for every member."""
        for member in self._members.values():
            member.reset_maximum()

    def reset(self) -> None:
        """Every member forgets its values."""
        for member in self._members.values():
            member.reset()

    def dump_into(self, out: dict[str, Number]) -> None:
        """The entries of all members, in the order of their first use."""
        for member in self._members.values():
            member.dump_into(out)


Metric = Counter | Summary | PercentileSummary | CounterSet | SummarySet | PercentileSummarySet


class MetricRow:
    """What the documentation says of one metric: name, kind, unit of its values, meaning."""

    __slots__ = ("doc", "kind", "name", "unit")

    def __init__(self, name: str, kind: str, unit: str, doc: str) -> None:
        self.name: str = name
        self.kind: str = kind
        self.unit: str = unit
        self.doc: str = doc


class GaugeRow:
    """One gauge: name, which server has it (``all`` or upstream's role words), unit, meaning."""

    __slots__ = ("doc", "name", "role", "unit")

    def __init__(self, name: str, role: str, unit: str, doc: str) -> None:
        self.name: str = name
        self.role: str = role
        self.unit: str = unit
        self.doc: str = doc


GAUGES: Final[tuple[GaugeRow, ...]] = (
    GaugeRow("avg_latency", "all", "ms", "average time from a request's arrival to its reply"),
    GaugeRow("max_latency", "all", "ms", "longest such time"),
    GaugeRow("min_latency", "all", "ms", "shortest such time"),
    GaugeRow("packets_received", "all", "packets", "packets read from clients"),
    GaugeRow("packets_sent", "all", "packets", "packets written to clients"),
    GaugeRow("num_alive_connections", "all", "connections", "open client connections"),
    GaugeRow("outstanding_requests", "all", "requests", "requests that were read and not yet answered"),
    GaugeRow("uptime", "all", "ms", "time since the server began to serve"),
    GaugeRow("znode_count", "all", "nodes", "nodes in the tree"),
    GaugeRow("watch_count", "all", "watches", "watches set on this server"),
    GaugeRow("ephemerals_count", "all", "nodes", "ephemeral nodes in the tree"),
    GaugeRow("approximate_data_size", "all", "bytes", "paths and data of all nodes"),
    GaugeRow("global_sessions", "all", "sessions", "sessions the ensemble knows"),
    GaugeRow("local_sessions", "all", "sessions", "sessions only this server knows"),
    GaugeRow("open_file_descriptor_count", "all", "descriptors", "descriptors this process has open"),
    GaugeRow("max_file_descriptor_count", "all", "descriptors", "descriptors this process may have open"),
    GaugeRow(
        "connection_drop_probability", "all", "share", "chance that the throttle refuses a new connection"
    ),
    GaugeRow("last_client_response_size", "all", "bytes", "size of the newest reply; -1 before the first"),
    GaugeRow("max_client_response_size", "all", "bytes", "size of the largest reply; -1 before the first"),
    GaugeRow("min_client_response_size", "all", "bytes", "size of the smallest reply; -1 before the first"),
    GaugeRow("outstanding_tls_handshake", "all", "handshakes", "TLS handshakes under way"),
    GaugeRow("auth_failed_count", "all", "clients", "clients that failed to authenticate"),
    GaugeRow(
        "non_mtls_remote_conn_count", "all", "connections", "connections from other hosts without mutual TLS"
    ),
    GaugeRow(
        "non_mtls_local_conn_count", "all", "connections", "connections from this host without mutual TLS"
    ),
    GaugeRow("quorum_size", "quorum", "servers", "voting members"),
    GaugeRow("learners", "leader", "servers", "connected learners"),
    GaugeRow("synced_followers", "leader", "servers", "followers in step"),
    GaugeRow("synced_non_voting_followers", "leader", "servers", "followers in step that do not vote yet"),
    GaugeRow("synced_observers", "leader, follower", "servers", "observers in step"),
    GaugeRow("pending_syncs", "leader", "requests", "sync requests that wait for a commit"),
    GaugeRow("lag_txns", "observer", "txns", "committed txns it lacked when it last asked; -1: unknown"),
    GaugeRow("lag_ms", "observer", "ms", "age of its tree at most, when it last asked; -1: unknown"),
    GaugeRow("leader_uptime", "leader", "ms", "time since this server began to lead"),
    GaugeRow("last_proposal_size", "leader", "bytes", "size of the newest proposal; -1 before the first"),
    GaugeRow("max_proposal_size", "leader", "bytes", "size of the largest proposal; -1 before the first"),
    GaugeRow("min_proposal_size", "leader", "bytes", "size of the smallest proposal; -1 before the first"),
)

GAUGE_SETS: Final[tuple[GaugeRow, ...]] = (
    GaugeRow("quota_count_limit_per_namespace", "all", "nodes", "limit on nodes, by top-level node"),
    GaugeRow("quota_bytes_limit_per_namespace", "all", "bytes", "limit on data, by top-level node"),
    GaugeRow("quota_count_usage_per_namespace", "all", "nodes", "nodes under a quota, by top-level node"),
    GaugeRow("quota_bytes_usage_per_namespace", "all", "bytes", "data under a quota, by top-level node"),
    GaugeRow(
        "publisher_cursor", "all", "zxid", "how far its target has everything, by publisher; -1: unknown"
    ),
    GaugeRow("publisher_is_publishing", "all", "0 or 1", "1 while it is open and not failing, by publisher"),
    GaugeRow("publisher_txns", "all", "txns", "published since the server's start, by publisher"),
    GaugeRow("publisher_snapshots", "all", "snapshots", "published since the server's start, by publisher"),
    GaugeRow("publisher_failures", "all", "failures", "after which it began anew, by publisher"),
    GaugeRow("mirror_checks", "all", "checks", "comparisons with its target since it was opened, by mirror"),
    GaugeRow(
        "mirror_differences", "all", "nodes", "found by the last comparison; -1 before the first, by mirror"
    ),
)


class Metrics:
    """The counted metrics of one server.  Attributes have upstream's names; ``rows`` documents them."""

    def __init__(self) -> None:
        self.rows: list[MetricRow] = []
        self._all: list[Metric] = []
        self._init_operations()
        self._init_clients()
        self._init_watches()
        self._init_prep()
        self._init_commit_processor()
        self._init_log()
        self._init_replication()
        self._init_election()
        self._init_throttles()
        self._init_security()

    def _row(self, name: str, kind: str, unit: str, doc: str) -> None:
        self.rows.append(MetricRow(name, kind, unit, doc))

    def _counter(self, name: str, unit: str, doc: str) -> Counter:
        self._row(name, "counter", unit, doc)
        metric = Counter(name)
        self._all.append(metric)
        return metric

    def _summary(self, name: str, unit: str, doc: str) -> Summary:
        self._row(name, "summary", unit, doc)
        metric = Summary(name)
        self._all.append(metric)
        return metric

    def _percentiles(self, name: str, unit: str, doc: str) -> PercentileSummary:
        self._row(name, "summary with percentiles", unit, doc)
        metric = PercentileSummary(name)
        self._all.append(metric)
        return metric

    def _counter_set(self, name: str, unit: str, doc: str) -> CounterSet:
        self._row(name, "counter by key", unit, doc)
        metric = CounterSet(name)
        self._all.append(metric)
        return metric

    def _summary_set(self, name: str, unit: str, doc: str) -> SummarySet:
        self._row(name, "summary by key", unit, doc)
        metric = SummarySet(name)
        self._all.append(metric)
        return metric

    def _percentiles_set(self, name: str, unit: str, doc: str) -> PercentileSummarySet:
        self._row(name, "summary with percentiles by key", unit, doc)
        metric = PercentileSummarySet(name)
        self._all.append(metric)
        return metric

    def _init_operations(self) -> None:
        """Requests by operation (upstream has these since 3.10)."""
        c = self._counter
        self.op_count_total = c("op_count_total", "requests", "requests of any kind that were executed")
        self.op_count_add_watch = c("op_count_add_watch", "requests", "addWatch")
        self.op_count_check = c("op_count_check", "requests", "check")
        self.op_count_check_watches = c("op_count_check_watches", "requests", "checkWatches")
        self.op_count_close_session = c("op_count_close_session", "requests", "closeSession")
        self.op_count_create = c("op_count_create", "requests", "create, in all its forms")
        self.op_count_create_session = c("op_count_create_session", "requests", "createSession")
        self.op_count_delete = c("op_count_delete", "requests", "delete and deleteContainer")
        self.op_count_exists = c("op_count_exists", "requests", "exists")
        self.op_count_get_acl = c("op_count_get_acl", "requests", "getACL")
        self.op_count_get_all_children_number = c(
            "op_count_get_all_children_number", "requests", "getAllChildrenNumber"
        )
        self.op_count_get_children = c("op_count_get_children", "requests", "getChildren and getChildren2")
        self.op_count_get_data = c("op_count_get_data", "requests", "getData")
        self.op_count_get_ephemerals = c("op_count_get_ephemerals", "requests", "getEphemerals")
        self.op_count_multi = c("op_count_multi", "requests", "multi")
        self.op_count_multi_read = c("op_count_multi_read", "requests", "multiRead")
        self.op_count_ping = c("op_count_ping", "requests", "ping")
        self.op_count_reconfig = c("op_count_reconfig", "requests", "reconfig")
        self.op_count_remove_watches = c("op_count_remove_watches", "requests", "removeWatches")
        self.op_count_set_acl = c("op_count_set_acl", "requests", "setACL")
        self.op_count_set_data = c("op_count_set_data", "requests", "setData")
        self.op_count_set_watches = c("op_count_set_watches", "requests", "setWatches and setWatches2")
        self.op_count_sync = c("op_count_sync", "requests", "sync")
        self.op_count_who_am_i = c("op_count_who_am_i", "requests", "whoAmI")
        self.ttl_node_created_count = c("ttl_node_created_count", "nodes", "TTL nodes created")
        self.ttl_node_deleted_count = c(
            "ttl_node_deleted_count", "nodes", "TTL nodes deleted when their time was up"
        )

    def _init_clients(self) -> None:
        """Client connections, sessions, bytes, latencies, caches of replies, namespaces."""
        c, s, p = self._counter, self._summary, self._percentiles
        self.readlatency = p("readlatency", "ms", "from a read's arrival to its reply")
        self.updatelatency = p("updatelatency", "ms", "from a local client's write's arrival to its reply")
        self.bytes_received_count = c("bytes_received_count", "bytes", "read from clients")
        self.response_bytes = c("response_bytes", "bytes", "replies written to clients")
        self.watch_bytes = c("watch_bytes", "bytes", "watch events written to clients")
        self.connection_request_count = c("connection_request_count", "requests", "connect requests")
        self.connection_rejected = c(
            "connection_rejected", "connections", "refused for a limit or a throttle"
        )
        self.connection_drop_count = c("connection_drop_count", "connections", "closed by this server")
        self.connection_revalidate_count = c(
            "connection_revalidate_count", "requests", "sessions that clients brought from another server"
        )
        self.revalidate_count = c("revalidate_count", "requests", "sessions validated for learners")
        self.connection_token_deficit = s(
            "connection_token_deficit", "tokens", "missing tokens at a connect request"
        )
        self.sessionless_connections_expired = c(
            "sessionless_connections_expired", "connections", "closed because no session came of them in time"
        )
        self.stale_sessions_expired = c("stale_sessions_expired", "sessions", "expired")
        self.response_packet_cache_hits = c(
            "response_packet_cache_hits", "replies", "getData replies found ready"
        )
        self.response_packet_cache_misses = c(
            "response_packet_cache_misses", "replies", "getData replies made anew"
        )
        self.response_packet_get_children_cache_hits = c(
            "response_packet_get_children_cache_hits", "replies", "getChildren replies found ready"
        )
        self.response_packet_get_children_cache_misses = c(
            "response_packet_get_children_cache_misses", "replies", "getChildren replies made anew"
        )
        self.write_per_namespace = self._summary_set(
            "write_per_namespace", "bytes", "writes by top-level node"
        )
        self.read_per_namespace = self._summary_set("read_per_namespace", "bytes", "reads by top-level node")
        self.quota_exceeded_error_per_namespace = self._counter_set(
            "quota_exceeded_error_per_namespace", "requests", "refused for a quota, by top-level node"
        )
        self.cnxn_closed_without_zk_server_running = c(
            "cnxn_closed_without_zk_server_running",
            "connections",
            "closed because the server was not serving",
        )
        self.netty_queued_buffer_capacity = s(
            "netty_queued_buffer_capacity", "bytes", "kept for clients whose reading is held back"
        )

    def _init_watches(self) -> None:
        """Watches fired, and the cleaner of upstream's optimised manager."""
        c, s = self._counter, self._summary
        self.node_created_watch_count = s("node_created_watch_count", "watches", "fired by one creation")
        self.node_deleted_watch_count = s("node_deleted_watch_count", "watches", "fired by one deletion")
        self.node_changed_watch_count = s(
            "node_changed_watch_count", "watches", "fired by one change of data"
        )
        self.node_children_watch_count = s(
            "node_children_watch_count", "watches", "fired by one change of children"
        )
        self.add_dead_watcher_stall_time = c(
            "add_dead_watcher_stall_time", "ms", "waited to report a dead watcher"
        )
        self.dead_watchers_queued = c("dead_watchers_queued", "watchers", "waiting for the cleaner")
        self.dead_watchers_cleared = c("dead_watchers_cleared", "watchers", "cleaned")
        self.dead_watchers_cleaner_latency = self._percentiles(
            "dead_watchers_cleaner_latency", "ms", "of one cleaning"
        )

    def _init_prep(self) -> None:
        """PrepRequestProcessor: requests become txns."""
        c, s, p = self._counter, self._summary, self._percentiles
        self.prep_processor_queue_time_ms = p(
            "prep_processor_queue_time_ms", "ms", "waited before preparation"
        )
        self.prep_processor_queue_size = s(
            "prep_processor_queue_size", "requests", "waiting before preparation"
        )
        self.prep_processor_request_queued = c(
            "prep_processor_request_queued", "requests", "queued for preparation"
        )
        self.outstanding_changes_queued = c("outstanding_changes_queued", "changes", "noted as outstanding")
        self.outstanding_changes_removed = c(
            "outstanding_changes_removed", "changes", "no longer outstanding"
        )
        self.prep_process_time = s("prep_process_time", "ms", "spent on preparing")
        self.proposal_process_time = s("proposal_process_time", "ms", "spent on proposing")
        self.close_session_prep_time = p("close_session_prep_time", "ms", "spent on preparing a closeSession")
        self.digest_mismatches_count = c(
            "digest_mismatches_count", "txns", "after which the tree's digest was not the leader's"
        )
        self.learner_request_processor_queue_size = s(
            "learner_request_processor_queue_size", "requests", "from learners, waiting at the leader"
        )

    def _init_commit_processor(self) -> None:
        """CommitProcessor and FinalRequestProcessor: the order of reads and writes."""
        c, s, p = self._counter, self._summary, self._percentiles
        self.commit_count = c("commit_count", "txns", "committed by this leader")
        self.requests_in_session_queue = s(
            "requests_in_session_queue", "requests", "waiting in one session's queue"
        )
        self.pending_session_queue_size = s("pending_session_queue_size", "sessions", "with waiting requests")
        self.reads_after_write_in_session_queue = s(
            "reads_after_write_in_session_queue", "requests", "reads that wait right behind a commit"
        )
        self.reads_issued_from_session_queue = s(
            "reads_issued_from_session_queue", "requests", "reads let go when their session's write was done"
        )
        self.session_queues_drained = s(
            "session_queues_drained", "sessions", "whose queue emptied in one round"
        )
        self.time_waiting_empty_pool_in_commit_processor_read_ms = s(
            "time_waiting_empty_pool_in_commit_processor_read_ms",
            "ms",
            "waited for reads to finish before a commit",
        )
        self.write_batch_time_in_commit_processor = s(
            "write_batch_time_in_commit_processor", "ms", "spent on one batch of commits"
        )
        self.concurrent_request_processing_in_commit_processor = s(
            "concurrent_request_processing_in_commit_processor", "requests", "executed at the same time"
        )
        self.read_commit_proc_req_queued = s("read_commit_proc_req_queued", "requests", "reads in the queue")
        self.write_commit_proc_req_queued = s(
            "write_commit_proc_req_queued", "requests", "writes in the queue"
        )
        self.commit_commit_proc_req_queued = s(
            "commit_commit_proc_req_queued", "requests", "commits in the queue"
        )
        self.request_commit_queued = c("request_commit_queued", "requests", "commits that were queued")
        self.read_commit_proc_issued = s("read_commit_proc_issued", "requests", "reads let go in one round")
        self.write_commit_proc_issued = s(
            "write_commit_proc_issued", "requests", "writes let go in one round"
        )
        self.read_commitproc_time_ms = p("read_commitproc_time_ms", "ms", "a read spent before execution")
        self.write_commitproc_time_ms = p("write_commitproc_time_ms", "ms", "a write spent before execution")
        self.local_write_committed_time_ms = p(
            "local_write_committed_time_ms", "ms", "from a local write's commit to its execution"
        )
        self.server_write_committed_time_ms = p(
            "server_write_committed_time_ms", "ms", "from another server's write's commit to its execution"
        )
        self.commit_process_time = s("commit_process_time", "ms", "spent on one commit")
        self.read_final_proc_time_ms = p("read_final_proc_time_ms", "ms", "spent on executing a read")
        self.write_final_proc_time_ms = p("write_final_proc_time_ms", "ms", "spent on executing a write")
        self.requests_not_forwarded_to_commit_processor = c(
            "requests_not_forwarded_to_commit_processor",
            "requests",
            "from learners, kept out of the leader's queue",
        )

    def _init_log(self) -> None:
        """The transaction log, snapshots, start-up."""
        c, s, p = self._counter, self._summary, self._percentiles
        self.fsynctime = s("fsynctime", "ms", "one fsync of the transaction log")
        self.snapshottime = s("snapshottime", "ms", "writing one snapshot")
        self.snapshot_error_count = c("snapshot_error_count", "snapshots", "that could not be written")
        self.snapshot_rate_limited_count = c(
            "snapshot_rate_limited_count", "requests", "for a snapshot, too early"
        )
        self.restore_time = s("restore_time", "ms", "restoring from a snapshot")
        self.restore_error_count = c("restore_error_count", "snapshots", "that could not be restored")
        self.restore_rate_limited_count = c("restore_rate_limited_count", "requests", "to restore, too early")
        self.dbinittime = s("dbinittime", "ms", "loading snapshot and log")
        self.startup_txns_loaded = s("startup_txns_loaded", "txns", "replayed from the log")
        self.startup_txns_load_time = s("startup_txns_load_time", "ms", "spent on that replay")
        self.startup_snap_load_time = s("startup_snap_load_time", "ms", "spent on loading the snapshot")
        self.sync_processor_queue_and_flush_time_ms = p(
            "sync_processor_queue_and_flush_time_ms",
            "ms",
            "from a txn's arrival at the log to its fsync's end",
        )
        self.sync_processor_queue_size = s("sync_processor_queue_size", "txns", "waiting for the log")
        self.sync_processor_request_queued = c("sync_processor_request_queued", "txns", "given to the log")
        self.sync_processor_queue_time_ms = p("sync_processor_queue_time_ms", "ms", "waited for the log")
        self.sync_processor_queue_flush_time_ms = p(
            "sync_processor_queue_flush_time_ms", "ms", "of one flush"
        )
        self.sync_process_time = s("sync_process_time", "ms", "spent on appending one txn")
        self.sync_processor_batch_size = s("sync_processor_batch_size", "txns", "made durable by one fsync")
        self.unrecoverable_error_count = c("unrecoverable_error_count", "errors", "that stopped this server")

    def _init_replication(self) -> None:
        """Leader and learners."""
        c, s, p = self._counter, self._summary, self._percentiles
        self.proposal_count = c("proposal_count", "txns", "proposed by this leader")
        self.propagation_latency = p(
            "propagation_latency", "ms", "from the leader's clock at a txn to its arrival here"
        )
        self.proposal_latency = p(
            "proposal_latency", "ms", "from the leader's clock at a txn to its proposal here"
        )
        self.proposal_ack_creation_latency = p(
            "proposal_ack_creation_latency", "ms", "from the leader's clock at a txn to this server's ack"
        )
        self.commit_propagation_latency = p(
            "commit_propagation_latency", "ms", "from the leader's clock at a txn to its commit here"
        )
        self.quorum_ack_latency = p("quorum_ack_latency", "ms", "from a proposal to the quorum of its acks")
        self.ack_latency = self._percentiles_set(
            "ack_latency", "ms", "from a proposal to the ack of one server"
        )
        self.learner_proposal_received_count = c(
            "learner_proposal_received_count", "txns", "proposals received"
        )
        self.learner_commit_received_count = c("learner_commit_received_count", "txns", "commits received")
        self.learner_handler_qp_size = self._summary_set(
            "learner_handler_qp_size", "packets", "waiting to be sent to one learner"
        )
        self.learner_handler_qp_time_ms = self._percentiles_set(
            "learner_handler_qp_time_ms", "ms", "waited by a packet to one learner"
        )
        self.om_proposal_process_time_ms = p(
            "om_proposal_process_time_ms", "ms", "an observer master spent on a proposal"
        )
        self.om_commit_process_time_ms = p(
            "om_commit_process_time_ms", "ms", "an observer master spent on a commit"
        )
        self.follower_sync_time = s("follower_sync_time", "ms", "one synchronisation of a follower")
        self.observer_sync_time = s("observer_sync_time", "ms", "one synchronisation of an observer")
        self.diff_count = c("diff_count", "synchronisations", "by DIFF")
        self.snap_count = c("snap_count", "synchronisations", "by SNAP")
        self.inflight_snap_count = s("inflight_snap_count", "synchronisations", "by SNAP at the same time")
        self.inflight_diff_count = s("inflight_diff_count", "synchronisations", "by DIFF at the same time")
        self.skip_learner_request_to_next_processor_count = c(
            "skip_learner_request_to_next_processor_count", "requests", "passed on by an observer master only"
        )
        self.socket_closing_time = s("socket_closing_time", "ms", "closing a connection between servers")

    def _init_election(self) -> None:
        """Looking for a leader."""
        c, s = self._counter, self._summary
        self.election_time = s("election_time", "ms", "from LOOKING to an outcome")
        self.looking_count = c("looking_count", "elections", "entered by this server")
        self.unavailable_time = s("unavailable_time", "ms", "without service between two leaders")
        self.leader_unavailable_time = s(
            "leader_unavailable_time", "ms", "from an election's end to a leader that serves"
        )
        self.quit_leading_due_to_disloyal_voter = c(
            "quit_leading_due_to_disloyal_voter", "times", "gave up because voters had gone elsewhere"
        )

    def _init_throttles(self) -> None:
        """Requests held back or dropped."""
        c = self._counter
        self.stale_requests = c("stale_requests", "requests", "whose connection or timeout had passed")
        self.stale_requests_dropped = c("stale_requests_dropped", "requests", "dropped for that")
        self.stale_replies = c("stale_replies", "replies", "to connections that were gone")
        self.request_throttle_queue_time_ms = self._percentiles(
            "request_throttle_queue_time_ms", "ms", "held back"
        )
        self.request_throttle_wait_count = c("request_throttle_wait_count", "requests", "held back")
        self.throttled_ops = c("throttled_ops", "requests", "answered THROTTLEDOP")
        self.large_requests_rejected = c("large_requests_rejected", "requests", "refused for their size")

    def _init_security(self) -> None:
        """TLS, authentication, pauses of the process."""
        c = self._counter
        self.ensemble_auth_success = c("ensemble_auth_success", "requests", "that named this ensemble")
        self.ensemble_auth_fail = c("ensemble_auth_fail", "requests", "that named another ensemble")
        self.ensemble_auth_skip = c("ensemble_auth_skip", "requests", "while this ensemble has no name")
        self.unsuccessful_handshake = c("unsuccessful_handshake", "handshakes", "TLS, failed")
        self.tls_handshake_exceeded = c("tls_handshake_exceeded", "handshakes", "TLS, refused for the limit")
        self.insecure_admin_count = c("insecure_admin_count", "connections", "to the admin port without TLS")
        self.jvm_pause_time_ms = self._percentiles("jvm_pause_time_ms", "ms", "the process did not run")

    def dump(
        self,
        gauges: dict[str, Number] | None = None,
        gauge_sets: dict[str, dict[str, Number]] | None = None,
    ) -> dict[str, Number]:
        """All values by the name ``mntr`` prints after ``zk_``.

        ``gauges`` are values for names of ``GAUGES``; ``gauge_sets`` for names of ``GAUGE_SETS``, by key.
        """
        out: dict[str, Number] = {}
        if gauges is not None:
            out.update(gauges)
        if gauge_sets is not None:
            for name, members in gauge_sets.items():
                for key, value in members.items():
                    out[f"{key}_{name}"] = value
        for metric in self._all:
            metric.dump_into(out)
        return out

    def reset(self) -> None:
        """Every counted metric back to its start (``srst``); gauges have nothing to reset."""
        for metric in self._all:
            metric.reset()


def mntr_text(value: Number) -> str:
    """A number as ``mntr`` prints it: integers plainly, others as Java's ``Double.toString``."""
    if isinstance(value, int):
        return str(value)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    size = abs(value)
    if size == 0.0 or 1e-3 <= size < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    point = len(text) - 1 + exponent
    fraction = text[1:].rstrip("0") or "0"
    return f"{'-' if sign else ''}{text[0]}.{fraction}E{point}"
