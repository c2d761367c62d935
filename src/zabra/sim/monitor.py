"""ClusterMonitor: what must hold on the servers, looked at after every turn.

* *Agreement, TotalOrder, Integrity, PrefixConsistency*: whatever any server delivers as committed is one
  sequence of txns, byte for byte; each server delivers it in order, without gaps, from where it starts.
* *Digests*: a serving server's tree has the digest that the log promises for its zxid.
* *Leadership1, Leadership2*: an epoch has one leader, and epochs of established leaders go up.
* *Quorum*: what is committed is on the disks of a quorum, counted here and not by the code under test; a new
  view is on those of a quorum of it, too.
* *Promises*: who acks an epoch has it on its disk, and who leads in it has a quorum of such.
* *Durability*: what a disk reported as durable is there after the next start, and epochs never go down.
* *Votes*: whoever looks for a leader votes with no less than its disk has.
* *Views*: the view that a new leader puts in force is the start of an epoch's, or a committed txn's.
* Elections: see ``election_checker``.
* A server neither raises, nor stops, nor refuses its data, unless something was done to its disk.

Names are those of upstream's TLA+ specifications.
"""

import traceback
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from zabra.config.ensemble import EnsembleConfig
from zabra.proto import codes
from zabra.proto.packets import PacketBuffer
from zabra.proto.records import SetDataTxn
from zabra.proto.txn import TxnEntry, decode_txn
from zabra.server.ready import (
    DISK_ACCEPTED_EPOCH,
    DISK_APPEND,
    DISK_CURRENT_EPOCH,
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_END,
    DISK_TRUNCATE,
    DiskCommand,
)
from zabra.server.recovery import Recovered
from zabra.sim.checkers import Judgement, is_quorum
from zabra.sim.election_checker import ElectionChecker
from zabra.sim.machine import Machine, Process
from zabra.storage.epochs import ACCEPTED_EPOCH, CURRENT_EPOCH
from zabra.storage.errors import StorageError
from zabra.storage.names import VERSION_FOLDER

# Steps of a server at which a fault may strike (``ClusterMonitor.on_moment``).
MOMENTS: Final = (
    "leads",
    "is in step",
    "accepted epoch",
    "current epoch",
    "truncated",
    "snapshot",
    "fuzzy snapshot",
    "logged",
    "commits",
    "commits",
    "view proposed",
    "logged in sync",
    "cut refused",
    "saves an epoch",
    "saves a SNAP",
    "cuts",
)
# Of these, those at which a server has just given its disk work to do that a promise rests on.
WORKS: Final = ("saves an epoch", "saves a SNAP", "cuts")
_WORK: Final = {
    DISK_ACCEPTED_EPOCH: "saves an epoch",
    DISK_CURRENT_EPOCH: "saves an epoch",
    DISK_SNAPSHOT_BEGIN: "saves a SNAP",
    DISK_TRUNCATE: "cuts",
}
COUNTER_MASK: Final = 0xFFFFFFFF
# So many turns without input or output ...
IDLE_TURNS_MAX: Final = 300
# ... are spinning when they come faster than this on average (us).
LEAST_IDLE_US: Final = 300
# The digest of a tree without txns.
EMPTY_DIGEST: Final = 0x51C6D660
_MASK_64: Final = (1 << 64) - 1


def _epoch_on(machine: Machine, name: str) -> int:
    """What an epoch file says that no crash can take back, -1 if nothing."""
    text = machine.disk.durable(f"{VERSION_FOLDER}/{name}")
    return int(text) if text.isdigit() else -1


class Promise:
    """What one machine's disk has promised."""

    __slots__ = (
        "accepted_epoch",
        "current_epoch",
        "damaged",
        "may_refuse",
        "may_stop_until_us",
        "uncertain",
        "was_damaged",
        "zxid",
    )

    def __init__(self) -> None:
        self.zxid = 0
        self.accepted_epoch = 0
        self.current_epoch = 0
        # A crash interrupted something that shortens the log.
        self.uncertain = False
        # Data at rest was damaged: the next start may refuse it, or find less than was promised.
        self.damaged = False
        # The same, at any time of the run.
        self.was_damaged = False
        # The power went during a write, and its sectors landed in any order: that may look like rot.
        self.may_refuse = False
        # Disk operations were made to fail: until this moment (us) a server may stop, or fail to start.
        self.may_stop_until_us = -1

    def damage(self) -> None:
        """Data at rest was damaged."""
        self.damaged = True
        self.was_damaged = True

    def forget(self) -> None:
        """The disk was lost."""
        self.zxid = 0
        self.accepted_epoch = 0
        self.current_epoch = 0
        self.uncertain = False


class ClusterMonitor:
    """Implements ``machine.Monitor``.  ``chain``: every committed txn, in order, as far as anyone showed."""

    def __init__(self) -> None:
        self.judgement = Judgement()
        self.chain: list[TxnEntry] = []
        self.zxids: list[int] = []
        self.promises: dict[int, Promise] = {}
        # Whose logs may be read to learn what was committed; set by whoever runs the cluster.
        self.machines: dict[int, Machine] = {}
        # Where a history ends that was not seen to be made.
        self.base = 0
        # The view that a cluster starts with; None: quorums are not looked at.
        self.ensemble: EnsembleConfig | None = None
        # The newest view that was committed, and the zxid of the newest that was proposed.
        self.view: EnsembleConfig | None = None
        self._view_proposed = 0
        self.on_moment: Callable[[str, int], None] | None = None
        self.on_informed: Callable[[Process, list[TxnEntry]], None] | None = None
        self.on_ended: Callable[[Process], None] | None = None
        # Epoch -> (sid, life) of its established leader.
        self.leaders: dict[int, tuple[int, int]] = {}
        self.stops: list[str] = []
        # When (simulated us) each txn was first known to be committed, and each epoch first served.
        self.seen_us: dict[int, int] = {}
        self.proposed_us: dict[int, int] = {}
        self._proposed: dict[int, bytes] = {}
        # What stood before each of these, and before the start of each epoch, in the history it was added to.
        self._before: dict[int, int] = {}
        self.leader_since_us: dict[int, int] = {}
        self._now_us = 0
        # Whoever reads along: ("disks" or "commits", a line).
        self.listener: Callable[[str, str], None] | None = None
        self._digests: list[int] = []
        self.elections = ElectionChecker()

    def promise(self, sid: int) -> Promise:
        """A machine's promise."""
        found = self.promises.get(sid)
        if found is None:
            found = self.promises[sid] = Promise()
        return found

    def head(self) -> int:
        """The last committed zxid known."""
        return max(self.zxids[-1], self.base) if self.zxids else self.base

    def is_view_pending(self) -> bool:
        """Whether a view was proposed that is not known to be committed."""
        return self._view_proposed > (self.view.version if self.view is not None else 0)

    def _moment(self, name: str, sid: int) -> None:
        if self.on_moment is not None:
            self.on_moment(name, sid)

    def digest_at(self, zxid: int) -> int:
        """What the tree's digest must be once everything up to ``zxid`` is applied."""
        place = bisect_right(self.zxids, zxid)
        return self._digests[place - 1] if place else EMPTY_DIGEST

    # The chain.

    def _extend(self, entry: TxnEntry) -> None:
        view = self.view or self.ensemble
        if view is not None:
            self._check_quorum(view, entry)
        self.chain.append(entry)
        self.seen_us[entry.header.zxid] = self._now_us
        self.zxids.append(entry.header.zxid)
        before = self._digests[-1] if self._digests else EMPTY_DIGEST
        digest = before if entry.digest is None else int(entry.digest.tree_digest) & _MASK_64
        self._digests.append(digest)
        if entry.header.type == codes.OP_RECONFIG and isinstance(entry.record, SetDataTxn):
            self.view = EnsembleConfig.parse((entry.record.data or b"").decode())
            self.judgement.count("reconfigurations")

    def _check_quorum(self, view: EnsembleConfig, entry: TxnEntry) -> None:
        zxid = entry.header.zxid
        holders = [sid for sid, promise in self.promises.items() if promise.zxid >= zxid]
        good = is_quorum(view, holders)
        if entry.header.type == codes.OP_RECONFIG and isinstance(entry.record, SetDataTxn):
            good = good and is_quorum(EnsembleConfig.parse((entry.record.data or b"").decode()), holders)
        if not good:
            self.judgement.complain("quorum", f"0x{zxid:x} is committed and on the disks of {holders} only")

    def _check_cut(self, sid: int, had: int, zxid: int) -> None:
        """What a disk has no longer, and what is committed all the same, is on the disks of a quorum."""
        last = bisect_right(self.zxids, had) - 1
        view = self.view or self.ensemble
        if view is None or last < 0 or self.zxids[last] <= zxid:
            return
        holders = [one for one, promise in self.promises.items() if promise.zxid >= self.zxids[last]]
        if not is_quorum(view, holders):
            self.judgement.complain(
                "quorum", f"server {sid} cuts 0x{self.zxids[last]:x} off, which then is on those of {holders}"
            )

    def _catch_up(self, process: Process, until: int) -> None:
        """A server shows committed txns that nobody was seen to deliver: a leader's initial history."""
        head = self.head()
        kept = process.server.committed_log.entries()
        if kept and (kept[0].header.zxid <= head or kept[0].header.zxid == head + 1):
            missing = [entry for entry in kept if head < entry.header.zxid <= until]
        else:
            missing = self._find_in_logs(process, head, until) or self._walk_back(head, until)
        for entry in missing:
            self._extend(entry)
        if self.head() < until and until & COUNTER_MASK:
            self.judgement.complain(
                "chain", f"server {process.sid} shows 0x{until:x} as committed, and nobody has what led there"
            )

    def _find_in_logs(self, process: Process, head: int, until: int) -> list[TxnEntry]:
        """Looks in the server's own log; where a SNAP has replaced that, in everybody else's."""
        others = [machine for machine in self.machines.values() if machine is not process.machine]
        for machine in [process.machine, *others]:
            store = machine.open_store()
            try:
                found = [raw for zxid, raw in store.log.read_from(head + 1, until) if head < zxid <= until]
            except StorageError:
                continue
            entries = [decode_txn(raw) for raw in found]
            if entries and entries[-1].header.zxid == until:
                return entries
        return []

    def _walk_back(self, head: int, until: int) -> list[TxnEntry]:
        """Where snapshots have replaced every log: from each txn to the one it was proposed on top of."""
        found: list[TxnEntry] = []
        zxid = until
        while zxid > head:
            raw = self._proposed.get(zxid)
            if raw is not None:
                found.append(decode_txn(raw))
            elif zxid & COUNTER_MASK:
                return []
            zxid = self._before.get(zxid, -1)
        found.reverse()
        return found if zxid == head else []

    def _position(self, process: Process) -> int:
        position: int = process.notes.get("position", -1)
        return position

    def _last_txn(self, zxid: int) -> int:
        """The txn that a history ends with which stands at ``zxid``: where an epoch starts there is none."""
        while zxid and not zxid & COUNTER_MASK:
            zxid = self._before.get(zxid, 0)
        return zxid

    # machine.Monitor

    def informed(self, process: Process, entries: list[TxnEntry]) -> None:
        """Agreement on every txn delivered."""
        self._now_us = process.machine.scheduler.now_us
        for entry in entries:
            self._delivered(process, entry)
            if self.listener is not None:
                self.listener("commits", f"{process.sid} delivers 0x{entry.header.zxid:x}")
        self.judgement.count("deliveries", len(entries))
        if self.on_informed is not None:
            self.on_informed(process, entries)

    def _delivered(self, process: Process, entry: TxnEntry) -> None:
        zxid = entry.header.zxid
        head = self.head()
        if zxid > head:
            if zxid != head + 1:
                self._catch_up(process, zxid - 1)
            self._extend(entry)
            self._moment("commits", process.sid)
        place = bisect_right(self.zxids, zxid) - 1
        if place < 0 or self.zxids[place] != zxid or self.chain[place].raw != entry.raw:
            known = hex(self.zxids[place]) if place >= 0 else "nothing"
            self.judgement.complain(
                "agreement", f"server {process.sid} delivers 0x{zxid:x} {entry!r}, committed there is {known}"
            )
            return
        position = self._position(process)
        before = self.zxids[place - 1] if place else 0
        if position >= 0 and position < before:
            self.judgement.complain(
                "total order", f"server {process.sid} delivers 0x{zxid:x} after 0x{position:x}"
            )
        if position >= zxid:
            self.judgement.complain("integrity", f"server {process.sid} delivers 0x{zxid:x} twice")
        process.notes["position"] = zxid

    def turned(self, process: Process) -> None:
        """Digests and leadership of servers that serve; no server spins."""
        server = process.server
        self._now_us = process.machine.scheduler.now_us
        zxid = server.tree.last_processed_zxid
        serves = server.role.serves()
        if process.idle_turns > IDLE_TURNS_MAX:
            self._check_spinning(process)
        if not serves:
            self.elections.look_at(process, self.judgement, self._now_us, len(self.machines))
            self._check_vote(process)
            process.notes["position"] = -1
            process.notes["checked"] = -1
            process.notes["before"] = zxid
            return
        if process.notes.get("checked", -1) == zxid:
            return
        process.notes["checked"] = zxid
        if zxid > self.head() and zxid & COUNTER_MASK:
            self._catch_up(process, zxid)
        elif zxid > self.head():
            # A new leader stands at the start of its epoch; its history ends where it stood before.
            before: int = process.notes.get("before", 0)
            if before > self.head():
                self._catch_up(process, before)
        if self._position(process) < 0:
            process.notes["position"] = zxid
            if server.role.name() in ("follower", "observer"):
                self.judgement.count("syncs")
                if process.server.settings.is_observer:
                    self.judgement.count("observer syncs")
                self._moment("is in step", process.sid)
        self._check_digest(process, zxid)
        self._check_leadership(process)

    def _check_spinning(self, process: Process) -> None:
        """A server that wants its next turn at once, over and over, with nothing to do, burns a core."""
        took_us = self._now_us - process.idle_since_us
        if took_us < process.idle_turns * LEAST_IDLE_US:
            self.judgement.complain(
                "spinning",
                f"server {process.sid}, {process.server.role.name()}, takes {process.idle_turns} turns "
                f"in {took_us} us without input",
            )
        process.idle_turns = 0

    def _check_vote(self, process: Process) -> None:
        """Of its own history a server must not know less than its disk when its election begins."""
        looking = process.server.looking
        if looking is None or not looking.looking or process.notes.get("voted") is looking:
            return
        process.notes["voted"] = looking
        logged = self._last_txn(self.promise(process.sid).zxid)
        zxid = process.server.tree.last_processed_zxid
        if zxid < logged:
            self.judgement.complain(
                "vote", f"server {process.sid} votes with 0x{zxid:x}, and its disk has 0x{logged:x}"
            )

    def _check_digest(self, process: Process, zxid: int) -> None:
        tree = process.server.tree
        if not tree.digest_enabled:
            return
        got = int(tree.digest) & _MASK_64
        due = self.digest_at(zxid)
        self.judgement.count("digests")
        if got != due:
            self.judgement.complain(
                "digest", f"server {process.sid} at 0x{zxid:x} has {got:x}, the log promises {due:x}"
            )

    def voted(self, process: Process, data: bytes) -> None:
        """A vote, or who it is."""
        self.elections.voted(process.sid, data)

    def said(self, process: Process, data: bytes) -> None:
        """What a learner promises its leader is on its disk by then."""
        learning = process.server.learning
        if learning is None or learning.sync is None:
            return
        epoch = int(learning.sync.new_leader_zxid) >> 32
        buffer = PacketBuffer()
        buffer.feed(data)
        packet = buffer.next()
        while packet is not None:
            if packet.type == codes.PACKET_ACKEPOCH:
                self._check_epoch(process, ACCEPTED_EPOCH, epoch)
            elif packet.type == codes.PACKET_ACK and not packet.zxid & COUNTER_MASK:
                self._check_epoch(process, CURRENT_EPOCH, epoch)
            packet = buffer.next()

    def _check_epoch(self, process: Process, name: str, epoch: int) -> None:
        self.judgement.count("promises")
        found = _epoch_on(process.machine, name)
        if found < epoch:
            self.judgement.complain(
                "promise", f"server {process.sid} acks epoch {epoch}, and its disk has {found} as {name}"
            )

    def _check_establishment(self, sid: int, epoch: int, settled: EnsembleConfig | None = None) -> None:
        """Who leads has a quorum whose disks say so; its own need not be one of them.

        ``settled``: the view that is put in force by that.  One that was not committed before is so now, by
        quorums of both, if the new leader has its txn; and if it has not, the view must not be in force.
        """
        view = self.view or self.ensemble
        if view is None:
            return
        epochs = {one: _epoch_on(machine, CURRENT_EPOCH) for one, machine in self.machines.items()}
        holders = [one for one, found in epochs.items() if found >= epoch]
        agreed = is_quorum(view, holders)
        if settled is not None and settled.version > view.version:
            agreed = agreed and is_quorum(settled, holders)
            if settled.version & COUNTER_MASK:
                self.judgement.complain(
                    "view", f"{sid} puts the view 0x{settled.version:x} in force, whose txn is not in the log"
                )
            self.view = settled
        if not agreed:
            self.judgement.complain("promise", f"{sid} leads in epoch {epoch}; on the disks are {epochs}")

    def _check_leadership(self, process: Process) -> None:
        if process.server.role.name() != "leader":
            return
        epoch = process.server.tree.last_processed_zxid >> 32
        me = (process.sid, process.life)
        leader = self.leaders.get(epoch)
        if leader is None:
            self.leaders[epoch] = me
            self._before[epoch << 32] = process.notes.get("before", 0)
            peer = process.server.peer
            self._check_establishment(process.sid, epoch, None if peer is None else peer.config)
            self.leader_since_us[epoch] = self._now_us
            self.judgement.count("leaders")
            self._moment("leads", process.sid)
        elif leader != me:
            self.judgement.complain("leadership", f"epoch {epoch} is led by {leader} and by {me}")

    def submitted(self, process: Process, commands: list[DiskCommand]) -> None:
        """Notes when each txn was first handed to a log: by the leader, as it was made."""
        now = process.machine.scheduler.now_us
        tail: int = process.notes.get("tail", 0)
        for command in commands:
            if command.kind in _WORK:
                self._moment(_WORK[command.kind], process.sid)
            if command.kind in (DISK_TRUNCATE, DISK_SNAPSHOT_END):
                tail = command.zxid
            for entry in command.entries:
                zxid = entry.header.zxid
                before, tail = tail, zxid
                # A zxid whose first txn was lost with its leader may be given to another one.
                if self._proposed.get(zxid) != entry.raw:
                    self._proposed[zxid] = entry.raw
                    self._before[zxid] = before
                    self.proposed_us[zxid] = now
                    if entry.header.type == codes.OP_RECONFIG:
                        self._view_proposed = max(self._view_proposed, zxid)
                        self._moment("view proposed", process.sid)
        process.notes["tail"] = tail

    def logged(self, process: Process, commands: list[DiskCommand]) -> None:
        """Notes what a disk has promised."""
        promise = self.promise(process.sid)
        for command in commands:
            kind = command.kind
            if self.listener is not None:
                self.listener("disks", f"{process.sid} {describe_command(command)}")
            if command.refused:
                self.judgement.count("truncs refused")
                self._moment("cut refused", process.sid)
            elif kind == DISK_APPEND:
                promise.zxid = command.entries[-1].header.zxid
                self._moment("logged", process.sid)
                if not process.server.role.serves():
                    self._moment("logged in sync", process.sid)
            elif kind in (DISK_TRUNCATE, DISK_SNAPSHOT_END):
                had = promise.zxid
                promise.zxid = command.zxid
                self._check_cut(process.sid, had, command.zxid)
                self.judgement.count("truncs" if kind == DISK_TRUNCATE else "snap syncs")
                if kind == DISK_SNAPSHOT_END and process.server.settings.is_observer:
                    self.judgement.count("observer snap syncs")
                self._moment("truncated" if kind == DISK_TRUNCATE else "snapshot", process.sid)
            elif kind == DISK_ACCEPTED_EPOCH:
                promise.accepted_epoch = command.value
                self._moment("accepted epoch", process.sid)
            elif kind == DISK_CURRENT_EPOCH:
                promise.current_epoch = command.value
                self._moment("current epoch", process.sid)

    def snapshotted(self, process: Process, commands: list[DiskCommand]) -> None:
        """A snapshot that was taken while the server went on is complete."""
        for command in commands:
            if command.kind == DISK_SNAPSHOT_END:
                self.judgement.count("fuzzy snapshots")
                self._moment("fuzzy snapshot", process.sid)

    def ended(self, process: Process) -> None:
        """A crash may have interrupted something that shortens the log."""
        for command in process.log_queue.batch:
            if command.kind in (DISK_TRUNCATE, DISK_SNAPSHOT_BEGIN, DISK_SNAPSHOT_END):
                self.promise(process.sid).uncertain = True
        if self.on_ended is not None:
            self.on_ended(process)

    def started(self, process: Process, recovered: Recovered) -> None:
        """What was promised must be there."""
        promise = self.promise(process.sid)
        self.judgement.count("recoveries")
        if recovered.last_zxid > self.head():
            self.judgement.count("uncommitted tails")
        if not promise.damaged:
            if recovered.last_zxid < self._last_txn(promise.zxid) and not promise.uncertain:
                self.judgement.complain(
                    "durability",
                    f"server {process.sid} recovers 0x{recovered.last_zxid:x} of 0x{promise.zxid:x}",
                )
            for name, got, due in (
                ("acceptedEpoch", recovered.accepted_epoch, promise.accepted_epoch),
                ("currentEpoch", recovered.current_epoch, promise.current_epoch),
            ):
                if got < due:
                    self.judgement.complain(
                        "durability", f"server {process.sid} recovers {name} {got} of {due}"
                    )
        if promise.damaged:
            promise.accepted_epoch = recovered.accepted_epoch
            promise.current_epoch = recovered.current_epoch
        promise.uncertain = False
        promise.damaged = False
        promise.may_refuse = False
        promise.zxid = recovered.last_zxid
        process.notes["tail"] = max(0, recovered.last_zxid)

    def refused(self, machine: Machine, reason: str) -> None:
        """Only a damaged disk may be refused."""
        self.judgement.count("refusals")
        promise = self.promise(machine.sid)
        if promise.damaged or promise.may_refuse:
            return
        if machine.scheduler.now_us > promise.may_stop_until_us:
            self.judgement.complain("recovery", f"server {machine.sid} refuses its data: {reason}")

    def stopped(self, process: Process, code: int, reason: str) -> None:
        """Only a failing disk may stop a server."""
        self.judgement.count("stops")
        self.stops.append(f"{process.sid}: {code} {reason}")
        promise = self.promise(process.sid)
        if not promise.damaged and process.machine.scheduler.now_us > promise.may_stop_until_us:
            self.judgement.complain("stop", f"server {process.sid} stops with {code}: {reason}")

    def failed(self, process: Process, error: BaseException) -> None:
        """Never."""
        text = "".join(traceback.format_exception(error)[-6:]).strip()
        self.judgement.complain("exception", f"server {process.sid} raised {error!r}\n{text}")


def describe_command(command: DiskCommand) -> str:
    """What is durable now."""
    kind = command.kind
    if kind == DISK_APPEND:
        return f"has logged 0x{command.entries[-1].header.zxid:x}"
    if command.refused:
        return f"cannot cut its log at 0x{command.zxid:x}"
    if kind == DISK_TRUNCATE:
        return f"has cut its log at 0x{command.zxid:x}"
    if kind == DISK_ACCEPTED_EPOCH:
        return f"has accepted epoch {command.value}"
    if kind == DISK_CURRENT_EPOCH:
        return f"has current epoch {command.value}"
    if kind == DISK_SNAPSHOT_END:
        return f"has saved the snapshot of 0x{command.zxid:x}"
    return f"has done disk work {kind}"
