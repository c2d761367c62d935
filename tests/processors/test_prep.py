"""Prep: zxids, error txns, and that its digest is the one the tree has once the txns are applied."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.auth.registry import Providers, default_providers
from zabra.jute.primitives import JuteError, Writer
from zabra.processors.context import Rules
from zabra.processors.ops import OPS
from zabra.processors.prep import Prep
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    CheckVersionRequest,
    CreateRequest,
    DeleteRequest,
    ErrorTxn,
    Id,
    MultiHeader,
    SetDataRequest,
)
from zabra.proto.request import OWNER_LOCAL, OWNER_NONE, Request
from zabra.proto.txn import decode_txn
from zabra.sessions.tracker import SessionTracker
from zabra.tree.datatree import DataTree

SESSION = 0x100
OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]


def new_prep() -> Prep:
    tree = DataTree()
    sessions = SessionTracker(1000, 0)
    sessions.add(SESSION, 10_000, 0)
    rules = Rules(True, False, True, True, False)
    return Prep(tree, sessions, Providers(default_providers()), rules, OPS, 0)


def body(record) -> bytes:
    w = Writer()
    record.encode(w)
    return w.getvalue()


def request(op, record, owner=OWNER_LOCAL) -> Request:
    raw = record if isinstance(record, bytes) else body(record)
    return Request(SESSION, 1, op, raw, [Id("ip", "127.0.0.1")], owner, 16, 0)


def multi(*parts) -> bytes:
    w = Writer()
    for op, record in parts:
        MultiHeader(op, False, -1).encode(w)
        record.encode(w)
    MultiHeader(-1, True, -1).encode(w)
    return w.getvalue()


PATHS = st.sampled_from(["/a", "/b", "/a/x", "/a/y", "/b/z", "/"])
CREATE = st.builds(
    lambda path, flags: (codes.OP_CREATE, CreateRequest(path, b"d", OPEN, flags)),
    PATHS,
    st.sampled_from([0, 1, 2, 3]),
)
DELETE = st.builds(lambda path: (codes.OP_DELETE, DeleteRequest(path, -1)), PATHS)
SET = st.builds(
    lambda path, v: (codes.OP_SET_DATA, SetDataRequest(path, b"s", v)), PATHS, st.sampled_from([-1, 0])
)
CHECK = st.builds(lambda path: (codes.OP_CHECK, CheckVersionRequest(path, -1)), PATHS)
MULTI = st.lists(CREATE | DELETE | SET | CHECK, max_size=4).map(lambda parts: (codes.OP_MULTI, multi(*parts)))
CLOSE = st.just((codes.OP_CLOSE_SESSION, b""))


@settings(max_examples=200)
@given(st.lists(CREATE | DELETE | SET | MULTI, max_size=20), st.integers(0, 20))
def test_the_txns_digest_is_the_trees_once_applied(ops, lag):
    """Prepared ``lag`` txns ahead of the tree, which is what being outstanding means."""
    prep = new_prep()
    entries = []
    for op, record in [*ops, (codes.OP_CLOSE_SESSION, b"")]:
        entries.append(prep.prepare(request(op, record), 1_000))
        if len(entries) > lag:
            apply_first(prep, entries)
    while entries:
        apply_first(prep, entries)
    assert len(prep.outstanding) == 0
    assert prep.digest == prep.tree.digest
    assert prep.tree.ephemerals.paths_of(SESSION) == []


def apply_first(prep, entries):
    entry = entries.pop(0)
    again = decode_txn(entry.raw)
    prep.tree.process_txn(again.header, again.record)
    prep.applied(entry.header.zxid)
    assert (entry.digest is None) == (entry.header.type == codes.OP_ERROR)
    if entry.digest is not None:
        assert entry.digest.tree_digest == prep.tree.digest


def test_a_refusal_takes_a_zxid_and_has_no_digest():
    prep = new_prep()
    entry = prep.prepare(request(codes.OP_DELETE, DeleteRequest("/none", -1)), 5)
    assert entry.header.zxid == 1
    assert entry.header.type == codes.OP_ERROR
    assert entry.record == ErrorTxn(codes.ERR_NO_NODE)
    assert entry.digest is None
    assert prep.last_zxid == 1


def test_a_malformed_body_takes_a_zxid_only_where_somebody_else_waits_for_it():
    prep = new_prep()
    with pytest.raises(JuteError):
        prep.prepare(request(codes.OP_SET_DATA, b"\0\0"), 5)
    assert prep.last_zxid == 0
    prep.sessions.set_owner(SESSION, 77)
    entry = prep.prepare(request(codes.OP_SET_DATA, b"\0\0", owner=77), 5)
    assert entry.record == ErrorTxn(codes.ERR_MARSHALLING)
    assert prep.last_zxid == 1


def test_the_session_decides_who_may_write():
    prep = new_prep()
    prep.prepare(request(codes.OP_CREATE, CreateRequest("/a", b"", OPEN, 0), owner=20), 5)
    moved = prep.prepare(request(codes.OP_SET_DATA, SetDataRequest("/a", b"", -1), owner=21), 5)
    assert moved.record == ErrorTxn(codes.ERR_SESSION_MOVED)
    prep.sessions.set_closing(SESSION)
    dead = prep.prepare(request(codes.OP_SET_DATA, SetDataRequest("/a", b"", -1), owner=20), 5)
    assert dead.record == ErrorTxn(codes.ERR_SESSION_EXPIRED)
    assert prep.prepare(request(codes.OP_CLOSE_SESSION, b"", owner=OWNER_NONE), 5).header.type == (
        codes.OP_CLOSE_SESSION
    )


def test_no_txn_has_counter_zero():
    prep = new_prep()
    prep.last_zxid = 0x1FFFFFFFE
    assert prep.next_zxid() == 0x1FFFFFFFF
    prep.last_zxid = 0x1FFFFFFFF
    assert prep.next_zxid() == 0x200000001


def test_a_session_that_has_ended_is_nobodys_local_session():
    prep = new_prep()
    prep.rules = Rules(True, False, True, True, False, True, 1)
    late = request(codes.OP_CREATE, CreateRequest("/late", b"", OPEN, 0), OWNER_NONE)
    late.session_id = elsewhere = 2 << 56
    assert prep.prepare(late, 5).header.type == codes.OP_CREATE
    prep.sessions.add(elsewhere, 10_000, 0)
    prep.sessions.end(elsewhere, 10)
    late.body = body(CreateRequest("/later", b"", OPEN, 0))
    assert prep.prepare(late, 20).record == ErrorTxn(codes.ERR_SESSION_EXPIRED)
