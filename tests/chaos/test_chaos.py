"""R15 chaos-live: real servers under real faults, judged by what their clients saw.

``python -m tests.chaos`` runs long ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chaos.campaign import Campaign, Plan, total
from tests.chaos.lab import unavailable
from tests.conftest import Report
from tests.interop.crowds import early_expiries

from zabra.sim import histories
from zabra.sim.histories import History

needs_a_lab = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "can run")

GATE_RUNS, GATE_SECONDS, GATE_FAULTS = 6, 60, 60
"""What the scoreboard asks for in every run of CI."""


def run(seed: int, seconds: float, folder: Path) -> dict[str, int]:
    """The counters of one run, where nobody is stopped for long."""
    plan = Plan(seed, seconds, folder)
    plan.longest_stop_s = 4.0
    return Campaign(plan, print).run()


@pytest.mark.slow
@pytest.mark.interpreted
@needs_a_lab
def test_servers_under_a_few_faults(tmp_path: Path) -> None:
    counters = run(7, 8, tmp_path / "run")
    assert counters["faults"] >= 1
    assert counters["watch-events"] > 0


@pytest.mark.campaign
@needs_a_lab
def test_servers_under_faults_keep_their_promises(tmp_path: Path, reliability: Report) -> None:
    runs = [run(seed, GATE_SECONDS, tmp_path / f"run-{seed}") for seed in range(1, GATE_RUNS + 1)]
    counters = total(runs)
    reliability("R15", "chaos-live", **counters)
    assert counters["faults"] >= GATE_FAULTS
    assert counters["kinds"] >= 5
    assert counters["watch-events"] > 0


def test_the_sum_of_runs() -> None:
    runs = [
        {"ops": 5, "rate": 300, "slowest-recovery-ms": 90, "faults": 1, "kinds": 1, "wipe": 1},
        {"ops": 6, "rate": 500, "slowest-recovery-ms": 40, "faults": 3, "kinds": 2, "wipe": 1, "flapping": 2},
    ]
    assert total(runs) == {
        "runs": 2,
        "ops": 11,
        "rate": 400,
        "slowest-recovery-ms": 90,
        "faults": 4,
        "kinds": 2,
        "wipe": 2,
        "flapping": 2,
    }


def test_a_session_that_ends_before_its_time_is_noticed() -> None:
    history = History()
    history.connected(1_000_000, 0, 77, 6000, 1)
    history.add(histories.EXPIRED, 6_900_000, 0)
    assert early_expiries(history) == ["client 0: expired 5900 ms after it was answered, timeout 6000 ms"]
    later = History()
    later.connected(1_000_000, 0, 77, 6000, 1)
    later.add(histories.EXPIRED, 7_100_000, 0)
    assert early_expiries(later) == []
