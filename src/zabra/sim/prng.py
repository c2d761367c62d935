"""Prng: every random choice of a simulation, from one seed, split by purpose.

A purpose has its own stream (``Prng(seed, "network")``), so adding a draw in one place moves nothing
anywhere else.  Only ``random.Random.random`` and ``getrandbits`` are used: their sequences are the same on
every Python version and platform.
"""

import math
import random
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_MASK_64: Final = 0xFFFFFFFFFFFFFFFF


class Prng:
    """One stream of choices."""

    __slots__ = ("_bits", "_random", "purpose", "seed")

    def __init__(self, seed: int, purpose: str) -> None:
        self.seed = seed
        self.purpose = purpose
        source = random.Random(f"{seed}/{purpose}")
        self._random = source.random
        self._bits = source.getrandbits

    def split(self, purpose: str) -> "Prng":
        """A stream of its own for a part of this one's purpose."""
        return Prng(self.seed, f"{self.purpose}/{purpose}")

    def unit(self) -> float:
        """From 0 up to, not including, 1."""
        return self._random()

    def chance(self, probability: float) -> bool:
        """True with ``probability``."""
        return self._random() < probability

    def below(self, bound: int) -> int:
        """From 0 to ``bound`` - 1."""
        assert bound > 0
        return int(self._random() * bound)

    def between(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return low + int(self._random() * (high - low + 1))

    def spread(self, mean: float) -> float:
        """Exponentially distributed around ``mean``: the wait until something that happens at random."""
        return -math.log(1.0 - self._random()) * mean

    def log_between(self, low: float, high: float) -> float:
        """Between two positive bounds, every order of magnitude being as likely as the other."""
        return low * math.exp(self._random() * math.log(high / low))

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[int(self._random() * len(choices))]

    def weighted(self, weights: Sequence[float]) -> int:
        """An index, as likely as its weight."""
        mark = self._random() * sum(weights)
        for index, weight in enumerate(weights):
            mark -= weight
            if mark < 0:
                return index
        return len(weights) - 1

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A shuffled copy."""
        out = list(items)
        for i in range(len(out) - 1, 0, -1):
            j = int(self._random() * (i + 1))
            out[i], out[j] = out[j], out[i]
        return out

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different ones."""
        return self.shuffled(items)[:count]

    def bits64(self) -> int:
        """64 bits, for seeds of other generators."""
        return self._bits(64) & _MASK_64

    def data(self, size: int) -> bytes:
        """Random bytes."""
        return self._bits(size * 8).to_bytes(size, "big") if size else b""
