"""Mixed ensembles at length (R17): every mix, with as many leader changes as one likes.

python -m tests.interop --changes 10
python -m tests.interop --mix A39.Z.Z-leads+A39 --changes 100
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.interop import apache
from tests.interop.mixes import ALL, VACUITY, MixRun


def main() -> int:
    """Runs mixes one after another; prints a line each, and their sum as the row of the scoreboard.

    A mix that fails keeps its folder, and the others still take place; then the exit code is 1.
    """
    parser = argparse.ArgumentParser(
        prog="tests.interop", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = ", ".join(repr(mix) for mix in ALL)
    parser.add_argument("--mix", action="append", default=[], help=f"only this one of: {names}")
    parser.add_argument("--changes", type=int, default=10, help="leaders killed per mix")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", help="where servers keep their data; removed after a mix without violation")
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()
    unknown = set(args.mix) - {repr(mix) for mix in ALL}
    if unknown:
        parser.error(f"no mix {', '.join(sorted(unknown))}; there are {names}")
    for line in ("3.8", "3.9"):
        apache.release(line)
    totals: dict[str, int] = {}
    failed: list[str] = []
    for mix in ALL:
        if args.mix and repr(mix) not in args.mix:
            continue
        folder = Path(tempfile.mkdtemp(prefix="mix-", dir=args.work))
        began = time.monotonic()
        print(f"--- {mix!r} in {folder}", flush=True)
        say = (lambda line: None) if args.quiet else _say
        try:
            counters = MixRun(mix, folder, args.changes, args.seed, say).run()
        except (AssertionError, TimeoutError):
            traceback.print_exc()
            failed.append(repr(mix))
            continue
        print(f"{_line(counters)} seconds={time.monotonic() - began:.0f}", flush=True)
        shutil.rmtree(folder)
        for key, value in counters.items():
            totals[key] = totals.get(key, 0) + value
    print(_line(totals))
    missing = [name for name in VACUITY if not totals.get(name)] if not args.mix else []
    if missing:
        print(f"never seen: {', '.join(missing)}")
        failed += missing
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _say(line: str) -> None:
    print(line, flush=True)


def _line(counters: dict[str, int]) -> str:
    return "R17 mixed-ensemble " + " ".join(f"{key}={value}" for key, value in counters.items())


if __name__ == "__main__":
    sys.exit(main())
