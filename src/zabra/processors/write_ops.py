"""The operations that become txns.  The order of the checks decides which error a client sees, so it is
upstream's (``PrepRequestProcessor.pRequest2Txn``), op by op.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import JuteError, Reader, Writer
from zabra.processors.operation import KIND_INTERNAL, KIND_SESSION, KIND_WRITE, Operation
from zabra.processors.outstanding import ChangeRecord
from zabra.processors.prep import Prep
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import (
    ACL,
    CheckVersionRequest,
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateRequest,
    CreateSessionTxn,
    CreateTTLRequest,
    CreateTTLTxn,
    CreateTxn,
    DeleteRequest,
    DeleteTxn,
    ErrorTxn,
    MultiHeader,
    MultiTxn,
    SetACLRequest,
    SetACLTxn,
    SetDataRequest,
    SetDataTxn,
    Txn,
)
from zabra.proto.request import OWNER_NONE, Request
from zabra.proto.txn import TxnRecord, encode_record
from zabra.tree.datatree import DataTree, TxnResult, signed32
from zabra.tree.ephemerals import CONTAINER_OWNER, TTL_MAX_MS, ttl_owner
from zabra.tree.paths import parent_path, sequence_suffix, validate_path

ANY_VERSION: Final = -1
NO_TTL: Final = -1

PROTECTED_PATHS: Final = {
    "/": True,
    "/zookeeper": True,
    "/zookeeper/quota": True,
    "/zookeeper/config": True,
}


def check_version(current: i64, expected: i64, path: str) -> i64:
    """The version after this change.  Raises BADVERSION unless ``expected`` is -1 or ``current``."""
    if expected != ANY_VERSION and expected != current:
        raise KeeperError(codes.ERR_BAD_VERSION, path)
    following = current + 1
    # Versions are 32-bit and wrap as Java's do.
    return following - 0x100000000 if following > 0x7FFFFFFF else following


def parent_for_create(path: str) -> str:
    """The parent a create names.  Raises BADARGUMENTS as upstream's validateCreateRequest does."""
    slash = path.rfind("/")
    if slash == -1 or "\x00" in path:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)
    return path[:slash] if slash > 0 else "/"


def parent_for_delete(path: str) -> str:
    """The parent of a node to delete.  Raises BADARGUMENTS for nodes that must stay."""
    slash = path.rfind("/")
    if slash == -1 or "\x00" in path or path in PROTECTED_PATHS:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)
    return path[:slash] if slash > 0 else "/"


# What a create makes.  The operation decides, not the flags: op create with the flags of a container makes an
# ordinary node, op createContainer makes a container whatever the flags say.
MAKES_NODE: Final = 0
MAKES_CONTAINER: Final = 1
MAKES_TTL_NODE: Final = 2


class CreateArgs:
    """What all create-like requests have in common; ``ttl_ms`` is -1 where the op carries none."""

    __slots__ = ("acl", "data", "flags", "makes", "path", "ttl_ms")

    def __init__(
        self, path: str, data: bytes | None, acl: list[ACL], flags: i64, ttl_ms: i64, makes: i64
    ) -> None:
        self.makes: i64 = makes
        self.path: str = path
        self.data: bytes | None = data
        self.acl: list[ACL] = acl
        self.flags: i64 = flags
        self.ttl_ms: i64 = ttl_ms


def is_ephemeral_mode(flags: i64) -> bool:
    """EPHEMERAL or EPHEMERAL_SEQUENTIAL."""
    return flags == codes.MODE_EPHEMERAL or flags == codes.MODE_EPHEMERAL_SEQUENTIAL


def is_sequential_mode(flags: i64) -> bool:
    """One of the three modes that append the parent's counter."""
    return (
        flags == codes.MODE_PERSISTENT_SEQUENTIAL
        or flags == codes.MODE_EPHEMERAL_SEQUENTIAL
        or flags == codes.MODE_PERSISTENT_SEQUENTIAL_WITH_TTL
    )


def is_ttl_mode(flags: i64) -> bool:
    """One of the two modes that carry a ttl."""
    return flags == codes.MODE_PERSISTENT_WITH_TTL or flags == codes.MODE_PERSISTENT_SEQUENTIAL_WITH_TTL


def check_mode(prep: Prep, args: CreateArgs) -> None:
    """Raises BADARGUMENTS for an unknown mode or ttl, UNIMPLEMENTED where ttl nodes are off."""
    flags = args.flags
    if flags < codes.MODE_PERSISTENT or flags > codes.MODE_PERSISTENT_SEQUENTIAL_WITH_TTL:
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, args.path)
    if is_ttl_mode(flags):
        if not prep.rules.extended_types_enabled:
            raise KeeperError(codes.ERR_UNIMPLEMENTED, args.path)
        if args.ttl_ms <= 0 or args.ttl_ms > TTL_MAX_MS:
            raise KeeperError(codes.ERR_BAD_ARGUMENTS, args.path)
    elif args.ttl_ms != NO_TTL or args.makes == MAKES_TTL_NODE:
        # Upstream lets a negative ttl with plain flags pass and dies while applying it.
        raise KeeperError(codes.ERR_BAD_ARGUMENTS, args.path)


def owner_for(prep: Prep, args: CreateArgs, session_id: i64) -> i64:
    """The ephemeralOwner that encodes the node's kind."""
    if args.makes == MAKES_CONTAINER:
        return CONTAINER_OWNER
    if args.makes == MAKES_TTL_NODE:
        return ttl_owner(args.ttl_ms)
    return session_id if is_ephemeral_mode(args.flags) else 0


def check_create_quota(prep: Prep, path: str, data: bytes | None) -> None:
    """Raises QUOTAEXCEEDED where the new node would break a hard limit that is enforced."""
    size = 0 if data is None else len(data)
    if prep.tree.quota.violates(path, size, 1):
        prep.refuse_for_quota(path)


def create_txn(args: CreateArgs, path: str, acl: list[ACL], parent_cversion: i64) -> TxnRecord:
    """The record of the node to be made."""
    if args.makes == MAKES_CONTAINER:
        return CreateContainerTxn(path, args.data, acl, parent_cversion)
    if args.makes == MAKES_TTL_NODE:
        return CreateTTLTxn(path, args.data, acl, parent_cversion, args.ttl_ms)
    return CreateTxn(path, args.data, acl, is_ephemeral_mode(args.flags), parent_cversion)


def prep_create(prep: Prep, request: Request, args: CreateArgs) -> TxnRecord:
    """Any of the four create operations."""
    check_mode(prep, args)
    if is_ephemeral_mode(args.flags):
        prep.check_global_session(request)
    else:
        prep.check_session(request)
    path = args.path
    parent_of = parent_for_create(path)
    acl = prep.providers.fixup_acl(args.acl, request.ids)
    parent = prep.require(parent_of)
    prep.require_acl(parent.acl, codes.PERM_CREATE, request.ids, path)
    if is_sequential_mode(args.flags):
        path += sequence_suffix(parent.cversion)
    validate_path(path)
    if prep.find(path) is not None:
        raise KeeperError(codes.ERR_NODE_EXISTS, path)
    if prep.tree.types.session_owner(parent.ephemeral_owner) != 0:
        raise KeeperError(codes.ERR_NO_CHILDREN_FOR_EPHEMERALS, path)
    check_create_quota(prep, path, args.data)
    parent.cversion = signed32(parent.cversion + 1)
    parent.child_count += 1
    parent.pzxid = prep.zxid
    prep.put(parent, False)
    prep.put(new_node(prep, args, path, acl, request.session_id), True)
    return create_txn(args, path, acl, parent.cversion)


def new_node(prep: Prep, args: CreateArgs, path: str, acl: list[ACL], session_id: i64) -> ChangeRecord:
    """The record of a node that the current txn makes."""
    node = ChangeRecord(prep.zxid, path, args.data, acl)
    node.czxid = node.mzxid = node.pzxid = prep.zxid
    node.ctime = node.mtime = prep.now_ms
    node.ephemeral_owner = owner_for(prep, args, session_id)
    return node


def write_path_and_stat(result: TxnResult, w: Writer) -> None:
    """Body of Create2Response."""
    w.write_ustring(result.path)
    result.encode_stat(w)


class Create(Operation):
    """create: answers with the path."""

    def validate(self, body: bytes) -> None:
        CreateRequest.decode(Reader(body))

    def makes_ephemeral(self, body: bytes) -> bool:
        return is_ephemeral_mode(CreateRequest.decode(Reader(body)).flags)

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        record = CreateRequest.decode(r)
        makes = MAKES_CONTAINER if self.code == codes.OP_CREATE_CONTAINER else MAKES_NODE
        args = CreateArgs(record.path, record.data, record.acl, record.flags, NO_TTL, makes)
        return prep_create(prep, request, args)

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        w.write_ustring(result.path)


class Create2(Create):
    """create2 and createContainer: answer with path and stat."""

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        write_path_and_stat(result, w)


class CreateTTL(Operation):
    """createTTL: answers with path and stat."""

    def validate(self, body: bytes) -> None:
        CreateTTLRequest.decode(Reader(body))

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        record = CreateTTLRequest.decode(r)
        args = CreateArgs(record.path, record.data, record.acl, record.flags, record.ttl, MAKES_TTL_NODE)
        return prep_create(prep, request, args)

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        write_path_and_stat(result, w)


class CreatePart(Create):
    """A create in a multi: there the flags of a container do make one."""

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        record = CreateRequest.decode(r)
        container = self.code == codes.OP_CREATE_CONTAINER or record.flags == codes.MODE_CONTAINER
        makes = MAKES_CONTAINER if container else MAKES_NODE
        args = CreateArgs(record.path, record.data, record.acl, record.flags, NO_TTL, makes)
        return prep_create(prep, request, args)


class CreateTTLPart(CreateTTL):
    """A createTTL in a multi: with flags that have no ttl it is a create, and the ttl counts for nothing."""

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        record = CreateTTLRequest.decode(r)
        flags = record.flags
        if is_ttl_mode(flags):
            args = CreateArgs(record.path, record.data, record.acl, flags, record.ttl, MAKES_TTL_NODE)
        else:
            makes = MAKES_CONTAINER if flags == codes.MODE_CONTAINER else MAKES_NODE
            args = CreateArgs(record.path, record.data, record.acl, flags, NO_TTL, makes)
        return prep_create(prep, request, args)


def remove_from_parent(prep: Prep, parent: ChangeRecord, node: ChangeRecord) -> None:
    """Records that the current txn deletes ``node``."""
    parent.child_count -= 1
    parent.pzxid = prep.zxid
    prep.put(parent, False)
    node.exists = False
    prep.put(node, False)


class Delete(Operation):
    """delete."""

    def validate(self, body: bytes) -> None:
        DeleteRequest.decode(Reader(body))

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        prep.check_session(request)
        record = DeleteRequest.decode(r)
        path = record.path
        parent = prep.require(parent_for_delete(path))
        prep.require_acl(parent.acl, codes.PERM_DELETE, request.ids, path)
        node = prep.require(path)
        check_version(node.version, record.version, path)
        if node.child_count > 0:
            raise KeeperError(codes.ERR_NOT_EMPTY, path)
        remove_from_parent(prep, parent, node)
        return DeleteTxn(path)


class DeleteContainer(Operation):
    """deleteContainer: the leader's collector removes an empty container or an expired ttl node."""

    def validate(self, body: bytes) -> None:
        Reader(body).read_ustring()

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        path = r.read_ustring()
        parent = prep.require(parent_for_delete(path))
        node = prep.require(path)
        if node.child_count > 0:
            raise KeeperError(codes.ERR_NOT_EMPTY, path)
        if prep.tree.types.session_owner(node.ephemeral_owner) != 0:
            raise KeeperError(codes.ERR_BAD_VERSION, path)
        remove_from_parent(prep, parent, node)
        return DeleteTxn(path)


class SetData(Operation):
    """setData."""

    def validate(self, body: bytes) -> None:
        SetDataRequest.decode(Reader(body))

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        prep.check_session(request)
        record = SetDataRequest.decode(r)
        path = record.path
        node = prep.find(path)
        if node is None:
            # Where there is a node its path is valid: most requests are spared the look at every character.
            validate_path(path)
            raise KeeperError(codes.ERR_NO_NODE, path)
        prep.require_acl(node.acl, codes.PERM_WRITE, request.ids, path)
        if prep.tree.quota.paths:
            self.check_quota(prep, node, record.data)
        node.version = check_version(node.version, record.version, path)
        node.data = record.data
        node.mzxid = prep.zxid
        node.mtime = prep.now_ms
        prep.put(node, False)
        return SetDataTxn(path, record.data, node.version)

    def check_quota(self, prep: Prep, node: ChangeRecord, data: bytes | None) -> None:
        """Raises QUOTAEXCEEDED where the growth of the data would break a hard limit that is enforced."""
        before = node.data
        old = 0 if before is None else len(before)
        new = 0 if data is None else len(data)
        if prep.tree.quota.violates(node.path, new - old, 0):
            prep.refuse_for_quota(node.path)

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        result.encode_stat(w)


class SetACL(Operation):
    """setACL."""

    def validate(self, body: bytes) -> None:
        SetACLRequest.decode(Reader(body))

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        prep.check_session(request)
        record = SetACLRequest.decode(r)
        path = record.path
        validate_path(path)
        acl = prep.providers.fixup_acl(record.acl, request.ids)
        node = prep.require(path)
        prep.require_acl(node.acl, codes.PERM_ADMIN, request.ids, path)
        node.aversion = check_version(node.aversion, record.version, path)
        node.acl = acl
        prep.put(node, False)
        return SetACLTxn(path, acl, node.aversion)

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        result.encode_stat(w)


class Check(Operation):
    """check: only inside a multi.  Alone it is refused before it comes here (ZK-2623)."""

    def validate(self, body: bytes) -> None:
        CheckVersionRequest.decode(Reader(body))

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        prep.check_session(request)
        record = CheckVersionRequest.decode(r)
        path = record.path
        validate_path(path)
        node = prep.require(path)
        prep.require_acl(node.acl, codes.PERM_READ, request.ids, path)
        return CheckVersionTxn(path, check_version(node.version, record.version, path))


class CreateSession(Operation):
    """createSession: the body is the negotiated timeout in ms."""

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        timeout_ms = r.read_int()
        prep.sessions.add(request.session_id, timeout_ms, prep.monotonic_ms)
        if request.owner != OWNER_NONE:
            prep.sessions.set_owner(request.session_id, request.owner)
        return CreateSessionTxn(timeout_ms)


class CloseSession(Operation):
    """closeSession: takes the session's ephemerals along, also those not applied yet."""

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        session_id = request.session_id
        paths = self.ephemerals(prep, session_id)
        for path in paths:
            node = prep.find(path)
            parent = prep.find(parent_path(path))
            if node is not None and parent is not None:
                remove_from_parent(prep, parent, node)
        prep.sessions.set_closing(session_id)
        return CloseSessionTxn(paths) if prep.rules.close_session_lists_paths else None

    def ephemerals(self, prep: Prep, session_id: i64) -> list[str]:
        """The paths owned once everything outstanding is applied, in the order they were made."""
        owned: dict[str, None] = {}
        for path in prep.tree.ephemerals.paths_of(session_id):
            owned[path] = None
        for record in prep.outstanding.in_order():
            if not record.exists:
                owned.pop(record.path, None)
            elif record.ephemeral_owner == session_id:
                owned[record.path] = None
        return list(owned)


class Multi(Operation):
    """multi: all of its operations or none, under one zxid."""

    def __init__(self, code: i64, name: str, kind: i64, parts: dict[int, Operation]) -> None:
        super().__init__(code, name, kind)
        # The rows of the operations that may stand in a multi.
        self.parts: dict[int, Operation] = parts

    def validate(self, body: bytes) -> None:
        r = Reader(body)
        while True:
            header = MultiHeader.decode(r)
            if header.done:
                return
            self.skip(header.type, r)

    def makes_ephemeral(self, body: bytes) -> bool:
        r = Reader(body)
        while True:
            header = MultiHeader.decode(r)
            if header.done:
                return False
            if header.type == codes.OP_CREATE or header.type == codes.OP_CREATE2:
                if is_ephemeral_mode(CreateRequest.decode(r).flags):
                    return True
            else:
                self.skip(header.type, r)

    def skip(self, op: i64, r: Reader) -> None:
        """Moves past one sub-request.  Raises JuteError for one that a multi may not have."""
        if op == codes.OP_CREATE_TTL:
            CreateTTLRequest.decode(r)
        elif op == codes.OP_CREATE or op == codes.OP_CREATE2 or op == codes.OP_CREATE_CONTAINER:
            flags = CreateRequest.decode(r).flags
            # Upstream finds these while it still decodes, so that the whole multi is malformed.
            if flags < codes.MODE_PERSISTENT or flags > codes.MODE_CONTAINER:
                raise JuteError(f"flags {flags} may not stand in a create of a multi")
        elif op == codes.OP_DELETE or op == codes.OP_CHECK:
            DeleteRequest.decode(r)
        elif op == codes.OP_SET_DATA:
            SetDataRequest.decode(r)
        else:
            raise JuteError(f"op {op} may not stand in a multi")

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        # Everything is decoded before anything is prepared: a malformed tail must leave no trace.
        self.validate(request.body)
        prep.outstanding.begin()
        digest = prep.digest
        txns: list[Txn] = []
        failure = 0
        while True:
            header = MultiHeader.decode(r)
            if header.done:
                break
            if failure != 0:
                self.skip(header.type, r)
                txns.append(error_part(codes.ERR_RUNTIME_INCONSISTENCY))
                continue
            try:
                record = self.parts[header.type].prep(prep, request, r)
                txns.append(Txn(part_type(header.type, record), encode_part(record)))
            except KeeperError as error:
                failure = error.code
                # The part may have failed before its body was read to the end.
                txns.append(error_part(failure))
                r = self.reader_after(request.body, len(txns))
        if failure != 0:
            prep.outstanding.rollback()
            prep.digest = digest
        else:
            prep.outstanding.commit()
        return MultiTxn(txns)

    def reader_after(self, body: bytes, parts: int) -> Reader:
        """A reader positioned behind the first ``parts`` sub-requests."""
        r = Reader(body)
        while parts > 0:
            header = MultiHeader.decode(r)
            self.skip(header.type, r)
            parts -= 1
        return r

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        parts = result.results
        if parts is not None:
            for part in parts:
                self.reply_part(part, w)
        MultiHeader(-1, True, -1).encode(w)

    def reply_part(self, part: TxnResult, w: Writer) -> None:
        """One MultiHeader and result: ErrorResponse, a path, a path and stat, or a stat."""
        kind = part.type
        if kind == codes.OP_ERROR:
            MultiHeader(codes.OP_ERROR, False, part.err).encode(w)
            w.write_int(part.err)
            return
        if kind == codes.OP_CREATE_CONTAINER or kind == codes.OP_CREATE_TTL:
            kind = codes.OP_CREATE2
        MultiHeader(kind, False, codes.OK).encode(w)
        if kind == codes.OP_CREATE:
            w.write_ustring(part.path)
        elif kind == codes.OP_CREATE2:
            write_path_and_stat(part, w)
        elif kind == codes.OP_SET_DATA:
            part.encode_stat(w)


def part_type(op: i64, record: TxnRecord) -> i64:
    """The type a part has in the txn: that of its record where a create's flags chose another."""
    if isinstance(record, CreateContainerTxn):
        return codes.OP_CREATE_CONTAINER
    if isinstance(record, CreateTTLTxn):
        return codes.OP_CREATE_TTL
    if isinstance(record, CreateTxn):
        return codes.OP_CREATE2 if op == codes.OP_CREATE2 else codes.OP_CREATE
    return op


def encode_part(record: TxnRecord) -> bytes:
    """The body of one part of a MultiTxn."""
    w = Writer()
    encode_record(record, w)
    return w.getvalue()


def error_part(code: i64) -> Txn:
    """The part that stands for a refusal."""
    w = Writer()
    ErrorTxn(code).encode(w)
    return Txn(codes.OP_ERROR, w.getvalue())


def write_rows() -> list[Operation]:
    """The rows of all operations that become txns."""
    create = Create(codes.OP_CREATE, "create", KIND_WRITE)
    create2 = Create2(codes.OP_CREATE2, "create2", KIND_WRITE)
    container = Create2(codes.OP_CREATE_CONTAINER, "createContainer", KIND_WRITE)
    ttl = CreateTTL(codes.OP_CREATE_TTL, "createTTL", KIND_WRITE)
    delete = Delete(codes.OP_DELETE, "delete", KIND_WRITE)
    set_data = SetData(codes.OP_SET_DATA, "setData", KIND_WRITE)
    check = Check(codes.OP_CHECK, "check", KIND_INTERNAL)
    parts: list[Operation] = [create, create2, container, ttl, delete, set_data, check]
    by_code: dict[int, Operation] = {
        codes.OP_CREATE: CreatePart(codes.OP_CREATE, "create", KIND_WRITE),
        codes.OP_CREATE2: CreatePart(codes.OP_CREATE2, "create2", KIND_WRITE),
        codes.OP_CREATE_CONTAINER: CreatePart(codes.OP_CREATE_CONTAINER, "createContainer", KIND_WRITE),
        codes.OP_CREATE_TTL: CreateTTLPart(codes.OP_CREATE_TTL, "createTTL", KIND_WRITE),
        codes.OP_DELETE: delete,
        codes.OP_SET_DATA: set_data,
        codes.OP_CHECK: check,
    }
    rows: list[Operation] = [
        *parts,
        Multi(codes.OP_MULTI, "multi", KIND_WRITE, by_code),
        SetACL(codes.OP_SET_ACL, "setACL", KIND_WRITE),
        DeleteContainer(codes.OP_DELETE_CONTAINER, "deleteContainer", KIND_INTERNAL),
        CreateSession(codes.OP_CREATE_SESSION, "createSession", KIND_INTERNAL),
        CloseSession(codes.OP_CLOSE_SESSION, "closeSession", KIND_SESSION),
    ]
    return rows
