"""A strike waits for its moment, and happens as often as it is to."""

import pytest
from tests.sim.troubled import busy, ends_well

from zabra.sim.run import Run
from zabra.sim.trouble import (
    ALL_LOSE_POWER,
    BOTH_RETURN_LATE,
    CUT_OFF,
    ENDS,
    KILLED_AT_WORK,
    LEADER_ENDS,
    RESTARTED,
    Strike,
)


def strikes(run: Run) -> int:
    return run.cluster.network.counts.get("strikes", 0)


@pytest.mark.parametrize("how", [ENDS, ALL_LOSE_POWER, LEADER_ENDS, CUT_OFF, BOTH_RETURN_LATE, RESTARTED])
def test_it_comes_at_its_moment(how: int) -> None:
    run = busy()
    up = len(run.nemesis.up())
    run.nemesis.strikes["logged"] = Strike(how, skip=2)
    assert run.nemesis.is_waiting()
    while strikes(run) == 0:
        run.cluster.run_ms(1)
    assert "logged" not in run.nemesis.strikes
    gone = up - len(run.nemesis.up())
    assert gone == {ALL_LOSE_POWER: up, BOTH_RETURN_LATE: up, CUT_OFF: 0}.get(how, 1)
    run.cluster.run_ms(2000)
    ends_well(run)


def test_it_may_be_for_one_server_and_come_again() -> None:
    run = busy()
    run.nemesis.strikes["logged"] = Strike(RESTARTED, again=2, only=2)
    before = run.cluster.machines[2].lives
    for _ in range(20_000):
        if strikes(run) >= 3:
            break
        run.cluster.run_ms(1)
    assert "logged" not in run.nemesis.strikes
    run.nemesis.stop()
    assert run.cluster.machines[2].lives >= before + 3
    assert run.cluster.machines[1].lives == 1
    ends_well(run)


def test_a_process_dies_between_two_operations_of_its_work() -> None:
    run = busy()
    leader = run.nemesis.leader()
    assert leader is not None
    run.nemesis.strikes["saves an epoch"] = Strike(KILLED_AT_WORK, ops=(3, 6))
    run.nemesis.end(leader)
    while strikes(run) == 0:
        run.cluster.run_ms(1)
    run.cluster.run_ms(500)
    assert "saves an epoch" not in run.nemesis.strikes
    ends_well(run)
