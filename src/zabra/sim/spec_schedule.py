"""Published traces of upstream's TLA+ specification as directed schedules, in the specification's own words.

    spec s0=3 s1=2 s2=1 [grain=fine]     which server each of the specification's is; then its actions:
    SetInitState s0 s1,s2                s0 leads the others; 1:1 is committed, 1:2 is logged at s0 alone
    NodeCrash s0 / NodeStart s0          with everything lost that was not on the disk
    PartitionStart s0 s2 / PartitionRecover s0 s2
    ElectionAndDiscovery s1 s2           s1 is elected by these, and their histories are compared
    LeaderSyncFollower s1 s2 / FollowerProcessSyncMessage s2 s1 DIFF / FollowerProcessPROPOSALInSync s2 s1 1:2
    FollowerProcessCOMMITInSync s2 s1 1:2 / FollowerProcessNEWLEADER s2 s1 / LeaderProcessACKLD s1 s2
    FollowerProcessNEWLEADERAfterCurrentEpochUpdated s2 s1      with grain=fine, a step of its own
    FollowerProcessUPTODATE s2 s1 / FollowerProcessPROPOSAL s2 s0 1:2 / LeaderProcessACK s0 s2 1:2
    Finish                               every link works, everybody starts, all come together

Packets of synchronisation and broadcast are let through one by one; nothing else happens.  A trace that shows
a bug cannot be followed to its end by code without it: where another server must lead than the trace says,
that is printed, and the rest of the trace is passed over.
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from zabra.client import calls
from zabra.proto import codes
from zabra.server import learner_handler, ready
from zabra.server.roles import leading
from zabra.sim.cluster import Cluster
from zabra.sim.gate import ACKLD, KINDS
from zabra.sim.scenario_faults import Command, ExpectationError, KeepOrLose, let, options_of

if TYPE_CHECKING:
    from zabra.sim.scenario import Player

_STOPS: Final = frozenset(
    KINDS[name] for name in ("DIFF", "TRUNC", "SNAP", "PROPOSAL", "COMMIT", "NEWLEADER", "UPTODATE", "ACK")
)
_ELECTION_LIMIT_MS: Final = 30_000
_HEAD_START_MS: Final = 4_500
_MODES: Final = (codes.PACKET_DIFF, codes.PACKET_TRUNC, codes.PACKET_SNAP)


class Schedule:
    """What a trace needs to remember."""

    def __init__(self) -> None:
        self.sids: dict[str, int] = {}
        self.is_fine = False
        self.leader = 0
        self.diverged = False

    def sid(self, name: str) -> int:
        """The server behind ``s0``."""
        return self.sids[name]

    def name(self, sid: int) -> str:
        """The specification's name for it."""
        return next(name for name, one in self.sids.items() if one == sid)


def zxid_of(text: str) -> int:
    """Of ``1:2``."""
    epoch, _, counter = text.partition(":")
    return int(epoch) << 32 | int(counter)


def _spec(player: "Player", cluster: Cluster, words: list[str]) -> None:
    _, given = options_of(words)
    player.schedule = Schedule()
    player.schedule.is_fine = given.pop("grain", "") == "fine"
    player.schedule.sids = {name: int(sid) for name, sid in given.items()}


def _set_init_state(player: "Player", cluster: Cluster, words: list[str]) -> None:
    schedule = player.schedule
    leader = schedule.leader = schedule.sid(words[0])
    # The specification's leader is the greatest; it comes last only so that all vote at once.
    player.start(cluster, [str(sid) for sid in sorted(schedule.sids.values())])
    player.settle(cluster, [])
    player.client(cluster, ["c", f"at={leader}", "timeout=40000"])
    player.settle(cluster, [])
    player.gate.stops = _STOPS
    # Nothing may be asked on the client's behalf any more.
    player.ask("c", calls.create("/x", b""))
    cluster.run_ms(20)
    _check_last(cluster, leader, 0x1_0000_0002)


def _check_last(cluster: Cluster, sid: int, zxid: int) -> None:
    process = cluster.machines[sid].process
    got = 0 if process is None else process.server.last_synced_zxid
    if got != zxid:
        raise ExpectationError(f"the log of {sid} ends at 0x{got:x}")


def _block_all(player: "Player", cluster: Cluster) -> None:
    cluster.network.heal()
    sids = list(cluster.machines)
    for one in sids:
        for other in sids:
            if one != other:
                cluster.network.block(one, other)


def _node_crash(player: "Player", cluster: Cluster, words: list[str]) -> None:
    sid = player.schedule.sid(words[0])
    machine = cluster.machines[sid]
    machine.kill()
    machine.disk.crash(KeepOrLose(False))
    machine.disk_stops = frozenset()
    up = [process.sid for process in cluster.processes()]
    if sid == player.schedule.leader or len(up) * 2 <= len(cluster.machines):
        # Nobody has a leader: who elects whom is a step of its own.
        _block_all(player, cluster)


def _node_start(player: "Player", cluster: Cluster, words: list[str]) -> None:
    sid = player.schedule.sid(words[0])
    for other in cluster.machines:
        if other != sid and not cluster.network.is_blocked(sid, other):
            cluster.network.block(sid, other)
            cluster.network.block(other, sid)
    player.start(cluster, [str(sid)])


def _partition_start(player: "Player", cluster: Cluster, words: list[str]) -> None:
    one, other = (player.schedule.sid(word) for word in words[:2])
    cluster.network.block(one, other)
    cluster.network.block(other, one)


def _partition_recover(player: "Player", cluster: Cluster, words: list[str]) -> None:
    one, other = (player.schedule.sid(word) for word in words[:2])
    cluster.network.unblock(one, other)
    cluster.network.unblock(other, one)


def _election(player: "Player", cluster: Cluster, words: list[str]) -> None:
    schedule = player.schedule
    due = schedule.sid(words[0])
    others = [schedule.sid(word) for word in words[1].split(",")]
    members = [due, *others]
    _block_all(player, cluster)
    # The others hear of each other a little later, so that they do not decide without it.
    for other in others:
        _connect(cluster, due, other)
    waited = 0
    leader = _elected(cluster, members)
    while leader == 0:
        if waited > _ELECTION_LIMIT_MS:
            raise ExpectationError("nobody is elected")
        if waited == _HEAD_START_MS:
            for one, other in itertools.combinations(others, 2):
                _connect(cluster, one, other)
        cluster.run_ms(1)
        waited += 1
        leader = _elected(cluster, members)
    schedule.leader = leader
    process = cluster.machines[leader].process
    assert process is not None
    epoch, zxid = process.server.tree.last_processed_zxid >> 32, process.server.tree.last_processed_zxid
    if leader != due:
        schedule.diverged = True
        player.say(
            f"here {schedule.name(leader)} leads, not {words[0]}: its history ends at "
            f"{epoch}:{zxid & 0xFFFFFFFF}; the rest of the trace cannot happen"
        )
    else:
        player.say(f"{words[0]} leads, its history ends at {epoch}:{zxid & 0xFFFFFFFF}")


def _connect(cluster: Cluster, one: int, other: int) -> None:
    cluster.network.unblock(one, other)
    cluster.network.unblock(other, one)


def _elected(cluster: Cluster, members: list[int]) -> int:
    """Who leads the others, all of which wait to be synchronised; 0 for nobody yet."""
    for sid in members:
        process = cluster.machines[sid].process
        leads = None if process is None else process.server.leading
        if leads is not None and leads.state == leading.SYNCHRONIZATION:
            ready_ones = [h for h in leads.handlers.values() if h.state == learner_handler.SYNCHRONIZATION]
            if len(ready_ones) == len(members) - 1:
                return sid
    return 0


def _leader_sync(player: "Player", cluster: Cluster, words: list[str]) -> None:
    leader, follower = (player.schedule.sid(word) for word in words[:2])
    cluster.run_ms(3)
    piece = player.gate.front(leader, follower)
    if piece is None or piece.kind not in _MODES:
        raise ExpectationError(f"{words[0]} does not synchronise {words[1]}")


def _sync_message(player: "Player", cluster: Cluster, words: list[str]) -> None:
    follower, leader = (player.schedule.sid(word) for word in words[:2])
    piece = player.gate.front(leader, follower)
    if piece is None or piece.kind != KINDS[words[2]]:
        raise ExpectationError(f"{words[0]} is not sent {words[2]}")
    let(player, cluster, [f"{leader}>{follower}", words[2]])


def _to_follower(kind: str) -> Command:
    def step(player: "Player", cluster: Cluster, words: list[str]) -> None:
        follower, leader = (player.schedule.sid(word) for word in words[:2])
        zxid = [hex(zxid_of(words[2]))] if len(words) > 2 else []
        let(player, cluster, [f"{leader}>{follower}", kind, *zxid])

    return step


def _new_leader(player: "Player", cluster: Cluster, words: list[str]) -> None:
    follower, leader = (player.schedule.sid(word) for word in words[:2])
    machine = cluster.machines[follower]
    if player.schedule.is_fine:
        machine.disk_stops = frozenset({ready.DISK_CURRENT_EPOCH})
    let(player, cluster, [f"{leader}>{follower}", "NEWLEADER"])
    cluster.run_ms(5)


def _epoch_updated(player: "Player", cluster: Cluster, words: list[str]) -> None:
    player.release_disk(cluster, [str(player.schedule.sid(words[0]))])
    cluster.run_ms(5)


def _acked(kind: int) -> Command:
    def step(player: "Player", cluster: Cluster, words: list[str]) -> None:
        leader, follower = (player.schedule.sid(word) for word in words[:2])
        cluster.run_ms(5)
        piece = player.gate.front(follower, leader)
        zxid = zxid_of(words[2]) if len(words) > 2 else -1
        if kind != ACKLD and (piece is None or piece.zxid != zxid):
            # Upstream's followers ack the txns of a sync one by one; ours ack NEWLEADER for all of them.
            player.say(f"{words[1]} sends no ack of {words[2]}: NEWLEADER's was for it too")
            return
        if not player.gate.let(follower, leader, kind, zxid):
            raise ExpectationError(f"{words[1]} has not acked")
        cluster.run_ms(5)

    return step


def _finish(player: "Player", cluster: Cluster, words: list[str]) -> None:
    player.gate.open_all()
    cluster.network.heal()
    for sid, machine in cluster.machines.items():
        machine.disk_stops = frozenset()
        if machine.process is None:
            player.start(cluster, [str(sid)])
        else:
            player.release_disk(cluster, [str(sid)])
    cluster.run_ms(8000)
    player.settle(cluster, [])


def _unless_diverged(command: Command) -> Command:
    def step(player: "Player", cluster: Cluster, words: list[str]) -> None:
        if not player.schedule.diverged:
            command(player, cluster, words)

    return step


_STEPS: Final[dict[str, Callable[["Player", Cluster, list[str]], None]]] = {
    "SetInitState": _set_init_state,
    "NodeCrash": _node_crash,
    "NodeStart": _node_start,
    "PartitionStart": _partition_start,
    "PartitionRecover": _partition_recover,
    "ElectionAndDiscovery": _election,
    "LeaderSyncFollower": _leader_sync,
    "FollowerProcessSyncMessage": _sync_message,
    "FollowerProcessPROPOSALInSync": _to_follower("PROPOSAL"),
    "FollowerProcessCOMMITInSync": _to_follower("COMMIT"),
    "FollowerProcessNEWLEADER": _new_leader,
    "FollowerProcessNEWLEADERAfterCurrentEpochUpdated": _epoch_updated,
    "FollowerProcessUPTODATE": _to_follower("UPTODATE"),
    "FollowerProcessPROPOSAL": _to_follower("PROPOSAL"),
    "FollowerProcessCOMMIT": _to_follower("COMMIT"),
    "LeaderProcessACKLD": _acked(ACKLD),
    "LeaderProcessACK": _acked(codes.PACKET_ACK),
}

COMMANDS: Final[dict[str, Command]] = {
    "spec": _spec,
    "Finish": _finish,
    **{name: _unless_diverged(step) for name, step in _STEPS.items()},
}
