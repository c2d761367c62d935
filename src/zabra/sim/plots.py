"""Plots: chains of events that chance hardly ever puts together, made to happen one after the other.

A fault that is drawn comes at any moment, and a strike at one step of a server.  Some bugs take five things
in a row, each of them at its moment; ``PLOTS`` is their list, part of the written fault model.  A seed draws
at most one, and maybe one of those that are played beside others.  They are played behind everything else
that the seed does, so that a run is the same up to there whatever plots there are; when one is over,
everybody must come together as after any other trouble.

Faults happen at the doors only, as elsewhere; beside that an operator's settings may be changed.  A plot for
which the cluster is not made, or that something else gets in the way of, does not come off.
"""

from collections.abc import Callable, Sequence
from typing import Final

from zabra.client import calls
from zabra.server.ready import DISK_APPEND, DISK_CURRENT_EPOCH, DISK_SNAPSHOT_BEGIN
from zabra.server.reconfig import next_file_name
from zabra.server.roles.learning import BROADCAST, Learning
from zabra.sim.checkers import is_quorum
from zabra.sim.clock import US_PER_MS
from zabra.sim.cluster import ELECTION_PORT, Cluster, server_line
from zabra.sim.disk_faults import take_snapshot
from zabra.sim.faults import Nemesis
from zabra.sim.gate import VoteDoubler
from zabra.sim.machine import Countdown, Machine
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng
from zabra.sim.trouble import ALL_LOSE_POWER, ENDS, KILLED_AT_WORK, Strike
from zabra.sim.workload import BusyProgram
from zabra.storage.names import NEW_SNAPSHOT_PREFIX, VERSION_FOLDER

# What a plot needs of the cluster.
NEEDS_RECONFIG: Final = "reconfig"
NEEDS_OBSERVERS: Final = "observers under the leader"
NEEDS_RELAYS: Final = "relays"
NEEDS_FOUR: Final = "four voters, or weights"


class Plot:
    """One plot: its name, what happens, and what it needs of the cluster.

    ``beside`` is how likely a seed plays it behind whatever other plot it has drawn; 0: it is one of those.
    """

    __slots__ = ("beside", "name", "needs", "text")

    def __init__(self, name: str, text: str, needs: str = "", beside: float = 0.0) -> None:
        self.name = name
        self.text = text
        self.needs = needs
        self.beside = beside


PLOTS: Final = (
    Plot("silence", "clients keep their sessions and ask for nothing, for longer than these last"),
    Plot("long absence", "one server reaches nobody, for so long that it hardly tries any more"),
    Plot(
        "missing link",
        "the leader reaches nobody but one voter, without whom the others are no quorum",
        NEEDS_FOUR,
    ),
    Plot(
        "former life",
        "a follower acks what no other disk takes, comes back, and is told to cut it off before they take it",
    ),
    Plot(
        "torn batch",
        "disks stand still until there is much to be written, and the power goes in the middle of it",
    ),
    Plot("lost in sync", "a server loses its leader as soon as it has logged what it had missed"),
    Plot("half a name", "a server is killed while it saves an epoch, and goes on with what it finds"),
    Plot(
        "overlapping snapshots",
        "a server that writes a snapshot, slowly, loses its leader, is sent a SNAP, and maybe loses it again",
    ),
    Plot(
        "torn SNAP",
        "one that was away is sent a SNAP of an epoch's start, and loses power while that replaces all else",
    ),
    Plot(
        "snapshot of a tail",
        "an observer is sent a SNAP with what only its leader has, and both are gone: nobody knows of it",
        NEEDS_OBSERVERS,
    ),
    Plot(
        "move below a relay",
        "clients go from one observer to another below a relay, and what they asked last comes after them",
        NEEDS_RELAYS,
    ),
    Plot(
        "shrinking view",
        "all followers but a few become observers while they are needed for more",
        NEEDS_RECONFIG,
    ),
    Plot(
        "lonely view",
        "a leader that is cut off logs a reconfiguration, and the others go on without",
        NEEDS_RECONFIG,
    ),
    Plot(
        "lost view",
        "a view is proposed, and everybody loses power before its txn is on any disk",
        NEEDS_RECONFIG,
    ),
    Plot(
        "votes come twice",
        "connections break behind the votes of an election, which are sent again over the next ones",
        beside=0.2,
    ),
)
PLOT_NAMES: Final = tuple(plot.name for plot in PLOTS)

# How long at most something is waited for that should come at once.
_PATIENCE_MS: Final = 3_000
# The silence, in ticks: longer than three of most sessions' timeouts.
_SILENCE_TICKS: Final = 40
_LONGEST_ABSENCE_MS: Final = 150_000
# A write of so many bytes has several sectors.
_BATCH_BYTES: Final = 1_500
# Among which disk operations the power goes: behind a group commit's write; while a SNAP replaces the rest.
_COMMIT_OPS: Final = (1, 3)
_ADOPTING_OPS: Final = (6, 18)
# Or the process dies: while an epoch is written, and gets its name.
_NAMING_OPS: Final = (3, 6)
# Behind how many of the votes a connection breaks.
_BREAKING: Final = 0.25


class Plotter:
    """Plays plots.  ``calms``: spans (us) in which nothing went wrong and nobody wrote."""

    def __init__(
        self,
        nemesis: Nemesis,
        programs: list[BusyProgram],
        all_rest: Callable[[], bool],
        limit_ms: int,
    ) -> None:
        self.nemesis = nemesis
        self.programs = programs
        self.all_rest = all_rest
        # Within which all must come together once nothing is wrong any more.
        self.limit_ms = limit_ms
        self.cluster: Cluster = nemesis.cluster
        self.monitor: ClusterMonitor = nemesis.monitor
        self.calms: list[tuple[int, int]] = []
        self._plots: dict[str, Callable[[Prng], bool]] = {
            "silence": self._silence,
            "long absence": self._long_absence,
            "missing link": self._missing_link,
            "former life": self._former_life,
            "torn batch": self._torn_batch,
            "lost in sync": self._lost_in_sync,
            "half a name": self._half_a_name,
            "overlapping snapshots": self._overlapping_snapshots,
            "torn SNAP": self._torn_snap,
            "snapshot of a tail": self._snapshot_of_a_tail,
            "move below a relay": self._move_below_a_relay,
            "shrinking view": self._shrinking_view,
            "lonely view": self._lonely_view,
            "lost view": self._lost_view,
            "votes come twice": self._votes_come_twice,
        }
        assert set(self._plots) == set(PLOT_NAMES)

    def play(self, name: str, number: int) -> None:
        """Plays one; it is counted if it came off."""
        machines = self.cluster.machines.values()
        forced = [one.sid for one in machines if one.plan.settings.force_snapshot_sync]
        splits = [one.split_batch_chance for one in machines]
        prng = self.nemesis.go_on(f"plot {number}: {name}")
        if self._plots[name](prng):
            self.cluster.say(f"{name} has come off")
            self.cluster.network.count("plots")
            self.cluster.network.count(f"plot {name}")
        self._rest(False)
        self._force_snaps(forced)
        for machine, chance in zip(machines, splits, strict=True):
            machine.split_batch_chance = chance
            self._stop_disk(machine, ())

    # Helpers.

    def _now_ms(self) -> int:
        return self.cluster.scheduler.now_us // US_PER_MS

    def _until(self, what: Callable[[], bool], limit_ms: int = _PATIENCE_MS, step_ms: int = 1) -> bool:
        """Lets time pass until ``what`` holds; False if it does not come to that."""
        deadline_ms = self._now_ms() + limit_ms
        while not what():
            if self._now_ms() >= deadline_ms or self.monitor.judgement.violations:
                return False
            self.cluster.run_ms(step_ms)
        return True

    def _rest(self, resting: bool) -> None:
        for program in self.programs:
            program.resting = resting

    def _calm_down(self) -> bool:
        """Nobody asks for anything, and all that was asked is everywhere."""
        self._rest(True)
        return self._until(self.all_rest, self._ticks(10), 5)

    def _ticks(self, count: int) -> int:
        return count * self.cluster.settings.tick_ms

    def _sync_limit_ms(self) -> int:
        return self._ticks(self.cluster.settings.sync_limit_ticks)

    def _stop_disk(self, machine: Machine, kinds: Sequence[int]) -> None:
        """Disk work stops before commands of ``kinds``; with none it goes on."""
        machine.disk_stops = frozenset(kinds)
        if not kinds:
            machine.hurry()

    def _force_snaps(self, sids: Sequence[int]) -> None:
        """Who sends a snapshot to every learner."""
        for machine in self.cluster.machines.values():
            machine.plan.settings.force_snapshot_sync = machine.sid in sids

    def _voters(self) -> list[int]:
        view = self.nemesis.view()
        return [] if view is None else view.voters()

    def _learning(self, machine: Machine) -> Learning | None:
        process = machine.process
        return None if process is None else process.server.learning

    def _follows(self, machine: Machine, leader: int) -> bool:
        """Whether it is in step with this leader, without a relay between them."""
        learning = self._learning(machine)
        return learning is not None and learning.leader_sid == leader and learning.state == BROADCAST

    def _learners(self, leader: int) -> list[Machine]:
        """Those directly under the leader."""
        return [one for one in self.cluster.machines.values() if self._follows(one, leader)]

    def _leads(self, sids: Sequence[int]) -> Callable[[], bool]:
        """Whether one of ``sids`` leads, in a later epoch than there was."""
        before = max(self.monitor.leaders, default=0)

        def found() -> bool:
            newest = max(self.monitor.leaders, default=0)
            return newest > before and self.monitor.leaders[newest][0] in sids

        return found

    def _pairs(self, sid: int) -> list[tuple[int, int]]:
        """Both directions between a server and all others."""
        others = [one for one in self.nemesis.sids() if one != sid]
        return [(sid, one) for one in others] + [(one, sid) for one in others]

    def _unblock(self, sid: int) -> None:
        """Whatever stands between a server and the others is gone."""
        for source, target in self._pairs(sid):
            while self.cluster.network.is_blocked(source, target):
                self.cluster.network.unblock(source, target)

    def _cut_links(self, one: int, other: int) -> None:
        """Breaks every connection between two servers."""
        for end in self.cluster.network.connections():
            if (end.host, end.peer_host) in ((one, other), (other, one)) and end.peer is not None:
                self.cluster.network.cut_connection(end)

    def _logged(self, sid: int) -> int:
        return self.monitor.promise(sid).zxid

    def _ask_of(self, sid: int) -> None:
        """Clients go to a server."""
        for client in self.cluster.clients:
            if client is not self.nemesis.operator and client.server != sid and client.is_connected():
                client.move(sid)

    # Plots.

    def _silence(self, prng: Prng) -> bool:
        if not self._calm_down():
            return False
        began_us = self.cluster.scheduler.now_us
        self.cluster.run_ms(self._ticks(_SILENCE_TICKS))
        self.calms.append((began_us, self.cluster.scheduler.now_us))
        return True

    def _long_absence(self, prng: Prng) -> bool:
        """Each time it hears nothing it waits twice as long, and here nothing bounds that."""
        self._rest(True)
        sid = prng.pick(self.nemesis.sids())
        machine = self.cluster.machines[sid]
        span_ms = min(int(self.limit_ms * (2 + 2 * prng.unit())), _LONGEST_ABSENCE_MS)
        machine.plan.settings.max_notification_ms = 2 * span_ms
        self.nemesis.block(self._pairs(sid), span_ms + 1_000)
        self.nemesis.restart_at_once(machine)
        self.cluster.run_ms(span_ms)
        return True

    def _missing_link(self, prng: Prng) -> bool:
        """Nobody leads without the one, who goes by the word of the other, who has the longest history."""
        other, view = self.nemesis.leader(), self.nemesis.view()
        if other is None or view is None:
            return False
        rest = [sid for sid in prng.shuffled(view.voters()) if sid != other.sid]
        one = rest.pop()
        while is_quorum(view, rest):
            gone = self.cluster.machines[rest.pop()]
            gone.kill()
            self.nemesis.return_later(gone, _LONGEST_ABSENCE_MS)
        if is_quorum(view, [one, other.sid]) or not is_quorum(view, [one, *rest]):
            return False
        for sid in rest:
            self._cut_links(sid, other.sid)
        # They notice that, and then cannot connect again.
        self.cluster.run_ms(5)
        pairs = [pair for pair in self._pairs(other.sid) if one not in pair]
        self.nemesis.block(pairs, _LONGEST_ABSENCE_MS)
        # Who has joined one that it cannot reach finds that out after initLimit, and looks again.
        span_ms = self._sync_limit_ms() + 6 * self._ticks(self.cluster.settings.init_limit_ticks)
        self.cluster.run_ms(min(span_ms, _LONGEST_ABSENCE_MS))
        return True

    def _former_life(self, prng: Prng) -> bool:
        leader, view = self.nemesis.leader(), self.nemesis.view()
        if leader is None or view is None or self.monitor.is_view_pending():
            return False
        others = [sid for sid in prng.shuffled(view.voters()) if sid != leader.sid]
        acking: list[int] = []
        while others and not is_quorum(view, [leader.sid, *acking]):
            acking.append(others.pop())
        if not acking or not is_quorum(view, [leader.sid, *acking]):
            return False
        alone = self.cluster.machines[acking[-1]]
        head = self.monitor.head()
        for sid in [leader.sid, *others]:
            self._stop_disk(self.cluster.machines[sid], (DISK_APPEND,))
        patience_ms = self._sync_limit_ms() // 3
        if not self._until(lambda: self._logged(alone.sid) > max(head, self.monitor.head()), patience_ms):
            return False
        alone.kill()
        self._stop_disk(alone, (DISK_APPEND,))
        self.nemesis.return_later(alone, 1)
        came_off = self._until(
            lambda: self._logged(alone.sid) <= self.monitor.head() and self._follows(alone, leader.sid),
            patience_ms,
        )
        self._stop_disk(leader, ())
        self.cluster.run_ms(200)
        return came_off

    def _torn_batch(self, prng: Prng) -> bool:
        machines = self.nemesis.up()
        for machine in machines:
            self._stop_disk(machine, (DISK_APPEND,))

        def is_enough() -> bool:
            sizes = [
                sum(len(entry.raw) for command in one.process.log_queue.waiting for entry in command.entries)
                for one in machines
                if one.process is not None
            ]
            return bool(sizes) and max(sizes) >= _BATCH_BYTES

        self._until(is_enough, self._sync_limit_ms() // 2)
        for machine in machines:
            machine.countdown = Countdown(_COMMIT_OPS[0] + prng.below(_COMMIT_OPS[1] - _COMMIT_OPS[0]))
            self._stop_disk(machine, ())
        came_off = self._until(lambda: len(self.nemesis.up()) < len(machines))
        self.cluster.run_ms(100)
        for machine in machines:
            machine.countdown = None
        self.nemesis.revive()
        return came_off

    def _lost_in_sync(self, prng: Prng) -> bool:
        leader = self.nemesis.leader()
        if leader is None:
            return False
        learners = self._learners(leader.sid)
        if not learners:
            return False
        machine = prng.pick(learners)
        had = self._logged(machine.sid)
        machine.kill()
        # What it is sent is on its disk by then, and the epoch, with which it could be acked, is not.
        self._stop_disk(machine, (DISK_CURRENT_EPOCH,))
        self.nemesis.return_later(machine, 200 + prng.below(800))
        came_off = self._until(lambda: machine.is_up() and self._logged(machine.sid) > had, 2 * _PATIENCE_MS)
        learning = self._learning(machine)
        if learning is None:
            return False
        master = int(learning.leader_sid)
        self._cut_links(machine.sid, master)
        came_off = self._until(lambda: self._learning(machine) is not learning) and came_off
        if prng.chance(0.5):
            self.nemesis.end(leader)
        self._stop_disk(machine, ())
        self.cluster.run_ms(500)
        return came_off

    def _half_a_name(self, prng: Prng) -> bool:
        leader = self.nemesis.leader()
        if leader is None:
            return False
        self.nemesis.strikes["saves an epoch"] = Strike(
            KILLED_AT_WORK, prng.below(3), 2 + prng.below(3), ops=_NAMING_OPS
        )
        self.nemesis.end(leader)
        came_off = self._until(lambda: "saves an epoch" not in self.nemesis.strikes, self._ticks(30))
        self.nemesis.strikes.pop("saves an epoch", None)
        self.cluster.run_ms(100 + prng.below(500))
        return came_off

    def _overlapping_snapshots(self, prng: Prng) -> bool:
        leader = self.nemesis.leader()
        if leader is None or not self._learners(leader.sid):
            return False
        machine = prng.pick(self._learners(leader.sid))
        loses_it_again = prng.chance(0.5)
        if not loses_it_again and not self._calm_down():
            return False
        if machine.process is None or not self._follows(machine, leader.sid):
            return False
        self._force_snaps((leader.sid,))
        machine.snapshot_extra_us = int(prng.log_between(100_000, 1_000_000))
        machine.process.call(take_snapshot)

        def is_begun() -> bool:
            return any(name.startswith(NEW_SNAPSHOT_PREFIX) for name in machine.disk.list(VERSION_FOLDER))

        if not self._until(is_begun):
            return False
        self._cut_links(machine.sid, leader.sid)

        def is_sent_a_snap() -> bool:
            learning = self._learning(machine)
            return learning is not None and learning.must_reload

        came_off = self._until(is_sent_a_snap, self._ticks(20))
        if came_off and loses_it_again:
            self._cut_links(machine.sid, leader.sid)
        self.cluster.run_ms(2_000)
        machine.snapshot_extra_us = 0
        return came_off

    def _torn_snap(self, prng: Prng) -> bool:
        leader = self.nemesis.leader()
        if leader is None or len(self._voters()) < 3 or not self._learners(leader.sid):
            return False
        machine = prng.pick(self._learners(leader.sid))
        sids = self.nemesis.sids()
        machine.kill()
        self.nemesis.return_later(machine, self.limit_ms + 100_000)
        self.cluster.run_ms(200 + prng.below(600))
        self._rest(True)
        self.cluster.run_ms(self._ticks(2))
        # An epoch begins in which nobody asks for anything.
        is_led = self._leads([sid for sid in sids if sid != machine.sid])
        self.nemesis.restart_at_once(leader)
        self._force_snaps(sids)
        if not self._until(is_led, self._ticks(30)):
            return False
        self.nemesis.strikes["saves a SNAP"] = Strike(ENDS, only=machine.sid, ops=_ADOPTING_OPS)
        lives = machine.lives
        self.nemesis.return_later(machine, 1)
        came_off = self._until(lambda: machine.lives > lives and machine.process is None, self._ticks(20))
        self.nemesis.strikes.pop("saves a SNAP", None)
        self._force_snaps(())
        self.nemesis.return_later(machine, 1)
        self._until(
            lambda: machine.process is not None and machine.process.server.role.serves(), self._ticks(20)
        )
        self._rest(False)
        self.cluster.run_ms(500)
        return came_off

    def _snapshot_of_a_tail(self, prng: Prng) -> bool:
        leader = self.nemesis.leader()
        observers = [sid for sid in self.cluster.shape.observers if sid not in self._voters()]
        if leader is None or not observers:
            return False
        machine = self.cluster.machines[prng.pick(observers)]
        if not self._follows(machine, leader.sid):
            return False
        self._ask_of(leader.sid)
        self.cluster.run_ms(200)
        self.nemesis.block(self._pairs(leader.sid), self._sync_limit_ms())
        head = self.monitor.head()
        if not self._until(
            lambda: self._logged(leader.sid) > self.monitor.head(), self._sync_limit_ms() // 2
        ):
            return False
        self._rest(True)
        # It leads again, by what it alone has, and sends that to nobody who votes.
        chosen = (leader.sid, machine.sid)
        self._all_lose_power(lambda one: 1 if one.sid in chosen else 30 + prng.below(100))
        for one in self.cluster.machines.values():
            if one is not machine:
                self._stop_disk(one, (DISK_SNAPSHOT_BEGIN, DISK_APPEND))
        self._force_snaps((leader.sid,))
        tail = self._logged(leader.sid)
        if not self._until(lambda: self._logged(machine.sid) >= tail > head, self._ticks(30)):
            return False
        # And both are gone.
        if prng.chance(0.7):
            self.nemesis.strikes["cut refused"] = Strike(prng.pick((ENDS, ALL_LOSE_POWER)), only=machine.sid)
        self._force_snaps(())
        self._all_lose_power(lambda one: self.limit_ms if one is leader else 1 + prng.below(50))
        for one in self.cluster.machines.values():
            self._stop_disk(one, ())
        refused = self.monitor.judgement.counts.get("truncs refused", 0)
        came_off = self._until(
            lambda: self.monitor.judgement.counts.get("truncs refused", 0) > refused, self._ticks(20)
        )
        self.cluster.run_ms(200)
        self.nemesis.strikes.pop("cut refused", None)
        return came_off

    def _all_lose_power(self, when: Callable[[Machine], int]) -> None:
        """Everybody loses power at once and returns after ``when`` ms; no partition outlives it."""
        for machine in self.cluster.machines.values():
            if machine.is_up():
                self.nemesis.cut_power(machine, False)
            self.nemesis.return_later(machine, when(machine))
        self.cluster.network.heal()

    def _move_below_a_relay(self, prng: Prng) -> bool:
        moves: list[tuple[int, int, int]] = []
        for relay in self.cluster.machines.values():
            learning = self._learning(relay)
            if learning is None or learning.relay is None:
                continue
            below = [int(one.sid) for one in learning.relay.handlers.values() if one.forwarding]
            for source in below:
                moves += [(source, relay.sid, target) for target in [relay.sid, *below] if target != source]
        if not moves:
            return False
        source, relay_sid, target = prng.pick(moves)
        self._ask_of(source)
        moved = [one for one in self.cluster.clients if one is not self.nemesis.operator]
        self._until(lambda: any(one.server == source and one.is_connected() for one in moved))
        self.cluster.run_ms(300)
        extra_us = min(600_000, self._sync_limit_ms() * US_PER_MS // 3)
        self.cluster.network.slow_pair(source, relay_sid, extra_us)
        self.cluster.run_ms(min(200, extra_us // US_PER_MS // 2))
        leaving = [one for one in moved if one.server == source and one.is_connected()]
        for client in leaving:
            client.move(target)
        self.cluster.run_ms(1_000)
        self.cluster.network.slow_pair(source, relay_sid, 0)
        return bool(leaving)

    # Of views.

    def _propose_view(self, observers: Sequence[int]) -> bool:
        """The operator has voters become observers."""
        operator = self.nemesis.operator
        if operator is None or not operator.is_connected() or operator.pending() or not observers:
            return False
        for machine in self.cluster.machines.values():
            machine.plan.settings.standalone_enabled = False
        lines = [server_line(sid, True) for sid in observers]
        joining = ",".join(f"server.{line.sid}={line.format()}" for line in lines)
        operator.ask(calls.reconfig(joining, None, None))
        return True

    def _shrinks_to(self, prng: Prng, leader: Machine) -> list[int]:
        """The voters that are to be observers: all but the leader, or but a few."""
        others = [sid for sid in prng.shuffled(self._voters()) if sid != leader.sid]
        return others[prng.below(len(others)) if len(others) > 2 else 0 :]

    def _is_ready_for_views(self) -> Machine | None:
        """The leader, if it can be asked for a reconfiguration."""
        leader, view = self.nemesis.leader(), self.nemesis.view()
        if leader is None or view is None or view.groups or len(view.voters()) < 2:
            return None
        operator = self.nemesis.operator
        if operator is None or self.monitor.is_view_pending():
            return None
        self._until(lambda: operator.is_connected() and not operator.pending())
        return leader

    def _shrinking_view(self, prng: Prng) -> bool:
        """What is proposed behind the view is acked by nobody who counts no more, and must be committed."""
        leader = self._is_ready_for_views()
        if leader is None:
            return False
        leaving = self._shrinks_to(prng, leader)
        for sid in leaving:
            machine = self.cluster.machines[sid]
            machine.log_extra_us = 20_000 + prng.below(80_000)
            machine.split_batch_chance = 1.0
        if not self._propose_view(leaving) or not self._until(self.monitor.is_view_pending):
            return False
        for client in self.cluster.clients:
            if client is not self.nemesis.operator and client.is_connected():
                client.ask(calls.set_data("/w", b"behind"))
        came_off = self._until(lambda: not self.monitor.is_view_pending())
        self.cluster.run_ms(300)
        for sid in leaving:
            self.cluster.machines[sid].log_extra_us = 0
        return came_off

    def _lonely_view(self, prng: Prng) -> bool:
        leader = self._is_ready_for_views()
        operator = self.nemesis.operator
        if leader is None or operator is None:
            return False
        operator.move(leader.sid)
        if not self._until(lambda: operator.is_connected() and operator.server == leader.sid):
            return False
        others = [sid for sid in self._voters() if sid != leader.sid]
        is_led = self._leads(others)
        self.nemesis.block(self._pairs(leader.sid), self.limit_ms)
        if not self._propose_view(self._shrinks_to(prng, leader)):
            return False
        self._until(self.monitor.is_view_pending, self._sync_limit_ms() // 2)
        came_off = self._until(is_led, self._ticks(30)) and self.monitor.is_view_pending()
        if prng.chance(0.5):
            self.nemesis.restart_at_once(leader)
        self.cluster.run_ms(100 + prng.below(400))
        self._unblock(leader.sid)
        return came_off

    def _lost_view(self, prng: Prng) -> bool:
        leader = self._is_ready_for_views()
        if leader is None or not self._calm_down():
            return False
        leaving = self._shrinks_to(prng, leader)
        for machine in self.cluster.machines.values():
            self._stop_disk(machine, (DISK_APPEND,))
        if not self._propose_view(leaving) or not self._until(self.monitor.is_view_pending):
            return False

        def know_of_it() -> bool:
            """Whether its file, not its txn, is on the disks of all voters."""
            machines = [self.cluster.machines[sid] for sid in self._voters()]
            names = [next_file_name(machine.plan.settings.config_file) for machine in machines]
            found = [one.config_disk.durable(name) for one, name in zip(machines, names, strict=True)]
            return all(found)

        came_off = self._until(know_of_it, self._sync_limit_ms() // 2)
        late = prng.pick(self._voters())
        self._all_lose_power(
            lambda one: 1_000 + prng.below(2_000) if one.sid == late else 1 + prng.below(200)
        )
        for machine in self.cluster.machines.values():
            self._stop_disk(machine, ())
        self.cluster.run_ms(500)
        return came_off

    def _votes_come_twice(self, prng: Prng) -> bool:
        """Also to those that have decided: it goes on for a while when somebody leads."""
        leader = self.nemesis.leader()
        if leader is None:
            return False
        network = self.cluster.network
        before = network.counts.get("votes twice", 0)
        doubler = VoteDoubler(network, ELECTION_PORT, prng, _BREAKING)
        network.gate, network.tap = doubler, doubler.heard
        is_led = self._leads(self.nemesis.sids())
        self.nemesis.end(leader)
        self._until(is_led, self._ticks(20))
        self.cluster.run_ms(100 + prng.below(self._ticks(3)))
        network.gate, network.tap = doubler.others, None
        return network.counts.get("votes twice", 0) > before
