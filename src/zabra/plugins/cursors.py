"""Where publishers left off: files for each, replaced atomically.

``<name>.cursor`` is the cursor of a publisher that keeps none of its own.  ``<name>.reached`` belongs to one
that does: how far the feed was read for it beyond its own cursor, where nothing more was wanted.  Without it
a publisher of a quiet path would go back to its last change after each restart, past the end of the log.
"""

from dataclasses import dataclass
from typing import Final

from zabra.storage.disk import Disk
from zabra.storage.epochs import write_atomically
from zabra.storage.names import join

FOLDER: Final = "publishers"
NO_CURSOR: Final = -1


class CursorError(Exception):
    """A cursor's file does not hold a cursor; the text names it."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A publisher whose own cursor is ``own``, and that wants ``wanted``, has all there is up to ``zxid``."""

    own: int
    zxid: int
    wanted: str


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
        self._write(f"{name}.cursor", f"0x{zxid:x}\n")

    def read_reached(self, name: str) -> Reached | None:
        """None where there is none, or what is there cannot be read: it only saves work.  Raises OSError."""
        path = join(FOLDER, f"{name}.reached")
        if not self._disk.exists(path):
            return None
        own, _, rest = self._disk.read(path).decode("utf-8", "replace").rstrip("\n").partition(" ")
        zxid, _, wanted = rest.partition(" ")
        try:
            return Reached(int(own, 16), int(zxid, 16), wanted)
        except ValueError:
            return None

    def write_reached(self, name: str, reached: Reached) -> None:
        """Makes it durable.  Raises OSError."""
        self._write(f"{name}.reached", f"0x{reached.own:x} 0x{reached.zxid:x} {reached.wanted}\n")

    def _write(self, name: str, text: str) -> None:
        if not self._disk.exists(FOLDER):
            self._disk.make_folder(FOLDER)
        write_atomically(self._disk, FOLDER, name, text.encode("utf-8"))
