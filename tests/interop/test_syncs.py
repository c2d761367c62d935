"""DIFF, TRUNC and SNAP between Zabra and Apache ZooKeeper, each provoked, in both directions.

A leader of one kind is killed with a txn that nobody else has; the others, of the other kind, go on without
it.  When it comes back its log is cut (TRUNC); then it misses some txns (DIFF); then it loses its disk
(SNAP).  An observer of the same kind goes through DIFF and SNAP beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.interop import apache, crowds, witness
from tests.interop.cuts import leave_behind
from tests.interop.members import APACHE_38, APACHE_39, ZABRA, Mixed, syncs
from tests.interop.processes import ServerProcess
from tests.interop.session import Session

from zabra.client import calls
from zabra.proto import codes

LEARNER, OBSERVER = 3, 4
# No session may expire meanwhile, however slow the machine: that would be a txn in the new epoch.
CFG = {"tickTime": 2000, "maxSessionTimeout": 600_000}
SESSION_TIMEOUT_MS = 600_000


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize(
    ("leaders", "learners"),
    [(APACHE_39, ZABRA), (APACHE_38, ZABRA), (ZABRA, APACHE_39), (ZABRA, APACHE_38)],
)
def test_every_way_to_synchronise(leaders: str, learners: str, tmp_path: Path) -> None:
    for kind in {leaders, learners} - {ZABRA}:
        apache.require_java(kind.removeprefix("apache-"))
    ensemble = Mixed([leaders, leaders, learners, learners], tmp_path, observers=1, cfg=CFG)
    try:
        ensemble.start_led_by(LEARNER)
        _a_txn_that_nobody_else_has(ensemble)
        _it_is_cut_off(ensemble)
        _it_missed_a_little(ensemble)
        _it_lost_its_disk(ensemble)
        crowds.level(ensemble)
        crowds.compare_trees(ensemble)
        crowds.check_digests(ensemble)
    finally:
        ensemble.stop()
    runs = [run for member in ensemble.members.values() for run in witness.runs_of(member.data_dir)]
    assert witness.disagreements(runs) == []


def _restart(member: ServerProcess) -> dict[str, int]:
    """Starts it and waits until it serves; by what it was synchronised meanwhile."""
    before = syncs(member)
    member.start()
    after = syncs(member)
    return {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]}


def _a_txn_that_nobody_else_has(ensemble: Mixed) -> None:
    """The leader logs one more txn than anybody else, and is killed."""
    leader = ensemble.members[LEARNER]
    writer = Session(timeout_ms=SESSION_TIMEOUT_MS).connect(leader.address)
    writer.do(calls.create("/kept", b""))
    for number in range(20):
        writer.do(calls.create(f"/kept/{number}", b""))
    crowds.level(ensemble)
    leave_behind(ensemble, LEARNER, writer, "/never")


def _it_is_cut_off(ensemble: Mixed) -> None:
    """TRUNC: nobody has written in the new epoch, so that there is a point to cut at."""
    assert ensemble.wait_leader() == 2
    assert _restart(ensemble.members[LEARNER]) == {"TRUNC": 1}
    for member in ensemble.members.values():
        reader = Session().connect_when_possible(member.address)
        reader.do(calls.sync("/"))
        assert reader.error_of(calls.exists("/never")) == codes.ERR_NO_NODE
        assert len(reader.do(calls.get_children("/kept"))) == 20
        reader.end()


def _it_missed_a_little(ensemble: Mixed) -> None:
    """DIFF."""
    crowds.level(ensemble)
    for sid in (LEARNER, OBSERVER):
        ensemble.members[sid].kill()
    writer = Session().connect(ensemble.members[1].address)
    for number in range(10):
        writer.do(calls.set_data(f"/kept/{number}", b"missed"))
    writer.end()
    for sid in (LEARNER, OBSERVER):
        assert _restart(ensemble.members[sid]) == {"DIFF": 1}
        _has(ensemble.members[sid], "/kept/9", b"missed")


def _it_lost_its_disk(ensemble: Mixed) -> None:
    """SNAP."""
    crowds.level(ensemble)
    for sid in (LEARNER, OBSERVER):
        member = ensemble.members[sid]
        member.kill()
        shutil.rmtree(member.data_dir)
        member.write_config()
        assert _restart(member) == {"SNAP": 1}
        _has(member, "/kept/9", b"missed")


def _has(member: ServerProcess, path: str, data: bytes) -> None:
    reader = Session().connect(member.address)
    reader.do(calls.sync("/"))
    assert reader.do(calls.get_data(path))[0] == data
    reader.end()
