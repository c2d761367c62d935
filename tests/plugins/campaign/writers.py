"""Writers: sessions of many requests, a window of them under way, whatever happens to the servers."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from zabra.client import calls
from zabra.client.aio import AsyncClient
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, Id

TOP = "/c"
WINDOW = 100
SESSION_OPS = 4000
SESSION_MS = 10_000
NODES = 50
HOLD_S = 0.05
READ_ONLY = [ACL(codes.PERM_READ | codes.PERM_WRITE | codes.PERM_ADMIN, Id("world", "anyone"))]


class PipelinedWriter:
    """``answered`` counts what became a txn; ``until`` ends a run early, between two requests.

    Args:
        holds: whether nobody is to write just now.
    """

    def __init__(self, addresses: str, rng: random.Random, number: int, holds: Callable[[], bool]) -> None:
        self._holds = holds
        self._addresses = addresses
        self._rng = rng
        self._number = number
        self._lives = 0
        self.answered = 0

    async def run(self, until: Callable[[], bool]) -> None:
        """One session after the other."""
        while not until():
            with contextlib.suppress(OSError, KeeperError, TimeoutError):
                async with AsyncClient(self._addresses, SESSION_MS) as client:
                    await self._session(client, until)

    async def _session(self, client: AsyncClient, until: Callable[[], bool]) -> None:
        self._lives += 1
        base = f"{TOP}/w{self._number}-{self._lives}"
        there: dict[int, None] = {}
        await client.create(base)
        waiting: deque[tuple[asyncio.Future[None], calls.Call[Any]]] = deque()
        for _ in range(SESSION_OPS):
            while self._holds() and not until():
                while waiting:
                    await self._take(waiting)
                await asyncio.sleep(HOLD_S)
            if until():
                break
            call = self._next(base, there)
            waiting.append((client.submit(call), call))
            if len(waiting) >= WINDOW:
                await self._take(waiting)
        while waiting:
            await self._take(waiting)

    async def _take(self, waiting: deque[tuple[asyncio.Future[None], calls.Call[Any]]]) -> None:
        future, call = waiting.popleft()
        await future
        self.answered += call.answered

    def _next(self, base: str, there: dict[int, None]) -> calls.Call[Any]:
        rng = self._rng
        what, place = rng.random(), rng.randrange(NODES)
        path = f"{base}/n{place}"
        if place not in there:
            there[place] = None
            return calls.create(path, rng.randbytes(rng.randrange(60)))
        if what < 0.03:
            del there[place]
            return calls.delete(path)
        if what < 0.08:
            parts = [calls.set_data(path, b"m"), calls.set_data(base, b"%d" % place)]
            return calls.multi([calls.check_part(base, -1), *map(calls.part_of, parts)])
        if what < 0.09:
            return calls.create(f"{base}/e-", b"ephemeral", flags=codes.MODE_EPHEMERAL_SEQUENTIAL)
        if what < 0.10:
            return calls.set_acl(path, rng.choice([calls.OPEN_ACL, READ_ONLY]))
        if what < 0.11:
            return calls.set_data(path, b"refused", 1 << 30)
        return calls.set_data(path, rng.randbytes(rng.randrange(60)))
