"""How soon an ensemble of three participants and an observer is ready: inside a test, and as processes.

``python -m bench.ready`` starts and stops each many times and prints medians; ready is when all four serve.
Ours is ``zabra.testing.Ensemble`` in one process, and as four processes; Apache's are four JVMs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.interop.members import APACHE_39, ZABRA, Mixed

from zabra.testing import Ensemble


def in_process() -> float:
    """Seconds until an ensemble in this process is ready."""
    began = time.monotonic()
    with Ensemble(3, 1):
        return time.monotonic() - began


def processes(kind: str) -> float:
    """Seconds until four processes are ready."""
    folder = Path(tempfile.mkdtemp(prefix="zabra-ready-"))
    ensemble = Mixed([kind] * 4, folder, observers=1)
    try:
        began = time.monotonic()
        ensemble.start()
        return time.monotonic() - began
    finally:
        ensemble.kill()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=25, help="of the ensemble in one process")
    parser.add_argument("--process-times", type=int, default=5)
    parser.add_argument("--json", type=Path, help="append a line per kind to this file")
    options = parser.parse_args()
    kinds: list[tuple[str, int, Callable[[], float]]] = [
        ("zabra.testing, one process", options.times, in_process),
        ("zabra, four processes", options.process_times, lambda: processes(ZABRA)),
        ("Apache 3.9, four JVMs", options.process_times, lambda: processes(APACHE_39)),
    ]
    print("| | starts | ready after, median ms | fastest | slowest |\n| --- | --: | --: | --: | --: |")
    for name, times, run in kinds:
        taken = [run() * 1000 for _ in range(times)]
        print(
            f"| {name} | {times} | {statistics.median(taken):.0f} | {min(taken):.0f} | {max(taken):.0f} |",
            flush=True,
        )
        if options.json:
            with options.json.open("a") as out:
                out.write(json.dumps({"kind": name, "ms": taken}) + "\n")


if __name__ == "__main__":
    main()
