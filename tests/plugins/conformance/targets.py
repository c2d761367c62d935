"""A target in memory, and publishers for it: right ones, and wrong in one way each."""

from collections.abc import Sequence

from zabra.plugins.conformance import Faults, Published, Told, ToldSnapshot, told
from zabra.plugins.publisher import CommittedTxn, PublisherContext, Snap


class ListTarget:
    """Keeps what it is given, in memory until ``flush``; ``kind`` is the publisher's class."""

    def __init__(self, faults: Faults, kind: type) -> None:
        self.faults = faults
        self.rows: list[Told | ToldSnapshot] = []
        self.durable = 0
        self.kind = kind

    async def send(self, rows: Sequence[Told | ToldSnapshot], flush: bool = True) -> None:
        async with self.faults.call("send"):
            self.rows += rows
        if flush:
            async with self.faults.call("flush"):
                self.durable = len(self.rows)

    def last(self) -> int:
        return self.rows[-1].zxid if self.rows else 0

    def publisher(self):
        return self.kind(self)

    def published(self) -> Published:
        return Published(self.rows)

    def crash(self) -> None:
        del self.rows[self.durable :]


class Good:
    """At least once, with the host's cursor."""

    def __init__(self, target: ListTarget) -> None:
        self.target = target

    async def open(self, context: PublisherContext) -> int | None:
        return None

    async def snap(self, snap: Snap) -> None:
        nodes = {node.path: node.data async for node in snap.nodes}
        await self.target.send([ToldSnapshot(snap.zxid, nodes)])

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        await self.target.send([told(txn) for txn in txns])
        return txns[-1].zxid

    async def close(self) -> None:
        pass


class Exact(Good):
    """Exactly once: the target's last row is the cursor."""

    async def open(self, context: PublisherContext) -> int | None:
        return self.target.last()


class Loses(Good):
    """A txn with a NUL byte is not sent."""

    async def inform(self, txns):
        rows = [told(txn) for txn in txns]
        await self.target.send([row for row in rows if not any(one[3] == b"\xff\x00" for one in row.changes)])
        return txns[-1].zxid


class LosesAfterAnError(Good):
    """What was under way when the target failed counts as sent."""

    async def inform(self, txns):
        try:
            return await super().inform(txns)
        except ConnectionError:
            return txns[-1].zxid


class Reorders(Good):
    """Refused requests last."""

    async def inform(self, txns):
        await self.target.send(sorted([told(txn) for txn in txns], key=lambda row: not row.changes))
        return txns[-1].zxid


class AcknowledgesEarly(Good):
    """Keeps the last batch back until there is another one."""

    def __init__(self, target):
        super().__init__(target)
        self.kept = []

    async def inform(self, txns):
        await self.target.send(self.kept)
        self.kept = [told(txn) for txn in txns]
        return txns[-1].zxid

    async def close(self):
        await self.target.send(self.kept)


class NeverFlushes(Good):
    """Says durable where the target has it only in its memory."""

    async def inform(self, txns):
        await self.target.send([told(txn) for txn in txns], flush=False)
        return txns[-1].zxid


class Splits(Good):
    """A message for each change of a multi."""

    async def inform(self, txns):
        for txn in txns:
            row = told(txn)
            await self.target.send([Told(row.zxid, (one,)) for one in row.changes] or [row])
        return txns[-1].zxid


class HalfSnapshots(Good):
    """Leaves the last node out."""

    async def snap(self, snap):
        nodes = {node.path: node.data async for node in snap.nodes}
        nodes.popitem()
        await self.target.send([ToldSnapshot(snap.zxid, nodes)])


class WrongAboutItsCursor(Exact):
    """Opens one too far."""

    async def open(self, context):
        return self.target.last() + (self.target.last() > 0)


class NeverComesBack(Good):
    """After its first failure it fails for ever."""

    failed: ListTarget | None = None

    async def open(self, context):
        if type(self).failed is self.target:
            raise RuntimeError("I have failed once")
        return None

    async def inform(self, txns):
        try:
            return await super().inform(txns)
        except ConnectionError:
            type(self).failed = self.target
            raise


class Promises(Good):
    """Says more than it was given is durable."""

    async def inform(self, txns):
        return await super().inform(txns) + 1
