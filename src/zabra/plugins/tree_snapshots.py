"""The tree, or a part of it, as it was right after one txn, taken while the server goes on.

The walk goes through the tree in short slices between the server's turns; what it has seen of one node may
be older or newer than of another.  Then the txns that were committed meanwhile are applied to the result in
order, as recovery does to a fuzzy snapshot: every node that changed is set by its last change, so that all
of them are as of the last txn.  Data is shared with the tree, not copied.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from zabra.plugins.feed import Compacted, Feed
from zabra.plugins.publisher import Change, CommittedTxn, Snap, SnapNode
from zabra.proto.records import ACL
from zabra.tree.datatree import DataTree

# Nodes that are looked at before others have their turn.
SLICE_NODES: Final = 500
RETRY_S: Final = 0.2


class TreeSnapshots:
    """Takes snapshots of a server's tree.

    Args:
        committed_tree: the tree, where everything in it is committed, else None.
    """

    def __init__(self, feed: Feed, committed_tree: Callable[[], DataTree | None]) -> None:
        self._feed = feed
        self._committed_tree = committed_tree

    async def take(self, prefix: str = "/") -> Snap:
        """The subtree at ``prefix`` (without nodes where there is none), as soon as there is a leader."""
        while True:
            tree = self._committed_tree()
            if tree is not None and tree.last_processed_zxid >= 0:
                try:
                    snap = await self._try(tree, prefix)
                except Compacted:
                    snap = None
                if snap is not None:
                    return snap
            await asyncio.sleep(RETRY_S)

    async def _try(self, tree: DataTree, prefix: str) -> Snap | None:
        """None where the tree was replaced meanwhile, or is not known to be committed any more."""
        began = int(tree.last_processed_zxid)
        found: dict[str, SnapNode] = {}
        stack = [prefix]
        while stack:
            for _ in range(min(SLICE_NODES, len(stack))):
                path = stack.pop()
                node = tree.find(path)
                if node is None:
                    continue
                found[path] = SnapNode(
                    path,
                    node.data,
                    int(node.version),
                    tuple(tree.acl_of(node)),
                    int(node.ephemeral_owner),
                    int(node.czxid),
                    int(node.mzxid),
                )
                if node.child_paths:
                    stack.extend(node.child_paths)
            await asyncio.sleep(0)
        if self._committed_tree() is not tree:
            return None
        ended = int(tree.last_processed_zxid)
        reading = self._feed.subscribe(began)
        zxid = began
        while zxid < ended:
            for txn in await reading.next():
                apply_txn(found, txn, prefix)
                zxid = txn.zxid
        return Snap(zxid, _in_order(found))


def is_below(path: str, prefix: str) -> bool:
    """Whether ``path`` is ``prefix`` or under it."""
    return prefix == "/" or path == prefix or path.startswith(prefix + "/")


def apply_txn(nodes: dict[str, SnapNode], txn: CommittedTxn, prefix: str) -> None:
    """Makes ``nodes`` (those below ``prefix``) what they are after ``txn``."""
    if any(change.unlisted for change in txn.changes):
        # Logged with closeSessionTxn.enabled=false: its ephemerals went, and are not listed.
        for path in [path for path, node in nodes.items() if node.owner == txn.session_id]:
            del nodes[path]
    for change in txn.changes:
        if change.path and is_below(change.path, prefix):
            _apply(nodes, change, txn.zxid)


def _apply(nodes: dict[str, SnapNode], change: Change, zxid: int) -> None:
    path = change.path
    if change.op == "create":
        acl: tuple[ACL, ...] = change.acl or ()
        # At the end, even where the walk has found it already: it must stand behind its parent.
        nodes.pop(path, None)
        nodes[path] = SnapNode(path, change.data, 0, acl, change.owner, zxid, zxid)
    elif change.op == "delete":
        nodes.pop(path, None)
    else:
        old = nodes.get(path)
        # A node that is not there now was deleted later: the walk did not find it.
        if old is not None:
            acl = old.acl if change.acl is None else change.acl
            if change.op == "setACL":
                nodes[path] = SnapNode(path, old.data, old.version, acl, old.owner, old.czxid, old.mzxid)
            else:
                nodes[path] = SnapNode(path, change.data, change.version, acl, old.owner, old.czxid, zxid)


async def _in_order(nodes: dict[str, SnapNode]) -> AsyncIterator[SnapNode]:
    """Parents first, as the walk and the txns behind it came upon them."""
    for node in nodes.values():
        yield node
