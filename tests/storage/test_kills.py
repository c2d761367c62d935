"""kill -9 of a server on its own: see ``kills``; 200 of them by ``python -m tests.storage.kills``."""

from pathlib import Path

import pytest
from tests.conftest import Report
from tests.storage import kills


def judged(tmp_path: Path, reliability: Report, count: int, seed: int) -> None:
    counts = kills.run(count, tmp_path, seed)
    assert all(counts.values()), f"vacuous: {counts}"
    reliability("kill-9", "standalone", **counts, violations=0)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_nothing_is_made_up(tmp_path: Path, reliability: Report) -> None:
    judged(tmp_path, reliability, 4, 1)


@pytest.mark.campaign
def test_more_kills(tmp_path: Path, reliability: Report) -> None:
    judged(tmp_path, reliability, 20, 2)
