"""Where publishers that keep no cursor of their own left off: a file for each, replaced atomically."""

from typing import Final

from zabra.storage.disk import Disk
from zabra.storage.epochs import write_atomically
from zabra.storage.names import join

FOLDER: Final = "publishers"
NO_CURSOR: Final = -1


class CursorError(Exception):
    """A cursor's file does not hold a cursor; the text names it."""


class CursorStore:
    """``publishers/<name>.cursor`` below the folder of ``disk`` (dataDir).  Calls block."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def read(self, name: str) -> int:
        """The zxid; NO_CURSOR if there is none yet.  Raises CursorError, OSError."""
        path = join(FOLDER, f"{name}.cursor")
        if not self._disk.exists(path):
            return NO_CURSOR
        text = self._disk.read(path).decode("ascii", "replace").strip()
        try:
            return int(text, 16)
        except ValueError:
            raise CursorError(
                f"{path}: {text[:40]!r} is no zxid; remove it, and the publisher begins anew"
            ) from None

    def write(self, name: str, zxid: int) -> None:
        """Makes the cursor durable.  Raises OSError."""
        if not self._disk.exists(FOLDER):
            self._disk.make_folder(FOLDER)
        write_atomically(self._disk, FOLDER, f"{name}.cursor", f"0x{zxid:x}\n".encode("ascii"))
