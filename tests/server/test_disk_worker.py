"""Two queues, two workers, one folder: neither takes the other's files for its own."""

import pytest
from tests.storage.folders import FOLDER, Applied, log_txns, new_store, options, recovered

from zabra.server.disk_worker import DiskWorker
from zabra.server.ready import (
    DISK_SNAPSHOT_ABORT,
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_CHUNK,
    DISK_SNAPSHOT_END,
    DiskCommand,
)
from zabra.server.recovery import recover
from zabra.sim.disk import SimDisk
from zabra.storage.epochs import Epochs
from zabra.tree.snapshot_walk import serialize_tree


def command(kind: int, zxid: int = 0, value: int = 0, data: bytes = b"") -> DiskCommand:
    out = DiskCommand(kind, 1)
    out.zxid, out.value, out.data = zxid, value, data
    return out


@pytest.mark.parametrize("is_given_up", [True, False])
def test_a_snap_is_saved_while_a_snapshot_of_the_same_zxid_is_written(is_given_up: bool) -> None:
    """They shared a file: the second ended the server, or what the leader had sent was overwritten."""
    disk = SimDisk()
    store = new_store(disk)
    recover(store, disk, options())
    applied = Applied()
    log_txns(store, applied.some(20))
    zxid, digest = applied.tree.last_processed_zxid, applied.tree.digest
    body = serialize_tree(applied.tree)
    epochs = Epochs(disk, FOLDER)
    log, beside = (DiskWorker(store, writes_log, epochs, disk, FOLDER) for writes_log in (True, False))
    end = command(DISK_SNAPSHOT_END, zxid, digest)
    begin = command(DISK_SNAPSHOT_BEGIN, zxid)
    beside.run([begin, command(DISK_SNAPSHOT_CHUNK, data=body[:100])])
    log.run([begin, command(DISK_SNAPSHOT_CHUNK, data=body), end])
    beside.run([command(DISK_SNAPSHOT_CHUNK, data=body[100:])])
    beside.run([command(DISK_SNAPSHOT_ABORT) if is_given_up else end])
    assert disk.list(FOLDER) == [f"snapshot.{zxid:x}"]
    found = recovered(disk)
    assert (found.last_zxid, found.tree.digest, found.damaged) == (zxid, digest, [])
