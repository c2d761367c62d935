"""Disk: the only door to files.

Everything under ``storage/`` is written on this protocol; ``runtime/os_disk.py`` carries it out on the
operating system and ``sim/disk.py`` in memory with faults.  Names are paths relative to the door's root,
with ``/`` between folder and file.  Any call may raise OSError; a failed ``sync`` or ``write`` is fatal to
the server that made it (never retried: the kernel may have dropped the pages).
"""

from typing import Protocol


class DiskFile(Protocol):
    """An open file.  ``write`` appends at the current position; nothing is durable before ``sync``."""

    def write(self, data: bytes) -> None:
        """Appends ``data`` (all of it, or OSError)."""

    def sync(self) -> None:
        """fdatasync: returns when everything written is durable."""

    def tell(self) -> int:
        """The position the next write goes to, in bytes."""

    def seek(self, offset: int) -> None:
        """Moves the position."""

    def preallocate(self, size: int) -> None:
        """Extends the file to ``size`` bytes of zeros without moving the position."""

    def truncate(self, size: int) -> None:
        """Cuts the file at ``size`` bytes."""

    def close(self) -> None:
        """Closes without syncing."""


class Disk(Protocol):
    """A folder tree."""

    def list(self, folder: str) -> list[str]:
        """Names in ``folder``, sorted; empty when it does not exist."""

    def exists(self, name: str) -> bool:
        """Whether the file or folder exists."""

    def size(self, name: str) -> int:
        """Bytes of a file."""

    def modified_ms(self, name: str) -> int:
        """Wall-clock ms of the last modification."""

    def read(self, name: str, offset: int = 0, size: int = -1) -> bytes:
        """``size`` bytes from ``offset`` (fewer at the end of the file; all for -1)."""

    def create(self, name: str) -> DiskFile:
        """Creates or empties a file and opens it for writing."""

    def open(self, name: str) -> DiskFile:
        """Opens an existing file for reading its position and writing, positioned at 0."""

    def rename(self, old: str, new: str) -> None:
        """Replaces ``new`` by ``old`` atomically."""

    def delete(self, name: str) -> None:
        """Removes a file."""

    def make_folder(self, name: str) -> None:
        """Creates a folder and its parents; no error when it exists."""

    def sync_folder(self, name: str) -> None:
        """Makes creations, renames and deletions in ``name`` durable."""
