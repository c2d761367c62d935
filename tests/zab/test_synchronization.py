"""Synchronization: the decision against tables and histories, the learner's side with crashes everywhere."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.proto import codes, packets
from zabra.proto.records import QuorumPacket
from zabra.zab.phases import SYNC_DIFF, SYNC_SNAP, SYNC_TRUNC
from zabra.zab.quorum import QuorumMaj
from zabra.zab.synchronization import (
    ACK,
    ACTIVATE,
    ANSWER_PING,
    APPLY,
    DISCARD_LOG,
    DONE,
    LOAD_SNAPSHOT,
    PERSIST,
    REFUSE,
    SAVE_CONFIG,
    SAVE_CURRENT_EPOCH,
    SAVE_SNAPSHOT,
    SYNC_COMMAND_NAMES,
    SYNC_READ_LOG,
    TRUNCATE,
    LearnerSync,
    NewLeaderAcks,
    SyncCommand,
    SyncPlan,
    choose_from_log,
    choose_sync,
)
from zabra.zab.zxid import make_zxid


def z(text: str) -> int:
    """``epoch:counter`` as a zxid."""
    epoch, _, counter = text.partition(":")
    return make_zxid(int(epoch), int(counter))


def zs(text: str) -> list[int]:
    """``e:first-last`` ranges as zxids."""
    out = []
    for part in text.split():
        epoch, _, span = part.partition(":")
        first, _, last = span.partition("-")
        out += [make_zxid(int(epoch), c) for c in range(int(first), int(last or first) + 1)]
    return out


# The rules, one row each: peer, lastProcessed, committed in memory, then mode, op zxid, what is sent.
RULES = [
    ("in sync", "5:3", "5:3", "5:1-3", SYNC_DIFF, "5:3", ""),
    ("in sync, nothing in memory", "5:3", "5:3", "", SYNC_DIFF, "5:3", ""),
    ("in sync at the start of an epoch", "5:0", "5:0", "4:1-3", SYNC_DIFF, "5:0", ""),
    ("ahead: an uncommitted tail", "5:6", "5:3", "5:1-3", SYNC_TRUNC, "5:3", ""),
    ("ahead, nothing in memory", "5:6", "5:3", "", SYNC_TRUNC, "5:3", ""),
    ("behind within memory", "5:1", "5:3", "5:1-3", SYNC_DIFF, "5:3", "5:2-3"),
    ("behind, at the oldest in memory", "4:7", "5:2", "4:7-9 5:1-2", SYNC_DIFF, "5:2", "4:8-9 5:1-2"),
    ("last of the old epoch", "4:9", "5:0", "4:1-9", SYNC_DIFF, "4:9", ""),
    ("tail of an older epoch, cut off", "4:9", "5:2", "4:1-7 5:1-2", SYNC_SNAP, "5:2", ""),
    ("epoch start within memory", "5:0", "5:2", "4:8-9 5:1-2", SYNC_DIFF, "5:2", "5:1-2"),
    ("start of an epoch without txns", "5:0", "6:2", "4:8-9 6:1-2", SYNC_DIFF, "6:2", "6:1-2"),
    ("start of an epoch this leader has not", "7:0", "5:2", "5:1-2", SYNC_SNAP, "5:2", ""),
    ("start of an epoch, at the end of memory", "5:0", "6:0", "4:8-9", SYNC_SNAP, "6:0", ""),
]


@pytest.mark.parametrize(
    ("name", "peer", "last", "memory", "mode", "op", "sent"), RULES, ids=[r[0] for r in RULES]
)
def test_rules(name: str, peer: str, last: str, memory: str, mode: int, op: str, sent: str) -> None:
    committed = zs(memory)
    plan = choose_sync(z(peer), z(last), committed, False, True)
    assert (plan.mode, plan.op_zxid) == (mode, z(op)), plan
    assert committed[plan.committed_start :] == zs(sent), plan
    if mode == SYNC_SNAP:
        assert plan.forward_from == z(last)
    else:
        assert plan.forward_from == (zs(sent) or [z(op) if mode == SYNC_TRUNC else z(peer)])[-1]


def test_a_snapshot_can_be_forced() -> None:
    plan = choose_sync(z("5:3"), z("5:3"), zs("5:1-3"), True, True)
    assert (plan.mode, plan.op_zxid, plan.committed_start) == (SYNC_SNAP, z("5:3"), 3)


def test_behind_memory_the_log_is_read_if_that_is_enabled() -> None:
    plan = choose_sync(z("5:1"), z("5:9"), zs("5:5-9"), False, True)
    assert (plan.mode, plan.forward_from) == (SYNC_READ_LOG, z("5:1"))
    assert "READ_LOG" in repr(plan)
    assert choose_sync(z("5:1"), z("5:9"), zs("5:5-9"), False, False).mode == SYNC_SNAP
    assert choose_sync(0, z("5:9"), zs("5:5-9"), False, True).mode == SYNC_READ_LOG
    assert choose_sync(0, z("5:9"), [], False, True).mode == SYNC_READ_LOG


# peer, log, committed, mode, op, sent from the log, sent from memory
LOG_RULES = [
    ("found", "5:2", "5:1-6", "5:5-9", SYNC_DIFF, "5:9", "5:3-5", "5:6-9"),
    ("found, the log ends at memory", "5:2", "5:1-5", "5:5-9", SYNC_DIFF, "5:9", "5:3-5", "5:6-9"),
    ("found, across epochs", "4:2", "4:1-3 5:1-5", "5:5-9", SYNC_DIFF, "5:9", "4:3 5:1-5", "5:6-9"),
    ("a gap before memory", "5:2", "5:1-3", "5:5-9", SYNC_SNAP, "5:9", "", ""),
    ("a hole in the log", "5:2", "5:1-3 5:5-6", "5:6-9", SYNC_SNAP, "5:9", "", ""),
    ("a tail of an older epoch", "4:9", "4:1-7 5:1-5", "5:5-9", SYNC_SNAP, "5:9", "", ""),
    ("epoch start", "5:0", "4:1-3 5:1-5", "5:5-9", SYNC_DIFF, "5:9", "5:1-5", "5:6-9"),
    ("a brand new learner and the whole log", "0:0", "1:1-3", "1:3-4", SYNC_DIFF, "1:4", "1:1-3", "1:4"),
    ("the log is empty", "5:2", "", "5:5-9", SYNC_SNAP, "5:9", "", ""),
]


@pytest.mark.parametrize(
    ("name", "peer", "log", "memory", "mode", "op", "logged", "sent"),
    LOG_RULES,
    ids=[r[0] for r in LOG_RULES],
)
def test_rules_with_the_log(
    name: str, peer: str, log: str, memory: str, mode: int, op: str, logged: str, sent: str
) -> None:
    committed = zs(memory)
    entries = zs(log)
    plan = choose_from_log(z(peer), committed[-1], committed, entries, True)
    assert (plan.mode, plan.op_zxid) == (mode, z(op)), plan
    assert entries[plan.log_start : plan.log_end] == zs(logged), plan
    assert committed[plan.committed_start :] == zs(sent), plan
    # What cannot be read, or would be too much, is no reason to wait.
    assert choose_from_log(z(peer), committed[-1], committed, entries, False).mode == SYNC_SNAP


def test_memory_may_have_moved_while_the_log_was_read() -> None:
    plan = choose_from_log(z("5:2"), z("5:9"), zs("5:2-9"), zs("5:1-5"), True)
    assert (plan.mode, plan.log_end, plan.committed_start) == (SYNC_DIFF, 0, 1)
    plan = choose_from_log(z("5:2"), z("5:19"), zs("5:9-19"), zs("5:1-5"), True)
    assert plan.mode == SYNC_SNAP


def test_a_hole_in_memory_is_never_sent() -> None:
    # Upstream ZOOKEEPER-4925.
    assert choose_sync(z("5:1"), z("5:9"), zs("5:1-3 5:7-9"), False, True).mode == SYNC_SNAP
    assert choose_sync(z("5:3"), z("5:9"), zs("5:1-3 5:7-9"), False, True).mode == SYNC_SNAP
    assert choose_sync(z("5:5"), z("5:9"), zs("5:1-3 5:7-9"), False, True).mode == SYNC_SNAP
    assert choose_sync(z("5:7"), z("5:9"), zs("5:1-3 5:7-9"), False, True).mode == SYNC_DIFF
    # Between the log and memory, or in the log.
    assert choose_from_log(z("5:2"), z("5:9"), zs("5:5-9"), zs("5:1-2 5:4-5"), True).mode == SYNC_SNAP


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[int], int, list[int], int]:
    """A leader's history and lastProcessed, and a learner's history and last zxid, as Zab allows them.

    In one epoch all txns come from one primary, so histories differ by how much of it they have.
    """
    leader: list[int] = []
    cuts: list[tuple[list[int], int]] = [([], 0)]
    epoch = 0
    for length, unseen in draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=5)
    ):
        epoch += draw(st.integers(1, 2))
        # Who stood at the start of an established epoch has all that came before it.
        cuts.append((leader, make_zxid(epoch, 0)))
        proposed = [make_zxid(epoch, counter) for counter in range(1, length + unseen + 1)]
        for count in range(1, len(proposed) + 1):
            cuts.append((leader + proposed[:count], proposed[count - 1]))
        leader = leader + proposed[:length]
    last_processed = max(leader[-1] if leader else 0, draw(st.sampled_from([0, make_zxid(epoch, 0)])))
    peer_history, peer = cuts[draw(st.integers(0, len(cuts) - 1))]
    return leader, last_processed, peer_history, peer


def outcome(
    plan: SyncPlan, leader: list[int], peer: list[int], log: list[int], committed: list[int]
) -> list[int]:
    """The learner's history after carrying out the plan."""
    sent = log[plan.log_start : plan.log_end] + committed[plan.committed_start :]
    if plan.mode == SYNC_SNAP:
        return leader + sent
    if plan.mode == SYNC_TRUNC:
        assert plan.op_zxid in peer or plan.op_zxid == 0 or not peer or plan.op_zxid < peer[0]
        peer = [zxid for zxid in peer if zxid <= plan.op_zxid]
    return peer + sent


@settings(max_examples=400)
@given(histories(), st.integers(1, 8), st.integers(0, 30), st.booleans())
def test_every_plan_makes_the_learners_history_the_leaders(
    case: tuple[list[int], int, list[int], int], memory: int, log_size: int, log_enabled: bool
) -> None:
    leader, last_processed, peer_history, peer = case
    committed = leader[-memory:]
    plan = choose_sync(peer, last_processed, committed, False, log_enabled)
    log: list[int] = []
    if plan.mode == SYNC_READ_LOG:
        assert log_enabled
        log = leader[-log_size:] if log_size else []
        reaches_back = len(log) == len(leader) or bool(log and log[0] <= peer)
        plan = choose_from_log(peer, last_processed, committed, log, reaches_back)
    assert outcome(plan, leader, peer_history, log, committed) == leader
    assert plan.forward_from >= (leader[-1] if leader else 0) or plan.forward_from == peer
    if peer_history == leader and peer == last_processed:
        assert plan.mode == SYNC_DIFF


# The leader's count of who is synchronised.


def test_new_leader_acks() -> None:
    acks = NewLeaderAcks([QuorumMaj([1, 2, 3], 0)], z("5:0"), 1000, 0)
    assert not acks.ack(2, z("4:0"))
    # Upstream ZOOKEEPER-4685: an ack of a proposal where NEWLEADER's is due is passed over.
    assert not acks.ack(2, z("5:1"))
    assert acks.ack(2, z("5:0"))
    assert not acks.formed
    assert acks.ack(9, z("5:0"))
    assert not acks.formed
    assert acks.tick(999) == ""
    assert "acked: [2]" in acks.tick(1000)
    assert acks.next_deadline_ms() == 1000
    acks.ack(1, z("5:0"))
    assert acks.formed
    assert acks.tick(10**9) == ""
    assert acks.next_deadline_ms() == -1
    assert acks.acks().acked(0) == [1, 2]


def test_new_leader_acks_of_two_configurations() -> None:
    acks = NewLeaderAcks([QuorumMaj([1, 2, 3], 0), QuorumMaj([4], 1)], z("5:0"), 1000, 0)
    acks.ack(1, z("5:0"))
    acks.ack(2, z("5:0"))
    assert not acks.formed
    acks.ack(4, z("5:0"))
    assert acks.formed


# The learner's side.


def packet(kind: int, zxid: str, data: bytes | None = None) -> QuorumPacket:
    return QuorumPacket(kind, z(zxid), data, None)


def proposal(zxid: str) -> QuorumPacket:
    return packet(codes.PACKET_PROPOSAL, zxid, b"txn " + zxid.encode())


def commit(zxid: str) -> QuorumPacket:
    return packet(codes.PACKET_COMMIT, zxid)


def inform(zxid: str) -> QuorumPacket:
    return packet(codes.PACKET_INFORM, zxid, b"txn " + zxid.encode())


def new_leader(epoch: int = 5, config: bytes | None = b"version=0") -> QuorumPacket:
    return packet(codes.PACKET_NEWLEADER, f"{epoch}:0", config)


UPTODATE = QuorumPacket(codes.PACKET_UPTODATE, -1, None, None)


def brief(commands: list[SyncCommand]) -> list[str]:
    out = []
    for c in commands:
        name = SYNC_COMMAND_NAMES[c.kind]
        if c.txns:
            out.append(name + " " + " ".join(f"{t.zxid >> 32}:{t.zxid & 0xFFFFFFFF}" for t in c.txns))
        elif c.kind in (SAVE_CONFIG, DONE):
            out.append(name)
        elif c.kind == SAVE_CURRENT_EPOCH:
            out.append(f"{name} {c.zxid}")
        elif c.kind == REFUSE:
            out.append(f"{name}: {c.why}")
        else:
            out.append(f"{name} {c.zxid >> 32}:{c.zxid & 0xFFFFFFFF}")
    return out


def learner(last: str = "4:7", observer: bool = False) -> LearnerSync:
    return LearnerSync(z(last), z("5:0"), observer)


def feed(sync: LearnerSync, *sent: QuorumPacket) -> list[str]:
    return [text for p in sent for text in brief(sync.packet(p))]


def test_nothing_to_synchronise() -> None:
    sync = learner()
    assert feed(sync, packet(codes.PACKET_DIFF, "4:7")) == []
    assert feed(sync, new_leader()) == ["SAVE_CONFIG", "SAVE_CURRENT_EPOCH 5"]
    assert sync.config == b"version=0"
    assert brief(sync.durable()) == ["ACK 5:0"]
    assert feed(sync, UPTODATE) == ["ACK 5:0", "DONE"]
    assert sync.is_finished()
    assert feed(sync, proposal("5:1")) == []


def test_diff_is_persisted_before_the_epoch_and_acked_after_both() -> None:
    # Upstream ZOOKEEPER-3911, 3023, 4643, 4646, 4785.
    sync = learner()
    feed(sync, packet(codes.PACKET_DIFF, "4:9"))
    assert feed(sync, proposal("4:8"), commit("4:8"), proposal("4:9"), commit("4:9")) == []
    assert feed(sync, new_leader()) == ["PERSIST 4:8 4:9", "SAVE_CONFIG", "SAVE_CURRENT_EPOCH 5"]
    assert not sync.must_reload
    assert brief(sync.durable()) == ["APPLY 4:8 4:9", "ACK 5:0"]
    assert brief(sync.durable()) == []


def test_a_commit_after_new_leader_finds_its_proposal() -> None:
    # Upstream ZOOKEEPER-4394: DIFF, PROPOSAL a, COMMIT a, PROPOSAL b, NEWLEADER, COMMIT b, UPTODATE.
    sync = learner()
    sent = [packet(codes.PACKET_DIFF, "4:9"), proposal("4:8"), commit("4:8"), proposal("4:9"), new_leader()]
    assert feed(sync, *sent)[0] == "PERSIST 4:8"
    assert feed(sync, commit("4:9")) == []
    sync.durable()
    assert feed(sync, proposal("5:1"), UPTODATE) == ["ACK 5:0", "DONE"]
    assert [t.zxid for t in sync.pending] == zs("4:9 5:1")
    assert sync.commits == 1


def test_an_observer_drops_what_is_not_committed() -> None:
    sync = learner(observer=True)
    feed(sync, packet(codes.PACKET_DIFF, "4:8"), proposal("4:8"), commit("4:8"), inform("4:9"))
    assert feed(sync, new_leader(config=None)) == ["PERSIST 4:8 4:9", "SAVE_CURRENT_EPOCH 5"]
    sync.durable()
    # Upstream ZOOKEEPER-1551: what is informed before UPTODATE is kept.
    feed(sync, inform("5:1"), proposal("5:2"), UPTODATE)
    assert [t.zxid for t in sync.pending] == zs("5:1")
    assert sync.commits == 1
    assert sync.pending[0].raw == b"txn 5:1"


def test_truncation_comes_first_and_what_follows_waits_for_it() -> None:
    sync = learner("4:9")
    assert feed(sync, packet(codes.PACKET_TRUNC, "4:7")) == ["TRUNCATE 4:7"]
    assert sync.must_reload
    assert feed(sync, proposal("4:8"), commit("4:8"), new_leader()) == []
    assert brief(sync.truncated()) == ["PERSIST 4:8", "SAVE_CONFIG", "SAVE_CURRENT_EPOCH 5"]
    assert not sync.must_reload
    assert brief(sync.durable()) == ["APPLY 4:8", "ACK 5:0"]


def test_truncation_done_before_new_leader() -> None:
    sync = learner("4:9")
    feed(sync, packet(codes.PACKET_TRUNC, "4:7"))
    assert brief(sync.truncated()) == []
    assert feed(sync, new_leader(config=b"")) == ["SAVE_CURRENT_EPOCH 5"]


def test_one_that_cannot_cut_its_log_asks_for_a_snap_and_takes_nothing_else() -> None:
    sync = LearnerSync(z("4:9"), z("5:0"), False, True)
    told = sync.told_zxid()
    assert learner("4:9").told_zxid() == z("4:9")
    # Whatever a leader of this epoch has in memory, or reads from its log, it answers with its tree.
    for committed in ([], zs("4:6 4:7"), zs("4:6 4:7 5:1 5:2")):
        last = committed[-1] if committed else z("5:0")
        for log_sync_enabled in (False, True):
            assert choose_sync(told, last, committed, False, log_sync_enabled).mode == SYNC_SNAP
    assert feed(sync, packet(codes.PACKET_SNAP, "4:7")) == ["LOAD_SNAPSHOT 4:7"]
    for kind in (codes.PACKET_DIFF, codes.PACKET_TRUNC):
        sync = LearnerSync(z("4:9"), z("5:0"), False, True)
        (refused,) = feed(sync, packet(kind, "4:7"))
        assert refused.startswith("REFUSE: a SNAP was asked for, not ")


def test_a_failed_truncation_ends_the_sync() -> None:
    # Upstream ZOOKEEPER-3701.
    sync = learner("4:9")
    feed(sync, packet(codes.PACKET_TRUNC, "4:7"))
    assert brief(sync.failed("disk full")) == ["REFUSE: disk full"]
    assert brief(sync.failed("again")) == []
    assert brief(sync.truncated()) == []
    assert feed(sync, new_leader()) == []
    assert sync.must_reload


def test_a_snapshot_is_saved_with_what_was_committed_meanwhile() -> None:
    sync = learner("4:9")
    assert feed(sync, packet(codes.PACKET_SNAP, "4:7")) == ["LOAD_SNAPSHOT 4:7"]
    assert brief(sync.snapshot_loaded()) == []
    # Upstream ZOOKEEPER-3642: until it is saved, memory is not what the disk holds.
    assert sync.must_reload
    # Txns the snapshot already has may be queued behind it (upstream ZOOKEEPER-3104).
    assert feed(sync, proposal("4:6"), commit("4:6"), proposal("4:7"), commit("4:7")) == []
    assert feed(sync, proposal("4:8"), commit("4:8"), proposal("4:9")) == []
    assert feed(sync, new_leader()) == [
        "APPLY 4:8",
        "DISCARD_LOG 4:8",
        "SAVE_SNAPSHOT 4:8",
        "SAVE_CONFIG",
        "SAVE_CURRENT_EPOCH 5",
    ]
    assert brief(sync.durable()) == ["ACK 5:0"]
    assert not sync.must_reload
    assert feed(sync, commit("4:9"), UPTODATE) == ["ACK 5:0", "DONE"]
    assert (sync.pending[0].zxid, sync.commits) == (z("4:9"), 1)


def test_a_snapshot_beyond_the_old_log_discards_nothing() -> None:
    sync = learner("4:7")
    feed(sync, packet(codes.PACKET_SNAP, "5:3"))
    sync.snapshot_loaded()
    assert feed(sync, new_leader(config=None)) == ["SAVE_SNAPSHOT 5:3", "SAVE_CURRENT_EPOCH 5"]


def test_pings_are_answered_only_once_new_leader_is_acked() -> None:
    sync = learner()
    ping = packet(codes.PACKET_PING, "5:1")
    assert (
        feed(sync, packet(codes.PACKET_DIFF, "4:7"), ping, new_leader(), ping)[-1] == "SAVE_CURRENT_EPOCH 5"
    )
    sync.durable()
    assert sync.packet(ping)[0].kind == ANSWER_PING


def test_reconfigs_in_the_sync() -> None:
    sync = learner()
    feed(sync, packet(codes.PACKET_DIFF, "4:9"), proposal("4:8"))
    activate = packet(codes.PACKET_COMMIT_AND_ACTIVATE, "4:8", packets.encode_activate(3))
    commands = sync.packet(activate)
    assert [(c.kind, c.zxid, c.txns[0].zxid) for c in commands] == [(ACTIVATE, 3, z("4:8"))]
    assert sync.commits == 1
    both = packets.encode_inform_and_activate(2, b"reconfig")
    commands = sync.packet(packet(codes.PACKET_INFORM_AND_ACTIVATE, "4:9", both))
    assert [(c.kind, c.zxid, c.txns[0].raw) for c in commands] == [(ACTIVATE, 2, b"reconfig")]
    assert sync.commits == 2


REFUSALS = [
    ("first packet", [proposal("4:8")], "neither DIFF nor TRUNC nor SNAP"),
    ("gap", [packet(13, "4:9"), proposal("4:9")], "does not follow"),
    ("duplicate", [packet(13, "4:9"), proposal("4:7")], "does not follow"),
    ("gap within", [packet(13, "4:9"), proposal("4:8"), proposal("4:10")], "does not follow"),
    ("gap into the next epoch", [packet(13, "5:3"), proposal("5:2")], "does not follow"),
    ("a cut below all", [packet(14, "-1:0")], "no such zxid"),
    ("a cut beyond the end", [packet(14, "4:9")], "behind the last txn"),
    ("a snapshot below all", [packet(15, "-1:0")], "no such zxid"),
    ("future epoch", [packet(13, "4:9"), proposal("6:1")], "after the leader's"),
    ("commit without proposal", [packet(13, "4:9"), commit("4:8")], "no proposal is pending"),
    (
        "commit of another",
        [packet(13, "4:9"), proposal("4:8"), proposal("4:9"), commit("4:9")],
        "next proposal",
    ),
    (
        "commit twice",
        [packet(13, "4:9"), proposal("4:8"), commit("4:8"), commit("4:8")],
        "no proposal is pending",
    ),
    ("no txn", [packet(13, "4:9"), packet(codes.PACKET_PROPOSAL, "4:8")], "without a txn"),
    ("no leader", [packet(13, "4:9"), proposal("4:8"), packet(9, "4:8")], "without payload"),
    ("early UPTODATE", [packet(13, "4:7"), UPTODATE], "UPTODATE before"),
    ("UPTODATE before the ack", [packet(13, "4:7"), new_leader(), UPTODATE], "UPTODATE before"),
    ("two NEWLEADERs", [packet(13, "4:7"), new_leader(), new_leader()], "a second NEWLEADER"),
    ("other epoch", [packet(13, "4:7"), new_leader(6)], "was accepted"),
    ("unexpected", [packet(13, "4:7"), packet(codes.PACKET_SYNC, "0:0")], "unexpected packet"),
]


@pytest.mark.parametrize(("name", "sent", "why"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_what_makes_a_learner_leave(name: str, sent: list[QuorumPacket], why: str) -> None:
    sync = learner()
    last = feed(sync, *sent)[-1]
    assert last.startswith("REFUSE")
    assert why in last
    assert sync.is_finished()


# A crash at every step.


class Disk:
    """What of the learner survives: log, snapshot and currentEpoch, each changed by one step at a time."""

    def __init__(self, log: list[int], epoch: int) -> None:
        self.log = list(log)
        self.snapshot: list[int] = []
        self.epoch = epoch

    def recovered(self) -> list[int]:
        """The history a restart would load."""
        last = self.snapshot[-1] if self.snapshot else -1
        return self.snapshot + [zxid for zxid in self.log if zxid > last]


class Learner:
    """A learner's server around LearnerSync: a disk that does one thing at a time, and a tree."""

    def __init__(
        self, log: list[int], last_zxid: int, new_epoch: int, leader: list[int], observer: bool
    ) -> None:
        self.disk = Disk(log, new_epoch - 1)
        self.tree = list(log)
        self.leader = leader
        self.sync = LearnerSync(last_zxid, make_zxid(new_epoch, 0), observer)
        self.queue: list[SyncCommand] = []
        self.acks: list[int] = []
        self.done = False
        self.refused = ""
        self.loading = -1
        self.promised: list[int] = []

    def take(self, commands: list[SyncCommand]) -> None:
        for command in commands:
            if command.kind == ACK:
                if not self.acks:
                    self.promised = list(self.disk.recovered())
                self.acks.append(command.zxid)
            elif command.kind == APPLY:
                self.tree += [t.zxid for t in command.txns]
            elif command.kind == LOAD_SNAPSHOT:
                self.loading = command.zxid
            elif command.kind == DONE:
                self.done = True
            elif command.kind == REFUSE:
                self.refused = command.why
            else:
                # A snapshot is of the tree as it is when the command is given.
                command.raw = repr(self.tree).encode() if command.kind == SAVE_SNAPSHOT else command.raw
                self.queue.append(command)

    def load_snapshot(self) -> None:
        self.tree = [zxid for zxid in self.leader if zxid <= self.loading]
        self.loading = -1
        self.take(self.sync.snapshot_loaded())

    def disk_turn(self) -> None:
        command = self.queue.pop(0)
        if command.kind == PERSIST:
            # An append may be torn: one txn of it after the other reaches the disk.
            self.disk.log.append(command.txns[0].zxid)
            if len(command.txns) > 1:
                rest = SyncCommand(PERSIST)
                rest.txns = command.txns[1:]
                self.queue.insert(0, rest)
                return
        elif command.kind in (TRUNCATE, DISCARD_LOG):
            self.disk.log = [zxid for zxid in self.disk.log if zxid <= command.zxid]
            if command.kind == TRUNCATE:
                self.tree = self.disk.recovered()
                self.take(self.sync.truncated())
        elif command.kind == SAVE_SNAPSHOT:
            self.disk.snapshot = [int(n) for n in command.raw.decode().strip("[]").split(", ") if n]
        elif command.kind == SAVE_CURRENT_EPOCH:
            self.disk.epoch = command.zxid
        if not self.queue:
            self.take(self.sync.durable())


def stream(
    plan: SyncPlan, committed: list[int], outstanding: list[int], observer: bool, epoch: int
) -> list[QuorumPacket]:
    """What a leader sends: the plan, then everything proposed since."""
    sent = [
        QuorumPacket(10 + {SYNC_DIFF: 3, SYNC_TRUNC: 4, SYNC_SNAP: 5}[plan.mode], plan.op_zxid, None, None)
    ]
    for zxid in committed[plan.committed_start :]:
        sent.append(QuorumPacket(codes.PACKET_PROPOSAL, zxid, b"t", None))
        sent.append(QuorumPacket(codes.PACKET_COMMIT, zxid, None, None))
    live = []
    for zxid in outstanding:
        if observer:
            live.append([QuorumPacket(codes.PACKET_INFORM, zxid, b"t", None)])
        else:
            live.append([QuorumPacket(codes.PACKET_PROPOSAL, zxid, b"t", None)])
            live.append([QuorumPacket(codes.PACKET_COMMIT, zxid, None, None)])
    middle = len(live) // 2
    sent += [p for group in live[:middle] for p in group]
    sent.append(QuorumPacket(codes.PACKET_NEWLEADER, make_zxid(epoch, 0), b"version=0", None))
    sent += [p for group in live[middle:] for p in group]
    return sent


def run_sync(
    case: tuple[list[int], int, list[int], int], outstanding: int, observer: bool, seed: int, crash_after: int
) -> tuple[Learner, list[int], bool]:
    """Packets and disk work in any order that keeps each of the two in order, up to ``crash_after`` turns."""
    leader, last_processed, peer_history, peer = case
    epoch = max(last_processed, peer) // 2**32 + 1
    plan = choose_sync(peer, last_processed, leader, False, False)
    assert plan.mode != SYNC_READ_LOG
    live = [make_zxid(epoch, counter) for counter in range(1, outstanding + 1)]
    sent = stream(plan, leader, live, observer, epoch)
    node = Learner(peer_history, peer, epoch, leader, observer)
    choose = random.Random(seed)
    turns = 0
    while turns < crash_after:
        turns += 1
        can_read = bool(sent) and node.loading < 0
        if not sent and node.acks and not node.done and not node.queue:
            sent = [UPTODATE]
            can_read = True
        if can_read and (not node.queue or choose.random() < 0.5):
            node.take(node.sync.packet(sent.pop(0)))
        elif node.queue:
            node.disk_turn()
        elif node.loading >= 0:
            node.load_snapshot()
        else:
            return node, live, True
    return node, live, False


@settings(max_examples=300, deadline=None)
@given(histories(), st.integers(0, 3), st.booleans(), st.integers(0, 2**32), st.integers(0, 40))
def test_a_crash_at_any_step_loses_nothing_that_was_acked(
    case: tuple[list[int], int, list[int], int], outstanding: int, observer: bool, seed: int, crash_after: int
) -> None:
    leader, _, peer_history, _ = case
    node, live, _ = run_sync(case, outstanding, observer, seed, crash_after)
    assert node.refused == ""
    kept = node.disk.recovered()
    full = leader + live
    if node.disk.epoch == node.sync.new_leader_zxid >> 32:
        # Upstream ZOOKEEPER-4643: whoever has the new epoch has the whole history of its leader.
        assert kept[: len(leader)] == leader
    if node.acks:
        assert node.disk.epoch == node.sync.new_leader_zxid >> 32
        assert kept[: len(node.promised)] == node.promised
    # At any moment the disk holds a beginning of the leader's history, or of the learner's old one.
    assert kept == full[: len(kept)] or kept == peer_history[: len(kept)]
    assert sorted(kept) == kept


@settings(max_examples=300, deadline=None)
@given(histories(), st.integers(0, 3), st.booleans(), st.integers(0, 2**32))
def test_a_sync_without_a_crash_ends_with_the_leaders_state(
    case: tuple[list[int], int, list[int], int], outstanding: int, observer: bool, seed: int
) -> None:
    leader, _, _, _ = case
    node, live, ended = run_sync(case, outstanding, observer, seed, 10**6)
    assert ended
    assert node.refused == ""
    assert node.done
    assert node.acks == [node.sync.new_leader_zxid] * 2
    pending = [t.zxid for t in node.sync.pending]
    assert node.tree + pending == leader + live
    assert node.disk.recovered() == node.tree
    assert node.sync.commits == len(pending)
    assert not node.sync.must_reload


def test_histories_reach_every_mode() -> None:
    """The property tests are about all of DIFF, TRUNC and SNAP."""
    seen: set[int] = set()

    @settings(max_examples=300, database=None, derandomize=True)
    @given(histories())
    def collect(case: tuple[list[int], int, list[int], int]) -> None:
        leader, last_processed, _, peer = case
        seen.add(choose_sync(peer, last_processed, leader, False, False).mode)

    collect()
    assert seen == {SYNC_DIFF, SYNC_TRUNC, SYNC_SNAP}


def test_repr() -> None:
    assert "DIFF 0x500000003" in repr(choose_sync(z("5:1"), z("5:3"), zs("5:1-3"), False, False))
    command = learner("4:9").packet(packet(codes.PACKET_TRUNC, "4:7"))[0]
    assert repr(command) == "TRUNCATE(0x400000007, [])"
