"""FileTxnLog: the txn log of a server, as files ``log.<first zxid>`` in one folder.

Source: upstream ``FileTxnLog``, ``FilePadding``; docs/adr/0020 lists where we are stricter and why.

Writing.  ``append`` takes a batch and does one write; ``sync`` makes it durable.  A file is started by the
first append after ``open``, ``roll`` or ``truncate``, never continued by a later process, as upstream does.
Its header is made durable under another name before the file gets its own, so a file called ``log.*``
always has a header, whatever crash happens.  After a failed write or fsync nothing may be appended any more:
what the kernel has kept is unknown, and only a restart finds out.

Reading.  ``read_from(zxid)`` starts with the last file that may hold ``zxid`` and goes on through all later
ones.  Zxids must follow one another: the next counter, or counter 1 of a later epoch.  A gap raises
``LogGapError``, damage that no crash explains ``RottenLogError``; both name the file.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from zabra.storage import txnlog_format as fmt
from zabra.storage.disk import Disk, DiskFile
from zabra.storage.errors import LogBrokenError, LogGapError, RottenLogError, TruncateError
from zabra.storage.names import NEW_LOG, join, log_name, log_zxid

DEFAULT_PREALLOCATE_BYTES: Final = 64 * 1024 * 1024
# Upstream grows a file once less than this is left behind the entries.
_GROW_MARGIN_BYTES: Final = 4096
_READ_BYTES: Final = 1024 * 1024
# A torn write larger than this is not believable: LogWriter's batches are bounded far below.
_MAX_TORN_BYTES: Final = 64 * 1024 * 1024
_COUNTER_MASK: Final = 0xFFFFFFFF


def follows(zxid: int, before: int) -> bool:
    """Whether ``zxid`` may be the very next txn after ``before``."""
    if zxid >> 32 == before >> 32:
        return zxid == before + 1
    return zxid > before and zxid & _COUNTER_MASK == 1


class LogFile:
    """One log file: its name in the folder and the zxid in its name."""

    __slots__ = ("name", "path", "start_zxid")

    def __init__(self, folder: str, name: str, start_zxid: int) -> None:
        self.name = name
        self.path = join(folder, name)
        self.start_zxid = start_zxid

    def __repr__(self) -> str:
        return f"LogFile({self.path!r})"


def list_logs(disk: Disk, folder: str) -> list[LogFile]:
    """The log files of a folder, in the order of their zxids; stray names are left out."""
    found = [(log_zxid(name), name) for name in disk.list(folder)]
    return [LogFile(folder, name, zxid) for zxid, name in sorted(found) if zxid >= 0]


def logs_holding(files: Sequence[LogFile], zxid: int) -> list[LogFile]:
    """The last file that starts at or before ``zxid``, and all later ones; all when none starts so early."""
    first = 0
    for i, file in enumerate(files):
        if file.start_zxid <= zxid:
            first = i
    return list(files[first:])


class LogEntry:
    """One entry: its zxid, the encoded txn, and where it stands in its file."""

    __slots__ = ("offset", "raw", "zxid")

    def __init__(self, zxid: int, offset: int, raw: bytes) -> None:
        self.zxid = zxid
        self.offset = offset
        self.raw = raw


class LogFileReader:
    """Reads one log file in slices.  ``tail`` is None until the end, then says how the file ends.

    ``end`` is the offset behind the last valid entry; ``bad_ends`` are the places of end bytes to mend.
    A file without a whole header counts as torn when it is shorter than a header, as rotten otherwise.
    """

    def __init__(self, disk: Disk, path: str, slice_bytes: int = _READ_BYTES) -> None:
        self._disk = disk
        self.path = path
        self._slice_bytes = slice_bytes
        self.size = disk.size(path)
        self.end = 0
        self.last_zxid = -1
        self.bad_ends: list[int] = []
        self.tail: fmt.Tail | None = None
        self._want = slice_bytes

    def next_slice(self) -> list[LogEntry]:
        """The entries of the next slice; empty only at the end of the file."""
        while self.tail is None:
            if self.end == 0 and not self._read_header():
                return []
            buf = self._disk.read(self.path, self.end, self._want)
            if len(buf) < self._want:
                # The end; or padding was given back since ``size`` was read, by a roll.
                self.size = self.end + len(buf)
            at_end = self.end + len(buf) >= self.size
            found = fmt.scan(buf, at_end)
            start = self.end
            self.end += found.consumed
            self.bad_ends.extend(start + offset for offset in found.bad_ends)
            if found.zxids:
                self.last_zxid = found.zxids[-1]
            if found.stop == fmt.MORE:
                self._want = max(self._slice_bytes, found.needed)
            else:
                self._judge(found.reason)
            if found.zxids:
                return [
                    LogEntry(zxid, start + offset, raw)
                    for zxid, offset, raw in zip(found.zxids, found.offsets, found.txns, strict=True)
                ]
        return []

    def _read_header(self) -> bool:
        head = self._disk.read(self.path, 0, fmt.HEADER_BYTES)
        problem = fmt.file_header_problem(head)
        if not problem:
            self.end = fmt.HEADER_BYTES
            return True
        short = len(head) < fmt.HEADER_BYTES
        self.tail = fmt.Tail(fmt.TORN if short else fmt.ROTTEN, problem)
        return False

    def _judge(self, reason: str) -> None:
        """Decides what the rest of the file is."""
        written = self._last_nonzero()
        if written <= self.end:
            self.tail = fmt.Tail(fmt.CLEAN, "")
        elif written - self.end > _MAX_TORN_BYTES:
            self.tail = fmt.Tail(fmt.ROTTEN, reason or "zeros in the middle of the file")
        else:
            rest = self._disk.read(self.path, self.end, written - self.end)
            self.tail = fmt.judge_tail(rest, self.end, self.size, self.last_zxid)

    def _last_nonzero(self) -> int:
        """The offset behind the last byte that is not zero, at least ``end``."""
        upper = self.size
        while upper > self.end:
            lower = max(self.end, upper - self._slice_bytes)
            length = fmt.trimmed_length(self._disk.read(self.path, lower, upper - lower))
            if length:
                return lower + length
            upper = lower
        return self.end


class LogReader:
    """Reads txns across files, in slices, from ``zxid`` on.

    ``done`` is set at the end.  ``duplicates`` counts entries skipped because their zxid had been read
    already (a learner that logged a txn twice).  ``files`` are the files it reads.
    """

    def __init__(self, disk: Disk, folder: str, zxid: int, *, trust_gaps: bool = False) -> None:
        self._disk = disk
        self.files = logs_holding(list_logs(disk, folder), zxid)
        self._next_file = 0
        self._reader: LogFileReader | None = None
        # The zxid before the first one wanted; a reader from the very beginning accepts any first zxid.
        self._from = zxid
        self.last_zxid = zxid - 1
        self._anything_goes = zxid <= 0 or trust_gaps
        self._trust_gaps = trust_gaps
        self._torn: RottenLogError | None = None
        self.duplicates = 0
        self.bad_ends: list[tuple[str, int]] = []
        self.done = False

    def next_slice(self) -> list[LogEntry]:
        """The next txns, in order; empty only when ``done``."""
        while not self.done:
            reader = self._reader
            if reader is None:
                if self._next_file >= len(self.files):
                    self.done = True
                    break
                reader = LogFileReader(self._disk, self.files[self._next_file].path)
                self._reader = reader
                self._next_file += 1
            entries = self._wanted(reader, reader.next_slice())
            if reader.tail is not None:
                self._file_ended(reader, reader.tail)
                self._reader = None
            if entries:
                return entries
        return []

    def _wanted(self, reader: LogFileReader, entries: list[LogEntry]) -> list[LogEntry]:
        """Leaves out what was read before, and refuses gaps."""
        out = []
        for entry in entries:
            zxid = entry.zxid
            if zxid < self._from:
                # Whatever a torn tail before this one lost is not wanted either.
                self._torn = None
                continue
            if zxid <= self.last_zxid:
                self.duplicates += 1
                continue
            if not self._anything_goes and not follows(zxid, self.last_zxid):
                if self._torn is not None:
                    raise self._torn
                raise LogGapError(self.last_zxid, zxid, f"{reader.path}, byte {entry.offset}")
            if self._torn is not None and zxid != self.last_zxid + 1 and not self._trust_gaps:
                raise self._torn
            self._torn = None
            self._anything_goes = self._trust_gaps
            self.last_zxid = zxid
            out.append(entry)
        return out

    def _file_ended(self, reader: LogFileReader, tail: fmt.Tail) -> None:
        self.bad_ends.extend((reader.path, offset) for offset in reader.bad_ends)
        if tail.verdict == fmt.ROTTEN:
            raise RottenLogError(reader.path, reader.end, tail.reason)
        if tail.verdict == fmt.TORN:
            # Harmless if the next file begins with the zxid that was cut: it was never acknowledged.
            reason = f"{tail.reason}, and the next file does not go on where this one stops"
            self._torn = RottenLogError(reader.path, reader.end, reason)


class FileTxnLog:
    """The log of one server.  Used by one thread at a time, but for ``read_from`` and ``reader``.

    Args:
        disk, folder: where the files are (``<dataLogDir>/version-2``).
        preallocate_bytes: a file grows by this much at a time (``preAllocSize``, which is in KiB); 0: not.
        size_limit_bytes: ``sync`` rolls once a file is larger (``txnLogSizeLimitInKb``); 0: never.
        force_sync: False leaves durability to the operating system (``forceSync=no``).
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        *,
        preallocate_bytes: int = DEFAULT_PREALLOCATE_BYTES,
        size_limit_bytes: int = 0,
        force_sync: bool = True,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._preallocate_bytes = preallocate_bytes
        self._size_limit_bytes = size_limit_bytes
        self._force_sync = force_sync
        self._file: DiskFile | None = None
        self._file_path = ""
        self._position = 0
        self._file_size = 0
        self._closed_bytes = 0
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
        if self._disk.exists(join(self._folder, NEW_LOG)):
            self._disk.delete(join(self._folder, NEW_LOG))
        files = list_logs(self._disk, self._folder)
        self.last_zxid = -1
        while files and self.last_zxid < 0:
            file = files.pop()
            self.last_zxid = self._mend(file)
        self._opened = True
        return self.last_zxid

    def _mend(self, file: LogFile) -> int:
        """Makes the last file of the folder end with its last entry; returns that zxid, -1 if none."""
        reader = LogFileReader(self._disk, file.path)
        while reader.tail is None:
            reader.next_slice()
        if reader.tail.verdict == fmt.ROTTEN:
            raise RottenLogError(file.path, reader.end, reader.tail.reason)
        if reader.last_zxid < 0:
            self._delete(file)
            return -1
        self.mend_ends([(file.path, offset) for offset in reader.bad_ends])
        if reader.size > reader.end:
            handle = self._disk.open(file.path)
            try:
                handle.truncate(reader.end)
                handle.sync()
            finally:
                handle.close()
        return reader.last_zxid

    def mend_ends(self, places: Sequence[tuple[str, int]]) -> None:
        """Writes the end byte where it was found wrong behind a right checksum: (path, offset) each."""
        for path, offset in places:
            handle = self._disk.open(path)
            try:
                handle.seek(offset)
                handle.write(bytes((fmt.END_BYTE,)))
                handle.sync()
            finally:
                handle.close()

    def _delete(self, file: LogFile) -> None:
        self._disk.delete(file.path)
        self._disk.sync_folder(self._folder)

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

    def append(self, entries: Sequence[tuple[int, bytes]]) -> None:
        """Writes a batch of (zxid, encoded txn) with one write; durable after ``sync``.

        Raises LogGapError when a zxid does not follow the one before it: a log with a hole is useless
        from the hole on, so the mistake must not get that far.
        """
        self._check_usable()
        if not entries:
            return
        last = self.last_zxid
        for zxid, raw in entries:
            if fmt.txn_zxid(raw) != zxid:
                raise ValueError(f"the txn appended as 0x{zxid:x} says it is 0x{fmt.txn_zxid(raw):x}")
            if last >= 0 and not follows(zxid, last):
                raise LogGapError(last, zxid, f"append to {self._file_path or self._folder}")
            last = zxid
        data = fmt.encode_entries([raw for _, raw in entries])
        try:
            file = self._file or self._create(entries[0][0])
            self._grow(file, len(data))
            file.write(data)
        except OSError as error:
            self._broken = f"writing {self._file_path} failed: {error}"
            raise
        self._position += len(data)
        self._file_size = max(self._file_size, self._position)
        self.last_zxid = last

    def _create(self, zxid: int) -> DiskFile:
        """Starts a file.  Its name appears only once its header is durable."""
        path = join(self._folder, log_name(zxid))
        self._file_path = path
        if self._disk.exists(path):
            self._check_replaceable(path)
        new = join(self._folder, NEW_LOG)
        file = self._disk.create(new)
        self._file = file
        header = fmt.encode_file_header()
        file.write(header)
        self._position = len(header)
        self._file_size = self._position
        self._grow(file, 0)
        file.sync()
        self._disk.rename(new, path)
        self._disk.sync_folder(self._folder)
        return file

    def _check_replaceable(self, path: str) -> None:
        """A file of this name can only be one whose txns were all truncated away."""
        if LogFileReader(self._disk, path).next_slice():
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

    def sync(self) -> None:
        """Makes everything appended durable.  A failure is final: see the module's text."""
        self._check_usable()
        if self._file is None:
            return
        if self._force_sync:
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
        self._position = self._file_size = 0
        self._file_path = ""

    def close(self) -> None:
        """Closes the file that is being written, without syncing it."""
        self._opened = False
        if self._file is not None:
            self._file.close()
            self._file = None

    # Cutting

    def truncate(self, zxid: int) -> int:
        """Removes every txn above ``zxid``, durably, newest first; returns the last zxid that is left.

        Newest first, one fsync each: after a crash in between, what is left is still without a gap.  The
        log may end below ``zxid`` (a snapshot reaches further) or become empty (-1); whether that will do
        is for the caller to judge.
        Raises TruncateError when there is no log at all, and then nothing was changed; any error leaves
        the log unusable until reopened (ZOOKEEPER-3701).
        """
        self._check_usable()
        self.roll()
        files = list_logs(self._disk, self._folder)
        if not files:
            raise TruncateError(f"{self._folder}: no log to truncate to 0x{zxid:x}")
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
            reader = LogFileReader(self._disk, file.path)
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
        handle = self._disk.open(file.path)
        try:
            handle.truncate(cut)
            handle.sync()
        finally:
            handle.close()
        return last

    def clear(self) -> None:
        """Removes every file, newest first: the history is replaced by a snapshot (see ``history.adopt``)."""
        self._check_usable()
        self.roll()
        self._broken = "clearing the log did not finish"
        for file in reversed(list_logs(self._disk, self._folder)):
            self._delete(file)
        self.last_zxid = -1
        self._broken = ""

    # Reading

    def reader(self, zxid: int, *, trust_gaps: bool = False) -> LogReader:
        """Reads in slices from ``zxid`` on, what has been written so far."""
        return LogReader(self._disk, self._folder, zxid, trust_gaps=trust_gaps)

    def read_from(self, zxid: int, last_zxid: int = -1) -> Iterator[tuple[int, bytes]]:
        """(zxid, encoded txn) of every txn from ``zxid`` on, in order, up to ``last_zxid`` unless that is -1.

        While the log is being written, give the last zxid known to be synced as ``last_zxid``.
        """
        reader = self.reader(zxid)
        while not reader.done:
            for entry in reader.next_slice():
                if 0 <= last_zxid < entry.zxid:
                    return
                yield entry.zxid, entry.raw

    def segment_start(self, zxid: int) -> int:
        """The first zxid, by name, of the file that ``read_from(zxid)`` begins with; -1 without files."""
        files = logs_holding(list_logs(self._disk, self._folder), zxid)
        return files[0].start_zxid if files else -1

    def bytes_from(self, zxid: int) -> int:
        """Bytes of the files that ``read_from(zxid)`` reads (for ``snapshotSizeFactor``), without padding
        in the file being written."""
        total = 0
        for file in logs_holding(list_logs(self._disk, self._folder), zxid):
            current = self._file is not None and file.path == self._file_path
            total += self._position if current else self._disk.size(file.path)
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
