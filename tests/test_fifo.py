"""The queue of the hot path against a deque."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.fifo import Fifo


@given(st.lists(st.sampled_from(["append", "append", "append", "take", "drop_last", "clear"]), max_size=2000))
def test_it_is_a_deque(steps):
    fifo: Fifo[int] = Fifo()
    model: deque[int] = deque()
    for number, step in enumerate(steps):
        if step == "append":
            fifo.append(number)
            model.append(number)
        elif step == "clear":
            fifo.clear()
            model.clear()
        elif model and step == "take":
            assert fifo.take() == model.popleft()
        elif model:
            fifo.drop_last()
            model.pop()
        assert (len(fifo), fifo.is_empty()) == (len(model), not model)
        if model:
            assert (fifo.first(), fifo.last(), fifo.at(len(model) - 1)) == (model[0], model[-1], model[-1])
    assert fifo.items() == list(fifo) == list(model)


def test_a_long_queue_lets_go_of_what_was_taken():
    fifo: Fifo[int] = Fifo()
    for number in range(5000):
        fifo.append(number)
        if number % 2:
            assert fifo.take() == number // 2
    assert fifo.items() == list(range(2500, 5000))


@pytest.mark.parametrize("call", [Fifo.first, Fifo.last, Fifo.take, Fifo.drop_last])
def test_an_empty_queue_has_nothing_to_give(call):
    with pytest.raises((AssertionError, IndexError)):
        call(Fifo())
