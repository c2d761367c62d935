"""Reading txn logs: one file, or all that follow a zxid, in slices.

Zxids must follow one another: the next counter, or counter 1 of a later epoch.  A gap raises
``LogGapError``, damage that no crash explains ``RottenLogError``; both name the file.  See
``txnlog_format`` for what counts as which, and docs/adr/0020 for why we are stricter than upstream's
``FileTxnLog.FileTxnIterator``.
"""

from collections.abc import Sequence
from typing import Final

from zabra.storage import txnlog_format as fmt
from zabra.storage.disk import Disk
from zabra.storage.errors import LogGapError, RottenLogError
from zabra.storage.names import join, log_zxid

_READ_BYTES: Final = 1024 * 1024
# A torn write larger than this is not believable (a batch of the writer is at most 16 MiB and one txn more).
_MAX_TORN_BYTES: Final = 64 * 1024 * 1024


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
    What stands behind the txn ``until`` is not judged: it may be being written.
    """

    def __init__(self, disk: Disk, path: str, slice_bytes: int = _READ_BYTES, until: int = -1) -> None:
        self._disk = disk
        self.path = path
        self._slice_bytes = slice_bytes
        self.size = disk.size(path)
        self.end = 0
        self.last_zxid = -1
        self.bad_ends: list[int] = []
        self.tail: fmt.Tail | None = None
        self._until = until
        self._want = slice_bytes
        # The zxid before the file's first one, where the file says so.
        self.previous_zxid = 0

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
            if 0 <= self._until <= self.last_zxid:
                self.tail = fmt.Tail(fmt.CLEAN, "")
            elif found.stop == fmt.MORE:
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
            self.previous_zxid = fmt.previous_zxid(head)
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

    ``done`` is set at the end, or with the txn ``until``.  ``duplicates`` counts entries skipped because
    their zxid had been read already (a learner that logged a txn twice).  ``files`` are the files it reads.
    """

    def __init__(
        self, disk: Disk, folder: str, zxid: int, *, trust_gaps: bool = False, until: int = -1
    ) -> None:
        self._disk = disk
        self.files = logs_holding(list_logs(disk, folder), zxid)
        self._next_file = 0
        self._reader: LogFileReader | None = None
        # The zxid before the first one wanted; a reader from the very beginning accepts any first zxid.
        self._from = zxid
        self.last_zxid = zxid - 1
        self._anything_goes = zxid <= 0 or trust_gaps
        self._trust_gaps = trust_gaps
        self._until = until
        self._torn: RottenLogError | None = None
        self.duplicates = 0
        self.bad_ends: list[tuple[str, int]] = []
        # The file that the last slice came from.
        self.path = folder
        self.done = False

    def next_slice(self) -> list[LogEntry]:
        """The next txns, in order; empty only when ``done``."""
        while not self.done:
            reader = self._reader
            if reader is None:
                if self._next_file >= len(self.files):
                    self.done = True
                    break
                reader = LogFileReader(self._disk, self.files[self._next_file].path, until=self._until)
                self._reader = reader
                self._next_file += 1
            self.path = reader.path
            entries = self._wanted(reader, reader.next_slice())
            if reader.tail is not None:
                self._file_ended(reader, reader.tail)
                self._reader = None
                self.done = 0 <= self._until <= reader.last_zxid
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
            if not self._anything_goes and not fmt.follows(zxid, self.last_zxid):
                if self._torn is not None:
                    raise self._torn
                raise LogGapError(self.last_zxid, zxid, f"{reader.path}, byte {entry.offset}")
            if entry.offset == fmt.HEADER_BYTES and not self._anything_goes:
                if zxid != self.last_zxid + 1 and reader.previous_zxid > max(self.last_zxid, self._from):
                    # Two epochs may follow one another like this; here a file between them is missing, or
                    # a snapshot has taken the place of what stood between them.
                    raise LogGapError(self.last_zxid, zxid, f"{reader.path} goes on from another txn")
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
