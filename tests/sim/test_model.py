"""The oracle itself: strict about what may be committed, and with ZooKeeper's numbers."""

import pytest

from zabra.proto import codes
from zabra.proto.records import (
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetDataTxn,
    Txn,
    TxnDigest,
    TxnHeader,
)
from zabra.proto.txn import TxnEntry, TxnRecord, encode_txn
from zabra.sim.decide import _part
from zabra.sim.model import OPEN, Model, ModelError, node_digest

SESSION = 0x1234


def entry(zxid: int, kind: int, record: TxnRecord, digest: int | None = None) -> TxnEntry:
    promised = None if digest is None else TxnDigest(2, digest)
    return encode_txn(TxnHeader(SESSION, 1, zxid, 1000 + zxid, kind), record, promised)


def create(zxid: int, path: str, cversion: int, ephemeral: bool = False) -> TxnEntry:
    return entry(zxid, codes.OP_CREATE, CreateTxn(path, b"x", OPEN, ephemeral, cversion))


def test_a_fresh_tree_has_zookeepers_digest() -> None:
    assert Model().digest == 0x51C6D660


def test_the_digest_is_the_one_read_from_apaches_log() -> None:
    """A create of /t with "hello", recorded from Apache ZooKeeper 3.8."""
    model = Model()
    header = TxnHeader(1, 1, 0x100000002, 0x1A2021CAEF0, codes.OP_CREATE)
    model.apply(encode_txn(header, CreateTxn("/t", b"hello", OPEN, False, 1), TxnDigest(2, 0x15616B053)))
    assert node_digest("/t", model.nodes["/t"]) == 0x1D5F7AA8


def test_a_wrong_digest_is_refused() -> None:
    with pytest.raises(ModelError, match="promises digest 5"):
        Model().apply(entry(1, codes.OP_CREATE_SESSION, CreateSessionTxn(4000), digest=5))


def test_stats_are_the_clients_view() -> None:
    model = Model()
    model.apply(create(1, "/a", 1))
    model.apply(create(2, "/a/b", 1))
    model.apply(create(3, "/a/c", 2))
    model.apply(entry(4, codes.OP_DELETE, DeleteTxn("/a/b")))
    stat = model.nodes["/a"].stat()
    assert (stat.cversion, stat.num_children, stat.pzxid, stat.czxid) == (3, 1, 4, 1)
    model.apply(entry(5, codes.OP_SET_DATA, SetDataTxn("/a", b"four", 1)))
    stat = model.nodes["/a"].stat()
    assert (stat.version, stat.mzxid, stat.data_length, stat.mtime) == (1, 5, 4, 1005)


def test_events_of_a_delete_reach_both_managers_and_the_parent() -> None:
    model = Model()
    model.apply(create(1, "/a", 1))
    _, events = model.apply(entry(2, codes.OP_DELETE, DeleteTxn("/a")))
    assert [(event.type, event.path) for event in events] == [(2, "/a"), (4, "/")]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (create(9, "/a", 2), "created twice"),
        (create(9, "/no/where", 1), "there is no /no"),
        (create(9, "/b", 7), "cversion 7, due 3"),
        (create(9, "/e/child", 1), "under an ephemeral"),
        (create(1, "/b", 2), "zxid 0x1 after 0x2"),
        (entry(9, codes.OP_DELETE, DeleteTxn("/zookeeper")), "with children"),
        (entry(9, codes.OP_SET_DATA, SetDataTxn("/a", b"", 3)), "version 3 after 0"),
        (entry(9, codes.OP_CLOSE_SESSION, CloseSessionTxn([])), "it owns"),
    ],
)
def test_what_could_not_have_been_committed_is_refused(bad: TxnEntry, why: str) -> None:
    model = Model()
    model.apply(create(1, "/a", 1))
    model.apply(create(2, "/e", 2, ephemeral=True))
    with pytest.raises(ModelError, match=why):
        model.apply(bad)


def test_closing_a_session_takes_its_ephemerals() -> None:
    model = Model()
    model.apply(entry(1, codes.OP_CREATE_SESSION, CreateSessionTxn(4000)))
    model.apply(create(2, "/e", 1, ephemeral=True))
    assert (model.sessions, model.ephemerals_of(SESSION)) == ({SESSION: 4000}, ["/e"])
    model.apply(entry(3, codes.OP_CLOSE_SESSION, CloseSessionTxn(["/e"])))
    assert (model.sessions, "/e" in model.nodes, model.digest) == ({}, False, model.copy().digest)


def test_a_multi_is_all_or_nothing() -> None:
    model = Model()
    good = _part(codes.OP_CREATE, CreateTxn("/a", b"", OPEN, False, 1))
    bad = _part(codes.OP_ERROR, ErrorTxn(codes.ERR_NO_NODE))
    rest = _part(codes.OP_ERROR, ErrorTxn(codes.ERR_RUNTIME_INCONSISTENCY))
    result, events = model.apply(entry(1, codes.OP_MULTI, MultiTxn([good, bad, rest])))
    assert [part.err for part in result.parts] == [0, codes.ERR_NO_NODE, codes.ERR_RUNTIME_INCONSISTENCY]
    assert (result.err, events, "/a" in model.nodes) == (codes.ERR_NO_NODE, [], False)
    result, events = model.apply(entry(2, codes.OP_MULTI, MultiTxn([good])))
    assert ("/a" in model.nodes, len(events)) == (True, 2)


@pytest.mark.interpreted
def test_an_unknown_pairing_of_type_and_record_is_refused() -> None:
    with pytest.raises(ModelError, match="type 77"):
        Model().apply(TxnEntry(TxnHeader(1, 1, 1, 1, 77), Txn(1, b""), None, b""))  # type: ignore[arg-type]


def test_a_copy_is_independent() -> None:
    model = Model()
    model.apply(create(1, "/a", 1))
    twin = model.copy()
    twin.apply(create(2, "/b", 2))
    assert "/b" not in model.nodes
    assert twin.digest != model.digest
