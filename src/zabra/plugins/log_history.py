"""Reading the txn log of a server, ours or Apache's, that goes on writing it.

A ``LogHistory`` is a place in the log: each ``read`` goes on where the one before it has stopped, without
reading a file from its beginning again.  It gives no txn of which it cannot prove that nothing is missing
before it: either the log has the txn where reading began, or the next counter of the same epoch follows, or
there is a snapshot of that very zxid (a server logs everything after its snapshot), or reading begins at 0
and the snapshot that the log goes on from is of a tree in which nothing has happened.
"""

from typing import Final

from zabra.plugins.beginnings import nothing_before
from zabra.plugins.feed import Compacted
from zabra.storage import txnlog_format as fmt
from zabra.storage.disk import Disk
from zabra.storage.errors import RottenLogError
from zabra.storage.log_reader import LogEntry, LogFile, LogFileReader, list_logs, logs_holding
from zabra.storage.names import VERSION_FOLDER, split_snapshot_name

# Files that vanish while they are looked at (a purge), before it is believed that something is wrong.
_TRIES: Final = 5


class LogHistory:
    """See ``feed.History``.

    Args:
        logs, snapshots: the doors to dataLogDir and dataDir, which may be the same.
        since: reading begins with what follows this zxid.
    """

    def __init__(self, logs: Disk, snapshots: Disk, since: int, folder: str = VERSION_FOLDER) -> None:
        self._disk = logs
        self._snapshots = snapshots
        self._folder = folder
        self.after = since
        # Whether the txn ``after`` was seen, so that what follows it in the log is what comes next.
        self._proved = False
        self._file: LogFile | None = None
        self._reader: LogFileReader | None = None
        self._pending: list[LogEntry] = []
        # Whether there was a later file already when the last look at this one began: then it is complete.
        self._is_complete = False

    def oldest(self) -> int:
        """The zxid of the first txn in the log; 0 for none."""
        for file in list_logs(self._disk, self._folder):
            try:
                entries = LogFileReader(self._disk, file.path).next_slice()
            except FileNotFoundError:
                # Purged while we looked.
                continue
            if entries:
                return entries[0].zxid
        return 0

    def read(self, upto: int, max_bytes: int) -> list[bytes]:
        """The encoded txns that come next; see ``feed.History``."""
        found: list[bytes] = []
        size = 0
        while size < max_bytes:
            entry = self._next()
            if entry is None:
                break
            if entry.zxid > upto:
                self._pending.append(entry)
                break
            self._check(entry)
            self.after = entry.zxid
            found.append(entry.raw)
            size += len(entry.raw)
        self._forget_beyond(upto)
        return found

    def _forget_beyond(self, upto: int) -> None:
        """What was read ahead beyond ``upto`` is read again when it is wanted.

        It may not be committed: another leader may have it cut off, and other txns take its place.
        """
        pending = self._pending
        beyond = 0
        while beyond < len(pending) and pending[beyond].zxid > upto:
            beyond += 1
        if not beyond:
            return
        first = pending[beyond - 1]
        del pending[:beyond]
        assert self._file is not None
        try:
            reader = LogFileReader(self._disk, self._file.path)
        except FileNotFoundError:
            self._lose_place()
            return
        reader.end = first.offset
        reader.last_zxid = self.after
        self._reader = reader
        self._is_complete = False

    def _lose_place(self) -> None:
        """The file is gone: whether history still reaches back shows anew."""
        self._file = self._reader = None
        self._proved = self._is_complete = False

    def _check(self, entry: LogEntry) -> None:
        """Raises Compacted where something may be missing before ``entry``."""
        follows_on = entry.zxid == self.after + 1
        if not follows_on:
            follows_on = fmt.follows(entry.zxid, self.after) and (
                self._proved or self._has_snapshot() or self._is_first(entry)
            )
        if not follows_on:
            raise Compacted(self.after, self.oldest())
        self._proved = True

    def _has_snapshot(self) -> bool:
        names = self._snapshots.list(self._folder)
        return any(split_snapshot_name(name)[0] == self.after for name in names)

    def _is_first(self, entry: LogEntry) -> bool:
        return self.after == 0 and nothing_before(self._snapshots, self._folder, entry.zxid - 1)

    def _next(self) -> LogEntry | None:
        """The first entry behind ``after``; None where the log ends."""
        for _ in range(_TRIES):
            while self._pending:
                # Taken from the end: ``_fill`` has put the oldest there.
                entry = self._pending.pop()
                if entry.zxid > self.after:
                    return entry
                self._proved = self._proved or entry.zxid == self.after
            try:
                more = self._fill()
            except FileNotFoundError:
                self._lose_place()
                continue
            if not more:
                return None
        return self._next() if self._pending else None

    def _fill(self) -> bool:
        """Reads the next slice; False at the end of the last file."""
        while True:
            reader = self._reader
            if reader is None:
                if not self._open():
                    return False
                continue
            entries = reader.next_slice()
            if entries:
                entries.reverse()
                self._pending = entries
                return True
            assert reader.tail is not None
            following = self._following()
            if following is None:
                self._look_again(reader)
                return False
            if not self._is_complete:
                # It may have got more between our last look and the beginning of the later file.
                self._is_complete = True
                self._look_again(reader)
            elif reader.tail.verdict == fmt.ROTTEN:
                raise RottenLogError(reader.path, reader.end, reader.tail.reason)
            else:
                self._is_complete = False
                self._file = following
                self._reader = LogFileReader(self._disk, following.path)

    def _open(self) -> bool:
        """The file with ``after``, at its beginning, or the one being read, where it had ended."""
        if self._file is None:
            files = logs_holding(list_logs(self._disk, self._folder), self.after)
            if not files:
                return False
            self._file = files[0]
            self._reader = LogFileReader(self._disk, self._file.path)
        return True

    def _following(self) -> LogFile | None:
        assert self._file is not None
        start = self._file.start_zxid
        return next((file for file in list_logs(self._disk, self._folder) if file.start_zxid > start), None)

    def _look_again(self, reader: LogFileReader) -> None:
        """The file may have grown, or grow: the next reader goes on behind the last whole entry."""
        if reader.end:
            again = LogFileReader(self._disk, reader.path)
            again.end = reader.end
            again.last_zxid = reader.last_zxid
            self._reader = again
        elif self._is_complete:
            self._reader = LogFileReader(self._disk, reader.path)
        else:
            self._file = self._reader = None
