"""Whether a log is all there is, where its server began with a snapshot."""

import pytest
from tests.plugins.helpers import E1, E2, FOLDER, create

from zabra.plugins.feed import Compacted
from zabra.plugins.log_history import LogHistory
from zabra.proto import codes
from zabra.proto.records import DeleteTxn, SetACLTxn, TxnHeader
from zabra.proto.txn import decode_txn
from zabra.storage.snapshots import FileSnap
from zabra.tree.datatree import DataTree
from zabra.tree.snapshot_walk import serialize_tree


def write(log, *zxids):
    log.continue_from(zxids[0] - 1)
    for zxid in zxids:
        log.append(zxid, create(zxid).raw)
    log.sync()


def read(disk, since):
    return [decode_txn(raw).header.zxid for raw in LogHistory(disk, disk, since).read(1 << 62, 1 << 30)]


def take_snapshot(disk, zxid, change=None, method=""):
    tree = DataTree()
    if change is not None:
        change(tree)
    FileSnap(disk, FOLDER, compression_method=method).save(zxid, [serialize_tree(tree)], zxid, tree.digest)


def a_node(tree):
    entry = create(7)
    tree.process_txn(entry.header, entry.record)


def a_node_that_is_gone(tree):
    a_node(tree)
    tree.process_txn(TxnHeader(1, 0, 8, 0, codes.OP_DELETE), DeleteTxn(create(7).record.path))


def an_acl(tree):
    tree.process_txn(TxnHeader(1, 0, 8, 0, codes.OP_SET_ACL), SetACLTxn("/", [], 1))


def a_session(tree):
    tree.sessions[1] = 4000


@pytest.mark.parametrize("method", ["", "gz"])
def test_the_log_of_one_who_came_before_the_first_txn_is_all_there_is(disk, log, method):
    """It was sent the empty tree of an ensemble that had just begun."""
    write(log, E1 + 1, E1 + 2)
    with pytest.raises(Compacted):
        read(disk, 0)
    take_snapshot(disk, E1, method=method)
    assert read(disk, 0) == [E1 + 1, E1 + 2]
    # Whoever has had something before that has had another history.
    with pytest.raises(Compacted):
        read(disk, 5)


@pytest.mark.parametrize("change", [a_node, a_node_that_is_gone, an_acl, a_session])
def test_who_came_later_has_not_all(disk, log, change):
    write(log, E2 + 1, E2 + 2)
    take_snapshot(disk, E2, change)
    with pytest.raises(Compacted):
        read(disk, 0)
    assert read(disk, E2) == [E2 + 1, E2 + 2]


def test_a_damaged_snapshot_says_nothing(disk, log, tmp_path):
    write(log, E1 + 1)
    take_snapshot(disk, E1)
    path = tmp_path / FOLDER / f"snapshot.{E1:x}"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Compacted):
        read(disk, 0)
    # Nor is a large one read to find out that it is no empty tree.
    path.write_bytes(bytes(2 << 20))
    with pytest.raises(Compacted):
        read(disk, 0)
