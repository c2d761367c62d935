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
from tests.differential.servers import PLACES, running_pair
from tests.interop.processes import ServerProcess

RUN_OPS = 1500


def one_run(harness: Harness, seed: int, shrink: bool) -> int:
    """Plays the run of one seed, tells of a difference; 1 when there was one."""
    steps, difference = harness.one(seed, RUN_OPS)
    if difference is None:
        return 0
    print(f"difference in the run of seed {seed}:\n{difference}")
    if shrink:
        steps, difference = harness.shrink(steps, difference)
        print(f"cut down to {len(steps)} steps:\n{difference}")
        pprint.pprint(steps, width=150)
    return 1


def play(harness: Harness, seeds: random.Random, ops: int, stop_after: int, shrink: bool) -> int:
    """Plays until about ``ops`` operations are counted; the number of runs with a difference."""
    found = 0
    while harness.counts.ops.total() < ops and found < stop_after:
        found += one_run(harness, seeds.getrandbits(48), shrink)
    return found


def address(text: str) -> Address:
    """host:port."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def arguments() -> argparse.Namespace:
    """What the command line says."""
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
    parser.add_argument(
        "--at", default="standalone", choices=PLACES, help="talk to this member of two ensembles"
    )
    parser.add_argument("--no-malformed", action="store_true", help="send no bodies that cannot be decoded")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--stop-after", type=int, default=1, help="differences to find before stopping")
    return parser.parse_args()


def compare(options: argparse.Namespace, addresses: list[Address], processes: list[ServerProcess]) -> int:
    """Plays on these two addresses and prints the report; the exit code."""
    seed = time.time_ns() % 2**32 if options.seed is None else options.seed
    # A malformed write makes the leader of an Apache ensemble use a zxid twice, after which it may hang.
    malformed = not options.no_malformed and options.at == "standalone"
    harness = Harness(addresses[0], addresses[1], malformed=malformed)
    started = time.monotonic()
    try:
        if options.run is not None:
            found = one_run(harness, options.run, not options.no_shrink)
        else:
            found = play(harness, random.Random(seed), options.ops, options.stop_after, not options.no_shrink)
    except OSError as error:
        print(f"{type(error).__name__}: {error}")
        for server in processes:
            print(f"{server.name}, exit code {server.exit_code()}\n{server.log_tail(60)}")
        return 1
    elapsed = time.monotonic() - started
    rate = harness.counts.ops.total() / elapsed
    print(f"{harness.counts.line(found)} seed={seed} seconds={elapsed:.0f} ops/s={rate:.0f}")
    vacuous = malformed and options.run is None and options.ops >= 50_000 and harness.counts.missing()
    return 1 if found or vacuous else 0


def main() -> int:
    """The command."""
    options = arguments()
    if options.left:
        return compare(options, [options.left, options.right], [])
    with (
        tempfile.TemporaryDirectory(prefix="differential-") as folder,
        running_pair(options.pair, Path(folder), options.at) as (processes, addresses),
    ):
        return compare(options, addresses, processes)


if __name__ == "__main__":
    sys.exit(main())
