"""R17 mixed-ensemble: Zabra and Apache ZooKeeper in one ensemble, in every role.

Four mixes here, each line of Apache's in each role once; ``python -m tests.interop`` runs all of them, with
as many leader changes as one likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Report
from tests.interop import apache
from tests.interop.mixes import GATE, Mix, MixRun


@pytest.fixture(scope="module")
def totals(reliability: Report) -> Iterator[dict[str, int]]:
    """Counters over all mixes of this module."""
    found: dict[str, int] = {}
    yield found
    if found:
        reliability("R17", "mixed-ensemble", **found)


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize("mix", GATE, ids=repr)
def test_a_mixed_ensemble_is_one_ensemble(mix: Mix, tmp_path: Path, totals: dict[str, int]) -> None:
    for line in mix.apache_lines():
        apache.require_java(line)
    counters = MixRun(mix, tmp_path, leader_changes=4).run()
    assert counters["leader-changes"] == 4
    assert counters["diffs"] > 0
    assert counters["watch-events"] > 0 or not mix.tells_of_watches()
    for key, value in counters.items():
        totals[key] = totals.get(key, 0) + value
