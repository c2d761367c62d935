"""Trouble: what all kinds of faults share: targets, spans, what is undone later, and whose data may be lost.

A machine may lose data (``reformat``, ``bit flip``, ``lost entry``) only while every promise it has made is
also kept by a majority of the other voters: that is what a quorum can survive.
"""

from collections.abc import Callable
from typing import Final

from zabra.config.ensemble import EnsembleConfig
from zabra.sim.client import SimClient
from zabra.sim.clock import US_PER_MS
from zabra.sim.cluster import Cluster
from zabra.sim.gate import Cutter
from zabra.sim.machine import Machine
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng
from zabra.zab.quorum import verifier_of

Action = Callable[[], bool]

# A restart comes within this, and most faults last up to that long.
RESTART_MS: Final = 2_500
SPAN_MS: Final = 6_000
# How a strike is done: to the server whose moment it is, if nothing else is said.  Its process or machine
# ends; all machines lose power; the leader ends; it is cut off from everybody; all lose power, and it and the
# leader return late; it is killed and started at once; it is killed between two operations on its disk, and
# what they did outlives it.
ENDS: Final = 0
ALL_LOSE_POWER: Final = 1
LEADER_ENDS: Final = 2
CUT_OFF: Final = 3
BOTH_RETURN_LATE: Final = 4
RESTARTED: Final = 5
KILLED_AT_WORK: Final = 6


class Strike:
    """A fault that waits for its moment: ``how`` (``ENDS`` and so on), after ``skip`` such moments.

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


class Trouble:
    """What is wrong in a cluster just now, and the means to make it so.

    Each fault has a stream of its own (``prng``), so that leaving one out changes no other.
    """

    def __init__(self, cluster: Cluster, monitor: ClusterMonitor, prng: Prng) -> None:
        self.cluster = cluster
        self.monitor = monitor
        self.prng = prng
        self._root = prng
        self.active = False
        # What is to be undone when the faults end.
        self._undo: dict[int, Callable[[], None]] = {}
        self._undo_number = 0
        # Whoever asks for reconfigurations, where they are enabled.
        self.operator: SimClient | None = None
        # What is waited for: moment -> how to strike then.
        self.strikes: dict[str, Strike] = {}
        # Breaks connections behind packets, where that is enabled.
        self.cutter: Cutter | None = None
        # Machines that are down and have their restart coming.
        self._waiting: dict[int, None] = {}

    def go_on(self, what: str) -> Prng:
        """Trouble on purpose begins, although the faults one after the other have ended."""
        self.prng = self._root.split(what)
        self.active = True
        self.cluster.say(what)
        return self.prng

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

    def span_ms(self) -> int:
        """How long most faults last."""
        return 50 + self.prng.below(SPAN_MS)

    def long_span_ms(self) -> int:
        """Often long enough for those who hear nothing to give up."""
        settings = self.cluster.settings
        limit_ms = settings.tick_ms * settings.sync_limit_ticks
        return 50 + self.prng.below(max(SPAN_MS, 3 * limit_ms))

    def sids(self) -> list[int]:
        return list(self.cluster.machines)

    def some_machine(self) -> Machine:
        """Any of them."""
        return self.cluster.machines[self.prng.pick(self.sids())]

    def up(self) -> list[Machine]:
        """Machines on which a server runs."""
        return [machine for machine in self.cluster.machines.values() if machine.is_up()]

    def some_up(self) -> Machine | None:
        """Any on which a server runs."""
        up = self.up()
        return self.prng.pick(up) if up else None

    def leader(self) -> Machine | None:
        for machine in self.up():
            process = machine.process
            if process is not None and process.server.role.name() == "leader":
                return machine
        return None

    def pair(self) -> tuple[int, int]:
        """Two servers, for one direction between them."""
        first, second = self.prng.sample(self.sids(), 2)
        return first, second

    def client_hosts(self) -> list[int]:
        """Where the clients are."""
        return [client.host for client in self.cluster.clients]

    def block(self, pairs: list[tuple[int, int]], ms: int = 0) -> None:
        """Nothing gets through from the first to the second of each pair, for ``ms`` (0: some time)."""
        network = self.cluster.network
        for source, target in pairs:
            network.block(source, target)

        def undo() -> None:
            for source, target in pairs:
                network.unblock(source, target)

        self.later(ms or self.long_span_ms(), undo)

    def restart(self, machine: Machine) -> None:
        """Starts a machine; refused data is replaced once that is safe."""
        self._waiting.pop(machine.sid, None)
        if machine.process is not None:
            return
        if machine.start():
            return
        if machine.refusal and self.is_safe_to_lose(machine.sid):
            self.wipe(machine)
            machine.start()

    def restart_later(self, machine: Machine) -> None:
        """Its server is started some time, and now and then killed while it recovers."""
        if self.prng.chance(0.1):
            machine.cut_recovery_at = self.prng.below(20)
        self._waiting[machine.sid] = None
        self.later(1 + self.prng.below(RESTART_MS), lambda: self.restart(machine))

    def return_later(self, machine: Machine, ms: int) -> None:
        """Its server is started in ``ms``."""
        self._waiting[machine.sid] = None
        self.later(ms, lambda: self.restart(machine))

    def restart_at_once(self, machine: Machine) -> None:
        """Its server is killed and started."""
        if machine.is_up() and self.active:
            machine.kill()
            self.return_later(machine, 1 + self.prng.below(50))

    def revive(self) -> None:
        """Starts machines that are down for no reason any more; an operator replaces refused data."""
        for machine in self.cluster.machines.values():
            if machine.process is None and machine.sid not in self._waiting and machine.lives > 0:
                self.restart(machine)

    def cut_power(self, machine: Machine, scatter: bool) -> None:
        """With ``scatter`` the sectors of one write survive in any order, where that is safe.

        Such a tear may look like rot, and a log is refused for it (docs/adr/0020).
        """
        if scatter and self.is_safe_to_lose(machine.sid):
            self.monitor.promise(machine.sid).may_refuse = True
            machine.cut_power(True)
        else:
            machine.cut_power()

    def end(self, machine: Machine) -> None:
        """The process ends, one way or the other."""
        if machine.is_up() and self.active:
            if self.prng.chance(0.5):
                machine.kill()
            else:
                self.cut_power(machine, self.prng.chance(0.3))
            self.restart_later(machine)

    def view(self) -> EnsembleConfig | None:
        """Who is a member, by the newest view that was committed."""
        return self.monitor.view or self.cluster.ensemble

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

    def wipe(self, machine: Machine) -> None:
        """It loses its whole disk."""
        machine.disk.wipe()
        promise = self.monitor.promise(machine.sid)
        promise.forget()
        promise.damage()


class Faults:
    """One door's kinds of faults."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.cluster: Cluster = trouble.cluster

    @property
    def prng(self) -> Prng:
        """The stream of the fault that is being made."""
        return self.trouble.prng

    def actions(self) -> dict[str, Action]:
        """What each kind does; False where nothing suits it now."""
        raise NotImplementedError
