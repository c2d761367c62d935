"""VirtualLoop: an asyncio loop without a clock, sockets or threads; what happens on it happens every time.

When nothing is left to do but wait, time jumps to the next timer.  What is given to a thread
(``asyncio.to_thread``) is done there and then.  If nobody waits for a timer either, nothing will ever happen
again, which is an error.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StuckError(Exception):
    """Everybody waits for somebody else."""


class _NoSelector:
    """Stands where a loop looks for sockets that are ready: passes the time instead."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        """As long as the next timer is away."""
        if timeout is None:
            raise StuckError("every task waits, and for no timer")
        self.now += max(timeout, 0.0)
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        """Seconds since the loop was made."""
        # A timer that is due in less than the clock can tell is due.
        return self._selector.now

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector."""

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """Calls it now."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:  # noqa: BLE001  # whoever awaits the future gets it, as from a thread
            future.set_exception(error)
        return future


async def end_others() -> None:
    """Cancels every task but this one until none is left: some do not end at the first time of asking."""
    for _ in range(50):
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if not left:
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=10)
        for task in left:
            if task.done() and not task.cancelled():
                # Looked at, so that nobody complains that nobody did.
                task.exception()
    raise StuckError("tasks that do not end when they are cancelled")


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs ``main()`` to its end on a loop of its own.  Raises StuckError, and whatever it raises."""
    loop = VirtualLoop()
    try:
        return contextvars.Context().run(loop.run_until_complete, main())
    finally:
        loop.run_until_complete(end_others())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
