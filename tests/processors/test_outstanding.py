"""Outstanding changes: what prep sees, what is forgotten, and that a failed multi leaves no trace."""

from hypothesis import given
from hypothesis import strategies as st

from zabra.processors.outstanding import ChangeRecord, OutstandingChanges, find_record
from zabra.tree.datatree import DataTree

CHANGES = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=8)


def change(outstanding, zxid, path, exists):
    record = ChangeRecord(zxid, path, b"%d" % zxid, [])
    record.exists = exists
    outstanding.put(record)


def view(outstanding):
    return {path: (r.zxid, r.exists) for path in "abc" if (r := outstanding.get(path)) is not None}


@given(CHANGES, CHANGES, CHANGES)
def test_a_rolled_back_multi_never_happened(before, inside, after):
    outstanding = OutstandingChanges()
    plain = OutstandingChanges()
    zxid = 1
    for path, exists in before:
        change(outstanding, zxid, path, exists)
        change(plain, zxid, path, exists)
        zxid += 1
    outstanding.begin()
    for path, exists in inside:
        change(outstanding, zxid, path, exists)
    outstanding.rollback()
    assert view(outstanding) == view(plain)
    assert len(outstanding) == len(plain)
    for path, exists in after:
        zxid += 1
        change(outstanding, zxid, path, exists)
        change(plain, zxid, path, exists)
    assert view(outstanding) == view(plain)


@given(CHANGES, st.integers(0, 9))
def test_what_is_applied_is_forgotten_and_nothing_else(changes, applied):
    outstanding = OutstandingChanges()
    for zxid, (path, exists) in enumerate(changes, 1):
        change(outstanding, zxid, path, exists)
    outstanding.forget(applied)
    newest = {path: zxid for zxid, (path, _) in enumerate(changes, 1)}
    assert {path: r[0] for path, r in view(outstanding).items()} == {
        path: zxid for path, zxid in newest.items() if zxid > applied
    }
    outstanding.clear()
    assert len(outstanding) == 0
    assert view(outstanding) == {}


def test_a_record_of_the_tree_is_a_copy_and_a_deleted_one_hides_the_node():
    tree = DataTree()
    outstanding = OutstandingChanges()
    record = find_record(outstanding, tree, "/zookeeper", 9)
    assert record is not None
    assert record.child_count == 2
    record.version += 5
    outstanding.put(record)
    again = find_record(outstanding, tree, "/zookeeper", 10)
    assert again is not None
    assert again is not record
    assert again.version == record.version
    node = tree.find("/zookeeper")
    assert node is not None
    assert node.version == 0
    again.exists = False
    outstanding.put(again)
    assert find_record(outstanding, tree, "/zookeeper", 11) is None
    assert find_record(outstanding, tree, "/none", 11) is None
