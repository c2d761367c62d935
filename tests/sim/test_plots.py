"""Plots come off where they can, break nothing in what is shipped, and show the bugs that they are for."""

import pytest
from tests.sim.planted import Plant, planted

from zabra.sim.cluster import RELAYS_NONE, RELAYS_TREE
from zabra.sim.options import RECONFIG, Options, draw_options
from zabra.sim.plots import PLOT_NAMES, PLOTS
from zabra.sim.run import Report, Run

# Of the tries, one at least must do.
SEEDS = range(1, 9)


def played(name: str, seed: int) -> Report:
    """A second of three voters, or four, and two observers, busy, and then the plot."""
    options = Options()
    options.voters = 4 if name == "missing link" else 3
    options.seed = seed
    options.tick_ms = 200
    options.seconds = 1
    options.fault_gap_ms = 100_000
    options.snapshot_nodes = 1
    options.snapshot_chunks = 1
    options.relays = RELAYS_TREE if "relay" in name else RELAYS_NONE
    options.faults = [RECONFIG] if "view" in name else []
    options.plots = [name]
    return Run(options).execute()


@pytest.mark.parametrize("name", PLOT_NAMES)
def test_a_plot_comes_off_and_breaks_nothing(name: str) -> None:
    counts: dict[str, int] = {}
    for seed in SEEDS:
        report = played(name, seed)
        assert not report.failed, (seed, report.judgement.violations)
        counts = report.judgement.counts
        if counts.get("plots"):
            break
    assert counts.get(f"plot {name}") == 1


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("name", "rule", "plant"),
    [
        (
            "silence",
            "expiry",
            Plant(
                "zabra.server.roles.leading:Leading.learner_packet",
                "self.sessions.touch(session_id, timeout_ms, self.host.now_ms)",
                "self.sessions.is_live(session_id)",
            ),
        ),
        (
            "lost in sync",
            "vote",
            Plant(
                "zabra.server.roles.learning:Learning.unfinished",
                "self.logged_in_sync + self.pending.items()",
                "self.pending.items()",
            ),
        ),
        (
            "lost view",
            "view",
            Plant(
                "zabra.server.server:Server.join",
                "next_ensemble.version > self.last_logged_zxid",
                "next_ensemble.version < 0",
            ),
        ),
        (
            "former life",
            "quorum",
            Plant(
                "zabra.server.roles.leading:Leading.forward_to",
                "broadcast.forget_acks(handler.sid, handler.last_zxid)",
                "pass",
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_shows_the_bug_that_it_is_for(name: str, rule: str, plant: Plant) -> None:
    rules: list[str] = []
    with planted(plant):
        for seed in SEEDS:
            rules += [violation.rule for violation in played(name, seed).judgement.violations]
            if rules:
                break
    assert rule in rules


def test_plots_are_drawn_last() -> None:
    drawn = [draw_options(seed) for seed in range(1, 1001)]
    assert {name for options in drawn for name in options.plots} == set(PLOT_NAMES)
    beside = {plot.name for plot in PLOTS if plot.beside}
    assert all(len([name for name in options.plots if name not in beside]) <= 1 for options in drawn)
    assert any(not beside.isdisjoint(options.plots) for options in drawn)
    # Whoever plays one does everything else first: up to there a run is as it was before there were any.
    with_plot = next(options for options in drawn if options.plots == ["silence"] and options.voters == 3)
    without = draw_options(with_plot.seed)
    without.plots = []
    lines: list[list[str]] = []
    for options in (with_plot, without):
        options.seconds, options.aftershocks = 2, 0
        run = Run(options)
        lines.append([])
        run.cluster.trace = lines[-1].append
        run.execute()
    place = next(i for i, line in enumerate(lines[0]) if "plot 0: silence" in line)
    assert lines[0][:place] == lines[1][:place]
