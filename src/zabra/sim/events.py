"""Scheduler: simulated time and the queue of what happens when.

Everything that happens is an event of its own, taken in order of time and, at one time, in the order in
which the events were made.  An event is a callback with one argument.
"""

import heapq
from collections.abc import Callable
from typing import Any

Callback = Callable[[Any], None]


class Scheduler:
    """``now_us``: simulated microseconds; ``steps``: events that have happened."""

    __slots__ = ("_heap", "_made", "now_us", "steps")

    def __init__(self) -> None:
        self.now_us = 0
        self.steps = 0
        self._made = 0
        self._heap: list[tuple[int, int, Callback, Any]] = []

    def at(self, when_us: int, callback: Callback, argument: Any = None) -> None:
        """Schedules an event (at the earliest now)."""
        now = self.now_us
        self._made += 1
        heapq.heappush(self._heap, (when_us if when_us > now else now, self._made, callback, argument))

    def after(self, delay_us: int, callback: Callback, argument: Any = None) -> None:
        """Schedules an event ``delay_us`` from now."""
        self._made += 1
        heapq.heappush(self._heap, (self.now_us + delay_us, self._made, callback, argument))

    def pending(self) -> int:
        """Events scheduled."""
        return len(self._heap)

    def step(self) -> bool:
        """Lets the next event happen; False if there is none."""
        if not self._heap:
            return False
        when, _, callback, argument = heapq.heappop(self._heap)
        self.now_us = when
        self.steps += 1
        callback(argument)
        return True

    def run_until(self, when_us: int) -> None:
        """Lets everything happen up to ``when_us``, and makes it that time."""
        heap = self._heap
        pop = heapq.heappop
        while heap and heap[0][0] <= when_us:
            when, _, callback, argument = pop(heap)
            self.now_us = when
            self.steps += 1
            callback(argument)
        self.now_us = max(self.now_us, when_us)

    def run_while(self, busy: Callable[[], bool], until_us: int) -> bool:
        """Lets events happen until ``busy()`` says False ; False if time ran out first."""
        heap = self._heap
        while busy():
            if not heap or heap[0][0] > until_us:
                self.now_us = max(self.now_us, until_us)
                return not busy()
            self.step()
        return True
