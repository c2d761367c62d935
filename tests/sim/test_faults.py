"""The Nemesis: every kind comes off, is counted and undone; aftershocks; skipped faults change no others."""

import pytest
from tests.sim.troubled import busy, ends_well

from zabra.sim.fault_kinds import KIND_NAMES
from zabra.sim.options import Options
from zabra.sim.run import Run

SEEDS = range(1, 9)


@pytest.mark.parametrize("name", KIND_NAMES)
def test_every_kind_of_fault_comes_off_and_breaks_nothing(name: str) -> None:
    for seed in SEEDS:
        run = busy(seed)
        if run.nemesis.inject(name):
            break
    assert run.nemesis.counts == {name: 1}
    assert [kind for _, _, kind in run.nemesis.injected] == [name]
    run.cluster.run_ms(1000)
    ends_well(run)


@pytest.mark.parametrize("number", range(4))
def test_an_aftershock_is_survived(number: int) -> None:
    run = busy(number + 1)
    span_ms = run.nemesis.aftershock(number)
    assert span_ms >= 0
    run.cluster.run_ms(max(span_ms, 2000))
    assert run.cluster.network.counts["aftershocks"] == 1
    ends_well(run)


def test_a_fault_that_is_left_out_changes_no_other() -> None:
    made: list[list[tuple[int, str]]] = []
    for skip in ([], [2]):
        options = Options()
        options.seconds, options.fault_gap_ms, options.skip = 3, 200, skip
        options.faults = ["delay", "client delay", "clock step", "clock rate", "loss", "slow node"]
        run = Run(options)
        run._safety_phase()
        made.append([(number, kind) for number, _, kind in run.nemesis.injected])
    assert len(made[0]) > 5
    assert made[1] == [fault for fault in made[0] if fault[0] != 2]


def test_when_faults_end_nothing_is_wrong_any_more() -> None:
    run = busy()
    for name in ("loss", "slow node", "clock rate", "slow log", "pause", "partition", "kill"):
        assert run.nemesis.inject(name)
    run.nemesis.stop()
    network, machines = run.cluster.network, run.cluster.machines
    assert network.loss_chance == 0.0
    assert not any(network.is_blocked(a, b) for a in machines for b in machines)
    for machine in machines.values():
        assert machine.is_up()
        assert (machine.slowness, machine.log_extra_us) == (1, 0)
    assert not run.nemesis.is_waiting()
    ends_well(run)
