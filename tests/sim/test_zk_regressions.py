"""The 40 named bugs of upstream: each scenario passes, and fails with its bug put back.

The bugs are ``zk_bugs.BUGS``, the scenarios ``tests/scenarios/zk_*.txt``.
"""

from pathlib import Path

import pytest
from tests.conftest import Report
from tests.sim.planted import Plant, planted
from tests.sim.zk_bugs import BUGS, Bug

from zabra.sim.scenario import Player, ScenarioError

FOLDER = Path(__file__).parent.parent / "scenarios"
NAMED = 40


def test_every_scenario_has_its_bug_and_every_bug_its_scenario() -> None:
    assert sorted(path.stem for path in FOLDER.glob("zk_*.txt")) == sorted(bug.scenario for bug in BUGS)
    assert len(BUGS) == NAMED


def caught(bug: Bug) -> str:
    """How the scenario fails with the bug in the code; "" if it does not."""
    text = (FOLDER / f"{bug.scenario}.txt").read_text()
    with planted(*bug.plants):
        try:
            played = Player().play(text)
        except (AssertionError, ScenarioError) as error:
            return f"{type(error).__name__}: {error}"
    return "" if played == text else "another output"


@pytest.mark.campaign
@pytest.mark.interpreted
@pytest.mark.parametrize("bug", BUGS, ids=[bug.scenario for bug in BUGS])
def test_a_scenario_fails_with_its_bug(bug: Bug) -> None:
    assert caught(bug)


def failure(bug: Bug) -> str:
    """How the scenario fails as the code is; "" if it does not."""
    text = (FOLDER / f"{bug.scenario}.txt").read_text()
    try:
        played = Player().play(text)
    except (AssertionError, ScenarioError) as error:
        return f"{bug.scenario}: {type(error).__name__}: {error}"
    return "" if played == text else f"{bug.scenario}: another output (make rewrite shows which)"


def test_the_40_regressions_pass(reliability: Report) -> None:
    violations = [text for text in map(failure, BUGS) if text]
    reliability("R5", "zk-regressions", regressions=len(BUGS), violations=len(violations))
    assert violations == []


@pytest.mark.interpreted
@pytest.mark.parametrize("bug", BUGS[::8], ids=[bug.scenario for bug in BUGS[::8]])
def test_some_scenarios_fail_with_their_bugs(bug: Bug) -> None:
    """The fast sibling of the campaign's."""
    assert caught(bug)


def sample(number: int) -> int:
    """For the tests of plants."""
    return number + 1


def test_a_plant_changes_a_function_for_as_long_as_its_block_lasts() -> None:
    where = f"{__name__}:sample"
    with planted(Plant(where, "number + 1", "number + 2")):
        assert sample(1) == 3
    assert sample(1) == 2
    with pytest.raises(AssertionError, match="0 times"), planted(Plant(where, "number + 7", "")):
        pass
    assert sample(1) == 2
