"""The specification's invariants: a true trace keeps them, and each finds what was doctored to break it."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from zabra.proto.txn import TxnEntry, decode_txn
from zabra.sim import spec
from zabra.sim.checkers import Judgement
from zabra.sim.scenario import Player
from zabra.sim.spec import INVARIANTS, SpecChecker, Step
from zabra.sim.spec_monitor import COMPLAINTS, SpecMonitor

# Two epochs: 3 leads 1, 2 and the observer 4; then 2 leads 1, which has missed the last txn of epoch 1.
STORY = """
cluster voters=1,2,3 observers=4
start 1 2 3 4
settle
client c at=2 timeout=40000
c create /a v
c create /b v
settle
kill 1
c create /c v
settle
kill 2 3 4
start 2 1 4
settle
client d at=1
d create /d v
settle
start 3
settle
expect leader 2
expect same
"""
DELIVERIES = (spec.LEADER_ACK, spec.FOLLOWER_COMMIT, spec.OBSERVER_INFORM)
A, B, C = 0x1_0000_0002, 0x1_0000_0003, 0x1_0000_0004


@functools.cache
def story() -> Player:
    """The story, told once, with its steps kept."""
    player = Player(keep_steps=True)
    player.play(STORY)
    return player


def steps() -> list[Step]:
    """Its steps, one txn in each."""
    out: list[Step] = []
    for step in story().monitor.steps:
        if step.action == spec.NODE_START or len(step.entries) < 2:
            out.append(step)
            continue
        for entry in step.entries:
            out.append(changed(step, entries=[entry]))
    return out


def changed(step: Step, **fields: object) -> Step:
    """A copy with other fields."""
    copy = Step(step.action, step.sid, step.peer, step.zxid, step.entries)
    copy.epoch, copy.word, copy.quorum = step.epoch, step.word, step.quorum
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def judged(trace: list[Step]) -> list[str]:
    """Which invariants a trace breaks."""
    judgement = Judgement()
    checker = SpecChecker(judgement)
    for step in trace:
        checker.take(step)
    return list({violation.rule: None for violation in judgement.violations})


def zxid_of(step: Step) -> int:
    return step.entries[0].header.zxid if step.entries else 0


def without(trace: list[Step], drop: Callable[[Step], bool]) -> list[Step]:
    kept = [step for step in trace if not drop(step)]
    assert len(kept) < len(trace)
    return kept


def place(trace: list[Step], action: str, sid: int, zxid: int = 0, epoch: int = 0) -> int:
    """Where a server takes an action."""
    for at, step in enumerate(trace):
        if (step.action, step.sid) == (action, sid) and zxid in (0, zxid_of(step)):
            if epoch in (0, step.epoch):
                return at
    raise LookupError(action)


def another(entry: TxnEntry) -> TxnEntry:
    """The same txn with other bytes."""
    return decode_txn(entry.raw.replace(b"/a", b"/z").replace(b"/c", b"/z"))


def leadership_1(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.ELECTION_AND_DISCOVERY, 3)
    return [*trace[: at + 1], changed(trace[at], sid=2), *trace[at + 1 :]]


def leadership_2(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.LEADER_ACKLD, 2)
    return [*trace[:at], changed(trace[at], epoch=1), *trace[at:]]


def prefix(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.FOLLOWER_COMMIT, 1, A)
    return [*trace[:at], changed(trace[at], entries=[another(trace[at].entries[0])]), *trace[at + 1 :]]


def integrity(trace: list[Step]) -> list[Step]:
    return without(trace, lambda step: step.action == spec.LEADER_REQUEST and zxid_of(step) == A)


def agreement(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.FOLLOWER_COMMIT, 1, A)
    late = trace[at]
    rest = without(trace, lambda step: step.action in DELIVERIES and zxid_of(step) == A)
    at = place(rest, spec.FOLLOWER_COMMIT, 2, B)
    return [*rest[: at + 1], late, *rest[at + 1 :]]


def total_order(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.FOLLOWER_COMMIT, 1, A)
    return trace[:at] + trace[at + 1 :]


def local_order(trace: list[Step]) -> list[Step]:
    return without(trace, lambda step: step.action in DELIVERIES and zxid_of(step) == A)


def global_order(trace: list[Step]) -> list[Step]:
    old = trace[place(trace, spec.FOLLOWER_COMMIT, 1, A)]
    return [*trace, changed(old)]


def primary_integrity(trace: list[Step]) -> list[Step]:
    rest = without(
        trace,
        lambda step: (
            zxid_of(step) == C
            and (step.action in DELIVERIES or (step.action != spec.LEADER_REQUEST and step.sid != 3))
        ),
    )
    rest = [step for step in rest if step.action != spec.NODE_START or step.sid != 2 or not step.entries]
    late = trace[place(trace, spec.FOLLOWER_COMMIT, 2, C)]
    at = place(rest, spec.LEADER_REQUEST, 2)
    return [*rest[: at + 1], changed(late, sid=1), *rest[at + 1 :]]


def shorter_leader(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.ELECTION_AND_DISCOVERY, 2)
    start = max(i for i in range(at) if trace[i].action == spec.NODE_START and trace[i].sid == 2)
    entries = [entry for entry in trace[start].entries if entry.header.zxid < C]
    return [*trace[:start], changed(trace[start], entries=entries, zxid=B), *trace[start + 1 :]]


def process_consistency(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.FOLLOWER_PROPOSAL_IN_SYNC, 1, C)
    return [*trace[:at], changed(trace[at], entries=[another(trace[at].entries[0])]), *trace[at + 1 :]]


def durability(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.FOLLOWER_COMMIT, 1, B)
    cut = Step(spec.FOLLOWER_SYNC, 1, 3, A)
    cut.word = spec.TRUNC
    return [*trace[: at + 1], cut, *trace[at + 1 :]]


def proposal_missed(trace: list[Step]) -> list[Step]:
    at = place(trace, spec.FOLLOWER_PROPOSAL, 1, A)
    return trace[:at] + trace[at + 1 :]


def not_durable(trace: list[Step]) -> list[Step]:
    return without(trace, lambda step: step.action == spec.LOG_DURABLE and step.sid in (1, 2))


def acked_too_soon(trace: list[Step]) -> list[Step]:
    return without(
        trace,
        lambda step: step.sid == 1 and step.action in (spec.LOG_DURABLE, spec.FOLLOWER_PROPOSAL_IN_SYNC),
    )


DOCTORS: dict[str, Callable[[list[Step]], list[Step]]] = {
    "Leadership1": leadership_1,
    "Leadership2": leadership_2,
    "PrefixConsistency": prefix,
    "Integrity": integrity,
    "Agreement": agreement,
    "TotalOrder": total_order,
    "LocalPrimaryOrder": local_order,
    "GlobalPrimaryOrder": global_order,
    "PrimaryIntegrity": primary_integrity,
    "CommittedLogMonotonicity": shorter_leader,
    "LeaderLogCompleteness": shorter_leader,
    "ProcessConsistency": process_consistency,
    "CommittedLogDurability": durability,
    "proposalConsistent": proposal_missed,
    "commitConsistent": not_durable,
    "ackConsistent": acked_too_soon,
}


def test_a_true_trace_keeps_every_invariant() -> None:
    assert judged(steps()) == []


def test_the_trace_is_in_the_specifications_words() -> None:
    actions = {step.action for step in steps()}
    assert actions >= {
        "NodeStart",
        "NodeCrash",
        "ElectionAndDiscovery",
        "LeaderProcessACKLD",
        "LeaderProcessRequest",
        "LeaderProcessACK",
        "FollowerProcessPROPOSALInSync",
        "FollowerProcessNEWLEADER",
        "FollowerProcessNEWLEADERAfterCurrentEpochUpdated",
        "FollowerProcessUPTODATE",
        "FollowerProcessPROPOSAL",
        "FollowerProcessCOMMIT",
    }
    texts = [str(step) for step in steps()]
    assert "FollowerProcessPROPOSALInSync s1 s2 1:4" in texts
    assert "ElectionAndDiscovery s2 epoch 2" in texts


@pytest.mark.parametrize("invariant", DOCTORS)
def test_a_doctored_trace_breaks_its_invariant(invariant: str) -> None:
    assert invariant in judged(DOCTORS[invariant](steps()))


def test_every_invariant_has_its_doctored_trace() -> None:
    told = {invariant for _, invariant in COMPLAINTS}
    assert set(INVARIANTS) == set(DOCTORS) | told


@pytest.mark.parametrize("words", [words for words, _ in COMPLAINTS])
def test_what_a_server_complains_of_breaks_an_invariant(words: str) -> None:
    monitor = SpecMonitor()
    monitor.overheard(f"2: follower no more: synchronisation failed: 0x1 {words} 0x2")
    assert [violation.rule for violation in monitor.judgement.violations] == [dict(COMPLAINTS)[words]]
    monitor.overheard("2: follower: synchronised by DIFF with leader 3 at zxid 0x0")
    assert len(monitor.judgement.violations) == 1
