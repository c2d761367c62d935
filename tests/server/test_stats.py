"""What a server counts, request by request."""

from __future__ import annotations

import pytest
from tests.admin.driver import Drive, framed

from zabra.jute.primitives import Reader, Writer
from zabra.metrics import Metrics, Number
from zabra.proto import codes
from zabra.proto.records import ReplyHeader, SyncRequest
from zabra.server.roles.proposing import QUOTA_TOLD_EVERY_MS
from zabra.server.settings import Settings
from zabra.server.stats import NAMESPACE_READS_EXACT, NAMESPACE_READS_SHARE, op_accounts
from zabra.server.status import OP_WORDS
from zabra.server.views import PART_METRICS


def values(drive: Drive) -> dict[str, Number]:
    return drive.server.status(PART_METRICS).metrics


def test_reads_take_as_long_as_their_turn() -> None:
    drive = Drive()
    conn = drive.connect()
    for took_ms in (0, 7, 3):
        drive.get(conn, "/", took_ms=took_ms)
    out = values(drive)
    assert (out["cnt_readlatency"], out["sum_readlatency"], out["max_readlatency"]) == (3, 10, 7)
    assert out["cnt_read_commitproc_time_ms"] == 3
    # The session's creation is an update, as upstream counts it.
    assert out["cnt_updatelatency"] == 1
    view = drive.server.status()
    assert (view.latency_minimum_ms, view.latency_maximum_ms, view.latency_average_ms) == (0, 7, 2.5)


def test_a_turn_nobody_timed_took_no_time() -> None:
    drive = Drive()
    conn = drive.connect()
    drive.begin()
    drive.server.data_received(conn, bytes.fromhex("00000008fffffffe0000000b"))
    drive.server.ready()
    # No turn_took: the next turn closes the account.
    drive.turn()
    assert values(drive)["cnt_readlatency"] == 1
    assert values(drive)["op_count_ping"] == 1


def test_writes_wait_for_the_disk() -> None:
    drive = Drive()
    conn = drive.connect()
    w = Writer()
    SyncRequest("/").encode(w)
    assert drive.ask(conn, 4, codes.OP_SYNC, w.getvalue())[0] == codes.OK
    before = values(drive)
    drive.begin()
    w = Writer()
    w.write_ustring("/")
    w.write_buffer(b"v")
    w.write_int(-1)
    frame = b"\0\0\0\1" + codes.OP_SET_DATA.to_bytes(4, "big") + w.getvalue()
    drive.server.data_received(conn, len(frame).to_bytes(4, "big") + frame)
    ready = drive.server.ready()
    drive.now_ms += 25
    drive.begin()
    drive.server.disk_done(ready.disk[-1].token)
    drive.end()
    out = values(drive)
    assert out["max_updatelatency"] == 25
    assert out["sum_sync_processor_queue_and_flush_time_ms"] == 25
    assert out["cnt_sync_processor_batch_size"] == 2
    assert out["max_propagation_latency"] == 25
    # The sync counted as a read.
    assert before["cnt_readlatency"] == 1
    assert out["op_count_sync"] == 1
    assert out["op_count_set_data"] == 1


def test_every_kind_of_request_has_its_counter() -> None:
    metrics = Metrics()
    accounts = op_accounts(metrics)
    counted = {op for op in range(-11, 108) if accounts[op + 16].counter.name != "other"}
    # Those that upstream names for its connections; deleteContainer no client can send.
    assert counted == {*OP_WORDS, codes.OP_DELETE_CONTAINER}


def test_namespaces() -> None:
    drive = Drive()
    conn = drive.connect()
    drive.create(conn, "/app", b"12345")
    drive.create(conn, "/app/b")
    drive.set_data(conn, "/app", b"123")
    drive.delete(conn, "/app/b")
    drive.read(conn, codes.OP_GET_DATA, "/app")
    drive.read(conn, codes.OP_EXISTS, "/app")
    drive.create(conn, "/app/child")
    drive.read(conn, codes.OP_GET_CHILDREN, "/app")
    drive.read(conn, codes.OP_GET_CHILDREN2, "/app")
    # No namespace, and no node.
    drive.read(conn, codes.OP_GET_DATA, "/")
    assert drive.read(conn, codes.OP_GET_DATA, "/app/none")[0] == codes.ERR_NO_NODE
    out = values(drive)
    # Path and data; deleting counts the path.
    assert out["cnt_app_write_per_namespace"] == 5
    assert out["sum_app_write_per_namespace"] == 9 + 6 + 7 + 6 + 10
    # Path, data or children's names, and 68 for a Stat.
    assert out["cnt_app_read_per_namespace"] == 4
    assert out["sum_app_read_per_namespace"] == (4 + 3 + 68) + (4 + 68) + 2 * (4 + 5 + 68)


def test_session_ephemerals_count_as_writes_when_they_go() -> None:
    drive = Drive()
    conn = drive.connect()
    drive.create(conn, "/a", flags=codes.MODE_EPHEMERAL)
    drive.ask(conn, 9, codes.OP_CLOSE_SESSION)
    assert values(drive)["cnt_a_write_per_namespace"] == 2


def test_many_reads_are_sampled_without_bias() -> None:
    drive = Drive()
    conn = drive.connect()
    drive.create(conn, "/app", b"x")
    sampled = 20 * NAMESPACE_READS_SHARE
    for _ in range(NAMESPACE_READS_EXACT + sampled + NAMESPACE_READS_SHARE - 1):
        drive.get(conn, "/app")
    assert values(drive)["cnt_app_read_per_namespace"] == NAMESPACE_READS_EXACT + sampled
    drive.now_ms += 1000
    drive.get(conn, "/app")
    assert values(drive)["cnt_app_read_per_namespace"] == NAMESPACE_READS_EXACT + sampled + 1


def test_bytes_in_and_out() -> None:
    drive = Drive()
    conn = drive.connect()
    before = values(drive)
    other = drive.connect()
    drive.create(conn, "/a", b"x")
    drive.get(other, "/a", watch=True)
    drive.set_data(conn, "/a", b"y")
    event = bytes(drive.sent[other])[-(4 + 16 + 8 + 6) :]
    out = values(drive)
    # Without lengths, as upstream: create (16 + 4 + 2), getData (16 + 5 + 68), setData (16 + 68).
    assert out["response_bytes"] - before["response_bytes"] == 22 + 89 + 84
    assert out["watch_bytes"] == len(event) - 4 == 30
    assert out["cnt_node_changed_watch_count"] == out["sum_node_changed_watch_count"] == 1
    view = drive.server.status()
    assert (view.response_sizes.last, view.response_sizes.smallest) == (84, 22)
    assert view.response_sizes.largest == 89


def test_watches_of_every_kind() -> None:
    drive = Drive()
    conn = drive.connect()
    watcher = drive.connect()
    assert drive.read(watcher, codes.OP_EXISTS, "/a", watch=True)[0] == codes.ERR_NO_NODE
    drive.read(watcher, codes.OP_GET_CHILDREN, "/", watch=True)
    drive.create(conn, "/a")
    drive.read(watcher, codes.OP_GET_DATA, "/a", watch=True)
    drive.delete(conn, "/a")
    out = values(drive)
    assert out["sum_node_created_watch_count"] == 1
    assert out["sum_node_children_watch_count"] == 1
    assert out["sum_node_deleted_watch_count"] == 1
    assert out["cnt_node_changed_watch_count"] == 0


def test_connections_made_and_refused() -> None:
    settings = Settings()
    settings.max_connections_per_ip = 2
    drive = Drive(settings)
    first = drive.connect()
    drive.open()
    refused = drive.open()
    assert refused in drive.closed
    drive.lose(first)
    out = values(drive)
    assert out["connection_request_count"] == 1
    assert out["connection_rejected"] == 1
    assert out["connection_drop_count"] == 1
    drive.now_ms += settings.sessionless_timeout_ms
    drive.turn()
    assert values(drive)["sessionless_connections_expired"] == 1


def test_expired_sessions() -> None:
    drive = Drive()
    drive.connect(timeout_ms=4000)
    for _ in range(4):
        drive.now_ms += 2000
        drive.turn()
    out = values(drive)
    assert out["stale_sessions_expired"] == 1
    assert out["outstanding_changes_queued"] == out["outstanding_changes_removed"]


def test_reset_forgets_everything() -> None:
    drive = Drive()
    conn = drive.connect()
    drive.create(conn, "/app", b"x")
    drive.get(conn, "/app", took_ms=3)
    fresh = Metrics().dump()
    assert {name for name, value in values(drive).items() if value} != {
        name for name, value in fresh.items() if value
    }
    drive.server.reset_stats()
    after = values(drive)
    assert {name: after[name] for name in fresh} == fresh
    view = drive.server.status()
    assert (view.packets_received, view.packets_sent, view.latency_maximum_ms) == (0, 0, 0)
    assert view.response_sizes.largest == -1


def test_disk_times_from_the_driver() -> None:
    drive = Drive()
    drive.server.fsync_took(1000.9)
    drive.server.fsync_took(1001.0)
    drive.server.recovery_took(12, 34)
    ready = drive.server.ready()
    assert [text for _, text in ready.log_lines if "fsync" in text] == [
        "an fsync of the txn log took 1001 ms: every write waits for it"
    ]
    out = values(drive)
    assert (out["cnt_fsynctime"], out["max_fsynctime"]) == (2, 1001)
    assert (out["max_dbinittime"], out["max_startup_txns_loaded"]) == (12, 34)
    assert drive.server.status().fsync_threshold_exceeded == 1


def test_snapshots_are_timed() -> None:
    settings = Settings()
    settings.snap_count = 10
    drive = Drive(settings)
    conn = drive.connect()
    before = values(drive)["cnt_snapshottime"]
    for number in range(12):
        drive.create(conn, f"/n{number}")
    assert values(drive)["cnt_snapshottime"] > before


def test_quota_refusals_by_namespace() -> None:
    settings = Settings()
    settings.enforce_quota = True
    drive = Drive(settings)
    conn = drive.connect()
    for path, data in (
        ("/app", b""),
        ("/zookeeper/quota/app", b""),
        ("/zookeeper/quota/app/zookeeper_limits", b"count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=-1"),
        ("/zookeeper/quota/app/zookeeper_stats", b"count=1,bytes=0"),
    ):
        drive.create(conn, path, data)
    w = Writer()
    w.write_ustring("/app")
    w.write_buffer(b"1234")
    w.write_int(-1)
    assert drive.ask(conn, 5, codes.OP_SET_DATA, w.getvalue())[0] == codes.ERR_QUOTA_EXCEEDED
    assert values(drive)["app_quota_exceeded_error_per_namespace"] == 1
    assert drive.server.status(PART_METRICS).quotas == {"app": (-1, 3, 1, 0)}


def quota_lines(drive: Drive, conn: int, data: bytes) -> tuple[int, list[str]]:
    """The answer to a setData on /app, and what the operator is told of quotas."""
    w = Writer()
    w.write_ustring("/app")
    w.write_buffer(data)
    w.write_int(-1)
    request = (9).to_bytes(4, "big") + codes.OP_SET_DATA.to_bytes(4, "big") + w.getvalue()
    drive.begin()
    drive.server.data_received(conn, framed(request))
    drive.sent[conn].clear()
    ready = drive.end()
    header = ReplyHeader.decode(Reader(bytes(drive.sent[conn])[4:]))
    return header.err, [text for _, text in ready.log_lines if "uota" in text]


@pytest.mark.parametrize("enforced", [False, True])
def test_an_exceeded_soft_quota_is_told_now_and_then(enforced: bool) -> None:
    settings = Settings()
    settings.enforce_quota = enforced
    drive = Drive(settings)
    conn = drive.connect()
    for path, data in (
        ("/app", b""),
        ("/zookeeper/quota/app", b""),
        ("/zookeeper/quota/app/zookeeper_limits", b"count=-1,bytes=3"),
        ("/zookeeper/quota/app/zookeeper_stats", b"count=1,bytes=0"),
    ):
        drive.create(conn, path, data)
    assert quota_lines(drive, conn, b"123") == (codes.OK, [])
    told = ["Quota exceeded: /app [current bytes=4, soft limit=3]"]
    assert quota_lines(drive, conn, b"1234") == (codes.OK, told)
    assert quota_lines(drive, conn, b"12345") == (codes.OK, [])
    drive.now_ms += QUOTA_TOLD_EVERY_MS
    assert quota_lines(drive, conn, b"123456")[1] == [told[0].replace("=4", "=6")]


def test_a_hard_quota_that_is_not_enforced_is_told_and_refuses_nobody() -> None:
    drive = Drive()
    conn = drive.connect()
    for path, data in (
        ("/app", b""),
        ("/zookeeper/quota/app", b""),
        ("/zookeeper/quota/app/zookeeper_limits", b"count=-1,bytes=-1=;byteHardLimit=3"),
        ("/zookeeper/quota/app/zookeeper_stats", b"count=1,bytes=0"),
    ):
        drive.create(conn, path, data)
    told = ["Quota exceeded: /app [current bytes=4, hard limit=3]"]
    assert quota_lines(drive, conn, b"1234") == (codes.OK, told)
