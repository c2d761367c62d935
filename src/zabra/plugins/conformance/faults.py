"""Where things may go wrong: the points that a run passes, and the one fault that it has at one of them.

Whoever models a target marks what it does with ``call`` (or ``step``, in a thread): one point before the
target takes it, one after it has, and before the publisher knows.  The checker adds the points of its own:
around every call of the publisher, at every node of a snapshot, at every step of saving a cursor.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

NONE: Final = "nothing"
ERROR: Final = "an error"
KILL: Final = "a kill of the observer"
POWER: Final = "a power cut of the observer"
TARGET: Final = "a crash of the target"
AWAY: Final = "the target gone until the log was compacted"
KINDS: Final = (ERROR, KILL, POWER, TARGET, AWAY)

# Which life of the observer's process a task belongs to.
LIFE: Final[contextvars.ContextVar[int]] = contextvars.ContextVar("LIFE", default=0)


class TargetError(ConnectionError):
    """What a client gets when the target fails, in a run with a fault."""


class Killed(BaseException):
    """Nothing a process does after its end has any effect."""


class Faults:
    """The points of one run; a fault of ``kind`` happens at number ``at`` (counted from 0)."""

    def __init__(self, kind: str = NONE, at: int = -1) -> None:
        self.kind = kind
        self.at = at
        # What was passed, in order: for the story of a failure.
        self.passed: list[str] = []
        self.life = 0
        self.happened = False
        # Every call of the target fails.
        self.target_away = False
        # Set when the process is to end, or the target is gone, for whoever drives the run.
        self.signal = asyncio.Event()
        # Called at each point: whatever must hold at every moment.
        self.look: Callable[[], None] = lambda: None
        self.crash_target: Callable[[], None] = lambda: None
        # For a target on the observer's own machine to set: what it loses when that loses power.
        self.power_cut: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def call(self, name: str) -> AsyncIterator[None]:
        """Around what a target does for one request."""
        await self.point(f"before {name}", True)
        yield
        await self.point(f"after {name}", True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """The same for calls in a thread."""
        self.step_point(f"before {name}", True)
        yield
        self.step_point(f"after {name}", True)

    async def point(self, name: str, of_target: bool) -> None:
        """One point; does not return when the process ends there.  Raises TargetError."""
        if self._passes(name, of_target):
            await asyncio.get_running_loop().create_future()

    def step_point(self, name: str, of_target: bool) -> None:
        """One point in a thread.  Raises TargetError, Killed."""
        if self._passes(name, of_target):
            raise Killed(name)

    def _passes(self, name: str, of_target: bool) -> bool:
        """Counts it, and has the fault happen; True if the process ends here."""
        if LIFE.get() != self.life:
            raise Killed(f"{name}, in a process that was killed before")
        number = len(self.passed)
        self.passed.append(name)
        if self.at < 0 or number == self.at:
            self.look()
        if self.target_away and of_target:
            raise TargetError(f"{name}: the target is away")
        if self.happened or number != self.at:
            return False
        self.happened = True
        if self.kind in (KILL, POWER):
            self.signal.set()
            return True
        if self.kind == TARGET:
            self.crash_target()
            self.look()
        if self.kind == AWAY:
            self.target_away = True
            self.signal.set()
        raise TargetError(f"{name}: {self.kind}")
