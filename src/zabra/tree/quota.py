"""Quotas: limits on the number and bytes of nodes below a path, and the running count of both.

The quota of /a is two nodes, /zookeeper/quota/a/zookeeper_limits (set by users) and .../zookeeper_stats
(kept by every server for itself, in place, without a txn).  Source: upstream ``Quotas``, ``StatsTrack``,
``PathTrie`` (here a table of paths, searched upwards) and ``ZooKeeperServer.checkQuota``.
"""

import re
from typing import Final

from mypy_extensions import i64

from zabra.tree.node import DataNode

QUOTA_ROOT: Final = "/zookeeper/quota"
LIMITS_NAME: Final = "zookeeper_limits"
STATS_NAME: Final = "zookeeper_stats"

_COUNT: Final = "count"
_BYTES: Final = "bytes"
_COUNT_HARD: Final = "countHardLimit"
_BYTES_HARD: Final = "byteHardLimit"
NO_LIMIT: Final = -1

# Users write these texts; with room below the largest long no sum of two values can overflow.
_VALUE_MAX: Final = 1 << 62

_PAIR_SEPARATOR: Final = re.compile("[,;]+")


class StatsTrack:
    """The text of a limits or stats node: ``count=4,bytes=5=;byteHardLimit=10;countHardLimit=10``.

    What is absent reads as -1.  The stray "=" makes servers that know no hard limits skip them.
    """

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    @staticmethod
    def parse(data: bytes | None) -> "StatsTrack":
        """Reads the text.  Raises ValueError where it is not one."""
        track = StatsTrack()
        text = "" if data is None else data.decode("utf-8", "replace")
        if text:
            for pair in _PAIR_SEPARATOR.split(text):
                if pair:
                    fields = pair.split("=")
                    if len(fields) < 2:
                        raise ValueError(f"no value in {pair!r}")
                    value = int(fields[1]) if fields[1] else -1
                    if abs(value) > _VALUE_MAX:
                        raise ValueError(f"unreasonable value in {pair!r}")
                    track.values[fields[0]] = value
        return track

    def get(self, key: str) -> i64:
        """The value of ``key``, -1 if absent."""
        return self.values.get(key, -1)

    def count(self) -> i64:
        """Nodes: so many there are, or the soft limit."""
        return self.get(_COUNT)

    def byte_count(self) -> i64:
        """Bytes of data: so many there are, or the soft limit."""
        return self.get(_BYTES)

    def count_hard_limit(self) -> i64:
        """The hard limit of nodes."""
        return self.get(_COUNT_HARD)

    def byte_hard_limit(self) -> i64:
        """The hard limit of bytes."""
        return self.get(_BYTES_HARD)

    def encode(self) -> bytes:
        """The text: count and bytes first, always; the rest sorted, behind the stray "="."""
        text = f"count={self.count()},bytes={self.byte_count()}"
        others = sorted([key for key in self.values if key != _COUNT and key != _BYTES])
        if others:
            text += "="
        for key in others:
            text += f";{key}={self.values[key]}"
        return text.encode()


def stats_bytes(count: i64, byte_count: i64) -> bytes:
    """The text of a stats node that has only the two running counts."""
    return f"count={count},bytes={byte_count}".encode()


def limits_path(quota_path: str) -> str:
    """The limits node of the quota on ``quota_path``."""
    return QUOTA_ROOT + quota_path + "/" + LIMITS_NAME


def stats_path(quota_path: str) -> str:
    """The stats node of the quota on ``quota_path``."""
    return QUOTA_ROOT + quota_path + "/" + STATS_NAME


class QuotaViolation:
    """A limit on ``what`` ("count" or "bytes") that a change would exceed: soft (report) or hard (refuse)."""

    __slots__ = ("hard", "limit", "quota_path", "value", "what")

    def __init__(self, quota_path: str, what: str, hard: bool, value: i64, limit: i64) -> None:
        self.quota_path: str = quota_path
        self.what: str = what
        self.hard: bool = hard
        self.value: i64 = value
        self.limit: i64 = limit

    def __repr__(self) -> str:
        kind = "hard" if self.hard else "soft"
        what = self.what
        return f"Quota exceeded: {self.quota_path} [current {what}={self.value}, {kind} limit={self.limit}]"


class Quota:
    """The quotas of one tree; ``nodes`` is the tree's own table."""

    __slots__ = ("broken_count", "exceeded", "nodes", "paths", "size_delta")

    def __init__(self, nodes: dict[str, DataNode]) -> None:
        self.nodes: dict[str, DataNode] = nodes
        # Paths with a quota: those that have a limits node.
        self.paths: dict[str, None] = {}
        # Stats and limits nodes that were missing or unreadable when they were needed.
        self.broken_count: i64 = 0
        # The limit that a change has met last, until whoever tells the operator has taken it.
        self.exceeded: QuotaViolation | None = None
        # Bytes by which stats nodes have grown since the tree last asked.
        self.size_delta: i64 = 0

    def find_quota(self, path: str) -> str:
        """The longest path at or above ``path`` that has a quota, the root aside; empty if there is none."""
        paths = self.paths
        if not paths:
            return ""
        while len(path) > 1:
            if path in paths:
                return path
            path = path[: path.rfind("/")]
        return ""

    def node_added(self, path: str, parent: str) -> None:
        """A node was created: it may be half of a quota itself."""
        if not parent.startswith(QUOTA_ROOT):
            return
        quota_path = parent[len(QUOTA_ROOT) :]
        if path.endswith("/" + LIMITS_NAME):
            if quota_path:
                self.paths[quota_path] = None
                if stats_path(quota_path) in self.nodes:
                    # Nobody has counted while there was no limit.  Upstream goes on from the old figures
                    # until a restart counts anew, and then its servers differ.
                    self.recount(quota_path)
        elif path.endswith("/" + STATS_NAME):
            self.recount(quota_path)

    def node_removed(self, path: str, parent: str) -> None:
        """A node was deleted: it may have been the limits of a quota."""
        if parent.startswith(QUOTA_ROOT) and path.endswith("/" + LIMITS_NAME):
            self.paths.pop(parent[len(QUOTA_ROOT) :], None)

    def update(self, path: str, bytes_delta: i64, count_delta: i64) -> None:
        """Adds a change at ``path`` to the stats of its quota, if it has one."""
        if not self.paths:
            return
        quota_path = self.find_quota(path)
        if not quota_path:
            return
        node = self.nodes.get(stats_path(quota_path))
        track = self._read(node)
        if node is None or track is None:
            return
        track.values[_COUNT] = track.count() + count_delta
        track.values[_BYTES] = track.byte_count() + bytes_delta
        self._write(node, track.encode())

    def recount(self, quota_path: str) -> None:
        """Sets the stats of a quota to what is really there."""
        node = self.nodes.get(stats_path(quota_path))
        if node is None:
            self.broken_count += 1
            return
        count: i64 = 0
        size: i64 = 0
        stack = [quota_path or "/"]
        while stack:
            below = self.nodes.get(stack.pop())
            if below is not None:
                count += 1
                size += below.data_length()
                if below.child_paths is not None:
                    stack.extend(below.child_paths)
        self._write(node, stats_bytes(count, size))

    def rebuild(self) -> None:
        """Finds all quotas of a tree just loaded and recounts them."""
        self.paths.clear()
        stack = [QUOTA_ROOT]
        while stack:
            path = stack.pop()
            node = self.nodes.get(path)
            if node is None:
                continue
            if node.child_paths:
                stack.extend(reversed(node.child_paths))
            elif path.endswith("/" + LIMITS_NAME):
                quota_path = path[len(QUOTA_ROOT) : -len(LIMITS_NAME) - 1]
                if quota_path:
                    self.paths[quota_path] = None
                self.recount(quota_path)

    def _read(self, node: DataNode | None) -> StatsTrack | None:
        # Users can write these nodes, so their text may be anything; a bad one must stop no txn.
        if node is not None:
            try:
                return StatsTrack.parse(node.data)
            except ValueError:
                pass
        self.broken_count += 1
        return None

    def _write(self, node: DataNode, text: bytes) -> None:
        self.size_delta += len(text) - node.data_length()
        node.data = text

    def check(self, path: str, bytes_delta: i64, count_delta: i64) -> list[QuotaViolation]:
        """The limits that a change at ``path`` would exceed, count before bytes.

        A quota with a hard limit is judged by that one alone.  Only what grows or shrinks is looked at.
        """
        out: list[QuotaViolation] = []
        quota_path = self.find_quota(path)
        if not quota_path:
            return out
        limits = self._read(self.nodes.get(limits_path(quota_path)))
        stats = self._read(self.nodes.get(stats_path(quota_path)))
        if limits is None or stats is None:
            return out
        if count_delta != 0:
            hard = limits.count_hard_limit()
            limit = hard if hard > NO_LIMIT else limits.count()
            value = stats.count() + count_delta
            if limit > NO_LIMIT and value > limit:
                out.append(QuotaViolation(quota_path, _COUNT, hard > NO_LIMIT, value, limit))
        if bytes_delta != 0:
            hard = limits.byte_hard_limit()
            limit = hard if hard > NO_LIMIT else limits.byte_count()
            value = stats.byte_count() + bytes_delta
            if limit > NO_LIMIT and value > limit:
                out.append(QuotaViolation(quota_path, _BYTES, hard > NO_LIMIT, value, limit))
        return out

    def violates(self, path: str, bytes_delta: i64, count_delta: i64) -> bool:
        """Whether a change at ``path`` would break a hard limit; what it breaks is in ``exceeded``."""
        if not self.paths:
            return False
        hard = False
        for violation in self.check(path, bytes_delta, count_delta):
            self.exceeded = violation
            if violation.hard:
                hard = True
        return hard

    def take_exceeded(self) -> QuotaViolation | None:
        """The limit that was met since the last time, for the operator."""
        exceeded = self.exceeded
        self.exceeded = None
        return exceeded

    def usage_by_namespace(self) -> dict[str, tuple[int, int, int, int]]:
        """Per top-level name: count limit, bytes limit, count, bytes (as the quota_* gauges)."""
        out: dict[str, tuple[int, int, int, int]] = {}
        for quota_path in self.paths:
            limits = self._read(self.nodes.get(limits_path(quota_path)))
            stats = self._read(self.nodes.get(stats_path(quota_path)))
            if limits is None or stats is None:
                continue
            count_limit = limits.count_hard_limit()
            if count_limit <= NO_LIMIT:
                count_limit = limits.count()
            byte_limit = limits.byte_hard_limit()
            if byte_limit <= NO_LIMIT:
                byte_limit = limits.byte_count()
            name = quota_path.split("/", 2)[1]
            old = out.get(name, (0, 0, 0, 0))
            out[name] = (
                old[0] + count_limit,
                old[1] + byte_limit,
                old[2] + stats.count(),
                old[3] + stats.byte_count(),
            )
        return out
