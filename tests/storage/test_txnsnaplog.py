"""Log and snapshots in step: TRUNC, SNAP, purge."""

import pytest
from tests.storage.crash_points import fingerprint
from tests.storage.folders import (
    FOLDER,
    Applied,
    log_txns,
    new_store,
    options,
    recovered,
    save_snapshot,
    small_folder,
)

from zabra.server.recovery import recover
from zabra.sim.disk import SimDisk
from zabra.storage.errors import NoSnapshotError
from zabra.storage.txnsnaplog import FileTxnSnapLog
from zabra.tree.snapshot_walk import serialize_tree


def served(disk: SimDisk) -> FileTxnSnapLog:
    store = new_store(disk)
    recover(store, disk, options())
    return store


def names(disk: SimDisk) -> list[str]:
    return disk.list(FOLDER)


def full_folder(rounds: int = 6) -> tuple[SimDisk, FileTxnSnapLog, Applied]:
    """``rounds`` snapshots after snapshot.0, each with a log of its own; and a last log."""
    disk = SimDisk()
    store = served(disk)
    applied = Applied()
    for _ in range(rounds):
        log_txns(store, applied.some(4))
        save_snapshot(store, applied.tree)
        store.roll()
    log_txns(store, applied.some(2))
    return disk, store, applied


# TRUNC


def test_truncated_txns_do_not_come_back_from_a_newer_snapshot() -> None:
    """Upstream leaves the snapshot, and loads it."""
    disk, store, applied = full_folder(3)
    target = applied.entries[5].header.zxid
    assert store.truncate(target)
    assert names(disk) == ["log.100000001", "log.100000005", "snapshot.0", "snapshot.100000004"]
    found = recovered(disk)
    assert found.last_zxid == target
    assert fingerprint(found.tree) == fingerprint(applied.forget_after(target).tree)


def test_truncate_to_the_snapshot_itself() -> None:
    disk, store, applied = full_folder(2)
    target = applied.entries[7].header.zxid
    assert store.truncate(target)
    assert recovered(disk).last_zxid == target
    applied = applied.forget_after(target)
    assert store.log.last_zxid == target


def test_truncate_with_nothing_to_start_from_is_refused_and_changes_nothing() -> None:
    disk, store, applied = full_folder(3)
    disk.delete(f"{FOLDER}/snapshot.0")
    before = names(disk)
    assert not store.truncate(applied.entries[1].header.zxid)
    assert names(disk) == before


def test_a_damaged_snapshot_is_nothing_to_start_from() -> None:
    disk, store, applied = full_folder(2)
    disk.flip(f"{FOLDER}/snapshot.0", 30)
    assert not store.truncate(applied.entries[1].header.zxid)


def test_truncate_without_any_log() -> None:
    """All that is beyond the cut is in a snapshot."""
    disk = SimDisk()
    store = served(disk)
    applied = Applied()
    applied.some(5)
    save_snapshot(store, applied.tree)
    assert store.truncate(0)
    assert names(disk) == ["snapshot.0"]
    assert store.log.last_zxid == 0


# SNAP


def test_snap_replaces_everything() -> None:
    disk, store, _ = full_folder(2)
    leader = Applied()
    leader.some(5)
    base = leader.tree.last_processed_zxid
    store.forget_beyond(base)
    assert store.log.last_zxid == base
    writer = store.begin(base, True)
    writer.write(serialize_tree(leader.tree))
    writer.finish(base, leader.tree.digest)
    store.adopt(base)
    assert names(disk) == [f"snapshot.{base:x}"]
    log_txns(store, leader.some(3))
    assert fingerprint(recovered(disk).tree) == fingerprint(leader.tree)


def test_a_snap_that_breaks_off_leaves_the_old_history_without_its_tail() -> None:
    disk, store, applied = full_folder(2)
    base = applied.entries[-2].header.zxid
    store.forget_beyond(base)
    writer = store.begin(base, True)
    writer.write(b"part of a tree")
    writer.abort()
    found = recovered(disk)
    assert found.last_zxid == base
    assert fingerprint(found.tree) == fingerprint(applied.forget_after(base).tree)


def test_a_snap_older_than_a_snapshot_of_ours_keeps_it_until_it_is_replaced() -> None:
    """Cutting first and losing power then must not leave an empty, and voting, server."""
    disk, store, applied = full_folder(1)
    disk.delete(f"{FOLDER}/snapshot.0")
    store.forget_beyond(2)
    found = recovered(disk)
    assert found.last_zxid == 0x100000004
    assert fingerprint(found.tree) == fingerprint(applied.forget_after(0x100000004).tree)


def interrupted_snap(renamed: bool) -> tuple[SimDisk, Applied, Applied]:
    """A SNAP of a later epoch whose replacing of the old history the power cut has interrupted."""
    disk, store, applied = full_folder(3)
    leader = applied.forget_after(applied.entries[4].header.zxid)
    leader.new_epoch()
    leader.some(5)
    base = leader.tree.last_processed_zxid
    store.forget_beyond(base)
    writer = store.begin(base, True, True)
    writer.write(serialize_tree(leader.tree))
    store.will_adopt(base)
    if renamed:
        writer.finish(base, leader.tree.digest)
        newest = store.snaps.files()[1]
        store.snaps.delete(newest)
        disk.delete(f"{FOLDER}/log.10000000d")
        disk.sync_folder(FOLDER)
    return disk, applied, leader


def test_a_snap_whose_replacing_was_interrupted_goes_on_at_the_next_start() -> None:
    """What was left of the old log was published, and sent to learners, as if it led to the SNAP."""
    disk, _, leader = interrupted_snap(renamed=True)
    base = leader.tree.last_processed_zxid
    store = served(disk)
    assert names(disk) == [f"snapshot.{base:x}"]
    assert list(store.log.read_from(0)) == []
    log_txns(store, leader.some(3))
    assert fingerprint(recovered(disk).tree) == fingerprint(leader.tree)


def test_a_snap_that_never_got_its_name_replaces_nothing() -> None:
    disk, applied, _ = interrupted_snap(renamed=False)
    assert fingerprint(recovered(disk).tree) == fingerprint(applied.tree)
    assert not [name for name in names(disk) if not name.startswith(("log.", "snapshot."))]


def test_what_a_damaged_snap_has_left_is_refused() -> None:
    disk, _, leader = interrupted_snap(renamed=True)
    disk.flip(f"{FOLDER}/snapshot.{leader.tree.last_processed_zxid:x}", 30)
    with pytest.raises(NoSnapshotError, match="was to replace what else is here"):
        recovered(disk)


# purge


def test_purge_keeps_the_newest_snapshots_and_the_logs_they_need() -> None:
    disk, store, applied = full_folder(6)
    snapshots, logs = store.purge(3)
    assert snapshots == [f"{FOLDER}/snapshot.{z}" for z in ("10000000c", "100000008", "100000004", "0")]
    assert logs == [f"{FOLDER}/log.{z}" for z in ("100000001", "100000005", "100000009")]
    assert names(disk) == [
        *("log.10000000d", "log.100000011", "log.100000015", "log.100000019"),
        *("snapshot.100000010", "snapshot.100000014", "snapshot.100000018"),
    ]
    assert fingerprint(recovered(disk).tree) == fingerprint(applied.tree)
    assert store.purge(3) == ([], [])


def test_every_snapshot_that_purge_keeps_can_be_started_from() -> None:
    disk, store, applied = full_folder(8)
    store.purge(4)
    for file in store.snaps.files():
        assert fingerprint(recovered(disk).tree) == fingerprint(applied.tree)
        disk.delete(file.path)


def test_zk_3231_broken_snapshots_do_not_count() -> None:
    disk, store, applied = full_folder(6)
    for name in ("snapshot.100000018", "snapshot.100000014", "snapshot.100000010"):
        disk.flip(f"{FOLDER}/{name}", 25)
    snapshots, _ = store.purge(3)
    assert f"{FOLDER}/snapshot.10000000c" not in snapshots
    assert fingerprint(recovered(disk).tree) == fingerprint(applied.tree)
    for name in ("snapshot.10000000c", "snapshot.100000008", "snapshot.100000004"):
        disk.flip(f"{FOLDER}/{name}", 25)
    assert store.purge(3) == ([], []), "nothing whole is left: nothing is removed"


def test_a_reader_that_is_behind_keeps_its_logs() -> None:
    disk, store, _ = full_folder(6)
    _, logs = store.purge(3, keep_zxid=0x100000006)
    assert logs == [f"{FOLDER}/log.100000001"]
    store.log.close()
    assert next(served(disk).log.read_from(0x100000007))[0] == 0x100000007


@pytest.mark.parametrize("retain", [-1, 0, 2])
def test_fewer_than_three_are_refused(retain: int) -> None:
    _, store, _ = full_folder(1)
    with pytest.raises(ValueError, match="at least 3"):
        store.purge(retain)


def test_small_folder_is_what_it_says() -> None:
    disk, applied = small_folder()
    assert recovered(disk).last_zxid == applied.entries[-1].header.zxid
