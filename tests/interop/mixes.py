"""Mixed ensembles: which there are, and one run of one of them from start to verdict (R17)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.interop import crowds, exercises
from tests.interop.cuts import leave_behind
from tests.interop.live import Crowd
from tests.interop.members import APACHE_38, APACHE_39, ZABRA, Mixed, syncs
from tests.interop.processes import poll
from tests.interop.session import Session

from zabra.client import calls
from zabra.proto import codes
from zabra.sim import histories

CLIENTS = 8
SESSION_TIMEOUT_MS = 15_000


class Mix:
    """Kinds by server id; the last of the voters is to lead first, the others are observers."""

    def __init__(self, voters: tuple[str, ...], observers: tuple[str, ...] = ()) -> None:
        self.voters = voters
        self.observers = observers

    @property
    def kinds(self) -> list[str]:
        """All kinds, by server id."""
        return [*self.voters, *self.observers]

    def apache_lines(self) -> list[str]:
        """Which lines of Apache's take part: 3.8, 3.9."""
        return sorted({kind.removeprefix("apache-") for kind in self.kinds if kind != ZABRA})

    def tells_of_watches(self) -> bool:
        """Whether every event can be checked.

        3.8 sends events without a zxid, and keeps one mode where a path is watched in two
        (ZOOKEEPER-4466): there only the exercises look at watches.
        """
        return APACHE_38 not in self.kinds

    def __repr__(self) -> str:
        short = {ZABRA: "Z", APACHE_39: "A39", APACHE_38: "A38"}
        voters = "".join(f"{short[kind]}." for kind in self.voters[:-1])
        tail = "".join(f"+{short[kind]}" for kind in self.observers)
        return f"{voters}{short[self.voters[-1]]}-leads{tail}"


GATE = (
    Mix((APACHE_39, ZABRA, ZABRA), (APACHE_39,)),
    Mix((ZABRA, ZABRA, APACHE_38), (ZABRA,)),
    Mix((APACHE_38, APACHE_38, ZABRA), (APACHE_38,)),
    Mix((ZABRA, APACHE_39, APACHE_39), (ZABRA,)),
)
"""{2 Zabra + 1 Apache, 1 + 2} x {Zabra leads, Apache leads}, with an observer of the other kind."""

ALL = (
    *GATE,
    Mix((APACHE_38, ZABRA, ZABRA), (APACHE_39,)),
    Mix((ZABRA, ZABRA, APACHE_39), (ZABRA,)),
    Mix((APACHE_39, APACHE_39, ZABRA), (APACHE_38,)),
    Mix((ZABRA, APACHE_38, APACHE_38), (ZABRA,)),
)


VACUITY = ("diffs", "truncs", "snaps", "watch-events", "answers", "session-moves", "sessions-ended")
"""What has to have happened in a campaign of mixes for its figures to mean anything."""


class MixRun:
    """One mix: exercises on every member, then a crowd while leaders are killed and come back."""

    def __init__(
        self, mix: Mix, folder: Path, leader_changes: int, seed: int = 1, say: Callable[[str], None] = print
    ) -> None:
        self.mix = mix
        self.folder = folder
        self.leader_changes = leader_changes
        self.seed = seed
        self.say = say
        self.changes = 0

    def run(self) -> dict[str, int]:
        """Raises AssertionError or TimeoutError where the mix is not one ensemble; returns counters."""
        mix = self.mix
        ensemble = Mixed(mix.kinds, self.folder, observers=len(mix.observers))
        try:
            ensemble.start_led_by(len(mix.voters))
            answers = exercises.operations_everywhere(ensemble, "/ops")
            moves = exercises.a_session_moves(ensemble, "/moves")
            ended = exercises.sessions_end(ensemble, "/ends")
            exercised = crowds.level(ensemble)
            crowds.compare_trees(ensemble)
            crowd, nodes, until, apaches_own = self._crowd_and_leaders(ensemble)
            history = crowd.finish()
            self._a_txn_is_cut_off(ensemble)
            synced = [syncs(member) for member in ensemble.members.values()]
        finally:
            ensemble.stop()
        crowds.keep(history, self.folder)
        members = list(ensemble.members.values())
        judgement = crowds.verdict(
            members, history, until, watches=mix.tells_of_watches(), strangers_until=exercised
        )
        assert not judgement.violations, f"{len(judgement.violations)} violations: {judgement.violations[:5]}"
        assert crowds.early_expiries(history) == []
        return {
            "mixes": 1,
            "leader-changes": self.changes,
            "answers": answers,
            "session-moves": moves,
            "sessions-ended": ended,
            "ops": sum(one.answered for one in history.invocations),
            "writes": judgement.counts.get("writes", 0),
            "watch-events": judgement.counts.get("watch events", 0),
            "nodes-compared": nodes * len(members),
            "diffs": sum(one["DIFF"] for one in synced),
            "truncs": sum(one["TRUNC"] for one in synced),
            "snaps": sum(one["SNAP"] for one in synced),
            "digest-mismatches": 0,
            "in-snaps-of-apache-to-apache": apaches_own,
            "expired": sum(entry.kind == histories.EXPIRED for entry in history.entries),
            "violations": 0,
        }

    def _crowd_and_leaders(self, ensemble: Mixed) -> tuple[Crowd, int, int, int]:
        programs = crowds.busy_programs(CLIENTS, self.seed, apache_lines=self.mix.apache_lines())
        crowd = crowds.crowd_on(ensemble, programs, self.seed, timeout_ms=SESSION_TIMEOUT_MS)
        crowd.start()
        for _ in range(self.leader_changes):
            self._more_answers(crowd, 200)
            self._change_leader(ensemble)
        self._more_answers(crowd, 200)
        crowds.settle(crowd)
        until = crowds.level(ensemble)
        nodes = crowds.compare_trees(ensemble)
        return crowd, nodes, until, crowds.check_digests(ensemble)

    def _a_txn_is_cut_off(self, ensemble: Mixed) -> None:
        """The leader comes back with a txn that nobody else has: TRUNC, and all are equal again."""
        leader = ensemble.wait_leader()
        writer = Session(timeout_ms=60_000).connect(ensemble.members[leader].address)
        leave_behind(ensemble, leader, writer, "/never")
        ensemble.members[leader].start()
        crowds.level(ensemble)
        crowds.compare_trees(ensemble)
        reader = Session().connect_when_possible(ensemble.members[leader].address)
        reader.do(calls.sync("/"))
        assert reader.error_of(calls.exists("/never")) == codes.ERR_NO_NODE
        reader.end()

    def _more_answers(self, crowd: Crowd, count: int) -> None:
        """The load goes on."""
        goal = crowd.answered() + count

        def reached() -> bool | None:
            crowd.check_alive()
            return crowd.answered() >= goal or None

        poll(f"{count} more answers", 60, reached)

    def _change_leader(self, ensemble: Mixed) -> None:
        """The leader is killed; another leads, a write is acknowledged, and the old one comes back."""
        old = ensemble.wait_leader()
        ensemble.members[old].kill()
        new = poll("another leader", 60, lambda: _other_leader(ensemble, old))
        probe = Session(timeout_ms=1000).connect_when_possible(ensemble.members[new].address)
        probe.do(calls.sync("/"))
        probe.drop()
        ensemble.members[old].start()
        self.changes += 1
        self.say(f"{ensemble.members[old].name} was killed, {ensemble.members[new].name} leads")


def _other_leader(ensemble: Mixed, old: int) -> int | None:
    leader = ensemble.leader()
    return None if leader == old else leader
