"""FileTxnLog: the txn log of a server, as files ``log.<first zxid>`` in one folder.

Source: upstream ``FileTxnLog``, ``FilePadding``; docs/adr/0020 lists where we are stricter and why.

Writing.  ``append`` gathers entries, ``sync`` writes all of them with one write and makes it durable, so
there is never more than one write that a crash could tear.  A file is started by the first entry after
``open``, ``roll`` or ``truncate``, never continued by a later process, as upstream does.
Its header is made durable under another name before the file gets its own, so a file called ``log.*``
always has a header, whatever crash happens.  After a failed write or fsync nothing may be appended any more:
what the kernel has kept is unknown, and only a restart finds out.

Reading.  ``read_from(zxid)`` starts with the last file that may hold ``zxid`` and goes on through all later
ones; see ``log_reader``.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from zabra.storage import txnlog_format as fmt
from zabra.storage.disk import Disk, DiskFile
from zabra.storage.errors import LogBrokenError, LogGapError, RottenLogError, TruncateError
from zabra.storage.log_reader import LogFile, LogFileReader, LogReader, list_logs, logs_holding
from zabra.storage.names import NEW_LOG, join, log_name

_REWRITE_BYTES: Final = 1024 * 1024
DEFAULT_PREALLOCATE_BYTES: Final = 64 * 1024 * 1024
# Upstream grows a file once less than this is left behind the entries.
_GROW_MARGIN_BYTES: Final = 4096
DEFAULT_FILL_BYTES: Final = 1024 * 1024
# Entries gathered before a write (and fsync) of its own.
_MAX_BATCH_BYTES: Final = 16 * 1024 * 1024


class FileTxnLog:
    """The log of one server.  Used by one thread at a time, but for ``read_from`` and ``reader``.

    Args:
        disk, folder: where the files are (``<dataLogDir>/version-2``).
        preallocate_bytes: a file grows by this much at a time (``preAllocSize``, which is in KiB); 0: not.
        size_limit_bytes: ``sync`` rolls once a file is larger (``txnLogSizeLimitInKb``); 0: never.
        force_sync: False leaves durability to the operating system (``forceSync=no``).
        fill_bytes: zeros are written so far ahead of the entries, where a file grows by more (``_fill``).
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        *,
        preallocate_bytes: int = DEFAULT_PREALLOCATE_BYTES,
        size_limit_bytes: int = 0,
        force_sync: bool = True,
        fill_bytes: int = DEFAULT_FILL_BYTES,
    ) -> None:
        self.disk = disk
        self.folder = folder
        self._preallocate_bytes = preallocate_bytes
        self._size_limit_bytes = size_limit_bytes
        self.force_sync = force_sync
        self._fill_bytes = fill_bytes
        self._file: DiskFile | None = None
        self._file_path = ""
        self._position = 0
        self._file_size = 0
        # Up to here blocks have been written, not only reserved.
        self._filled = 0
        self._closed_bytes = 0
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        # The first zxid of the batch, and the one before it.
        self._batch_zxid = -1
        self._batch_previous = -1
        self._broken = ""
        self._opened = False
        self.last_zxid = -1
        """The zxid of the last txn appended or found; -1 when there is none."""

    # Opening

    def open(self) -> int:
        """Mends what a crash left behind, without reading older files; returns ``last_zxid``.

        A torn tail is cut off, padding is given back, files without any txn at the end of the folder are
        removed.  Raises RottenLogError where the damage is not a crash's.
        """
        if self.disk.exists(join(self.folder, NEW_LOG)):
            self.disk.delete(join(self.folder, NEW_LOG))
        files = list_logs(self.disk, self.folder)
        self.last_zxid = -1
        while files and self.last_zxid < 0:
            file = files.pop()
            self.last_zxid = self._mend(file)
        self._opened = True
        return self.last_zxid

    def _mend(self, file: LogFile) -> int:
        """Makes the last file of the folder end with its last entry; returns that zxid, -1 if none."""
        reader = LogFileReader(self.disk, file.path)
        while reader.tail is None:
            reader.next_slice()
        if reader.tail.verdict == fmt.ROTTEN:
            raise RottenLogError(file.path, reader.end, reader.tail.reason)
        if reader.last_zxid < 0:
            self._delete(file)
            return -1
        self.mend_ends([(file.path, offset) for offset in reader.bad_ends])
        self._rewrite(file.path, reader.end)
        return reader.last_zxid

    def _rewrite(self, path: str, end: int) -> None:
        """Makes certain that what was read is also on the disk, and cuts what is behind it.

        The last process may have died before its fsync, or of an fsync that failed.  After a failure the
        kernel shows bytes that it will never write, and a second fsync would succeed without them.  Only
        writing them again makes them durable, and a server may vote with nothing less.
        """
        handle = self.disk.open(path)
        try:
            for start in range(0, end, _REWRITE_BYTES):
                data = self.disk.read(path, start, min(_REWRITE_BYTES, end - start))
                handle.seek(start)
                handle.write(data)
            handle.truncate(end)
            handle.sync()
        finally:
            handle.close()

    def mend_ends(self, places: Sequence[tuple[str, int]]) -> None:
        """Writes the end byte where it was found wrong behind a right checksum: (path, offset) each."""
        for path, offset in places:
            handle = self.disk.open(path)
            try:
                handle.seek(offset)
                handle.write(bytes((fmt.END_BYTE,)))
                handle.sync()
            finally:
                handle.close()

    def settle_names(self) -> None:
        """Makes the names in the folder durable."""
        self.disk.sync_folder(self.folder)

    def _delete(self, file: LogFile) -> None:
        self.disk.delete(file.path)
        self.disk.sync_folder(self.folder)

    def continue_from(self, zxid: int) -> None:
        """Says that the history so far ends at ``zxid``, which a snapshot holds and this log need not."""
        self._check_usable()
        if zxid < self.last_zxid:
            raise ValueError(f"the log reaches to 0x{self.last_zxid:x}, beyond 0x{zxid:x}")
        if zxid > self.last_zxid:
            self.roll()
            self.last_zxid = zxid

    # Writing

    def _check_usable(self) -> None:
        if self._broken:
            raise LogBrokenError(self._broken)
        if not self._opened:
            raise LogBrokenError("the log has not been opened")

    def append(self, zxid: int, raw: bytes) -> None:
        """Adds one encoded txn to the batch that the next ``sync`` writes and makes durable.

        Raises LogGapError when ``zxid`` does not follow the one before it: a log with a hole is useless
        from the hole on, so the mistake must not get that far.
        """
        self._check_usable()
        if fmt.txn_zxid(raw) != zxid:
            raise ValueError(f"the txn appended as 0x{zxid:x} says it is 0x{fmt.txn_zxid(raw):x}")
        if self.last_zxid >= 0 and not fmt.follows(zxid, self.last_zxid):
            raise LogGapError(self.last_zxid, zxid, f"append to {self._file_path or self.folder}")
        if not self._batch:
            self._batch_zxid = zxid
            self._batch_previous = self.last_zxid
        self._batch.append(raw)
        self._batch_bytes += len(raw)
        self.last_zxid = zxid
        if self._batch_bytes >= _MAX_BATCH_BYTES:
            self.sync()

    def append_all(self, txns: list[bytes]) -> None:
        """As ``append``, for txns that say their zxids themselves."""
        self._check_usable()
        if not txns:
            return
        gap = fmt.first_gap(txns, self.last_zxid)
        if gap >= 0:
            before = fmt.txn_zxid(txns[gap - 1]) if gap > 0 else self.last_zxid
            where = f"append to {self._file_path or self.folder}"
            raise LogGapError(before, fmt.txn_zxid(txns[gap]), where)
        if not self._batch:
            self._batch_zxid = fmt.txn_zxid(txns[0])
            self._batch_previous = self.last_zxid
        self._batch += txns
        self._batch_bytes += sum(map(len, txns))
        self.last_zxid = fmt.txn_zxid(txns[-1])
        if self._batch_bytes >= _MAX_BATCH_BYTES:
            self.sync()

    def file_with_room(self, size: int) -> DiskFile | None:
        """The file being written, if ``size`` more bytes of entries need neither another nor a larger one."""
        file = self._file
        if file is None or self._broken or self._batch or 0 < self._size_limit_bytes < self._position + size:
            return None
        if self._preallocate_bytes > 0 and self._position + size + _GROW_MARGIN_BYTES >= self._room():
            return None
        return file

    def write(self) -> None:
        """Writes what was appended and leaves its sync to the caller."""
        self._check_usable()
        self._write_batch()

    def sync_failed(self, message: str) -> None:
        """The sync that the caller took upon itself failed, which is final."""
        self._broken = f"fsync of {self._file_path} failed: {message}"

    def _write_batch(self) -> None:
        if not self._batch:
            return
        data = fmt.encode_entries(self._batch)
        self._batch = []
        self._batch_bytes = 0
        try:
            file = self._file or self._create(self._batch_zxid)
            self._grow(file, len(data))
            file.write(data)
        except (OSError, ValueError) as error:
            self._broken = f"writing {self._file_path} failed: {error}"
            self._cut_back()
            raise
        self._position += len(data)
        self._file_size = max(self._file_size, self._position)

    def _cut_back(self) -> None:
        """After a write that happened in part: an entry cut at just any byte would look like rot."""
        if self._file is None:
            return
        try:
            self._file.truncate(self._position)
        except OSError as error:
            self._broken += f"; and so did cutting it at byte {self._position}: {error}"

    def _create(self, zxid: int) -> DiskFile:
        """Starts a file.  Its name appears only once its header is durable."""
        path = join(self.folder, log_name(zxid))
        self._file_path = path
        if self.disk.exists(path):
            self._check_replaceable(path)
        new = join(self.folder, NEW_LOG)
        file = self.disk.create(new)
        self._file = file
        header = fmt.encode_file_header(max(self._batch_previous, 0))
        file.write(header)
        self._position = len(header)
        self._file_size = self._filled = self._position
        self._grow(file, 0)
        file.sync()
        self.disk.rename(new, path)
        self.disk.sync_folder(self.folder)
        return file

    def _check_replaceable(self, path: str) -> None:
        """A file of this name can only be one whose txns were all truncated away."""
        if LogFileReader(self.disk, path).next_slice():
            raise ValueError(f"{path} holds txns already")

    def _grow(self, file: DiskFile, more: int) -> None:
        """Preallocates in whole steps, as upstream does, before ``more`` bytes are written."""
        step = self._preallocate_bytes
        if step <= 0:
            return
        size = self._file_size
        while self._position + more + _GROW_MARGIN_BYTES >= size:
            size += step
        if size > self._file_size:
            file.preallocate(size)
            self._file_size = size
        if self._fills() and self._position + more + _GROW_MARGIN_BYTES >= self._filled:
            self._fill(file, more)

    def _fills(self) -> bool:
        """Whether files are large enough for zeros to pay."""
        return self._preallocate_bytes > self._fill_bytes

    def _room(self) -> int:
        """Up to where entries can be written without another step."""
        return self._filled if self._fills() else self._file_size

    def _fill(self, file: DiskFile, more: int) -> None:
        """Writes zeros over what is only reserved, ahead of ``more`` bytes of entries.

        A reserved block is made a written one in the file system's journal by the first fsync behind a write
        to it, which takes as long as the fsync itself; all that share the disk wait for the same journal.
        See docs/adr/0113.
        """
        start = max(self._filled, self._position)
        end = min(self._file_size, self._position + more + _GROW_MARGIN_BYTES + self._fill_bytes)
        file.seek(start)
        file.write(bytes(end - start))
        file.seek(self._position)
        self._filled = end

    def sync(self) -> None:
        """Makes everything appended durable.  A failure is final: see the module's text."""
        self._check_usable()
        self._write_batch()
        if self._file is None:
            return
        if self.force_sync:
            self._sync_file(self._file)
        if 0 < self._size_limit_bytes < self._position:
            self.roll()

    def _sync_file(self, file: DiskFile) -> None:
        try:
            file.sync()
        except OSError as error:
            self._broken = f"fsync of {self._file_path} failed: {error}"
            raise

    def roll(self) -> None:
        """Ends the current file, durably and without its padding; the next append starts another."""
        self._check_usable()
        self._write_batch()
        file = self._file
        if file is None:
            return
        self._file = None
        try:
            if self._file_size > self._position:
                file.truncate(self._position)
            self._sync_file(file)
        except OSError as error:
            self._broken = self._broken or f"ending {self._file_path} failed: {error}"
            raise
        finally:
            file.close()
        self._closed_bytes += self._position
        self._position = self._file_size = self._filled = 0
        self._file_path = ""

    def close(self) -> None:
        """Closes the file that is being written; entries that were not synced are dropped."""
        self._opened = False
        self._batch = []
        if self._file is not None:
            self._file.close()
            self._file = None

    # Cutting

    def truncate(self, zxid: int) -> int:
        """Removes every txn above ``zxid``, durably, newest first; returns the last zxid that is left.

        Newest first, one fsync each: after a crash in between, what is left is still without a gap.  The
        log may end below ``zxid`` (a snapshot reaches further) or become empty (-1); whether that will do
        is for the caller to judge (``FileTxnSnapLog`` does).
        Raises TruncateError when there is no log at all, and then nothing was changed; any error leaves
        the log unusable until reopened (ZOOKEEPER-3701).
        """
        self._check_usable()
        self.roll()
        files = list_logs(self.disk, self.folder)
        if not files:
            raise TruncateError(f"{self.folder}: no log to truncate to 0x{zxid:x}")
        self._broken = f"truncating to 0x{zxid:x} did not finish"
        self.last_zxid = -1
        while files and self.last_zxid < 0:
            file = files.pop()
            self.last_zxid = self._cut(file, zxid)
        self._broken = ""
        return self.last_zxid

    def _cut(self, file: LogFile, zxid: int) -> int:
        """Cuts one file behind its last txn at or below ``zxid``, or deletes it; returns that txn, or -1."""
        cut, last = 0, -1
        if file.start_zxid <= zxid:
            reader = LogFileReader(self.disk, file.path)
            while reader.tail is None and not cut:
                for entry in reader.next_slice():
                    if entry.zxid > zxid:
                        cut = entry.offset
                        break
                    last = entry.zxid
            if not cut and reader.tail is not None:
                if reader.tail.verdict == fmt.ROTTEN:
                    raise RottenLogError(file.path, reader.end, reader.tail.reason)
                cut = reader.end
        if last < 0:
            self._delete(file)
            return -1
        handle = self.disk.open(file.path)
        try:
            handle.truncate(cut)
            handle.sync()
        finally:
            handle.close()
        return last

    def clear(self) -> None:
        """Removes every file, newest first: a snapshot replaces the history (``FileTxnSnapLog.adopt``)."""
        self._check_usable()
        self.roll()
        self._broken = "clearing the log did not finish"
        self.remove_files()
        self._broken = ""

    def remove_files(self) -> None:
        """``clear`` of a log that is not open."""
        for file in reversed(list_logs(self.disk, self.folder)):
            self._delete(file)
        self.last_zxid = -1

    # Reading

    def reader(self, zxid: int, *, trust_gaps: bool = False, until: int = -1) -> LogReader:
        """Reads in slices, from ``zxid`` on, what has been synced; ``until``: little beyond that txn."""
        return LogReader(self.disk, self.folder, zxid, trust_gaps=trust_gaps, until=until)

    def read_from(self, zxid: int, last_zxid: int = -1) -> Iterator[tuple[int, bytes]]:
        """(zxid, encoded txn) of every txn from ``zxid`` on, in order; only up to ``last_zxid`` if given.

        While another thread writes the log, give the last zxid known to be synced as ``last_zxid``.
        """
        reader = self.reader(zxid, until=last_zxid)
        while not reader.done:
            for entry in reader.next_slice():
                if 0 <= last_zxid < entry.zxid:
                    return
                yield entry.zxid, entry.raw

    def segment_start(self, zxid: int) -> int:
        """The first zxid, by name, of the file that ``read_from(zxid)`` begins with; -1 without files."""
        files = logs_holding(list_logs(self.disk, self.folder), zxid)
        return files[0].start_zxid if files else -1

    def bytes_from(self, zxid: int) -> int:
        """Bytes of the files that ``read_from(zxid)`` reads (for ``snapshotSizeFactor``), without padding
        in the file being written."""
        total = 0
        for file in logs_holding(list_logs(self.disk, self.folder), zxid):
            current = self._file is not None and file.path == self._file_path
            total += self._position if current else self.disk.size(file.path)
        return total

    def current_bytes(self) -> int:
        """Bytes written to the current file."""
        return self._position

    def total_bytes(self) -> int:
        """Bytes written since ``open`` or ``reset_total``, over all files (for ``snapSizeLimitInKb``)."""
        return self._closed_bytes + self._position

    def reset_total(self) -> None:
        """A snapshot begins: what was written to files ended by now no longer counts."""
        self._closed_bytes = 0
