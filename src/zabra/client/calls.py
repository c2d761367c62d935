"""Calls: one client request each, built from plain arguments and answered with a typed value.

A builder per operation (``get_data``, ``multi`` ...) gives a ``Call`` that a ``ClientSession`` sends.  The
call is ``done`` when its reply came or can no longer come; then ``err`` is a code of ``proto.codes`` and
``value`` what the reply's body said (None where ``err`` is not 0).  Source: upstream ``ZooKeeper`` (the
class) and ``ClientCnxn.Packet``.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from zabra.jute.primitives import JuteError, Reader, Writer
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import (
    ACL,
    AddWatchRequest,
    CheckVersionRequest,
    ClientInfo,
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    GetDataRequest,
    Id,
    MultiHeader,
    ReconfigRequest,
    RemoveWatchesRequest,
    SetACLRequest,
    SetDataRequest,
    Stat,
)

T = TypeVar("T")

OPEN_ACL: Final = [ACL(codes.PERM_ALL, Id("world", "anyone"))]
READ_ACL: Final = [ACL(codes.PERM_READ, Id("world", "anyone"))]
CREATOR_ACL: Final = [ACL(codes.PERM_ALL, Id("auth", ""))]

# Which table of WatchTable a call registers in once its reply says so.
WATCH_NONE: Final = 0
WATCH_DATA: Final = 1
WATCH_EXIST: Final = 2
WATCH_CHILD: Final = 3
WATCH_PERSISTENT: Final = 4
WATCH_RECURSIVE: Final = 5


class Call(Generic[T]):
    """One request: ``err`` and ``zxid`` are the reply's, ``reply`` its body, ``value`` that decoded."""

    __slots__ = (
        "answered",
        "body",
        "decode",
        "done",
        "err",
        "kind",
        "op",
        "path",
        "reply",
        "sent_ms",
        "tag",
        "value",
        "watch",
        "xid",
        "zxid",
    )

    def __init__(self, op: int, path: str, body: bytes, decode: Callable[[Reader], T]) -> None:
        self.op = op
        self.path = path
        self.body = body
        self.decode = decode
        self.xid = 0
        self.done = False
        # Whether a reply came: without one, what became of the request is unknown.
        self.answered = False
        self.reply = b""
        self.err = codes.OK
        self.zxid = 0
        self.value: T | None = None
        # A watch to register: where, and the watcher's handle.
        self.watch = WATCH_NONE
        self.kind = 0
        # The caller's own: whatever it wants to find again when the call is done.
        self.tag: object = None
        self.sent_ms = -1

    def result(self) -> T:
        """The value.  Raises KeeperError where the server, or the connection's loss, refused it."""
        assert self.done, "the call is not answered yet"
        if self.err != codes.OK:
            raise KeeperError(self.err, self.path)
        return self.value  # type: ignore[return-value]  # set whenever err is OK

    def __repr__(self) -> str:
        name = codes.OP_NAMES.get(self.op, str(self.op))
        outcome = f"err={self.err} value={self.value!r}" if self.done else "pending"
        return f"Call({name} {self.path} xid={self.xid} {outcome})"


def read_nothing(r: Reader) -> None:
    """The body of a reply that has none."""


def read_path_and_stat(r: Reader) -> tuple[str, Stat]:
    """create2 and its kin."""
    return r.read_ustring(), Stat.decode(r)


def read_data_and_stat(r: Reader) -> tuple[bytes | None, Stat]:
    """getData."""
    return r.read_buffer(), Stat.decode(r)


def read_children_and_stat(r: Reader) -> tuple[list[str], Stat]:
    """getChildren2."""
    return r.read_ustrings(), Stat.decode(r)


def read_acl_and_stat(r: Reader) -> tuple[list[ACL], Stat]:
    """getACL."""
    acl = [ACL.decode(r) for _ in range(r.read_count())]
    return acl, Stat.decode(r)


def read_infos(r: Reader) -> list[ClientInfo]:
    """whoAmI."""
    return [ClientInfo.decode(r) for _ in range(r.read_count())]


def _path_only(path: str) -> bytes:
    w = Writer()
    w.write_ustring(path)
    return w.getvalue()


def _path_and_flag(path: str, flag: bool) -> bytes:
    w = Writer()
    GetDataRequest(path, flag).encode(w)
    return w.getvalue()


def create_body(path: str, data: bytes | None, acl: list[ACL], flags: int) -> bytes:
    """CreateRequest, as create, create2, createContainer and their multi parts carry it."""
    w = Writer()
    CreateRequest(path, data, acl, flags).encode(w)
    return w.getvalue()


def create_ttl_body(path: str, data: bytes | None, acl: list[ACL], flags: int, ttl_ms: int) -> bytes:
    """CreateTTLRequest."""
    w = Writer()
    CreateTTLRequest(path, data, acl, flags, ttl_ms).encode(w)
    return w.getvalue()


def create(path: str, data: bytes | None, acl: list[ACL] = OPEN_ACL, flags: int = 0) -> Call[str]:
    """create: the reply is the path, with its sequence number."""
    return Call(codes.OP_CREATE, path, create_body(path, data, acl, flags), Reader.read_ustring)


def create2(
    path: str, data: bytes | None, acl: list[ACL] = OPEN_ACL, flags: int = 0
) -> Call[tuple[str, Stat]]:
    """create2: the path and the new node's stat."""
    return Call(codes.OP_CREATE2, path, create_body(path, data, acl, flags), read_path_and_stat)


def create_container(path: str, data: bytes | None, acl: list[ACL] = OPEN_ACL) -> Call[tuple[str, Stat]]:
    """createContainer."""
    body = create_body(path, data, acl, codes.MODE_CONTAINER)
    return Call(codes.OP_CREATE_CONTAINER, path, body, read_path_and_stat)


def create_ttl(
    path: str, data: bytes | None, ttl_ms: int, acl: list[ACL] = OPEN_ACL, sequential: bool = False
) -> Call[tuple[str, Stat]]:
    """createTTL: the node may be removed when it is childless and unmodified for ``ttl_ms``."""
    flags = codes.MODE_PERSISTENT_SEQUENTIAL_WITH_TTL if sequential else codes.MODE_PERSISTENT_WITH_TTL
    body = create_ttl_body(path, data, acl, flags, ttl_ms)
    return Call(codes.OP_CREATE_TTL, path, body, read_path_and_stat)


def delete(path: str, version: int = -1) -> Call[None]:
    """delete."""
    w = Writer()
    DeleteRequest(path, version).encode(w)
    return Call(codes.OP_DELETE, path, w.getvalue(), read_nothing)


def set_data(path: str, data: bytes | None, version: int = -1) -> Call[Stat]:
    """setData."""
    w = Writer()
    SetDataRequest(path, data, version).encode(w)
    return Call(codes.OP_SET_DATA, path, w.getvalue(), Stat.decode)


def set_acl(path: str, acl: list[ACL], version: int = -1) -> Call[Stat]:
    """setACL; ``version`` is the aversion."""
    w = Writer()
    SetACLRequest(path, acl, version).encode(w)
    return Call(codes.OP_SET_ACL, path, w.getvalue(), Stat.decode)


def exists(path: str, watcher: int = 0) -> Call[Stat]:
    """exists; ``watcher`` is a handle (0: no watch)."""
    call = Call(codes.OP_EXISTS, path, _path_and_flag(path, watcher != 0), Stat.decode)
    return _watching(call, WATCH_EXIST, watcher)


def get_data(path: str, watcher: int = 0) -> Call[tuple[bytes | None, Stat]]:
    """getData."""
    call = Call(codes.OP_GET_DATA, path, _path_and_flag(path, watcher != 0), read_data_and_stat)
    return _watching(call, WATCH_DATA, watcher)


def get_children(path: str, watcher: int = 0) -> Call[list[str]]:
    """getChildren: names in no particular order."""
    call = Call(codes.OP_GET_CHILDREN, path, _path_and_flag(path, watcher != 0), Reader.read_ustrings)
    return _watching(call, WATCH_CHILD, watcher)


def get_children2(path: str, watcher: int = 0) -> Call[tuple[list[str], Stat]]:
    """getChildren2."""
    call = Call(codes.OP_GET_CHILDREN2, path, _path_and_flag(path, watcher != 0), read_children_and_stat)
    return _watching(call, WATCH_CHILD, watcher)


def add_watch(path: str, watcher: int, recursive: bool) -> Call[int]:
    """addWatch, persistent or persistent recursive."""
    mode = codes.ADD_WATCH_PERSISTENT_RECURSIVE if recursive else codes.ADD_WATCH_PERSISTENT
    w = Writer()
    AddWatchRequest(path, mode).encode(w)
    call = Call(codes.OP_ADD_WATCH, path, w.getvalue(), Reader.read_int)
    return _watching(call, WATCH_RECURSIVE if recursive else WATCH_PERSISTENT, watcher)


def _watching(call: Call[T], kind: int, watcher: int) -> Call[T]:
    if watcher != 0:
        call.kind = kind
        call.watch = watcher
    return call


def remove_watches(path: str, watcher_type: int) -> Call[None]:
    """removeWatches of this connection; the session forgets them when the server agrees."""
    w = Writer()
    RemoveWatchesRequest(path, watcher_type).encode(w)
    call = Call(codes.OP_REMOVE_WATCHES, path, w.getvalue(), read_nothing)
    call.kind = watcher_type
    return call


def check_watches(path: str, watcher_type: int) -> Call[None]:
    """checkWatches: NOWATCHER unless one stands."""
    w = Writer()
    RemoveWatchesRequest(path, watcher_type).encode(w)
    return Call(codes.OP_CHECK_WATCHES, path, w.getvalue(), read_nothing)


def get_acl(path: str) -> Call[tuple[list[ACL], Stat]]:
    """getACL."""
    return Call(codes.OP_GET_ACL, path, _path_only(path), read_acl_and_stat)


def sync(path: str) -> Call[str]:
    """sync: the reply comes after everything the leader had committed when it was asked."""
    return Call(codes.OP_SYNC, path, _path_only(path), Reader.read_ustring)


def get_ephemerals(prefix: str = "/") -> Call[list[str]]:
    """getEphemerals of this session, by string prefix."""
    return Call(codes.OP_GET_EPHEMERALS, prefix, _path_only(prefix), Reader.read_ustrings)


def get_all_children_number(path: str) -> Call[int]:
    """getAllChildrenNumber: every descendant, the node itself not counted."""
    return Call(codes.OP_GET_ALL_CHILDREN_NUMBER, path, _path_only(path), Reader.read_int)


def who_am_i() -> Call[list[ClientInfo]]:
    """whoAmI."""
    return Call(codes.OP_WHO_AM_I, "", b"", read_infos)


def reconfig(
    joining: str | None = None,
    leaving: str | None = None,
    members: str | None = None,
    from_config: int = -1,
) -> Call[tuple[bytes | None, Stat]]:
    """reconfig: incremental (``joining``, ``leaving``) or whole (``members``)."""
    w = Writer()
    ReconfigRequest(joining, leaving, members, from_config).encode(w)
    return Call(codes.OP_RECONFIG, "/zookeeper/config", w.getvalue(), read_data_and_stat)


def close_session() -> Call[None]:
    """closeSession."""
    return Call(codes.OP_CLOSE_SESSION, "", b"", read_nothing)


class Part:
    """One operation of a multi: its opcode and encoded body."""

    __slots__ = ("body", "op", "path")

    def __init__(self, op: int, path: str, body: bytes) -> None:
        self.op = op
        self.path = path
        self.body = body


class PartResult:
    """What became of one part: ``err``, and of path, stat, data and children what its kind has."""

    __slots__ = ("children", "data", "err", "op", "path", "stat")

    def __init__(self, op: int, err: int) -> None:
        self.op = op
        self.err = err
        self.path = ""
        self.stat: Stat | None = None
        self.data: bytes | None = None
        self.children: list[str] = []

    def __repr__(self) -> str:
        return f"PartResult(op={self.op}, err={self.err}, path={self.path!r}, stat={self.stat!r})"


def part_of(call: Call[T]) -> Part:
    """A call as a part of a multi (create, delete, setData, getData, getChildren)."""
    return Part(call.op, call.path, call.body)


def check_part(path: str, version: int) -> Part:
    """check: the multi fails unless ``path`` has ``version`` (-1: exists)."""
    w = Writer()
    CheckVersionRequest(path, version).encode(w)
    return Part(codes.OP_CHECK, path, w.getvalue())


def _multi_body(parts: list[Part]) -> bytes:
    w = Writer()
    for part in parts:
        MultiHeader(part.op, False, -1).encode(w)
        w.write_raw(part.body)
    MultiHeader(-1, True, -1).encode(w)
    return w.getvalue()


def read_parts(r: Reader) -> list[PartResult]:
    """The reply to multi and multiRead."""
    out: list[PartResult] = []
    header = MultiHeader.decode(r)
    while not header.done:
        out.append(_read_part(header, r))
        header = MultiHeader.decode(r)
    return out


def _read_part(header: MultiHeader, r: Reader) -> PartResult:
    op = header.type
    part = PartResult(op, header.err)
    if op == codes.OP_ERROR:
        part.err = r.read_int()
    elif op == codes.OP_CREATE:
        part.path = r.read_ustring()
    elif op == codes.OP_CREATE2:
        part.path, part.stat = read_path_and_stat(r)
    elif op == codes.OP_SET_DATA:
        part.stat = Stat.decode(r)
    elif op == codes.OP_GET_DATA:
        part.data, part.stat = read_data_and_stat(r)
    elif op == codes.OP_GET_CHILDREN:
        part.children = r.read_ustrings()
    elif op not in (codes.OP_DELETE, codes.OP_CHECK):
        raise JuteError(f"a multi result of unknown type {op}")
    return part


def multi(parts: list[Part]) -> Call[list[PartResult]]:
    """multi: all or nothing; a failed one answers err 0 with the reason in its parts."""
    path = parts[0].path if parts else ""
    return Call(codes.OP_MULTI, path, _multi_body(parts), read_parts)


def multi_read(parts: list[Part]) -> Call[list[PartResult]]:
    """multiRead: getData and getChildren parts, each with its own outcome."""
    path = parts[0].path if parts else ""
    return Call(codes.OP_MULTI_READ, path, _multi_body(parts), read_parts)
