"""Changes against the tree: replaying what publishers hear gives the tree's own paths and data."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processors.test_prep import CREATE, DELETE, MULTI, SET, multi, new_prep, request

from zabra.plugins.changes import committed_txn
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    CheckVersionRequest,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateRequest,
    CreateTTLTxn,
    ErrorTxn,
    Id,
    SetDataRequest,
    TxnHeader,
)
from zabra.proto.txn import decode_txn, encode_txn
from zabra.tree.ephemerals import CONTAINER_OWNER, ttl_owner

OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]


@settings(max_examples=150)
@given(st.lists(CREATE | DELETE | SET | MULTI, max_size=20), st.booleans())
def test_whoever_replays_the_changes_has_the_tree(ops, close):
    prep = new_prep()
    mirror = {}
    closing = [(codes.OP_CLOSE_SESSION, b"")] if close else []
    for op, record in [*ops, *closing]:
        entry = decode_txn(prep.prepare(request(op, record), 7).raw)
        prep.tree.process_txn(entry.header, entry.record)
        prep.applied(entry.header.zxid)
        txn = committed_txn(entry)
        indexes = [change.index for change in txn.changes]
        assert indexes == sorted(set(indexes))
        assert (txn.zxid, txn.raw) == (entry.header.zxid, entry.raw)
        for change in txn.changes:
            if change.op == "create":
                assert change.path not in mirror
                mirror[change.path] = (change.data, change.version)
            elif change.op == "setData":
                assert change.path in mirror or change.path == "/"
                mirror[change.path] = (change.data, change.version)
            elif change.op == "delete":
                del mirror[change.path]
    mirror.pop("/", None)
    tree = {
        path: (node.data, node.version)
        for path, node in prep.tree.nodes.items()
        if path != "/" and not path.startswith("/zookeeper")
    }
    assert mirror == tree


def changes_of(kind, record):
    header = TxnHeader(0x55, 3, 9, 1000, kind)
    return committed_txn(decode_txn(encode_txn(header, record, None).raw))


def test_a_check_has_its_place_in_a_multi():
    prep = new_prep()
    record = multi(
        (codes.OP_CHECK, CheckVersionRequest("/", -1)),
        (codes.OP_CREATE, CreateRequest("/a", b"", OPEN, 0)),
        (codes.OP_CHECK, CheckVersionRequest("/a", 0)),
        (codes.OP_SET_DATA, SetDataRequest("/a", b"1", 0)),
    )
    txn = committed_txn(decode_txn(prep.prepare(request(codes.OP_MULTI, record), 7).raw))
    assert [(change.index, change.op) for change in txn.changes] == [(1, "create"), (3, "setData")]


def test_a_refusal_changes_nothing():
    txn = changes_of(codes.OP_ERROR, ErrorTxn(-101))
    assert (txn.op, txn.changes) == ("error", ())


def test_the_end_of_a_session_takes_its_ephemerals_first():
    txn = changes_of(codes.OP_CLOSE_SESSION, CloseSessionTxn(["/a", "/b"]))
    assert [(change.op, change.path, change.owner) for change in txn.changes] == [
        ("delete", "/a", 0),
        ("delete", "/b", 0),
        ("closeSession", "", 0x55),
    ]
    (alone,) = changes_of(codes.OP_CLOSE_SESSION, None).changes
    assert (alone.op, alone.owner, alone.unlisted) == ("closeSession", 0x55, True)
    (empty,) = changes_of(codes.OP_CLOSE_SESSION, CloseSessionTxn([])).changes
    assert not empty.unlisted


def test_owners_of_containers_and_of_nodes_with_a_ttl():
    (container,) = changes_of(codes.OP_CREATE_CONTAINER, CreateContainerTxn("/c", b"", OPEN, 1)).changes
    (ttl,) = changes_of(codes.OP_CREATE_TTL, CreateTTLTxn("/t", None, OPEN, 1, 5000)).changes
    assert container.owner == CONTAINER_OWNER
    assert ttl.owner == ttl_owner(5000)
    assert ttl.acl == tuple(OPEN)
