"""Nemesis: makes things go wrong, one fault after the other, and then on purpose.

It draws from the kinds (``fault_kinds.KINDS``) that a seed has enabled, on random targets, undoes what
lasts, and counts what it did.  Faults happen at the doors only: links, disks, clocks, processes, clients;
each door's are in a module of their own.
"""

from typing import Final

from zabra.server.ready import DISK_SNAPSHOT_BEGIN
from zabra.sim.client_faults import ClientFaults
from zabra.sim.clock import US_PER_MS
from zabra.sim.cluster import Cluster
from zabra.sim.disk_faults import DiskFaults
from zabra.sim.fault_kinds import KIND_NAMES
from zabra.sim.link_faults import LinkFaults
from zabra.sim.machine import Machine
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng
from zabra.sim.process_faults import ProcessFaults
from zabra.sim.strikes import Strikes
from zabra.sim.trouble import (
    ALL_LOSE_POWER,
    BOTH_RETURN_LATE,
    CUT_OFF,
    ENDS,
    RESTARTED,
    Action,
    Strike,
    Trouble,
)

# At which moments an aftershock strikes, and how.
_AFTERSHOCKS: Final = (
    *("accepted epoch", "accepted epoch", "accepted epoch", "current epoch", "leads", "is in step"),
    *("logged in sync", "saves an epoch", "saves an epoch", "cuts", "truncated", "saves a SNAP", "snapshot"),
    "cut refused",
)
_AFTERSHOCK_HOW: Final = (ENDS, ALL_LOSE_POWER, CUT_OFF, RESTARTED, RESTARTED)


class Nemesis(Trouble):
    """Injects faults into a cluster.  ``counts`` says how often each kind happened."""

    def __init__(
        self, cluster: Cluster, monitor: ClusterMonitor, prng: Prng, enabled: list[str], mean_gap_ms: int
    ) -> None:
        super().__init__(cluster, monitor, prng)
        self.enabled = enabled
        self.mean_gap_ms = mean_gap_ms
        self.skip: dict[int, None] = {}
        # (number, simulated us, kind) of every fault that happened.
        self.injected: list[tuple[int, int, str]] = []
        self._gaps = prng.split("gaps")
        self._number = 0
        self.counts: dict[str, int] = {}
        # No more faults one after the other, whatever aftershocks come.
        self._is_over = False
        self.processes = ProcessFaults(self)
        self.clients = ClientFaults(self)
        strikes = Strikes(self)
        monitor.on_moment = strikes.moment
        self._actions: dict[str, Action] = {}
        for part in (self.processes, self.clients, LinkFaults(self), DiskFaults(self), strikes):
            self._actions |= part.actions()
        assert set(self._actions) == set(KIND_NAMES)

    def start(self) -> None:
        """Faults begin."""
        self.active = True
        self._schedule()

    def _schedule(self) -> None:
        delay = 1 + int(self._gaps.spread(self.mean_gap_ms * US_PER_MS))
        self.cluster.scheduler.after(delay, self._next, None)

    def _next(self, _: object) -> None:
        if not self.active or self._is_over:
            return
        self.revive()
        if self.enabled:
            self._number += 1
            self.prng = self._root.split(str(self._number))
            name = self.prng.pick(self.enabled)
            if self._number not in self.skip:
                self.inject(name)
        self._schedule()

    def inject(self, name: str) -> bool:
        """One fault of this kind; False if nothing suits it now."""
        self.cluster.say(f"fault {self._number}: {name}")
        if self._actions[name]():
            self.counts[name] = self.counts.get(name, 0) + 1
            self.injected.append((self._number, self.cluster.scheduler.now_us, name))
            return True
        return False

    def stop(self) -> None:
        """Faults end: links heal, machines run on their own, everybody is started."""
        self.active = False
        self._is_over = True
        self.strikes.clear()
        if self.cutter is not None:
            self.cutter.kind = None
        for undo in list(self._undo.values()):
            undo()
        self._undo.clear()
        cluster = self.cluster
        cluster.network.heal()
        cluster.network.loss_chance = 0.0
        for machine in cluster.machines.values():
            machine.resume()
            machine.slowness = 1
            machine.set_rate(0)
            machine.log_extra_us = 0
            machine.snapshot_extra_us = 0
            machine.disk.capacity_bytes = 0
            machine.countdown = None
            # One that waits for the next fsync would be a fault of afterwards.
            machine.disk.clear_faults()
            machine.disk_stops = frozenset()
            machine.hurry()
        self.revive()

    def aftershock(self, number: int) -> int:
        """Trouble on purpose, once all are in step; returns how long (ms) it takes at least.

        The leader, or everybody, goes at once, and strikes come at steps of what follows; or the leader is
        left alone with what it logs; or somebody is away for long.
        """
        prng = self.go_on(f"aftershock {number}")
        self.cluster.network.count("aftershocks")
        leader = self.leader()
        kind = prng.below(8)
        if kind == 0 and leader is not None:
            return self._stay_away(prng.pick([sid for sid in self.sids() if sid != leader.sid]))
        if kind <= 3 and leader is not None:
            return self._leave_a_tail(leader)
        for _ in range(1 + prng.below(2)):
            self.strikes[prng.pick(_AFTERSHOCKS)] = Strike(prng.pick(_AFTERSHOCK_HOW), 0, prng.below(4))
        if leader is None or prng.chance(0.3):
            self.processes.power_cut_of_all()
        else:
            self.end(leader)
        return 0

    def _stay_away(self, sid: int) -> int:
        """It is started where it reaches nobody, and looks for a leader for long."""
        machine = self.cluster.machines[sid]
        others = [one for one in self.sids() if one != sid]
        span_ms = int(self.prng.log_between(2_000, 40_000))
        self.block([(sid, one) for one in others] + [(one, sid) for one in others], span_ms + 1_000)
        self.restart_at_once(machine)
        return span_ms

    def _leave_a_tail(self, leader: Machine) -> int:
        """The leader logs what nobody else gets, and others go on without; or it leads again with it.

        Then it sends it to one, and both are gone; if that is a snapshot, the others' disks are stuck.
        """
        others = [sid for sid in self.sids() if sid != leader.sid]
        settings = self.cluster.settings
        span_ms = settings.tick_ms * settings.sync_limit_ticks * 2 // 3
        observers = [sid for sid in self.cluster.shape.observers if sid != leader.sid]
        chosen = self.prng.pick(observers or others)
        if self.operator is not None:
            # A view may be what it alone has logged.
            self.operator.move(leader.sid)
            self.cluster.run_ms(300)
        self.block([(leader.sid, sid) for sid in others], span_ms)
        if self.operator is not None:
            self.clients.reconfig()
        after = self.cluster.scheduler.after
        if self.prng.chance(0.3):
            after(span_ms * US_PER_MS // 2, self._end_later, leader)
            return span_ms
        self.strikes["snapshot"] = Strike(BOTH_RETURN_LATE, only=chosen)
        after(span_ms * US_PER_MS, self._return_first, (leader.sid, chosen))
        return span_ms

    def _end_later(self, machine: Machine) -> None:
        self.end(machine)

    def _return_first(self, sids: tuple[int, int]) -> None:
        if not self.active:
            return
        for machine in self.up():
            self.cut_power(machine, False)
            self.return_later(machine, 1 if machine.sid in sids else 20 + self.prng.below(200))
            if machine.sid not in sids:
                machine.disk_stops = frozenset((DISK_SNAPSHOT_BEGIN,))

    def is_waiting(self) -> bool:
        """Whether strikes are still to come."""
        return bool(self.strikes)
