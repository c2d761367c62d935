"""Planted bugs: each is found by the seed that is recorded for it (R6)."""

import os
import statistics
from itertools import count, islice

import pytest
from tests.conftest import Report

import mutants
from mutant_table import MUTANTS, Mutant

LEAST_MUTANTS = 80
MOST_SEEDS = 1000
# A change of the source moves every schedule: where the recorded seed no longer shows the bug, so many others
# that have what it needs are tried before it counts as a survivor.
OTHER_SEEDS = 60


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_edit_still_applies(mutant: Mutant) -> None:
    """Edits that no longer fit the source are noticed at once, not by a mutant that survives."""
    assert mutants.edited(mutant)
    assert mutant.origin


def test_seeds_were_found_soon_enough() -> None:
    known = mutants.recorded()
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= LEAST_MUTANTS
    # One that nothing catches is a missing checker or fault.
    assert set(known) == set(names)
    assert max(int(str(one["tried"])) for one in known.values()) <= MOST_SEEDS


def test_the_page_shows_what_is_recorded() -> None:
    """``python tools/mutants.py --docs`` writes it."""
    page = mutants.PAGE.read_text("utf-8")
    assert mutants.with_table(page) == page


@pytest.mark.campaign
def test_the_simulator_finds_every_planted_bug(reliability: Report) -> None:
    known = mutants.recorded()
    seeds = {
        one.name: [int(str(known[one.name]["seed"])), *islice(mutants.suited(one, count(1)), OTHER_SEEDS)]
        for one in MUTANTS
    }
    hunts = mutants.hunt_all(MUTANTS, seeds, os.cpu_count() or 1)
    survivors = [mutant.name for mutant, found in hunts if found is None]
    tried = [int(str(one["tried"])) for one in known.values()]
    reliability(
        "R6",
        "mutants",
        mutants=len(MUTANTS),
        killed=len(MUTANTS) - len(survivors),
        median_seeds=int(statistics.median(tried)),
        most_seeds=max(tried),
        violations=len(survivors),
    )
    assert survivors == [], "rerun: python tools/mutants.py " + " ".join(survivors)
