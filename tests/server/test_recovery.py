"""Recovery: which snapshot, which txns, what is refused, and how it goes step by step."""

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
    simple_txn,
    small_folder,
)

from zabra.proto.txn import decode_txn
from zabra.server.recovery import Recovery, RecoveryOptions, open_store, recover
from zabra.sim.disk import EIO, SimDisk
from zabra.storage import txnlog_format as fmt
from zabra.storage.errors import DataFolderError, LogGapError, NoSnapshotError, RottenLogError
from zabra.storage.snapshot_format import ZxidDigest
from zabra.tree.snapshot_walk import SnapshotWalk, serialize_tree


def path(name: str) -> str:
    return f"{FOLDER}/{name}"


def snapshots(disk: SimDisk) -> list[str]:
    """Newest first."""
    return [file.path for file in new_store(disk).snaps.files()]


# The usual.


def test_newest_snapshot_and_what_follows() -> None:
    disk, applied = small_folder()
    assert isinstance(disk, SimDisk)
    found = recovered(disk)
    assert fingerprint(found.tree) == fingerprint(applied.tree)
    assert found.last_zxid == applied.entries[-1].header.zxid
    assert (found.snapshot_path, found.snapshot_zxid) == (path("snapshot.10000000c"), 0x10000000C)
    assert (found.txns_replayed, found.duplicates, found.fuzzy_zxid) == (16, 0, 0)
    assert found.damaged == []
    assert found.tree.digest_mismatches == 0


def test_recent_txns_are_kept_for_the_committed_log() -> None:
    disk, applied = small_folder()
    chosen = options()
    chosen.recent_limit = 5
    found = recover(new_store(disk), disk, chosen)
    assert [txn.raw for txn in found.recent] == [txn.raw for txn in applied.entries[-5:]]


def test_the_log_goes_on_behind_what_was_recovered() -> None:
    disk, applied = small_folder()
    store = new_store(disk)
    recover(store, disk, options())
    log_txns(store, applied.some(3))
    assert fingerprint(recovered(disk).tree) == fingerprint(applied.tree)
    store.log.close()


def test_what_recovery_found_is_durable_once_it_is_done() -> None:
    # The process dies between renaming a file and the fsync of the folder, and the power goes later.
    disk, _ = small_folder()
    assert isinstance(disk, SimDisk)
    disk.create(path("acceptedEpoch.tmp")).write(b"7")
    file = disk.open(path("acceptedEpoch.tmp"))
    file.sync()
    disk.rename(path("acceptedEpoch.tmp"), path("acceptedEpoch"))
    assert disk.durable(path("acceptedEpoch")) == b""
    recovered(disk)
    assert disk.durable(path("acceptedEpoch")) == b"7"


def test_it_can_be_done_in_steps_with_progress() -> None:
    disk, applied = small_folder()
    recovery = Recovery(new_store(disk), disk, options())
    said = [recovery.progress()]
    while recovery.step():
        said.append(recovery.progress())
    said.append(recovery.progress())
    assert said[0] == "looking for a snapshot"
    assert said[1].startswith("loading snapshot.10000000c: 0 nodes, 0 of 0 MiB")
    assert said[-2] == "replayed 16 txns"
    assert said[-1] == "done"
    assert recovery.nodes_loaded > 4
    assert recovery.result is not None
    assert fingerprint(recovery.result.tree) == fingerprint(applied.tree)


def test_fuzzy_snapshots_of_every_instant_lead_to_the_same_tree() -> None:
    """ZK-3127, 3144, 3145: the tree changes under the walk, in the middle of anything."""
    for pause in range(1, 14):
        disk = SimDisk()
        store = new_store(disk)
        recover(store, disk, options())
        applied = Applied()
        log_txns(store, applied.some(30))
        store.roll()
        walk = SnapshotWalk(applied.tree)
        body = []
        while (chunk := walk.step(pause)) is not None:
            body.append(chunk)
            log_txns(store, applied.some(2))
        tree = applied.tree
        store.snaps.save(walk.zxid, body, tree.last_processed_zxid, tree.digest)
        log_txns(store, applied.some(3))
        found = recovered(disk)
        assert found.snapshot_zxid == walk.zxid
        assert fingerprint(found.tree) == fingerprint(applied.tree)
        assert found.tree.digest_mismatches == 0


# Folders.


def test_folders_are_made_unless_told_not_to() -> None:
    disk = SimDisk()
    with pytest.raises(DataFolderError, match=r"datadir\.autocreate is false"):
        open_store(disk, disk, autocreate_folders=False)
    open_store(disk, disk)
    assert disk.list("") == [FOLDER]


def test_zk_2967_files_in_each_others_folder() -> None:
    data, logs = SimDisk(), SimDisk()
    recover(open_store(data, logs), logs, options())
    assert (data.list(FOLDER), logs.list(FOLDER)) == (["snapshot.0"], [])
    with pytest.raises(DataFolderError, match=r"log folder has snapshot snapshot\.0"):
        open_store(logs, data)
    logs.create(path("log.1"))
    with pytest.raises(DataFolderError, match=r"snapshot folder has log log\.1"):
        open_store(logs, SimDisk())


# Empty folders.


def test_an_empty_folder_becomes_a_database() -> None:
    disk = SimDisk()
    found = recovered(disk)
    assert (found.last_zxid, found.tree.last_processed_zxid) == (0, 0)
    assert disk.list(FOLDER) == ["snapshot.0"]


def test_an_empty_folder_may_have_lost_its_data() -> None:
    disk = SimDisk()
    chosen = options()
    chosen.autocreate_db = False
    found = recover(new_store(disk), disk, chosen)
    assert (found.last_zxid, found.tree.last_processed_zxid) == (-1, -1)
    assert disk.list(FOLDER) == []


def test_the_initialize_file_makes_it_a_database_once() -> None:
    disk = SimDisk()
    disk.create("initialize")
    chosen = options()
    chosen.autocreate_db = False
    assert recover(new_store(disk), disk, chosen).last_zxid == 0
    assert disk.list("") == [FOLDER]
    assert recover(new_store(disk), disk, chosen).last_zxid == 0


def test_the_initialize_file_goes_even_where_it_is_not_needed() -> None:
    disk, applied = small_folder()
    disk.create("initialize")
    assert recovered(disk).last_zxid == applied.entries[-1].header.zxid
    assert disk.list("") == [FOLDER]


# Missing and damaged snapshots.


def test_zk_2325_logs_without_a_snapshot_are_refused() -> None:
    disk, applied = small_folder()
    for name in snapshots(disk):
        disk.delete(name)
    with pytest.raises(NoSnapshotError, match="no snapshot that could be loaded"):
        recovered(disk)
    chosen = options()
    chosen.trust_empty_snapshot = True
    found = recover(new_store(disk), disk, chosen)
    assert fingerprint(found.tree) == fingerprint(applied.tree)
    assert found.txns_replayed == len(applied.entries)


def test_zk_3644_empty_snapshot_files_are_no_snapshots() -> None:
    disk, applied = small_folder()
    for name in snapshots(disk):
        disk.create(name)
    with pytest.raises(NoSnapshotError, match=r"snapshot\.10000000c \(cut short\)"):
        recovered(disk)
    chosen = options()
    chosen.trust_empty_snapshot = True
    found = recover(new_store(disk), disk, chosen)
    assert fingerprint(found.tree) == fingerprint(applied.tree)


def test_a_damaged_snapshot_is_passed_over() -> None:
    disk, applied = small_folder()
    newest = snapshots(disk)[0]
    for at in (3, 30, 300, disk.size(newest) - 20):
        disk.flip(newest, at)
        found = recovered(disk)
        assert fingerprint(found.tree) == fingerprint(applied.tree)
        assert found.snapshot_path == path("snapshot.0")
        assert found.damaged[0][0] == newest
        assert found.damaged[0][1]
        disk.flip(newest, at)


def test_an_older_snapshot_needs_the_log_in_between() -> None:
    """Upstream would start from the older one and silently leave out what the missing log held."""
    disk, _ = small_folder()
    disk.flip(snapshots(disk)[0], 40)
    disk.delete(path("log.100000001"))
    with pytest.raises(LogGapError, match="between 0x0 and 0x10000000d"):
        recovered(disk)


def test_the_log_must_reach_as_far_as_a_damaged_snapshot_did() -> None:
    disk, _ = small_folder()
    disk.flip(snapshots(disk)[0], 40)
    disk.delete(path("log.10000000d"))
    disk.delete(path("log.200000001"))
    disk.overwrite(path("log.100000001"), 600, bytes(5000))
    with pytest.raises((NoSnapshotError, RottenLogError)):
        recovered(disk)
    disk, _ = small_folder()
    disk.flip(snapshots(disk)[0], 40)
    for name in ("log.10000000d", "log.200000001"):
        disk.delete(path(name))
    store = new_store(disk)
    store.log.open()
    store.log.truncate(0x100000007)
    with pytest.raises(NoSnapshotError, match="log ends at 0x100000007, but a snapshot was taken at"):
        recovered(disk)


def test_a_leaders_first_snapshot_may_be_damaged() -> None:
    """Its zxid is the bare epoch, which no txn has: the log need not reach it."""
    disk, applied = small_folder()
    store = new_store(disk)
    applied.tree.last_processed_zxid = 3 << 32
    name = save_snapshot(store, applied.tree)
    disk.flip(name, 40)
    assert recovered(disk).last_zxid == applied.entries[-1].header.zxid


def test_damaged_snapshots_and_no_log_are_not_an_empty_database() -> None:
    disk, _ = small_folder()
    for name in disk.list(FOLDER):
        if name.startswith("log."):
            disk.delete(path(name))
    disk.delete(path("snapshot.0"))
    disk.flip(path("snapshot.10000000c"), 40)
    with pytest.raises(NoSnapshotError, match="no snapshot could be loaded"):
        recovered(disk)


def test_a_damaged_snapshot_of_where_an_epoch_begins_is_not_an_empty_database() -> None:
    """A SNAP of a leader that had just begun: a server started empty, with the epoch that it had acked."""
    disk, applied = small_folder()
    for name in disk.list(FOLDER):
        if name.startswith("log."):
            disk.delete(path(name))
    applied.tree.last_processed_zxid = 3 << 32
    snap = save_snapshot(new_store(disk), applied.tree)
    for name in snapshots(disk)[1:]:
        disk.delete(name)
    disk.flip(snap, 40)
    with pytest.raises(NoSnapshotError, match="no snapshot could be loaded"):
        recovered(disk)


def test_a_fuzzy_snapshot_that_the_log_does_not_complete() -> None:
    """The server had applied txns that others had logged, but not yet itself; then the power went."""
    disk, applied = small_folder()
    store = new_store(disk)
    recover(store, disk, options())
    last = applied.entries[-1].header.zxid
    before = fingerprint(applied.tree)
    applied.some(4)
    store.snaps.save(last, [serialize_tree(applied.tree)], last + 4, applied.tree.digest)
    found = recovered(disk)
    assert (found.snapshot_zxid, found.fuzzy_zxid) == (0x10000000C, 0)
    assert fingerprint(found.tree) == before
    assert "beyond the log" in found.damaged[0][1]
    # With nothing older to start from it must do, and says so.
    for name in snapshots(disk)[1:]:
        disk.delete(name)
    found = recovered(disk)
    assert (found.last_zxid, found.fuzzy_zxid) == (last, last + 4)


def test_a_fuzzy_snapshot_is_used_if_the_older_one_lacks_its_log() -> None:
    disk, applied = small_folder()
    store = new_store(disk)
    recover(store, disk, options())
    last = applied.entries[-1].header.zxid
    applied.some(2)
    store.snaps.save(last, [serialize_tree(applied.tree)], last + 2, applied.tree.digest)
    disk.delete(path("log.200000001"))
    found = recovered(disk)
    assert (found.last_zxid, found.fuzzy_zxid) == (last, last + 2)


# Digests.


def wrong_digest(at_snapshot: bool) -> SimDisk:
    disk = SimDisk()
    store = new_store(disk)
    recover(store, disk, options())
    applied = Applied()
    log_txns(store, applied.some(6))
    zxid = applied.tree.last_processed_zxid
    body = serialize_tree(applied.tree)
    if at_snapshot:
        store.snaps.save(zxid, [body], zxid, applied.tree.digest + 1)
    else:
        # The digest of a later txn, as a fuzzy snapshot's is.
        log_txns(store, applied.some(3))
        store.snaps.save(zxid, [body], zxid + 3, applied.tree.digest + 1)
    return disk


@pytest.mark.parametrize("at_snapshot", [True, False])
def test_a_snapshots_digest_is_compared(at_snapshot: bool) -> None:
    assert recovered(wrong_digest(at_snapshot)).tree.digest_mismatches == 1


def test_a_txns_digest_is_compared_and_never_fatal() -> None:
    disk, applied = small_folder()
    store = new_store(disk)
    recover(store, disk, options())
    applied.tree.digest += 5
    entries = [entry for entry in applied.some(8) if entry.digest is not None]
    log_txns(store, entries[:1])
    found = recovered(disk)
    assert found.tree.digest_mismatches == 1
    assert found.last_zxid == entries[0].header.zxid


def test_digests_can_be_switched_off() -> None:
    chosen = options()
    chosen.digest_enabled = False
    disk = wrong_digest(True)
    found = recover(new_store(disk), disk, chosen)
    assert (found.tree.digest_mismatches, found.tree.digest) == (0, 0)


def test_other_digest_versions_are_passed_over() -> None:
    assert repr(ZxidDigest(1, 3, 2)) == "ZxidDigest(zxid=0x1, version=3, digest=0x2)"


# The log.


def test_an_unreadable_txn_is_refused_with_its_place() -> None:
    disk = SimDisk()
    store = new_store(disk)
    recover(store, disk, options())
    bad = simple_txn(0x100000001)[:28] + b"\0\0\0\x63" + simple_txn(0x100000001)[32:]
    store.append(0x100000001, bad)
    store.sync()
    with pytest.raises(RottenLogError, match=r"log\.100000001, byte 16: unreadable txn: unsupported"):
        recovered(disk)


def test_trusting_gaps_saves_what_is_left() -> None:
    disk, applied = small_folder()
    store = new_store(disk)
    recover(store, disk, options())
    log_txns(store, applied.some(2))
    disk.delete(path("log.200000001"))
    with pytest.raises(LogGapError):
        recovered(disk)
    chosen = options()
    chosen.trust_gaps = True
    found = recover(new_store(disk), disk, chosen)
    assert found.last_zxid == applied.entries[-1].header.zxid
    assert found.txns_replayed == 9 + 2


def test_a_log_lost_at_the_end_of_an_epoch_shows_in_the_next_file() -> None:
    """Zxids alone cannot tell: any number of txns may be the last of an epoch."""
    disk, _ = small_folder()
    disk.delete(path("log.10000000d"))
    with pytest.raises(LogGapError, match="goes on from another txn"):
        recovered(disk)


def test_where_the_next_file_is_apaches_it_shows_in_the_digests() -> None:
    disk, _ = small_folder()
    disk.delete(path("log.10000000d"))
    disk.overwrite(path("log.200000001"), 0, fmt.encode_file_header())
    assert recovered(disk).tree.digest_mismatches > 0


def test_wrong_end_bytes_in_older_files_are_mended_too() -> None:
    disk, applied = small_folder()
    name = path("log.10000000d")
    good = disk.read(name)
    first = fmt.scan(good[16:], True)
    disk.flip(name, 16 + first.offsets[1] - 1)
    found = recovered(disk)
    assert fingerprint(found.tree) == fingerprint(applied.tree)
    assert disk.read(name) == good


def test_an_error_of_the_disk_is_not_taken_for_damage() -> None:
    """A snapshot that cannot be read now may be read later: falling back would be wrong."""
    disk, _ = small_folder()
    disk.inject("read", EIO, "snapshot.10000000c", skip=1)
    with pytest.raises(OSError, match="injected"):
        recovered(disk)


def test_options_are_upstreams_defaults() -> None:
    chosen = RecoveryOptions()
    assert chosen.digest_enabled
    assert chosen.autocreate_db
    assert not chosen.trust_empty_snapshot
    assert not chosen.trust_gaps
    assert chosen.recent_limit == 500


def test_txns_survive_byte_for_byte() -> None:
    disk, applied = small_folder()
    store = new_store(disk)
    store.log.open()
    logged = [raw for _, raw in store.log.read_from(1)]
    assert logged == [entry.raw for entry in applied.entries]
    assert [decode_txn(raw).header.zxid for raw in logged] == [e.header.zxid for e in applied.entries]
