"""The 40 named bugs of upstream, and published traces: each passes, and fails with its bug put back.

The bugs are ``zk_bugs.BUGS``, the scenarios ``tests/scenarios/zk_*.txt``; the traces are ``tla_*.txt`` there.
"""

from pathlib import Path

import pytest
from tests.conftest import Report
from tests.sim.planted import Plant, planted
from tests.sim.zk_bugs import BUGS, Bug

from zabra.sim.scenario import Player, ScenarioError

FOLDER = Path(__file__).parent.parent / "scenarios"
NAMED = 40
# Four traces show a bug, three are demonstrations without one.
TRACES = {
    "tla_2845_process_consistency": "zk_2845_memory_behind_the_log",
    "tla_2845_proposal_consistent": "zk_2845_memory_behind_the_log",
    "tla_2845_leader_log_completeness": "zk_2845_memory_behind_the_log",
    "tla_3911_leader_log_completeness": "zk_3911_acked_history_is_durable",
    "tla_demo_1": "",
    "tla_demo_2": "",
    "tla_demo_3": "",
}


def test_every_scenario_has_its_bug_and_every_bug_its_scenario() -> None:
    assert sorted(path.stem for path in FOLDER.glob("zk_*.txt")) == sorted(bug.scenario for bug in BUGS)
    assert len(BUGS) == NAMED
    assert sorted(path.stem for path in FOLDER.glob("tla_*.txt")) == sorted(TRACES)


def failure(scenario: str) -> str:
    """How a scenario fails; "" if it does not."""
    text = (FOLDER / f"{scenario}.txt").read_text()
    try:
        played = Player().play(text)
    except (AssertionError, ScenarioError) as error:
        return f"{scenario}: {type(error).__name__}: {error}"
    return "" if played == text else f"{scenario}: another output (make rewrite shows which)"


def caught(bug: Bug, scenario: str = "") -> str:
    """How the scenario fails with the bug in the code; "" if it does not."""
    with planted(*bug.plants):
        return failure(scenario or bug.scenario)


@pytest.mark.interpreted
@pytest.mark.parametrize("bug", BUGS, ids=[bug.scenario for bug in BUGS])
def test_a_scenario_fails_with_its_bug(bug: Bug) -> None:
    assert caught(bug)


@pytest.mark.interpreted
@pytest.mark.parametrize("trace", [trace for trace, bug in TRACES.items() if bug])
def test_a_trace_fails_with_its_bug(trace: str) -> None:
    bug = next(bug for bug in BUGS if bug.scenario == TRACES[trace])
    assert caught(bug, trace)


def test_the_regressions_and_the_traces_pass(reliability: Report) -> None:
    scenarios = [*[bug.scenario for bug in BUGS], *TRACES]
    violations = [text for text in map(failure, scenarios) if text]
    reliability(
        "R5", "zk-regressions", regressions=len(BUGS), traces=len(TRACES), violations=len(violations)
    )
    assert violations == []


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
