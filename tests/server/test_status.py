"""ServerView: cheap without parts, bounded with them, and unmoved by what comes after."""

from __future__ import annotations

import pytest
from tests.admin.driver import START_WALL_MS, Drive

from zabra.proto import codes
from zabra.server.status import INTEREST_READ, INTEREST_WRITE
from zabra.server.views import (
    PART_CONNECTIONS,
    PART_EPHEMERALS,
    PART_SESSIONS,
    PART_WATCHES_BY_PATH,
    PART_WATCHES_BY_SESSION,
)

ALL = PART_CONNECTIONS | PART_SESSIONS | PART_EPHEMERALS | PART_WATCHES_BY_SESSION | PART_WATCHES_BY_PATH


def busy() -> Drive:
    drive = Drive()
    conn = drive.connect(port=1)
    drive.create(conn, "/a", b"data", flags=codes.MODE_EPHEMERAL)
    drive.get(conn, "/a", watch=True)
    drive.connect(port=2)
    return drive


def test_without_parts_nothing_is_walked() -> None:
    view = busy().server.status()
    assert not view.connections
    assert not view.ephemerals
    assert not view.watches_by_path
    assert not view.metrics
    assert not view.role.session_buckets
    assert (view.role.name, view.role.serves, view.is_read_only()) == ("standalone", True, False)
    assert (view.connection_count, view.global_sessions) == (2, 2)
    assert (view.node_count, view.ephemeral_count, view.ephemeral_sessions) == (6, 1, 1)
    assert (view.watch_count, view.watch_summary) == (1, (1, 1, 1))
    assert (view.last_zxid, view.outstanding) == (3, 0)
    assert view.approximate_data_size > 0
    assert view.wall_ms == START_WALL_MS + view.now_ms


def test_a_picture_does_not_move() -> None:
    drive = busy()
    view = drive.server.status(ALL)
    conn = drive.connect(port=3)
    drive.create(conn, "/b", flags=codes.MODE_EPHEMERAL)
    drive.get(conn, "/b", watch=True)
    drive.server.reset_stats()
    drive.server.reset_connection_stats()
    assert view.node_count == 6
    assert [one.peer_port for one in view.connections] == [1, 2]
    assert view.connections[0].received == 3
    assert [paths for _, paths in view.ephemerals] == [["/a"]]
    assert [path for path, _ in view.watches_by_path] == ["/a"]
    assert view.response_sizes.largest == 16 + 4 + 4 + 68
    assert sum(len(bucket.session_ids) for bucket in view.role.session_buckets) == 2


@pytest.mark.parametrize(
    "part", [PART_CONNECTIONS, PART_EPHEMERALS, PART_WATCHES_BY_SESSION, PART_WATCHES_BY_PATH]
)
def test_parts_are_bounded_and_say_so(part: int) -> None:
    drive = Drive()
    for number in range(4):
        conn = drive.connect(port=number)
        drive.create(conn, f"/n{number}", flags=codes.MODE_EPHEMERAL)
        drive.get(conn, f"/n{number}", watch=True)
    for limit, cut in ((3, True), (4, False), (5, False)):
        view = drive.server.status(part, limit)
        entries = (
            len(view.connections)
            + sum(len(paths) for _, paths in view.ephemerals)
            + sum(len(paths) for _, paths in view.watches_by_session)
            + sum(len(ids) for _, ids in view.watches_by_path)
        )
        assert entries == min(limit, 4)
        assert view.cut is cut


def test_a_connection() -> None:
    drive = Drive()
    drive.now_ms += 5
    conn = drive.connect(host="10.0.0.1", port=7, timeout_ms=6000)
    drive.now_ms += 5
    drive.create(conn, "/a", xid=1)
    drive.now_ms += 5
    drive.ping(conn)
    (one,) = drive.server.status(PART_CONNECTIONS).connections
    assert (one.peer_host, one.peer_port, one.timeout_ms) == ("10.0.0.1", 7, 6000)
    assert (one.received, one.sent, one.queued) == (3, 3, 0)
    assert (one.last_op, one.last_cxid, one.last_zxid) == ("PING", 1, 2)
    assert one.established_ms == START_WALL_MS + 1_000_005
    assert one.last_response_ms == 1_000_015
    assert one.expires_ms == 1_000_015 + 6000
    assert one.interest == INTEREST_READ
    drive.begin()
    drive.server.congested(conn)
    drive.end()
    (one,) = drive.server.status(PART_CONNECTIONS).connections
    assert one.interest == INTEREST_WRITE


def test_who_asked_a_word_has_no_session_and_no_interest() -> None:
    drive = Drive()
    conn = drive.open()
    drive.receive(conn, b"ruok")
    assert drive.words == [(conn, "ruok", b"")]
    (one,) = drive.server.status(PART_CONNECTIONS).connections
    assert (one.session_id, one.interest, one.received, one.last_op) == (0, 0, 1, "NA")
    assert one.expires_ms == 1_000_000 + drive.server.settings.sessionless_timeout_ms


@pytest.mark.parametrize("rest", [b"", b"1234567", b"12345678", b"123456789"])
def test_a_mask_comes_with_its_word(rest: bytes) -> None:
    drive = Drive()
    conn = drive.open()
    drive.receive(conn, b"stmk" + rest)
    assert drive.words == [(conn, "stmk", rest)]
