"""The door's end of the link: what the server tells, and what it can be asked."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from zabra.plugins.door import link
from zabra.plugins.door.rights import NOTHING, UNKNOWN, Before, PlainAcl, touched
from zabra.plugins.door.settings import NO_STATUS, DoorSettings, Status
from zabra.plugins.door.snapshots import PlainNode, Snapshot, SnapshotTooLarge
from zabra.plugins.feed import Feed
from zabra.plugins.publisher import CommittedTxn
from zabra.proto.records import ACL, Id
from zabra.proto.txn import decode_txn
from zabra.tree.acl_trail import is_readable_by_all

# A zxid after every other: the ACLs of now.
NOW: Final = (1 << 63) - 1
# How long the ACL of a path that was asked for is taken to be that of now.
FRESH_S: Final = 1.0
_PRUNE_EVERY: Final = 1000


class LinkLost(Exception):
    """The server is gone."""


class FarServer(asyncio.Protocol):
    """Feeds ``feed`` with what the server tells; also what ``hub.Rights`` and ``Snapshots`` ask.

    Args:
        begin: called once, with the settings.
        lost: called when the server is gone.
    """

    def __init__(self, begin: Callable[[DoorSettings], Feed], lost: Callable[[], None]) -> None:
        self._begin = begin
        self._lost = lost
        self._feed: Feed | None = None
        self._deframer = link.Deframer()
        self._transport: asyncio.Transport | None = None
        self._numbers = itertools.count(1)
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._parts: dict[int, list[Any]] = {}
        self._restricted: dict[int, Before | None] = {}
        self._one_at_a_time = asyncio.Lock()
        self._now: dict[str, tuple[float, PlainAcl | None]] = {}
        self._open_from = self._open_to = -1
        self.status = NO_STATUS

    # --- what comes -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # (uvloop's transports are not asyncio.Transports.)
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        for question in self._questions.values():
            if not question.done():
                question.set_exception(LinkLost("the server is gone"))
        self._lost()

    def data_received(self, data: bytes) -> None:
        for message in self._deframer.feed(data):
            self._take(message)

    def _take(self, message: link.Message) -> None:
        kind = message[0]
        if kind == link.TXNS:
            self._take_txns(message[1])
        elif kind == link.STATUS:
            self._take_status(Status(*message[1]))
        elif kind == link.ANSWER:
            self._take_answer(message[1], message[2])
        else:
            assert kind == link.HELLO
            self._feed = self._begin(DoorSettings(*message[1]))

    def _take_txns(self, rows: Sequence[tuple[bytes, Before | None]]) -> None:
        feed = self._feed
        assert feed is not None
        entries = []
        for raw, before in rows:
            entry = decode_txn(raw)
            entries.append(entry)
            # (What is empty is not kept.)
            if before is UNKNOWN or before:
                self._restricted[int(entry.header.zxid)] = before
        if len(self._restricted) > _PRUNE_EVERY:
            floor = feed.floor
            self._restricted = {zxid: acls for zxid, acls in self._restricted.items() if zxid > floor}
        feed.informed(entries)

    def _take_status(self, status: Status) -> None:
        self.status = status
        if status.open_to >= 0:
            self._open_from, self._open_to = status.floor, status.open_to
        assert self._feed is not None
        self._feed.note_committed(status.committed)

    def _take_answer(self, number: int, answer: Any) -> None:
        question = self._questions.get(number)
        if question is None or question.done():
            return
        if isinstance(answer, tuple) and len(answer) == 4:
            # A part of a snapshot.
            parts = self._parts.setdefault(number, [])
            parts.append(answer)
            if not answer[1]:
                return
            answer = parts
        question.set_result(answer)

    # --- what is asked --------------------------------------------------------------------------------------

    async def _ask(self, kind: str, what: object) -> Any:
        if self._transport is None or self._transport.is_closing():
            raise LinkLost("the server is gone")
        number = next(self._numbers)
        question = self._questions[number] = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(link.encode((kind, number, what)))
            return await question
        finally:
            self._questions.pop(number, None)
            self._parts.pop(number, None)

    def floor(self) -> int:
        """See ``hub.Rights``."""
        return self.status.floor

    async def before(self, txns: Sequence[CommittedTxn]) -> list[Before | None]:
        """See ``hub.Rights``: what came over the link is known, what was read from the log is asked for."""
        feed = self._feed
        assert feed is not None
        if not txns or txns[0].zxid > feed.floor:
            known = self._restricted
            return [known.get(txn.zxid, NOTHING) for txn in txns] if known else [NOTHING] * len(txns)
        if txns[0].zxid > self._open_from and txns[-1].zxid <= self._open_to:
            return [NOTHING] * len(txns)
        async with self._one_at_a_time:
            answer: list[Before | None] = await self._ask(
                link.ASK_ACLS, [(txn.zxid, touched(txn.changes)) for txn in txns]
            )
            return answer

    async def acl_now(self, path: str) -> PlainAcl | None:
        """The ACL of the node there is at ``path``; None where everybody may read, and for none."""
        now = asyncio.get_running_loop().time()
        known = self._now.get(path)
        if known is not None and now - known[0] < FRESH_S:
            return known[1]
        if len(self._now) > _PRUNE_EVERY:
            self._now.clear()
        async with self._one_at_a_time:
            (before,) = await self._ask(link.ASK_ACLS, [(NOW, [path])])
        acl: PlainAcl | None = before.get(path)
        self._now[path] = (now, acl)
        return acl

    async def snapshot(self, path: str) -> Snapshot:
        """See ``Snapshots``.  Raises SnapshotTooLarge."""
        answer = await self._ask(link.ASK_SNAP, path)
        if isinstance(answer, str):
            raise SnapshotTooLarge(answer)
        nodes: list[PlainNode] = []
        plain: list[PlainAcl] = []
        zxid = answer[0][0]
        for _, _, some, acls in answer:
            nodes += some
            plain += acls
        judged = [
            None if is_readable_by_all([ACL(perms, Id(scheme, id)) for perms, scheme, id in acl]) else acl
            for acl in plain
        ]
        return Snapshot(zxid, nodes, judged, plain)
