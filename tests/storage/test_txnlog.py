"""FileTxnLog on a simulated disk: files, rolling, cutting, opening after crashes, refusing damage."""

import pytest
from tests.storage.folders import FOLDER, fill, new_log, simple_txn, zxids

from zabra.sim.disk import EIO, ENOSPC, LIE, SHORT, SimDisk
from zabra.storage import txnlog_format as fmt
from zabra.storage.errors import LogBrokenError, LogGapError, RottenLogError, TruncateError
from zabra.storage.txnlog import FileTxnLog


def test_files_are_named_by_their_first_zxid_and_padded_as_upstream_pads() -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 3)
    log.roll()
    fill(log, 4, 200)
    assert disk.list(FOLDER) == ["log.1", "log.4"]
    assert disk.size(f"{FOLDER}/log.4") == 16 + 4 * 8192
    assert disk.read(f"{FOLDER}/log.1").endswith(b"B"), "a rolled file gives back its padding"
    assert zxids(log) == list(range(1, 201))
    assert list(log.read_from(7, 9)) == [(z, simple_txn(z, b"d" * 50)) for z in (7, 8, 9)]


def test_a_batch_is_one_write() -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 1)
    before = disk.counts["write"]
    fill(log, 2, 500)
    assert disk.counts["write"] == before + 1


def test_a_restart_starts_a_new_file_and_keeps_the_old_one() -> None:
    disk = SimDisk()
    fill(new_log(disk), 1, 5)
    log = new_log(disk)
    assert log.last_zxid == 5
    fill(log, 6, 7)
    assert disk.list(FOLDER) == ["log.1", "log.6"]
    assert zxids(log) == [1, 2, 3, 4, 5, 6, 7]


def test_size_limit_rolls_at_sync() -> None:
    disk = SimDisk()
    log = new_log(disk, size_limit_bytes=1000)
    for zxid in range(1, 31):
        fill(log, zxid, zxid)
    assert len(disk.list(FOLDER)) > 2
    assert zxids(log) == list(range(1, 31))
    assert log.total_bytes() > 3000
    log.reset_total()
    assert log.total_bytes() == log.current_bytes()


def test_without_preallocation() -> None:
    disk = SimDisk()
    log = new_log(disk, preallocate_bytes=0)
    fill(log, 1, 3)
    assert disk.read(f"{FOLDER}/log.1").endswith(b"B")
    assert "preallocate" not in disk.counts


@pytest.mark.parametrize(("before", "after"), [(5, 7), (5, 0x100000002), (5, 5), (5, 4)])
def test_append_refuses_what_does_not_follow(before: int, after: int) -> None:
    log = new_log(SimDisk())
    fill(log, 1, before)
    with pytest.raises(LogGapError):
        log.append(after, simple_txn(after))


def test_append_takes_the_first_txn_of_a_later_epoch() -> None:
    log = new_log(SimDisk())
    fill(log, 1, 5)
    fill(log, 0x300000001, 0x300000003)
    assert zxids(log)[-3:] == [0x300000001, 0x300000002, 0x300000003]


def test_append_refuses_a_zxid_that_the_txn_does_not_have() -> None:
    with pytest.raises(ValueError, match="says it is 0x9"):
        new_log(SimDisk()).append(8, simple_txn(9))


def test_continue_from_a_snapshot() -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 3)
    log.continue_from(90)
    fill(log, 91, 92)
    assert disk.list(FOLDER) == ["log.1", "log.5b"]
    assert zxids(log, 91) == [91, 92]
    with pytest.raises(LogGapError):
        zxids(log, 1)
    with pytest.raises(ValueError, match="beyond"):
        log.continue_from(91)


# Cutting


def test_zk_1156_truncate_keeps_exactly_up_to_the_zxid() -> None:
    for cut in range(1, 21):
        log = new_log(SimDisk())
        fill(log, 1, 8)
        log.roll()
        fill(log, 9, 20)
        assert log.truncate(cut) == cut
        assert zxids(log) == list(range(1, cut + 1))


def test_truncate_removes_later_files_newest_first() -> None:
    disk = SimDisk()
    log = new_log(disk)
    for start in (1, 11, 21, 31):
        fill(log, start, start + 9)
        log.roll()
    gone: list[str] = []
    disk.before = lambda op, path: gone.append(path) if op == "delete" else None
    assert log.truncate(15) == 15
    assert gone == [f"{FOLDER}/log.1f", f"{FOLDER}/log.15"]
    assert disk.list(FOLDER) == ["log.1", "log.b"]


def test_zk_1489_append_after_truncate_survives_a_restart() -> None:
    """The writer must not go on at its old offset, nor believe in its old preallocation."""
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 40)
    log.truncate(20)
    fill(log, 21, 25, size=70)
    assert zxids(new_log(disk)) == list(range(1, 26))
    assert [raw for _, raw in log.read_from(21)] == [simple_txn(z, b"d" * 70) for z in range(21, 26)]


def test_truncate_to_before_the_first_txn_leaves_an_empty_log() -> None:
    disk = SimDisk()
    log = new_log(disk)
    log.continue_from(10)
    fill(log, 11, 15)
    assert log.truncate(10) == -1
    assert disk.list(FOLDER) == []
    log.continue_from(10)
    fill(log, 11, 12)
    assert zxids(log, 11) == [11, 12]


def test_truncate_to_a_zxid_beyond_the_log_changes_nothing() -> None:
    log = new_log(SimDisk())
    fill(log, 1, 5)
    assert log.truncate(9) == 5
    assert zxids(log) == [1, 2, 3, 4, 5]


def test_truncate_without_a_log_fails() -> None:
    with pytest.raises(TruncateError):
        new_log(SimDisk()).truncate(5)


@pytest.mark.parametrize("kind", [EIO, ENOSPC])
@pytest.mark.parametrize("operation", ["truncate", "sync", "delete", "sync_folder"])
def test_zk_3701_a_failed_truncate_ends_the_log(operation: str, kind: str) -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 5)
    log.roll()
    fill(log, 6, 9)
    log.roll()
    disk.inject(operation, kind)
    with pytest.raises(OSError, match="injected"):
        log.truncate(3)
    with pytest.raises(LogBrokenError):
        log.append(4, simple_txn(4))
    disk.after_crash({})
    assert zxids(new_log(disk))[:3] == [1, 2, 3]


# Opening


def test_zk_2332_empty_last_file_is_removed() -> None:
    """A crash of an upstream server between creating a file and writing its header."""
    disk = SimDisk()
    fill(new_log(disk), 1, 5)
    disk.create(f"{FOLDER}/log.6")
    log = new_log(disk)
    assert log.last_zxid == 5
    assert disk.list(FOLDER) == ["log.1"]


def test_zk_1069_a_piece_of_a_header_is_removed_if_last() -> None:
    disk = SimDisk()
    fill(new_log(disk), 1, 5)
    disk.create(f"{FOLDER}/log.6").write(fmt.encode_file_header()[:7])
    assert new_log(disk).last_zxid == 5


def test_a_last_file_with_a_header_only_is_removed() -> None:
    disk = SimDisk()
    fill(new_log(disk), 1, 5)
    file = disk.create(f"{FOLDER}/log.6")
    file.write(fmt.encode_file_header())
    file.preallocate(5000)
    assert new_log(disk).last_zxid == 5
    assert disk.list(FOLDER) == ["log.1"]


def test_an_unfinished_new_file_is_removed() -> None:
    disk = SimDisk()
    new_log(disk)
    disk.create(f"{FOLDER}/new.log").write(b"ZKLG")
    new_log(disk)
    assert disk.list(FOLDER) == []


def test_a_zeroed_header_is_refused() -> None:
    disk = SimDisk()
    fill(new_log(disk), 1, 5)
    disk.overwrite(f"{FOLDER}/log.1", 0, bytes(16))
    with pytest.raises(RottenLogError, match=rf"{FOLDER}/log\.1, byte 0: invalid magic"):
        new_log(disk)


def test_a_torn_tail_is_cut_off_before_anything_is_appended() -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 5)
    end = log.current_bytes()
    fill(log, 6, 6, size=2000)
    disk.overwrite(f"{FOLDER}/log.1", (end + 700) // 512 * 512, bytes(8192))
    log = new_log(disk)
    assert log.last_zxid == 5
    assert disk.size(f"{FOLDER}/log.1") == end
    fill(log, 6, 8)
    assert zxids(new_log(disk)) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_wrong_end_byte_is_mended() -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 5)
    good = disk.read(f"{FOLDER}/log.1").rstrip(b"\0")
    disk.flip(f"{FOLDER}/log.1", len(good) - 1)
    assert zxids(new_log(disk)) == [1, 2, 3, 4, 5]
    assert disk.read(f"{FOLDER}/log.1") == good


def test_rot_names_file_and_byte() -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 3)
    third = log.current_bytes()
    fill(log, 4, 9)
    disk.flip(f"{FOLDER}/log.1", third + 30)
    with pytest.raises(RottenLogError) as caught:
        new_log(disk)
    assert (caught.value.name, caught.value.offset) == (f"{FOLDER}/log.1", third)


# Failing disks


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("write", EIO), ("write", ENOSPC), ("write", SHORT), ("sync", EIO), ("preallocate", ENOSPC)],
)
def test_after_a_failed_write_or_fsync_nothing_is_appended(operation: str, kind: str) -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 3)
    disk.inject(operation, kind)
    log.append(4, simple_txn(4, b"x" * 9000))
    with pytest.raises(OSError, match="injected"):
        log.sync()
    for attempt in (lambda: log.append(5, simple_txn(5)), log.sync, log.roll):
        with pytest.raises(LogBrokenError):
            attempt()
    kept = [z for z, _ in new_log(disk).read_from(1)]
    assert kept[:3] == [1, 2, 3]


def test_a_second_fsync_does_not_bring_back_what_the_first_lost() -> None:
    """fsyncgate: this is what makes a failed fsync final."""
    disk = SimDisk()
    disk.make_folder(FOLDER)
    file = disk.create(f"{FOLDER}/f")
    disk.sync_folder(FOLDER)
    file.write(b"lost")
    disk.inject("sync", EIO)
    with pytest.raises(OSError, match="injected"):
        file.sync()
    file.sync()
    assert disk.read(f"{FOLDER}/f") == b"lost"
    assert disk.after_crash({}).read(f"{FOLDER}/f") == b""


def test_an_fsync_that_lies_is_beyond_us_but_modelled() -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 3)
    disk.inject("sync", LIE)
    fill(log, 4, 6)
    assert zxids(new_log(disk.after_crash({}))) == [1, 2, 3]


def test_force_sync_off_syncs_only_at_the_end_of_a_file() -> None:
    disk = SimDisk()
    disk.make_folder(FOLDER)
    log = FileTxnLog(disk, FOLDER, preallocate_bytes=0, force_sync=False)
    log.open()
    fill(log, 1, 3)
    before = disk.counts["sync"]
    fill(log, 4, 6)
    assert disk.counts["sync"] == before
    log.roll()
    assert disk.counts["sync"] == before + 1


def test_an_unopened_log_is_refused() -> None:
    with pytest.raises(LogBrokenError, match="not been opened"):
        FileTxnLog(SimDisk(), FOLDER).append(1, simple_txn(1))
