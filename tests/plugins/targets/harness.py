"""What publishers are put through: a log with everything in it, and a host that publishes it to a target."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.plugins.helpers import E1, MemoryLog
from tests.plugins.targets.target import Row
from tests.processors.test_prep import multi, new_prep, request

from zabra.plugins.changes import committed_txn
from zabra.plugins.cursors import CursorStore
from zabra.plugins.feed import Feed
from zabra.plugins.host import PublisherHost
from zabra.plugins.jsontext import txn_object
from zabra.plugins.publisher import CommittedTxn
from zabra.plugins.registry import plan_publisher
from zabra.plugins.tree_snapshots import TreeSnapshots
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    CreateRequest,
    DeleteRequest,
    Id,
    SetACLRequest,
    SetDataRequest,
)
from zabra.proto.txn import TxnEntry, decode_txn
from zabra.runtime.os_disk import OsDisk

WITHIN_S = 120
OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]
# An id with a NUL in it is one that some databases do not like.
OTHER = [ACL(codes.PERM_READ, Id("world", "anyone")), ACL(codes.PERM_ALL, Id("digest", 'a\0"é:b'))]
LARGE = bytes(range(256)) * 4000
"""As much as a node holds, and not text."""


class Script:
    """Requests to a server that is not there: ``log`` has the txns they make, ``prep.tree`` the tree."""

    def __init__(self, seed: int = 0) -> None:
        self.prep = new_prep()
        self.prep.last_zxid = E1
        self.log: list[TxnEntry] = []
        self.rng = random.Random(seed)

    def do(self, op: int, record: Any) -> TxnEntry:
        """One request."""
        made = self.prep.prepare(request(op, record), 1_700_000_000_000 + len(self.log))
        entry = decode_txn(made.raw)
        self.prep.tree.process_txn(entry.header, entry.record)
        self.prep.applied(entry.header.zxid)
        self.log.append(entry)
        return entry

    def create(self, path: str, data: bytes | None = b"", flags: int = 0) -> None:
        """A create."""
        self.do(codes.OP_CREATE, CreateRequest(path, data, OPEN, flags))

    def set(self, path: str, data: bytes | None) -> None:
        """A setData."""
        self.do(codes.OP_SET_DATA, SetDataRequest(path, data, -1))

    def everything(self) -> Script:
        """One of each kind: multis, refusals, ACLs, ephemerals that end with their session, odd data."""
        self.create("/a", b"text")
        self.create("/a/bin", b"\x00\xff\xfe")
        self.create("/a/none", None)
        self.create("/a/eph", b"e", 1)
        self.create("/a/seq-", b"s", 2)
        self.create("/ü\u20ac/no such parent")
        self.create("/ü\u20ac", "ä\u0000\u20ac".encode())
        self.do(codes.OP_SET_ACL, SetACLRequest("/a/bin", OTHER, -1))
        self.create("/l" + "o" * 3000 + "ng", b"a path that is no key of a B-tree")
        self.set("/", b"root")
        parts = [(codes.OP_CREATE, CreateRequest(f"/m{n}", b"m", OPEN, 0)) for n in range(3)]
        parts += [
            (codes.OP_SET_DATA, SetDataRequest("/m1", b"\xff", -1)),
            (codes.OP_DELETE, DeleteRequest("/m0", -1)),
        ]
        self.do(codes.OP_MULTI, multi(*parts))
        self.do(codes.OP_MULTI, multi((codes.OP_DELETE, DeleteRequest("/m1", -1)), *parts))
        self.create("/large", LARGE)
        self.set("/large", LARGE[::-1])
        self.do(codes.OP_DELETE, DeleteRequest("/m2", -1))
        self.create("/m2", b"again")
        self.do(codes.OP_SET_ACL, SetACLRequest("/m2", OTHER, -1))
        self.do(codes.OP_CLOSE_SESSION, b"")
        return self

    def some(self, count: int) -> list[TxnEntry]:
        """``count`` more txns of all kinds, on few nodes."""
        before = len(self.log)
        rng = self.rng
        while len(self.log) < before + count:
            path = f"/n{rng.randrange(8)}"
            what = rng.randrange(6)
            if what == 0:
                self.create(path, rng.randbytes(rng.randrange(40)))
            elif what == 1:
                self.do(codes.OP_DELETE, DeleteRequest(path, -1))
            elif what == 2:
                self.do(codes.OP_SET_ACL, SetACLRequest(path, rng.choice([OPEN, OTHER]), -1))
            elif what == 3:
                parts = [(codes.OP_SET_DATA, SetDataRequest(path, b"in a multi", -1))] * 2
                self.do(
                    codes.OP_MULTI, multi(*parts, (codes.OP_CREATE, CreateRequest(f"{path}/c", b"", OPEN, 0)))
                )
            else:
                self.set(path, rng.randbytes(rng.randrange(40)))
        return self.log[before:]

    @property
    def txns(self) -> list[CommittedTxn]:
        """The log, as publishers see it."""
        return [committed_txn(entry) for entry in self.log]

    @property
    def rows(self) -> list[Row]:
        """The log, as ``Target.rows`` should have it."""
        return [txn_object(txn) for txn in self.txns]


async def until(condition: Callable[[], object], said: Callable[[], object] = str) -> None:
    """Bounded; ``said`` is asked what was going on instead."""
    try:
        async with asyncio.timeout(WITHIN_S):
            while not condition():  # noqa: ASYNC110  the target may make it true
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"not within {WITHIN_S} s: {said()}") from None


class Hosted:
    """A ``PublisherHost`` with one publisher, ``p``, and what it wants to know of a server."""

    def __init__(self, folder: Path, options: dict[str, str], script: Script) -> None:
        self.script = script
        self.log = MemoryLog()
        self.feed = Feed(self.log.open, self.log.last, memory_txns=50)
        plan = plan_publisher("p", options)
        plan = dataclasses.replace(plan, host=dataclasses.replace(plan.host, max_backoff_ms=200))
        self.host = PublisherHost(
            [plan],
            self.feed,
            CursorStore(OsDisk(folder)),
            TreeSnapshots(self.feed, lambda: self.script.prep.tree),
            7,
            lambda: int(self.script.prep.tree.last_processed_zxid),
            lambda: False,
            lambda zxid: 0,
        )

    def commit(self, entries: Sequence[TxnEntry]) -> None:
        """As a server does."""
        self.log.entries += entries
        self.host.informed(list(entries))

    async def until(self, condition: Callable[[], object]) -> None:
        """Bounded; what went wrong is said."""
        await until(condition, lambda: self.host.statuses()[0])

    @property
    def cursor(self) -> int:
        """Of the publisher."""
        return self.host.runs[0].cursor

    async def until_published(self) -> None:
        """All that was committed is at the target."""
        last = self.log.last()
        await self.until(lambda: self.host.runs[0].cursor >= last)

    async def __aenter__(self) -> Hosted:
        self.host.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.host.stop()


def zxid_of(row: Row) -> int:
    """Of a txn's row, or of one of a snapshot."""
    return int(row.get("zxid") or row.get("snapshotEnd") or row.get("snapshot") or "0", 16)


def without_refusals(rows: list[Row]) -> list[Row]:
    """The txns that changed something."""
    return [row for row in rows if "zxid" not in row or row["changes"]]


def deduplicated(rows: list[Row]) -> list[Row]:
    """What a reader has that drops every txn it has had: all that *at least once* promises."""
    found: list[Row] = []
    last = 0
    for row in rows:
        if "zxid" not in row or zxid_of(row) > last:
            found.append(row)
            last = max(last, zxid_of(row))
    return found
