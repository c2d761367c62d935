"""Txns and snapshots as messages, for targets that have a limit for one and keep them in order.

A txn is one message, or several parts where it is larger than the limit: their bodies, put together, are
the JSON.  A snapshot is a message of the kind ``snapshot``, one ``node`` each, and ``snapshotEnd``.  Every
message says in its header which zxid the target is at once it has the message: what is unfinished is at the
zxid before, so that the last message of a target is enough to go on, and readers know what to drop.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from zabra.plugins.jsontext import dump, hex_of, node_object, txn_text
from zabra.plugins.publisher import CommittedTxn, Snap

TXN: Final = "txn"
SNAPSHOT: Final = "snapshot"
NODE: Final = "node"
SNAPSHOT_END: Final = "snapshotEnd"

KIND_HEADER: Final = "Zabra-Kind"
ZXID_HEADER: Final = "Zabra-Zxid"
CURSOR_HEADER: Final = "Zabra-Cursor"
PART_HEADER: Final = "Zabra-Part"


@dataclass(frozen=True, slots=True)
class Message:
    """``part`` of ``parts`` (from 1 on); ``cursor`` is where the target is once it has this."""

    kind: str
    zxid: int
    cursor: int
    body: bytes
    part: int = 1
    parts: int = 1

    def headers(self) -> dict[str, str]:
        """As text; PART_HEADER only where there are several."""
        found = {
            KIND_HEADER: self.kind,
            ZXID_HEADER: hex_of(self.zxid),
            CURSOR_HEADER: hex_of(self.cursor),
        }
        if self.parts > 1:
            found[PART_HEADER] = f"{self.part}/{self.parts}"
        return found


def cursor_of(headers: Mapping[str, str] | None, where: str) -> int:
    """Where a target is whose last message has these headers.  Raises ValueError where it is not ours."""
    text = (headers or {}).get(CURSOR_HEADER, "")
    try:
        return int(text, 16)
    except ValueError:
        raise ValueError(f"{where} has other messages in it than those of this publisher") from None


def messages_of(txn: CommittedTxn, since: int, limit: int) -> Iterator[Message]:
    """A txn in parts of ``limit`` bytes at most; the target was at ``since`` before it."""
    return _parts(TXN, txn_text(txn), txn.zxid, since, txn.zxid, limit)


async def snapshot_messages(snap: Snap, since: int, limit: int) -> AsyncIterator[Message]:
    """A snapshot; the target was at ``since`` before it, and is so until the last message."""
    head = dump({"snapshot": hex_of(snap.zxid)})
    for message in _parts(SNAPSHOT, head, snap.zxid, since, since, limit):
        yield message
    count = 0
    async for node in snap.nodes:
        for message in _parts(NODE, dump({"node": node_object(node)}), snap.zxid, since, since, limit):
            yield message
        count += 1
    tail = dump({"snapshotEnd": hex_of(snap.zxid), "nodes": count})
    for message in _parts(SNAPSHOT_END, tail, snap.zxid, since, snap.zxid, limit):
        yield message


def _parts(kind: str, text: str, zxid: int, since: int, after: int, limit: int) -> Iterator[Message]:
    body = text.encode("utf-8")
    parts = max(1, -(-len(body) // limit))
    for part in range(1, parts + 1):
        piece = body if parts == 1 else body[(part - 1) * limit : part * limit]
        yield Message(kind, zxid, after if part == parts else since, piece, part, parts)
