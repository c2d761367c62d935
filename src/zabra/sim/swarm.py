"""Swarm: many seeds, one line each, one line for all; and from a failing seed to the smallest run that fails.

Every run prints its options first.  A failure ends in one line that reproduces it.
"""

import concurrent.futures
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from zabra.sim.fault_kinds import KIND_NAMES
from zabra.sim.options import Options, draw_options
from zabra.sim.run import Report, Run

# What must have happened at least once in a campaign of this many seeds, or it proves nothing.
VACUITY_SEEDS: Final = 100
VACUITY: Final = (
    "leaders",
    "truncs",
    "snap syncs",
    "watch events",
    "watch events caught up",
    "watches set again",
    "expiries",
    "writes unknown",
    "recoveries",
    "trees",
    "uncommitted tails",
    "observer snap syncs",
    "reconfigurations",
    "rollovers",
    "quota refusals",
    "strikes",
    "cut behind a packet",
    "fuzzy snapshots",
    "crash at a disk operation",
    "crash in recovery",
    "published from the log",
    "logged txns",
    "promises",
    "aftershocks",
    "plots",
    "votes twice",
)
# In this share of the seeds of a campaign each kind of fault must have happened.
KIND_SHARE: Final = 0.05
# What one seed must have for row R1 of the scoreboard to count it.
_UNIT_SERVERS: Final = 3
_UNIT_OPS: Final = 300
_UNIT_FAULTS: Final = 15
_UNIT_KINDS: Final = 5


class Totals:
    """Sums over many runs."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed: list[int] = []
        self.counts: dict[str, int] = {}
        self.faults: dict[str, int] = {}
        self.steps = 0
        self.simulated_us = 0
        self.real_s = 0.0
        self.cpu_s = 0.0
        self.longest_recovery_ms = 0
        # Seeds in which each kind happened; that had something; that are a whole unit of row R1.
        self.seeds_with: dict[str, int] = {}
        self.shapes = {"observer": 0, "two observers": 0, "groups": 0}
        self.units = 0

    def add(self, outcome: "Outcome") -> None:
        """One more run."""
        self.seeds += 1
        if outcome.violations:
            self.failed.append(outcome.seed)
        for name, value in outcome.counts.items():
            self.counts[name] = self.counts.get(name, 0) + value
        for name, value in outcome.faults.items():
            self.faults[name] = self.faults.get(name, 0) + value
            self.seeds_with[name] = self.seeds_with.get(name, 0) + 1
        self.shapes["observer"] += outcome.observers >= 1
        self.shapes["two observers"] += outcome.observers >= 2
        self.shapes["groups"] += outcome.groups
        self.units += outcome.is_unit()
        self.steps += outcome.steps
        self.simulated_us += outcome.simulated_us
        self.cpu_s += outcome.cpu_s
        self.longest_recovery_ms = max(self.longest_recovery_ms, outcome.counts.get("liveness ms", 0))

    def ops(self) -> int:
        """Operations that were checked."""
        return sum(self.counts.get(name, 0) for name in ("writes", "reads", "writes unknown"))

    def missing(self) -> list[str]:
        """Vacuity counters that are still zero, and kinds of faults that are too rare."""
        missing = [name for name in VACUITY if not self.counts.get(name)]
        least = self.seeds * KIND_SHARE
        return missing + [f"fault {name}" for name in KIND_NAMES if self.seeds_with.get(name, 0) < least]

    def as_dict(self) -> dict[str, object]:
        """Everything, for a ledger."""
        return {
            "seeds": self.seeds,
            "units": self.units,
            "failed": self.failed,
            "ops": self.ops(),
            "simulated_s": self.simulated_us // 1_000_000,
            "cpu_s": round(self.cpu_s, 1),
            "longest_recovery_ms": self.longest_recovery_ms,
            "shapes": self.shapes,
            "counts": {name: self.counts[name] for name in sorted(self.counts) if name != "liveness ms"},
            "faults": {name: self.faults[name] for name in sorted(self.faults)},
            "seeds_with": {name: self.seeds_with[name] for name in sorted(self.seeds_with)},
        }

    def _diffs(self) -> int:
        """Synchronisations that neither cut nor replaced anything."""
        count = self.counts
        return count.get("syncs", 0) - count.get("truncs", 0) - count.get("snap syncs", 0)

    def lines(self) -> list[str]:
        """The report: a row each for safety, liveness and histories, then speed and faults."""
        count = self.counts
        hours = self.simulated_us / 3_600_000_000
        minutes = max(self.real_s, 0.001) / 60
        return [
            f"R1 sim-safety seeds={self.seeds} units={self.units} ops={self.ops()} "
            f"faults={sum(self.faults.values())} kinds={len(self.faults)} "
            f"leaders={count.get('leaders', 0)} truncs={count.get('truncs', 0)} "
            f"snaps={count.get('snap syncs', 0)} diffs={self._diffs()} "
            f"reconfigs={count.get('reconfigurations', 0)} tails={count.get('uncommitted tails', 0)} "
            f"violations={len(self.failed)}",
            f"R2 sim-liveness seeds={self.seeds} longest={self.longest_recovery_ms}ms "
            f"digests={count.get('digests', 0)} trees={count.get('trees', 0)}",
            f"R4 histories writes={count.get('writes', 0)} reads={count.get('reads', 0)} "
            f"unknown={count.get('writes unknown', 0)} sessions={count.get('sessions', 0)} "
            f"expiries={count.get('expiries', 0)} watch-events={count.get('watch events', 0)} "
            f"caught-up={count.get('watch events caught up', 0)}",
            f"speed steps={self.steps} simulated={hours:.2f}h hours-per-minute={hours / minutes:.2f} "
            f"steps-per-second={self.steps / max(self.real_s, 0.001):.0f} "
            f"cpu-per-seed={self.cpu_s / max(self.seeds, 1):.2f}s",
            "faults " + " ".join(f"{_dashed(name)}={self.faults[name]}" for name in sorted(self.faults)),
        ]


def _dashed(name: str) -> str:
    return name.replace(" ", "-")


class Outcome:
    """A report in a form that travels between processes."""

    def __init__(self, report: Report, cpu_s: float) -> None:
        self.seed = report.options.seed
        self.options = report.options.to_text()
        self.violations = [repr(violation) for violation in report.judgement.violations]
        self.rules = [violation.rule for violation in report.judgement.violations]
        self.counts = report.judgement.counts
        self.faults = report.faults
        self.injected = report.injected
        self.steps = report.steps
        self.simulated_us = report.simulated_us
        self.digest = report.digest
        self.cpu_s = cpu_s
        self.servers = report.options.voters + report.options.observers
        self.observers = report.options.observers
        self.groups = report.options.groups

    def is_unit(self) -> bool:
        """Whether it is all that row R1 asks of one seed."""
        counts = self.counts
        ops = counts.get("writes", 0) + counts.get("reads", 0) + counts.get("writes unknown", 0)
        return (
            self.servers >= _UNIT_SERVERS
            and ops >= _UNIT_OPS
            and sum(self.faults.values()) >= _UNIT_FAULTS
            and len(self.faults) >= _UNIT_KINDS
        )

    def line(self) -> str:
        """In a line."""
        verdict = "FAILED" if self.violations else "ok"
        writes = self.counts.get("writes", 0)
        reads = self.counts.get("reads", 0)
        return (
            f"seed={self.seed} {verdict} digest={self.digest} steps={self.steps} "
            f"simulated={self.simulated_us // 1_000_000}s cpu={self.cpu_s:.2f}s "
            f"steps-per-second={self.steps / max(self.cpu_s, 0.001):.0f} "
            f"hours-per-minute={self.simulated_us / 60_000_000 / max(self.cpu_s, 0.001):.2f} "
            f"writes={writes} reads={reads} faults={sum(self.faults.values())} "
            f"leaders={self.counts.get('leaders', 0)}"
        )


def options_of(seed: int, changes: str) -> Options:
    """The options a seed draws, with changes by hand."""
    options = draw_options(seed)
    options.change(changes)
    return options


def run_seed(seed: int, changes: str = "", trace: Callable[[str], None] | None = None) -> Outcome:
    """Runs one seed."""
    run = Run(options_of(seed, changes))
    run.cluster.trace = trace
    start = time.process_time()
    report = run.execute()
    return Outcome(report, time.process_time() - start)


def _run_pair(pair: tuple[int, str]) -> Outcome:
    return run_seed(pair[0], pair[1])


def run_seeds(seeds: Iterable[int], changes: str = "", jobs: int = 0) -> Iterator[Outcome]:
    """Runs seeds on ``jobs`` processes (0: all cores), in order of the seeds."""
    return run_pairs([(seed, changes) for seed in seeds], jobs)


def run_pairs(pairs: list[tuple[int, str]], jobs: int = 0) -> Iterator[Outcome]:
    """As ``run_seeds``, each seed with changes of its own."""
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1 or len(pairs) == 1:
        yield from map(_run_pair, pairs)
        return
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_run_pair, pairs, chunksize=1)


# Shrinking.


def reproduction(seed: int, changes: str) -> str:
    """The command that runs this again."""
    return f"zabra sim --seed {seed}" + (f' --set "{changes}"' if changes else "")


def shrink(
    seed: int, changes: str, say: Callable[[str], None], budget_s: float = 120.0
) -> tuple[str, Outcome] | None:
    """Makes a failing run smaller while it keeps failing by the same rule; None if it does not fail.

    First fewer faults, one after the other left out; then fewer clients and servers, less time.
    """
    first = run_seed(seed, changes)
    if not first.violations:
        return None
    rule = first.rules[0]
    best = changes
    outcome = first
    deadline = time.monotonic() + budget_s

    def still_fails(more: str) -> bool:
        nonlocal best, outcome
        candidate = f"{best} {more}".strip()
        try:
            tried = run_seed(seed, candidate)
        except ValueError:
            return False
        if rule not in tried.rules:
            return False
        best, outcome = candidate, tried
        say(f"smaller: {more} ({len(tried.injected)} faults, {tried.steps} steps)")
        return True

    end_s = first.simulated_us // 1_000_000 + 1
    still_fails(f"seconds={end_s}")
    _shrink_faults(still_fails, lambda: outcome, options_of(seed, best), deadline)
    for name, values in (("clients", (1, 2, 3)), ("observers", (0, 1)), ("cut_chance", (0.0,))):
        for value in values:
            if time.monotonic() < deadline and still_fails(f"{name}={value}"):
                break
    return best, outcome


def _shrink_faults(
    still_fails: Callable[[str], bool], latest: Callable[[], Outcome], options: Options, deadline: float
) -> None:
    """Leaves out halves, quarters ... single faults (delta debugging, the simple way)."""
    skipped = list(options.skip)
    numbers = [number for number, _, _ in latest().injected]
    size = max(1, len(numbers) // 2)
    while numbers and time.monotonic() < deadline:
        removed = False
        for start in range(0, len(numbers), size):
            chunk = numbers[start : start + size]
            if time.monotonic() >= deadline:
                return
            if still_fails("skip=" + ",".join(map(str, sorted(skipped + chunk)))):
                skipped += chunk
                left = [number for number, _, _ in latest().injected]
                numbers = [number for number in left if number not in skipped]
                removed = True
                break
        if not removed:
            if size == 1:
                return
            size = max(1, size // 2)
