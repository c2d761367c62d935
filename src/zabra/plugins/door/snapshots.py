"""Snapshots of subtrees, as the server sends them: one for all that want the same at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from zabra.plugins.door.frames import text_of
from zabra.plugins.door.rights import PlainAcl
from zabra.plugins.jsontext import node_object
from zabra.plugins.publisher import SnapNode
from zabra.proto.records import ACL, Id

# A node as it travels: path, data, version, its ACL's place in a list, owner, czxid, mzxid.
PlainNode = tuple[str, bytes | None, int, int, int, int, int]
# How long a snapshot is given to others: the changes after it follow anyway.
FRESH_S: Final = 1.0


class SnapshotTooLarge(Exception):
    """The subtree has more nodes than may be sent; the text says so."""


class Snapshot:
    """A subtree right after the txn ``zxid``; ``acls``: each once, None: everybody may read."""

    def __init__(self, zxid: int, nodes: list[PlainNode], acls: list[PlainAcl | None], plain: list[PlainAcl]):
        self.zxid = zxid
        self.nodes = nodes
        self._acls = acls
        self._rows = [tuple([ACL(perms, Id(scheme, id)) for perms, scheme, id in acl]) for acl in plain]
        self._texts: list[bytes | None] = [None] * len(nodes)

    def acl(self, place: int) -> PlainAcl | None:
        """By which the node at ``place`` is judged."""
        return self._acls[self.nodes[place][3]]

    def text(self, place: int) -> bytes:
        """The node as JSON; made once."""
        known = self._texts[place]
        if known is None:
            path, data, version, acl, owner, czxid, mzxid = self.nodes[place]
            node = SnapNode(path, data, version, self._rows[acl], owner, czxid, mzxid)
            known = self._texts[place] = text_of({"node": node_object(node)})
        return known


class Snapshots:
    """Those that are asked for: one at a time, so that the server never walks its tree twice at once.

    Args:
        take: asks the server.  May raise SnapshotTooLarge.
    """

    def __init__(self, take: Callable[[str], Awaitable[Snapshot]]) -> None:
        self._take = take
        self._lock = asyncio.Lock()
        self._fresh: dict[str, tuple[float, Snapshot]] = {}

    async def get(self, path: str) -> Snapshot:
        """The subtree at ``path`` as of now, or of a moment ago."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            known = self._fresh.get(path)
            if known is not None and loop.time() - known[0] < FRESH_S:
                return known[1]
            snapshot = await self._take(path)
            self._fresh[path] = (loop.time(), snapshot)
            loop.call_later(FRESH_S, self._forget, path, snapshot)
            return snapshot

    def _forget(self, path: str, snapshot: Snapshot) -> None:
        known = self._fresh.get(path)
        if known is not None and known[1] is snapshot:
            del self._fresh[path]
