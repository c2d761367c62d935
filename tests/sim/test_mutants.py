"""Planted bugs: each is found by the seed that is recorded for it (R6)."""

import os
import statistics

import pytest
from tests.conftest import Report

import mutants
from mutant_table import MUTANTS, Mutant

LEAST_MUTANTS = 40
MOST_SEEDS = 1000


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_edit_still_applies(mutant: Mutant) -> None:
    """Edits that no longer fit the source are noticed at once, not by a mutant that survives."""
    assert mutants.edited(mutant)
    assert mutant.origin


def test_each_has_a_seed_that_was_found_soon_enough() -> None:
    known = mutants.recorded()
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= LEAST_MUTANTS
    assert sorted(known) == sorted(names)
    assert max(int(str(one["tried"])) for one in known.values()) <= MOST_SEEDS


@pytest.mark.campaign
def test_the_simulator_finds_every_planted_bug(reliability: Report) -> None:
    known = mutants.recorded()
    seeds = {mutant.name: [int(str(known[mutant.name]["seed"]))] for mutant in MUTANTS}
    survivors = [
        mutant.name
        for mutant, found in mutants.hunt_all(MUTANTS, seeds, os.cpu_count() or 1)
        if found is None
    ]
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
