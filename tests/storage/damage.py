"""Damage at rest and failing disks: what recovery may and may not make of them."""

from tests.storage.crash_points import Fingerprint, fingerprint
from tests.storage.folders import FOLDER, new_store, options

from zabra.server.recovery import recover, recover_epochs
from zabra.sim.disk import SECTOR_BYTES, SimDisk
from zabra.storage.epochs import Epochs
from zabra.storage.errors import StorageError

REFUSED = "refused"
REPAIRED = "repaired"
# The end of the log is gone just as a crash before its fsync would leave it: no single server can tell.
LIKE_A_CRASH = "like a crash"
WRONG = "WRONG"


class Folder:
    """A data folder as it should be: its files, and the tree they lead to."""

    def __init__(self, disk: SimDisk) -> None:
        self.files = {name: disk.read(f"{FOLDER}/{name}") for name in disk.list(FOLDER)}
        found = recover(new_store(self.fresh()), disk, options())
        recover_epochs(Epochs(disk, FOLDER), found)
        self.last_zxid = found.last_zxid
        self.tree: Fingerprint = fingerprint(found.tree)
        self.epochs = (found.accepted_epoch, found.current_epoch)
        self.prefixes: dict[int, Fingerprint] = {}

    def fresh(self) -> SimDisk:
        """A copy on a disk of its own."""
        disk = SimDisk()
        disk.make_folder(FOLDER)
        for name, content in self.files.items():
            file = disk.create(f"{FOLDER}/{name}")
            file.write(content)
            file.sync()
        disk.sync_folder(FOLDER)
        return disk

    def outcome(self, disk: SimDisk, name: str, damaged: bytes) -> str:
        """Recovers a damaged copy and says what came of it."""
        try:
            found = recover(new_store(disk), disk, options())
            recover_epochs(Epochs(disk, FOLDER), found)
        except StorageError:
            return REFUSED
        if found.accepted_epoch < self.epochs[0] or found.current_epoch < self.epochs[1]:
            return WRONG
        if found.last_zxid == self.last_zxid:
            return REPAIRED if fingerprint(found.tree) == self.tree else WRONG
        if found.last_zxid < self.last_zxid and looks_like_a_crash(self.files[name], damaged):
            return LIKE_A_CRASH if self._is_prefix(found.last_zxid, fingerprint(found.tree)) else WRONG
        return WRONG

    def _is_prefix(self, zxid: int, tree: Fingerprint) -> bool:
        """Whether ``tree`` is what this folder's own txns lead to at ``zxid``."""
        if zxid not in self.prefixes:
            disk = self.fresh()
            store = new_store(disk)
            recover(store, disk, options())
            if not store.truncate(zxid):
                return False
            self.prefixes[zxid] = fingerprint(recover(new_store(disk), disk, options()).tree)
        return self.prefixes[zxid] == tree


def looks_like_a_crash(good: bytes, damaged: bytes) -> bool:
    """Whether ``damaged`` is ``good`` with everything gone from some sector boundary to the end."""
    left = len(damaged.rstrip(b"\0"))
    boundary = (left + SECTOR_BYTES - 1) // SECTOR_BYTES * SECTOR_BYTES
    return damaged[:boundary] == good[:boundary] and not damaged[boundary:].strip(b"\0")
