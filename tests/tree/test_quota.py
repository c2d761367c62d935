"""Quotas: the text of limits and stats, the longest quota above a path, bookkeeping, and violations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tree.naive import OPEN, new_tree

from zabra.proto import codes
from zabra.proto.records import CreateTxn, DeleteTxn, SetDataTxn, TxnHeader
from zabra.tree.datatree import DataTree
from zabra.tree.quota import StatsTrack, limits_path, stats_path
from zabra.tree.snapshot_walk import load_tree, serialize_tree


@pytest.mark.parametrize(
    ("text", "count", "size", "count_hard", "size_hard", "again"),
    [
        ("count=4,bytes=5", 4, 5, -1, -1, "count=4,bytes=5"),
        (
            "count=4,bytes=5=;byteHardLimit=10;countHardLimit=10",
            4,
            5,
            10,
            10,
            "count=4,bytes=5=;byteHardLimit=10;countHardLimit=10",
        ),
        ("", -1, -1, -1, -1, "count=-1,bytes=-1"),
        ("count=,bytes=7", -1, 7, -1, -1, "count=-1,bytes=7"),
        ("count=1,bytes=2=;countHardLimit=3", 1, 2, 3, -1, "count=1,bytes=2=;countHardLimit=3"),
        (
            "countHardLimit=3;zeta=1;alpha=2",
            -1,
            -1,
            3,
            -1,
            "count=-1,bytes=-1=;alpha=2;countHardLimit=3;zeta=1",
        ),
    ],
)
def test_text(text: str, count: int, size: int, count_hard: int, size_hard: int, again: str) -> None:
    track = StatsTrack.parse(text.encode())
    assert (track.count(), track.byte_count()) == (count, size)
    assert (track.count_hard_limit(), track.byte_hard_limit()) == (count_hard, size_hard)
    assert track.encode() == again.encode()
    assert StatsTrack.parse(track.encode()).encode() == again.encode()


@pytest.mark.parametrize(
    "text",
    ["count", "count=x,bytes=1", "count=1,bytes", "count=9223372036854775807", "bytes=-99999999999999999999"],
)
def test_text_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"no value|invalid literal|unreasonable value"):
        StatsTrack.parse(text.encode())


KEYS = ["count", "bytes", "countHardLimit", "byteHardLimit"]


@given(st.dictionaries(st.sampled_from(KEYS), st.integers(-(2**62), 2**62)))
def test_text_round_trip(values: dict[str, int]) -> None:
    track = StatsTrack()
    track.values.update(values)
    again = StatsTrack.parse(track.encode())
    for key in KEYS:
        assert again.get(key) == values.get(key, -1)


class Tree:
    """A tree with short commands."""

    def __init__(self) -> None:
        self.tree: DataTree = new_tree()
        self.zxid = 1 << 32

    def do(self, kind: int, record: object) -> None:
        self.zxid += 1
        self.tree.process_txn(TxnHeader(1, 0, self.zxid, 0, kind), record)  # type: ignore[arg-type]

    def create(self, path: str, data: bytes | None = b"") -> None:
        self.do(codes.OP_CREATE, CreateTxn(path, data, OPEN, False, -1))

    def delete(self, path: str) -> None:
        self.do(codes.OP_DELETE, DeleteTxn(path))

    def set(self, path: str, data: bytes | None) -> None:
        self.do(codes.OP_SET_DATA, SetDataTxn(path, data, 1))

    def quota(self, path: str, limits: bytes) -> None:
        """As the shell does it: the nodes above, limits, then stats."""
        at = "/zookeeper/quota"
        for name in path.split("/")[1:]:
            at += "/" + name
            if self.tree.find(at) is None:
                self.create(at)
        self.create(at + "/zookeeper_limits", limits)
        self.create(at + "/zookeeper_stats", b"count=0,bytes=0")

    def stats(self, path: str) -> bytes | None:
        node = self.tree.find(stats_path(path))
        assert node is not None
        return node.data


def example() -> Tree:
    t = Tree()
    t.create("/a", b"12345")
    t.create("/a/b", b"123")
    t.create("/ab", b"not mine")
    t.quota("/a", b"count=4,bytes=100=;byteHardLimit=50;countHardLimit=5")
    return t


def test_paths_of_the_nodes() -> None:
    assert limits_path("/a/b") == "/zookeeper/quota/a/b/zookeeper_limits"
    assert stats_path("/a/b") == "/zookeeper/quota/a/b/zookeeper_stats"


def test_bookkeeping() -> None:
    t = example()
    digest = t.tree.digest
    assert t.stats("/a") == b"count=2,bytes=8"
    assert t.tree.digest == digest
    t.create("/a/c", b"xx")
    assert t.stats("/a") == b"count=3,bytes=10"
    t.set("/a/b", b"")
    assert t.stats("/a") == b"count=3,bytes=7"
    t.set("/a/b", None)
    t.create("/a/c/d", None)
    assert t.stats("/a") == b"count=4,bytes=7"
    t.delete("/a/c/d")
    t.delete("/a/c")
    assert t.stats("/a") == b"count=2,bytes=5"
    t.create("/ab/x", b"elsewhere")
    assert t.stats("/a") == b"count=2,bytes=5"
    node = t.tree.find(stats_path("/a"))
    assert node is not None
    assert (node.version, node.mzxid) == (0, node.czxid)
    size = sum(len(path) + n.data_length() for path, n in t.tree.nodes.items())
    assert t.tree.approximate_data_size == size


def test_the_longest_quota_wins() -> None:
    t = example()
    t.quota("/a/b", b"count=10,bytes=-1")
    quota = t.tree.quota
    assert quota.find_quota("/a") == "/a"
    assert quota.find_quota("/a/b") == "/a/b"
    assert quota.find_quota("/a/b/c") == "/a/b"
    assert quota.find_quota("/a/bc") == "/a"
    assert quota.find_quota("/ab") == ""
    assert quota.find_quota("/") == ""
    t.create("/a/b/c", b"x")
    assert t.stats("/a/b") == b"count=2,bytes=4"
    assert t.stats("/a") == b"count=2,bytes=8"
    t.delete("/zookeeper/quota/a/b/zookeeper_limits")
    assert quota.find_quota("/a/b") == "/a"


def test_a_limit_that_comes_back_counts_what_came_meanwhile() -> None:
    t = example()
    t.delete("/zookeeper/quota/a/zookeeper_limits")
    t.create("/a/c", b"xx")
    assert t.stats("/a") == b"count=2,bytes=8"
    t.create("/zookeeper/quota/a/zookeeper_limits", b"count=4,bytes=100")
    assert t.stats("/a") == b"count=3,bytes=10"


def test_loading_counts_again() -> None:
    t = example()
    node = t.tree.find(stats_path("/a"))
    assert node is not None
    node.data = b"count=77,bytes=77"
    loaded = load_tree(serialize_tree(t.tree))
    assert list(loaded.quota.paths) == ["/a"]
    again = loaded.find(stats_path("/a"))
    assert again is not None
    assert again.data == b"count=2,bytes=8"
    size = sum(len(path) + n.data_length() for path, n in loaded.nodes.items())
    assert loaded.approximate_data_size == size


@pytest.mark.parametrize(
    ("size", "count", "found"),
    [
        (0, 1, []),
        (42, 0, []),
        (43, 0, [("bytes", True, 51, 50)]),
        (-100, 0, []),
        (0, 3, []),
        (0, 4, [("count", True, 6, 5)]),
        (100, 9, [("count", True, 11, 5), ("bytes", True, 108, 50)]),
    ],
)
def test_hard_limits(size: int, count: int, found: list[tuple[str, bool, int, int]]) -> None:
    quota = example().tree.quota
    violations = quota.check("/a/new", size, count)
    assert [(v.what, v.hard, v.value, v.limit) for v in violations] == found
    assert quota.violates("/a/new", size, count) is bool(found)
    assert all("/a" in repr(v) for v in violations)
    assert not quota.violates("/elsewhere", 10**9, 10**9)


def test_soft_limits_are_only_reported() -> None:
    t = example()
    t.set(limits_path("/a"), b"count=2,bytes=9")
    violations = t.tree.quota.check("/a/new", 5, 1)
    found = [("count", False, 3, 2), ("bytes", False, 13, 9)]
    assert [(v.what, v.hard, v.value, v.limit) for v in violations] == found
    assert not t.tree.quota.violates("/a/new", 5, 1)


def test_a_limit_of_zero_is_one() -> None:
    t = example()
    t.set(limits_path("/a"), b"count=-1,bytes=-1=;countHardLimit=0")
    assert t.tree.quota.violates("/a/new", 0, 1)
    assert not t.tree.quota.violates("/a", 9, 0)


def test_what_users_break_stops_nothing() -> None:
    t = example()
    t.set(stats_path("/a"), b"garbage")
    t.create("/a/x")
    t.set(limits_path("/a"), b"\xff\xfe=?")
    assert not t.tree.quota.violates("/a/y", 1, 1)
    t.delete(stats_path("/a"))
    t.create("/a/y")
    assert t.tree.quota.broken_count >= 3
    assert t.tree.find("/a/y") is not None


def test_a_quota_on_the_root_is_none() -> None:
    t = Tree()
    t.create("/zookeeper/quota/zookeeper_limits", b"count=1,bytes=1")
    t.create("/zookeeper/quota/zookeeper_stats", b"")
    assert not t.tree.quota.paths
    t.create("/a")
    assert t.tree.quota.check("/a/b", 1, 1) == []


def test_usage_by_namespace() -> None:
    t = example()
    t.create("/ab/c")
    t.quota("/ab/c", b"count=7,bytes=-1")
    assert t.tree.quota.usage_by_namespace() == {"a": (5, 50, 2, 8), "ab": (7, -1, 1, 0)}
