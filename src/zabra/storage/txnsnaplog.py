"""FileTxnSnapLog: log and snapshots of a server, kept in step.

Cutting (TRUNC), replacing (SNAP) and thinning out (purge) concern both.  Each of these can be interrupted by
a crash anywhere; the order of the steps leaves, at every point, files that recover to the state from before
or the one from after.  Source: upstream ``FileTxnSnapLog``, ``PurgeTxnLog``; docs/adr/0021.
"""

from collections.abc import Sequence
from typing import Final

from zabra.storage.disk import Disk
from zabra.storage.errors import NoSnapshotError
from zabra.storage.log_reader import LogFile, list_logs, logs_holding
from zabra.storage.names import join
from zabra.storage.snapshots import FileSnap, SnapshotFile, SnapshotWriter
from zabra.storage.txnlog import FileTxnLog

# Upstream refuses to keep fewer (autopurge.snapRetainCount, PurgeTxnLog).
MIN_RETAINED_SNAPSHOTS: Final = 3


class FileTxnSnapLog:
    """Both stores behind one object; ``log`` and ``snaps`` are the parts."""

    def __init__(self, log: FileTxnLog, snaps: FileSnap) -> None:
        self.log = log
        self.snaps = snaps

    def settle_names(self) -> None:
        """Makes durable what the folders show: the last process may have died between a rename and its fsync.

        A server that reads a name may promise by it what it stands for, an epoch or a snapshot.
        """
        self.snaps.settle_names()
        self.log.settle_names()

    def append(self, zxid: int, raw: bytes) -> None:
        """Adds one encoded txn to the batch that the next ``sync`` writes."""
        self.log.append(zxid, raw)

    def append_all(self, txns: list[bytes]) -> None:
        """As ``append``, for many at once."""
        self.log.append_all(txns)

    def sync(self) -> None:
        """Makes everything appended durable."""
        self.log.sync()

    def roll(self) -> None:
        """The next append starts a new log file."""
        self.log.roll()

    def begin(self, zxid: int, sync: bool = True, from_leader: bool = False) -> SnapshotWriter:
        """Begins the snapshot of ``zxid``."""
        return self.snaps.begin(zxid, sync, from_leader)

    def drop_after(self, zxid: int) -> None:
        """Deletes every snapshot newer than ``zxid``."""
        self.snaps.drop_after(zxid)

    def truncate(self, zxid: int) -> bool:
        """TRUNC: removes every txn above ``zxid`` from log and snapshots, durably.

        Upstream leaves newer snapshots alone, and would load the removed txns from one at the next start.
        They go first here: until the log is cut it still has what they had.
        False, with nothing changed, when there is no whole snapshot at or below ``zxid`` to start from, so
        that the learner must be sent a SNAP instead.
        """
        older = [file for file in self.snaps.files() if file.zxid <= zxid]
        base = next((file for file in older if not self.snaps.problem(file)), None)
        if base is None:
            return False
        self.snaps.drop_after(zxid)
        if list_logs(self.log.disk, self.log.folder):
            self.log.truncate(zxid)
        if self.log.last_zxid < base.zxid:
            self.log.continue_from(base.zxid)
        return True

    def forget_beyond(self, zxid: int) -> None:
        """Before a SNAP at ``zxid`` is saved: cuts this server's log there.

        What is cut was never committed, or the leader would have it.  Left in place, it would be replayed
        on top of the new snapshot after a crash right behind the save.  Snapshots beyond ``zxid`` stay until
        ``adopt``: with them a crash in between recovers the history from before.
        """
        if self.log.last_zxid > zxid:
            if list_logs(self.log.disk, self.log.folder):
                self.log.truncate(zxid)
            else:
                # Only a snapshot reaches so far: the start of an epoch, before its first txn.
                self.log.clear()

    def will_adopt(self, zxid: int) -> None:
        """Before the SNAP at ``zxid`` gets its name: no crash may leave part of what it replaces behind.

        Such a part of the log would end before the SNAP, maybe on a branch that was never committed, and
        nothing would tell whoever reads it, to publish it or to bring a learner up to date.
        """
        self.snaps.mark_adopting(zxid)

    def adopt(self, zxid: int) -> None:
        """After the SNAP at ``zxid`` is durable: removes the history that it replaces.

        The old log and snapshots may belong to a branch that was never committed.  If the new snapshot
        became unreadable, falling back to them would build on that branch.  The log goes first: a newer
        snapshot without its log is the old history still, a log without its snapshot would be a gap.
        """
        self.log.clear()
        self._keep_only(zxid)
        self.log.continue_from(zxid)

    def _keep_only(self, zxid: int) -> None:
        for file in self.snaps.files():
            if file.zxid != zxid:
                self.snaps.delete(file)
        if self.snaps.adopting() == zxid:
            self.snaps.adopted(zxid)

    def finish_adopting(self) -> None:
        """Before the log is opened: goes on where a crash has interrupted ``adopt``.

        Raises NoSnapshotError where the snapshot that was to replace all else is damaged: the rest is no
        longer whole.
        """
        zxid = self.snaps.adopting()
        if zxid < 0:
            return
        found = [file for file in self.snaps.files() if file.zxid == zxid]
        problems = [self.snaps.problem(file) for file in found]
        if not found:
            # It never got its name: nothing was removed.
            self.snaps.adopted(zxid)
        elif all(problems):
            raise NoSnapshotError(f"{found[0].path} was to replace what else is here: {problems[0]}")
        else:
            self.log.remove_files()
            self._keep_only(zxid)

    def purge(self, retain: int, keep_zxid: int = -1) -> tuple[list[str], list[str]]:
        """autopurge: see ``purge``."""
        return purge(self.log.disk, self.log.folder, self.snaps, retain, keep_zxid)


def purge(
    disk: Disk, log_folder: str, snaps: FileSnap, retain: int, keep_zxid: int = -1
) -> tuple[list[str], list[str]]:
    """Removes all but the newest ``retain`` whole snapshots and the logs these need.

    Only whole snapshots count (ZOOKEEPER-3231): broken ones do not push out the last good one.  Among the
    logs the last file that starts at or before the oldest retained snapshot stays, and all later ones; with
    ``keep_zxid`` also those that a reader still behind at that zxid needs.
    Returns the paths of removed snapshots and logs.  Raises ValueError for ``retain`` below 3.
    """
    if retain < MIN_RETAINED_SNAPSHOTS:
        raise ValueError(f"at least {MIN_RETAINED_SNAPSHOTS} snapshots must be retained, not {retain}")
    whole = snaps.newest_whole(retain)
    if not whole:
        return [], []
    oldest = whole[-1].zxid
    files = list_logs(disk, log_folder)
    needed = logs_holding(files, oldest if keep_zxid < 0 else min(oldest, keep_zxid))
    snapshots = [file for file in snaps.files() if file.zxid < oldest]
    return (
        _remove_snapshots(snaps, snapshots),
        _remove_logs(disk, log_folder, files[: len(files) - len(needed)]),
    )


def _remove_snapshots(snaps: FileSnap, files: Sequence[SnapshotFile]) -> list[str]:
    """Oldest first, so that a crash in between leaves the newer ones."""
    for file in reversed(files):
        snaps.delete(file)
    return [file.path for file in files]


def _remove_logs(disk: Disk, folder: str, files: Sequence[LogFile]) -> list[str]:
    """Oldest first, each made durable: after a crash in between the rest is still without a gap."""
    for file in files:
        disk.delete(join(folder, file.name))
        disk.sync_folder(folder)
    return [file.path for file in files]
