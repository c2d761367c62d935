"""Plants bugs, one at a time, and sees that the simulator finds them.

python tools/mutants.py                      every mutant, seeds 1, 2, ... until it is caught
python tools/mutants.py no-trunc diff        those whose names contain one of the words
python tools/mutants.py --recorded           only the seed recorded for each
python tools/mutants.py --list               the table
python tools/mutants.py --docs               what is recorded, into docs/reliability.md

A mutant (``mutant_table.py``) is an edit of the source.  It is made in a copy, never in the checkout, and
the copy's simulator runs seeds until one ends with a violation: then the mutant is caught.  What was found
is kept in ``tests/sim/mutant_seeds.json``: the seed, the rule that was broken, and how many seeds were tried.
The status is 1 if a mutant survives.
"""

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue

from mutant_table import MUTANTS, Mutant
from zabra.sim import swarm

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
RECORD = ROOT / "tests" / "sim" / "mutant_seeds.json"
PAGE = ROOT / "docs" / "reliability.md"
TABLE_HEAD = "| mutant | which mistake | seeds until caught | by the rule |\n| --- | --- | --- | --- |\n"
LIMIT = 1000
# Short and dense: a planted bug needs faults, not time.
CHANGES = "seconds=10 fault_gap_ms=280 clients=5 aftershocks=2"
# CPU seconds after which a run is given up: that a mutant spins is not a verdict of the checkers.
CPU_LIMIT_S = 900

# Runs in the copy: seeds until one fails; one line of JSON for it.
HUNT = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
from zabra.sim import swarm
for seed in json.loads(sys.argv[2]):
    outcome = swarm.run_seed(seed, sys.argv[3])
    if outcome.violations:
        print(json.dumps({"seed": seed, "rule": outcome.rules[0], "text": outcome.violations[0][:300]}))
        break
"""


class MutantError(Exception):
    """The table does not fit the source any more."""


def edited(mutant: Mutant, source: Path = SOURCE) -> dict[str, str]:
    """File below the source -> its text with the mutant's edits.  Raises MutantError."""
    out: dict[str, str] = {}
    for name, old, new in mutant.edits:
        text = out.get(name)
        if text is None:
            text = (source / "zabra" / name).read_text("utf-8")
        count = text.count(old)
        if count != 1:
            raise MutantError(f"{mutant.name}: {name} has {count} places that read {old!r}")
        out[name] = text.replace(old, new)
        if out[name] == text:
            raise MutantError(f"{mutant.name}: an edit of {name} changes nothing")
        compile(out[name], name, "exec")
    return out


@functools.cache
def drawn(seed: int) -> frozenset[str]:
    """What a seed has: options that are not naught, kinds of faults, plots."""
    options = swarm.options_of(seed, CHANGES)
    return frozenset(
        [*(name for name, value in vars(options).items() if value), *options.faults, *options.plots]
    )


def suited(mutant: Mutant, seeds: Iterable[int]) -> Iterator[int]:
    """Those of ``seeds`` that have what the bug needs to matter."""
    return (seed for seed in seeds if drawn(seed).issuperset(mutant.needs))


class Nursery:
    """A copy of the source in which one mutant at a time lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def hunt(self, mutant: Mutant, seeds: Sequence[int]) -> dict[str, object] | None:
        """Runs the seeds on the mutant; the first that catches it, or None."""
        texts = edited(mutant)
        try:
            for name, text in texts.items():
                self._write(name, text)
            return self._run(seeds)
        finally:
            for name in texts:
                self._write(name, (SOURCE / "zabra" / name).read_text("utf-8"))

    def _write(self, name: str, text: str) -> None:
        path = self.folder / "zabra" / name
        path.write_text(text, "utf-8")
        # A size and a second may be the same: the compiled file must not outlive its source.
        for stale in (path.parent / "__pycache__").glob(path.stem + ".*.pyc"):
            stale.unlink()

    def _run(self, seeds: Sequence[int]) -> dict[str, object] | None:
        environment = dict(os.environ, PYTHONPATH=str(self.folder), ZABRA_PURE="1", PYTHONHASHSEED="0")
        done = subprocess.run(
            [
                *(sys.executable, "-c", HUNT, str(CPU_LIMIT_S)),
                *(json.dumps(list(seeds)), CHANGES),
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            if done.returncode < 0:
                return None
            raise MutantError(f"the copy could not run:\n{done.stderr[-2000:]}")
        found: dict[str, object] | None = json.loads(done.stdout) if done.stdout.strip() else None
        return found


def recorded() -> dict[str, dict[str, object]]:
    """What is known of each mutant: "seed" that catches it, "rule" it breaks, "tried" seeds until then."""
    known: dict[str, dict[str, object]] = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    return known


def table() -> str:
    """What is recorded, as the table of docs/reliability.md; those not caught are named behind it."""
    known = recorded()
    rows = [
        f"| {one.name} | {one.origin} | {known[one.name]['tried']} | {known[one.name]['rule']} |\n"
        for one in MUTANTS
        if one.name in known
    ]
    tried = [int(str(known[one.name]["tried"])) for one in MUTANTS if one.name in known]
    missing = [one.name for one in MUTANTS if one.name not in known]
    text = (
        f"\nOf {len(MUTANTS)}, {len(tried)} have been caught, the median one by seed "
        f"{statistics.median(tried):g}, the last by seed {max(tried)}."
    )
    if missing:
        text += f" Not caught yet: {', '.join(missing)}."
    return TABLE_HEAD + "".join(rows) + text + "\n"


def with_table(page: str) -> str:
    """The page with the table as it is now."""
    start = page.index(TABLE_HEAD)
    return page[:start] + table() + "\n" + page[page.index("## ", start) :]


def hunt_all(
    mutants: Sequence[Mutant], seeds_of: dict[str, Sequence[int]], jobs: int
) -> Iterator[tuple[Mutant, dict[str, object] | None]]:
    """Every mutant with its seeds, ``jobs`` at a time, as they come."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        idle: Queue[Nursery] = Queue()
        for number in range(jobs):
            idle.put(Nursery(Path(folder) / f"copy-{number}"))

        def one(mutant: Mutant) -> dict[str, object] | None:
            nursery = idle.get()
            try:
                return nursery.hunt(mutant, seeds_of[mutant.name])
            finally:
                idle.put(nursery)

        hunts = {pool.submit(one, mutant): mutant for mutant in mutants}
        for done in as_completed(hunts):
            yield hunts[done], done.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="only mutants whose names contain one of these")
    parser.add_argument("--recorded", action="store_true", help="only the recorded seed of each")
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the seed to begin with")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"seeds to try (default {LIMIT})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="print the table")
    parser.add_argument("--docs", action="store_true", help="write what is recorded into the docs")
    given = parser.parse_args(arguments)
    chosen = [one for one in MUTANTS if not given.words or any(word in one.name for word in given.words)]
    if given.docs:
        PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
        return 0
    if given.list:
        for mutant in chosen:
            print(f"{mutant.name:32} {mutant.origin}")
        return 0
    known = recorded()
    seeds_of: dict[str, Sequence[int]] = {}
    for mutant in chosen:
        if given.recorded and mutant.name in known:
            seeds_of[mutant.name] = [int(str(known[mutant.name]["seed"]))]
        else:
            seeds_of[mutant.name] = list(suited(mutant, range(given.first, given.first + given.limit)))
    survivors: list[str] = []
    tried: list[int] = []
    for mutant, found in hunt_all(chosen, seeds_of, given.jobs):
        if found is None:
            survivors.append(mutant.name)
            print(f"{mutant.name:32} SURVIVED {len(seeds_of[mutant.name])} seeds", flush=True)
            continue
        # Seeds are counted from 1: one that was left out, since it cannot show the bug, counts as tried.
        count = int(str(found["seed"]))
        tried.append(count)
        print(f"{mutant.name:32} seed {found['seed']:>5} {found['text']}"[:200], flush=True)
        if not given.recorded:
            known = recorded()
            known[mutant.name] = {"seed": found["seed"], "rule": found["rule"], "tried": count}
            RECORD.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
    median = statistics.median(tried) if tried else 0
    print(
        f"R6 mutants mutants={len(chosen)} killed={len(tried)} median-seeds={median:g} "
        f"most={max(tried, default=0)}"
    )
    for name in survivors:
        print(f"survived: {name}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
