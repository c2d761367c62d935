"""JSON keeps every bit: of 64-bit numbers, and of data that is no text."""

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from zabra.plugins.jsontext import (
    acl_object,
    change_object,
    dump,
    hex_of,
    put_data,
    txn_object,
    txn_of,
    txn_text,
)
from zabra.plugins.publisher import Change, CommittedTxn
from zabra.proto.records import ACL, Id


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers(value):
    text = json.loads(dump({"n": hex_of(value)}))["n"]
    found = int(text, 16)
    assert (found - 2**64 if found >= 2**63 else found) == value


@given(st.none() | st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_data(data):
    out = {}
    put_data(out, data)
    line = dump(out)
    assert "\n" not in line
    row = json.loads(line.encode("utf-8"))
    if data is None:
        assert row == {"data": None}
    elif "data64" in row:
        assert base64.b64decode(row["data64"]) == data
    else:
        assert row["data"].encode("utf-8") == data


def test_what_did_not_change_is_absent():
    assert change_object(Change(0, "delete", "/a")) == {"index": 0, "op": "delete", "path": "/a"}
    assert acl_object((ACL(31, Id("world", "anyone")), ACL(1, Id("ip", "::1")))) == [
        {"scheme": "world", "id": "anyone", "perms": "rwcda"},
        {"scheme": "ip", "id": "::1", "perms": "r"},
    ]


LONGS = st.integers(-(2**63), 2**63 - 1)
PATHS = st.sampled_from(["/a", "/a/b", "/\u00e4"])
IDS = st.builds(Id, st.text(), st.text())
ACLS = st.lists(st.builds(ACL, st.integers(0, 31), IDS), max_size=2).map(tuple)
NOTHING = st.none()
CHANGES = st.one_of(
    st.builds(
        Change, st.integers(0, 9), st.just("create"), PATHS, st.none() | st.binary(), st.just(0), ACLS, LONGS
    ),
    st.builds(
        Change, st.integers(0, 9), st.just("setData"), PATHS, st.none() | st.binary(), st.integers(0, 9)
    ),
    st.builds(Change, st.integers(0, 9), st.just("delete"), PATHS),
    st.builds(Change, st.integers(0, 9), st.just("setACL"), PATHS, st.none(), st.integers(0, 9), ACLS),
    st.builds(
        Change,
        st.just(1),
        st.just("closeSession"),
        st.just(""),
        NOTHING,
        st.just(-1),
        NOTHING,
        LONGS,
        st.booleans(),
    ),
)


ODD = st.builds(
    Change,
    st.integers(0, 9),
    st.just("setData"),
    st.text(min_size=1),
    st.none() | st.binary() | st.text().map(str.encode),
)


@given(st.integers(1, 2**63 - 1), LONGS, st.lists(CHANGES | ODD, max_size=4).map(tuple))
def test_the_quick_way_says_the_same(zxid, session, changes):
    txn = CommittedTxn(zxid, 1_700_000_000_000, session, 3, "multi", changes, b"")
    assert (
        txn_text(txn)
        == dump(txn_object(txn))
        == json.dumps(txn_object(txn), separators=(",", ":"), ensure_ascii=False)
    )
    assert txn_text(txn, changes[1:]) == dump(
        {**txn_object(txn), "changes": [change_object(one) for one in changes[1:]]}
    )


@given(st.integers(1, 2**63 - 1), LONGS, st.lists(CHANGES, max_size=4).map(tuple))
def test_txns_are_read_back(zxid, session, changes):
    txn = CommittedTxn(zxid, 1_700_000_000_000, session, 3, "multi", changes, b"")
    assert txn_of(json.loads(dump(txn_object(txn)))) == txn
