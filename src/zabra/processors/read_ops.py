"""The operations that are answered from the tree as it is.  Source: upstream ``FinalRequestProcessor``."""

from typing import Final

from mypy_extensions import i64

from zabra.auth.registry import mask_digest_ids
from zabra.jute.primitives import JuteError, Reader, Writer
from zabra.processors.context import ReadContext
from zabra.processors.operation import KIND_READ, Operation
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import (
    MultiHeader,
    SetWatches,
    SetWatches2,
    WhoAmIResponse,
    write_acl_vector,
)
from zabra.tree.node import DataNode

MULTI_END: Final = -1


def require_node(context: ReadContext, path: str) -> DataNode:
    """The node, or NONODE."""
    node = context.tree.find_for_read(path)
    if node is None:
        raise KeeperError(codes.ERR_NO_NODE, path)
    return node


def readable_node(context: ReadContext, path: str) -> DataNode:
    """The node, or NONODE, or NOAUTH without READ."""
    node = require_node(context, path)
    context.require(context.tree.acl_of(node), codes.PERM_READ, path)
    return node


class Exists(Operation):
    """exists: watches even what is not there."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        path = r.read_path()
        watch = r.read_bool()
        if "\x00" in path:
            raise KeeperError(codes.ERR_BAD_ARGUMENTS, path)
        node = context.tree.find_for_read(path)
        if node is not None:
            context.require(context.tree.acl_of(node), codes.PERM_READ, path)
        if watch:
            context.tree.watches.add_data(path, context.watcher)
        if node is None:
            raise KeeperError(codes.ERR_NO_NODE, path)
        node.encode_stat(w)


class GetData(Operation):
    """getData."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        path = r.read_path()
        watch = r.read_bool()
        node = readable_node(context, path)
        if watch:
            context.tree.watches.add_data(path, context.watcher)
        w.write_buffer(node.data)
        node.encode_stat(w)


class GetACL(Operation):
    """getACL: the hashes of digest ids are shown only to those with ADMIN."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        path = r.read_path()
        node = require_node(context, path)
        acl = context.tree.acl_of(node)
        context.require(acl, codes.PERM_READ | codes.PERM_ADMIN, path)
        if not context.providers.check_acl(acl, codes.PERM_ADMIN, context.ids, path):
            acl = mask_digest_ids(acl)
        write_acl_vector(w, acl)
        node.encode_stat(w)


class GetChildren(Operation):
    """getChildren and, with the stat behind the names, getChildren2."""

    def __init__(self, code: i64, name: str, with_stat: bool) -> None:
        super().__init__(code, name, KIND_READ)
        self.with_stat: bool = with_stat

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        path = r.read_path()
        watch = r.read_bool()
        node = readable_node(context, path)
        if watch:
            context.tree.watches.add_child(path, context.watcher)
        w.write_ustrings(context.tree.children(path))
        if self.with_stat:
            node.encode_stat(w)


class GetAllChildrenNumber(Operation):
    """getAllChildrenNumber: how many descendants."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        path = r.read_path()
        readable_node(context, path)
        w.write_int(context.tree.count_descendants(path))


# What Java's String.trim takes away.
TRIMMED: Final = "".join([chr(code) for code in range(0x21)])


class GetEphemerals(Operation):
    """getEphemerals: the calling session's."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        prefix = r.read_ustring()
        if prefix.strip(TRIMMED) in ("", "/"):
            prefix = ""
        w.write_ustrings(context.tree.ephemerals_of(context.session_id, prefix))


class WhoAmI(Operation):
    """whoAmI: the connection's identities, without secrets."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        WhoAmIResponse(context.providers.client_infos(context.ids)).encode(w)


def refuse_null_paths(r: Reader, lists: i64) -> None:
    """Raises JuteError for a null in one of the lists of paths that a setWatches looks up."""
    r.read_long()
    while lists > 0:
        count = r.read_count()
        while count > 0:
            r.read_path()
            count -= 1
        lists -= 1


class SetWatchesOp(Operation):
    """setWatches and setWatches2: registers a reconnected client's watches and fires what it missed."""

    def __init__(self, code: i64, name: str, with_persistent: bool) -> None:
        super().__init__(code, name, KIND_READ)
        self.with_persistent: bool = with_persistent
        self.fires = True

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        refuse_null_paths(Reader(r.buf, r.pos, r.end, r.limit), 3)
        persistent: list[str] = []
        recursive: list[str] = []
        if self.with_persistent:
            full = SetWatches2.decode(r)
            persistent = full.persistent_watches
            recursive = full.persistent_recursive_watches
            record = SetWatches(
                full.relative_zxid, full.data_watches, full.exist_watches, full.child_watches
            )
        else:
            record = SetWatches.decode(r)
        context.tree.set_watches(
            record.relative_zxid,
            record.data_watches,
            record.exist_watches,
            record.child_watches,
            persistent,
            recursive,
            context.watcher,
        )


class AddWatch(Operation):
    """addWatch: persistent, or persistent and recursive; the node need not exist."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        path = r.read_ustring()
        mode = r.read_int()
        if mode != codes.ADD_WATCH_PERSISTENT and mode != codes.ADD_WATCH_PERSISTENT_RECURSIVE:
            raise JuteError(f"no AddWatchMode {mode}")
        context.tree.watches.add(path, context.watcher, mode)
        w.write_int(codes.OK)


class CheckWatches(Operation):
    """checkWatches: NOWATCHER unless the connection watches the path in that way."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        path = r.read_ustring()
        kind = r.read_int()
        if kind < codes.WATCHER_CHILDREN or kind > codes.WATCHER_PERSISTENT_RECURSIVE:
            raise JuteError(f"no WatcherType {kind}")
        if not context.tree.watches.contains(path, context.watcher, kind):
            raise KeeperError(codes.ERR_NO_WATCHER, path)


class RemoveWatches(Operation):
    """removeWatches: only the calling connection's."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        path = r.read_ustring()
        kind = r.read_int()
        if kind < codes.WATCHER_CHILDREN or kind > codes.WATCHER_PERSISTENT_RECURSIVE:
            raise JuteError(f"no WatcherType {kind}")
        if not context.tree.watches.remove(path, context.watcher, kind):
            raise KeeperError(codes.ERR_NO_WATCHER, path)


class MultiRead(Operation):
    """multiRead: getData and getChildren, each answered or refused on its own."""

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        kinds: list[int] = []
        paths: list[str] = []
        # Decoded to the end first, so that a malformed tail refuses the whole.
        while True:
            header = MultiHeader.decode(r)
            if header.done:
                break
            if header.type != codes.OP_GET_DATA and header.type != codes.OP_GET_CHILDREN:
                raise JuteError(f"op {header.type} may not stand in a multiRead")
            kinds.append(header.type)
            paths.append(r.read_path())
            r.read_bool()  # no watches here
        for at, path in enumerate(paths):
            self.read_part(context, kinds[at], path, w)
        MultiHeader(MULTI_END, True, MULTI_END).encode(w)

    def read_part(self, context: ReadContext, kind: i64, path: str, w: Writer) -> None:
        """One result: MultiHeader and body, or the error in their place."""
        try:
            node = readable_node(context, path)
        except KeeperError as error:
            MultiHeader(codes.OP_ERROR, False, error.code).encode(w)
            w.write_int(error.code)
            return
        MultiHeader(kind, False, codes.OK).encode(w)
        if kind == codes.OP_GET_DATA:
            w.write_buffer(node.data)
            node.encode_stat(w)
        else:
            w.write_ustrings(context.tree.children(path))


def read_rows() -> list[Operation]:
    """The rows of all operations that are answered locally."""
    return [
        Exists(codes.OP_EXISTS, "exists", KIND_READ),
        GetData(codes.OP_GET_DATA, "getData", KIND_READ),
        GetACL(codes.OP_GET_ACL, "getACL", KIND_READ),
        GetChildren(codes.OP_GET_CHILDREN, "getChildren", False),
        GetChildren(codes.OP_GET_CHILDREN2, "getChildren2", True),
        GetAllChildrenNumber(codes.OP_GET_ALL_CHILDREN_NUMBER, "getAllChildrenNumber", KIND_READ),
        GetEphemerals(codes.OP_GET_EPHEMERALS, "getEphemerals", KIND_READ),
        WhoAmI(codes.OP_WHO_AM_I, "whoAmI", KIND_READ),
        SetWatchesOp(codes.OP_SET_WATCHES, "setWatches", False),
        SetWatchesOp(codes.OP_SET_WATCHES2, "setWatches2", True),
        AddWatch(codes.OP_ADD_WATCH, "addWatch", KIND_READ),
        CheckWatches(codes.OP_CHECK_WATCHES, "checkWatches", KIND_READ),
        RemoveWatches(codes.OP_REMOVE_WATCHES, "removeWatches", KIND_READ),
        MultiRead(codes.OP_MULTI_READ, "multiRead", KIND_READ),
    ]
