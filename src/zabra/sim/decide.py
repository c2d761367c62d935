"""What a leader must decide about a request, worked out from the model alone.

``decide`` gives the txn record that the request has to become, or raises the ``KeeperError`` that it has to
be refused with, the order of the checks included.  Naive on purpose: a multi is tried on a copy of the model.
"""

from typing import Final

from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import (
    ACL,
    CheckVersionRequest,
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateRequest,
    CreateTTLRequest,
    CreateTTLTxn,
    CreateTxn,
    DeleteRequest,
    DeleteTxn,
    ErrorTxn,
    Id,
    MultiHeader,
    MultiTxn,
    SetACLRequest,
    SetACLTxn,
    SetDataRequest,
    SetDataTxn,
    Txn,
    TxnHeader,
)
from zabra.proto.txn import TxnEntry, TxnRecord, encode_record
from zabra.sim.model import Model, Node, wrap32

RESERVED: Final = ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config")
_SEQUENTIAL: Final = (
    codes.MODE_PERSISTENT_SEQUENTIAL,
    codes.MODE_EPHEMERAL_SEQUENTIAL,
    codes.MODE_PERSISTENT_SEQUENTIAL_WITH_TTL,
)
_EPHEMERAL: Final = (codes.MODE_EPHEMERAL, codes.MODE_EPHEMERAL_SEQUENTIAL)
_WITH_TTL: Final = (codes.MODE_PERSISTENT_WITH_TTL, codes.MODE_PERSISTENT_SEQUENTIAL_WITH_TTL)
_FORBIDDEN_RANGES: Final = ((0x01, 0x1F), (0x7F, 0x9F), (0xD800, 0xF8FF), (0xFFF0, 0xFFFF))
_MAX_TTL_MS: Final = 0xFFFFFFFFFF


class Asker:
    """Who asks: session, ids, and whether ttl nodes are allowed there."""

    def __init__(
        self, session_id: int, ids: list[Id], extended_types: bool, local_sessions: bool = False
    ) -> None:
        self.session_id = session_id
        self.ids = ids
        self.extended_types = extended_types
        self.local_sessions = local_sessions


def may(acl: list[ACL], perms: int, ids: list[Id]) -> bool:
    """Whether one of ``ids`` has one of ``perms``."""
    if not acl or any(one.scheme == "super" for one in ids):
        return True
    for entry in acl:
        if entry.perms & perms:
            if entry.id == Id("world", "anyone") or any(one == entry.id for one in ids):
                return True
    return False


def require(acl: list[ACL], perms: int, ids: list[Id], path: str) -> None:
    """Raises NOAUTH."""
    if not may(acl, perms, ids):
        raise KeeperError(codes.ERR_NO_AUTH, path)


def require_node(model: Model, path: str) -> Node:
    """Raises NONODE."""
    node = model.nodes.get(path)
    if node is None:
        raise KeeperError(codes.ERR_NO_NODE, path)
    return node


def validate_path(path: str) -> None:
    """Raises BADARGUMENTS."""
    good = path.startswith("/") and (path == "/" or not path.endswith("/"))
    if good and path != "/":
        good = all(part not in ("", ".", "..") for part in path[1:].split("/"))
    for char in path:
        code = ord(char)
        if code == 0 or any(low <= code <= high for low, high in _FORBIDDEN_RANGES):
            good = False
    if not good:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)


def parent_path(path: str) -> str:
    """The parent that a request names.  Raises BADARGUMENTS."""
    if "/" not in path or "\x00" in path:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)
    return path[: path.rfind("/")] or "/"


def fix_acl(acl: list[ACL], ids: list[Id]) -> list[ACL]:
    """Doubles dropped, ``auth`` replaced.  Raises INVALIDACL."""
    out: list[ACL] = []
    for entry in acl:
        if entry.id.scheme == "auth":
            own = [ACL(entry.perms, one) for one in ids if one.scheme == "digest"]
            if not own:
                raise KeeperError(codes.ERR_INVALID_ACL)
            out += [one for one in own if one not in out]
        elif entry.id.scheme not in ("world", "digest", "ip"):
            raise KeeperError(codes.ERR_INVALID_ACL)
        elif entry not in out:
            out.append(entry)
    if not out:
        raise KeeperError(codes.ERR_INVALID_ACL)
    return out


def next_version(current: int, expected: int, path: str) -> int:
    """Raises BADVERSION."""
    if expected != -1 and expected != current:
        raise KeeperError(codes.ERR_BAD_VERSION, path)
    return wrap32(current + 1)


def check_session(model: Model, asker: Asker) -> None:
    """Raises SESSIONEXPIRED."""
    if asker.session_id not in model.sessions and not asker.local_sessions:
        raise KeeperError(codes.ERR_SESSION_EXPIRED)


def decide(model: Model, op: int, r: Reader, asker: Asker) -> TxnRecord:
    """The record of the txn.  Raises KeeperError."""
    if op in (codes.OP_CREATE, codes.OP_CREATE2, codes.OP_CREATE_CONTAINER):
        made = CreateRequest.decode(r)
        return _create(model, made.path, made.data, made.acl, made.flags, -1, asker)
    if op == codes.OP_CREATE_TTL:
        ttl = CreateTTLRequest.decode(r)
        return _create(model, ttl.path, ttl.data, ttl.acl, ttl.flags, ttl.ttl, asker)
    if op == codes.OP_MULTI:
        return _multi(model, r, asker)
    if op == codes.OP_CLOSE_SESSION:
        return CloseSessionTxn(model.ephemerals_of(asker.session_id))
    check_session(model, asker)
    if op == codes.OP_DELETE:
        return _delete(model, DeleteRequest.decode(r), asker)
    if op == codes.OP_SET_DATA:
        return _set_data(model, SetDataRequest.decode(r), asker)
    if op == codes.OP_SET_ACL:
        return _set_acl(model, SetACLRequest.decode(r), asker)
    if op == codes.OP_CHECK:
        return _check(model, CheckVersionRequest.decode(r), asker)
    raise AssertionError(f"op {op} makes no txn")


def _create(
    model: Model, path: str, data: bytes | None, acl: list[ACL], flags: int, ttl: int, asker: Asker
) -> TxnRecord:
    if not 0 <= flags <= 6:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)
    if flags in _WITH_TTL:
        if not asker.extended_types:
            raise KeeperError(codes.ERR_UNIMPLEMENTED, path)
        if not 0 < ttl <= _MAX_TTL_MS:
            raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)
    elif ttl != -1:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)
    check_session(model, asker)
    if flags in _EPHEMERAL and asker.session_id not in model.sessions:
        raise KeeperError(codes.ERR_SESSION_EXPIRED, path)
    above = parent_path(path)
    acl = fix_acl(acl, asker.ids)
    parent = require_node(model, above)
    require(parent.acl, codes.PERM_CREATE, asker.ids, path)
    if flags in _SEQUENTIAL:
        path += f"{parent.cversion:010d}"
    validate_path(path)
    if path in model.nodes:
        raise KeeperError(codes.ERR_NODE_EXISTS, path)
    if parent.is_ephemeral():
        raise KeeperError(codes.ERR_NO_CHILDREN_FOR_EPHEMERALS, path)
    cversion = wrap32(parent.cversion + 1)
    if flags == codes.MODE_CONTAINER:
        return CreateContainerTxn(path, data, acl, cversion)
    if flags in _WITH_TTL:
        return CreateTTLTxn(path, data, acl, cversion, ttl)
    return CreateTxn(path, data, acl, flags in _EPHEMERAL, cversion)


def _delete(model: Model, asked: DeleteRequest, asker: Asker) -> TxnRecord:
    path = asked.path
    above = parent_path(path)
    if path in RESERVED:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)
    require(require_node(model, above).acl, codes.PERM_DELETE, asker.ids, path)
    node = require_node(model, path)
    next_version(node.version, asked.version, path)
    if node.children:
        raise KeeperError(codes.ERR_NOT_EMPTY, path)
    return DeleteTxn(path)


def _set_data(model: Model, asked: SetDataRequest, asker: Asker) -> TxnRecord:
    validate_path(asked.path)
    node = require_node(model, asked.path)
    require(node.acl, codes.PERM_WRITE, asker.ids, asked.path)
    return SetDataTxn(asked.path, asked.data, next_version(node.version, asked.version, asked.path))


def _set_acl(model: Model, asked: SetACLRequest, asker: Asker) -> TxnRecord:
    validate_path(asked.path)
    acl = fix_acl(asked.acl, asker.ids)
    node = require_node(model, asked.path)
    require(node.acl, codes.PERM_ADMIN, asker.ids, asked.path)
    return SetACLTxn(asked.path, acl, next_version(node.aversion, asked.version, asked.path))


def _check(model: Model, asked: CheckVersionRequest, asker: Asker) -> TxnRecord:
    validate_path(asked.path)
    node = require_node(model, asked.path)
    require(node.acl, codes.PERM_READ, asker.ids, asked.path)
    return CheckVersionTxn(asked.path, next_version(node.version, asked.version, asked.path))


def _part_type(op: int, record: TxnRecord) -> int:
    if isinstance(record, CreateContainerTxn):
        return codes.OP_CREATE_CONTAINER
    if isinstance(record, CreateTTLTxn):
        return codes.OP_CREATE_TTL
    return op


def _part(kind: int, record: TxnRecord) -> Txn:
    w = Writer()
    encode_record(record, w)
    return Txn(kind, w.getvalue())


def _multi(model: Model, r: Reader, asker: Asker) -> TxnRecord:
    """Tried part by part on a copy; after the first failure the rest is not even looked at."""
    trial = model.copy()
    parts: list[Txn] = []
    failed = False
    for op, body in split_multi(r):
        if failed:
            parts.append(_part(codes.OP_ERROR, ErrorTxn(codes.ERR_RUNTIME_INCONSISTENCY)))
            continue
        try:
            record = decide(trial, op, Reader(body), asker)
        except KeeperError as error:
            failed = True
            parts.append(_part(codes.OP_ERROR, ErrorTxn(error.code)))
            continue
        kind = _part_type(op, record)
        trial.apply(TxnEntry(TxnHeader(asker.session_id, 0, trial.zxid + 1, 0, kind), record, None, b""))
        parts.append(_part(kind, record))
    return MultiTxn(parts)


def split_multi(r: Reader) -> list[tuple[int, bytes]]:
    """(op, body) of each part."""
    out: list[tuple[int, bytes]] = []
    while True:
        header = MultiHeader.decode(r)
        if header.done:
            return out
        start = r.pos
        if header.type in (codes.OP_CREATE, codes.OP_CREATE2, codes.OP_CREATE_CONTAINER):
            CreateRequest.decode(r)
        elif header.type == codes.OP_CREATE_TTL:
            CreateTTLRequest.decode(r)
        elif header.type == codes.OP_DELETE:
            DeleteRequest.decode(r)
        elif header.type == codes.OP_SET_DATA:
            SetDataRequest.decode(r)
        else:
            CheckVersionRequest.decode(r)
        out.append((header.type, r.buf[start : r.pos]))
