"""MachineClock: rates, steps, and the way back from a reading to a time."""

from hypothesis import given
from hypothesis import strategies as st

from zabra.sim.clock import MONOTONIC_START_MS, WALL_START_MS, MachineClock


def test_a_true_clock_counts_milliseconds() -> None:
    clock = MachineClock()
    assert clock.monotonic_ms(0) == MONOTONIC_START_MS
    assert clock.monotonic_ms(1_999) == MONOTONIC_START_MS + 1
    assert clock.wall_ms(5_000) == WALL_START_MS + 5


def test_a_step_moves_the_wall_clock_only() -> None:
    clock = MachineClock()
    clock.step_wall(-1000)
    assert clock.wall_ms(0) == WALL_START_MS - 1000
    assert clock.monotonic_ms(0) == MONOTONIC_START_MS


def test_a_change_of_rate_is_no_jump() -> None:
    clock = MachineClock()
    before = clock.monotonic_ms(10_000_000)
    clock.set_rate(10_000_000, 50_000)
    assert clock.monotonic_ms(10_000_000) == before
    assert clock.monotonic_ms(20_000_000) == before + 10_500


@given(st.integers(-50_000, 50_000), st.integers(0, 10_000_000), st.integers(0, 100_000))
def test_when_us_is_the_first_moment_of_a_reading(rate: int, changed_us: int, later_ms: int) -> None:
    clock = MachineClock()
    clock.set_rate(changed_us, rate)
    reading = clock.monotonic_ms(changed_us) + 1 + later_ms
    when = clock.when_us(reading)
    assert clock.monotonic_ms(when) >= reading
    assert clock.monotonic_ms(when - 1) < reading or when <= changed_us
