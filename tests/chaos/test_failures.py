"""Failures of real processes, one at a time, step by step: what may and what may not be seen meanwhile.

Three voters and an observer, each in a network of its own, with a disk that the test can slow down or break.
"""

from __future__ import annotations

import errno
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.lab import Lab, Weather, unavailable
from tests.chaos.shim import Shim, library
from tests.interop import crowds
from tests.interop.members import ZABRA, Mixed, syncs, zxid_of
from tests.interop.processes import ServerProcess, poll
from tests.interop.session import Closed, Session

from zabra.client import calls
from zabra.proto import codes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "can run"),
]

CFG = {"tickTime": 250, "initLimit": 20, "syncLimit": 8, "preAllocSize": 1024}
COUNT = 4
WRITES = 4000
EXIT_TXNLOG_ERROR = 10


class World:
    """The ensemble and what can be done to it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        built = library(folder)
        assert built is not None, "needs a C compiler"
        sids = range(1, COUNT + 1)
        self.shims = {sid: Shim(folder / f"shim-{sid}") for sid in sids}
        self.ensemble = Mixed(
            [ZABRA] * COUNT,
            folder,
            observers=1,
            cfg=CFG,
            ports=(2181, 2888, 3888, 8080) * COUNT,
            hosts=[lab.address(sid) for sid in sids],
            prefixes={sid: lab.prefix(sid) for sid in sids},
            environments={sid: self.shims[sid].environment(built) for sid in sids},
        )
        self._made = 0
        self._sessions: list[Session] = []

    def member(self, sid: int) -> ServerProcess:
        return self.ensemble.members[sid]

    def leader(self) -> int:
        return self.ensemble.wait_leader()

    def followers(self) -> list[int]:
        leader = self.leader()
        return [sid for sid in self.ensemble.voters() if sid != leader]

    def session(self, sid: int, wait_s: float = 30.0) -> Session:
        session = Session(timeout_ms=10_000, wait_s=wait_s)
        self._sessions.append(session)
        return session.connect_when_possible(self.member(sid).address)

    def node(self) -> str:
        """A fresh node, known to everybody."""
        self._made += 1
        path = f"/case-{self._made}"
        session = self.session(self.leader())
        session.do(calls.create(path, b"before"))
        session.end()
        crowds.level(self.ensemble)
        return path

    def data(self, sid: int, path: str) -> bytes | None:
        session = self.session(sid)
        session.do(calls.sync(path))
        data = session.do(calls.get_data(path))[0]
        session.end()
        return data

    def everybody_has(self, path: str, data: bytes) -> None:
        for sid in self.ensemble.members:
            assert self.data(sid, path) == data, f"member {sid}"

    def another_leader(self, old: int) -> int:
        def found() -> int | None:
            for sid in self.ensemble.voters():
                if sid != old and self.member(sid).running and self.member(sid).mode() == "leader":
                    return sid
            return None

        return poll("another leader", 30, found)

    def well(self) -> None:
        """Everything healed, everybody serves the same."""
        for session in self._sessions:
            session.drop()
        self._sessions.clear()
        self.lab.heal()
        for sid, member in self.ensemble.members.items():
            self.shims[sid].slow_syncs(0)
            self.shims[sid].fail_syncs(0)
            if member.running:
                member.signal(signal.SIGCONT)
            else:
                member.launch()
        for member in self.ensemble.members.values():
            member.wait_serving()
        crowds.level(self.ensemble)
        crowds.compare_trees(self.ensemble)
        crowds.check_digests(self.ensemble)


@pytest.fixture(scope="module")
def running_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Lab(COUNT) as lab:
        made = World(lab, tmp_path_factory.mktemp("world"))
        try:
            made.ensemble.start()
            yield made
        finally:
            for member in made.ensemble.members.values():
                if member.running:
                    member.signal(signal.SIGCONT)
            made.ensemble.stop()


@pytest.fixture
def world(running_world: World) -> Iterator[World]:
    yield running_world
    running_world.well()


def _no_answer(session: Session) -> bool:
    """Whether the server closes instead of answering, or never answers."""
    try:
        call = session.take()
    except (Closed, OSError):
        return True
    return call.err != codes.OK


def test_a_leader_cut_off_acknowledges_nothing_and_its_write_is_undone(world: World) -> None:
    path = world.node()
    old = world.leader()
    stale = world.session(old)
    truncated = syncs(world.member(old))["TRUNC"]
    world.lab.isolate([old])
    stale.ask(calls.set_data(path, b"stale"))
    new = world.another_leader(old)
    fresh = world.session(new)
    # Nobody writes before the old leader is back, so that there is a point where its log can be cut.
    assert fresh.do(calls.get_data(path))[0] == b"before"
    assert _no_answer(stale)
    assert world.member(old).mode() is None
    fresh.do(calls.set_data(path, b"fresh"))
    world.lab.heal()
    world.member(old).wait_serving()
    assert sum(syncs(world.member(old)).values()) > truncated
    world.everybody_has(path, b"fresh")


def test_a_stopped_leader_wakes_up_to_no_authority(world: World) -> None:
    """The request waits in its socket while another leader is elected: it is not acknowledged afterwards."""
    path = world.node()
    old = world.leader()
    stale = world.session(old)
    world.member(old).freeze()
    stale.ask(calls.set_data(path, b"stale"))
    new = world.another_leader(old)
    fresh = world.session(new)
    fresh.do(calls.set_data(path, b"fresh"))
    world.member(old).signal(signal.SIGCONT)
    assert _no_answer(stale)
    world.member(old).wait_serving()
    world.everybody_has(path, b"fresh")


def test_a_leader_is_lost_under_load(world: World) -> None:
    """What each session was told has happened, and of what it asked for a beginning, without a hole."""
    path = world.node()
    old = world.leader()
    sids = [sid for sid in world.ensemble.members if sid != old]
    writers = {sid: world.session(sid) for sid in sids}
    for sid, writer in writers.items():
        for number in range(WRITES):
            writer.ask(calls.create(f"{path}/{sid}-{number:04}", b""))
    # Under way everywhere; the session at the observer has some answers already.
    told = dict.fromkeys(sids, 0)
    while told[COUNT] < WRITES // 10:
        assert writers[COUNT].take().err == codes.OK
        told[COUNT] += 1
    world.member(old).kill()
    for sid, writer in writers.items():
        while not _no_answer(writer):
            told[sid] += 1
    assert sum(told.values()) < WRITES * len(sids), "the leader was not lost under load"
    new = world.another_leader(old)
    world.member(old).start()
    reader = world.session(new)
    reader.do(calls.sync(path))
    names = reader.do(calls.get_children(path))
    for sid in sids:
        mine = sorted(int(name.split("-")[1]) for name in names if name.startswith(f"{sid}-"))
        assert mine == list(range(len(mine)))
        assert told[sid] <= len(mine) <= WRITES


def test_a_network_that_delays_loses_doubles_and_reorders(world: World) -> None:
    """Between the members, and between them and their clients: answers are late, and nothing else."""
    path = world.node()
    sessions = {sid: world.session(sid) for sid in world.ensemble.members}
    for sid in world.ensemble.members:
        world.lab.weather(sid, Weather(delay_ms=8, jitter_ms=10, loss=10_000, duplicate=10_000), seed=sid)
    for sid, session in sessions.items():
        for number in range(100):
            session.ask(calls.create(f"{path}/{sid}-{number:03}", b""))
    for session in sessions.values():
        # ``take`` sees to the order of the answers.
        for _ in range(100):
            assert session.take().err == codes.OK
    world.lab.heal()
    for sid in world.ensemble.members:
        session = world.session(sid)
        session.do(calls.sync(path))
        assert len(session.do(calls.get_children(path))) == 100 * COUNT


def test_a_follower_cut_off_serves_nobody_and_the_rest_goes_on(world: World) -> None:
    path = world.node()
    victim = world.followers()[0]
    inside = world.session(victim)
    diffs = syncs(world.member(victim))["DIFF"]
    world.lab.isolate([victim])
    outside = world.session(world.leader())
    for number in range(20):
        outside.do(calls.set_data(path, str(number).encode()))
    inside.ask(calls.set_data(path, b"inside"))
    assert _no_answer(inside)
    assert poll("it stops serving", 20, lambda: world.member(victim).mode() is None or None)
    assert world.leader() != victim
    world.lab.heal()
    world.member(victim).wait_serving()
    assert syncs(world.member(victim))["DIFF"] > diffs
    world.everybody_has(path, b"19")


@pytest.mark.parametrize("deaf", ["leader", "follower", "observer"])
def test_a_way_that_is_open_in_one_direction_only(world: World, deaf: str) -> None:
    """Nobody waits for ever for one whose packets vanish: a quorum forms that can hear itself."""
    path = world.node()
    sid = {"leader": world.leader(), "follower": world.followers()[0], "observer": COUNT}[deaf]
    world.lab.cut([(sid, other) for other in world.ensemble.members if other != sid])
    others = [one for one in world.ensemble.voters() if one != sid]

    def written() -> bool | None:
        session = Session(timeout_ms=2000, wait_s=5.0)
        try:
            session.connect(world.member(others[0]).address)
            session.do(calls.set_data(path, b"heard"))
        except OSError:
            return None
        finally:
            session.drop()
        return True

    poll("a write is acknowledged", 30, written)
    world.lab.heal()
    world.everybody_has(path, b"heard")


def test_a_learner_far_behind_is_brought_up_from_the_log(world: World) -> None:
    """It missed more than the leader keeps in memory (commitLogCount, 500)."""
    path = world.node()
    victims = [world.followers()[0], COUNT]
    diffs = [syncs(world.member(sid))["DIFF"] for sid in victims]
    for sid in victims:
        world.member(sid).kill()
    writer = world.session(world.leader())
    for number in range(1500):
        writer.ask(calls.set_data(path, str(number).encode()))
    for _ in range(1500):
        assert writer.take().err == codes.OK
    writer.end()
    for sid in victims:
        world.member(sid).start()
    assert [syncs(world.member(sid))["DIFF"] for sid in victims] == [count + 1 for count in diffs]
    world.everybody_has(path, b"1499")


def test_a_follower_without_its_disk_gets_everything(world: World) -> None:
    path = world.node()
    victim = world.followers()[0]
    member = world.member(victim)
    member.kill()
    shutil.rmtree(member.data_dir)
    member.write_config()
    member.start()
    assert syncs(member)["SNAP"] >= 1
    world.everybody_has(path, b"before")


def test_everybody_is_killed_and_nothing_acknowledged_is_lost(world: World) -> None:
    path = world.node()
    writer = world.session(world.followers()[0])
    for number in range(300):
        writer.ask(calls.create(f"{path}/{number}", b""))
    acknowledged = 0
    while acknowledged < 200:
        assert writer.take().err == codes.OK
        acknowledged += 1
    for member in world.ensemble.members.values():
        member.kill()
    for member in world.ensemble.members.values():
        member.launch()
    for member in world.ensemble.members.values():
        member.wait_serving()
    # What was not answered may be there or not; what was is, and there is no hole.
    reader = world.session(world.leader())
    names = {int(name) for name in reader.do(calls.get_children(path))}
    reader.end()
    assert names >= set(range(acknowledged))
    assert names == set(range(len(names)))


def test_a_leader_whose_disk_breaks_leaves_and_service_goes_on(world: World) -> None:
    """ZOOKEEPER-2247; after a failed fsync nothing more is acknowledged, and the process ends."""
    path = world.node()
    old = world.leader()
    stale = world.session(old)
    world.shims[old].fail_syncs(errno.EIO)
    stale.ask(calls.set_data(path, b"broken"))
    code = poll("the leader ends", 30, lambda: world.member(old).exit_code())
    assert code == EXIT_TXNLOG_ERROR
    assert "nothing more is acknowledged" in world.member(old).log_tail()
    new = world.another_leader(old)
    fresh = world.session(new)
    fresh.do(calls.set_data(path, b"fresh"))
    world.shims[old].fail_syncs(0)
    world.member(old).start()
    world.everybody_has(path, b"fresh")


def test_slow_disks_slow_writes_and_nothing_else(world: World) -> None:
    """No election: pings go on while every fsync takes four ticks."""
    path = world.node()
    leader, before = world.leader(), zxid_of(world.member(world.leader()))
    sessions = [world.session(sid) for sid in world.ensemble.members]
    for sid in world.ensemble.members:
        world.shims[sid].slow_syncs(1000)
    for index, session in enumerate(sessions):
        session.ask(calls.set_data(path, str(index).encode()))
    for session in sessions:
        assert session.take().err == codes.OK
    assert before is not None
    after = zxid_of(world.member(leader))
    assert after is not None
    assert (world.leader(), after >> 32) == (leader, before >> 32)
