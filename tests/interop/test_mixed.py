"""R17 mixed-ensemble: Zabra and Apache ZooKeeper in one ensemble, in every role.

Four mixes here, each line of Apache's in each role once: two of them briefly in every run of the suite, all
in the campaigns.  ``python -m tests.interop`` runs all there are, with as many leader changes as one likes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Report
from tests.interop import apache
from tests.interop.mixes import GATE, VACUITY, Mix, MixRun


@pytest.fixture(scope="module")
def totals(reliability: Report) -> Iterator[dict[str, int]]:
    """Counters over all mixes of this module."""
    found: dict[str, int] = {}
    yield found
    if found:
        reliability("R17", "mixed-ensemble", **found)
    if found.get("mixes") == len(GATE):
        missing = [name for name in VACUITY if not found.get(name)]
        assert not missing, f"never seen: {missing}"


CHANGES = 10
"""Leaders killed in each mix; the scoreboard asks for three mixes of as many in every run of CI."""


def run(mix: Mix, folder: Path, changes: int) -> dict[str, int]:
    """One mix, with so many leaders killed."""
    for line in mix.apache_lines():
        apache.require_java(line)
    counters = MixRun(mix, folder, changes).run()
    assert counters["leader-changes"] == changes
    assert counters["diffs"] > 0
    assert counters["watch-events"] > 0 or not mix.tells_of_watches()
    return counters


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.interpreted
@pytest.mark.parametrize("mix", GATE[1:3], ids=repr)
def test_a_mixed_ensemble_is_one_ensemble(mix: Mix, tmp_path: Path) -> None:
    run(mix, tmp_path, 1)


@pytest.mark.java
@pytest.mark.campaign
@pytest.mark.parametrize("mix", GATE, ids=repr)
def test_leaders_of_mixed_ensembles_change(mix: Mix, tmp_path: Path, totals: dict[str, int]) -> None:
    for key, value in run(mix, tmp_path, CHANGES).items():
        totals[key] = totals.get(key, 0) + value
