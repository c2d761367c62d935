"""What keeps log and snapshots in step: cutting, replacing and thinning out a server's history.

Each function can be interrupted by a crash anywhere; the order of its steps leaves, at every point, a folder
that recovers to a state from before or after.
"""

from collections.abc import Sequence
from typing import Final

from zabra.storage.disk import Disk
from zabra.storage.errors import TruncateError
from zabra.storage.names import join
from zabra.storage.snapshots import FileSnap, SnapshotFile
from zabra.storage.txnlog import FileTxnLog, LogFile, list_logs, logs_holding

# Upstream refuses to keep fewer (autopurge.snapRetainCount, PurgeTxnLog).
MIN_RETAINED_SNAPSHOTS: Final = 3


def truncate(log: FileTxnLog, snaps: FileSnap, zxid: int) -> int:
    """TRUNC: removes every txn above ``zxid`` from log and snapshots; returns the last zxid of the log.

    Upstream leaves newer snapshots alone, and would load the removed txns from one at the next start.
    They go first here: until the log is cut it still has what they had.
    Raises TruncateError, before anything is changed, when no whole snapshot at or below ``zxid`` is left
    to start from: the learner must then be sent a SNAP.
    """
    newer = [file for file in snaps.files() if file.zxid > zxid]
    if not any(file.zxid <= zxid and not snaps.problem(file) for file in snaps.files()):
        raise TruncateError(f"no snapshot at or below 0x{zxid:x} to start from")
    for file in newer:
        snaps.delete(file)
    return log.truncate(zxid)


def forget_beyond(log: FileTxnLog, snaps: FileSnap, zxid: int) -> None:
    """Before a SNAP at ``zxid`` is saved: removes what this server has above it, which was never committed.

    Otherwise a crash right after the save would recover the newer, divergent history.
    """
    for file in snaps.files():
        if file.zxid > zxid:
            snaps.delete(file)
    if log.last_zxid > zxid:
        log.truncate(zxid)


def adopt(log: FileTxnLog, snaps: FileSnap, zxid: int) -> None:
    """After the SNAP at ``zxid`` is durable: removes the history it replaces.

    The old log and snapshots may belong to a branch that was never committed.  With a damaged new
    snapshot, falling back to them would build on that branch.
    """
    log.clear()
    for file in snaps.files():
        if file.zxid != zxid:
            snaps.delete(file)
    log.continue_from(zxid)


def purge(
    disk: Disk, log_folder: str, snaps: FileSnap, retain: int, keep_zxid: int = -1
) -> tuple[list[str], list[str]]:
    """autopurge: removes all but the newest ``retain`` whole snapshots and the logs these need.

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
    logs = _unneeded_logs(list_logs(disk, log_folder), oldest if keep_zxid < 0 else min(oldest, keep_zxid))
    snapshots = [file for file in snaps.files() if file.zxid < oldest]
    return _remove_snapshots(snaps, snapshots), _remove_logs(disk, log_folder, logs)


def _unneeded_logs(files: Sequence[LogFile], zxid: int) -> list[LogFile]:
    needed = logs_holding(files, zxid)
    return list(files[: len(files) - len(needed)])


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
