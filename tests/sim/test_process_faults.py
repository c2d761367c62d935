"""What happens to processes and machines, and that they come back."""

import pytest
from tests.sim.troubled import busy, ends_well

from zabra.sim.run import Run
from zabra.sim.trouble import RESTART_MS


def lives(run: Run) -> dict[int, int]:
    return {machine.sid: machine.lives for machine in run.cluster.machines.values()}


@pytest.mark.parametrize("name", ["kill", "kill leader", "power cut", "power cut of all"])
def test_who_goes_comes_back(name: str) -> None:
    run = busy()
    before, leader = lives(run), run.nemesis.leader()
    assert leader is not None
    assert run.nemesis.inject(name)
    gone = [machine.sid for machine in run.cluster.machines.values() if not machine.is_up()]
    assert len(gone) == (len(before) if name == "power cut of all" else 1)
    if name == "kill leader":
        assert gone == [leader.sid]
    run.cluster.run_ms(RESTART_MS)
    run.nemesis.stop()
    after = lives(run)
    assert all(after[sid] > before[sid] for sid in gone)
    ends_well(run)


def test_a_crash_at_a_write_waits_for_it() -> None:
    run = busy()
    assert run.nemesis.inject("crash at a write")
    (machine,) = [one for one in run.cluster.machines.values() if one.countdown is not None]
    before = machine.lives
    assert machine.is_up()
    run.cluster.run_ms(4 * RESTART_MS)
    run.nemesis.stop()
    assert machine.lives > before
    assert run.cluster.network.counts["crash at a disk operation"] == 1
    ends_well(run)


def test_clocks_step_and_run_wrong() -> None:
    run = busy()
    machines, now_us = run.cluster.machines.values(), run.cluster.scheduler.now_us
    before = {machine.sid: machine.clock.wall_ms(now_us) for machine in machines}
    assert run.nemesis.inject("clock step")
    after = {machine.sid: machine.clock.wall_ms(now_us) for machine in machines}
    assert len([sid for sid in before if before[sid] != after[sid]]) == 1
    ends_well(run)
