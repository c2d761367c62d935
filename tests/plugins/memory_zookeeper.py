"""A ZooKeeper in memory that carries out calls: the real preparation of requests, on the real tree."""

from zabra.auth.registry import Providers, default_providers
from zabra.client.calls import Call, PartResult
from zabra.jute.primitives import Reader
from zabra.plugins.mirror_plan import Choices, Cursor
from zabra.processors.context import Rules
from zabra.processors.ops import OPS
from zabra.processors.prep import Prep
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import GetDataRequest, Id, Stat
from zabra.proto.request import OWNER_LOCAL, Request
from zabra.proto.txn import decode_txn
from zabra.sessions.tracker import SessionTracker
from zabra.tree.datatree import DataTree

SESSION = 0x100
READS = (codes.OP_GET_DATA, codes.OP_GET_ACL, codes.OP_GET_CHILDREN, codes.OP_EXISTS)


class MemoryZooKeeper:
    """Has no servers to fail; ``ids`` is who its clients are."""

    def __init__(self) -> None:
        self.tree = DataTree()
        sessions = SessionTracker(1000, 0)
        sessions.add(SESSION, 10_000, 0)
        rules = Rules(True, False, True, True, False)
        self.prep = Prep(self.tree, sessions, Providers(default_providers()), rules, OPS, 0)
        self.ids = [Id("ip", "127.0.0.1"), Id("super", "")]
        self.requests: list[str] = []

    def carry_out(self, call: Call):
        """The call's value.  Raises KeeperError."""
        self.requests.append(codes.OP_NAMES[call.op])
        if call.op == codes.OP_SYNC:
            return call.path
        if call.op in READS:
            return self._read(call)
        entry = decode_txn(
            self.prep.prepare(Request(SESSION, 1, call.op, call.body, self.ids, OWNER_LOCAL, 16, 0), 7).raw
        )
        result = self.tree.process_txn(entry.header, entry.record)
        self.prep.applied(entry.header.zxid)
        if call.op == codes.OP_MULTI:
            return [self._part(one) for one in result.results]
        if result.err != codes.OK:
            raise KeeperError(result.err, call.path)
        if call.op in (codes.OP_SET_DATA, codes.OP_SET_ACL):
            return result.stat
        return result.path

    def _part(self, result) -> PartResult:
        part = PartResult(result.type, result.err)
        part.stat = result.stat if isinstance(result.stat, Stat) else None
        return part

    def _read(self, call: Call):
        path = GetDataRequest.decode(Reader(call.body + b"\0")).path
        node = self.tree.find(path)
        if node is None:
            raise KeeperError(codes.ERR_NO_NODE, path)
        if call.op == codes.OP_GET_DATA:
            return node.data, node.to_stat()
        if call.op == codes.OP_GET_ACL:
            return list(self.tree.acl_of(node)), node.to_stat()
        return node.to_stat() if call.op == codes.OP_EXISTS else self.tree.children(path)

    def data(self, path: str):
        """Of a node; None where there is none."""
        node = self.tree.find(path)
        return None if node is None else node.data

    def cursor(self, path: str) -> Cursor | None:
        """What a mirror's cursor says."""
        data = self.data(path)
        return None if data is None else Cursor.decode(data)

    def below(self, target: str, source: str) -> dict[str, bytes | None]:
        """Data by path, in the source's paths."""
        back = Choices(target, source)
        return {
            back.target_path(path): node.data
            for path, node in self.tree.nodes.items()
            if path == target or path.startswith(target + "/")
        }


class MemorySession:
    """A session with it."""

    def __init__(self, zookeeper: MemoryZooKeeper) -> None:
        self.zookeeper = zookeeper
        self.closed = False

    async def call(self, call: Call):
        """At once."""
        if self.closed:
            raise ConnectionError("the session is closed")
        return self.zookeeper.carry_out(call)

    async def close(self) -> None:
        """Remembers."""
        self.closed = True
