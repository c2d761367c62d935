"""Histories of a cas-register, written down by clients of live servers, for a judge that trusts no zxid.

Each client writes a znode over and over: unconditionally, or on the condition of the version it knows.  What
it was told (the new version, BADVERSION, or nothing, where the connection was lost) must be explained by one
order of all writes that agrees with real time: that is linearizability, which ZooKeeper promises for writes.
Plain reads promise less and are not judged.
"""

from __future__ import annotations

import asyncio
import random
import time

from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.sim.linearizability import NEVER, Operation, State, linearization
from zabra.testing import AsyncEnsemble

CLIENTS = 8
OPS = 200
SESSION_MS = 30_000
# Patience, for machines that do other things too.
WITHIN_S = 300.0
GONE = (codes.ERR_CONNECTION_LOSS, codes.ERR_SESSION_EXPIRED)


class Recorder:
    """One client's part of a history; where its session is lost it begins another one."""

    def __init__(self, ensemble: AsyncEnsemble, number: int, path: str, chance: random.Random) -> None:
        self.ensemble = ensemble
        self.number = number
        self.path = path
        self.chance = chance
        self.operations: list[Operation] = []
        self.known = -1
        self.client = ensemble.client(timeout_ms=SESSION_MS)

    async def run(self, count: int) -> None:
        """Writes ``count`` times."""
        for i in range(count):
            expected = self.known if self.chance.random() < 0.6 else -1
            await self.write(f"{self.number}-{i}".encode(), expected)

    async def write(self, value: bytes, expected: int) -> None:
        """One write, and what its client learns of it."""
        one = Operation(time.monotonic_ns(), NEVER, True)
        one.value = value
        one.expected = expected
        one.label = f"client {self.number} writes {value!r} expecting {expected}"
        self.operations.append(one)
        try:
            stat = await self.client.set_data(self.path, value, expected)
        except KeeperError as error:
            if error.code in GONE:
                one.err = None
                await self.come_back()
                return
            one.end = time.monotonic_ns()
            one.err = error.code
            if error.code == codes.ERR_BAD_VERSION:
                await self.look()
            return
        one.end = time.monotonic_ns()
        one.version = self.known = stat.version

    async def look(self) -> None:
        """The version there is now; that read is nobody's to judge."""
        try:
            _, stat = await self.client.get_data(self.path)
            self.known = stat.version
        except KeeperError as error:
            if error.code not in GONE:
                raise
            await self.come_back()

    async def come_back(self) -> None:
        """Connected again, in this session or in a new one."""
        try:
            await self.client.wait_connected(WITHIN_S)
        except KeeperError:
            self.client = self.ensemble.client(timeout_ms=SESSION_MS)
            await self.client.start(WITHIN_S)


class LiveHistory:
    """A history, and how much of it there is."""

    def __init__(self, operations: list[Operation], initial: State) -> None:
        self.operations = operations
        self.initial = initial

    def is_linearizable(self) -> bool:
        """The judge's word."""
        return linearization(self.operations, self.initial) is not None

    def unknown(self) -> int:
        """Writes whose clients heard nothing."""
        return sum(one.err is None for one in self.operations)

    def refused(self) -> int:
        """Conditional writes that came too late."""
        return sum(one.err == codes.ERR_BAD_VERSION for one in self.operations)


async def record(
    ensemble: AsyncEnsemble, path: str, seed: int, kills_leader: bool, clients: int = CLIENTS, ops: int = OPS
) -> LiveHistory:
    """A history of ``clients`` times ``ops`` writes; in the middle of it the leader may be killed."""
    chance = random.Random(seed)
    recorders = [Recorder(ensemble, i, path, random.Random(chance.random())) for i in range(clients)]
    await asyncio.gather(*[one.client.start(WITHIN_S) for one in recorders])
    try:
        await recorders[0].client.create(path, b"0")
        await asyncio.gather(*[one.client.sync(path) for one in recorders])
        work = asyncio.gather(*[one.run(ops) for one in recorders])
        if kills_leader:
            await ensemble.wait("half of it is done", lambda: _is_half(recorders, clients * ops), WITHIN_S)
            leader = ensemble.leader
            await ensemble.kill(leader)
            await ensemble.wait_leader(within_s=WITHIN_S)
            await ensemble.start(leader)
            await ensemble.wait_ready(leader, within_s=WITHIN_S)
        await work
    finally:
        await asyncio.gather(*[one.client.close() for one in recorders])
    operations = [operation for one in recorders for operation in one.operations]
    return LiveHistory(operations, (b"0", 0))


def _is_half(recorders: list[Recorder], ops: int) -> bool:
    return sum(len(one.operations) for one in recorders) * 2 > ops
