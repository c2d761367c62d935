"""A txn and the one encoding that the log, PROPOSAL, INFORM and publishers share.

The bytes are TxnHeader, the body that the header's type names, and (if the leader keeps digests) TxnDigest.
They are made once, by the leader's ``encode_txn``; everyone else keeps the bytes beside what
``decode_txn`` read.  Source: upstream ``SerializeUtils.deserializeTxn``, ``Request.getSerializeData``.
"""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from zabra.jute.primitives import EndOfData, JuteError, Reader, Writer
from zabra.proto import codes
from zabra.proto.records import (
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    CreateTxnV0,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    TxnDigest,
    TxnHeader,
)

DIGEST_VERSION: Final = 2
# The digest of a node is not known.
NO_DIGEST: Final = -1

# What may stand behind a header; None: closeSession written with closeSessionTxn.enabled=false.
TxnRecord = (
    CreateTxn
    | CreateContainerTxn
    | CreateTTLTxn
    | DeleteTxn
    | SetDataTxn
    | SetACLTxn
    | CheckVersionTxn
    | MultiTxn
    | CreateSessionTxn
    | CloseSessionTxn
    | ErrorTxn
    | None
)


@mypyc_attr(acyclic=True)
class TxnEntry:
    """One txn: header, record, optional digest, and ``raw``, the bytes that stand for all of it.

    The server that made it knows what ``node_digest`` will be, of the node that a setData or create leaves,
    and ``parent_digest``, of the parent of what is created: applying it need not compute them again.
    """

    __slots__ = ("digest", "header", "node_digest", "parent_digest", "raw", "record")

    def __init__(
        self, header: TxnHeader, record: TxnRecord, digest: TxnDigest | None, raw: bytes
    ) -> None:
        self.header: TxnHeader = header
        self.record: TxnRecord = record
        self.digest: TxnDigest | None = digest
        self.raw: bytes = raw
        self.node_digest: i64 = NO_DIGEST
        self.parent_digest: i64 = NO_DIGEST

    def __repr__(self) -> str:
        return f"TxnEntry({self.header!r}, {self.record!r}, {self.digest!r})"


def encode_record(record: TxnRecord, w: Writer) -> None:
    """Writes the body of a txn; None is zero bytes."""
    if record is not None:
        record.encode(w)


def encode_txn(header: TxnHeader, record: TxnRecord, digest: TxnDigest | None) -> TxnEntry:
    """Makes the entry, and its bytes for the only time."""
    w = Writer()
    header.encode(w)
    encode_record(record, w)
    if digest is not None:
        digest.encode(w)
    return TxnEntry(header, record, digest, w.getvalue())


def _decode_create(r: Reader) -> CreateTxn:
    """CreateTxn, or the older form without parentCVersion (read as -1)."""
    start = r.pos
    try:
        return CreateTxn.decode(r)
    except EndOfData:
        r.pos = start
        old = CreateTxnV0.decode(r)
        return CreateTxn(old.path, old.data, old.acl, old.ephemeral, -1)


def decode_record(kind: int, r: Reader) -> TxnRecord:
    """Reads the body of a txn of type ``kind``.  Raises JuteError for a type no txn has."""
    if kind == codes.OP_SET_DATA or kind == codes.OP_RECONFIG:
        return SetDataTxn.decode(r)
    if kind == codes.OP_CREATE or kind == codes.OP_CREATE2:
        return _decode_create(r)
    if kind == codes.OP_DELETE or kind == codes.OP_DELETE_CONTAINER:
        return DeleteTxn.decode(r)
    if kind == codes.OP_ERROR:
        return ErrorTxn.decode(r)
    if kind == codes.OP_CREATE_SESSION:
        return CreateSessionTxn.decode(r)
    if kind == codes.OP_CLOSE_SESSION:
        return CloseSessionTxn.decode(r) if r.remaining() > 0 else None
    if kind == codes.OP_MULTI:
        return MultiTxn.decode(r)
    if kind == codes.OP_SET_ACL:
        return SetACLTxn.decode(r)
    if kind == codes.OP_CREATE_CONTAINER:
        return CreateContainerTxn.decode(r)
    if kind == codes.OP_CREATE_TTL:
        return CreateTTLTxn.decode(r)
    if kind == codes.OP_CHECK:
        return CheckVersionTxn.decode(r)
    raise JuteError(f"unsupported txn type {kind}")


def decode_txn(raw: bytes) -> TxnEntry:
    """Reads a whole txn and keeps its bytes.  Raises JuteError where they are not one."""
    r = Reader(raw)
    header = TxnHeader.decode(r)
    record = decode_record(header.type, r)
    digest = TxnDigest.decode(r) if r.remaining() >= 12 else None
    return TxnEntry(header, record, digest, raw)


def decode_header(raw: bytes) -> TxnHeader:
    """Only the header of a txn."""
    return TxnHeader.decode(Reader(raw))
