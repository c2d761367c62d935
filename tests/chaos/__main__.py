"""Long chaos campaigns; they need root, iproute2 and a C compiler.

python -m tests.chaos --runs 6 --seconds 60
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos.campaign import Campaign, Plan, total
from tests.chaos.lab import unavailable


def main() -> int:
    """Runs seeds one after another; prints a line each, and their sum as the row of the scoreboard.

    A run that fails keeps its folder, and the others still take place; then the exit code is 1.
    """
    parser = argparse.ArgumentParser(
        prog="tests.chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the others follow")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--longest-stop", type=float, default=20.0, help="seconds a server may be stopped")
    parser.add_argument("--work", help="where servers keep their data; removed after a run without violation")
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()
    if unavailable():
        print(unavailable())
        return 2
    runs: list[dict[str, int]] = []
    failed: list[int] = []
    for seed in range(args.seed, args.seed + args.runs):
        folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-", dir=args.work))
        print(f"--- seed {seed} in {folder}", flush=True)
        plan = Plan(seed, args.seconds, folder)
        plan.clients = args.clients
        plan.longest_stop_s = args.longest_stop
        say = (lambda line: None) if args.quiet else _say
        try:
            counters = Campaign(plan, say).run()
        except (AssertionError, TimeoutError):
            traceback.print_exc()
            failed.append(seed)
            continue
        print(_line(counters), flush=True)
        shutil.rmtree(folder)
        runs.append(counters)
    if runs:
        print(_line(total(runs)))
    if failed:
        print(f"failed: seeds {failed}")
    return 1 if failed else 0


def _say(line: str) -> None:
    print(line, flush=True)


def _line(counters: dict[str, int]) -> str:
    return "R15 chaos-live " + " ".join(f"{key}={value}" for key, value in counters.items())


if __name__ == "__main__":
    sys.exit(main())
