"""The history has in it what a log can have, and the truth follows from it."""

from zabra.plugins.changes import committed_txn
from zabra.plugins.conformance.history import CommittedHistory
from zabra.plugins.filters import Filter


def whole(path="/"):
    history = CommittedHistory(Filter(path))
    history.beginning()
    history.every_kind()
    history.some(20)
    history.next_epoch()
    history.some(20)
    return history


def test_every_kind_of_change_is_in_it():
    history = whole()
    txns = [committed_txn(entry) for entry in history.entries]
    ops = {change.op for txn in txns for change in txn.changes}
    assert ops == {"create", "delete", "setData", "setACL", "createSession", "closeSession"}
    assert {"multi", "error"} <= {txn.op for txn in txns}
    assert any(change.owner for txn in txns for change in txn.changes)
    assert any(change.data is None for txn in txns for change in txn.changes if change.op == "create")
    assert len({txn.zxid >> 32 for txn in txns}) == 2
    assert [txn.zxid for txn in txns] == sorted({txn.zxid for txn in txns})


def test_the_truth():
    history = whole()
    assert [txn.zxid for txn in history.truth.txns] == [entry.header.zxid for entry in history.entries]
    assert history.truth.nodes[history.last] == {path: node.data for path, node in history.tree.nodes.items()}
    assert [entry.header.zxid for entry in history.after(history.last - 2)] == [
        history.last - 1,
        history.last,
    ]


def test_only_what_is_wanted():
    truth = whole("/b").truth
    assert all(one[2].startswith("/b") for txn in truth.txns for one in txn.changes)
    assert len(truth.txns) > 5
    assert all(path.startswith("/b") for path in truth.nodes[truth.last])
