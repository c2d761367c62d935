"""AclCache: numbers, use counts, what is dropped when; the table of a snapshot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.jute.primitives import Reader, Writer
from zabra.proto.records import ACL, Id, read_acl_vector
from zabra.tree.acl import (
    CREATOR_ALL,
    OPEN_ACL_ID,
    OPEN_ACL_UNSAFE,
    READ_ACL_UNSAFE,
    AclCache,
    write_acl_table,
)


def acl(name: str, perms: int = 31) -> list[ACL]:
    return [ACL(perms, Id("digest", name))]


def test_the_open_acl_needs_no_entry() -> None:
    cache = AclCache()
    assert cache.intern([ACL(31, Id("world", "anyone"))]) == OPEN_ACL_ID
    assert cache.get(OPEN_ACL_ID) == OPEN_ACL_UNSAFE
    assert cache.size() == 0
    cache.remove_usage(OPEN_ACL_ID)
    cache.add_usage(OPEN_ACL_ID)
    assert cache.contains(OPEN_ACL_ID)


@pytest.mark.parametrize(
    "other",
    [
        READ_ACL_UNSAFE,
        CREATOR_ALL,
        [],
        [*OPEN_ACL_UNSAFE, *OPEN_ACL_UNSAFE],
        [ACL(31, Id("world", "x"))],
        [ACL(31, Id("ip", "anyone"))],
    ],
)
def test_everything_else_does(other: list[ACL]) -> None:
    cache = AclCache()
    assert cache.intern(other) == 1
    assert cache.get(1) == other


def test_equal_lists_share_a_number() -> None:
    cache = AclCache()
    first = cache.intern(acl("a:x"))
    assert cache.intern(acl("a:x")) == first
    assert cache.usage(first) == 2
    assert cache.intern(acl("a:x", 1)) != first
    assert cache.size() == 2


def test_order_in_a_list_matters() -> None:
    cache = AclCache()
    one = [*acl("a:x"), *acl("b:x")]
    assert cache.intern(one) != cache.intern(one[::-1])


def test_the_last_user_takes_the_entry_along() -> None:
    cache = AclCache()
    number = cache.intern(acl("a:x"))
    cache.add_usage(number)
    cache.remove_usage(number)
    assert cache.contains(number)
    cache.remove_usage(number)
    assert not cache.contains(number)
    assert cache.size() == 0
    # Numbers are not used again, so that a fuzzy snapshot can tell old from new.
    assert cache.intern(acl("a:x")) == number + 1


def test_loading() -> None:
    cache = AclCache()
    cache.put_loaded(7, acl("a:x"))
    cache.put_loaded(3, acl("b:x"))
    cache.add_usage(7)
    cache.purge_unused()
    assert cache.contains(7)
    assert not cache.contains(3)
    assert cache.next_id() == 8
    assert cache.intern(acl("a:x")) == 7
    assert cache.intern(acl("b:x")) == 8


def test_a_table_with_one_list_twice() -> None:
    cache = AclCache()
    cache.put_loaded(1, acl("a:x"))
    cache.put_loaded(2, acl("a:x"))
    cache.add_usage(1)
    cache.purge_unused()
    assert cache.get(1) == acl("a:x")
    assert not cache.contains(2)
    number = cache.intern(acl("a:x"))
    assert cache.get(number) == acl("a:x")


def test_table_bytes() -> None:
    cache = AclCache()
    cache.intern(READ_ACL_UNSAFE)
    cache.intern(acl("a:x", 3))
    w = Writer()
    write_acl_table(w, cache.items())
    r = Reader(w.getvalue())
    assert r.read_int() == 2
    assert (r.read_long(), read_acl_vector(r)) == (1, READ_ACL_UNSAFE)
    assert (r.read_long(), read_acl_vector(r)) == (2, acl("a:x", 3))
    assert r.remaining() == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_counts_agree_with_a_bag(steps: list[tuple[str, bool]]) -> None:
    """Names enter and leave; an entry exists exactly while somebody uses it."""
    cache = AclCache()
    held: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for name, enter in steps:
        if enter:
            held[name].append(cache.intern(acl(name)))
        elif held[name]:
            cache.remove_usage(held[name].pop())
    for name, numbers in held.items():
        assert len(set(numbers)) <= 1
        for number in numbers:
            assert cache.get(number) == acl(name)
            assert cache.usage(number) == len(numbers)
    assert cache.size() == len([numbers for numbers in held.values() if numbers])
