"""Strikes: faults that come at the very step at which a server does what matters (docs/adr/0100)."""

from typing import Final

from zabra.sim.machine import Countdown, Machine
from zabra.sim.monitor import MOMENTS, WORKS
from zabra.sim.trouble import (
    ALL_LOSE_POWER,
    BOTH_RETURN_LATE,
    CUT_OFF,
    ENDS,
    KILLED_AT_WORK,
    LEADER_ENDS,
    RESTARTED,
    Action,
    Faults,
    Strike,
)

# Disk operations among which a crash picks one, where the work that a promise rests on has just begun; a
# snapshot takes more of them.
_CRASH_AT_WORK_OPS: Final = 9
_CRASH_AT_SNAP_OPS: Final = 24
# Moments that come all the time.
_FREQUENT: Final = (
    *("logged", "commits", "is in step", "leads"),
    *("accepted epoch", "current epoch", "saves an epoch"),
)


class Strikes(Faults):
    """Arms strikes, and strikes when the monitor sees the moment."""

    def actions(self) -> dict[str, Action]:
        return {"strike": self._arm}

    def _arm(self) -> bool:
        prng = self.prng
        moment = prng.pick(MOMENTS)
        how = prng.below(KILLED_AT_WORK)
        if moment in ("commits", "leads") and prng.chance(0.5):
            # What others were told must outlive everybody's loss of power.
            how = ALL_LOSE_POWER
        skip = prng.below(4) if moment in _FREQUENT else prng.below(2)
        self.trouble.strikes[moment] = Strike(how, skip, prng.pick((0, 0, 1, 3)))
        return True

    def moment(self, name: str, sid: int) -> None:
        """The monitor saw a server take a step."""
        strike = self.trouble.strikes.get(name)
        if strike is None or not self.trouble.active or strike.only not in (0, sid):
            return
        strike.skip -= 1
        if strike.skip >= 0:
            return
        strike.again -= 1
        if strike.again < 0:
            del self.trouble.strikes[name]
        self.cluster.say(f"strike at {sid}: {name}")
        how = strike.how
        if how == RESTARTED and strike.again < 0 and self.prng.chance(0.5):
            # The last time it does not come back so soon.
            how = ENDS
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
        if how == CUT_OFF:
            others = [one for one in self.trouble.sids() if one != sid]
            pairs = [(sid, one) for one in others] + [(one, sid) for one in others]
            self.trouble.block(pairs)
        elif how == LEADER_ENDS:
            leader = self.trouble.leader()
            self.trouble.end(machine if leader is None else leader)
        elif how in (ALL_LOSE_POWER, BOTH_RETURN_LATE):
            self._strike_all(name, machine, how)
        elif how == RESTARTED:
            self.trouble.restart_at_once(machine)
        elif how == KILLED_AT_WORK and ops is not None:
            if machine.is_up():
                machine.kill(ops[0] + self.prng.below(ops[1] - ops[0]))
                self.trouble.return_later(machine, 1 + self.prng.below(50))
        else:
            self.trouble.end(machine)

    def _strike_all(self, name: str, machine: Machine, how: int) -> None:
        """All lose power: what ``machine`` has promised, or told others of, must be found without it."""
        sid = machine.sid
        up = self.trouble.up()
        last = machine if self.prng.chance(0.5) or not up else self.prng.pick(up)
        leader = self.trouble.leader()
        if how == BOTH_RETURN_LATE and leader is not None:
            # With its leader away, too, what only the two of them have is not found.  An observer comes
            # at once: nobody counts on it, and it has what is not to be.
            last = leader if sid in self.cluster.shape.observers else machine
        for one in up:
            one.disk_stops = frozenset()
            self.trouble.cut_power(one, self.prng.chance(0.3))
            is_late = one is last or (how == BOTH_RETURN_LATE and one is leader)
            late = 1_000 + self.prng.below(4_000) if is_late else self.prng.below(500)
            self.trouble.return_later(one, 1 + late)
        if self.prng.chance(0.5):
            # Whoever was cut off meets the others again, with what it alone has.
            self.cluster.network.heal()
        if name == "snapshot" and how == BOTH_RETURN_LATE:
            # It may have more than it is to keep, and nothing to go back to.
            self.trouble.strikes["cut refused"] = Strike(self.prng.pick((ENDS, ALL_LOSE_POWER)))
        elif how == ALL_LOSE_POWER and self.prng.chance(0.4):
            # What one of them alone has it may send to another, and then be gone again.
            self.trouble.strikes["snapshot"] = Strike(BOTH_RETURN_LATE)
