"""Compares two servers: ``python -m tests.differential --help``.

Without ``--left`` and ``--right`` it starts Apache ZooKeeper on the left and Zabra on the right (``--pair
apache-apache`` and ``zabra-zabra`` put the same server on both sides: no difference may be found). The last
line has the counters.  A difference is cut down and printed as steps; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import pprint
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.differential.engine import Address, Harness
from tests.differential.servers import start_pair

RUN_OPS = 1500


def play(harness: Harness, seeds: random.Random, ops: int, stop_after: int, shrink: bool) -> int:
    """Plays about ``ops`` operations; the number of runs with a difference."""
    found = 0
    while harness.counts.ops.total() < ops and found < stop_after:
        seed = seeds.getrandbits(48)
        steps, difference = harness.one(seed, RUN_OPS)
        if difference is None:
            continue
        found += 1
        print(f"difference in the run of seed {seed}:\n{difference}")
        if shrink:
            steps, difference = harness.shrink(steps, difference)
            print(f"cut down to {len(steps)} steps:\n{difference}")
            pprint.pprint(steps, width=150)
    return found


def address(text: str) -> Address:
    """host:port."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ops", type=int, default=50_000)
    parser.add_argument("--seed", type=int, help="seed of the seeds; default from the clock, and printed")
    parser.add_argument("--run", type=int, help="play only the run with this seed")
    parser.add_argument("--left", type=address, metavar="HOST:PORT")
    parser.add_argument("--right", type=address, metavar="HOST:PORT")
    parser.add_argument(
        "--pair", default="apache-zabra", help="which servers to start (default apache-zabra)"
    )
    parser.add_argument("--no-malformed", action="store_true", help="send no bodies that cannot be decoded")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--stop-after", type=int, default=1, help="differences to find before stopping")
    options = parser.parse_args()
    seed = time.time_ns() % 2**32 if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="differential-") as folder:
        servers = [] if options.left else start_pair(options.pair, Path(folder))
        try:
            pair = (options.left, options.right) if options.left else tuple(s.pair for s in servers)
            harness = Harness(*pair, malformed=not options.no_malformed)
            started = time.monotonic()
            seeds = random.Random(seed)
            if options.run is not None:
                seeds.getrandbits = lambda _: options.run  # type: ignore[method-assign]
                options.ops = 1
            try:
                found = play(harness, seeds, options.ops, options.stop_after, not options.no_shrink)
            except OSError as error:
                print(f"{type(error).__name__}: {error}")
                print(
                    "\n".join(
                        f"{server.name}, exit code {server.exit_code()}\n{server.log_tail(60)}"
                        for server in servers
                    )
                )
                return 1
            elapsed = time.monotonic() - started
        finally:
            for server in servers:
                server.stop()
    rate = harness.counts.ops.total() / elapsed
    print(f"{harness.counts.line(found)} seed={seed} seconds={elapsed:.0f} ops/s={rate:.0f}")
    vacuous = options.run is None and options.ops >= 50_000 and harness.counts.missing()
    return 1 if found or vacuous else 0


if __name__ == "__main__":
    sys.exit(main())
