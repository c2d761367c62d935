"""SpecMonitor: turns what is seen of servers into steps of upstream's specification, and has them checked.

What a server logs, has on its disk, delivers, and which phase it is in, all seen between its turns, are
what the specification's variables stand for.  With ``keep`` the steps are kept (a scenario's, or a test's);
a campaign only checks them.
"""

from typing import Final

from zabra.proto.txn import TxnEntry
from zabra.server.ready import (
    DISK_APPEND,
    DISK_CURRENT_EPOCH,
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_END,
    DISK_TRUNCATE,
    DiskCommand,
)
from zabra.server.recovery import Recovered
from zabra.server.roles import leading, learning
from zabra.sim import spec
from zabra.sim.checkers import is_quorum
from zabra.sim.machine import Process
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.spec import Content, SpecChecker, Step, content_up_to
from zabra.zab.quorum import QuorumVerifier

# What a server says when a peer breaks the protocol: in a cluster of its like that must not happen.
COMPLAINTS: Final = (
    ("does not follow", "proposalConsistent"),
    ("no proposal is pending", "commitConsistent"),
    ("is the next proposal", "commitConsistent"),
    ("the next proposal is", "commitConsistent"),
    ("UPTODATE before NEWLEADER", "stateConsistent"),
    ("expected LEADERINFO", "stateConsistent"),
    ("neither DIFF nor TRUNC nor SNAP", "stateConsistent"),
    ("a second NEWLEADER", "messageLegal"),
    ("a second UPTODATE", "messageLegal"),
    ("unexpected packet while synchronising", "messageLegal"),
)

_LAST_ZXID: Final = (1 << 63) - 1


class Part:
    """What a process does in the ensemble, as far as it was noticed."""

    __slots__ = ("epoch", "leader", "leader_life", "phase", "role", "verifiers")

    def __init__(self) -> None:
        self.role = ""
        self.phase = 0
        self.epoch = 0
        self.leader = -1
        # Of the leader's processes the one that it has joined.
        self.leader_life = -1
        self.verifiers: list[QuorumVerifier] = []


class SpecMonitor(ClusterMonitor):
    """A ClusterMonitor that looks at the specification's invariants too."""

    def __init__(self, keep: bool = False) -> None:
        super().__init__()
        self.keep = keep
        self.steps: list[Step] = []
        self.spec = SpecChecker(self.judgement)
        self._parts: dict[int, Part] = {}
        # What the last process of each server had when it ended, and which that was.
        self._left: dict[int, tuple[int, Content]] = {}

    def step(self, step: Step) -> None:
        """The next one."""
        if self.keep:
            self.steps.append(step)
        # The judgement may have been exchanged since.
        self.spec.judgement = self.judgement
        self.spec.take(step)

    # What is seen.

    def _part(self, process: Process, delivers: bool = False) -> Part:
        """Notices a change of role or phase; ``delivers``: the tree is ahead of what was taken down."""
        part = self._parts.get(process.sid)
        if part is None:
            part = self._parts[process.sid] = Part()
        server = process.server
        leads = server.leading
        if leads is not None:
            if part.role != "leader" or part.phase != leads.state:
                self._leader_changes(process, part, leads)
            return part
        if part.role == "leader":
            self.step(Step(spec.LEADER_STOPS, process.sid))
        learns = server.learning
        if learns is None:
            part.role = ""
            part.phase = 0
            return part
        name = server.role.name()
        if part.role != name or part.phase != learns.state:
            was_serving = part.role == name and part.phase == learning.BROADCAST
            part.leader_life = self._life_of(learns.leader_sid)
            part.role, part.phase, part.leader = name, learns.state, learns.leader_sid
            if learns.sync is not None:
                part.epoch = int(learns.sync.new_leader_zxid) >> 32
            if learns.state == learning.BROADCAST and not was_serving:
                zxid = -1 if delivers else server.tree.last_processed_zxid
                self.step(Step(spec.FOLLOWER_UPTODATE, process.sid, part.leader, zxid))
        return part

    def _life_of(self, sid: int) -> int:
        """Which of a server's processes it is that runs, or has just ended."""
        machine = self.machines.get(sid)
        process = None if machine is None else machine.process
        return process.life if process is not None else self._left.get(sid, (-1, None))[0]

    def _sent(self, part: Part, zxid: int) -> Content:
        """What the SNAP holds that has come from its leader: who may have lost everything meanwhile."""
        life, content = self._left.get(part.leader, (-1, None))
        if content is not None and life == part.leader_life:
            return content_up_to(content, zxid)
        return self.spec.content_of(part.leader, zxid)

    def _leader_changes(self, process: Process, part: Part, leads: leading.Leading) -> None:
        before = part.phase if part.role == "leader" else 0
        part.role, part.phase, part.leader = "leader", leads.state, -1
        part.epoch = leads.epoch_zxid >> 32
        if leads.state == leading.LOST:
            self.step(Step(spec.LEADER_STOPS, process.sid))
            return
        # Both may have come in one turn.
        if before < leading.SYNCHRONIZATION <= leads.state:
            step = Step(spec.ELECTION_AND_DISCOVERY, process.sid, -1, 0)
            step.epoch = part.epoch
            self.step(step)
        if leads.state == leading.BROADCAST:
            step = Step(spec.LEADER_ACKLD, process.sid)
            step.epoch = part.epoch
            self.step(step)

    def _is_outside(self, process: Process) -> bool:
        """A standalone server has nobody to agree with."""
        return process.machine.plan.ensemble is None

    # machine.Monitor

    def started(self, process: Process, recovered: Recovered) -> None:
        """NodeStart."""
        super().started(process, recovered)
        if self._is_outside(process):
            return
        self._parts.pop(process.sid, None)
        self.step(Step(spec.NODE_START, process.sid, -1, max(0, recovered.last_zxid), recovered.recent))

    def ended(self, process: Process) -> None:
        """NodeCrash."""
        super().ended(process)
        if not self._is_outside(process):
            self._parts.pop(process.sid, None)
            self._left[process.sid] = (process.life, self.spec.content_of(process.sid, _LAST_ZXID))
            self.step(Step(spec.NODE_CRASH, process.sid))

    def submitted(self, process: Process, commands: list[DiskCommand]) -> None:
        """What is handed to the log belongs to the history from then on."""
        super().submitted(process, commands)
        # An observer that loses its leader in the same turn has no role any more.
        if self._is_outside(process) or process.server.settings.is_observer:
            return
        part = self._parts.get(process.sid)
        if part is None or not self._was_busy(process, part):
            part = self._part(process, True)
        for command in commands:
            if command.kind == DISK_APPEND:
                self._appended(process, part, command)
            elif command.kind == DISK_SNAPSHOT_BEGIN and part.role == "follower":
                process.notes["content"] = self._sent(part, command.zxid)
            elif command.kind == DISK_CURRENT_EPOCH and part.role == "follower":
                step = Step(spec.FOLLOWER_NEWLEADER, process.sid, part.leader)
                step.epoch = command.value
                self.step(step)

    def _was_busy(self, process: Process, part: Part) -> bool:
        """It logs as a leader, or for one whom it followed, whatever has become of that in the same turn."""
        if part.role == "leader":
            return part.phase == leading.BROADCAST
        return part.role == "follower" and process.server.learning is None

    def _appended(self, process: Process, part: Part, command: DiskCommand) -> None:
        if part.role == "leader":
            action = spec.LEADER_REQUEST
        elif part.phase == learning.BROADCAST:
            action = spec.FOLLOWER_PROPOSAL
        else:
            action = spec.FOLLOWER_PROPOSAL_IN_SYNC
        if part.role != "observer":
            step = Step(action, process.sid, part.leader, 0, command.entries)
            step.under = part.epoch
            self.step(step)

    def logged(self, process: Process, commands: list[DiskCommand]) -> None:
        """What is on the disk."""
        super().logged(process, commands)
        part = self._parts.get(process.sid)
        if part is None or process.server.settings.is_observer or self._is_outside(process):
            return
        zxid = 0
        for command in commands:
            kind = command.kind
            if command.refused:
                continue
            if kind == DISK_APPEND:
                zxid = command.entries[-1].header.zxid
            elif kind == DISK_SNAPSHOT_BEGIN:
                process.notes["snapshot"] = command.zxid
            elif kind in (DISK_TRUNCATE, DISK_SNAPSHOT_END):
                at = process.notes.get("snapshot", 0) if kind == DISK_SNAPSHOT_END else command.zxid
                step = Step(spec.FOLLOWER_SYNC, process.sid, part.leader, at)
                step.word = spec.SNAP if kind == DISK_SNAPSHOT_END else spec.TRUNC
                if kind == DISK_SNAPSHOT_END:
                    step.content = process.notes.pop("content", None)
                step.quorum = self._deciding
                self.step(step)
                zxid = max(zxid, at)
            elif kind == DISK_CURRENT_EPOCH:
                if zxid:
                    self.step(Step(spec.LOG_DURABLE, process.sid, -1, zxid))
                if part.role == "follower":
                    step = Step(spec.FOLLOWER_EPOCH_UPDATED, process.sid, part.leader)
                    step.epoch = command.value
                    self.step(step)
        if zxid:
            self.step(Step(spec.LOG_DURABLE, process.sid, -1, zxid))

    def informed(self, process: Process, entries: list[TxnEntry]) -> None:
        """Deliveries."""
        super().informed(process, entries)
        if self._is_outside(process):
            return
        part = self._part(process, True)
        if part.role == "leader":
            step = Step(spec.LEADER_ACK, process.sid, -1, 0, entries)
            step.quorum = self._quorum(process, part)
            self.step(step)
        elif part.role:
            action = spec.OBSERVER_INFORM if part.role == "observer" else spec.FOLLOWER_COMMIT
            self.step(Step(action, process.sid, part.leader, 0, entries))

    def _deciding(self, sids: list[int]) -> bool:
        """Who is a quorum, whoever leads."""
        view = self.view or self.ensemble
        return view is not None and is_quorum(view, sids)

    def _quorum(self, process: Process, part: Part) -> "_Quorum":
        """Who is a quorum to this leader: now, or when it was last asked (a view may just have changed)."""
        peer = process.server.peer
        assert peer is not None
        now = peer.verifiers()
        before = part.verifiers
        part.verifiers = list(now)
        return _Quorum([*now, *before])

    def turned(self, process: Process) -> None:
        """A phase may have ended."""
        super().turned(process)
        if not self._is_outside(process):
            self._part(process)

    def overheard(self, text: str) -> None:
        """A line of a server's log."""
        for words, invariant in COMPLAINTS:
            if words in text:
                sid = text.partition(":")[0]
                step = Step(spec.NODE_CRASH, int(sid) if sid.isdecimal() else -1)
                step.action = text
                step.word = invariant
                self.step(step)


class _Quorum:
    """Whether servers are a quorum of one of several views."""

    def __init__(self, verifiers: list[QuorumVerifier]) -> None:
        self.verifiers = verifiers

    def __call__(self, sids: list[int]) -> bool:
        return any(verifier.contains_quorum(sids) for verifier in self.verifiers)
