"""Real servers, many clients, and a nemesis: one run of the chaos row (R15) from start to verdict.

Five servers by default (three voters, two observers), each in a network of its own, with its disk and wall
clock under the nemesis' control; twenty clients with everything a client can ask.  Faults come one after
another, some of them on top of another.  After each the ensemble has to acknowledge a write again.  At the
end everything is healed, all trees are compared, and the clients' history is judged by the members' logs.
A run whose clients are too slow before the first fault proves little and fails.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.lab import Lab, Weather
from tests.chaos.shim import Shim, library
from tests.interop import crowds
from tests.interop.members import ZABRA, Mixed
from tests.interop.processes import ConfigValue, ServerProcess, poll
from tests.interop.session import Session

from zabra.client import calls
from zabra.proto.errors import KeeperError
from zabra.sim import histories
from zabra.sim.checkers import Judgement
from zabra.sim.histories import History
from zabra.sim.prng import Prng

MIN_OPS_PER_S = 200
"""Fewer before the first fault, and the run does not count (the rule of etcd's robustness tests)."""

RECOVERY_LIMIT_S = 60.0
PORTS = (2181, 2888, 3888, 8080)

CFG: dict[str, ConfigValue] = {
    "tickTime": 250,
    "initLimit": 20,
    "syncLimit": 8,
    "snapCount": 500,
    "commitLogCount": 100,
    "preAllocSize": 1024,
    "maxSessionTimeout": 20_000,
}


FAULTS = (
    ("kill-leader", 3.0),
    ("kill-follower", 2.0),
    ("kill-observer", 1.5),
    ("kill-all", 1.0),
    ("stop-leader", 3.0),
    ("stop-other", 2.0),
    ("isolate-leader", 3.0),
    ("isolate-other", 2.0),
    ("one-way", 2.0),
    ("flapping", 1.5),
    ("slow-disk", 2.0),
    ("clock-step", 1.5),
    ("bad-network", 2.0),
    ("wipe", 1.0),
)
"""Kinds and how often each is drawn.  A wipe, the last, never comes on top of another fault."""


class Plan:
    """What a campaign is made of."""

    def __init__(self, seed: int, seconds: float, folder: Path) -> None:
        self.seed = seed
        self.seconds = seconds
        self.folder = folder
        self.voters = 3
        self.observers = 2
        self.clients = 20
        self.warm_up_s = 3.0
        self.think_us = 25_000
        self.timeout_ms = 6_000
        self.longest_stop_s = 20.0


class Campaign:
    """One run; ``run`` returns the counters of its line."""

    def __init__(self, plan: Plan, say: Callable[[str], None] = lambda line: None) -> None:
        self.plan = plan
        self.say = say
        self.prng = Prng(plan.seed, "nemesis")
        self.faults: dict[str, int] = {}
        self.slowest_recovery_s = 0.0
        self.old_lives: list[Path] = []
        self.judgement = Judgement()
        self.began = time.monotonic()

    # From start to verdict.

    def run(self) -> dict[str, int]:
        """Everything; AssertionError for a violation, TimeoutError where the ensemble does not recover."""
        plan = self.plan
        total = plan.voters + plan.observers
        plan.folder.mkdir(parents=True, exist_ok=True)
        built = library(plan.folder)
        assert built is not None, "the chaos row needs a C compiler"
        self.shims = {sid: Shim(plan.folder / f"shim-{sid}") for sid in range(1, total + 1)}
        sids = list(self.shims)
        with Lab(total) as self.lab:
            self.ensemble = Mixed(
                [ZABRA] * total,
                plan.folder,
                observers=plan.observers,
                cfg=CFG,
                ports=PORTS * total,
                hosts=[self.lab.address(sid) for sid in sids],
                prefixes={sid: self.lab.prefix(sid) for sid in sids},
                environments={sid: self.shims[sid].environment(built) for sid in sids},
            )
            try:
                history, rate, until = self._with_servers()
            finally:
                self._resume_all()
                self.ensemble.stop()
        crowds.keep(history, plan.folder)
        self._judge(history, until)
        return self._counters(history, rate)

    def _with_servers(self) -> tuple[History, float, int]:
        plan = self.plan
        self.ensemble.start()
        assert all(shim.syncs() > 0 for shim in self.shims.values()), "the preloaded library is not in use"
        programs = crowds.busy_programs(plan.clients, plan.seed, think_us=plan.think_us)
        crowd = crowds.crowd_on(
            self.ensemble, programs, plan.seed, timeout_ms=plan.timeout_ms, source=self.lab.source
        )
        crowd.start()
        rate = self._warm_up(crowd.answered)
        end = time.monotonic() + plan.seconds
        while time.monotonic() < end:
            self._one_fault(end)
            crowd.check_alive()
        self._heal_all()
        self._wait_recovered("the last fault")
        crowds.settle(crowd)
        until = crowds.level(self.ensemble)
        # The clients are still there: no session ends while the trees are read.
        nodes = crowds.compare_trees(self.ensemble)
        crowds.check_digests(self.ensemble)
        history = crowd.finish()
        self.say(f"{nodes} nodes, the same on {len(self.ensemble.members)} members")
        return history, rate, until

    def _warm_up(self, answered: Callable[[], int]) -> float:
        """Operations per second without any fault."""
        poll("the first answers", RECOVERY_LIMIT_S, lambda: answered() > 100 or None)
        began, before = time.monotonic(), answered()
        poll("the warm-up's end", 60, lambda: time.monotonic() - began > self.plan.warm_up_s or None)
        return (answered() - before) / (time.monotonic() - began)

    def _judge(self, history: History, until: int) -> None:
        members = list(self.ensemble.members.values())
        self.judgement = crowds.verdict(members, history, until, self.old_lives)
        found = [repr(one) for one in self.judgement.violations] + crowds.early_expiries(history)
        assert not found, f"{len(found)} violations in {self.plan.folder}: {found[:5]}"

    def _counters(self, history: History, rate: float) -> dict[str, int]:
        assert rate >= MIN_OPS_PER_S, f"only {rate:.0f} operations/s before the first fault"
        counts = self.judgement.counts
        out = {
            "seconds": round(self.plan.seconds),
            "ops": sum(one.answered for one in history.invocations),
            "writes": counts.get("writes", 0),
            "reads": counts.get("reads", 0),
            "watch-events": counts.get("watch events", 0),
            "txns": counts.get("txns", 0),
            "rate": round(rate),
            "faults": sum(self.faults.values()),
            "kinds": len(self.faults),
        }
        out |= dict(sorted(self.faults.items()))
        out["expired"] = sum(entry.kind == histories.EXPIRED for entry in history.entries)
        out["slowest-recovery-ms"] = round(self.slowest_recovery_s * 1000)
        out["violations"] = len(self.judgement.violations)
        return out

    # Faults.

    def _one_fault(self, end: float) -> None:
        """One fault, perhaps another on top of it, then health, then a write."""
        prng = self.prng
        weights = [weight for _, weight in FAULTS]
        chosen = [FAULTS[prng.weighted(weights)][0]]
        if prng.chance(0.3):
            chosen.append(FAULTS[prng.weighted(weights[:-1])][0])
        for name in chosen:
            self.say(f"{time.monotonic() - self.began:6.1f} s  {name}")
            getattr(self, "_" + name.replace("-", "_"))()
            self.faults[name] = self.faults.get(name, 0) + 1
        self._heal_all()
        self._wait_recovered(" + ".join(chosen))

    def _hold(self, longest_s: float, shortest_s: float = 0.3) -> None:
        """Leaves a fault as it is for a while."""
        until = time.monotonic() + self.prng.log_between(shortest_s, max(longest_s, shortest_s + 0.1))
        poll("the fault's end", 60, lambda: time.monotonic() >= until or None)

    def _leader(self) -> int:
        leader = self.ensemble.leader()
        return leader if leader is not None else self.prng.pick(self.ensemble.voters())

    def _follower(self) -> int:
        leader = self._leader()
        return self.prng.pick([sid for sid in self.ensemble.voters() if sid != leader])

    def _kill(self, sids: list[int]) -> None:
        for sid in sids:
            self.ensemble.members[sid].kill()
        self._hold(2.0, 0.05)

    def _kill_leader(self) -> None:
        self._kill([self._leader()])

    def _kill_follower(self) -> None:
        self._kill([self._follower()])

    def _kill_observer(self) -> None:
        self._kill([self.prng.pick(self.ensemble.observer_ids)])

    def _kill_all(self) -> None:
        self._kill(self.prng.shuffled(list(self.ensemble.members)))

    def _stop(self, sid: int) -> None:
        member = self.ensemble.members[sid]
        if member.running:
            member.signal(signal.SIGSTOP)
            self._hold(self.plan.longest_stop_s, 1.0)

    def _stop_leader(self) -> None:
        self._stop(self._leader())

    def _stop_other(self) -> None:
        self._stop(self.prng.pick(list(self.ensemble.members)))

    def _isolate_leader(self) -> None:
        self.lab.isolate([self._leader()])
        self._hold(6.0, 1.0)

    def _isolate_other(self) -> None:
        leader = self._leader()
        others = [sid for sid in self.ensemble.members if sid != leader]
        self.lab.isolate(self.prng.sample(others, self.prng.between(1, 2)))
        self._hold(6.0, 0.5)

    def _one_way(self) -> None:
        """One member's packets to one other, or to all others, vanish; the way back is open."""
        sids = list(self.ensemble.members)
        sender = self._leader() if self.prng.chance(0.4) else self.prng.pick(sids)
        others = [sid for sid in sids if sid != sender]
        targets = others if self.prng.chance(0.5) else [self.prng.pick(others)]
        self.lab.cut([(sender, target) for target in targets])
        self._hold(6.0, 0.5)

    def _flapping(self) -> None:
        sid = self.prng.pick(list(self.ensemble.members))
        for _ in range(self.prng.between(3, 8)):
            self.lab.isolate([sid])
            self._hold(0.8, 0.05)
            self.lab.heal()
            self._hold(0.8, 0.05)

    def _slow_disk(self) -> None:
        sids = list(self.ensemble.members)
        for sid in self.prng.sample(sids, self.prng.between(1, len(sids))):
            self.shims[sid].slow_syncs(int(self.prng.log_between(5, 800)))
        self._hold(5.0, 0.5)

    def _clock_step(self) -> None:
        for sid in self.prng.sample(list(self.ensemble.members), self.prng.between(1, 3)):
            step_ms = int(self.prng.log_between(100, 86_400_000)) * self.prng.pick([-1, 1])
            self.shims[sid].step_clock(step_ms)
        self._hold(3.0, 0.3)

    def _bad_network(self) -> None:
        """Frames of some members are late, lost, doubled and out of order, for their clients too."""
        prng = self.prng
        sids = list(self.ensemble.members)
        for sid in prng.sample(sids, prng.between(1, len(sids))):
            delay_ms = prng.log_between(1, 100)
            loss, duplicate = prng.between(0, 50_000), prng.between(0, 20_000)
            weather = Weather(delay_ms, delay_ms * prng.between(0, 100) / 100, loss, duplicate)
            self.lab.weather(sid, weather, prng.between(1, 1_000_000))
        self._hold(6.0, 1.0)

    def _wipe(self) -> None:
        """A learner loses its whole disk; everybody else is well, and stays so until it is back."""
        self._heal_all()
        self._wait_recovered("the fault before a wipe")
        leader = self._leader()
        sid = self.prng.pick([sid for sid in self.ensemble.members if sid != leader])
        crowds.level(self.ensemble)
        member = self.ensemble.members[sid]
        member.kill()
        kept = self.plan.folder / f"wiped-{len(self.old_lives)}"
        shutil.move(member.data_dir, kept)
        self.old_lives.append(kept)
        member.write_config()
        member.start()

    # Health.

    def _resume_all(self) -> None:
        for member in self.ensemble.members.values():
            if member.running:
                member.signal(signal.SIGCONT)

    def _heal_all(self) -> None:
        """Everybody runs, hears everybody, and has a good disk; clocks are right again."""
        self.lab.heal()
        for shim in self.shims.values():
            shim.slow_syncs(0)
            shim.step_clock(0)
        self._resume_all()
        for member in self.ensemble.members.values():
            if not member.running:
                self._launch(member)

    def _launch(self, member: ServerProcess) -> None:
        code = member.exit_code()
        assert code == -signal.SIGKILL, f"{member.name} ended on its own with {code}\n{member.log_tail()}"
        member.launch()

    def _wait_recovered(self, after: str) -> None:
        """Every member serves, and acknowledges a write of a session of its own."""
        began = time.monotonic()
        for sid, member in self.ensemble.members.items():
            poll(
                f"member {sid} acknowledges a write after {after}\n{member.log_tail(20)}",
                RECOVERY_LIMIT_S,
                lambda member=member: self._writes(member),
            )
        took_s = time.monotonic() - began
        self.say(f"{time.monotonic() - self.began:6.1f} s    all well after {took_s:.2f} s")
        self.slowest_recovery_s = max(self.slowest_recovery_s, took_s)

    def _writes(self, member: ServerProcess) -> bool | None:
        """Whether a write through the member is acknowledged: a session's creation is one.

        The session is left to expire, so that no txn but the clients' own was asked for.
        """
        assert member.running, f"{member.name} has ended with {member.exit_code()}\n{member.log_tail()}"
        session = Session(timeout_ms=1000, wait_s=2.0)
        try:
            session.connect(member.address)
            session.do(calls.sync("/"))
        except (OSError, KeeperError):
            return None
        finally:
            session.drop()
        return True


def total(runs: Sequence[dict[str, int]]) -> dict[str, int]:
    """The sum of runs: what is slowest is the slowest of all, the rate is their mean."""
    out = {"runs": len(runs)}
    for counters in runs:
        for key, value in counters.items():
            before = out.get(key, 0)
            out[key] = max(before, value) if key.startswith("slowest") else before + value
    out["rate"] //= max(1, len(runs))
    out["kinds"] = sum(kind in out for kind, _ in FAULTS)
    return out
