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

from zabra.client.aio import AsyncClient
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.sim.linearizability import NEVER, Operation, State, linearization
from zabra.testing import AsyncEnsemble

CLIENTS = 8
OPS = 200


class Recorder:
    """One client's part of a history."""

    def __init__(self, number: int, path: str, chance: random.Random) -> None:
        self.number = number
        self.path = path
        self.chance = chance
        self.operations: list[Operation] = []
        self.known = -1

    async def run(self, client: AsyncClient, count: int) -> None:
        """Writes ``count`` times."""
        for i in range(count):
            expected = self.known if self.chance.random() < 0.6 else -1
            await self.write(client, f"{self.number}-{i}".encode(), expected)

    async def write(self, client: AsyncClient, value: bytes, expected: int) -> None:
        """One write, and what its client learns of it."""
        one = Operation(time.monotonic_ns(), NEVER, True)
        one.value = value
        one.expected = expected
        one.label = f"client {self.number} writes {value!r} expecting {expected}"
        self.operations.append(one)
        try:
            stat = await client.set_data(self.path, value, expected)
        except KeeperError as error:
            if error.code == codes.ERR_CONNECTION_LOSS:
                one.err = None
                await client.wait_connected()
            else:
                one.end = time.monotonic_ns()
                one.err = error.code
            if error.code != codes.ERR_BAD_VERSION:
                return
            _, stat = await client.get_data(self.path)
        else:
            one.end = time.monotonic_ns()
            one.version = stat.version
        self.known = stat.version


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
    sessions = [ensemble.client(timeout_ms=30_000) for _ in range(clients)]
    await asyncio.gather(*[session.start() for session in sessions])
    try:
        await sessions[0].create(path, b"0")
        await asyncio.gather(*[session.sync(path) for session in sessions])
        recorders = [Recorder(i, path, random.Random(chance.random())) for i in range(clients)]
        work = asyncio.gather(*[one.run(s, ops) for one, s in zip(recorders, sessions, strict=True)])
        if kills_leader:
            await ensemble.wait("the history is half way", lambda: _written(recorders) * 2 > clients * ops)
            leader = ensemble.leader
            await ensemble.kill(leader)
            await ensemble.wait_leader()
            await ensemble.start(leader)
            await ensemble.wait_ready(leader)
        await work
    finally:
        await asyncio.gather(*[session.close() for session in sessions])
    operations = [operation for one in recorders for operation in one.operations]
    return LiveHistory(operations, (b"0", 0))


def _written(recorders: list[Recorder]) -> int:
    return sum(len(one.operations) for one in recorders)
