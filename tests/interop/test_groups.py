"""Hierarchical quorums with real servers of both kinds: groups and weights decide who may lead."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.interop import apache, crowds
from tests.interop.members import APACHE_39, ZABRA, Mixed
from tests.interop.processes import poll
from tests.interop.session import Session

from zabra.client import calls

# Three groups, of which two must agree; member 3 has no say in its own.
CFG = {
    "group.1": "1:2:3",
    "group.2": "4",
    "group.3": "5",
    "weight.1": 1,
    "weight.2": 1,
    "weight.3": 0,
    "weight.4": 1,
    "weight.5": 1,
}


@pytest.mark.java
@pytest.mark.slow
def test_a_majority_of_groups_is_a_quorum_and_nothing_else_is(tmp_path: Path) -> None:
    apache.require_java("3.9")
    ensemble = Mixed([ZABRA, ZABRA, ZABRA, APACHE_39, ZABRA], tmp_path, cfg=CFG)
    try:
        ensemble.start()
        _write(ensemble, "/all")
        # Two groups of three are left by two voters out of five, one of them Apache's.
        _kill(ensemble, 1, 2)
        assert ensemble.wait_leader() in (4, 5)
        _write(ensemble, "/two groups")
        ensemble.members[1].start()
        ensemble.members[2].start()
        # One group of three is left by three voters out of five.
        _kill(ensemble, 4, 5)
        poll("nobody leads", 30, lambda: ensemble.leader() is None or None)
        assert all(ensemble.members[sid].mode() is None for sid in (1, 2, 3))
        ensemble.members[4].launch()
        leader = ensemble.wait_leader()
        assert leader != 3, "a server without weight leads"
        ensemble.members[5].start()
        _write(ensemble, "/again")
        crowds.level(ensemble)
        crowds.compare_trees(ensemble)
        crowds.check_digests(ensemble)
    finally:
        ensemble.stop()


def _kill(ensemble: Mixed, *sids: int) -> None:
    for sid in sids:
        ensemble.members[sid].kill()


def _write(ensemble: Mixed, path: str) -> None:
    """Through every member that runs, one node each."""
    for sid, member in ensemble.running_members().items():
        session = Session().connect_when_possible(member.address)
        session.do(calls.create(f"{path}-{sid}", b""))
        session.end()
