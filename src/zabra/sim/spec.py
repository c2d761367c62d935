"""Traces in the words of upstream's TLA+ specification, and its invariants checked over them.

A ``Step`` is one action of ``zookeeper-specifications`` (system-spec ZkV3_7_0, and the refined actions of
"Multi-Grained Specifications", EuroSys'25), taken by one server.  ``SpecChecker`` keeps the part of the
specification's state that the invariants speak of (histories, what is committed, who leads in which epoch,
what was broadcast) and looks at each invariant in the step that could break it, so a run costs what its
length is, not its square.  Names of invariants are the specification's; two are ours, see ``INVARIANTS``.

Observers are not in the specification: they deliver, and what holds of deliveries is checked of theirs.
"""

from collections.abc import Callable, Sequence
from typing import Final

from zabra.proto.txn import TxnEntry
from zabra.sim.checkers import Judgement

# Actions of the environment, of all servers, of leaders, of followers.
NODE_START: Final = "NodeStart"
NODE_CRASH: Final = "NodeCrash"
ELECTION_AND_DISCOVERY: Final = "ElectionAndDiscovery"
LEADER_ACKLD: Final = "LeaderProcessACKLD"
LEADER_REQUEST: Final = "LeaderProcessRequest"
LEADER_ACK: Final = "LeaderProcessACK"
LEADER_STOPS: Final = "LeaderTimeout"
FOLLOWER_SYNC: Final = "FollowerProcessSyncMessage"
FOLLOWER_PROPOSAL_IN_SYNC: Final = "FollowerProcessPROPOSALInSync"
FOLLOWER_NEWLEADER: Final = "FollowerProcessNEWLEADER"
FOLLOWER_EPOCH_UPDATED: Final = "FollowerProcessNEWLEADERAfterCurrentEpochUpdated"
FOLLOWER_UPTODATE: Final = "FollowerProcessUPTODATE"
FOLLOWER_PROPOSAL: Final = "FollowerProcessPROPOSAL"
FOLLOWER_COMMIT: Final = "FollowerProcessCOMMIT"
# Not in the specification: a log has become durable; an observer delivers.
LOG_DURABLE: Final = "SyncThreadFlushed"
OBSERVER_INFORM: Final = "ObserverProcessINFORM"

TRUNC: Final = "TRUNC"
SNAP: Final = "SNAP"

INVARIANTS: Final[dict[str, str]] = {
    "Leadership1": "at one time, one server is in SYNCHRONIZATION or BROADCAST as leader of an epoch",
    "Leadership2": "an epoch has one established leader, ever",
    "PrefixConsistency": "at one place in their committed histories, any two servers have the same txn",
    "Integrity": "what is delivered was broadcast by a primary",
    "Agreement": "of two servers, one has delivered all that the other has",
    "TotalOrder": "who delivers b has delivered a before it, if anybody has",
    "LocalPrimaryOrder": "who delivers b has delivered what its primary broadcast before it",
    "GlobalPrimaryOrder": "txns of an earlier epoch are delivered before those of a later one",
    "PrimaryIntegrity": "a primary that has broadcast had delivered whatever is delivered of earlier epochs",
    "CommittedLogMonotonicity": "what the newest leader knows to be committed only grows",
    "ProcessConsistency": "a follower that has received NEWLEADER holds a prefix of its leader's history",
    "LeaderLogCompleteness": "a leader's history has everything that was committed before its epoch",
    "CommittedLogDurability": "nothing committed is cut off a history or replaced in it, unless a quorum "
    "of others has it",
    "stateConsistent": "a packet comes in the phase that it belongs to",
    "proposalConsistent": "a proposal follows the one before it",
    "commitConsistent": "a commit is the next one, and of a txn that a quorum has on its disks",
    "ackConsistent": "NEWLEADER is acked with the leader's whole initial history, and its epoch, on the disk",
    "messageLegal": "no packet comes that nobody may send",
}


# Base and history, as in ``Node``.
Content = tuple[int, dict[int, bytes]]


def content_up_to(content: Content, zxid: int) -> Content:
    """A copy without what is behind ``zxid``."""
    base, history = content
    return base, {one: raw for one, raw in history.items() if one <= zxid}


class Step:
    """One action of server ``sid``; ``peer`` is the other one concerned, -1 for nobody known.

    ``entries`` are the txns logged, proposed or delivered; ``word`` is TRUNC or SNAP, or an invariant that
    the server itself saw broken; ``quorum`` tells whether so many servers are a quorum to the leader;
    ``under`` is the epoch of the leader whose proposals these are, 0 if it is not known; ``content`` what a
    SNAP held when it came, None: what the leader has now.
    """

    __slots__ = ("action", "content", "entries", "epoch", "peer", "quorum", "sid", "under", "word", "zxid")

    def __init__(
        self, action: str, sid: int, peer: int = -1, zxid: int = 0, entries: Sequence[TxnEntry] = ()
    ) -> None:
        self.action = action
        self.sid = sid
        self.peer = peer
        self.zxid = zxid
        self.entries = entries
        self.epoch = 0
        self.under = 0
        self.word = ""
        self.quorum: Callable[[list[int]], bool] | None = None
        self.content: Content | None = None

    def __str__(self) -> str:
        parts = [self.action, f"s{self.sid}"]
        if self.peer >= 0:
            parts.append(f"s{self.peer}")
        if self.epoch:
            parts.append(f"epoch {self.epoch}")
        if self.word:
            parts.append(self.word)
        if self.entries:
            parts += [shown(entry.header.zxid) for entry in self.entries]
        elif self.zxid:
            parts.append(shown(self.zxid))
        return " ".join(parts)


def shown(zxid: int) -> str:
    """As the specification writes zxids: epoch and counter."""
    return f"{zxid >> 32}:{zxid & 0xFFFFFFFF}"


class Node:
    """A server of the specification.

    ``history``: zxid to bytes, in order; everything up to ``base`` is known to be the leader's, and not kept
    here.  ``delivered``: the last txn that took effect here, -1 unless it is known.
    """

    __slots__ = ("base", "delivered", "durable", "established", "history", "leading", "online", "start")

    def __init__(self) -> None:
        self.base = 0
        self.history: dict[int, bytes] = {}
        self.delivered = -1
        self.durable = 0
        # The epoch it leads in, 0 for none; whether that is established.
        self.leading = 0
        self.established = False
        self.online = False
        # Where its log stood when it began to lead.
        self.start = 0

    def last(self) -> int:
        """The last zxid of its history."""
        return next(reversed(self.history)) if self.history else self.base

    def cut(self, zxid: int) -> list[tuple[int, bytes]]:
        """Drops what is behind ``zxid``; returns it."""
        dropped: list[tuple[int, bytes]] = []
        while self.history and next(reversed(self.history)) > zxid:
            dropped.append(self.history.popitem())
        return dropped


class SpecChecker:
    """Takes steps, in order; ``judgement`` has what they break."""

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement
        self.nodes: dict[int, Node] = {}
        # Committed txns in order, and what each comes right after.
        self.committed: dict[int, bytes] = {}
        self.after: dict[int, int] = {}
        self.head = 0
        # Broadcast: zxid to the bytes (several, where a zxid was given out again), and the one before it.
        self.proposed: dict[int, list[bytes]] = {}
        self.proposed_after: dict[int, int] = {}
        self.last_proposed: dict[tuple[int, int], int] = {}
        self.broadcast_epoch = 0
        self.leaders: dict[int, int] = {}
        # What there was before the trace began: nobody was seen to broadcast it.
        self.origin = 0
        self._actions: dict[str, Callable[[Node, Step], None]] = {
            NODE_START: self._node_start,
            NODE_CRASH: self._node_crash,
            ELECTION_AND_DISCOVERY: self._election_and_discovery,
            LEADER_ACKLD: self._established,
            LEADER_REQUEST: self._request,
            LEADER_ACK: self._leader_commits,
            LEADER_STOPS: self._leader_stops,
            FOLLOWER_SYNC: self._sync_message,
            FOLLOWER_PROPOSAL_IN_SYNC: self._proposal,
            FOLLOWER_PROPOSAL: self._proposal,
            FOLLOWER_NEWLEADER: self._nothing,
            FOLLOWER_EPOCH_UPDATED: self._epoch_updated,
            FOLLOWER_UPTODATE: self._up_to_date,
            FOLLOWER_COMMIT: self._deliver,
            OBSERVER_INFORM: self._deliver,
            LOG_DURABLE: self._log_durable,
        }

    def node(self, sid: int) -> Node:
        """A server."""
        found = self.nodes.get(sid)
        if found is None:
            found = self.nodes[sid] = Node()
        return found

    def take(self, step: Step) -> None:
        """The next step."""
        if step.word in INVARIANTS:
            self._complain(step.word, step, "the server itself says so")
            return
        self._actions[step.action](self.node(step.sid), step)

    def jump(self, zxid: int) -> None:
        """Everybody is made to stand at ``zxid``, as no protocol could: what came before is forgotten."""
        self.origin = zxid
        self.last_proposed = {}
        for node in self.nodes.values():
            node.history = {}
            node.base = zxid

    def _complain(self, invariant: str, step: Step, why: str) -> None:
        self.judgement.complain(invariant, f"{why}: {step}")

    def _nothing(self, node: Node, step: Step) -> None:
        """An action that no invariant speaks of."""

    # The environment.

    def _node_start(self, node: Node, step: Step) -> None:
        node.online = True
        node.delivered = -1
        node.leading = 0
        if not self.nodes or (step.zxid > 0 and not self.committed and not self.proposed):
            self.origin = max(self.origin, step.zxid)
        entries = step.entries
        if entries:
            node.cut(entries[0].header.zxid - 1)
            for entry in entries:
                node.history[entry.header.zxid] = entry.raw
        node.cut(step.zxid)
        if node.last() != step.zxid:
            # Its history is that of a snapshot which was not seen to be written.
            node.history = {}
            node.base = step.zxid
        node.durable = max(node.durable, step.zxid)

    def _node_crash(self, node: Node, step: Step) -> None:
        node.online = False
        node.leading = 0
        node.established = False

    def _log_durable(self, node: Node, step: Step) -> None:
        node.durable = max(node.durable, step.zxid)

    # Leaders.

    def _election_and_discovery(self, node: Node, step: Step) -> None:
        epoch = step.epoch
        for sid, other in self.nodes.items():
            if other.online and other.leading == epoch and sid != step.sid:
                self._complain("Leadership1", step, f"{sid} leads in epoch {epoch}")
        node.leading = epoch
        node.established = False
        node.start = node.last()
        self._check_complete(node, step)

    def _check_complete(self, node: Node, step: Step) -> None:
        history = node.history
        for zxid in reversed(self.committed):
            if zxid <= node.base:
                break
            if zxid >> 32 > step.epoch:
                # A quorum had acked it long ago, its own disk was slow, and a later leader came first.
                continue
            if history.get(zxid) != self.committed[zxid]:
                self._complain("LeaderLogCompleteness", step, f"{shown(zxid)} is not in its history")
                break

    def _established(self, node: Node, step: Step) -> None:
        epoch = step.epoch
        leader = self.leaders.setdefault(epoch, step.sid)
        if leader != step.sid:
            self._complain("Leadership2", step, f"epoch {epoch} was led by {leader}")
        node.leading = epoch
        node.established = True
        self._check_complete(node, step)
        if node.last() < self.head and epoch >= max(self.leaders):
            self._complain("CommittedLogMonotonicity", step, f"{shown(self.head)} is committed")
        # Its whole history is committed with that.
        for zxid, raw in node.history.items():
            if zxid > self.head:
                self._commit(zxid, raw)
        node.delivered = node.last()

    def _commit(self, zxid: int, raw: bytes) -> None:
        self.committed[zxid] = raw
        self.after[zxid] = self.head
        self.head = zxid

    def _leader_stops(self, node: Node, step: Step) -> None:
        node.leading = 0
        node.established = False

    def _request(self, node: Node, step: Step) -> None:
        for entry in step.entries:
            zxid = entry.header.zxid
            epoch = zxid >> 32
            if epoch != node.leading:
                self._complain("proposalConsistent", step, f"it leads in epoch {node.leading}")
            key = (step.sid, epoch)
            before = self.last_proposed.get(key, 0)
            if before and zxid != before + 1:
                self._complain("proposalConsistent", step, f"{shown(before)} was broadcast before it")
            self.proposed_after[zxid] = before
            self.last_proposed[key] = zxid
            self.proposed.setdefault(zxid, []).append(entry.raw)
            self.broadcast_epoch = max(self.broadcast_epoch, epoch)
            node.history[zxid] = entry.raw

    def _leader_commits(self, node: Node, step: Step) -> None:
        quorum = step.quorum
        for entry in step.entries:
            zxid = entry.header.zxid
            if quorum is not None:
                holders = [sid for sid, other in self.nodes.items() if other.durable >= zxid]
                if not quorum(holders):
                    self._complain("commitConsistent", step, f"{shown(zxid)} is on the disks of {holders}")
            if zxid < self.head and zxid not in self.committed:
                self._complain("CommittedLogMonotonicity", step, f"{shown(self.head)} is committed")
        self._deliver(node, step)

    # Followers.

    def _sync_message(self, node: Node, step: Step) -> None:
        zxid = step.zxid
        dropped = node.cut(zxid)
        node.durable = min(node.durable, zxid)
        if step.word == SNAP:
            node.base, node.history = step.content or self.content_of(step.peer, zxid)
        quorum = step.quorum
        for one, raw in dropped:
            if self.committed.get(one) == raw and node.history.get(one) != raw:
                holders = [sid for sid, other in self.nodes.items() if other.durable >= one]
                # It may have been committed since the leader told it to cut, without its ack: then it is
                # proposed to it again, behind the cut.
                if one <= node.delivered or quorum is None or not quorum(holders):
                    self._complain("CommittedLogDurability", step, f"{shown(one)} is committed")
        node.delivered = -1

    def content_of(self, sid: int, zxid: int) -> Content:
        """What a SNAP of ``zxid`` from server ``sid`` holds now."""
        leader = self.nodes.get(sid)
        return (zxid, {}) if leader is None else content_up_to((leader.base, leader.history), zxid)

    def _proposal(self, node: Node, step: Step) -> None:
        leader = self.nodes.get(step.peer)
        if leader is not None and step.under and leader.leading != step.under:
            # It may have gone and lead a later epoch by the time its last proposals get through.
            leader = None
        for entry in step.entries:
            zxid = entry.header.zxid
            last = node.last()
            if zxid != last + 1 and not (zxid >> 32 > last >> 32 and zxid & 0xFFFFFFFF == 1):
                self._complain("proposalConsistent", step, f"its history ends at {shown(last)}")
            node.history[zxid] = entry.raw
            if leader is not None and leader.online and leader.leading and zxid > leader.base:
                if leader.history.get(zxid) != entry.raw:
                    self._complain("ProcessConsistency", step, f"the leader has another {shown(zxid)}")

    def _epoch_updated(self, node: Node, step: Step) -> None:
        leader = self.nodes.get(step.peer)
        if leader is None or not leader.online or leader.leading != step.epoch:
            return
        last = node.last()
        # Where an epoch begins there is no txn: nothing is missing up to there.
        start = leader.start if leader.start & 0xFFFFFFFF else 0
        if last < start:
            self._complain("ackConsistent", step, f"the leader's history ended at {shown(leader.start)}")
        if node.durable < start:
            self._complain("ackConsistent", step, f"on its disk is {shown(node.durable)}")
        floor = max(node.base, leader.base)
        mine = node.history
        theirs = leader.history
        for zxid in reversed(theirs):
            if floor < zxid <= last and mine.get(zxid) != theirs[zxid]:
                self._complain("ProcessConsistency", step, f"the leader has another {shown(zxid)}")
                return
        for zxid in reversed(mine):
            if zxid > floor and zxid not in theirs:
                self._complain("ProcessConsistency", step, f"the leader has no {shown(zxid)}")
                return

    def _up_to_date(self, node: Node, step: Step) -> None:
        node.delivered = step.zxid

    # Deliveries.

    def _deliver(self, node: Node, step: Step) -> None:
        committed = self.committed
        for entry in step.entries:
            zxid = entry.header.zxid
            raw = entry.raw
            known = committed.get(zxid)
            if known is None:
                self._deliver_first(zxid, raw, step)
            elif known != raw:
                self._complain("PrefixConsistency", step, f"another {shown(zxid)} is committed")
            last = node.delivered
            if last >= 0:
                self._check_order(last, zxid, step)
            node.delivered = zxid
        self.judgement.count("spec deliveries", len(step.entries))

    def _deliver_first(self, zxid: int, raw: bytes, step: Step) -> None:
        """Nobody has delivered it before."""
        if raw not in self.proposed.get(zxid, ()) and zxid > self.origin:
            self._complain("Integrity", step, f"nobody has broadcast {shown(zxid)}")
        if zxid < self.head:
            self._complain("Agreement", step, f"{shown(self.head)} was delivered without it")
            self.committed[zxid] = raw
            return
        if zxid >> 32 < self.broadcast_epoch:
            self._complain("PrimaryIntegrity", step, f"epoch {self.broadcast_epoch} has begun without it")
        self._commit(zxid, raw)

    def _check_order(self, last: int, zxid: int, step: Step) -> None:
        if zxid <= last:
            self._complain("GlobalPrimaryOrder", step, f"{shown(last)} was delivered before")
            return
        before = self.after.get(zxid, 0)
        # A leader, and who was synchronised by it, stands at the start of its epoch.
        if before > last:
            self._complain("TotalOrder", step, f"others have delivered {shown(before)} before it")
        if self.proposed_after.get(zxid, 0) > last:
            self._complain("LocalPrimaryOrder", step, "its primary has broadcast another one before it")
