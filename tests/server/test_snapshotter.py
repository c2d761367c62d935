"""Snapshots beside the log: when, how far ahead, and never ahead of what is durable."""

from tests.admin.driver import Drive

from zabra.server.ready import (
    DISK_SNAPSHOT_ABORT,
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_CHUNK,
    DISK_SNAPSHOT_END,
)
from zabra.server.settings import Settings
from zabra.server.snapshotter import PROGRESS_EVERY_MS


def begun(nodes_per_turn=1):
    settings = Settings()
    settings.snapshot_nodes_per_turn = nodes_per_turn
    drive = Drive(settings)
    drive.server.snapshotter.begin()
    return drive, drive.server


def turn(drive):
    drive.begin()
    return drive.server.ready()


def all_turns(drive, limit=50):
    kinds = []
    for _ in range(limit):
        ready = turn(drive)
        kinds += [command.kind for command in ready.snapshot]
    return kinds


def test_a_walk_takes_a_slice_a_turn():
    drive, server = begun()
    kinds = all_turns(drive)
    assert kinds[0] == DISK_SNAPSHOT_BEGIN
    assert kinds[-1] == DISK_SNAPSHOT_END
    assert kinds.count(DISK_SNAPSHOT_CHUNK) >= 4
    assert server.snapshotter.busy()
    server.snapshot_done(server.snapshotter.end_token)
    assert not server.snapshotter.busy()


def test_the_end_waits_until_the_log_has_what_the_tree_has():
    drive, server = begun(1000)
    server.last_logged_zxid = server.tree.last_processed_zxid = 7
    server.last_synced_zxid = 5
    assert DISK_SNAPSHOT_END not in all_turns(drive)
    server.last_synced_zxid = 7
    ready = turn(drive)
    (end,) = ready.snapshot
    assert (end.kind, end.zxid, end.value) == (DISK_SNAPSHOT_END, 7, server.tree.digest)


def test_a_slow_disk_holds_the_walk_back():
    drive, server = begun()
    ahead = server.settings.snapshot_chunks_in_flight + 1
    server.snapshotter.end_token = server.snapshotter.done_token + ahead
    turn(drive)
    assert turn(drive).snapshot == []


def test_a_walk_over_a_tree_that_is_void_becomes_no_snapshot():
    drive, server = begun()
    assert server.snapshotter.last_zxid == 0
    server.snapshotter.begun_zxid = 7
    turn(drive)
    server.tree_is_void()
    kinds = all_turns(drive)
    assert kinds == [DISK_SNAPSHOT_ABORT]
    server.snapshot_done(server.snapshotter.end_token)
    # And it is not told of as one.
    assert server.snapshotter.last_zxid == 0
    assert not server.snapshotter.busy()


def test_snapshots_are_due_between_half_the_count_and_the_count():
    settings = Settings()
    settings.snap_count = 100
    drive = Drive(settings)
    snapshotter = drive.server.snapshotter
    for _ in range(200):
        snapshotter.draw_triggers()
        assert 50 <= snapshotter.count_trigger < 100
    drive.server.appended_count = snapshotter.count_trigger
    assert not snapshotter.due()
    drive.server.appended_count += 1
    assert snapshotter.due()
    drive.server.appended_count = 0
    drive.server.appended_bytes = settings.snap_size_limit
    assert snapshotter.due()


def said(drive, ready=None):
    ready = ready or turn(drive)
    return [text for _, text in ready.log_lines if text.startswith("snapshot")]


def test_one_that_takes_long_says_how_far_it_is():
    drive, server = begun()
    assert said(drive) == []
    drive.now_ms += PROGRESS_EVERY_MS
    assert said(drive) == ["snapshot at 0x0: 2 of 4 nodes, 2 s"]
    assert said(drive) == []
    # The disk, too, may need its time.
    while server.snapshotter.walk is not None:
        turn(drive)
    drive.now_ms += PROGRESS_EVERY_MS
    assert said(drive) == ["snapshot at 0x0: 4 of 4 nodes, 4 s"]
    drive.begin()
    server.snapshot_done(server.snapshotter.end_token)
    assert said(drive, server.ready()) == ["snapshot at 0x0: 4 nodes written in 4000 ms"]


def test_one_that_is_quick_says_nothing():
    drive, server = begun(1000)
    lines = [line for _ in range(5) for line in said(drive)]
    drive.begin()
    server.snapshot_done(server.snapshotter.end_token)
    assert lines + said(drive, server.ready()) == []
