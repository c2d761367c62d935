"""Options: everything that shapes one simulated run, drawn from its seed ("swarm"), printed first.

One text line says it all, and any part of it can be set by hand: that is how a failing run is made smaller
and how a fault kind or a shape is studied on its own.
"""

from typing import Final

from zabra.server.settings import Settings
from zabra.sim.cluster import RELAYS_FOLLOWERS, RELAYS_NONE, RELAYS_TREE, RELAYS_UNLISTED, Shape
from zabra.sim.fault_kinds import KINDS
from zabra.sim.plots import NEEDS_FOUR, NEEDS_OBSERVERS, NEEDS_RECONFIG, NEEDS_RELAYS, PLOTS
from zabra.sim.prng import Prng
from zabra.sim.workload import Appetite, draw_appetite

_SHAPES: Final = (
    # voters, observers, how often
    (3, 0, 18),
    (3, 1, 22),
    (3, 2, 27),
    (5, 0, 5),
    (5, 2, 8),
    (4, 1, 4),
    (2, 1, 3),
    (1, 0, 3),
    (7, 0, 1),
)
_RELAYS: Final = (RELAYS_NONE, RELAYS_NONE, RELAYS_FOLLOWERS, RELAYS_TREE, RELAYS_UNLISTED)
# What Run needs an operator for.
RECONFIG: Final = "reconfig"
# And a cutter.
CUT_AT_PACKET: Final = "cut at a packet"
# How many seeds play a plot.
_PLOT_CHANCE: Final = 0.5
# How much oftener one is played that few clusters are made for, where it can be.
_RARE_WEIGHT: Final = 3
# The span of the fault kinds that are switched on in one run.
_MIN_KINDS: Final = 5


class Options:
    """One run.  Times in ms unless named otherwise."""

    def __init__(self) -> None:
        self.seed = 0
        self.voters = 3
        self.observers = 2
        self.groups = False
        self.weights: list[int] = []
        self.relays = 0
        self.seconds = 60
        self.clients = 6
        self.think_ms = 100
        self.tick_ms = 1000
        self.init_limit = 10
        self.sync_limit = 5
        self.snap_count = 1000
        self.commit_log_count = 500
        self.log_size_limit = 0
        self.max_notification_ms = 60_000
        self.base_us = 200
        self.jitter_us = 100
        self.cut_chance = 0.0
        self.split_batch_chance = 0.0
        self.fsync_us = 300
        self.fault_gap_ms = 2000
        self.faults: list[str] = []
        self.skip: list[int] = []
        self.near_rollover = False
        self.digest = True
        self.local_sessions = False
        self.quotas = False
        # Every learner is sent a snapshot, whatever it has: by all leaders (0), those with an odd sid (1), or
        # an even one (2).
        self.force_snap = False
        self.snap_senders = 0
        # How often the leader looks for containers to collect.
        self.container_ms = 5000
        # How much of a snapshot is taken in one turn, and how many turns ahead of the disk: the less, the
        # longer it takes, and the fuzzier it is.
        self.snapshot_nodes = 7
        self.snapshot_chunks = 64
        # How often, once all are together, the leader is taken from them, and trouble made in what follows.
        self.aftershocks = 0
        # What is played behind all else (``plots.PLOTS``).
        self.plots: list[str] = []

    def shape(self) -> Shape:
        """The cluster."""
        voters = list(range(1, self.voters + 1))
        observers = list(range(self.voters + 1, self.voters + self.observers + 1))
        groups: dict[int, list[int]] = {}
        if self.groups and self.voters >= 5:
            groups = {1: voters[:2], 2: voters[2:4], 3: voters[4:]}
        elif self.groups:
            groups = {1: voters}
        weights = dict(zip(voters, [*self.weights, *[1] * self.voters], strict=False)) if groups else {}
        return Shape(voters, observers, groups, weights, relays=self.relays if observers else RELAYS_NONE)

    def settings(self) -> Settings:
        """What every server is told."""
        settings = Settings()
        settings.tick_ms = self.tick_ms
        settings.init_limit_ticks = self.init_limit
        settings.sync_limit_ticks = self.sync_limit
        settings.snap_count = self.snap_count
        settings.commit_log_count = self.commit_log_count
        settings.digest_enabled = self.digest
        settings.max_notification_ms = self.max_notification_ms
        settings.container_check_interval_ms = self.container_ms
        settings.force_snapshot_sync = self.force_snap
        settings.extended_types_enabled = True
        settings.snapshot_nodes_per_turn = self.snapshot_nodes
        settings.snapshot_chunks_in_flight = self.snapshot_chunks
        settings.local_sessions_enabled = self.local_sessions
        settings.local_sessions_upgrading_enabled = self.local_sessions
        settings.enforce_quota = self.quotas
        if RECONFIG in self.faults:
            settings.reconfig_enabled = True
            settings.config_file = "zoo.cfg"
        return settings

    def appetite(self) -> Appetite:
        """What clients want."""
        appetite = draw_appetite(Prng(self.seed, "appetite"), self.think_ms * 1000)
        appetite.extended_types = True
        appetite.quotas = self.quotas
        return appetite

    def to_text(self) -> str:
        """``name=value`` pairs, as ``change`` reads them."""
        parts = [f"{name}={_to_text(value)}" for name, value in vars(self).items() if name != "seed"]
        return " ".join(parts)

    def change(self, text: str) -> None:
        """Applies ``name=value`` pairs.  Raises ValueError."""
        for part in text.split():
            name, equals, value = part.partition("=")
            if not equals or name not in vars(self):
                raise ValueError(f"unknown option {part!r}; there are {', '.join(vars(self))}")
            setattr(self, name, _from_text(getattr(self, name), value))


def _to_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(str(item).replace(" ", "_") for item in value) or "-"
    return str(int(value)) if isinstance(value, bool) else str(value)


def _from_text(old: object, text: str) -> object:
    if isinstance(old, bool):
        return text not in ("0", "no", "False")
    if isinstance(old, int):
        return int(text)
    if isinstance(old, float):
        return float(text)
    items = [] if text == "-" else text.split(",")
    if items and items[0].isdecimal():
        return [int(item) for item in items]
    return [item.replace("_", " ") for item in items]


def draw_options(seed: int) -> Options:
    """The run of a seed."""
    prng = Prng(seed, "options")
    out = Options()
    out.seed = seed
    out.voters, out.observers, _ = _SHAPES[prng.weighted([weight for _, _, weight in _SHAPES])]
    out.groups = out.voters >= 3 and prng.chance(0.4 if out.voters >= 5 else 0.08)
    if out.groups:
        out.weights = [prng.pick([1, 1, 1, 2, 3]) for _ in range(out.voters)]
        if out.voters >= 5:
            out.weights[prng.below(out.voters)] = 0
    out.seconds = prng.between(15, 45)
    out.clients = prng.between(4, 10)
    out.think_ms = prng.between(60, 250)
    out.tick_ms = prng.pick([100, 200, 200, 500, 500, 1000, 2000])
    out.init_limit = prng.between(4, 10)
    out.sync_limit = prng.between(2, 5)
    out.snap_count = int(prng.log_between(10, 2000))
    out.commit_log_count = prng.pick([5, 20, 100, 500])
    out.log_size_limit = prng.pick([0, 0, 2_000, 20_000])
    out.max_notification_ms = prng.pick([1000, 5000, 60_000])
    out.base_us = int(prng.log_between(50, 20_000))
    out.jitter_us = int(prng.log_between(20, 20_000))
    out.cut_chance = prng.pick([0.0, 0.02, 0.2])
    out.split_batch_chance = prng.pick([0.0, 0.3, 0.8])
    out.fsync_us = int(prng.log_between(50, 20_000))
    out.fault_gap_ms = out.seconds * 1000 // prng.between(22, 80)
    out.faults = _draw_faults(prng.split("faults"), out)
    out.relays = prng.split("relays").pick(_RELAYS)
    extras = prng.split("extras")
    out.near_rollover = out.voters > 1 and extras.chance(0.1)
    out.local_sessions = extras.chance(0.12)
    out.quotas = extras.chance(0.15)
    out.force_snap = extras.chance(0.2)
    out.container_ms = extras.pick([200, 1000, 5000])
    out.snapshot_nodes = extras.pick([1, 2, 7, 7])
    more = prng.split("more")
    out.snapshot_chunks = more.pick([64, 1, 3])
    out.aftershocks = more.pick([0, 1, 2]) if out.voters > 1 else 0
    out.snap_senders = more.pick([0, 1, 2])
    if RECONFIG in out.faults and (out.groups or (out.voters < 3 and not out.observers)):
        # Only a whole new membership can change groups, and of two voters none can be spared.
        out.faults.remove(RECONFIG)
    # Drawn last, and played last: whatever else a seed does stays as it was.
    out.plots = _draw_plots(prng.split("plots"), out)
    return out


def _draw_plots(prng: Prng, options: Options) -> list[str]:
    met = {
        "": options.voters > 1,
        NEEDS_RECONFIG: RECONFIG in options.faults,
        NEEDS_FOUR: options.voters >= 4 or options.groups,
        NEEDS_OBSERVERS: options.voters > 1 and options.observers > 0 and options.relays == RELAYS_NONE,
        NEEDS_RELAYS: options.voters > 1 and options.observers > 0 and options.relays != RELAYS_NONE,
    }
    best, highest = "", -1.0
    if prng.chance(_PLOT_CHANCE):
        for plot in [one for one in PLOTS if not one.beside]:
            # Each has draws of its own: one plot more takes its share of seeds, the others stay as they were.
            own = prng.split(plot.name)
            number = max([own.unit() for _ in range(_RARE_WEIGHT if plot.needs else 1)])
            if met[plot.needs] and number > highest:
                best, highest = plot.name, number
    beside = [plot for plot in PLOTS if plot.beside and met[plot.needs]]
    return [best] * bool(best) + [one.name for one in beside if prng.split(one.name).chance(one.beside)]


def _draw_faults(prng: Prng, options: Options) -> list[str]:
    possible = [kind for kind in KINDS if options.voters > 1 or not kind.ensemble_only]
    kinds = [kind.name for kind in possible]
    chosen = [kind.name for kind in possible if prng.chance(kind.chance)]
    while len(chosen) < _MIN_KINDS:
        extra = prng.pick(kinds)
        if extra not in chosen:
            chosen.append(extra)
    return chosen
