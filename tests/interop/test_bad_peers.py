"""R12, second half: bad peers on the quorum, election and observer-master ports.

They are refused with a line in the log that says why, or served as upstream serves them; nobody else
notices: the same server leads in the same epoch, every member answers, no session ends.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Report
from tests.interop.bad_peers import (
    ELECTION_CASES,
    LEADER_CASES,
    MASTER_CASES,
    Case,
    Wire,
    from_sid,
    hello,
    learner_info,
    synchronised,
    vote,
)
from tests.interop.members import ZABRA, Mixed, monitor
from tests.interop.processes import ServerProcess, poll
from tests.interop.session import Session

from zabra.client import calls
from zabra.proto import codes
from zabra.proto.packets import encode_packet

# Limits that end what hangs: synchronisation within 2 s, silence and hellos within 1 s.
CFG = {"tickTime": 200, "initLimit": 5, "syncLimit": 5}
LEADER, VICTIM = 3, 1
# Addresses of their own, so that all members can have one observer-master port.
HOSTS = ["127.0.0.31", "127.0.0.32", "127.0.0.33"]
MASTER_PORT = 13890


class Target:
    """Three members and a witness session on each."""

    def __init__(self, folder: Path) -> None:
        cfg = {**CFG, "observerMasterPort": MASTER_PORT}
        self.ensemble = Mixed([ZABRA] * 3, folder, cfg=cfg, hosts=HOSTS)
        self.ensemble.start_led_by(LEADER)
        self.sessions = {
            sid: Session(timeout_ms=60_000).connect(member.address)
            for sid, member in self.ensemble.members.items()
        }
        self.sessions[LEADER].do(calls.create("/witness", b""))
        self.epoch = self._epoch()

    def close(self) -> None:
        """Servers and sessions: a socket left open fails whichever test runs when it is collected."""
        for session in self.sessions.values():
            session.drop()
        self.ensemble.stop()

    def _epoch(self) -> int:
        return self.sessions[LEADER].do(calls.set_data("/witness", b"")).mzxid >> 32

    def member(self, sid: int) -> ServerProcess:
        return self.ensemble.members[sid]

    def port(self, sid: int, door: str) -> tuple[str, int]:
        """The quorum, election or observer-master port of a member."""
        host, quorum, election, _ = str(self.member(1).cfg[f"server.{sid}"]).split(":")
        return host, {"quorum": int(quorum), "election": int(election), "master": MASTER_PORT}[door]

    def unharmed(self) -> None:
        """The same epoch, every session where it was, every member up to date and alive."""
        for sid, session in self.sessions.items():
            assert self.member(sid).running, self.member(sid).log_tail()
            session.do(calls.sync("/"))
            stat = session.do(calls.set_data("/witness", str(sid).encode()))
            assert stat.mzxid >> 32 == self.epoch, "another epoch has begun"
        assert self.ensemble.leader() == LEADER


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    made = Target(tmp_path_factory.mktemp("target"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def counted(reliability: Report) -> Iterator[dict[str, int]]:
    found = {"quorum": 0, "election": 0, "observer_master": 0}
    yield found
    reliability("R12", "bad-peers", **found)


def play(target: Target, sid: int, door: str, case: Case) -> None:
    """One case on one port: the connection's end, the line in the log, and nobody else's business."""
    log = target.member(sid).log_path
    before = log.stat().st_size
    with Wire(target.port(sid, door)) as wire:
        case.talk(wire)
        if case.closes:
            assert wire.closed(), "the server keeps the connection"
        else:
            target.unharmed()
    if case.log:

        def said() -> bool | None:
            with log.open("rb") as file:
                file.seek(before)
                return re.search(case.log, file.read().decode("utf-8", "replace")) is not None or None

        poll(f"the log says {case.log!r}", 10, said)
    target.unharmed()


@pytest.mark.slow
@pytest.mark.parametrize("case", LEADER_CASES, ids=repr)
def test_on_the_quorum_port(target: Target, case: Case, counted: dict[str, int]) -> None:
    play(target, LEADER, "quorum", case)
    counted["quorum"] += 1


@pytest.mark.slow
@pytest.mark.parametrize("case", ELECTION_CASES, ids=repr)
def test_on_the_election_port(target: Target, case: Case, counted: dict[str, int]) -> None:
    play(target, VICTIM, "election", case)
    counted["election"] += 1


@pytest.mark.slow
@pytest.mark.parametrize("case", MASTER_CASES, ids=repr)
def test_on_the_observer_master_port(target: Target, case: Case, counted: dict[str, int]) -> None:
    play(target, VICTIM, "master", case)
    counted["observer_master"] += 1


@pytest.mark.slow
def test_a_second_learner_with_the_sid_of_a_follower_disturbs_nobody(target: Target) -> None:
    with Wire(target.port(LEADER, "quorum")) as wire:
        wire.send(learner_info(sid=1, kind=codes.PACKET_FOLLOWERINFO))
        assert wire.packet().type == codes.PACKET_LEADERINFO
        target.unharmed()
    target.unharmed()


@pytest.mark.slow
def test_a_later_epoch_in_the_name_of_a_follower_ends_nobody(target: Target) -> None:
    with Wire(target.port(LEADER, "quorum")) as wire:
        wire.send(learner_info(sid=1, epoch=99, kind=codes.PACKET_FOLLOWERINFO))
        target.unharmed()
    target.unharmed()


@pytest.mark.slow
def test_floods_are_shed(target: Target) -> None:
    """Hundreds of connections that say nothing, and one that says far too much."""
    idle = [Wire(target.port(LEADER, "quorum")) for _ in range(300)]
    idle += [Wire(target.port(VICTIM, "election")) for _ in range(300)]
    idle += [Wire(target.port(VICTIM, "master")) for _ in range(300)]
    target.unharmed()
    with Wire(target.port(VICTIM, "election")) as loud:
        loud.send(hello(251) + vote(leader=1, clock=1) * 20_000)
        target.unharmed()
    for sid, door in ((LEADER, "quorum"), (VICTIM, "master")):
        with Wire(target.port(sid, door)) as loud:
            synchronised(loud)
            loud.send(encode_packet(codes.PACKET_REVALIDATE, 0, struct.pack(">qi", 0x777, 4000)) * 20_000)
            target.unharmed()
    assert all(wire.closed() for wire in idle)
    for wire in idle:
        wire.close()
    target.unharmed()
    for sid in (LEADER, VICTIM):
        assert resident_kib(target.member(sid)) < 200 * 1024


def resident_kib(member: ServerProcess) -> int:
    """Memory that the member has in use."""
    status = Path(f"/proc/{member.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.slow
def test_elections_work_after_all_this(target: Target) -> None:
    """The peers that were spoofed still find each other."""
    for wire_sid in (2, 3):
        with Wire(target.port(VICTIM, "election")) as wire:
            from_sid(wire_sid, vote(leader=wire_sid, clock=7))(wire)
    target.member(LEADER).kill()
    survivor = poll("another leader", 30, lambda: target.ensemble.leader())
    assert survivor == 2
    target.member(LEADER).start()
    for sid, session in target.sessions.items():
        session.connect_when_possible(target.member(sid).address)
        session.do(calls.set_data("/witness", b"after"))
    assert "server_state" in monitor(target.member(VICTIM))
