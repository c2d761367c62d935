"""Faults of processes, machines and clocks; and of a leader that is left alone."""

from typing import Final

from zabra.sim.clock import US_PER_MS
from zabra.sim.machine import Countdown
from zabra.sim.trouble import ALL_LOSE_POWER, BOTH_RETURN_LATE, Action, Faults, Strike

# Disk operations from now among which a crash picks one.
_CRASH_AT_WRITE_OPS: Final = 60


class ProcessFaults(Faults):
    """What goes wrong with a server as a whole."""

    def actions(self) -> dict[str, Action]:
        return {
            "kill": self._kill,
            "kill leader": self._kill_leader,
            "power cut": self._power_cut,
            "power cut of all": self.power_cut_of_all,
            "orphaned leader": self._orphaned_leader,
            "standstill": self._standstill,
            "crash at a write": self._crash_at_write,
            "crash loop": self._crash_loop,
            "pause": self._pause,
            "slow node": self._slow_node,
            "clock step": self._clock_step,
            "clock rate": self._clock_rate,
        }

    def _kill(self) -> bool:
        machine = self.trouble.some_up()
        if machine is None:
            return False
        machine.kill()
        self.trouble.restart_later(machine)
        return True

    def _kill_leader(self) -> bool:
        leader = self.trouble.leader()
        if leader is None:
            return False
        leader.kill()
        self.trouble.restart_later(leader)
        return True

    def _power_cut(self) -> bool:
        machine = self.trouble.some_up()
        if machine is None:
            return False
        self.trouble.cut_power(machine, self.prng.chance(0.3))
        self.trouble.restart_later(machine)
        return True

    def power_cut_of_all(self) -> bool:
        """Everybody goes at once; what was not synced is lost."""
        up = self.trouble.up()
        scatter = self.prng.chance(0.3)
        for machine in up:
            self.trouble.cut_power(machine, scatter)
            self.trouble.restart_later(machine)
        return bool(up)

    def _crash_loop(self) -> bool:
        machine = self.trouble.some_up()
        if machine is None:
            return False
        for _ in range(2 + self.prng.below(3)):
            if self.prng.chance(0.5):
                machine.kill()
            else:
                self.trouble.cut_power(machine, self.prng.chance(0.3))
            machine.cut_recovery_at = self.prng.below(12)
            machine.start()
            if machine.process is not None:
                break
        self.trouble.restart_later(machine)
        return True

    def _crash_at_write(self) -> bool:
        machine = self.trouble.some_up()
        if machine is None or machine.countdown is not None:
            return False
        machine.countdown = Countdown(self.prng.below(_CRASH_AT_WRITE_OPS))
        return True

    def _pause(self) -> bool:
        machine = self.trouble.some_up()
        if machine is None:
            return False
        machine.pause()
        self.trouble.later(self.trouble.span_ms(), machine.resume)
        return True

    def _slow_node(self) -> bool:
        machine = self.trouble.some_machine()
        machine.slowness = 10

        def undo() -> None:
            machine.slowness = 1

        self.trouble.later(self.trouble.span_ms(), undo)
        return True

    def _clock_step(self) -> bool:
        size = int(self.prng.log_between(1, 3_600_000))
        self.trouble.some_machine().step_wall(size if self.prng.chance(0.5) else -size)
        return True

    def _clock_rate(self) -> bool:
        machine = self.trouble.some_machine()
        machine.set_rate(self.prng.between(-50_000, 50_000))
        self.trouble.later(self.trouble.span_ms() * 2, lambda: machine.set_rate(0))
        return True

    def _orphaned_leader(self) -> bool:
        leader = self.trouble.leader()
        if leader is None:
            return False
        others = [sid for sid in self.trouble.sids() if sid != leader.sid]
        outward = [(leader.sid, sid) for sid in others]
        settings = self.cluster.settings
        limit_ms = settings.tick_ms * settings.sync_limit_ticks
        self.trouble.block(
            outward + [(b, a) for a, b in outward], limit_ms // 3 + self.prng.below(4 * limit_ms)
        )
        if self.prng.chance(0.5):
            # It may lead again, by what it alone has logged; and that must then outlive it.  Or it has only
            # sent it to somebody when it is gone for good.
            if self.prng.chance(0.5):
                self.trouble.strikes["leads"] = Strike(ALL_LOSE_POWER)
            else:
                self.trouble.strikes["snapshot"] = Strike(BOTH_RETURN_LATE)
        if self.prng.chance(0.5):
            # What it has logged alone by then is found again at its restart.
            self.trouble.later(self.prng.below(limit_ms), lambda: self.trouble.end(leader))
        return True

    def _standstill(self) -> bool:
        """What was asked for by then is still under way when those who asked have gone, or expire."""
        leader = self.trouble.leader()
        if leader is None:
            return False
        settings = self.cluster.settings
        limit_ms = settings.tick_ms * settings.sync_limit_ticks
        until = self.cluster.scheduler.now_us + limit_ms * US_PER_MS * 9 // 10
        network = self.cluster.network
        for sid in self.trouble.sids():
            if sid != leader.sid:
                network.clog(sid, leader.sid, until)
                network.clog(leader.sid, sid, until)
        for client in self.cluster.clients:
            if client.server == leader.sid and client is not self.trouble.operator and client.is_connected():
                if self.prng.chance(0.5):
                    client.close_session()
        return True
