"""Fifo: a queue for the hot path.

Compiled code calls a ``deque`` through the interpreter, at fifty nanoseconds a call and a dozen calls a
write; a list with a moving head costs a tenth of that (docs/adr/0111).
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from mypy_extensions import i64

T = TypeVar("T")

# Taken items are let go of in runs of at least this many.
_RUN: Final = 256


class Fifo(Generic[T]):
    """First in, first out; ``first`` and ``last`` look without taking."""

    __slots__ = ("_head", "_items")

    def __init__(self) -> None:
        self._items: list[T | None] = []
        self._head: i64 = 0

    def __len__(self) -> int:
        return len(self._items) - self._head

    def __iter__(self) -> Iterator[T]:
        # Not a generator: items of a queue are few where anybody asks for all of them.
        return iter(self.items())

    def is_empty(self) -> bool:
        """Whether there is nothing (compiled, quicker than ``len``)."""
        return self._head == len(self._items)

    def append(self, item: T) -> None:
        """Adds ``item`` at the end."""
        self._items.append(item)

    def first(self) -> T:
        """The oldest item; there must be one."""
        item = self._items[self._head]
        assert item is not None, "an empty queue has no first item"
        return item

    def last(self) -> T:
        """The newest item; there must be one."""
        item = self._items[len(self._items) - 1]
        assert item is not None, "an empty queue has no last item"
        return item

    def at(self, index: i64) -> T:
        """The item behind ``index`` older ones; there must be so many."""
        item = self._items[self._head + index]
        assert item is not None, "beyond the queue"
        return item

    def take(self) -> T:
        """Removes and returns the oldest item; there must be one."""
        items = self._items
        head = self._head
        item = items[head]
        assert item is not None, "nothing to take"
        items[head] = None
        head += 1
        if head == len(items):
            items.clear()
            head = 0
        elif head >= _RUN and head * 2 >= len(items):
            del items[:head]
            head = 0
        self._head = head
        return item

    def drop_last(self) -> None:
        """Removes the newest item; there must be one."""
        assert not self.is_empty(), "nothing to drop"
        self._items.pop()
        if self._head == len(self._items):
            self.clear()

    def items(self) -> list[T]:
        """All items, oldest first."""
        return [item for item in self._items[self._head :] if item is not None]

    def clear(self) -> None:
        """Forgets everything."""
        self._items.clear()
        self._head = 0
