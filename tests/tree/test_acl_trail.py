"""AclTrail: the ACL of then, on every path before every txn, also behind a fuzzy snapshot."""

import random

import pytest

from zabra.proto import codes
from zabra.proto.records import ACL, CreateTxn, DeleteTxn, Id, SetACLTxn, SetDataTxn, TxnHeader
from zabra.tree.acl import OPEN_ACL_UNSAFE, READ_ACL_UNSAFE
from zabra.tree.acl_trail import AclTrail, is_readable_by_all
from zabra.tree.datatree import DataTree
from zabra.tree.snapshot_walk import SnapshotWalk, TreeLoader

MINE = [ACL(31, Id("digest", "me:x"))]
YOURS = [ACL(1, Id("digest", "you:y")), ACL(31, Id("ip", "10.0.0.0/8"))]
ACLS = [OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, MINE, YOURS]
PATHS = ["/a", "/b", "/a/x", "/a/y", "/b/x"]

Step = tuple[TxnHeader, CreateTxn | DeleteTxn | SetACLTxn | SetDataTxn]


def restricted(acl: list[ACL]) -> list[ACL] | None:
    return None if is_readable_by_all(acl) else acl


def seen(tree: DataTree, path: str) -> list[ACL] | None:
    node = tree.find(path)
    return None if node is None else restricted(tree.acl_of(node))


class Writer:
    """Makes legal txns for a tree, and notes every path's ACL before each."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tree = DataTree()
        self.tree.acl_trail = AclTrail(0)
        self.zxid = 0
        self.steps: list[Step] = []
        self.before: dict[tuple[str, int], list[ACL] | None] = {}

    def step(self) -> None:
        """One more txn."""
        tree, rng = self.tree, self.rng
        self.zxid += 1
        for path in PATHS:
            self.before[path, self.zxid] = seen(tree, path)
        path = rng.choice(PATHS)
        node = tree.find(path)
        record: CreateTxn | DeleteTxn | SetACLTxn | SetDataTxn
        if node is None:
            if tree.find(path.rpartition("/")[0] or "/") is None:
                path = path.rpartition("/")[0]
            record, kind = CreateTxn(path, b"", rng.choice(ACLS), False, -1), codes.OP_CREATE
        elif rng.random() < 0.4 and not node.child_paths:
            record, kind = DeleteTxn(path), codes.OP_DELETE
        elif rng.random() < 0.6:
            record, kind = SetACLTxn(path, rng.choice(ACLS), int(node.aversion) + 1), codes.OP_SET_ACL
        else:
            record, kind = SetDataTxn(path, b"", int(node.version) + 1), codes.OP_SET_DATA
        header = TxnHeader(1, self.zxid, self.zxid, 0, kind)
        tree.process_txn(header, record)
        self.steps.append((header, record))


@pytest.mark.parametrize("seed", range(20))
def test_every_acl_of_the_past_is_known(seed: int) -> None:
    writer = Writer(seed)
    for _ in range(200):
        writer.step()
    trail = writer.tree.acl_trail
    assert trail is not None
    assert trail.floor == 0
    existed = {(path, zxid): acl for (path, zxid), acl in writer.before.items() if acl is not None}
    assert existed
    for (path, zxid), acl in existed.items():
        assert writer.tree.acl_before(path, zxid) == acl, (path, zxid)


@pytest.mark.parametrize("seed", range(40))
def test_none_is_said_only_of_what_all_could_read(seed: int) -> None:
    # Of a path without a node nothing needs to be right; of a node that all could read, None.
    writer = Writer(seed)
    opened: list[tuple[str, int]] = []
    for _ in range(120):
        there = [path for path in PATHS if writer.tree.find(path) and not seen(writer.tree, path)]
        writer.step()
        opened += [(path, writer.zxid) for path in there]
    assert opened
    for path, zxid in opened:
        assert writer.tree.acl_before(path, zxid) is None, (path, zxid)


@pytest.mark.parametrize("seed", range(40))
def test_replay_into_a_fuzzy_snapshot(seed: int) -> None:
    """What it says above its floor is right, and the floor is not above the snapshot's end."""
    writer = Writer(seed)
    for _ in range(60):
        writer.step()
    began = writer.zxid
    walk = SnapshotWalk(writer.tree)
    pieces = []
    while (piece := walk.step(1)) is not None:
        pieces.append(piece)
        writer.step()
    ended = writer.zxid
    for _ in range(60):
        writer.step()
    loader = TreeLoader()
    for piece in pieces:
        loader.feed(piece)
    tree = loader.tree
    trail = tree.acl_trail = AclTrail(began)
    for header, record in writer.steps[began:]:
        tree.process_txn(header, record)
    assert began <= trail.floor <= ended
    known = 0
    for (path, zxid), acl in writer.before.items():
        if zxid > trail.floor and acl is not None:
            assert tree.acl_before(path, zxid) == acl, (path, zxid)
            known += 1
    assert known


def test_the_oldest_go_and_the_floor_rises() -> None:
    trail = AclTrail(5, limit=8)
    for zxid in range(10, 19):
        trail.deleted("/a", zxid - 1, MINE, zxid)
    assert trail.size() == 6
    assert trail.floor == 12
    found = trail.find("/a", 13)
    assert found is not None
    assert found.zxid == 13
    assert trail.find("/a", 19) is None
    assert trail.find("/b", 13) is None
    trail.deleted("/b", 1, OPEN_ACL_UNSAFE, 20)
    assert trail.find("/b", 13) is None


def test_who_may_read() -> None:
    assert is_readable_by_all([])
    assert is_readable_by_all(READ_ACL_UNSAFE)
    assert is_readable_by_all([*MINE, *READ_ACL_UNSAFE])
    assert not is_readable_by_all(MINE)
    assert not is_readable_by_all([ACL(2, Id("world", "anyone"))])
