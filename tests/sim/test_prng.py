"""Prng: the same numbers everywhere, streams that do not disturb each other."""

from hypothesis import given
from hypothesis import strategies as st

from zabra.sim.prng import Prng


def test_the_numbers_are_fixed() -> None:
    prng = Prng(1, "test")
    assert [prng.below(1000) for _ in range(6)] == [923, 358, 248, 476, 401, 805]
    assert prng.bits64() == 17597284443134590003


def test_a_split_stream_is_independent_of_draws_elsewhere() -> None:
    parent = Prng(7, "a")
    first = parent.split("b")
    parent.below(10)
    second = parent.split("b")
    assert [first.below(100) for _ in range(20)] == [second.below(100) for _ in range(20)]
    assert [Prng(7, "a/b").below(100) for _ in range(3)] != [Prng(8, "a/b").below(100) for _ in range(3)]


@given(st.integers(0, 1000), st.integers(1, 50))
def test_bounds_hold(seed: int, bound: int) -> None:
    prng = Prng(seed, "bounds")
    assert all(0 <= prng.below(bound) < bound for _ in range(50))
    assert all(3 <= prng.between(3, 3 + bound) <= 3 + bound for _ in range(50))
    assert all(2.0 <= prng.log_between(2.0, 2.0 + bound) <= 2.0 + bound for _ in range(20))
    assert all(prng.spread(5.0) >= 0.0 for _ in range(20))
    assert len(prng.data(bound)) == bound


def test_shuffling_keeps_everything_and_sampling_takes_different_ones() -> None:
    prng = Prng(3, "shuffle")
    assert sorted(prng.shuffled(range(30))) == list(range(30))
    assert len(set(prng.sample(range(30), 10))) == 10


def test_weights_of_zero_are_never_picked() -> None:
    prng = Prng(3, "weights")
    picked = {prng.weighted([0.0, 1.0, 0.0, 2.0]) for _ in range(200)}
    assert picked == {1, 3}
