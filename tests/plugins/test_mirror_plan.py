"""What becomes of changes: paths, choices, and how they are packed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.client import calls
from zabra.plugins.filters import Filter
from zabra.plugins.mirror_plan import (
    Bundle,
    Choices,
    Cursor,
    Step,
    Translator,
    bundles,
    is_reserved,
    is_session,
)
from zabra.plugins.publisher import Change, CommittedTxn
from zabra.proto import codes
from zabra.proto.records import ACL, Id
from zabra.tree.ephemerals import CONTAINER_OWNER, ttl_owner

SESSION = 0x1000000A
MINE = (ACL(31, Id("digest", "a:b")),)


@pytest.mark.parametrize(
    ("source", "target", "here", "there"),
    [
        ("/", "/", "/a/b", "/a/b"),
        ("/", "/", "/", "/"),
        ("/", "/y", "/", "/y"),
        ("/", "/y", "/a", "/y/a"),
        ("/x", "/", "/x", "/"),
        ("/x", "/", "/x/a", "/a"),
        ("/x", "/y/z", "/x", "/y/z"),
        ("/x", "/y/z", "/x/a/b", "/y/z/a/b"),
    ],
)
def test_paths(source, target, here, there):
    choices = Choices(source, target)
    assert choices.target_path(here) == there
    assert choices.source_path(there) == here


def test_what_is_left_out():
    choices = Choices("/", "/")
    assert choices.leaves_out("/a", SESSION)
    assert not Choices("/", "/", "persistent").leaves_out("/a", SESSION)
    for owner in (0, CONTAINER_OWNER, int(ttl_owner(5000))):
        assert not is_session(owner)
        assert not choices.leaves_out("/a", owner)
    assert is_session(-0x0123456789ABCDEF)
    assert is_reserved("/zookeeper/quota")
    assert is_reserved("/zabra-mirrors")
    assert not is_reserved("/zookeepers")


def txn(*changes, zxid=5, op="multi", session=SESSION):
    return CommittedTxn(zxid, 1, session, 1, op, tuple(changes), b"")


def told(steps):
    return [(codes.OP_NAMES[step.part.op], step.path) for step in steps]


def test_steps():
    translator = Translator(Choices("/x", "/y"))
    steps = translator.steps(
        txn(
            Change(0, "create", "/x/a", b"1", 0, MINE),
            Change(1, "create", "/x/e", b"", 0, MINE, SESSION),
            Change(2, "setData", "/x/e", b"2", 1),
            Change(3, "setData", "/x/a", None, 1),
            Change(4, "setACL", "/x/a", None, 1, MINE),
            Change(5, "delete", "/x/e"),
            Change(6, "delete", "/x/a"),
            Change(7, "create", "/xx", b""),
            Change(8, "closeSession", "", owner=SESSION),
        )
    )
    assert told(steps) == [("create", "/y/a"), ("setData", "/y/a"), ("setACL", "/y/a"), ("delete", "/y/a")]
    assert [step.place for step in steps] == [0, 3, 4, 6]
    assert steps[2].acl == MINE
    assert translator.ephemerals == {}
    assert (
        told(Translator(Choices("/x", "/y", acls="open")).steps(txn(Change(0, "setACL", "/x", acl=MINE))))
        == []
    )


def test_a_session_that_ends_without_a_list_takes_what_we_know():
    translator = Translator(Choices("/", "/", "persistent"))
    translator.steps(txn(Change(0, "create", "/e", b"", 0, MINE, SESSION)))
    end = Change(0, "closeSession", "", owner=SESSION, unlisted=True)
    assert told(translator.steps(txn(end, op="closeSession"))) == [("delete", "/e")]


def test_a_session_whose_end_lists_what_goes_takes_that_once():
    """Of which a filter has left one change."""
    translator = Translator(Choices("/x", "/y", "persistent"))
    translator.steps(txn(Change(0, "create", "/x/e", b"", 0, MINE, SESSION)))
    (only,) = Filter("/x").of(
        [txn(Change(0, "delete", "/x/e"), Change(1, "closeSession", "", owner=SESSION), op="closeSession")]
    )
    assert told(translator.steps(only)) == [("delete", "/y/e")]


def test_a_cursor_is_read_as_it_was_written():
    for cursor in (Cursor(0x1_0000_0005, "a b"), Cursor(7, "x", 3), Cursor(0, "x", is_copying=True)):
        assert Cursor.decode(cursor.encode()) == cursor
    for data in (None, b"", b"{}", b"[]", b"nonsense", b'{"mirror": 2, "zxid": "0x1"}', b"\xff"):
        with pytest.raises(ValueError, match="is no mirror's cursor"):
            Cursor.decode(data)


def step(place, size, acl=None, number=0):
    return Step(place, f"/{number}-{place}", calls.part_of(calls.delete("/")), size, acl)


TXNS = st.lists(st.lists(st.integers(1, 4000), max_size=6), max_size=12)


@settings(max_examples=200)
@given(TXNS, st.integers(3000, 9000), st.integers(1, 5))
def test_bundles(txns, max_bytes, max_parts):
    given_txns = [
        (number, [step(place, size, number=number) for place, size in enumerate(sizes)])
        for number, sizes in enumerate(txns, 1)
    ]
    found = list(bundles(given_txns, "c", Cursor(0, "c"), max_bytes, max_parts))
    # Everything once, in order.
    assert [one for bundle in found for one in bundle.steps] == [
        one for _, steps in given_txns for one in steps
    ]
    for bundle in found:
        assert len(bundle.steps) <= max_parts
        assert len(bundle.steps) <= 1 or sum(one.size for one in bundle.steps) + 1024 <= max_bytes
    # What fits into one multi is in one, and whoever goes on at any cursor has the rest.
    assert_whole(given_txns, found, max_bytes, max_parts)
    done = []
    for bundle in found:
        done += bundle.steps
        rest = [one for one in given_txns if one[0] > bundle.cursor.zxid]
        left = list(bundles(rest, "c", bundle.cursor, max_bytes, max_parts))
        after = [one for _, steps in rest for one in steps][bundle.cursor.part :]
        assert [one for again in left for one in again.steps] == after
    assert not found or found[-1].cursor == Cursor(len(txns), "c")


def assert_whole(given_txns, found: list[Bundle], max_bytes, max_parts):
    for _, steps in given_txns:
        fits = len(steps) <= max_parts and sum(one.size for one in steps) + 1024 <= max_bytes
        holders = [bundle for bundle in found if any(one in bundle.steps for one in steps)]
        assert not (fits and steps) or len(holders) == 1


def test_a_set_acl_is_alone():
    txns = [(1, [step(0, 10)]), (2, [step(0, 10, MINE)]), (3, [step(0, 10)])]
    found = list(bundles(txns, "c", Cursor(0, "c"), 10_000, 100))
    assert [(len(bundle.steps), bundle.cursor.zxid) for bundle in found] == [(1, 1), (1, 2), (1, 3)]


def test_txns_with_nothing_in_them_move_the_cursor():
    (bundle,) = bundles([(1, []), (2, [])], "c", Cursor(0, "c"), 10_000, 100)
    assert (bundle.steps, bundle.cursor) == ([], Cursor(2, "c"))
