"""DiskWorker: carries out DiskCommands on the storage classes, for every driver alike.

A driver keeps two queues (``Ready.disk`` and ``Ready.snapshot``) and one worker for each.  It hands a
worker everything that has queued up, the worker returns when all of it is durable, and the driver reports
the last token by ``Server.disk_done``.  Appends that stand next to each other share one write and one
fsync: that is the group commit.  The runtime calls it on its log-writing thread; the simulator calls it on
a simulated disk whose every operation may be the last before a power cut.

Source: upstream ``SyncRequestProcessor`` (batching), ``Learner.syncWithLeader`` (the order of snapshot,
log and epoch writes).
"""

from typing import Final

from mypy_extensions import i64

from zabra.proto.txn import DIGEST_VERSION
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
from zabra.storage import history
from zabra.storage.disk import Disk
from zabra.storage.epochs import Epochs, write_atomically
from zabra.storage.errors import StorageError
from zabra.storage.names import join
from zabra.storage.snapshot_format import ZxidDigest
from zabra.storage.snapshots import FileSnap, SnapshotWriter
from zabra.storage.txnlog import FileTxnLog

NO_TOKEN: Final = -1


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
    """Runs the commands of one queue.

    Args:
        log: None for the queue of fuzzy snapshots, which writes no log.  A snapshot on the queue that has
            a log is one a leader sent (SNAP): it replaces the history instead of standing beside it.
        files, files_folder: where configuration files are (``DISK_SAVE_FILE``).
        with_digests: whether snapshots end with the tree's digest (``digest.enabled``).
    """

    def __init__(
        self,
        log: FileTxnLog | None,
        snapshots: FileSnap,
        epochs: Epochs,
        files: Disk,
        files_folder: str,
        with_digests: bool,
    ) -> None:
        self._log: FileTxnLog | None = log
        self._snapshots: FileSnap = snapshots
        self._epochs: Epochs = epochs
        self._files: Disk = files
        self._files_folder: str = files_folder
        self._with_digests: bool = with_digests
        self._unfinished: SnapshotWriter | None = None
        self._unfinished_zxid: i64 = 0
        self._batch: list[tuple[int, bytes]] = []
        # How many group commits, and how many txns they wrote.
        self.fsyncs: i64 = 0
        self.appended: i64 = 0

    def run(self, commands: list[DiskCommand]) -> i64:
        """Carries out ``commands`` in order; returns the last token, all of them being durable.

        Raises DiskFailure at the first command that fails; nothing after it is tried.
        """
        done: i64 = NO_TOKEN
        last: i64 = NO_TOKEN
        token: i64 = NO_TOKEN
        try:
            for command in commands:
                token = command.token
                if command.kind == DISK_APPEND:
                    self._gather(command)
                else:
                    self._flush()
                    done = last
                    self._carry_out(command)
                    done = token
                last = token
            self._flush()
        except (OSError, StorageError, ValueError) as error:
            raise DiskFailure(token, done, f"{type(error).__name__}: {error}") from error
        return last

    def _gather(self, command: DiskCommand) -> None:
        for entry in command.entries:
            self._batch.append((entry.header.zxid, entry.raw))

    def _flush(self) -> None:
        """One write and one fsync for all appends gathered."""
        batch = self._batch
        if batch:
            self._batch = []
            log = self._log
            assert log is not None, "an append on the snapshot queue"
            log.append(batch)
            log.sync()
            self.fsyncs += 1
            self.appended += len(batch)

    def _carry_out(self, command: DiskCommand) -> None:
        kind = command.kind
        if kind == DISK_ROLL or kind == DISK_TRUNCATE:
            log = self._log
            assert log is not None, "log work on the snapshot queue"
            if kind == DISK_ROLL:
                log.roll()
            else:
                history.truncate(log, self._snapshots, command.zxid)
        elif kind == DISK_ACCEPTED_EPOCH:
            self._epochs.write_accepted(command.value)
        elif kind == DISK_CURRENT_EPOCH:
            self._epochs.write_current(command.value)
        elif kind == DISK_SAVE_FILE:
            write_atomically(self._files, self._files_folder, command.name, command.data)
        elif kind == DISK_DELETE_FILE:
            self._delete_file(command.name)
        else:
            self._carry_out_snapshot(command)

    def _delete_file(self, name: str) -> None:
        path = join(self._files_folder, name)
        if self._files.exists(path):
            self._files.delete(path)
            self._files.sync_folder(self._files_folder)

    def _carry_out_snapshot(self, command: DiskCommand) -> None:
        kind = command.kind
        if kind == DISK_SNAPSHOT_BEGIN:
            self._drop_unfinished()
            log = self._log
            if log is not None:
                history.forget_beyond(log, self._snapshots, command.zxid)
            self._unfinished = self._snapshots.writer(command.zxid)
            self._unfinished_zxid = command.zxid
        elif kind == DISK_SNAPSHOT_CHUNK:
            assert self._unfinished is not None, "a snapshot chunk without a beginning"
            self._unfinished.write(command.data)
        elif kind == DISK_SNAPSHOT_END:
            self._finish_snapshot(command)
        elif kind == DISK_SNAPSHOT_ABORT:
            self._drop_unfinished()
        elif kind == DISK_DROP_SNAPSHOTS:
            for file in self._snapshots.files():
                if file.zxid > command.zxid:
                    self._snapshots.delete(file)
        else:
            raise AssertionError(f"unknown disk command {kind}")

    def _finish_snapshot(self, command: DiskCommand) -> None:
        writer = self._unfinished
        assert writer is not None, "a snapshot's end without a beginning"
        self._unfinished = None
        digest = ZxidDigest(command.zxid, DIGEST_VERSION, command.value) if self._with_digests else None
        writer.finish(digest, command.zxid)
        log = self._log
        if log is not None:
            history.adopt(log, self._snapshots, self._unfinished_zxid)

    def _drop_unfinished(self) -> None:
        writer = self._unfinished
        if writer is not None:
            self._unfinished = None
            writer.abort()
