"""Row R19: the ten scenarios, one seed each in every run and more in the campaign.

``python -m tests.observers --seeds 200`` is the size of a release.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.observers.__main__ import add
from tests.observers.scenarios import SCENARIOS, Counts

Report = Callable[..., None]
Scenario = Callable[[int], Counts]

# What must have happened, or the run proves nothing.
VACUITY = (
    "snaps_after_cut", "informs", "kills", "moves", "claims", "lag_reads", "refused", "power_cuts",
    "session_moves", "expired", "diffs", "back_ms",
)  # fmt: skip

_totals: dict[str, Counts] = {"gate": {}, "campaign": {}}


def account(kind: str, scenario: Scenario, seed: int) -> None:
    """Runs one and adds what it counted."""
    counts = scenario(seed)
    add(_totals[kind], {**counts, "runs": 1})


def report_line(kind: str, reliability: Report) -> None:
    """The line of the report, and what must be on it."""
    totals = _totals[kind]
    for name in VACUITY:
        assert totals.get(name), f"{name} is 0: {totals}"
    reliability("R19", "observers", scenarios=len(SCENARIOS), **totals, violations=0)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_scenario(scenario: Scenario) -> None:
    account("gate", scenario, 1)


def test_they_were_not_empty(reliability: Report) -> None:
    if _totals["gate"].get("runs") != len(SCENARIOS):
        pytest.skip("only some of the scenarios have run")
    report_line("gate", reliability)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(2, 5))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_more_seeds(scenario: Scenario, seed: int) -> None:
    account("campaign", scenario, seed)


@pytest.mark.campaign
def test_they_were_not_empty_either(reliability: Report) -> None:
    if _totals["campaign"].get("runs") != 3 * len(SCENARIOS):
        pytest.skip("only some of the scenarios have run")
    report_line("campaign", reliability)
