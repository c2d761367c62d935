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

FEW_KILLS, KILLS = 3, 20
TICK_MS, SYNC_LIMIT = 2000, 5


def kill_leaders(folder: Path, kills: int) -> tuple[list[float], int]:
    """Milliseconds until the first write was acknowledged, in order of length; sessions kept."""
    cfg = {"tickTime": TICK_MS, "initLimit": 10, "syncLimit": SYNC_LIMIT}
    with Mixed([ZABRA] * 3, folder, cfg=cfg) as ensemble:
        prepare(ensemble)
        rows = [kill_leader(ensemble) for _ in range(kills)]
    return sorted(row["first_ack_ms"] for row in rows), sum(row["session_kept"] for row in rows)


@pytest.mark.slow
def test_a_killed_leader_is_replaced_and_sessions_go_on(tmp_path: Path) -> None:
    times, kept = kill_leaders(tmp_path, FEW_KILLS)
    assert kept == FEW_KILLS
    assert times[-1] <= 2 * SYNC_LIMIT * TICK_MS


@pytest.mark.campaign
def test_a_killed_leader_is_replaced_and_every_session_kept(tmp_path: Path, reliability: Report) -> None:
    times, kept = kill_leaders(tmp_path, KILLS)
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
