"""A snapshot taken while others write is the tree as of its zxid, to the node."""

import asyncio
import random

import pytest
from tests.plugins.helpers import E1, MemoryLog

from zabra.plugins.changes import committed_txn
from zabra.plugins.feed import Feed
from zabra.plugins.publisher import SnapNode
from zabra.plugins.tree_snapshots import TreeSnapshots, apply_txn
from zabra.proto import codes
from zabra.proto.records import ACL, CreateTxn, DeleteTxn, Id, SetACLTxn, SetDataTxn, TxnHeader
from zabra.proto.txn import decode_txn, encode_txn
from zabra.tree.datatree import DataTree

OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]
CLOSED = [ACL(codes.PERM_READ, Id("digest", "x:y"))]


def picture(tree, prefix):
    return {
        path: (node.data, node.version, tuple(tree.acl_of(node)), node.czxid, node.mzxid)
        for path, node in tree.nodes.items()
        if path == prefix or path.startswith(prefix + "/")
    }


def change(rng, tree):
    """A txn that the tree takes: creates, deletes, sets and ACLs under /s and beside it."""
    paths = [path for path in tree.nodes if path.startswith(("/s", "/t"))]
    path = rng.choice(paths) if paths else ""
    what = rng.random()
    if what < 0.4 or not paths:
        parent = rng.choice(["/s", "/t"]) if not path or rng.random() < 0.3 else path
        if parent not in tree.nodes:
            return codes.OP_CREATE, CreateTxn(parent, b"", OPEN, False, 1)
        return codes.OP_CREATE, CreateTxn(f"{parent}/{rng.randrange(10**9)}", b"%f" % what, OPEN, False, 1)
    node = tree.nodes[path]
    if what < 0.6 and not node.child_paths:
        return codes.OP_DELETE, DeleteTxn(path)
    if what < 0.8:
        return codes.OP_SET_ACL, SetACLTxn(path, rng.choice([OPEN, CLOSED]), node.aversion + 1)
    return codes.OP_SET_DATA, SetDataTxn(path, b"%f" % what, node.version + 1)


@pytest.mark.parametrize("seed", range(6))
def test_under_writers(seed):
    rng = random.Random(seed)

    async def main():
        tree = DataTree()
        log = MemoryLog()
        feed = Feed(log.open, log.last, memory_txns=rng.choice([3, 10_000]))
        pictures = {}
        zxid = E1

        def write(count):
            nonlocal zxid
            for _ in range(count):
                zxid += 1
                kind, record = change(rng, tree)
                entry = decode_txn(encode_txn(TxnHeader(1, 1, zxid, 5, kind), record, None).raw)
                tree.process_txn(entry.header, entry.record)
                log.entries.append(entry)
                feed.informed([entry])
                pictures[zxid] = picture(tree, "/s")

        async def keep_writing():
            while True:
                write(rng.randrange(4))
                await asyncio.sleep(0)

        write(700)
        writing = asyncio.ensure_future(keep_writing())
        for _ in range(3):
            snap = await TreeSnapshots(feed, lambda: tree).take("/s")
            nodes = [node async for node in snap.nodes]
            found = {n.path: (n.data, n.version, n.acl, n.czxid, n.mzxid) for n in nodes}
            assert found == pictures[snap.zxid]
            seen = {"/": None}
            for node in nodes:
                assert node.path == "/s" or node.path.rpartition("/")[0] in seen
                seen[node.path] = None
        writing.cancel()

    asyncio.run(main())


def test_the_end_of_a_session_that_lists_nothing():
    """closeSessionTxn.enabled=false, and Apache before 3.6: whose nodes they were says which go."""
    mine, other = (SnapNode(path, b"", 0, (), owner, 1, 1) for path, owner in (("/a", 7), ("/b", 8)))
    nodes = {"/a": mine, "/b": other}
    header = TxnHeader(7, 1, E1, 5, codes.OP_CLOSE_SESSION)
    apply_txn(nodes, committed_txn(decode_txn(encode_txn(header, None, None).raw)), "/")
    assert list(nodes) == ["/b"]


def test_a_node_made_anew_stands_behind_its_parent():
    """The walk saw both as they are now; the txns since its beginning made the parent a second time."""
    nodes = {path: SnapNode(path, b"", 0, (), 0, 1, 1) for path in ("/p", "/p/c")}
    for kind, record in (
        (codes.OP_DELETE, DeleteTxn("/p")),
        (codes.OP_CREATE, CreateTxn("/p", b"", OPEN, False, 1)),
        (codes.OP_CREATE, CreateTxn("/p/c", b"", OPEN, False, 1)),
    ):
        entry = decode_txn(encode_txn(TxnHeader(1, 1, E1, 5, kind), record, None).raw)
        apply_txn(nodes, committed_txn(entry), "/")
    assert list(nodes) == ["/p", "/p/c"]
