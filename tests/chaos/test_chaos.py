"""R15 chaos-live: real servers under real faults, judged by what their clients saw.

The run here is a short one; ``python -m tests.chaos`` runs long ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chaos.campaign import Campaign, Plan, early_expiries
from tests.chaos.lab import unavailable
from tests.conftest import Report

from zabra.sim import histories
from zabra.sim.histories import History


@pytest.mark.slow
@pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "can run")
def test_servers_under_faults_keep_their_promises(tmp_path: Path, reliability: Report) -> None:
    plan = Plan(seed=1, seconds=40, folder=tmp_path / "run")
    plan.longest_stop_s = 4.0
    counters = Campaign(plan, print).run()
    reliability("R15", "chaos-live", runs=1, **counters)
    assert counters["faults"] >= 8
    assert counters["kinds"] >= 5
    assert counters["watch-events"] > 0


def test_a_session_that_ends_before_its_time_is_noticed() -> None:
    history = History()
    history.connected(1_000_000, 0, 77, 6000, 1)
    history.add(histories.EXPIRED, 6_900_000, 0)
    assert early_expiries(history) == ["client 0: expired 5900 ms after it was answered, timeout 6000 ms"]
    later = History()
    later.connected(1_000_000, 0, 77, 6000, 1)
    later.add(histories.EXPIRED, 7_100_000, 0)
    assert early_expiries(later) == []
