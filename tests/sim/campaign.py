"""Campaigns: many seeds, counted, and for the long ones a line in a ledger that is kept.

python -m tests.sim.campaign --fresh 300                 seeds drawn from the commit and the day
python -m tests.sim.campaign --seeds 5000..6000          those
python -m tests.sim.campaign --seeds 5000..6000 --ledger adds the totals to ledger.jsonl
python -m tests.sim.campaign --sum                       the ledger added up, as tables
python -m tests.sim.campaign --sum --docs                the same, into docs/reliability.md
python -m tests.sim.campaign --speed 20                  what a busy minute costs, mean of 20 seeds

It runs on the compiled modules, which it compiles if need be; with ZABRA_PURE=1 on the sources.
``test_campaign.py`` runs it in CI.
"""

import argparse
import datetime
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zabra._mode import is_compiled
from zabra.sim import swarm
from zabra.sim.fault_kinds import KIND_NAMES

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import build_compiled  # noqa: E402

LEDGER = Path(__file__).parent / "ledger.jsonl"
PAGE = ROOT / "docs" / "reliability.md"
SUM_HEAD = "| long campaigns | in all |\n| --- | --- |\n"
REGRESSIONS = Path(__file__).parent / "regression_seeds.txt"
# Fresh seeds begin above those that ledgers name.
FIRST_FRESH = 1_000_000_000
# What a busy minute is where its cost is told: three voters, two observers, every kind of fault, eight
# clients that hardly wait.
BUSY_MINUTE = (
    "seconds=60 voters=3 observers=2 groups=0 weights=- clients=8 think_ms=100 tick_ms=500 fault_gap_ms=800 "
    "aftershocks=0 "
    "faults=" + ",".join(name.replace(" ", "_") for name in KIND_NAMES)
)


def commit() -> str:
    """What is checked out, "" where there is no git."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def fresh_seeds(count: int) -> tuple[range, str]:
    """Seeds nobody has run before, the same for everybody who runs this commit today; and where from."""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    source = f"commit {commit() or 'unknown'}, {day}"
    first = FIRST_FRESH + int(hashlib.sha256(source.encode()).hexdigest()[:8], 16)
    return range(first, first + count), source


def regression_seeds() -> list[tuple[int, str, str]]:
    """(seed, changes of options, why) of every seed that ever failed."""
    out: list[tuple[int, str, str]] = []
    for line in REGRESSIONS.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            seed, changes, why = (part.strip() for part in line.split("|"))
            out.append((int(seed), changes, why))
    return out


def run(seeds: Sequence[int], jobs: int = 0) -> swarm.Totals:
    """Runs them and prints what is wrong, with the line that reproduces it."""
    totals = swarm.Totals()
    start = time.monotonic()
    for outcome in swarm.run_seeds(seeds, "", jobs):
        totals.add(outcome)
        if outcome.violations:
            print(f"FAILED seed {outcome.seed}: {outcome.violations[0][:2000]}")
            print(f"reproduce: {swarm.reproduction(outcome.seed, '')}", flush=True)
    totals.real_s = time.monotonic() - start
    return totals


def run_regressions(totals: swarm.Totals, jobs: int = 0) -> None:
    """Runs every seed that ever failed."""
    known = regression_seeds()
    start = time.monotonic()
    outcomes = swarm.run_pairs([(seed, changes) for seed, changes, _ in known], jobs)
    for (seed, changes, why), outcome in zip(known, outcomes, strict=True):
        totals.add(outcome)
        if outcome.violations:
            print(f"FAILED again: seed {seed} ({why}): {outcome.violations[0][:2000]}")
            print(f"reproduce: {swarm.reproduction(seed, changes)}", flush=True)
    totals.real_s += time.monotonic() - start


def ledger_line(seeds: Sequence[int], totals: swarm.Totals) -> str:
    """A campaign as a line of the ledger."""
    about: dict[str, Any] = {
        "first": seeds[0],
        "last": seeds[-1],
        "commit": commit(),
        "day": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "compiled": is_compiled(),
    }
    return json.dumps(about | totals.as_dict(), separators=(",", ":"))


def add_up(lines: Sequence[str]) -> dict[str, Any]:
    """The ledger as one campaign."""
    out: dict[str, Any] = {}
    for line in lines:
        _add(out, json.loads(line))
    return out


def _add(out: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict):
            _add(out.setdefault(name, {}), value)
        elif isinstance(value, list):
            out[name] = out.get(name, []) + value
        elif name == "longest_recovery_ms":
            out[name] = max(out.get(name, 0), value)
        elif isinstance(value, int | float) and name not in ("first", "last", "compiled"):
            out[name] = out.get(name, 0) + value


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def pair(*values: float) -> str:
    """For a cell of a table."""
    return ", ".join(map(_number, values))


def _failures(seeds: Sequence[int]) -> str:
    """How many, and which."""
    return f"{len(seeds)}: {', '.join(map(str, seeds))}" if seeds else "0"


def sum_table(lines: Sequence[str]) -> str:
    """The ledger as tables: what was run, what was seen, every kind of fault."""
    if not lines:
        return SUM_HEAD + "| seeds | 0 |\n"
    total = add_up(lines)
    counts, seeds = total["counts"], total["seeds"]
    counts.setdefault("truncs refused", 0)
    diffs = counts["syncs"] - counts["truncs"] - counts["snap syncs"]
    days = sorted({json.loads(line)["day"] for line in lines})
    rows = [
        ("seeds", f"{_number(seeds)}, of which {_number(total['units'])} are whole units of row R1"),
        ("campaigns", f"{len(lines)}, {days[0]} to {days[-1]}"),
        ("seeds that failed, each looked into", _failures(total["failed"])),
        ("simulated hours, CPU minutes", pair(total["simulated_s"] / 3600, total["cpu_s"] / 60)),
        ("operations checked", _number(total["ops"])),
        ("txns committed, deliveries", pair(counts["txns"], counts["deliveries"])),
        ("watch events, of these caught up", pair(counts["watch events"], counts["watch events caught up"])),
        ("sessions, of these expired", pair(counts["sessions"], counts["sessions expired"])),
        ("leaders established", _number(counts["leaders"])),
        ("syncs by DIFF, by TRUNC, by SNAP", pair(diffs, counts["truncs"], counts["snap syncs"])),
        ("SNAPs of observers, cuts refused", pair(counts["observer snap syncs"], counts["truncs refused"])),
        ("votes that came twice", _number(counts.get("votes twice", 0))),
        ("reconfigurations", _number(counts["reconfigurations"])),
        ("epochs that were used up", _number(counts["rollovers"])),
        ("starts, with a tail nobody had committed", pair(counts["recoveries"], counts["uncommitted tails"])),
        ("longest recovery behind the faults, simulated s", _number(total["longest_recovery_ms"] / 1000)),
        ("faults", _number(sum(total["faults"].values()))),
    ]
    text = SUM_HEAD + "".join(f"| {name} | {value} |\n" for name, value in rows)
    text += "\n| fault | times | in % of seeds |\n| --- | --- | --- |\n"
    for name, times in sorted(total["faults"].items()):
        text += f"| {name} | {_number(times)} | {100 * total['seeds_with'][name] / seeds:.0f} |\n"
    return text


def with_sum(page: str) -> str:
    """The page with the tables as they are now."""
    start = page.index(SUM_HEAD)
    lines = LEDGER.read_text("utf-8").splitlines() if LEDGER.exists() else []
    return page[:start] + sum_table(lines) + "\n" + page[page.index("## ", start) :]


def run_compiled(arguments: Sequence[str]) -> None:
    """Becomes a process that runs the same on the compiled modules; returns where nothing can be compiled."""
    try:
        tree = str(build_compiled.build())
    except build_compiled.BuildError as error:
        print(f"not compiled: {error}", file=sys.stderr)
        return
    if os.environ.get("PYTHONPATH") == tree:
        raise SystemExit(f"the modules of {tree} are not taken")
    os.chdir(ROOT)
    command = [sys.executable, "-m", "tests.sim.campaign", *arguments]
    os.execve(sys.executable, command, dict(os.environ, PYTHONPATH=tree))


def speed(count: int) -> int:
    """Prints what ``BUSY_MINUTE`` costs; the status is 1 where one of the seeds fails."""
    totals = swarm.Totals()
    slowest = 0.0
    for seed in range(1, count + 1):
        outcome = swarm.run_seed(seed, BUSY_MINUTE)
        totals.add(outcome)
        slowest = max(slowest, outcome.cpu_s)
    totals.real_s = totals.cpu_s
    mean = totals.cpu_s / count
    print(
        f"compiled={is_compiled()} seeds={count} cpu-per-seed={mean:.2f}s slowest={slowest:.2f}s "
        f"steps-per-second={totals.steps / totals.cpu_s:.0f} "
        f"hours-per-minute={totals.simulated_us / 60_000_000 / totals.cpu_s:.2f} "
        f"ops-per-seed={totals.ops() // count} faults-per-seed={sum(totals.faults.values()) // count}"
    )
    return 1 if totals.failed else 0


def parse_range(text: str) -> range:
    """``A..B``, without B.  Raises ValueError."""
    first, dots, last = text.partition("..")
    if not dots:
        raise ValueError(f"A..B, not {text!r}")
    return range(int(first), int(last))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the status is 1 where something was violated or never happened."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fresh", type=int, default=0, metavar="N", help="run N fresh seeds")
    parser.add_argument("--seeds", type=parse_range, metavar="A..B")
    parser.add_argument("--regressions", action="store_true", help="and every seed that ever failed")
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: one per core)")
    parser.add_argument("--ledger", action="store_true", help="add a line to the ledger")
    parser.add_argument("--json", metavar="FILE", help="write the totals there")
    parser.add_argument("--sum", action="store_true", help="add the ledger up")
    parser.add_argument("--docs", action="store_true", help="with --sum: into the docs")
    parser.add_argument("--speed", type=int, default=0, metavar="N", help="time N busy minutes")
    given = parser.parse_args(arguments)
    if given.sum:
        if given.docs:
            PAGE.write_text(with_sum(PAGE.read_text("utf-8")), "utf-8")
        else:
            print(sum_table(LEDGER.read_text("utf-8").splitlines() if LEDGER.exists() else []), end="")
        return 0
    if not is_compiled() and os.environ.get("ZABRA_PURE", "0") in ("", "0"):
        run_compiled(sys.argv[1:] if arguments is None else arguments)
    if given.speed:
        return speed(given.speed)
    seeds: Sequence[int] = given.seeds or ()
    if given.fresh:
        seeds, source = fresh_seeds(given.fresh)
        print(f"seeds {seeds[0]}..{seeds[-1] + 1} (from {source}), compiled={is_compiled()}", flush=True)
    totals = run(seeds, given.jobs)
    if given.regressions:
        run_regressions(totals, given.jobs)
    for line in totals.lines():
        print(line)
    if given.json:
        Path(given.json).write_text(ledger_line(seeds, totals), "utf-8")
    if given.ledger:
        with LEDGER.open("a", encoding="utf-8") as file:
            file.write(ledger_line(seeds, totals) + "\n")
    missing = totals.missing() if totals.seeds >= swarm.VACUITY_SEEDS else []
    if missing:
        print(f"VACUOUS: nothing, or too little, was seen of: {', '.join(missing)}")
    return 1 if totals.failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
