"""The node digest: values that Apache ZooKeeper computed, and the parts it is made of."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.tree.digest import FRESH_TREE_DIGEST, node_digest

INT = st.integers(-(2**31), 2**31 - 1)
LONG = st.integers(-(2**63), 2**63 - 1)


def test_fresh_nodes() -> None:
    root = node_digest("/", b"", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    proc = node_digest("/zookeeper", b"", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert root == 0x04128908
    assert proc == 0x4DB44D58
    assert root + proc == 0x51C6D660 == FRESH_TREE_DIGEST


def test_a_created_node() -> None:
    zxid, time = 0x100000002, 0x1A2021CAEF0
    assert node_digest("/t", b"hello", zxid, zxid, zxid, time, time, 0, 0, 0, 0) == 0x1D5F7AA8


@pytest.mark.parametrize("path", ["/zookeeper/", "/zookeeper/config", "/zookeeper/quota/a"])
def test_what_is_under_zookeeper_counts_nothing(path: str) -> None:
    assert node_digest(path, b"x", 1, 2, 3, 4, 5, 6, 7, 8, 9) == 0


def test_a_name_that_only_begins_like_it_counts() -> None:
    assert node_digest("/zookeeper2", b"x", 1, 2, 3, 4, 5, 6, 7, 8, 9) != 0


@given(
    st.text(alphabet="ab\xe9\u4e2d", max_size=6),
    st.one_of(st.none(), st.binary(max_size=20), st.just(bytes(5000))),
    st.tuples(LONG, LONG, LONG, LONG, LONG, INT, INT, INT, LONG),
)
def test_layout(name: str, data: bytes | None, stat: tuple[int, ...]) -> None:
    path = "/" + name
    raw = b"" if path == "/" else path.encode()
    expected = zlib.crc32(raw + (data or b"") + struct.pack(">qqqqqiiiq", *stat))
    assert node_digest(path, data, *stat) == expected
