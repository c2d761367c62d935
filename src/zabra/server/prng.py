"""A small deterministic generator for what must merely be spread: snapshot triggers, back-off.

The driver seeds it (from the operating system, or from a simulation's seed), so the core stays free of
hidden randomness.  SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
"""

from typing import Final

_MASK: Final = 0xFFFFFFFFFFFFFFFF


class SplitMix:
    """A stream of numbers from one seed."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state: int = seed & _MASK

    def next(self) -> int:
        """64 bits, unsigned."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, bound: int) -> int:
        """A number from 0 to ``bound`` - 1; 0 when ``bound`` is not positive."""
        return self.next() % bound if bound > 0 else 0
