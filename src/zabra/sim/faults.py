"""Faults: what may go wrong, as data, and the Nemesis that makes it go wrong.

``KINDS`` is the written fault model.  Every kind says what it does; the Nemesis draws one after the other
from those that a seed has enabled, on random targets, undoes what lasts, and counts what it did.  Faults
happen at the doors only: links, disks, clocks, processes, clients.

A machine may lose data (``reformat``, ``bit flip``, ``lost entry``) only while every promise it has made is
also kept by a majority of the other voters: that is what a quorum can survive.
"""

from collections.abc import Callable
from typing import Any, Final

from zabra.client import calls
from zabra.client.calls import Call
from zabra.client.connection import WatchFired
from zabra.config.ensemble import EnsembleConfig
from zabra.proto import codes
from zabra.server.ready import DISK_SNAPSHOT_BEGIN
from zabra.server.server import Server
from zabra.sim.client import SimClient
from zabra.sim.clock import US_PER_MS
from zabra.sim.cluster import Cluster, server_line
from zabra.sim.disk import EIO, ENOSPC, SHORT, SLOW
from zabra.sim.gate import ACKLD, SNAPSHOT_END, Cutter
from zabra.sim.machine import Countdown, Machine
from zabra.sim.monitor import MOMENTS, WORKS, ClusterMonitor
from zabra.sim.prng import Prng
from zabra.storage.errors import StorageError
from zabra.storage.names import VERSION_FOLDER
from zabra.zab.quorum import verifier_of


class Kind:
    """One kind of fault: its name, what it is, and where it makes sense."""

    __slots__ = ("chance", "ensemble_only", "name", "text")

    def __init__(self, name: str, text: str, ensemble_only: bool = False, chance: float = 0.35) -> None:
        self.name = name
        self.text = text
        self.ensemble_only = ensemble_only
        # How likely a seed switches it on.
        self.chance = chance


KINDS: Final = (
    Kind("delay", "packets of one direction between two servers take up to 300 ms longer", True),
    Kind("client delay", "packets from or to one server take up to 300 ms longer for all clients"),
    Kind("loss", "up to 30 % of all packets are lost and retransmitted"),
    Kind("clog", "one direction between two servers stands still, then goes on", True),
    Kind("swizzle clog", "servers are clogged one by one, and unclogged in another order", True),
    Kind("cut", "a connection breaks in the middle of what is on its way"),
    Kind(
        "cut at a packet",
        "a connection between two servers breaks right behind a packet of a kind",
        True,
        chance=0.5,
    ),
    Kind("one-way partition", "nothing gets from one server to another, the way back is open", True),
    Kind("partition", "the servers fall into two parts that do not reach each other", True),
    Kind("isolate leader", "nobody reaches the leader, or the leader reaches nobody", True),
    Kind("flapping", "a link between two servers comes and goes", True),
    Kind("client partition", "one server is out of reach for all clients"),
    Kind("kill", "SIGKILL of one server, later a restart"),
    Kind("kill leader", "SIGKILL of the leader, later a restart", True),
    Kind("power cut", "one machine loses power and what was not synced, later a restart"),
    Kind("power cut of all", "all machines lose power at once, and return one by one", True),
    Kind("orphaned leader", "the leader and its clients are cut off from the other servers for long", True),
    Kind(
        "standstill",
        "nothing moves between the leader and the others, almost until they give up; clients leave meanwhile",
        True,
    ),
    Kind(
        "strike",
        "just as a server takes a step that matters it is killed, cut off, or all lose power",
        True,
        chance=0.7,
    ),
    Kind("crash at a write", "a machine loses power between two given operations on its disk"),
    Kind("crash loop", "one server is killed again shortly after each start, also while it recovers"),
    Kind("pause", "SIGSTOP of one server, later SIGCONT"),
    Kind("slow node", "one machine is ten times slower"),
    Kind("clock step", "a wall clock is set forward or back, by up to an hour"),
    Kind("clock rate", "a machine's clocks run up to 5 % too fast or too slow"),
    Kind("slow disk", "one disk takes up to a second for each fsync"),
    Kind("stuck fsync", "one fsync takes seconds"),
    Kind("slow log", "one server's log is on a slow disk of its own, its snapshots are not"),
    Kind(
        "lone disk",
        "all disks but one are stuck for a while, and the server with the good one is restarted meanwhile",
        True,
    ),
    Kind("write error", "a write fails (EIO): the server stops, and restarts"),
    Kind("fsync error", "an fsync fails (EIO), what it was to write is lost: the server stops, and restarts"),
    Kind("short write", "only half of a write happens, then ENOSPC: the server stops, and restarts"),
    Kind("disk full", "no space is left on one disk, for a while"),
    Kind("bit flip", "a byte of a file changes while the machine is down", True),
    Kind("lost entry", "a file disappears from its folder while the machine is down", True, chance=0.5),
    Kind("reformat", "a machine loses its whole disk", True),
    Kind("purge", "old snapshots and logs are removed"),
    Kind("snapshot", "an operator has a server take a snapshot, which may be restarted from it"),
    Kind("reconfig", "a voter or observer is removed, added, or changes into the other", True),
    Kind("mass watch", "every client watches the same nodes, in every way there is"),
    Kind("clients move", "all clients of one server drop their connections"),
    Kind("clients die", "several clients die at once: their sessions expire together"),
    Kind("client freeze", "a client says nothing for longer than its session lasts"),
)
KIND_NAMES: Final = tuple(kind.name for kind in KINDS)

# Behind what a connection may break: each is a step of synchronisation, or of what follows.
_CUT_BEHIND: Final = (
    *[SNAPSHOT_END] * 4,
    codes.PACKET_LEADERINFO,
    codes.PACKET_ACKEPOCH,
    codes.PACKET_DIFF,
    codes.PACKET_TRUNC,
    codes.PACKET_NEWLEADER,
    ACKLD,
    codes.PACKET_UPTODATE,
    codes.PACKET_PROPOSAL,
    codes.PACKET_COMMIT,
    codes.PACKET_INFORM,
    codes.PACKET_REQUEST,
)
_RESTART_MS: Final = 2_500
_SPAN_MS: Final = 6_000
# Disk operations from now among which a crash picks one.
_CRASH_AT_WRITE_OPS: Final = 60
# The same where the work that a promise rests on has just begun; a snapshot takes more of them.
_CRASH_AT_WORK_OPS: Final = 9
_CRASH_AT_SNAP_OPS: Final = 24
# Moments that come all the time.
_FREQUENT: Final = (
    *("logged", "commits", "is in step", "leads"),
    *("accepted epoch", "current epoch", "saves an epoch"),
)
# At which of them an aftershock strikes.
_AFTERSHOCKS: Final = (
    *("accepted epoch", "accepted epoch", "accepted epoch", "current epoch", "leads", "is in step"),
    *("logged in sync", "saves an epoch", "saves an epoch", "cuts", "truncated", "saves a SNAP", "snapshot"),
    "cut refused",
)
SUPER_USER: Final = b"super:sim"
SUPER_ID: Final = "super:OQE4e2t0sFWx1D8wtuq5+F0J9nQ="


def take_snapshot(server: Server) -> None:
    """What the admin server's command does."""
    if server.role.tree_is_committed() and not server.snapshotter.busy():
        server.roll_log()
        server.snapshotter.begin()


class Operator:
    """The program of a client that changes the ensemble's membership, one request at a time."""

    def __init__(self) -> None:
        self.stopping = False
        self.succeeded = 0
        self.refused = 0

    def connected(self, client: SimClient) -> None:
        """Waits to be told."""

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        """Counts."""
        if call.op == codes.OP_RECONFIG and call.answered:
            if call.err == codes.OK:
                self.succeeded += 1
            else:
                self.refused += 1

    def fired(self, client: SimClient, event: WatchFired) -> None:
        """It watches nothing."""

    def over(self, client: SimClient, expired: bool) -> None:
        """Begins again."""
        if not self.stopping:
            client.renew()

    def wake(self, client: SimClient, tag: Any) -> None:
        """It waits for nothing."""


# How a strike kills a process between two operations on its disk: what they did outlives it.
KILLED_AT_WORK: Final = 6


class Strike:
    """A fault that waits for its moment: ``how`` (``Nemesis._strike_now``), after ``skip`` such moments.

    ``again``: how often it is done once more; ``only``: the one server whose moment it is, 0: anybody's;
    ``ops``: between which disk operations from then on the power goes or the process dies, where that is how.
    """

    __slots__ = ("again", "how", "only", "ops", "skip")

    def __init__(
        self,
        how: int,
        skip: int = 0,
        again: int = 0,
        only: int = 0,
        ops: tuple[int, int] | None = None,
    ) -> None:
        self.how = how
        self.skip = skip
        self.again = again
        self.only = only
        self.ops = ops


class Nemesis:
    """Injects faults into a cluster.  ``counts`` says how often each kind happened."""

    def __init__(
        self, cluster: Cluster, monitor: ClusterMonitor, prng: Prng, enabled: list[str], mean_gap_ms: int
    ) -> None:
        self.cluster = cluster
        self.monitor = monitor
        # Each fault has its own stream, so that leaving one out (``skip``) changes no other.
        self.prng = prng
        self.enabled = enabled
        self.mean_gap_ms = mean_gap_ms
        self.skip: dict[int, None] = {}
        # (number, simulated us, kind) of every fault that happened.
        self.injected: list[tuple[int, int, str]] = []
        self._root = prng
        self._gaps = prng.split("gaps")
        self._number = 0
        self.counts: dict[str, int] = {}
        self.active = False
        # No more faults one after the other, whatever aftershocks come.
        self._is_over = False
        # What is to be undone when the faults end.
        self._undo: dict[int, Callable[[], None]] = {}
        self._undo_number = 0
        # Whoever asks for reconfigurations, where they are enabled.
        self.operator: SimClient | None = None
        # What is waited for: moment -> how to strike then.
        self.strikes: dict[str, Strike] = {}
        monitor.on_moment = self._moment
        # Breaks connections behind packets, where that is enabled.
        self.cutter: Cutter | None = None
        # Machines that are down and have their restart coming.
        self._waiting: dict[int, None] = {}
        self._actions = self._all_actions()
        assert set(self._actions) == set(KIND_NAMES)

    def _all_actions(self) -> dict[str, Callable[[], bool]]:
        """What each kind does; False where nothing suits it now."""
        return {
            "delay": self._delay,
            "client delay": self._client_delay,
            "loss": self._loss,
            "clog": self._clog,
            "swizzle clog": self._swizzle_clog,
            "cut": self._cut,
            "cut at a packet": self._cut_at_packet,
            "one-way partition": self._one_way,
            "partition": self._partition,
            "isolate leader": self._isolate_leader,
            "flapping": self._flapping,
            "client partition": self._client_partition,
            "kill": self._kill,
            "kill leader": self._kill_leader,
            "power cut": self._power_cut,
            "power cut of all": self._power_cut_of_all,
            "orphaned leader": self._orphaned_leader,
            "standstill": self._standstill,
            "strike": self._arm_strike,
            "crash at a write": self._crash_at_write,
            "crash loop": self._crash_loop,
            "pause": self._pause,
            "slow node": self._slow_node,
            "clock step": self._clock_step,
            "clock rate": self._clock_rate,
            "slow disk": self._slow_disk,
            "stuck fsync": self._stuck_fsync,
            "slow log": self._slow_log,
            "lone disk": self._lone_disk,
            "write error": self._write_error,
            "fsync error": self._fsync_error,
            "short write": self._short_write,
            "disk full": self._disk_full,
            "bit flip": self._bit_flip,
            "lost entry": self._lost_entry,
            "reformat": self._reformat,
            "purge": self._purge,
            "snapshot": self._snapshot,
            "reconfig": self._reconfig,
            "mass watch": self._mass_watch,
            "clients move": self._clients_move,
            "clients die": self._clients_die,
            "client freeze": self._client_freeze,
        }

    # Running.

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

    def go_on(self, what: str) -> Prng:
        """Trouble on purpose begins, although the faults one after the other have ended."""
        self.prng = self._root.split(what)
        self.active = True
        self.cluster.say(what)
        return self.prng

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
            self.strikes[prng.pick(_AFTERSHOCKS)] = Strike(prng.pick((0, 1, 3, 5, 5)), 0, prng.below(4))
        if leader is None or prng.chance(0.3):
            self._power_cut_of_all()
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
            self._reconfig()
        after = self.cluster.scheduler.after
        if self.prng.chance(0.3):
            after(span_ms * US_PER_MS // 2, self._end_later, leader)
            return span_ms
        self.strikes["snapshot"] = Strike(4, only=chosen)
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

    def revive(self) -> None:
        """Starts machines that are down for no reason any more; an operator replaces refused data."""
        for machine in self.cluster.machines.values():
            if machine.process is None and machine.sid not in self._waiting and machine.lives > 0:
                self._restart(machine)

    # Helpers.

    def later(self, ms: int, undo: Callable[[], None]) -> None:
        """Undoes a fault after ``ms``, or when the faults end."""
        self._undo_number += 1
        number = self._undo_number
        self._undo[number] = undo
        self.cluster.scheduler.after(ms * US_PER_MS, self._undo_now, number)

    def _undo_now(self, number: int) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            undo()

    def _span_ms(self) -> int:
        return 50 + self.prng.below(_SPAN_MS)

    def _long_span_ms(self) -> int:
        """Often long enough for those who hear nothing to give up."""
        settings = self.cluster.settings
        limit_ms = settings.tick_ms * settings.sync_limit_ticks
        return 50 + self.prng.below(max(_SPAN_MS, 3 * limit_ms))

    def sids(self) -> list[int]:
        return list(self.cluster.machines)

    def _machine(self) -> Machine:
        return self.cluster.machines[self.prng.pick(self.sids())]

    def up(self) -> list[Machine]:
        """Machines on which a server runs."""
        return [machine for machine in self.cluster.machines.values() if machine.is_up()]

    def _some_up(self) -> Machine | None:
        up = self.up()
        return self.prng.pick(up) if up else None

    def leader(self) -> Machine | None:
        for machine in self.up():
            process = machine.process
            if process is not None and process.server.role.name() == "leader":
                return machine
        return None

    def _pair(self) -> tuple[int, int]:
        first, second = self.prng.sample(self.sids(), 2)
        return first, second

    def _client_hosts(self) -> list[int]:
        return [client.host for client in self.cluster.clients]

    # Links.

    def _delay(self) -> bool:
        source, target = self._pair()
        network = self.cluster.network
        network.slow_pair(source, target, 1 + self.prng.below(300_000))
        self.later(self._span_ms(), lambda: network.slow_pair(source, target, 0))
        return True

    def _client_delay(self) -> bool:
        sid = self.prng.pick(self.sids())
        network = self.cluster.network
        extra = 1 + self.prng.below(300_000)
        outward = self.prng.chance(0.5)
        pairs = [(sid, host) if outward else (host, sid) for host in self._client_hosts()]
        for source, target in pairs:
            network.slow_pair(source, target, extra)

        def undo() -> None:
            for source, target in pairs:
                network.slow_pair(source, target, 0)

        self.later(self._span_ms(), undo)
        return True

    def _loss(self) -> bool:
        network = self.cluster.network
        network.loss_chance = self.prng.log_between(0.002, 0.3)

        def undo() -> None:
            network.loss_chance = 0.0

        self.later(self._span_ms(), undo)
        return True

    def _clog(self) -> bool:
        source, target = self._pair()
        until = self.cluster.scheduler.now_us + self._span_ms() * US_PER_MS // 2
        self.cluster.network.clog(source, target, until)
        return True

    def _swizzle_clog(self) -> bool:
        now = self.cluster.scheduler.now_us
        network = self.cluster.network
        chosen = self.prng.sample(self.sids(), 1 + self.prng.below(len(self.sids())))
        for sid in chosen:
            until = now + self.prng.below(4_000_000)
            for other in self.sids():
                if other != sid:
                    network.clog(sid, other, until)
                    network.clog(other, sid, until)
        return True

    def _cut_at_packet(self) -> bool:
        if self.cutter is None:
            return False
        self.cutter.kind = self.prng.pick(_CUT_BEHIND)
        self.cutter.skip = self.prng.below(3)
        return True

    def _cut(self) -> bool:
        open_now = self.cluster.network.connections()
        if not open_now:
            return False
        for end in self.prng.sample(open_now, 1 + self.prng.below(3)):
            self.cluster.network.cut_connection(end)
        return True

    def block(self, pairs: list[tuple[int, int]], ms: int = 0) -> None:
        """Nothing gets through from the first to the second of each pair, for ``ms`` (0: some time)."""
        network = self.cluster.network
        for source, target in pairs:
            network.block(source, target)

        def undo() -> None:
            for source, target in pairs:
                network.unblock(source, target)

        self.later(ms or self._long_span_ms(), undo)

    def _one_way(self) -> bool:
        self.block([self._pair()])
        return True

    def _partition(self) -> bool:
        sids = self.prng.shuffled(self.sids())
        if len(sids) < 2:
            return False
        cut = 1 + self.prng.below(len(sids) - 1)
        part, rest = sids[:cut], sids[cut:]
        pairs = [(a, b) for a in part for b in rest]
        self.block(pairs + [(b, a) for a, b in pairs])
        return True

    def _isolate_leader(self) -> bool:
        leader = self.leader()
        if leader is None:
            return False
        others = [sid for sid in self.sids() if sid != leader.sid]
        outward = [(leader.sid, sid) for sid in others]
        inward = [(sid, leader.sid) for sid in others]
        self.block(self.prng.pick([outward, inward, outward + inward]))
        return True

    def _flapping(self) -> bool:
        source, target = self._pair()
        network = self.cluster.network
        for i in range(2 + self.prng.below(6)):
            start = i * 400 + self.prng.below(300)
            self.cluster.scheduler.after(
                start * US_PER_MS, self._flap, (source, target, 50 + self.prng.below(300))
            )
        network.count("flaps")
        return True

    def _flap(self, what: tuple[int, int, int]) -> None:
        if self.active:
            source, target, ms = what
            network = self.cluster.network
            network.block(source, target)
            self.later(ms, lambda: network.unblock(source, target))

    def _client_partition(self) -> bool:
        sid = self.prng.pick(self.sids())
        hosts = self._client_hosts()
        self.block([(sid, host) for host in hosts] + [(host, sid) for host in hosts])
        return True

    # Processes.

    def _restart(self, machine: Machine) -> None:
        """Starts a machine; refused data is replaced once that is safe."""
        self._waiting.pop(machine.sid, None)
        if machine.process is not None:
            return
        if machine.start():
            return
        if machine.refusal and self.is_safe_to_lose(machine.sid):
            self._wipe(machine)
            machine.start()

    def _restart_later(self, machine: Machine) -> None:
        if self.prng.chance(0.1):
            machine.cut_recovery_at = self.prng.below(20)
        self._waiting[machine.sid] = None
        self.later(1 + self.prng.below(_RESTART_MS), lambda: self._restart(machine))

    def return_later(self, machine: Machine, ms: int) -> None:
        """Its server is started in ``ms``."""
        self._waiting[machine.sid] = None
        self.later(ms, lambda: self._restart(machine))

    def _kill(self) -> bool:
        machine = self._some_up()
        if machine is None:
            return False
        machine.kill()
        self._restart_later(machine)
        return True

    def _kill_leader(self) -> bool:
        leader = self.leader()
        if leader is None:
            return False
        leader.kill()
        self._restart_later(leader)
        return True

    def cut_power(self, machine: Machine, scatter: bool) -> None:
        """With ``scatter`` the sectors of one write survive in any order, where that is safe.

        Such a tear may look like rot, and a log is refused for it (docs/adr/0020).
        """
        if scatter and self.is_safe_to_lose(machine.sid):
            self.monitor.promise(machine.sid).may_refuse = True
            machine.cut_power(True)
        else:
            machine.cut_power()

    def _power_cut(self) -> bool:
        machine = self._some_up()
        if machine is None:
            return False
        self.cut_power(machine, self.prng.chance(0.3))
        self._restart_later(machine)
        return True

    def _power_cut_of_all(self) -> bool:
        up = self.up()
        scatter = self.prng.chance(0.3)
        for machine in up:
            self.cut_power(machine, scatter)
            self._restart_later(machine)
        return bool(up)

    def _crash_loop(self) -> bool:
        machine = self._some_up()
        if machine is None:
            return False
        for _ in range(2 + self.prng.below(3)):
            if self.prng.chance(0.5):
                machine.kill()
            else:
                self.cut_power(machine, self.prng.chance(0.3))
            machine.cut_recovery_at = self.prng.below(12)
            machine.start()
            if machine.process is not None:
                break
        self._restart_later(machine)
        return True

    def _pause(self) -> bool:
        machine = self._some_up()
        if machine is None:
            return False
        machine.pause()
        self.later(self._span_ms(), machine.resume)
        return True

    def _slow_node(self) -> bool:
        machine = self._machine()
        machine.slowness = 10

        def undo() -> None:
            machine.slowness = 1

        self.later(self._span_ms(), undo)
        return True

    def _clock_step(self) -> bool:
        size = int(self.prng.log_between(1, 3_600_000))
        self._machine().step_wall(size if self.prng.chance(0.5) else -size)
        return True

    def _clock_rate(self) -> bool:
        machine = self._machine()
        machine.set_rate(self.prng.between(-50_000, 50_000))
        self.later(self._span_ms() * 2, lambda: machine.set_rate(0))
        return True

    def _orphaned_leader(self) -> bool:
        leader = self.leader()
        if leader is None:
            return False
        others = [sid for sid in self.sids() if sid != leader.sid]
        outward = [(leader.sid, sid) for sid in others]
        settings = self.cluster.settings
        limit_ms = settings.tick_ms * settings.sync_limit_ticks
        self.block(outward + [(b, a) for a, b in outward], limit_ms // 3 + self.prng.below(4 * limit_ms))
        if self.prng.chance(0.5):
            # It may lead again, by what it alone has logged; and that must then outlive it.  Or it has only
            # sent it to somebody when it is gone for good.
            if self.prng.chance(0.5):
                self.strikes["leads"] = Strike(1)
            else:
                self.strikes["snapshot"] = Strike(4)
        if self.prng.chance(0.5):
            # What it has logged alone by then is found again at its restart.
            self.later(self.prng.below(limit_ms), lambda: self.end(leader))
        return True

    def end(self, machine: Machine) -> None:
        """The process ends, one way or the other."""
        if machine.is_up() and self.active:
            if self.prng.chance(0.5):
                machine.kill()
            else:
                self.cut_power(machine, self.prng.chance(0.3))
            self._restart_later(machine)

    def _standstill(self) -> bool:
        """What was asked for by then is still under way when those who asked have gone, or expire."""
        leader = self.leader()
        if leader is None:
            return False
        settings = self.cluster.settings
        limit_ms = settings.tick_ms * settings.sync_limit_ticks
        until = self.cluster.scheduler.now_us + limit_ms * US_PER_MS * 9 // 10
        network = self.cluster.network
        for sid in self.sids():
            if sid != leader.sid:
                network.clog(sid, leader.sid, until)
                network.clog(leader.sid, sid, until)
        for client in self.cluster.clients:
            if client.server == leader.sid and client is not self.operator and client.is_connected():
                if self.prng.chance(0.5):
                    client.close_session()
        return True

    def _arm_strike(self) -> bool:
        prng = self.prng
        moment = prng.pick(MOMENTS)
        how = prng.below(6)
        if moment in ("commits", "leads") and prng.chance(0.5):
            # What others were told must outlive everybody's loss of power.
            how = 1
        skip = prng.below(4) if moment in _FREQUENT else prng.below(2)
        self.strikes[moment] = Strike(how, skip, prng.pick((0, 0, 1, 3)))
        return True

    def _moment(self, name: str, sid: int) -> None:
        """The monitor saw a server take a step."""
        strike = self.strikes.get(name)
        if strike is None or not self.active or strike.only not in (0, sid):
            return
        strike.skip -= 1
        if strike.skip >= 0:
            return
        strike.again -= 1
        if strike.again < 0:
            del self.strikes[name]
        self.cluster.say(f"strike at {sid}: {name}")
        how = strike.how
        if how == 5 and strike.again < 0 and self.prng.chance(0.5):
            # The last time it does not come back so soon.
            how = 0
        if name in WORKS and how != KILLED_AT_WORK:
            # The power goes in the middle of that work.
            self.cluster.network.count("strikes")
            machine = self.cluster.machines[sid]
            if machine.countdown is None:
                ops = _CRASH_AT_SNAP_OPS if name == "saves a SNAP" else _CRASH_AT_WORK_OPS
                first, end = strike.ops or (0, ops)
                machine.countdown = Countdown(first + self.prng.below(end - first))
            return
        # The event that is going on must end first.
        self.cluster.scheduler.after(0, self._strike_now, (name, sid, how, strike.ops))

    def _strike_now(self, what: tuple[str, int, int, tuple[int, int] | None]) -> None:
        name, sid, how, ops = what
        machine = self.cluster.machines[sid]
        self.cluster.network.count("strikes")
        if how == 3:
            others = [one for one in self.sids() if one != sid]
            pairs = [(sid, one) for one in others] + [(one, sid) for one in others]
            self.block(pairs)
        elif how == 2:
            leader = self.leader()
            self.end(machine if leader is None else leader)
        elif how in (1, 4):
            self._strike_all(name, machine, how)
        elif how == 5:
            self.restart_at_once(machine)
        elif how == KILLED_AT_WORK and ops is not None:
            if machine.is_up():
                machine.kill(ops[0] + self.prng.below(ops[1] - ops[0]))
                self.return_later(machine, 1 + self.prng.below(50))
        else:
            self.end(machine)

    def _strike_all(self, name: str, machine: Machine, how: int) -> None:
        """All lose power: what ``machine`` has promised, or told others of, must be found without it."""
        sid = machine.sid
        up = self.up()
        last = machine if self.prng.chance(0.5) or not up else self.prng.pick(up)
        leader = self.leader()
        if how == 4 and leader is not None:
            # With its leader away, too, what only the two of them have is not found.  An observer comes
            # at once: nobody counts on it, and it has what is not to be.
            last = leader if sid in self.cluster.shape.observers else machine
        for one in up:
            one.disk_stops = frozenset()
            self.cut_power(one, self.prng.chance(0.3))
            is_late = one is last or (how == 4 and one is leader)
            late = 1_000 + self.prng.below(4_000) if is_late else self.prng.below(500)
            self.return_later(one, 1 + late)
        if self.prng.chance(0.5):
            # Whoever was cut off meets the others again, with what it alone has.
            self.cluster.network.heal()
        if name == "snapshot" and how == 4:
            # It may have more than it is to keep, and nothing to go back to.
            self.strikes["cut refused"] = Strike(self.prng.pick((0, 1)))
        elif how == 1 and self.prng.chance(0.4):
            # What one of them alone has it may send to another, and then be gone again.
            self.strikes["snapshot"] = Strike(4)

    def _crash_at_write(self) -> bool:
        machine = self._some_up()
        if machine is None or machine.countdown is not None:
            return False
        machine.countdown = Countdown(self.prng.below(_CRASH_AT_WRITE_OPS))
        return True

    # Membership.

    def view(self) -> EnsembleConfig | None:
        """Who is a member, by the newest view that was committed."""
        return self.monitor.view or self.cluster.ensemble

    def _reconfig(self) -> bool:
        client, view = self.operator, self.view()
        if client is None or view is None or not client.is_connected() or client.pending():
            return False
        voters, prng = view.voters(), self.prng
        outside = [sid for sid in self.sids() if sid not in view.servers]
        if outside and prng.chance(0.6):
            line = server_line(prng.pick(outside), prng.chance(0.4))
        else:
            sid = prng.pick(list(view.servers))
            observer = view.servers[sid].observer
            if not observer and len(voters) <= 2:
                return False
            if prng.chance(0.5):
                client.ask(calls.reconfig(None, str(sid), None))
                return True
            line = server_line(sid, not observer)
        client.ask(calls.reconfig(f"server.{line.sid}={line.format()}", None, None))
        return True

    # Disks.

    def _slow_disk(self) -> bool:
        machine = self._machine()
        machine.fsync_jitter_us = int(self.prng.log_between(2_000, 1_000_000))

        def undo() -> None:
            machine.fsync_jitter_us = machine.fsync_us

        self.later(self._span_ms(), undo)
        return True

    def _inject(self, operation: str, kind: str) -> bool:
        machine = self._some_up()
        if machine is None:
            return False
        if kind != SLOW:
            until = self.cluster.scheduler.now_us + (_SPAN_MS + _RESTART_MS) * US_PER_MS
            self.monitor.promise(machine.sid).may_stop_until_us = until
        machine.disk.inject(operation, kind, skip=self.prng.below(5))
        self.later(_SPAN_MS, machine.disk.clear_faults)
        return True

    def _stuck_fsync(self) -> bool:
        for machine in self.cluster.machines.values():
            machine.disk.slow_ms = 200 + self.prng.below(8_000)
        return self._inject("sync", SLOW)

    def _slow_log(self) -> bool:
        """Others commit, and it applies, what its own log does not have, also while it takes a snapshot."""
        machine = self._some_up()
        if machine is None or machine.process is None:
            return False
        machine.log_extra_us = int(self.prng.log_between(20_000, 2_000_000))

        def undo() -> None:
            machine.log_extra_us = 0

        self.later(self._span_ms(), undo)
        if self.prng.chance(0.7):
            self.cluster.scheduler.after(self.prng.below(300_000), self._snapshot_at, machine)
            self.strikes["fuzzy snapshot"] = Strike(0)
        return True

    def _snapshot(self) -> bool:
        machine = self._some_up()
        if machine is None:
            return False
        self._snapshot_at(machine)
        if self.prng.chance(0.5):
            self.strikes["fuzzy snapshot"] = Strike(self.prng.pick((0, 5)), self.prng.below(2))
        return True

    def _snapshot_at(self, machine: Machine) -> None:
        if machine.process is not None and self.active:
            machine.process.call(take_snapshot)

    def _lone_disk(self) -> bool:
        """What only one has acked is asked of it again, and may not count before it has it again."""
        leader = self.leader()
        followers = [machine for machine in self.up() if machine is not leader]
        if leader is None or not followers:
            return False
        alone = self.prng.pick(followers)
        settings = self.cluster.settings
        limit_ms = settings.tick_ms * settings.sync_limit_ticks
        for machine in self.up():
            if machine is not alone:
                # Beyond the limit a follower is given up, and nobody leads.
                machine.disk.slow_ms = limit_ms // 2 + self.prng.below(limit_ms // 2)
                machine.disk.inject("sync", SLOW)
                self.later(_SPAN_MS, machine.disk.clear_faults)
        self.strikes["truncated"] = Strike(self.prng.pick((0, 3)))
        soon_us = self.prng.below(limit_ms * US_PER_MS // 4)
        self.cluster.scheduler.after(soon_us, self.restart_at_once, alone)
        return True

    def restart_at_once(self, machine: Machine) -> None:
        """Its server is killed and started."""
        if machine.is_up() and self.active:
            machine.kill()
            self.return_later(machine, 1 + self.prng.below(50))

    def _write_error(self) -> bool:
        return self._inject("write", EIO)

    def _fsync_error(self) -> bool:
        return self._inject("sync", EIO)

    def _short_write(self) -> bool:
        return self._inject("write", SHORT)

    def _disk_full(self) -> bool:
        return self._inject(self.prng.pick(["write", "create", "preallocate"]), ENOSPC)

    # Data.

    def is_safe_to_lose(self, sid: int) -> bool:
        """Whether every promise of ``sid`` is also kept by a quorum of the other voters.

        What it has acked and nobody knows to be committed may yet be committed by that ack.  And one that is
        being synchronised may have been told to cut off what has been committed since.
        """
        view = self.view()
        if view is None or self.monitor.is_view_pending():
            # Two quorums count: too much to be sure of.
            return False
        voters = view.voters()
        if sid not in voters:
            return True
        lost = self.monitor.promise(sid)
        least = self.monitor.head()
        if lost.zxid > least:
            return False
        keepers: list[int] = []
        for other in voters:
            promise = self.monitor.promise(other)
            process = self.cluster.machines[other].process
            if other == sid or promise.damaged or process is None or not process.server.role.serves():
                continue
            if promise.zxid >= least and promise.accepted_epoch >= lost.accepted_epoch:
                keepers.append(other)
        return verifier_of(view).contains_quorum(keepers)

    def _victim(self) -> Machine | None:
        """A machine that may lose data now; it is brought down for that."""
        for sid in self.prng.shuffled(self.sids()):
            if self.cluster.machines[sid].lives > 0 and self.is_safe_to_lose(sid):
                machine = self.cluster.machines[sid]
                machine.kill()
                self.monitor.promise(sid).damage()
                return machine
        return None

    def _files(self, machine: Machine) -> list[str]:
        names = machine.disk.list(VERSION_FOLDER)
        paths = [f"{VERSION_FOLDER}/{name}" for name in names]
        return [path for path in paths if machine.disk.exists(path) and machine.disk.size(path) > 0]

    def _bit_flip(self) -> bool:
        machine = self._victim()
        if machine is None:
            return False
        for _ in range(1 + self.prng.below(3)):
            # The epoch files are a few digits without a checksum (the format is upstream's): a flipped bit
            # there is another epoch, and nothing can tell.
            files = [path for path in self._files(machine) if "Epoch" not in path]
            if files:
                path = self.prng.pick(files)
                offset = self.prng.below(machine.disk.size(path))
                machine.disk.flip(path, offset, 1 << self.prng.below(8))
        self._restart(machine)
        return True

    def _lost_entry(self) -> bool:
        machine = self._victim()
        if machine is None:
            return False
        files = self._files(machine)
        logs = [path for path in files if "/log." in path]
        if files:
            machine.disk.lose_entry(self.prng.pick(logs if logs and self.prng.chance(0.6) else files))
        self._restart(machine)
        return True

    def _wipe(self, machine: Machine) -> None:
        machine.disk.wipe()
        promise = self.monitor.promise(machine.sid)
        promise.forget()
        promise.damage()

    def _reformat(self) -> bool:
        machine = self._victim()
        if machine is None:
            return False
        self._wipe(machine)
        self._restart_later(machine)
        return True

    def _purge(self) -> bool:
        machine = self._some_up()
        if machine is None or machine.process is None:
            return False
        try:
            machine.process.store.purge(3)
        except (OSError, StorageError):
            return False
        return True

    # Clients.

    def _clients_move(self) -> bool:
        near = self.cluster.shape.observers
        sid = self.prng.pick(near if len(near) > 1 and self.prng.chance(0.5) else self.sids())
        if self.prng.chance(0.3):
            return self._move_clients(sid) > 0
        # What they asked last is still on its way, to their server or from there on, when they are somewhere
        # else: below the same relay, if there is one.
        network = self.cluster.network
        extra = 50_000 + self.prng.below(600_000)
        clients = [one.host for one in self.cluster.clients if one.server == sid]
        if self.prng.chance(0.5):
            pairs = [(sid, other) for other in self.sids() if other != sid]
        else:
            pairs = [(host, sid) for host in clients]
        for source, target in pairs:
            network.slow_pair(source, target, extra)

        def undo() -> None:
            for source, target in pairs:
                network.slow_pair(source, target, 0)

        self.later(1_000, undo)
        self.cluster.scheduler.after(self.prng.below(100_000), self._move_later, sid)
        return True

    def _move_later(self, sid: int) -> None:
        self._move_clients(sid)

    def _move_clients(self, sid: int) -> int:
        moved = [one for one in self.cluster.clients if one.server == sid and one.is_connected()]
        near = [one for one in self.cluster.shape.observers if one != sid]
        for client in moved:
            client.move(self.prng.pick(near) if near and self.prng.chance(0.5) else 0)
        return len(moved)

    def _mass_watch(self) -> bool:
        asked = False
        for client in self.cluster.clients:
            if client is self.operator or not client.is_connected() or client.pending() > 20:
                continue
            asked = True
            for path in ("/w", "/e", "/w/0", "/w/1"):
                client.ask(calls.exists(path, 1))
                client.ask(calls.get_children(path, 1))
                client.ask(calls.add_watch(path, 1, path == "/w"))
        return asked

    def _clients_die(self) -> bool:
        clients = [client for client in self.cluster.clients if client is not self.operator]
        chosen = [client for client in clients if self.prng.chance(0.5)]
        for client in chosen:
            client.forget_session()
        return bool(chosen)

    def _client_freeze(self) -> bool:
        client = self.prng.pick(self.cluster.clients)
        hosts = self.sids()
        self.block([(client.host, sid) for sid in hosts])
        return True
