"""What is let through, and what is said of a filter that is none."""

import dataclasses

import pytest
from tests.plugins.helpers import E1, create

from zabra.plugins.changes import committed_txn
from zabra.plugins.filters import Filter
from zabra.plugins.publisher import Change

TXN = dataclasses.replace(
    committed_txn(create(E1 + 1)),
    op="multi",
    changes=(
        Change(0, "create", "/a", b""),
        Change(1, "setData", "/a/b", b"", 3),
        Change(2, "delete", "/ab"),
        Change(3, "closeSession", "", owner=7),
    ),
)


@pytest.mark.parametrize(
    ("path", "ops", "left"),
    [
        ("/", (), [0, 1, 2, 3]),
        ("/a", (), [0, 1]),
        ("/a/b", (), [1]),
        ("/c", (), None),
        ("/", ("delete", "closeSession"), [2, 3]),
        ("/a", ("delete",), None),
    ],
)
def test_of(path, ops, left):
    found = Filter(path, ops).of([TXN])
    assert [[change.index for change in txn.changes] for txn in found] == ([] if left is None else [left])


def test_the_end_of_a_session_that_does_not_say_what_went_with_it():
    """It may have been at the path; whoever wants other ops only does not want this one."""
    end = dataclasses.replace(TXN, changes=(Change(0, "closeSession", "", owner=7, unlisted=True),))
    assert Filter("/a").of([end]) == [end]
    assert Filter("/a", ["create"]).of([end]) == []


def test_whoever_may_not_read_does_not_hear():
    (found,) = Filter(allows=lambda change: change.path == "/ab").of([TXN])
    assert [change.path for change in found.changes] == ["/ab"]
    # The bytes that were logged have all of it in them.
    assert found.raw == b""


def test_refused_requests_are_for_those_who_want_everything():
    refused = dataclasses.replace(TXN, changes=())
    assert Filter().of([refused]) == [refused]
    assert Filter("/a").of([refused]) == []
    assert Filter(ops=["create"]).of([refused]) == []


@pytest.mark.parametrize(("path", "ops"), [("", ()), ("a", ()), ("/a/", ()), ("/", ["destroy"])])
def test_mistakes(path, ops):
    with pytest.raises(ValueError, match=r"is not a path|there is no op 'destroy'"):
        Filter(path, ops)
