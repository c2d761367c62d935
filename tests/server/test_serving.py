"""Serving, byte by byte: order of replies, watches before replies, limits, local sessions."""

import struct

import pytest
from tests.admin.driver import Drive, framed

from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.records import ACL, ConnectRequest, CreateRequest, Id, ReplyHeader, SetWatches, WatcherEvent
from zabra.server.settings import Settings
from zabra.tree.snapshot_walk import load_tree, serialize_tree

OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]


def frame(xid, op, *fields):
    w = Writer()
    w.write_int(xid)
    w.write_int(op)
    for field in fields:
        if isinstance(field, bool):
            w.write_bool(field)
        elif isinstance(field, str):
            w.write_ustring(field)
        elif isinstance(field, bytes):
            w.write_buffer(field)
        else:
            w.write_int(field)
    return framed(w.getvalue())


def frames(data):
    out = []
    while data:
        (size,) = struct.unpack(">i", data[:4])
        out.append(data[4 : 4 + size])
        data = data[4 + size :]
    return out


def headers(data):
    return [ReplyHeader.decode(Reader(one)) for one in frames(data)]


def create_frame(xid, path, flags=0):
    w = Writer()
    w.write_int(xid)
    w.write_int(codes.OP_CREATE)
    CreateRequest(path, b"", OPEN, flags).encode(w)
    return framed(w.getvalue())


def test_replies_come_in_the_order_of_requests_though_reads_need_no_disk():
    drive = Drive()
    conn = drive.connect()
    sent = create_frame(1, "/a") + frame(2, codes.OP_GET_DATA, "/a", False) + frame(3, codes.OP_SYNC, "/")
    sent += frame(-2, codes.OP_PING) + create_frame(4, "/b") + frame(5, codes.OP_EXISTS, "/b", False)
    answer = headers(drive.receive(conn, sent))
    assert [(one.xid, one.err) for one in answer] == [(1, 0), (2, 0), (3, 0), (-2, 0), (4, 0), (5, 0)]
    zxids = [one.zxid for one in answer]
    assert zxids == sorted(zxids)


def test_bytes_may_come_one_at_a_time():
    drive = Drive()
    conn = drive.connect()
    answer = b""
    for byte in create_frame(1, "/a") + frame(2, codes.OP_EXISTS, "/a", False):
        answer += drive.receive(conn, bytes([byte]))
    assert [one.xid for one in headers(answer)] == [1, 2]


def test_an_event_comes_before_the_reply_that_shows_its_cause():
    drive = Drive()
    conn = drive.connect()
    drive.receive(conn, create_frame(1, "/a") + frame(2, codes.OP_GET_DATA, "/a", True))
    answer = frames(drive.receive(conn, frame(3, codes.OP_SET_DATA, "/a", b"v", -1)))
    first = Reader(answer[0])
    header = ReplyHeader.decode(first)
    assert (header.xid, header.err) == (-1, 0)
    assert WatcherEvent.decode(first) == WatcherEvent(codes.EVENT_NODE_DATA_CHANGED, 3, "/a")
    assert header.zxid == ReplyHeader.decode(Reader(answer[1])).zxid
    # One-shot: the second change says nothing.
    assert len(frames(drive.receive(conn, frame(4, codes.OP_SET_DATA, "/a", b"v", -1)))) == 1


def test_what_a_reconnecting_client_missed_comes_before_the_reply_to_set_watches():
    drive = Drive()
    conn = drive.connect()
    drive.receive(conn, create_frame(1, "/a"))
    w = Writer()
    w.write_int(-8)
    w.write_int(codes.OP_SET_WATCHES)
    SetWatches(0, ["/a", "/gone"], [], []).encode(w)
    answer = headers(drive.receive(conn, framed(w.getvalue())))
    assert [(one.xid, one.zxid) for one in answer[:2]] == [(-1, -1), (-1, -1)]
    assert answer[2].xid == -8


def test_a_read_that_waits_does_not_gain_by_who_its_client_becomes_meanwhile():
    """As upstream; found by seeds 2001357 and 2001599, in what whoAmI said."""
    drive = Drive()
    conn = drive.connect()
    auth = frame(codes.XID_AUTH, codes.OP_AUTH, 0, "digest", b"alice:secret")
    who = frame(2, codes.OP_WHO_AM_I)
    answer = frames(drive.receive(conn, create_frame(1, "/a") + who + auth + who))
    said = [b"digest" in one for one in answer if ReplyHeader.decode(Reader(one)).xid == 2]
    assert said == [False, True], answer


def test_a_raised_maxbuffer_raises_what_a_node_may_hold():
    """Requests up to 8 MiB were let in, and what was in them was refused from 2 MiB on."""
    settings = Settings()
    settings.jute_max_buffer = 8 << 20
    drive = Drive(settings)
    conn = drive.connect()
    data = bytes(3 << 20)
    sent = create_frame(1, "/a") + frame(2, codes.OP_SET_DATA, "/a", data, -1)
    answers = frames(drive.receive(conn, sent + frame(3, codes.OP_GET_DATA, "/a", False)))
    assert [ReplyHeader.decode(Reader(one)).err for one in answers] == [0, 0, 0]
    assert data in answers[2]
    stored = load_tree(serialize_tree(drive.server.tree))
    assert stored.nodes["/a"].data == data


@pytest.mark.parametrize(
    "op", [codes.OP_CHECK, codes.OP_CREATE_SESSION, codes.OP_DELETE_CONTAINER, 99, -999, 2**31 - 1]
)
def test_an_operation_that_no_client_may_send(op):
    drive = Drive()
    conn = drive.connect()
    (answer,) = headers(drive.receive(conn, frame(7, op)))
    assert (answer.xid, answer.zxid, answer.err) == (7, -1, codes.ERR_UNIMPLEMENTED)
    assert conn in drive.closed


def test_a_malformed_write_is_refused_in_its_turn_and_the_connection_goes_on():
    drive = Drive()
    conn = drive.connect()
    before = drive.server.last_logged_zxid
    sent = create_frame(1, "/a") + frame(2, codes.OP_SET_DATA, 5) + frame(3, codes.OP_EXISTS, "/a", False)
    answer = headers(drive.receive(conn, sent))
    assert [(one.xid, one.err) for one in answer] == [(1, 0), (2, codes.ERR_MARSHALLING), (3, 0)]
    assert drive.server.last_logged_zxid == before + 1


@pytest.mark.parametrize("size", [-1, -(2**31), 0xFFFFF + 1])
def test_a_frame_of_an_impossible_size_closes(size):
    drive = Drive()
    conn = drive.connect()
    assert drive.receive(conn, struct.pack(">i", size)) == b""
    assert conn in drive.closed


def test_a_client_that_has_seen_the_future_is_turned_away():
    drive = Drive()
    conn = drive.open()
    w = Writer()
    ConnectRequest(0, 1 << 40, 10_000, 0, bytes(16), False).encode(w)
    assert drive.receive(conn, framed(w.getvalue())) == b""
    assert conn in drive.closed


def test_who_says_nothing_is_closed():
    drive = Drive()
    conn = drive.open()
    drive.now_ms += drive.server.settings.sessionless_timeout_ms - 1
    drive.turn()
    assert conn not in drive.closed
    drive.now_ms += 1
    drive.turn()
    assert conn in drive.closed


def test_connections_of_one_address_are_limited():
    settings = Settings()
    settings.max_connections_per_ip = 2
    drive = Drive(settings)
    conns = [drive.open() for _ in range(3)]
    assert [conn in drive.closed for conn in conns] == [False, False, True]
    assert drive.open("127.0.0.2") not in drive.closed


def test_a_client_with_too_much_outstanding_is_not_read_until_it_is_answered():
    settings = Settings()
    settings.global_outstanding_limit = 2
    drive = Drive(settings)
    conn = drive.connect()
    sent = b"".join(create_frame(xid, f"/n{xid}") for xid in range(1, 8))
    drive.begin()
    drive.server.data_received(conn, sent)
    ready = drive.server.ready()
    assert ready.pauses == [conn]
    assert drive.server.last_logged_zxid == 1 + 3
    drive.sent[conn].clear()
    while ready.disk:
        drive.begin()
        drive.server.disk_done(ready.disk[-1].token)
        ready = drive._carry_out()
    assert [one.xid for one in headers(bytes(drive.sent[conn]))] == list(range(1, 8))


def test_an_expired_session_takes_its_ephemerals_and_its_connection_along():
    drive = Drive()
    conn = drive.connect(timeout_ms=4000)
    drive.receive(conn, create_frame(1, "/e", codes.MODE_EPHEMERAL))
    for _ in range(5):
        # A tick at a time: a server that does not run holds that against nobody.
        drive.now_ms += 2000
        drive.turn()
    drive.turn()
    assert conn in drive.closed
    assert drive.server.tree.find("/e") is None
    assert drive.server.tree.sessions == {}


def test_a_session_closed_by_its_client_is_answered_then_closed():
    drive = Drive()
    conn = drive.connect()
    (answer,) = headers(drive.receive(conn, frame(9, codes.OP_CLOSE_SESSION)))
    assert (answer.xid, answer.err) == (9, 0)
    assert conn in drive.closed
    assert drive.server.tree.sessions == {}


def local_settings(upgrading):
    settings = Settings()
    settings.local_sessions_enabled = True
    settings.local_sessions_upgrading_enabled = upgrading
    return settings


def test_a_local_session_costs_no_txn_and_owns_no_ephemeral():
    drive = Drive(local_settings(False))
    conn = drive.connect()
    assert drive.server.last_logged_zxid == 0
    answer = headers(drive.receive(conn, create_frame(1, "/e", codes.MODE_EPHEMERAL) + create_frame(2, "/p")))
    assert [one.err for one in answer] == [codes.ERR_EPHEMERAL_ON_LOCAL_SESSION, 0]
    (answer,) = headers(drive.receive(conn, frame(3, codes.OP_CLOSE_SESSION)))
    assert (answer.xid, answer.err) == (3, 0)
    assert conn in drive.closed
    assert drive.server.last_logged_zxid == 1


def test_a_local_session_becomes_global_with_its_first_ephemeral():
    drive = Drive(local_settings(True))
    conn = drive.connect()
    sent = create_frame(1, "/e", codes.MODE_EPHEMERAL) + frame(2, codes.OP_PING)
    answer = headers(drive.receive(conn, sent))
    assert [one.err for one in answer] == [0, 0]
    assert len(drive.server.tree.sessions) == 1
    node = drive.server.tree.find("/e")
    assert node is not None
    assert node.ephemeral_owner in drive.server.tree.sessions
    drive.receive(conn, frame(3, codes.OP_CLOSE_SESSION))
    assert drive.server.tree.find("/e") is None


def test_a_session_that_becomes_global_slowly_is_heard_meanwhile():
    drive = Drive(local_settings(True))
    conn = drive.connect(timeout_ms=4000)
    drive.begin()
    drive.server.data_received(conn, create_frame(1, "/e", codes.MODE_EPHEMERAL))
    tokens = [command.token for command in drive.server.ready().disk]
    for xid in (2, 3, 4):
        drive.now_ms += 3000
        drive.begin()
        drive.server.data_received(conn, frame(xid, codes.OP_PING))
        tokens += [command.token for command in drive.server.ready().disk]
    assert len(tokens) == 1
    drive.begin()
    drive.server.disk_done(tokens[0])
    drive.end()
    assert drive.server.tree.find("/e") is not None
    assert conn not in drive.closed


def test_a_local_session_expires_like_any_other():
    drive = Drive(local_settings(False))
    conn = drive.connect(timeout_ms=4000)
    drive.now_ms += 10_000
    drive.turn()
    assert conn in drive.closed
