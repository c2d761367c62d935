"""DiskWorker: carries out DiskCommands on the storage classes, for every driver alike.

A driver keeps two queues (``Ready.disk`` and ``Ready.snapshot``) and one worker for each.  It hands a
worker everything that has queued up, the worker returns when all of it is durable, and the driver reports
the last token by ``Server.disk_done``.  Appends that stand next to each other share one fsync: that is the
group commit.  The runtime calls it on its log-writing thread; the simulator calls it on a simulated disk
whose every operation may be the last before a power cut.

Source: upstream ``SyncRequestProcessor`` (batching), ``Learner.syncWithLeader`` (the order of snapshot,
log and epoch writes).
"""

from typing import Final, Protocol

from mypy_extensions import i64

from zabra.proto.txn import TxnEntry
from zabra.server.ready import (
    DISK_ACCEPTED_EPOCH,
    DISK_APPEND,
    DISK_CURRENT_EPOCH,
    DISK_DELETE_FILE,
    DISK_DROP_SNAPSHOTS,
    DISK_ROLL,
    DISK_SAVE_FILE,
    DISK_SNAPSHOT_ABORT,
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_CHUNK,
    DISK_SNAPSHOT_END,
    DISK_TRUNCATE,
    DiskCommand,
)

NO_TOKEN: Final = -1


class LogStore(Protocol):
    """What the worker asks of the txn log (``storage.txnlog.FileTxnLog``)."""

    def append(self, zxid: int, raw: bytes) -> None:
        """Writes one entry; durable only after ``sync``."""

    def sync(self) -> None:
        """Makes everything appended durable."""

    def roll(self) -> None:
        """The next append starts a new file."""

    def truncate(self, zxid: int) -> bool:
        """Cuts everything after ``zxid``, durably; False if the log does not reach back to it."""


class SnapshotFile(Protocol):
    """An unfinished snapshot (``storage.snapshots``)."""

    def write(self, data: bytes) -> None:
        """More of the body."""

    def finish(self, zxid: int, digest: int) -> None:
        """Writes the trailer and makes the file a valid snapshot."""

    def abort(self) -> None:
        """Removes the unfinished file."""


class SnapshotStore(Protocol):
    """What the worker asks of the snapshots (``storage.snapshots.FileSnap``)."""

    def begin(self, zxid: int, sync: bool) -> SnapshotFile:
        """Starts ``snapshot.<zxid>``; ``sync``: ``finish`` returns only when it is durable."""

    def drop_after(self, zxid: int) -> None:
        """Deletes every snapshot newer than ``zxid``."""


class EpochStore(Protocol):
    """What the worker asks of the epoch files (``storage.epochs.Epochs``)."""

    def save_accepted(self, epoch: int) -> None:
        """Replaces acceptedEpoch, atomically and durably."""

    def save_current(self, epoch: int) -> None:
        """Replaces currentEpoch, atomically and durably."""


class FileStore(Protocol):
    """Configuration files beside the data."""

    def save(self, name: str, data: bytes) -> None:
        """Replaces a file, atomically and durably."""

    def delete(self, name: str) -> None:
        """Removes a file if it is there."""


class DiskFailure(Exception):
    """The command ``token`` failed; everything up to ``done`` (NO_TOKEN: nothing) is durable.

    Fatal for the server: what the failed fsync was to write may be lost although a retry would succeed.
    """

    def __init__(self, token: int, done: int, message: str) -> None:
        super().__init__(message)
        self.token = token
        self.done = done
        self.message = message


class DiskWorker:
    """Runs the commands of one queue; ``fsyncs`` counts group commits."""

    def __init__(
        self, log: LogStore, snapshots: SnapshotStore, epochs: EpochStore, files: FileStore
    ) -> None:
        self._log: LogStore = log
        self._snapshots: SnapshotStore = snapshots
        self._epochs: EpochStore = epochs
        self._files: FileStore = files
        self._unfinished: SnapshotFile | None = None
        self._unsynced: bool = False
        self.fsyncs: i64 = 0
        self.appended: i64 = 0

    def run(self, commands: list[DiskCommand]) -> i64:
        """Carries out ``commands`` in order; returns the last token, all of them being durable.

        Raises DiskFailure at the first command that fails; nothing after it is tried.
        """
        done: i64 = NO_TOKEN
        token: i64 = NO_TOKEN
        last: i64 = NO_TOKEN
        try:
            for command in commands:
                token = command.token
                if command.kind != DISK_APPEND and self._unsynced:
                    self._sync()
                    done = last
                self._carry_out(command)
                last = token
                if not self._unsynced:
                    done = last
            if self._unsynced:
                self._sync()
        except (OSError, ValueError) as error:
            raise DiskFailure(token, done, f"{type(error).__name__}: {error}") from error
        return last

    def _sync(self) -> None:
        self._log.sync()
        self._unsynced = False
        self.fsyncs += 1

    def _append(self, entries: list[TxnEntry]) -> None:
        for entry in entries:
            self._log.append(entry.header.zxid, entry.raw)
            self.appended += 1
        self._unsynced = True

    def _carry_out(self, command: DiskCommand) -> None:
        kind = command.kind
        if kind == DISK_APPEND:
            self._append(command.entries)
        elif kind == DISK_ROLL:
            self._log.roll()
        elif kind == DISK_TRUNCATE:
            if not self._log.truncate(command.zxid):
                raise ValueError(f"the log cannot be truncated to 0x{command.zxid:x}")
        elif kind == DISK_ACCEPTED_EPOCH:
            self._epochs.save_accepted(command.value)
        elif kind == DISK_CURRENT_EPOCH:
            self._epochs.save_current(command.value)
        elif kind == DISK_SAVE_FILE:
            self._files.save(command.name, command.data)
        elif kind == DISK_DELETE_FILE:
            self._files.delete(command.name)
        else:
            self._carry_out_snapshot(command)

    def _carry_out_snapshot(self, command: DiskCommand) -> None:
        kind = command.kind
        if kind == DISK_SNAPSHOT_BEGIN:
            self._drop_unfinished()
            self._unfinished = self._snapshots.begin(command.zxid, command.flag)
        elif kind == DISK_SNAPSHOT_CHUNK:
            assert self._unfinished is not None, "a snapshot chunk without a beginning"
            self._unfinished.write(command.data)
        elif kind == DISK_SNAPSHOT_END:
            assert self._unfinished is not None, "a snapshot's end without a beginning"
            self._unfinished.finish(command.zxid, command.value)
            self._unfinished = None
        elif kind == DISK_SNAPSHOT_ABORT:
            self._drop_unfinished()
        elif kind == DISK_DROP_SNAPSHOTS:
            self._snapshots.drop_after(command.zxid)
        else:
            raise AssertionError(f"unknown disk command {kind}")

    def _drop_unfinished(self) -> None:
        if self._unfinished is not None:
            self._unfinished.abort()
            self._unfinished = None
