"""One encoding per txn, read back whole; bytes that Apache ZooKeeper wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.jute.primitives import JuteError, Writer
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    CreateTxnV0,
    DeleteTxn,
    ErrorTxn,
    Id,
    MultiTxn,
    SetDataTxn,
    Txn,
    TxnDigest,
    TxnHeader,
)
from zabra.proto.txn import decode_header, decode_txn, encode_txn

OPEN = [ACL(31, Id("world", "anyone"))]
# A createSession txn with its digest, from the log of Apache ZooKeeper 3.8.
FROM_JAVA = bytes.fromhex(
    "0300000001234567" "00000000" "0000000100000001" "000001a2021caee1" "fffffff6" "00002710"
    "00000002" "0000000051c6d660"
)
RECORDS = [
    (codes.OP_CREATE_SESSION, CreateSessionTxn(10_000)),
    (codes.OP_CLOSE_SESSION, CloseSessionTxn(["/e"])),
    (codes.OP_CREATE, CreateTxn("/a", b"x", OPEN, False, 1)),
    (codes.OP_DELETE, DeleteTxn("/a")),
    (codes.OP_SET_DATA, SetDataTxn("/a", None, 2)),
    (codes.OP_RECONFIG, SetDataTxn("/zookeeper/config", b"c", -1)),
    (codes.OP_MULTI, MultiTxn([Txn(codes.OP_ERROR, b"\0\0\0\0")])),
    (codes.OP_ERROR, ErrorTxn(-101)),
]


@pytest.mark.parametrize(("kind", "record"), RECORDS)
@pytest.mark.parametrize("digest", [None, TxnDigest(2, -5)])
def test_what_is_encoded_is_read(kind, record, digest):
    entry = encode_txn(TxnHeader(1, 2, 3, 4, kind), record, digest)
    again = decode_txn(entry.raw)
    assert (again.header, again.record, again.digest, again.raw) == (
        entry.header, record, digest, entry.raw,
    )
    assert decode_header(entry.raw) == entry.header


def test_java_bytes():
    entry = decode_txn(FROM_JAVA)
    kind = codes.OP_CREATE_SESSION
    assert entry.header == TxnHeader(0x0300000001234567, 0, 0x100000001, 0x1A2021CAEE1, kind)
    assert entry.record == CreateSessionTxn(10_000)
    assert entry.digest == TxnDigest(2, 0x51C6D660)
    assert encode_txn(entry.header, entry.record, entry.digest).raw == FROM_JAVA


def test_a_close_session_without_a_list_and_a_create_of_old():
    closing = encode_txn(TxnHeader(1, 2, 3, 4, codes.OP_CLOSE_SESSION), None, None)
    assert decode_txn(closing.raw).record is None
    w = Writer()
    TxnHeader(1, 2, 3, 4, codes.OP_CREATE).encode(w)
    CreateTxnV0("/a", b"x", OPEN, True).encode(w)
    assert decode_txn(w.getvalue()).record == CreateTxn("/a", b"x", OPEN, True, -1)


@pytest.mark.parametrize("kind", [0, 3, 99, -12])
def test_a_type_that_no_txn_has(kind):
    with pytest.raises(JuteError, match="unsupported"):
        decode_txn(encode_txn(TxnHeader(1, 2, 3, 4, kind), DeleteTxn("/a"), None).raw)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_read_or_refused(raw):
    try:
        decode_txn(raw)
    except JuteError:
        return
