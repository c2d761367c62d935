"""The simulator's campaigns at CI's size: fresh seeds, every seed that ever failed, determinism.

The seeds run in processes of their own, on the compiled modules where they can be compiled: what is tested is
the same source, three times as fast.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.conftest import Report
from tests.sim import campaign

import build_compiled
from zabra.sim import swarm

FRESH_SEEDS = 320
DETERMINISM_SEEDS = range(1, 51)
# Of these as many also interpreted, to compare with compiled.
INTERPRETED_SEEDS = range(1, 9)


@pytest.fixture(scope="module")
def compiled() -> Path | None:
    """The folder with the compiled package, None where nothing can be compiled.

    With ZABRA_SIM=interpreted it is used where it is there, and not made.
    """
    if os.environ.get("ZABRA_SIM") == "interpreted":
        return build_compiled.built()
    try:
        return build_compiled.build()
    except build_compiled.BuildError as error:
        print(f"not compiled: {error}")
        return None


def environment(compiled: Path | None, hash_seed: int) -> dict[str, str]:
    """For a child that uses the compiled modules, or the interpreted ones."""
    out = dict(os.environ, PYTHONHASHSEED=str(hash_seed))
    for name in ("ZABRA_PURE", "ZABRA_COMPILED"):
        out.pop(name, None)
    if compiled is None:
        out["ZABRA_PURE"] = "1"
    else:
        out["PYTHONPATH"] = str(compiled)
    return out


@pytest.mark.campaign
def test_fresh_seeds_and_all_that_ever_failed(
    compiled: Path | None, reliability: Report, tmp_path: Path
) -> None:
    """R1 and R2: no violation, and everything that must be seen for that to mean something was seen."""
    file = tmp_path / "totals.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.sim.campaign", "--json", str(file)),
            *("--fresh", str(FRESH_SEEDS), "--regressions"),
        ],
        cwd=campaign.ROOT,
        env=environment(compiled, 0),
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert file.exists(), done.stderr[-3000:]
    totals = json.loads(file.read_text("utf-8"))
    counts = totals["counts"]
    reliability(
        "R1",
        "sim-safety",
        seeds=totals["seeds"],
        units=totals["units"],
        ops=totals["ops"],
        faults=sum(totals["faults"].values()),
        kinds=len(totals["faults"]),
        leaders=counts.get("leaders", 0),
        truncs=counts.get("truncs", 0),
        snaps=counts.get("snap syncs", 0),
        syncs=counts.get("syncs", 0),
        reconfigs=counts.get("reconfigurations", 0),
        tails=counts.get("uncommitted tails", 0),
        violations=len(totals["failed"]),
    )
    reliability(
        "R2",
        "sim-liveness",
        seeds=totals["seeds"],
        longest_ms=totals["longest_recovery_ms"],
        trees=counts.get("trees", 0),
        violations=len(totals["failed"]),
    )
    assert totals["failed"] == [], done.stdout
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert totals["shapes"]["observer"] >= 0.5 * totals["seeds"]


def digests(compiled: Path | None, hash_seed: int, seeds: range) -> dict[str, str]:
    """Seed -> digest of all bytes, of runs in one process of its own."""
    code = "import sys; from zabra.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "sim", "--digests", "--jobs", "1"),
            *("--seeds", f"{seeds[0]}..{seeds[-1] + 1}"),
        ],
        cwd=campaign.ROOT,
        env=environment(compiled, hash_seed),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return dict(re.findall(r"^seed=(\d+) .*?digest=(\w+)", done.stdout, re.MULTILINE))


@pytest.mark.campaign
def test_a_seed_is_one_run_whatever_the_hash_seed_and_the_build(
    compiled: Path | None, reliability: Report
) -> None:
    """R3: the same digest under two hash seeds; and interpreted and compiled."""
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(digests, compiled, 1, DETERMINISM_SEEDS),
            pool.submit(digests, compiled, 2, DETERMINISM_SEEDS),
            pool.submit(digests, None, 3, INTERPRETED_SEEDS),
        ]
        first, second, interpreted = [run.result() for run in runs]
    differ = [seed for seed in first if first[seed] != second.get(seed)]
    differ += [seed for seed in interpreted if first.get(seed) != interpreted[seed]]
    reliability(
        "R3",
        "sim-determinism",
        seeds=len(first),
        interpreted=len(interpreted) if compiled is not None else 0,
        violations=len(differ),
    )
    assert len(first) == len(DETERMINISM_SEEDS)
    assert len(interpreted) == len(INTERPRETED_SEEDS)
    assert differ == []


def test_a_short_run_is_the_same_twice() -> None:
    changes = "seconds=4 clients=3"
    first, second = (swarm.run_seed(3, changes) for _ in range(2))
    assert first.violations == []
    assert first.digest == second.digest
    assert first.digest != swarm.run_seed(4, changes).digest


def test_fresh_seeds_are_the_same_for_everybody() -> None:
    seeds, source = campaign.fresh_seeds(10)
    assert len(seeds) == 10
    assert seeds == campaign.fresh_seeds(10)[0]
    assert seeds[0] >= campaign.FIRST_FRESH
    assert re.search(r"commit \w+, \d{4}-\d\d-\d\d", source)


def test_seeds_that_failed_are_said_with_a_reason() -> None:
    for _, changes, why in campaign.regression_seeds():
        assert why
        swarm.options_of(1, changes)


def test_a_campaign_that_saw_nothing_is_told() -> None:
    totals = swarm.Totals()
    totals.add(swarm.run_seed(5, "seconds=2 clients=2 faults=pause"))
    missing = totals.missing()
    assert "truncs" in missing
    assert "fault bit flip" in missing


def test_the_page_shows_the_ledger() -> None:
    """``python -m tests.sim.campaign --sum --docs`` writes it."""
    page = campaign.PAGE.read_text("utf-8")
    assert campaign.with_sum(page) == page


def test_ledgers_add_up() -> None:
    totals = swarm.Totals()
    totals.add(swarm.run_seed(6, "seconds=2 clients=2"))
    line = campaign.ledger_line([6], totals)
    both = campaign.add_up([line, line])
    once = json.loads(line)
    assert both["seeds"] == 2
    assert both["ops"] == 2 * once["ops"] > 0
    assert both["faults"] == {name: 2 * value for name, value in once["faults"].items()}
