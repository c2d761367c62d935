"""``zabra sim``: the simulator's front end.

zabra sim --seed 7                      one run, its options printed first
zabra sim --seed 7 --trace              the same, with everything that happens
zabra sim --seeds 1..300 --jobs 2       a campaign; the exit code says whether anything was wrong
zabra sim --seed 7 --shrink             from a failing seed to the smallest run that still fails
zabra sim --seed 7 --set "clients=2"    with options changed by hand
zabra sim --scenario FILE               a text scenario
zabra sim --faults                      the fault model
"""

import argparse
import sys
import time
from pathlib import Path

from zabra.sim import swarm
from zabra.sim.fault_kinds import KINDS
from zabra.sim.plots import PLOTS


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``zabra sim``."""
    parser = subparsers.add_parser(
        "sim",
        help="simulate an ensemble from a seed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="run one seed")
    parser.add_argument("--seeds", metavar="A..B", help="run the seeds from A up to, not including, B")
    parser.add_argument("--set", dest="changes", default="", metavar="NAME=VALUE ...", help="change options")
    parser.add_argument("--jobs", type=int, default=0, help="processes (default: one per core)")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--shrink", action="store_true", help="make a failing run smaller")
    parser.add_argument("--digests", action="store_true", help="print a line with a digest for every seed")
    parser.add_argument("--scenario", metavar="FILE", help="run a text scenario and print what happens")
    parser.add_argument("--faults", action="store_true", help="print the fault model")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Runs the command; returns the exit code: 1 where something was violated."""
    if given.faults:
        for kind in KINDS:
            print(f"{kind.name:24} {kind.text}")
        print("\nPlots, at most one in a run and maybe the last one too, behind all else:")
        for plot in PLOTS:
            print(f"{plot.name:24} {plot.text}")
        return 0
    if given.scenario:
        return _scenario(given.scenario)
    if given.seeds:
        return _campaign(given)
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000_000
    try:
        options = swarm.options_of(seed, given.changes)
    except ValueError as error:
        print(f"zabra sim: {error}", file=sys.stderr)
        return 2
    print(f"seed={seed} {options.shape().describe()}")
    print(f"options {options.to_text()}")
    if given.shrink:
        return _shrink(seed, given.changes)
    outcome = swarm.run_seed(seed, given.changes, print if given.trace else None)
    for violation in outcome.violations:
        print(violation)
    print(outcome.line())
    for name in sorted(outcome.counts):
        print(f"  {name}: {outcome.counts[name]}")
    if outcome.violations:
        print(f"reproduce: {swarm.reproduction(seed, given.changes)}")
        return 1
    return 0


def _scenario(path: str) -> int:
    from zabra.sim.scenario import play_file

    for line in play_file(Path(path)):
        print(line)
    return 0


def _shrink(seed: int, changes: str) -> int:
    found = swarm.shrink(seed, changes, print)
    if found is None:
        print(f"seed {seed} does not fail")
        return 0
    smallest, outcome = found
    for violation in outcome.violations[:3]:
        print(violation)
    for number, at_us, name in outcome.injected:
        print(f"  {at_us / 1_000_000:9.3f} s  fault {number}: {name}")
    print(f"reproduce: {swarm.reproduction(seed, smallest)}")
    return 1


def _campaign(given: argparse.Namespace) -> int:
    first, dots, last = given.seeds.partition("..")
    if not dots or not first.isdecimal() or not last.isdecimal():
        print(f"zabra sim: --seeds takes A..B, not {given.seeds!r}", file=sys.stderr)
        return 2
    totals = swarm.Totals()
    start = time.monotonic()
    for outcome in swarm.run_seeds(range(int(first), int(last)), given.changes, given.jobs):
        totals.add(outcome)
        if given.digests:
            print(outcome.line(), flush=True)
        if outcome.violations:
            print(f"FAILED seed {outcome.seed}: {outcome.violations[0][:2000]}")
            print(f"reproduce: {swarm.reproduction(outcome.seed, given.changes)}", flush=True)
    totals.real_s = time.monotonic() - start
    for line in totals.lines():
        print(line)
    missing = totals.missing()
    if missing and totals.seeds >= swarm.VACUITY_SEEDS:
        print(f"VACUOUS: nothing was seen of: {', '.join(missing)}")
        return 1
    return 1 if totals.failed else 0
