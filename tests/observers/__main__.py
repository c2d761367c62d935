"""Row R19 at the size of a release: ``python -m tests.observers --seeds 200`` prints a line per scenario.

Exits with 1 where a seed has failed; ``--only NAME --first SEED --seeds 1`` runs it again.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import traceback

from tests.observers.scenarios import SCENARIOS, Counts


def run(pair: tuple[int, int]) -> tuple[int, Counts, str]:
    """One scenario with one seed: seed, counts, and what went wrong."""
    index, seed = pair
    try:
        return seed, SCENARIOS[index](seed), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed has failed and is told
        return seed, {}, "".join(traceback.format_exception(error)[-3:])


def add(totals: Counts, counts: Counts) -> None:
    """Sums; the largest of what is a time or a peak."""
    for name, value in counts.items():
        if name.endswith(("_ms", "_at_once")) or "_us_" in name:
            totals[name] = max(totals.get(name, 0), value)
        else:
            totals[name] = totals.get(name, 0) + value


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--only", default="", help="one scenario's name")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    failed = 0
    for index, scenario in enumerate(SCENARIOS):
        if options.only and scenario.__name__ != options.only:
            continue
        totals: Counts = {}
        pairs = [(index, seed) for seed in range(options.first, options.first + options.seeds)]
        violations = 0
        with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
            for seed, counts, error in pool.map(run, pairs):
                add(totals, counts)
                if error:
                    violations += 1
                    print(f"{scenario.__name__} seed {seed} FAILED\n{error}", flush=True)
        numbers = " ".join(f"{name}={value}" for name, value in totals.items())
        print(f"R19 {scenario.__name__} seeds={len(pairs)} {numbers} violations={violations}", flush=True)
        failed += violations
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
