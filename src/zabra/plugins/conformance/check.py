"""``check_publisher``: one publisher through every point at which something may go wrong.

A run is a history (see ``history``) on an observer (see ``observer``), with at most one fault.  The first run
has none and counts the points; then there is a run for each point and each kind of fault.  After each, and
whenever a point is passed, the target is judged (see ``judge``).
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from zabra.plugins.conformance.faults import AWAY, KILL, KINDS, NONE, POWER, Faults
from zabra.plugins.conformance.history import CommittedHistory
from zabra.plugins.conformance.judge import ConformanceError, Published, judge
from zabra.plugins.conformance.observer import ModelObserver
from zabra.plugins.conformance.virtual_time import StuckError, run_virtual
from zabra.plugins.filters import Filter
from zabra.plugins.jsontext import hex_of
from zabra.plugins.publisher import Publisher
from zabra.proto.txn import TxnEntry
from zabra.sim.prng import Prng

# How long, in virtual time, a publisher may take to catch up.
_WITHIN_S: Final = 120.0
# An observer's disk may be so much later than what it publishes.
_LOG_LATE_S: Final = 2.0
_POLL_S: Final = 0.05
# A leader needs this long to have a server synchronised.
_SYNC_S: Final = 0.5
# Points that a failure's text tells of.
_STORY_POINTS: Final = 8


class Subject(Protocol):
    """One target, modelled, and publishers for it."""

    def publisher(self) -> Publisher:
        """A new publisher, as a new process (or attempt) makes one."""

    def published(self) -> Published:
        """What the target holds now."""

    def crash(self) -> None:
        """The target crashes and is back at once: it loses what it has not made durable, and connections."""


MakeSubject = Callable[[Faults], Subject]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check was made of."""

    runs: int
    points: int


def check_publisher(
    factory: MakeSubject,
    *,
    exactly_once: bool = False,
    path: str = "/",
    refusals: bool = True,
    kinds: Iterable[str] = KINDS,
    stride: int = 1,
    seed: int = 1,
) -> Checked:
    """Runs publishers through every point of the scenarios with every kind of fault.

    ``factory`` makes a target and publishers for it; it gets the ``Faults`` with which the target marks its
    calls.  ``exactly_once``: no txn may be there twice.  Without ``refusals``, the target has no txns that
    changed nothing.  ``stride``: every n-th point only, each kind of
    fault beginning at another one.  Raises ConformanceError at the first failure, which tells the fault,
    where it happened, and how to run only that again (``check_run``).
    """
    kinds = list(kinds)
    runs = points = 0

    def once(scenario: str, kind: str, at: int) -> int:
        return check_run(
            factory, scenario, kind, at, exactly_once=exactly_once, path=path, refusals=refusals, seed=seed
        )

    for scenario in SCENARIOS:
        count = once(scenario, NONE, -1)
        points += count
        runs += 1
        for number, kind in enumerate(kinds):
            for at in range(number % stride, count, stride):
                once(scenario, kind, at)
                runs += 1
    return Checked(runs, points)


def check_run(
    factory: MakeSubject,
    scenario: str,
    kind: str,
    at: int,
    *,
    exactly_once: bool = False,
    path: str = "/",
    refusals: bool = True,
    seed: int = 1,
) -> int:
    """One run with one fault (or NONE); returns how many points it passed.  Raises ConformanceError."""
    # The pauses of the host are random.
    others = random.getstate()
    random.seed(seed)
    try:
        return run_virtual(lambda: _run(factory, scenario, kind, at, exactly_once, path, refusals, seed))
    finally:
        random.setstate(others)


async def _run(
    factory: MakeSubject,
    scenario: str,
    kind: str,
    at: int,
    exactly_once: bool,
    path: str,
    refusals: bool,
    seed: int,
) -> int:
    faults = Faults(kind, at)
    history = CommittedHistory(Filter(path), refusals)
    subject = factory(faults)
    observer = ModelObserver(history, faults, subject.publisher, Prng(seed, f"{scenario} {kind} {at}"), path)
    run = _Run(history, faults, observer)

    def look() -> None:
        try:
            judge(subject.published(), history.truth, exactly_once, False)
        except ConformanceError as error:
            run.found = run.found or error

    faults.look = look
    faults.crash_target = subject.crash
    try:
        await SCENARIOS[scenario](run)
        judge(subject.published(), history.truth, exactly_once, True)
    except (ConformanceError, StuckError) as error:
        problem = run.found or error
        raise ConformanceError(f"{problem}\n{_story(run, scenario)}") from error
    return len(faults.passed)


def _story(run: "_Run", scenario: str) -> str:
    faults = run.faults
    lines = [f"  in the scenario {scenario!r}, with {faults.kind}"]
    if faults.happened:
        lines[0] += f" at point {faults.at}, {faults.passed[faults.at]!r}"
        lines.append(f"  again: check_run(factory, {scenario!r}, {faults.kind!r}, {faults.at})")
    last = faults.at if faults.happened else len(faults.passed)
    for number, name in enumerate(faults.passed):
        if last - _STORY_POINTS < number <= last + _STORY_POINTS:
            lines.append(f"  {'>' if number == faults.at else ' '} {number:4} {name}")
    if run.last_error:
        lines.append(f"  its last error: {run.last_error}")
    return "\n".join(lines)


class _Run:
    """What scenarios are written with."""

    def __init__(self, history: CommittedHistory, faults: Faults, observer: ModelObserver) -> None:
        self.history = history
        self.faults = faults
        self.observer = observer
        self.found: ConformanceError | None = None
        self.last_error = ""

    async def commit(self, entries: list[TxnEntry], logged: bool = True) -> None:
        """The observer hears of them, a few at a time."""
        while entries:
            part, entries = entries[:3], entries[3:]
            if not self.observer.has_heard(part[0]):
                self.observer.hear(part, logged)
            await self._while_running(0.01)

    async def settle(self) -> None:
        """Everything is published.  Raises ConformanceError where that does not happen."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while not self._has_caught_up():
            await self._while_running(_POLL_S)
            if loop.time() > begin + _LOG_LATE_S:
                self.observer.write_log()
            if loop.time() > begin + _WITHIN_S:
                status = self._status_text()
                raise ConformanceError(
                    f"within {_WITHIN_S:g} s of virtual time it does not catch up: {status}"
                )
        self.faults.look()
        if self.found is not None:
            raise self.found

    def _has_caught_up(self) -> bool:
        host = self.observer.host
        assert host is not None
        status = host.statuses()[0]
        self.last_error = status.last_error
        return status.cursor >= self.history.last and not self.faults.signal.is_set()

    def _status_text(self) -> str:
        host = self.observer.host
        assert host is not None
        status = host.statuses()[0]
        return (
            f"{status.state}, its cursor is {hex_of(max(status.cursor, 0))} of {hex_of(self.history.last)}; "
            f"{status.failures} failures, the last: {status.last_error or 'none'}"
        )

    async def _while_running(self, seconds: float) -> None:
        """Lets time pass; sees to it when the fault happens meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self.faults.signal.wait()
        except TimeoutError:
            return
        self.faults.signal.clear()
        if self.faults.kind in (KILL, POWER):
            await self.observer.end(self.faults.kind == POWER)
            await self._come_back()
        elif self.faults.kind == AWAY:
            self.history.some(3)
            self.observer.hear_the_rest()
            await asyncio.sleep(5)
            self.observer.compact()
            await asyncio.sleep(1)
            self.faults.target_away = False

    async def _come_back(self) -> None:
        """For a while it knows only what its disk knows."""
        self.observer.start()
        await asyncio.sleep(_SYNC_S)
        self.observer.synchronise()

    async def restart(self) -> None:
        """A clean stop, and a start; a fault in between is one of the process that ends anyway."""
        stopping = asyncio.ensure_future(self.observer.stop())
        killed = asyncio.ensure_future(self.faults.signal.wait())
        await asyncio.wait([stopping, killed], return_when=asyncio.FIRST_COMPLETED)
        killed.cancel()
        if not stopping.done() or self.faults.signal.is_set():
            is_cut = self.faults.kind == POWER
            if self.faults.kind == AWAY:
                await stopping
                self.faults.target_away = False
            self.faults.signal.clear()
            await self.observer.end(is_cut)
        await self._come_back()

    async def fall_behind(self) -> None:
        """The target is away for so long that the log no longer reaches back."""
        self.faults.target_away = True
        self.history.some(5)
        self.observer.hear_the_rest()
        await self._while_running(3.0)
        self.observer.compact()
        await self._while_running(1.0)
        self.faults.target_away = False


async def _from_the_beginning(run: _Run) -> None:
    """A new ensemble: everything is in the log."""
    history = run.history
    run.observer.start()
    await run.commit(history.beginning())
    await run.settle()
    # What follows is published before the observer's own disk has it.
    await run.commit(history.every_kind(), logged=False)
    await run.settle()
    run.observer.write_log()
    await _another_leader(run)
    await run.restart()
    await run.commit(history.some(3))
    await run.settle()
    await run.fall_behind()
    await run.settle()
    await run.commit(history.some(14))
    await run.settle()
    await run.restart()
    await run.settle()


async def _another_leader(run: _Run) -> None:
    """What the old one committed last is told by nobody; the new one goes on in its own epoch."""
    run.history.some(2)
    run.observer.synchronise()
    run.history.next_epoch()
    await run.commit(run.history.some(2))
    await run.settle()


async def _joined_late(run: _Run) -> None:
    """An observer that joins an old ensemble has a snapshot, and no log before it."""
    history = run.history
    history.beginning()
    history.every_kind()
    run.observer.start()
    run.observer.adopt_snapshot()
    await run.observer.end(False)
    run.observer.start()
    await run.settle()
    await run.commit(history.some(4), logged=False)
    await run.settle()
    run.observer.write_log()


SCENARIOS: Final = {"from the beginning": _from_the_beginning, "joined late": _joined_late}
