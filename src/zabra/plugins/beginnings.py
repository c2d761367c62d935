"""Whether a log reaches back to the very first txn, where its server was given a snapshot to begin with.

Who joins an ensemble in which nothing has happened yet may be sent its empty tree, with the zxid at which the
epoch begins.  That nothing was before it cannot be told from the zxid (in an earlier epoch there may have
been txns), but from the tree: every change leaves a zxid, a version or a session in it.
"""

from typing import Final

from zabra.jute.primitives import JuteError
from zabra.storage.disk import Disk
from zabra.storage.errors import SnapshotError
from zabra.storage.snapshots import FileSnap, SnapshotFile, SnapshotReader
from zabra.tree.datatree import CONFIG_NODE, DataTree
from zabra.tree.snapshot_walk import TreeLoader

# A tree without changes has four nodes, one with the configuration in it.
_MAX_BYTES: Final = 1 << 20
# Of the configuration's node, whose ACL is set without a txn.
_FIRST_AVERSION: Final = -1


def nothing_before(snapshots: Disk, folder: str, zxid: int) -> bool:
    """Whether there is a snapshot at ``zxid`` that says that nothing was ever changed up to there."""
    try:
        files = FileSnap(snapshots, folder).files()
        return any(_is_unchanged(_load(snapshots, one)) for one in files if one.zxid == zxid)
    except (SnapshotError, JuteError, FileNotFoundError):
        # Damaged, or purged while we looked: then it says nothing.
        return False


def _load(snapshots: Disk, file: SnapshotFile) -> DataTree | None:
    """The tree; None where it is larger than one without changes."""
    if file.size > _MAX_BYTES:
        return None
    reader = SnapshotReader(snapshots, file)
    loader = TreeLoader()
    while not loader.done:
        if reader.bytes_read > _MAX_BYTES:
            return None
        piece = reader.more()
        loader.feed(piece)
        reader.used(len(piece) - len(loader.leftover), loader.done)
    reader.finish()
    return loader.tree


def _is_unchanged(tree: DataTree | None) -> bool:
    if tree is None or tree.sessions:
        return False
    for path, node in tree.nodes.items():
        # (A node made or deleted is in its parent's pzxid.)
        if node.czxid or node.mzxid or node.pzxid:
            return False
        if node.aversion > (_FIRST_AVERSION if path == CONFIG_NODE else 0):
            return False
    return True
