"""acceptedEpoch and currentEpoch: one decimal number per file, replaced atomically.

Source: upstream ``QuorumPeer.setAcceptedEpoch``, ``setCurrentEpoch``, ``AtomicFileOutputStream``: write
``<name>.tmp``, fsync, rename, and (which upstream leaves out) fsync of the folder.  A promise made with an
epoch (ACKEPOCH, the ack of NEWLEADER) may be sent only when the call that writes it has returned.
"""

from typing import Final

from zabra.storage.disk import Disk
from zabra.storage.errors import EpochError
from zabra.storage.names import join

ACCEPTED_EPOCH: Final = "acceptedEpoch"
CURRENT_EPOCH: Final = "currentEpoch"
TMP_ENDING: Final = ".tmp"
_MAX_EPOCH: Final = 0x7FFFFFFF
_MAX_FILE_BYTES: Final = 64


def write_atomically(disk: Disk, folder: str, name: str, data: bytes) -> None:
    """Replaces a small file: after a crash it holds the old bytes or the new ones, after return the new."""
    path = join(folder, name)
    tmp = path + TMP_ENDING
    file = disk.create(tmp)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()
    disk.rename(tmp, path)
    disk.sync_folder(folder)


def _read_number(disk: Disk, path: str) -> int | None:
    """The number in a file; None when there is no file.  Raises EpochError for anything else."""
    if not disk.exists(path):
        return None
    text = disk.read(path, 0, _MAX_FILE_BYTES).strip()
    if not text.isdigit() or int(text) > _MAX_EPOCH:
        raise EpochError(f"{path}: found {text!r}, not an epoch")
    return int(text)


class Epochs:
    """The two epoch files of ``<dataDir>/version-2``; a read gives None where the file does not exist."""

    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder

    def read_accepted(self) -> int | None:
        """The epoch of the last NEWEPOCH this server agreed to."""
        return _read_number(self._disk, join(self._folder, ACCEPTED_EPOCH))

    def read_current(self) -> int | None:
        """The epoch of the last leader whose history this server holds."""
        return _read_number(self._disk, join(self._folder, CURRENT_EPOCH))

    def read_rescue(self) -> int | None:
        """currentEpoch.tmp: what a crash between writing and renaming left; None also if it is not whole."""
        try:
            return _read_number(self._disk, join(self._folder, CURRENT_EPOCH + TMP_ENDING))
        except EpochError:
            return None

    def save_accepted(self, epoch: int) -> None:
        """Durable on return."""
        self._write(ACCEPTED_EPOCH, epoch)

    def save_current(self, epoch: int) -> None:
        """Durable on return."""
        self._write(CURRENT_EPOCH, epoch)

    def _write(self, name: str, epoch: int) -> None:
        if not 0 <= epoch <= _MAX_EPOCH:
            raise EpochError(f"{name}: {epoch} is not an epoch")
        write_atomically(self._disk, self._folder, name, str(epoch).encode("ascii"))
