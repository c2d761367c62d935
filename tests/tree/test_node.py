"""DataNode: the client's view of a stat, and the hot way of writing it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.jute.primitives import Writer
from zabra.proto.records import Stat, StatPersisted
from zabra.tree.digest import node_digest
from zabra.tree.node import DataNode

LONG = st.integers(-(2**63), 2**63 - 1)
INT = st.integers(-(2**31), 2**31 - 1)


def node(cversion: int = 0, data: bytes | None = b"abc") -> DataNode:
    return DataNode(data, -1, 1, 2, 3, 4, 5, 6, cversion, 8, 9, 10)


def test_client_view() -> None:
    one = node(cversion=7)
    one.child_paths = {"/x/a": None, "/x/b": None}
    assert one.to_stat() == Stat(1, 2, 4, 5, 6, 12, 8, 10, 3, 2, 3)
    assert one.to_persisted() == StatPersisted(1, 2, 4, 5, 6, 7, 8, 9, 3)


def test_null_data_has_length_zero() -> None:
    assert node(data=None).to_stat().data_length == 0


@pytest.mark.parametrize(
    ("cversion", "children", "seen"),
    [
        (0, 0, 0),
        (1, 1, 1),
        (1, 0, 2),
        (2**30, 0, -(2**31)),
        (2**31 - 1, 1, -3),
        (-(2**31), 0, 0),
        (-1, 0, -2),
    ],
)
def test_cversion_counts_deletes_too_and_wraps(cversion: int, children: int, seen: int) -> None:
    one = node(cversion=cversion)
    if children:
        one.child_paths = {f"/x/{i}": None for i in range(children)}
    assert one.client_cversion() == seen


@given(st.one_of(st.none(), st.binary(max_size=9)), LONG, LONG, LONG, LONG, LONG, INT, INT, INT, LONG)
def test_encode_stat_is_the_stat_encoded(
    data: bytes | None,
    czxid: int,
    mzxid: int,
    pzxid: int,
    ctime: int,
    mtime: int,
    version: int,
    cversion: int,
    aversion: int,
    owner: int,
) -> None:
    one = DataNode(data, -1, czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner, owner)
    direct = Writer()
    one.encode_stat(direct)
    record = Writer()
    one.to_stat().encode(record)
    assert direct.getvalue() == record.getvalue()
    assert direct.size() == 68


def test_compute_digest_takes_the_persisted_fields() -> None:
    assert node(cversion=7).compute_digest("/x") == node_digest("/x", b"abc", 1, 2, 3, 4, 5, 6, 7, 8, 9)
