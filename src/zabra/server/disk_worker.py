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

from zabra.server.ready import (
    DISK_ACCEPTED_EPOCH,
    DISK_APPEND,
    DISK_CURRENT_EPOCH,
    DISK_DELETE_FILE,
    DISK_DROP_SNAPSHOTS,
    DISK_EDIT_CONFIG,
    DISK_ROLL,
    DISK_SAVE_FILE,
    DISK_SNAPSHOT_ABORT,
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_CHUNK,
    DISK_SNAPSHOT_END,
    DISK_TRUNCATE,
    DiskCommand,
)
from zabra.server.reconfig import edit_static_config
from zabra.storage.disk import Disk, DiskFile
from zabra.storage.epochs import Epochs, write_atomically
from zabra.storage.errors import StorageError
from zabra.storage.names import join
from zabra.storage.snapshots import SnapshotWriter
from zabra.storage.txnlog_format import ENTRY_OVERHEAD_BYTES
from zabra.storage.txnsnaplog import FileTxnSnapLog

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
        store: log and snapshots.
        writes_log: True for the queue of the log.  A snapshot on that queue is one a leader sent (SNAP): it
            replaces the history.  A snapshot on the other queue is fuzzy and stands beside it.
        files, files_folder: where configuration files are (``DISK_SAVE_FILE``).
    """

    def __init__(
        self, store: FileTxnSnapLog, writes_log: bool, epochs: Epochs, files: Disk, files_folder: str
    ) -> None:
        self._store: FileTxnSnapLog = store
        self._writes_log: bool = writes_log
        self._epochs: Epochs = epochs
        self._files: Disk = files
        self._files_folder: str = files_folder
        self._unfinished: SnapshotWriter | None = None
        self._unfinished_zxid: i64 = 0
        self._unsynced: i64 = 0
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

    def file_for(self, commands: list[DiskCommand]) -> DiskFile | None:
        """The log file that ``commands`` only have to be written to, appends with room in it; else None.

        A driver that gets a file may call ``write`` in place of ``run``, sync the file by means of its own,
        and then call ``synced`` or ``sync_failed``.
        """
        size: i64 = 0
        for command in commands:
            if command.kind != DISK_APPEND:
                return None
            for entry in command.entries:
                size += len(entry.raw) + ENTRY_OVERHEAD_BYTES
        return self._store.log.file_with_room(size)

    def needs_sync(self) -> bool:
        """Whether what is written must also be synced (``forceSync``)."""
        return self._store.log.force_sync

    def write(self, commands: list[DiskCommand]) -> None:
        """Writes appends, not to be durable before they are synced.

        Raises DiskFailure.
        """
        try:
            for command in commands:
                self._gather(command)
            self._store.log.write()
        except (OSError, StorageError, ValueError) as error:
            token = commands[len(commands) - 1].token
            raise DiskFailure(token, NO_TOKEN, f"{type(error).__name__}: {error}") from error

    def synced(self) -> None:
        """What was written is durable."""
        self.fsyncs += 1
        self.appended += self._unsynced
        self._unsynced = 0

    def sync_failed(self, message: str) -> None:
        """What was written may never be durable."""
        self._store.log.sync_failed(message)

    def _gather(self, command: DiskCommand) -> None:
        assert self._writes_log, "an append on the snapshot queue"
        self._store.append_all([entry.raw for entry in command.entries])
        self._unsynced += len(command.entries)

    def _flush(self) -> None:
        """One write and one fsync for all appends gathered."""
        if self._unsynced > 0:
            self._store.sync()
            self.synced()

    def _carry_out(self, command: DiskCommand) -> None:
        kind = command.kind
        if kind == DISK_ROLL:
            assert self._writes_log, "log work on the snapshot queue"
            self._store.roll()
        elif kind == DISK_TRUNCATE:
            assert self._writes_log, "log work on the snapshot queue"
            command.refused = not self._store.truncate(command.zxid)
        elif kind == DISK_ACCEPTED_EPOCH:
            self._epochs.save_accepted(command.value)
        elif kind == DISK_CURRENT_EPOCH:
            self._epochs.save_current(command.value)
        elif kind == DISK_SAVE_FILE:
            write_atomically(self._files, self._files_folder, command.name, command.data)
        elif kind == DISK_DELETE_FILE:
            self._delete_file(command.name)
        elif kind == DISK_EDIT_CONFIG:
            self._edit_config(command)
        else:
            self._carry_out_snapshot(command)

    def _delete_file(self, name: str) -> None:
        path = join(self._files_folder, name)
        if self._files.exists(path):
            self._files.delete(path)
            self._files.sync_folder(self._files_folder)

    def _edit_config(self, command: DiskCommand) -> None:
        """The static file points to the dynamic one from now on; as a person left it, in all else."""
        path = join(self._files_folder, command.name)
        if self._files.exists(path):
            text = self._files.read(path).decode("utf-8", "replace")
            text = edit_static_config(text, command.data.decode("utf-8"), command.flag)
            write_atomically(self._files, self._files_folder, command.name, text.encode("utf-8"))

    def _carry_out_snapshot(self, command: DiskCommand) -> None:
        kind = command.kind
        if kind == DISK_SNAPSHOT_BEGIN:
            self._drop_unfinished()
            if self._writes_log:
                self._store.forget_beyond(command.zxid)
            self._unfinished = self._store.begin(command.zxid, command.flag, self._writes_log)
            self._unfinished_zxid = command.zxid
        elif kind == DISK_SNAPSHOT_CHUNK:
            assert self._unfinished is not None, "a snapshot chunk without a beginning"
            self._unfinished.write(command.data)
        elif kind == DISK_SNAPSHOT_END:
            self._finish_snapshot(command)
        elif kind == DISK_SNAPSHOT_ABORT:
            self._drop_unfinished()
        elif kind == DISK_DROP_SNAPSHOTS:
            self._store.drop_after(command.zxid)
        else:
            raise AssertionError(f"unknown disk command {kind}")

    def _finish_snapshot(self, command: DiskCommand) -> None:
        writer = self._unfinished
        assert writer is not None, "a snapshot's end without a beginning"
        self._unfinished = None
        if self._writes_log:
            self._store.will_adopt(self._unfinished_zxid)
        writer.finish(command.zxid, command.value)
        if self._writes_log:
            self._store.adopt(self._unfinished_zxid)

    def _drop_unfinished(self) -> None:
        writer = self._unfinished
        if writer is not None:
            self._unfinished = None
            writer.abort()
