"""R16 failover-time: the leader is killed; how soon does a survivor acknowledge a write, are sessions kept.

``python -m bench.failover --kills 50`` measures the same beside Apache ZooKeeper.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from bench.failover import kill_leader, prepare
from tests.conftest import Report
from tests.interop.members import ZABRA, Mixed

KILLS = 20
TICK_MS, SYNC_LIMIT = 2000, 5


@pytest.mark.slow
def test_a_killed_leader_is_replaced_and_every_session_kept(tmp_path: Path, reliability: Report) -> None:
    cfg = {"tickTime": TICK_MS, "initLimit": 10, "syncLimit": SYNC_LIMIT}
    with Mixed([ZABRA] * 3, tmp_path, cfg=cfg) as ensemble:
        prepare(ensemble)
        rows = [kill_leader(ensemble) for _ in range(KILLS)]
    times = sorted(row["first_ack_ms"] for row in rows)
    kept = sum(row["session_kept"] for row in rows)
    reliability(
        "R16",
        "failover-time",
        kills=KILLS,
        p50_ms=round(statistics.median(times)),
        max_ms=round(times[-1]),
        sessions_kept=kept,
    )
    assert kept == KILLS
    assert statistics.median(times) <= 1000
    assert times[-1] <= 2 * SYNC_LIMIT * TICK_MS
