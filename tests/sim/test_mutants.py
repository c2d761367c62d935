"""Planted bugs: each is found by the seed that is recorded for it (R6)."""

import os
import statistics

import pytest
from tests.conftest import Report

import mutants
from mutant_table import MUTANTS, Mutant

LEAST_MUTANTS = 40
LEAST_CAUGHT = 30
MOST_SEEDS = 1000
# A change of the source moves every schedule: where the recorded seed no longer shows the bug, so many others
# are tried before it counts as a survivor.
OTHER_SEEDS = range(1, 61)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_edit_still_applies(mutant: Mutant) -> None:
    """Edits that no longer fit the source are noticed at once, not by a mutant that survives."""
    assert mutants.edited(mutant)
    assert mutant.origin


def test_seeds_were_found_soon_enough() -> None:
    known = mutants.recorded()
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= LEAST_MUTANTS
    assert set(known) <= set(names)
    assert len(known) >= LEAST_CAUGHT
    assert max(int(str(one["tried"])) for one in known.values()) <= MOST_SEEDS


def test_the_page_shows_what_is_recorded() -> None:
    """``python tools/mutants.py --docs`` writes it."""
    page = mutants.PAGE.read_text("utf-8")
    assert mutants.with_table(page) == page


@pytest.mark.campaign
def test_the_simulator_finds_every_planted_bug_it_has_found_before(reliability: Report) -> None:
    known = mutants.recorded()
    caught = [mutant for mutant in MUTANTS if mutant.name in known]
    seeds = {one.name: [int(str(known[one.name]["seed"])), *OTHER_SEEDS] for one in caught}
    survivors = [
        mutant.name for mutant, found in mutants.hunt_all(caught, seeds, os.cpu_count() or 1) if found is None
    ]
    tried = [int(str(one["tried"])) for one in known.values()]
    reliability(
        "R6",
        "mutants",
        mutants=len(MUTANTS),
        killed=len(caught) - len(survivors),
        not_caught_yet=len(MUTANTS) - len(caught),
        median_seeds=int(statistics.median(tried)),
        most_seeds=max(tried),
        violations=len(survivors),
    )
    assert survivors == [], "rerun: python tools/mutants.py " + " ".join(survivors)
