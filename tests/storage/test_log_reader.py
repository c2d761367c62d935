"""Reading logs: which files, in what order, and what is refused."""

import pytest
from tests.storage.folders import FOLDER, fill, new_log, simple_txn, zxids

from zabra.sim.disk import SimDisk
from zabra.storage import txnlog_format as fmt
from zabra.storage.errors import LogGapError, RottenLogError
from zabra.storage.log_reader import LogFileReader, list_logs, logs_holding


def test_reading_starts_with_the_last_file_that_may_hold_the_zxid() -> None:
    disk = SimDisk()
    log = new_log(disk)
    for start in (1, 11, 21):
        fill(log, start, start + 9)
        log.roll()
    assert [f.name for f in log.reader(11).files] == ["log.b", "log.15"]
    assert [f.name for f in log.reader(20).files] == ["log.b", "log.15"]
    assert [f.name for f in log.reader(21).files] == ["log.15"]
    assert [log.segment_start(z) for z in (5, 20, 99)] == [1, 11, 21]
    assert log.bytes_from(20) == disk.size(f"{FOLDER}/log.b") + disk.size(f"{FOLDER}/log.15")
    assert new_log(SimDisk()).segment_start(5) == -1


def test_stray_names_are_not_logs() -> None:
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 3)
    for name in ("log.2.bak", "log.", "log.xyz", "log.-1", "log.0x4", "log.4_0", "log. 5", "login.5"):
        disk.create(f"{FOLDER}/{name}").write(b"not a log")
    assert zxids(new_log(disk)) == [1, 2, 3]


def test_large_entries_cross_the_slices() -> None:
    disk = SimDisk()
    log = new_log(disk)
    for zxid in range(1, 5):
        fill(log, zxid, zxid, size=900_000)
    assert zxids(new_log(disk)) == [1, 2, 3, 4]


def test_what_is_being_written_is_not_judged_by_who_wants_what_is_there() -> None:
    """A leader that read its log for a learner met the hole of a write in progress, and sent a snapshot."""
    disk = SimDisk()
    log = new_log(disk)
    whole = [fmt.encode_entries([simple_txn(z, b"d" * 50)]) for z in range(1, 10)]
    hole = b"".join(whole[:6]) + bytes(len(whole[6])) + b"".join(whole[7:])
    disk.create(f"{FOLDER}/log.1").write(fmt.encode_file_header() + hole)
    assert [zxid for zxid, _ in log.read_from(2, 6)] == [2, 3, 4, 5, 6]
    for last in (7, -1):
        with pytest.raises(RottenLogError):
            list(log.read_from(2, last))


def test_duplicates_are_read_once() -> None:
    """A learner of upstream's may log a txn twice; it is the same txn."""
    disk = SimDisk()
    fill(new_log(disk), 1, 5)
    twice = fmt.encode_file_header() + fmt.encode_entries([simple_txn(z, b"d" * 50) for z in (4, 5, 6)])
    disk.create(f"{FOLDER}/log.4").write(twice)
    log = new_log(disk)
    reader = log.reader(1)
    seen = []
    while not reader.done:
        seen += [entry.zxid for entry in reader.next_slice()]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert reader.duplicates == 2


def torn_then(disk: SimDisk, next_zxid: int) -> None:
    """An older file with a torn tail behind txn 5, and a file that starts with ``next_zxid``."""
    log = new_log(disk)
    fill(log, 1, 5)
    disk.create(f"{FOLDER}/log.1").write(
        fmt.encode_file_header()
        + fmt.encode_entries([simple_txn(z) for z in range(1, 6)])
        + fmt.encode_entries([simple_txn(6, b"x" * 3000)])[:700]
    )
    raw = fmt.encode_file_header() + fmt.encode_entries([simple_txn(next_zxid)])
    disk.create(f"{FOLDER}/log.{next_zxid:x}").write(raw)


def test_a_torn_tail_in_an_older_file_is_harmless_if_its_txn_was_written_anew() -> None:
    """Upstream never cuts a torn tail off, so its folders have them."""
    disk = SimDisk()
    torn_then(disk, 6)
    assert zxids(new_log(disk)) == [1, 2, 3, 4, 5, 6]


def test_a_torn_tail_in_an_older_file_is_harmless_below_the_snapshot() -> None:
    disk = SimDisk()
    torn_then(disk, 8)
    assert zxids(new_log(disk), 8) == [8]


@pytest.mark.parametrize("next_zxid", [7, 0x100000001])
def test_a_torn_tail_in_an_older_file_is_refused_if_txns_may_be_missing(next_zxid: int) -> None:
    disk = SimDisk()
    torn_then(disk, next_zxid)
    with pytest.raises(RottenLogError, match="does not go on where this one stops"):
        zxids(new_log(disk))


def test_a_file_that_was_removed_leaves_a_gap() -> None:
    disk = SimDisk()
    log = new_log(disk)
    for start in (1, 4, 7):
        fill(log, start, start + 2)
        log.roll()
    disk.lose_entry(f"{FOLDER}/log.4")
    with pytest.raises(LogGapError, match="between 0x3 and 0x7"):
        zxids(new_log(disk))
    reader = new_log(disk).reader(1, trust_gaps=True)
    assert [entry.zxid for entry in reader.next_slice()] == [1, 2, 3]
    assert [entry.zxid for entry in reader.next_slice()] == [7, 8, 9]


def three_epochs(disk: SimDisk) -> None:
    """A file for each of three epochs, the last of a later process."""
    log = new_log(disk)
    fill(log, 1, 3)
    log.roll()
    fill(log, 0x200000001, 0x200000004)
    log = new_log(disk)
    fill(log, 0x500000001, 0x500000002)


def test_a_file_that_is_missing_between_two_epochs_leaves_a_gap_too() -> None:
    disk = SimDisk()
    three_epochs(disk)
    assert len(zxids(new_log(disk))) == 9
    disk.lose_entry(f"{FOLDER}/log.200000001")
    with pytest.raises(LogGapError, match="between 0x3 and 0x500000001"):
        zxids(new_log(disk))
    # A snapshot was taken before the gap; and one behind it.
    with pytest.raises(LogGapError):
        zxids(new_log(disk), 4)
    assert zxids(new_log(disk), 0x200000005) == [0x500000001, 0x500000002]


def test_what_a_snapshot_has_taken_the_place_of_leaves_a_gap() -> None:
    """A leader's snapshot at the start of epoch 5 replaces the log; a crash leaves the log where it was."""
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 3)
    log = new_log(disk)
    log.continue_from(0x500000000)
    fill(log, 0x500000001, 0x500000002)
    with pytest.raises(LogGapError, match="goes on from another txn"):
        zxids(new_log(disk))
    for start in (0x500000000, 0x500000001):
        assert zxids(new_log(disk), start) == [0x500000001, 0x500000002]


def test_files_of_apaches_do_not_say_what_came_before() -> None:
    disk = SimDisk()
    three_epochs(disk)
    disk.lose_entry(f"{FOLDER}/log.200000001")
    disk.overwrite(f"{FOLDER}/log.500000001", 0, fmt.encode_file_header())
    assert zxids(new_log(disk)) == [1, 2, 3, 0x500000001, 0x500000002]


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        (5, 6, True),
        (5, 7, False),
        (5, 5, False),
        (0xFFFFFFFF, 0x100000000, False),
        (5, 0x100000001, True),
        (5, 0x300000001, True),
        (5, 0x100000002, False),
        (0x200000005, 0x100000001, False),
        (0x200000000, 0x200000001, True),
    ],
)
def test_what_may_follow_what(before: int, after: int, answer: bool) -> None:
    assert fmt.follows(after, before) == answer


def test_files_that_may_hold_a_zxid() -> None:
    disk = SimDisk()
    disk.make_folder(FOLDER)
    for zxid in (0x10, 0x9, 0x200000001):
        disk.create(f"{FOLDER}/log.{zxid:x}")
    files = list_logs(disk, FOLDER)
    assert [file.name for file in files] == ["log.9", "log.10", "log.200000001"]
    assert [file.name for file in logs_holding(files, 0x11)] == ["log.10", "log.200000001"]
    assert logs_holding(files, 3) == files
    assert logs_holding([], 3) == []


def test_padding_given_back_while_a_file_is_read() -> None:
    """The log's thread rolls while another one reads."""
    disk = SimDisk()
    log = new_log(disk)
    fill(log, 1, 5)
    reader = LogFileReader(disk, f"{FOLDER}/log.1", 64)
    seen = [entry.zxid for entry in reader.next_slice()]
    log.roll()
    while reader.tail is None:
        seen += [entry.zxid for entry in reader.next_slice()]
    assert seen == [1, 2, 3, 4, 5]
    assert reader.tail.verdict == fmt.CLEAN
