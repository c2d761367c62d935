"""Row R19: the ten scenarios, one seed each in every run and more in the campaign.

``python -m tests.observers --seeds 200`` is the size of a release.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.observers.__main__ import add
from tests.observers.scenarios import (
    SCENARIOS,
    VOTERS,
    Counts,
    Scene,
    cut_off_for_longer_than_the_log,
    percentile,
)

from zabra.sim.cluster import RELAYS_FOLLOWERS, RELAYS_NONE, RELAYS_UNLISTED

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


@pytest.mark.parametrize(
    ("scenario", "seed"),
    [
        # Its wait before it looked again was drawn as 0 ms: it then waited for ever.
        (cut_off_for_longer_than_the_log, 40),
    ],
)
def test_seeds_that_have_failed(scenario: Scenario, seed: int) -> None:
    scenario(seed)


def test_they_were_not_empty(reliability: Report) -> None:
    if _totals["gate"].get("runs") != len(SCENARIOS):
        pytest.skip("only some of the scenarios have run")
    report_line("gate", reliability)


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(2, 4))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_more_seeds(scenario: Scenario, seed: int) -> None:
    account("campaign", scenario, seed)


@pytest.mark.campaign
def test_they_were_not_empty_either(reliability: Report) -> None:
    if _totals["campaign"].get("runs") != 2 * len(SCENARIOS):
        pytest.skip("only some of the scenarios have run")
    report_line("campaign", reliability)


@pytest.mark.campaign
@pytest.mark.parametrize("relays", [RELAYS_NONE, RELAYS_FOLLOWERS, RELAYS_UNLISTED])
def test_voters_do_not_notice_fifty_that_come_and_go(relays: int) -> None:
    """Every server has a core of its own here, as it would; the writes of voters' clients take as long."""
    scene = Scene(1, 50, relays, links=False)
    for sid in VOTERS:
        assert scene.cluster.machines[sid].start()
    scene.ensemble.until("the voters serve", lambda: len(scene.ensemble.modes()) == 3)
    for sid in VOTERS:
        scene.work_at(sid, think_us=20_000)
    taken: dict[str, list[int]] = {}

    def phase(name: str, move: Callable[[int], object]) -> None:
        before = [len(worker.latencies) for worker in scene.workers]
        for sid in scene.observers:
            move(sid)
            scene.cluster.run_ms(20)
        taken[name] = [
            one
            for worker, first in zip(scene.workers, before, strict=True)
            for one in worker.latencies[first:]
        ]

    phase("alone", lambda sid: None)
    phase("they come", lambda sid: scene.cluster.machines[sid].start())
    scene.ensemble.until("all are there", scene.all_serve)
    phase("they go", lambda sid: scene.cluster.machines[sid].kill())
    for name, latencies in taken.items():
        p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
        print(f"{relays} {name}: {len(latencies)} writes, p50 {p50} us, p99 {p99} us")
        assert p50 <= 1.1 * percentile(taken["alone"], 0.5)
        assert p99 <= 1.25 * percentile(taken["alone"], 0.99)
