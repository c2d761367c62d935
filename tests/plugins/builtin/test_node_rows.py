"""The net effect of batches, however they are cut, is the tree."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.plugins.targets.harness import Script

from zabra.plugins.builtin.node_rows import NodeRows
from zabra.plugins.publisher import Change, CommittedTxn


def state_after(batches):
    """What a target has that applies them as ``postgres`` does."""
    table = {}
    for batch in batches:
        rows = NodeRows()
        for txn in batch:
            rows.apply(txn)
        for path in rows.removed():
            table.pop(path, None)
        for row in rows.made():
            assert row.path not in table
            table[row.path] = [row.data, row.version, row.acl, row.owner, row.czxid, row.mzxid]
        for path, data, version, mzxid in rows.data_changes():
            if path in table:
                table[path][0], table[path][1], table[path][5] = data, version, mzxid
        for path, acl in rows.acl_changes():
            if path in table:
                table[path][2] = acl
    return table


@settings(max_examples=40)
@given(st.integers(0, 1000), st.lists(st.integers(1, 12), max_size=30))
def test_however_batches_are_cut(seed, sizes):
    script = Script(seed)
    script.some(120)
    txns = script.txns
    batches = []
    for size in sizes:
        batches.append(txns[:size])
        txns = txns[size:]
    table = state_after([*batches, txns])
    tree = script.prep.tree
    expected = {}
    for path, node in tree.nodes.items():
        if path != "/" and not path.startswith("/zookeeper"):
            expected[path] = [
                node.data,
                node.version,
                tuple(tree.acl_of(node)),
                node.ephemeral_owner,
                node.czxid,
                node.mzxid,
            ]
    assert table == expected


def applied(*changes):
    rows = NodeRows()
    rows.apply(CommittedTxn(7, 0, 1, 1, "multi", changes, b""))
    return rows


def test_a_change_of_what_was_not_told_to_be_there():
    rows = applied(Change(0, "delete", "/a"), Change(1, "setData", "/a", b"x", 1), Change(2, "setACL", "/a"))
    assert (rows.removed(), rows.made(), rows.data_changes(), rows.acl_changes()) == (["/a"], [], [], [])


def test_the_end_of_a_session_that_does_not_say_what_went_with_it():
    rows = applied(
        Change(0, "create", "/mine", b"", 0, (), 5),
        Change(1, "create", "/other", b"", 0, (), 6),
        Change(2, "setData", "/before", b"x", 1),
        Change(3, "closeSession", "", owner=5),
        Change(4, "create", "/before", b"", 0, (), 6),
    )
    assert rows.ended() == [5]
    assert sorted(rows.removed()) == ["/before", "/mine", "/other"]
    assert sorted(row.path for row in rows.made()) == ["/before", "/other"]
