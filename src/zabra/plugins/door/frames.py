"""What subscribers are sent, as bytes: each event once for all that get the same.

The events are ``txn`` (docs/publishers.md), ``snapshot``, ``node``, ``snapshotEnd``, ``bookmark`` (nothing
more up to here), ``behind`` (the server has not come as far as the subscriber was), and the last one:
``compacted`` (history no longer reaches back) or ``failed``.  SSE names them in its ``event`` field (a txn
has none) and has the zxid to go on from as ``id``; NDJSON and WebSocket send the object alone, which can be
told by its first key.
"""

from collections import OrderedDict
from typing import Any, Final

from zabra.plugins.door.query import NDJSON, POLL, SSE, WEBSOCKET
from zabra.plugins.door.settings import Status
from zabra.plugins.jsontext import dump, hex_of, txn_text
from zabra.plugins.publisher import Change, CommittedTxn

CACHE_BYTES: Final = 16 * 1024 * 1024
# What a cached text costs beside itself, roughly.
_OVERHEAD_BYTES: Final = 200

TXN: Final = "txn"
SNAPSHOT: Final = "snapshot"
NODE: Final = "node"
SNAPSHOT_END: Final = "snapshotEnd"
BOOKMARK: Final = "bookmark"
COMPACTED: Final = "compacted"
BEHIND: Final = "behind"
ERROR: Final = "failed"


def frame(kind: str, event: str, text: bytes, zxid: int | None) -> bytes:
    """One event for one format; ``zxid`` where reading may go on behind it."""
    if kind == SSE:
        head = b"" if zxid is None else b"id: 0x%x\n" % zxid
        if event != TXN:
            head += b"event: %s\n" % event.encode()
        return b"%sdata: %s\n\n" % (head, text)
    if kind == WEBSOCKET:
        return websocket_text(text)
    if kind == NDJSON:
        return text + b"\n"
    assert kind == POLL
    return text


def websocket_text(text: bytes) -> bytes:
    """A text message in one frame; servers do not mask, so that all may be sent the same."""
    size = len(text)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + text
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text


def chunk(data: bytes) -> bytes:
    """A piece of a body of HTTP/1.1 whose length is not known beforehand."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"


def text_of(value: object) -> bytes:
    """JSON on one line."""
    return dump(value).encode("utf-8", "replace")


def lag_object(status: Status) -> dict[str, Any]:
    """How far the server is behind its leader; null where that is not known."""
    return {
        "lagTxns": None if status.lag_txns < 0 else status.lag_txns,
        "lagMs": None if status.lag_ms < 0 else status.lag_ms,
    }


def bookmark_text(zxid: int, status: Status) -> bytes:
    """Everything up to ``zxid`` was sent, or was not wanted."""
    return text_of({"bookmark": hex_of(zxid), **lag_object(status)})


def behind_text(zxid: int, status: Status) -> bytes:
    """The server has come as far as ``zxid`` only."""
    return text_of({"behind": hex_of(max(0, zxid)), **lag_object(status)})


def snapshot_text(zxid: int, path: str) -> bytes:
    """Nodes follow, as of ``zxid``; they take the place of everything known before."""
    return text_of({"snapshot": hex_of(zxid), "path": path})


def snapshot_end_text(zxid: int, nodes: int) -> bytes:
    """All nodes were sent."""
    return text_of({"snapshotEnd": hex_of(zxid), "nodes": nodes})


def compacted_object(since: int, oldest: int) -> dict[str, Any]:
    """History after ``since`` is gone; reading may begin at ``oldest`` - 1."""
    return {
        "error": "compacted",
        "message": f"history after {hex_of(since)} is compacted, oldest = {hex_of(oldest)}",
        "since": hex_of(since),
        "oldest": hex_of(oldest),
    }


class TxnTexts:
    """Txns as JSON, the newest kept: one text for all who may see the same changes of it."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._texts: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def text(self, txn: CommittedTxn, shown: tuple[Change, ...]) -> bytes:
        """The txn with those of its changes that are ``shown``."""
        # A change without its ACL is another one of the same index.
        key = (txn.zxid, *[(change.index, change.acl is None) for change in shown])
        known = self._texts.get(key)
        if known is not None:
            return known
        made = txn_text(txn, shown).encode("utf-8", "replace")
        self._texts[key] = made
        self._bytes += len(made) + _OVERHEAD_BYTES
        while self._bytes > self._limit:
            _, gone = self._texts.popitem(last=False)
            self._bytes -= len(gone) + _OVERHEAD_BYTES
        return made
