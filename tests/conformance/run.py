"""Runs other people's client suites against Zabra and compares with what they do on Apache ZooKeeper.

``make conformance`` runs everything that can run here.  ``--record`` runs the suites on Apache ZooKeeper
instead and writes the baseline (and the expected output of the scripted sessions).  Results go to
baseline.json and zabra.json beside this file and, of both, to docs/conformance.md.  A quick run stores
nothing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "src"))

from tests.conformance import report, tools
from tests.conformance.suites import SUITES, Job, Results, Suite
from tests.conformance.tools import Unavailable
from tests.interop import apache

ROLES = ("follower", "observer")
VIA_CLUSTER = 5


def play(suite: Suite, job: Job) -> Results:
    """Runs one suite in a folder of its own, which stays when something failed."""
    job.folder.mkdir(parents=True, exist_ok=True)
    return suite.run(job)


def differing(suite: Suite, job: Job, results: Results) -> list[str]:
    """Tests that end otherwise than on Apache and have no reason."""
    recorded = report.baseline(report.load("apache"), f"{suite.name}/{job.where}")
    if recorded is None:
        return [f"{suite.name}/{job.where} has no baseline"]
    mine = {name: status for name, (status, _) in results.items()}
    told = report.compare(suite.name, job.where, report.statuses(recorded), mine, not job.quick)
    return [
        f"{name}: {what}: {results.get(name, ('', ''))[1]}" for name, (what, why) in told.items() if not why
    ]


def one(suite: Suite, job: Job, keep: bool) -> tuple[str, list[str]]:
    """Runs, stores and judges one suite: (line for the report, unexplained differences)."""
    key = f"{suite.name}/{job.where}"
    started = time.monotonic()
    try:
        results = play(suite, job)
    except (Unavailable, apache.ApacheUnavailable) as error:
        return f"{key}: not run: {error}", []
    seconds = time.monotonic() - started
    if keep:
        release = apache.release("3.9")
        server = f"Apache ZooKeeper {release}" if job.target == "apache" else f"Zabra {tools.zabra_version()}"
        report.store(job.target, key, suite.versions(), server, seconds, results)
    counts = Counter(status for status, _ in results.values())
    told = [] if job.target == "apache" else differing(suite, job, results)
    words = " ".join(f"{status}={counts[status]}" for status in ("passed", "failed", "skipped"))
    return f"{key}: {words} differing={len(told)} seconds={seconds:.0f}", told


MIXED = ((3, "1"), (3, "2,3"), (5, "1,4"))
"""Ensembles in which some ids are Apache's; 4 and 5 observe."""


def plan(options: argparse.Namespace) -> list[Job]:
    """Every run that the options ask for; all there are, unless they say which servers.

    Apache's baseline needs no mixed ensembles; of single roles only those that are asked for (c-client's).
    """
    pairs = chosen(options.suite, options.cluster or [1, 3, 5])
    suites = list(dict.fromkeys(suite for suite, _ in pairs))
    everything = not (options.cluster or options.mixed or options.via or options.record or options.quick)
    runs: list[tuple[Suite, int, str, str]] = []
    if not options.via:
        runs += [(suite, cluster, options.mixed, "") for suite, cluster in pairs]
    if everything:
        runs += [(suite, cluster, ids, "") for suite in suites if suite.is_mixed for cluster, ids in MIXED]
    for role in ROLES if everything else filter(None, [options.via]):
        runs += [(suite, VIA_CLUSTER, options.mixed, role) for suite in suites if suite.goes_via]
    return [job(options, *one) for one in runs]


def job(options: argparse.Namespace, suite: Suite, cluster: int, mixed: str, via: str) -> Job:
    """One run."""
    target = "apache" if options.record else "zabra"
    return Job(suite, target, cluster, options.quick, mixed, via, options.record, options.install)


def chosen(names: list[str], clusters: list[int]) -> list[tuple[Suite, int]]:
    """Suites and cluster sizes that the options name."""
    known = {suite.name for suite in SUITES}
    for name in names:
        if name not in known:
            raise SystemExit(f"no suite {name}; there are {', '.join(sorted(known))}")
    return [
        (suite, cluster)
        for suite in SUITES
        for cluster in suite.clusters
        if (not names or suite.name in names) and cluster in clusters
    ]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--suite", action="append", default=[], help="only this suite (may be given again)")
    made.add_argument(
        "--cluster", action="append", type=int, choices=(1, 3, 5), help="only this many servers"
    )
    made.add_argument("--quick", action="store_true", help="part of the long suites")
    made.add_argument("--record", action="store_true", help="run on Apache ZooKeeper and write the baseline")
    made.add_argument("--mixed", default="", metavar="IDS", help="server ids that run Apache, such as 1,3")
    made.add_argument(
        "--via",
        default="",
        choices=ROLES,
        help="clients know only the members in this role, of three and two",
    )
    made.add_argument("--install", action="store_true", help="install Debian packages that are missing")
    made.add_argument("--document", action="store_true", help="only write docs/conformance.md anew")
    return made


def main() -> int:
    """The command."""
    options = parser().parse_args()
    if options.document:
        report.write_document()
        return 0
    target = "apache" if options.record else "zabra"
    keep = not options.quick
    base = Path(tempfile.mkdtemp(prefix="conformance-"))
    failures: list[str] = []
    for each in plan(options):
        each.folder = base / f"{each.suite.name}-{each.where}"
        line, told = one(each.suite, each, keep)
        print(line, flush=True)
        for difference in told:
            print(f"  {difference[:400]}", flush=True)
        failures += told
    if keep:
        report.write_document()
    if failures:
        print(f"files of the run are in {base}")
    else:
        shutil.rmtree(base)
    print(f"R22 real-clients {report.summary(report.FILES[target])} unexplained={len(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
