"""A txn that one server has and no other ever sees: what a TRUNC is for."""

from __future__ import annotations

from tests.interop import crowds, witness
from tests.interop.members import Mixed
from tests.interop.processes import ServerProcess, poll
from tests.interop.session import Session

from zabra.client import calls


def last_logged(member: ServerProcess) -> int:
    """The newest zxid in the member's log."""
    return max(run[-1][0] for run in witness.runs_of(member.data_dir))


def leave_behind(ensemble: Mixed, leader: int, writer: Session, path: str) -> None:
    """Has the leader log a create that no follower reads, and kills it; the other voters serve afterwards.

    The followers are stopped, not killed: a leader that sees them go may give up before it logs anything.
    Observers saw nothing of it, and without a quorum they wait.
    """
    crowds.level(ensemble)
    first = ensemble.members[leader]
    others = [ensemble.members[sid] for sid in ensemble.voters() if sid != leader]
    logged = last_logged(first)
    for other in others:
        other.freeze()
    writer.ask(calls.create(path, b""))
    poll("the leader logs the txn", 10, lambda: last_logged(first) > logged or None)
    for member in (first, *others):
        member.kill()
    writer.drop()
    for other in others:
        other.launch()
    for other in others:
        other.wait_serving()
