"""A crowd of busy clients on an ensemble, from its first request to the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.interop import witness
from tests.interop.apache import ApacheServer
from tests.interop.apaches_digests import is_apaches_own
from tests.interop.live import Crowd
from tests.interop.members import monitor, zxid_of
from tests.interop.processes import Ensemble, ServerProcess, poll
from tests.interop.session import Session, differences, tree_over_wire

from zabra.client import calls
from zabra.client.calls import Part
from zabra.sim import histories
from zabra.sim.checkers import Judgement, Violation
from zabra.sim.histories import History, dump
from zabra.sim.prng import Prng
from zabra.sim.workload import ACLS, WANTS, Appetite, BusyProgram, draw_appetite

THINK_US = 8_000
LOOKS = 5


class Program38(BusyProgram):
    """What Apache ZooKeeper 3.8 does otherwise is left out: it answers create2 within a multi as create."""

    def _part(self) -> Part:
        while True:
            part = super()._part()
            if part.op != calls.create2("/", b"").op:
                return part


def busy_programs(
    count: int, seed: int, *, apache_lines: Sequence[str] = (), think_us: int = THINK_US
) -> list[Any]:
    """``count`` programs with appetites drawn from ``seed``.

    Where Apache's servers of ``apache_lines`` take part, what they do otherwise than the checkers expect is
    left out.  Of both lines: a leader checks the ACL as it was before a setACL that is under way, for
    upstream's change record of a setACL keeps the old one (``PrepRequestProcessor``).
    """
    prng = Prng(seed, "appetite")
    kind = Program38 if "3.8" in apache_lines else BusyProgram
    programs = []
    for number in range(count):
        appetite: Appetite = draw_appetite(prng, think_us)
        if apache_lines:
            appetite.weights[WANTS.index(ACLS)] = 0.0
        programs.append(kind(appetite, Prng(seed, f"program {number}")))
    return programs


def crowd_on(
    ensemble: Ensemble, programs: Sequence[Any], seed: int, *, timeout_ms: int, source: str = ""
) -> Crowd:
    """The crowd; every client may use every member."""
    addresses = [(member.host, member.client_port) for member in ensemble.members.values()]
    return Crowd(addresses, programs, seed=seed, timeout_ms=timeout_ms, source=source)


def settle(crowd: Crowd, timeout_s: float = 60.0) -> None:
    """Nobody asks any more, and everything asked is answered."""
    crowd.wind_down()

    def quiet() -> bool | None:
        crowd.check_alive()
        return crowd.is_quiet() or None

    poll("the crowd is quiet", timeout_s, quiet)


def wait_equal_zxids(ensemble: Ensemble, timeout_s: float = 60.0) -> int:
    """Waits until every running member has applied as much as the one that is ahead; returns that zxid."""

    def same() -> int | None:
        zxids = [zxid_of(member) for member in ensemble.members.values() if member.running]
        return zxids[0] if zxids and zxids[0] is not None and len(set(zxids)) == 1 else None

    return poll("all members at one zxid", timeout_s, same)


def level(ensemble: Ensemble, timeout_s: float = 60.0) -> int:
    """Waits until every member has applied what was written before; returns the zxid they have reached.

    The txn of a new session does that (a learner shows no zxid for the mere start of an epoch).  The session
    is left to expire: the history of a crowd needs to know nothing of it.
    """
    leader = ensemble.members[ensemble.wait_leader(timeout_s)]
    marker = Session(timeout_ms=1000).connect_when_possible(leader.address, timeout_s)
    marker.do(calls.sync("/"))
    marker.drop()

    def reached() -> bool | None:
        seen = [zxid_of(member) or 0 for member in ensemble.members.values() if member.running]
        return min(seen) >= marker.zxid or None

    poll(f"all members at 0x{marker.zxid:x}", timeout_s, reached)
    return marker.zxid


def compare_trees(ensemble: Ensemble) -> int:
    """Every running member shows the same tree, node by node; returns the number of nodes.

    A session may expire between two looks, its client being short of CPU: what differs has to do so again.
    """
    for _ in range(LOOKS):
        nodes, differing = _compare_once(ensemble)
        if not differing:
            return nodes
        level(ensemble)
    raise AssertionError(f"{LOOKS} times: {differing}")


def _compare_once(ensemble: Ensemble) -> tuple[int, str]:
    """(nodes, what differs)."""
    trees = {}
    for sid, member in ensemble.members.items():
        if member.running:
            session = Session().connect_when_possible(member.address)
            session.do(calls.sync("/"))
            trees[sid] = tree_over_wire(member.address, session)
            session.drop()
    first, *others = trees
    for sid in others:
        found = differences(trees[first], trees[sid])
        if found:
            return 0, f"members {first} and {sid} differ in {len(found)} nodes: {found[:5]}"
    return len(trees[first]), ""


def digest_mismatches(ensemble: Ensemble) -> dict[int, str]:
    """What each running member counts, once it serves."""
    found = {}
    for sid, member in ensemble.members.items():
        if member.running:
            found[sid] = poll(
                f"{member.name} tells its counters",
                30,
                lambda member=member: monitor(member).get("digest_mismatches_count"),
            )
    return found


def check_digests(ensemble: Ensemble) -> int:
    """No member has seen a digest that was not its own tree's; returns those that are Apache's own affair."""
    found = {sid: int(count) for sid, count in digest_mismatches(ensemble).items() if count != "0"}
    members = ensemble.members
    apaches = [sid for sid, member in members.items() if isinstance(member, ApacheServer)]
    wrong = {
        sid: count
        for sid, count in found.items()
        if sid not in apaches or not is_apaches_own(members[sid], apaches)
    }
    assert not wrong, f"digest mismatches by member: {wrong}"
    return sum(found.values())


def verdict(
    members: Sequence[ServerProcess],
    history: History,
    until: int,
    extra: Sequence[Path] = (),
    watches: bool = True,
    strangers_until: int = 0,
    strangers: Sequence[int] = (),
) -> Judgement:
    """The members have stopped: their logs, up to the zxid ``until``, against the history.

    ``extra`` are folders of earlier lives.  Sessions of ``strangers`` have written too, and up to
    ``strangers_until`` anybody may have.
    """
    runs = []
    for folder in [*(member.data_dir for member in members), *extra]:
        runs += witness.runs_of(folder)
    found = witness.disagreements(runs)
    assert not found, f"{len(found)} zxids have two contents: {found[:3]}"
    chain = [entry for entry in witness.chain_of(runs) if entry.header.zxid <= until]
    unknown = {entry.header.client_id for entry in chain if entry.header.zxid <= strangers_until}
    unknown.update(strangers)
    return witness.judge(chain, history, watches, lambda one: _is_strangers(one, unknown))


def _is_strangers(violation: Violation, sessions: set[int]) -> bool:
    """Whether it is about a session that the history knows nothing of (its client may count xids anew)."""
    if violation.rule == "session order":
        return int(violation.text.split(":")[0], 16) in sessions if violation.text.startswith("0x") else False
    if violation.rule != "invented write":
        return False
    return any(f"client_id={session}," in violation.text for session in sessions)


def early_expiries(history: History) -> list[str]:
    """Sessions that a server ended although their client was answered within the timeout before."""
    out = []
    contact: dict[int, int] = {}
    timeout_ms: dict[int, int] = {}
    for entry in history.entries:
        if entry.kind == histories.CONNECTED:
            timeout_ms[entry.client] = entry.timeout_ms
        if entry.kind in (histories.CONNECTED, histories.ANSWERED, histories.EVENT, histories.REWATCHED):
            contact[entry.client] = entry.at_us
        elif entry.kind == histories.EXPIRED and entry.client in contact:
            silent_ms = (entry.at_us - contact[entry.client]) // 1000
            if silent_ms < timeout_ms[entry.client]:
                out.append(
                    f"client {entry.client}: expired {silent_ms} ms after it was answered, "
                    f"timeout {timeout_ms[entry.client]} ms"
                )
    return out


def keep(history: History, folder: Path) -> Path:
    """Writes the history beside the servers' logs, for whoever has to find out why."""
    path = folder / "history.jsonl"
    with path.open("w") as out:
        out.writelines(line + "\n" for line in dump(history))
    return path
