"""A cluster that has been busy for a while without faults, for tests that make one."""

from zabra.sim.fault_kinds import KIND_NAMES
from zabra.sim.options import Options
from zabra.sim.run import Run


def busy(seed: int = 1, changes: str = "") -> Run:
    """Three voters and two observers that serve five clients; whatever is made to go wrong may begin."""
    options = Options()
    options.seed = seed
    options.seconds = 3
    options.clients = 5
    options.tick_ms = 200
    options.snap_count = 50
    options.faults = list(KIND_NAMES)
    options.change(changes)
    # None comes by itself.
    options.fault_gap_ms = 10_000_000
    run = Run(options)
    run._safety_phase()
    assert not run.report.failed
    assert run.nemesis.leader() is not None
    run.nemesis.go_on("trouble")
    return run


def ends_well(run: Run) -> None:
    """The fault ends, everybody comes together, and nobody was told anything wrong."""
    run._liveness_phase()
    if not run.report.failed:
        run._wind_down()
    run._judge()
    assert run.report.judgement.violations == []
