"""OsDisk: the Disk door on the operating system's files.

Positioned reads and writes only, so a file being written can be read at the same time by another thread.
``sync`` is fdatasync, which also writes out the size where the file grew; ``sync_folder`` fsyncs a folder,
without which a created or renamed file can be gone after a power cut.  Preallocation reserves blocks where
the file system can; where it cannot, or has too little room, the file only grows, as upstream's does.
"""

import errno
import os
import stat
import time
from collections import deque
from typing import Final

from zabra.storage.names import NEW_LOG, log_zxid

# macOS has no fdatasync.
_sync: Final = getattr(os, "fdatasync", os.fsync)
_FOLDER_MODE: Final = 0o755
_FILE_MODE: Final = 0o644

# Times of fsyncs that nobody has asked for yet; older ones are forgotten.
_SYNC_TIMES_MAX: Final = 1024


class OsDiskFile:
    """An open file."""

    __slots__ = ("_fd", "_name", "_position", "_sync_times")

    def __init__(self, fd: int, name: str, sync_times: deque[float] | None = None) -> None:
        self._fd = fd
        self._name = name
        self._position = 0
        self._sync_times = sync_times

    def write(self, data: bytes) -> None:
        """Writes all of ``data``, in as many calls as it takes."""
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, self._position)
            if done == 0:
                raise OSError(errno.EIO, "write made no progress", self._name)
            self._position += done
            view = view[done:]

    def sync(self) -> None:
        """fdatasync."""
        start = time.perf_counter()
        _sync(self._fd)
        if self._sync_times is not None:
            self._sync_times.append((time.perf_counter() - start) * 1000)

    def fileno(self) -> int:
        """The file's descriptor, for who syncs it by other means."""
        return self._fd

    def tell(self) -> int:
        """The position the next write goes to."""
        return self._position

    def seek(self, offset: int) -> None:
        """Moves the position."""
        self._position = offset

    def preallocate(self, size: int) -> None:
        """Extends the file with zeros, reserving blocks if possible."""
        current = os.fstat(self._fd).st_size
        if size <= current:
            return
        try:
            os.posix_fallocate(self._fd, current, size - current)
        except AttributeError:
            os.ftruncate(self._fd, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSPC, errno.ENOSYS):
                raise
            os.ftruncate(self._fd, size)

    def truncate(self, size: int) -> None:
        """Cuts the file."""
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        """Closes; closing twice is harmless."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class OsDisk:
    """The folder tree below ``root``, an existing or future folder of the file system."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(root)
        # How long the fsyncs of txn logs took, in ms, oldest first: written by the log's thread, emptied by
        # whoever counts them.
        self.log_sync_times: deque[float] = deque(maxlen=_SYNC_TIMES_MAX)

    def _path(self, name: str) -> str:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name!r} leaves the folder {self.root}")
        return os.path.join(self.root, name) if name else self.root

    def list(self, folder: str) -> list[str]:
        """Names in ``folder``, sorted; empty when it does not exist."""
        try:
            return sorted(os.listdir(self._path(folder)))
        except FileNotFoundError:
            return []

    def exists(self, name: str) -> bool:
        """Whether the file or folder exists."""
        return os.path.exists(self._path(name))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return os.stat(self._path(name)).st_size

    def modified_ms(self, name: str) -> int:
        """Wall-clock ms of the last modification."""
        return os.stat(self._path(name)).st_mtime_ns // 1_000_000

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        """``size`` bytes from ``offset``; fewer only at the end of the file; all for -1."""
        fd = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            wanted = os.fstat(fd).st_size - offset if size < 0 else size
            parts = []
            while wanted > 0:
                part = os.pread(fd, wanted, offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                wanted -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            os.close(fd)

    def _open(self, name: str, flags: int) -> OsDiskFile:
        fd = os.open(self._path(name), flags | os.O_CLOEXEC, _FILE_MODE)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file", name)
        base = os.path.basename(name)
        is_log = base == NEW_LOG or log_zxid(base) >= 0
        return OsDiskFile(fd, name, self.log_sync_times if is_log else None)

    def create(self, name: str) -> OsDiskFile:
        """Creates or empties a file and opens it for writing."""
        return self._open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    def open(self, name: str) -> OsDiskFile:
        """Opens an existing file for writing, positioned at 0."""
        return self._open(name, os.O_RDWR)

    def rename(self, old: str, new: str) -> None:
        """Replaces ``new`` by ``old`` atomically."""
        os.replace(self._path(old), self._path(new))

    def delete(self, name: str) -> None:
        """Removes a file."""
        os.unlink(self._path(name))

    def make_folder(self, name: str) -> None:
        """Creates a folder and its parents, durably; no error when it exists."""
        path = self._path(name)
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            os.mkdir(folder, _FOLDER_MODE)
            self._sync_folder(os.path.dirname(folder))

    def sync_folder(self, name: str) -> None:
        """Makes creations, renames and deletions in ``name`` durable."""
        self._sync_folder(self._path(name))

    def _sync_folder(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
