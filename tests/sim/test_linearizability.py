"""The black-box judge: what it accepts, what it refuses, and that brute force agrees."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.proto import codes
from zabra.sim.linearizability import NEVER, NO_NODE, Operation, State, linearization

START: State = (b"", 0)


def write(
    start: int, end: int, value: bytes, version: int | None, expected: int = -1, err: int | None = 0
) -> Operation:
    one = Operation(start, end, True)
    one.value, one.expected, one.err = value, expected, err
    one.version = version
    return one


def read(start: int, end: int, data: bytes, version: int) -> Operation:
    one = Operation(start, end, False)
    one.data, one.version = data, version
    return one


def test_nothing_is_linearizable() -> None:
    assert linearization([], START) == []


def test_an_order_is_found_and_respects_real_time() -> None:
    first, second = write(0, 10, b"a", 1), write(20, 30, b"b", 2)
    assert linearization([second, first], START) == [first, second]


def test_concurrent_writes_may_be_in_either_order() -> None:
    late_version, early_version = write(0, 10, b"a", 2), write(0, 10, b"b", 1)
    assert linearization([late_version, early_version], START) == [early_version, late_version]


def test_a_write_before_one_that_had_returned_is_refused() -> None:
    assert linearization([write(0, 10, b"a", 2), write(20, 30, b"b", 1)], START) is None


def test_a_lost_write_is_refused() -> None:
    assert linearization([write(0, 10, b"a", 1), write(20, 30, b"b", 1)], START) is None


def test_a_stale_read_is_refused_and_a_concurrent_one_is_not() -> None:
    done = write(0, 10, b"a", 1)
    assert linearization([done, read(20, 30, b"", 0)], START) is None
    assert linearization([done, read(5, 30, b"", 0)], START) is not None


def test_an_unknown_write_may_have_happened_at_any_time_or_never() -> None:
    unknown = write(0, NEVER, b"a", None, err=None)
    assert linearization([unknown, read(50, 60, b"", 0)], START) is not None
    assert linearization([unknown, read(50, 60, b"a", 1)], START) is not None
    assert linearization([unknown, read(50, 60, b"a", 1), read(70, 80, b"", 0)], START) is None


def test_a_compare_and_set_fails_only_where_it_must() -> None:
    refused = write(20, 30, b"b", None, expected=0, err=codes.ERR_BAD_VERSION)
    assert linearization([write(0, 10, b"a", 1), refused], START) is not None
    assert linearization([refused], START) is None


def test_a_missing_node_refuses_everything() -> None:
    missing: State = (b"", NO_NODE)
    assert linearization([write(0, 1, b"a", None, err=codes.ERR_NO_NODE)], missing) is not None
    assert linearization([write(0, 1, b"a", 1)], missing) is None


def brute_force(operations: list[Operation]) -> bool:
    """Every order of every subset that holds all answered operations."""
    unknown = [one for one in operations if one.end == NEVER]
    answered = [one for one in operations if one.end != NEVER]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            for order in itertools.permutations([*answered, *chosen]):
                if explains(list(order)):
                    return True
    return False


def explains(order: list[Operation]) -> bool:
    for i, earlier in enumerate(order):
        if any(later.end < earlier.start for later in order[i + 1 :]):
            return False
    state: State | None = START
    for one in order:
        assert state is not None
        state = one.step(state)
        if state is None:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    out = []
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, 8))
        end = draw(st.one_of(st.just(NEVER), st.integers(start, 12)))
        version = draw(st.integers(0, 4))
        value = draw(st.sampled_from([b"a", b"b"]))
        if draw(st.booleans()):
            expected = draw(st.sampled_from([-1, 0, 1, 2]))
            err = None if end == NEVER else draw(st.sampled_from([0, 0, 0, codes.ERR_BAD_VERSION]))
            known = version if err == 0 else None
            out.append(write(start, end, value, known, expected, err))
        elif end != NEVER:
            out.append(read(start, end, value if version else b"", version))
    return out


@given(histories())
@settings(max_examples=400)
def test_the_search_agrees_with_brute_force(operations: list[Operation]) -> None:
    found = linearization(operations, START)
    assert (found is not None) == brute_force(operations)
    if found is not None:
        assert explains(found)


@pytest.mark.parametrize("count", [60])
def test_a_long_history_is_judged_at_once(count: int) -> None:
    operations = [write(i * 10, i * 10 + 35, str(i).encode(), i + 1) for i in range(count)]
    assert linearization(operations, START) == operations
    broken = write(count * 10 + 100, count * 10 + 110, b"x", count)
    assert linearization([*operations, broken], START) is None
