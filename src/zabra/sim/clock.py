"""Clocks: one simulated time, and for each machine what it believes of it.

Simulated time is in microseconds from 0.  A machine's monotonic clock runs at its own rate and never jumps;
its wall clock is offset and may be stepped.
"""

from typing import Final

# 2024-01-01: wall-clock readings look like real ones.
WALL_START_MS: Final = 1_704_067_200_000
# A monotonic clock counts from some boot; never from 0, which means "unset" in places.
MONOTONIC_START_MS: Final = 1_000_000
US_PER_MS: Final = 1000
_PPM: Final = 1_000_000


class MachineClock:
    """``rate_ppm``: parts per million too fast (or, negative, too slow)."""

    __slots__ = ("_base_local_us", "_base_us", "rate_ppm", "wall_offset_ms")

    def __init__(self, rate_ppm: int = 0, wall_offset_ms: int = 0) -> None:
        self.rate_ppm = rate_ppm
        self.wall_offset_ms = wall_offset_ms
        self._base_us = 0
        self._base_local_us = MONOTONIC_START_MS * US_PER_MS

    def _local_us(self, now_us: int) -> int:
        elapsed = now_us - self._base_us
        return self._base_local_us + elapsed + elapsed * self.rate_ppm // _PPM

    def monotonic_ms(self, now_us: int) -> int:
        """What the machine's monotonic clock says."""
        return self._local_us(now_us) // US_PER_MS

    def wall_ms(self, now_us: int) -> int:
        """What its wall clock says."""
        return WALL_START_MS + self._local_us(now_us) // US_PER_MS - MONOTONIC_START_MS + self.wall_offset_ms

    def when_us(self, monotonic_ms: int) -> int:
        """The simulated time at which the monotonic clock first says ``monotonic_ms`` (at this rate)."""
        local = monotonic_ms * US_PER_MS - self._base_local_us
        elapsed = local * _PPM // (_PPM + self.rate_ppm)
        when = self._base_us + elapsed
        while self.monotonic_ms(when) < monotonic_ms:
            when += 1
        return when

    def set_rate(self, now_us: int, rate_ppm: int) -> None:
        """From now on the clock runs at another rate."""
        self._base_local_us = self._local_us(now_us)
        self._base_us = now_us
        self.rate_ppm = rate_ppm

    def step_wall(self, by_ms: int) -> None:
        """The wall clock jumps."""
        self.wall_offset_ms += by_ms
