"""zxids are signed 64-bit numbers made of an epoch and a counter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.zab.zxid import counter_of, epoch_of, follows, hex_zxid, is_epoch_start, make_zxid

epochs = st.integers(-(2**31), 2**31 - 1)
counters = st.integers(0, 2**32 - 1)


@given(epochs, counters)
def test_parts_come_back(epoch: int, counter: int) -> None:
    zxid = make_zxid(epoch, counter)
    assert -(2**63) <= zxid < 2**63
    assert (epoch_of(zxid), counter_of(zxid)) == (epoch, counter)
    assert is_epoch_start(zxid) == (counter == 0)


@given(epochs, counters, epochs, counters)
def test_the_order_is_by_epoch_then_counter(e1: int, c1: int, e2: int, c2: int) -> None:
    assert (make_zxid(e1, c1) < make_zxid(e2, c2)) == ((e1, c1) < (e2, c2))


@pytest.mark.parametrize(
    ("last", "zxid", "yes"),
    [
        (0, 0x100000001, True),
        (0x100000000, 0x100000001, True),
        (0x100000001, 0x100000002, True),
        (0x100000001, 0x100000003, False),
        (0x100000002, 0x100000002, False),
        (0x100000002, 0x100000001, False),
        (0x100000002, 0x200000001, True),
        (0x100000002, 0x500000001, True),
        (0x100000002, 0x200000002, False),
        (0x100000002, 0x200000000, False),
        (0x1FFFFFFFF, 0x200000000, False),
        (0x1FFFFFFFE, 0x1FFFFFFFF, True),
    ],
)
def test_what_may_stand_next_in_a_log(last: int, zxid: int, yes: bool) -> None:
    assert follows(last, zxid) is yes


def test_digits_are_upstreams() -> None:
    assert hex_zxid(0x100000005) == "0x100000005"
    assert hex_zxid(-1) == "0xffffffffffffffff"
