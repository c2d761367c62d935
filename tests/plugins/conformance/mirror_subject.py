"""The mirror, and a modelled ZooKeeper as its target."""

from tests.plugins.memory_zookeeper import MemoryZooKeeper

from zabra.plugins.builtin.zookeeper import ZooKeeperPublisher
from zabra.plugins.conformance import Faults, Published
from zabra.proto import codes
from zabra.proto.errors import KeeperError

CURSOR = "/zabra-mirrors/checked"


class FaultySession:
    def __init__(self, zookeeper: MemoryZooKeeper, faults: Faults) -> None:
        self._zookeeper = zookeeper
        self._faults = faults

    async def call(self, call):
        async with self._faults.call(f"{codes.OP_NAMES[call.op]} {call.path}"):
            try:
                return self._zookeeper.carry_out(call)
            except KeeperError as error:
                refused = error
        raise refused

    async def close(self) -> None:
        pass


class MirrorSubject:
    """/a of the source is /copy/a of the target."""

    def __init__(self, faults: Faults, check_every_ms: int = 0) -> None:
        self.zookeeper = MemoryZooKeeper()
        self.publishers: list[ZooKeeperPublisher] = []
        self._faults = faults
        self._options = ZooKeeperPublisher.Options(
            "unused", "/copy/a", ephemerals="persistent", check_every_ms=check_every_ms
        )

    def publisher(self) -> ZooKeeperPublisher:
        async def open_session(options):
            async with self._faults.call("connect"):
                return FaultySession(self.zookeeper, self._faults)

        self.publishers.append(ZooKeeperPublisher(self._options, open_session))
        return self.publishers[-1]

    def crash(self) -> None:
        """An ensemble loses nothing that it has acknowledged."""

    def published(self) -> Published:
        cursor = self.zookeeper.cursor(CURSOR)
        zxid = -1 if cursor is None or cursor.is_copying or cursor.part else cursor.zxid
        return Published(nodes=self.zookeeper.below("/copy/a", "/a"), zxid=zxid)
