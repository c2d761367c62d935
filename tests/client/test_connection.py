"""ClientSession: the protocol as a client speaks it, byte by byte."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.client import calls
from zabra.client.connection import (
    STATE_AUTH_FAILED,
    STATE_CLOSED,
    STATE_CONNECTED,
    STATE_CONNECTED_READ_ONLY,
    STATE_CONNECTING,
    STATE_DISCONNECTED,
    STATE_EXPIRED,
    Answered,
    ClientSession,
    ProtocolError,
    StateChanged,
    WatchFired,
)
from zabra.jute.primitives import Writer
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import SetWatches, SetWatches2, Stat


def _load_fake_server() -> ModuleType:
    path = Path(__file__).parent / "fake_server.py"
    spec = importlib.util.spec_from_file_location("client_fake_server", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fake = _load_fake_server()

STAT = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)


def stat_bytes() -> bytes:
    w = Writer()
    STAT.encode(w)
    return w.getvalue()


def data_reply(data: bytes) -> bytes:
    w = Writer()
    w.write_buffer(data)
    STAT.encode(w)
    return w.getvalue()


def connected_session(session_id: int = 7) -> ClientSession:
    session = ClientSession(10_000)
    session.connection_made(0)
    session.take_output(0)
    session.data_received(fake.connected(session_id), 0)
    session.take_happenings()
    return session


def test_the_first_frame_is_the_one_every_client_sends() -> None:
    session = ClientSession(10_000)
    session.connection_made(0)
    out = session.take_output(0)
    assert out.hex() == (
        "0000002d" "00000000" "0000000000000000" "00002710" "0000000000000000" "00000010" + "00" * 17
    )


def test_an_old_client_leaves_the_read_only_flag_out_and_reads_an_answer_without() -> None:
    session = ClientSession(10_000, send_read_only_flag=False)
    session.connection_made(0)
    assert len(fake.frames(session.take_output(0))[0]) == 44
    session.data_received(fake.frame(fake.connected()[4:-1]), 0)
    assert session.state == STATE_CONNECTED
    assert session.session_id == 7


def test_the_servers_timeout_and_password_are_taken() -> None:
    session = ClientSession(10_000)
    session.connection_made(0)
    session.data_received(fake.connected(9, 4000), 0)
    assert (session.session_id, session.timeout_ms, session.password) == (9, 4000, fake.PASSWORD)
    states = [h.state for h in session.take_happenings() if isinstance(h, StateChanged)]
    assert states == [STATE_CONNECTING, STATE_CONNECTED]


def test_a_read_only_server_makes_a_read_only_session() -> None:
    session = ClientSession(10_000, read_only=True)
    session.connection_made(0)
    assert fake.connect_request(fake.frames(session.take_output(0))[0]).read_only
    session.data_received(fake.connected(read_only=True), 0)
    assert session.state == STATE_CONNECTED_READ_ONLY


def test_a_refusal_expires_the_session_and_everything_submitted() -> None:
    session = ClientSession(10_000, session_id=5)
    waiting = calls.get_data("/a")
    session.submit(waiting)
    session.connection_made(0)
    session.data_received(fake.connected(0, 0), 0)
    assert session.state == STATE_EXPIRED
    with pytest.raises(KeeperError) as caught:
        waiting.result()
    assert caught.value.code == codes.ERR_SESSION_EXPIRED
    late = calls.get_data("/a")
    session.submit(late)
    assert late.done and late.err == codes.ERR_SESSION_EXPIRED


def test_calls_are_answered_in_order_and_the_highest_zxid_is_remembered() -> None:
    session = connected_session()
    first = calls.get_data("/a")
    second = calls.delete("/b", 3)
    session.submit(first)
    session.submit(second)
    heads = [fake.header_of(payload)[0] for payload in fake.frames(session.take_output(1))]
    assert [(h.xid, h.type) for h in heads] == [(1, codes.OP_GET_DATA), (2, codes.OP_DELETE)]
    answers = fake.reply(1, 40, 0, data_reply(b"x")) + fake.reply(2, 39, codes.ERR_BAD_VERSION)
    session.data_received(answers, 2)
    assert [h.call for h in session.take_happenings() if isinstance(h, Answered)] == [first, second]
    assert first.result() == (b"x", STAT)
    assert (second.err, second.zxid, session.last_zxid) == (codes.ERR_BAD_VERSION, 39, 40)


def test_a_reply_out_of_order_is_a_protocol_error() -> None:
    session = connected_session()
    session.submit(calls.get_data("/a"))
    session.take_output(1)
    with pytest.raises(ProtocolError, match="xid 2 where 1"):
        session.data_received(fake.reply(2, 1), 1)


@pytest.mark.parametrize("raw", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x02ab"])
def test_malformed_frames_are_protocol_errors(raw: bytes) -> None:
    session = connected_session()
    with pytest.raises(ProtocolError):
        session.data_received(raw, 1)


@given(st.lists(st.integers(1, 60), max_size=40))
def test_bytes_may_come_in_any_cut(cuts: list[int]) -> None:
    session = ClientSession(10_000)
    session.connection_made(0)
    call = calls.get_data("/a", watcher=4)
    session.submit(call)
    stream = fake.connected()
    pos = 0
    asked = False
    cuts = [*cuts, 1000]
    while pos < len(stream):
        step = cuts.pop(0) if len(cuts) > 1 else cuts[0]
        chunk = stream[pos : pos + step]
        session.data_received(chunk, 1)
        pos += len(chunk)
        if session.is_connected() and not asked:
            asked = True
            session.take_output(1)
            stream += fake.reply(1, 3, 0, data_reply(b"yes")) + fake.event(codes.EVENT_NODE_DELETED, "/a", 4)
    assert call.result() == (b"yes", STAT)
    kinds = [type(h) for h in session.take_happenings()]
    assert kinds == [StateChanged, StateChanged, Answered, WatchFired]


def test_what_was_sent_is_lost_with_the_connection_and_what_was_not_is_sent_later() -> None:
    session = connected_session()
    sent = calls.delete("/a")
    session.submit(sent)
    session.take_output(1)
    waiting = calls.delete("/b")
    session.submit(waiting)
    session.connection_lost(2)
    assert sent.err == codes.ERR_CONNECTION_LOSS
    assert not waiting.done
    session.connection_made(3)
    session.data_received(fake.connected(), 3)
    heads = [fake.header_of(p)[0] for p in fake.frames(session.take_output(3))[1:]]
    assert [(h.type, h.xid) for h in heads] == [(codes.OP_DELETE, 2)]


def test_reconnecting_presents_the_session_and_what_it_has_seen() -> None:
    session = connected_session(9)
    session.submit(calls.sync("/"))
    session.take_output(0)
    w = Writer()
    w.write_ustring("/")
    session.data_received(fake.reply(1, 77, 0, w.getvalue()), 0)
    session.connection_lost(1)
    session.connection_made(2)
    asked = fake.connect_request(fake.frames(session.take_output(2))[0])
    assert (asked.session_id, asked.last_zxid_seen, asked.passwd) == (9, 77, fake.PASSWORD)


def test_auth_is_sent_again_after_every_reconnect_and_its_failure_ends_the_session() -> None:
    session = connected_session()
    session.add_auth("digest", b"user:secret")
    assert len(fake.frames(session.take_output(0))) == 1
    session.connection_lost(1)
    session.connection_made(2)
    payloads = fake.frames(session.take_output(2))
    head, r = fake.header_of(payloads[1])
    assert (head.xid, head.type) == (codes.XID_AUTH, codes.OP_AUTH)
    assert r.read_int() == 0
    assert (r.read_ustring(), r.read_buffer()) == ("digest", b"user:secret")
    session.data_received(fake.connected() + fake.reply(codes.XID_AUTH, 0, codes.ERR_AUTH_FAILED), 3)
    assert session.state == STATE_AUTH_FAILED


def watch_everything(session: ClientSession, recursive: bool) -> None:
    session.submit(calls.get_data("/data", 1))
    session.submit(calls.exists("/missing", 2))
    session.submit(calls.get_children("/child", 3))
    if recursive:
        session.submit(calls.add_watch("/p", 4, False))
        session.submit(calls.add_watch("/r", 5, True))
    session.take_output(0)
    w = Writer()
    w.write_ustrings(["x"])
    answers = fake.reply(1, 50, 0, data_reply(b"")) + fake.reply(2, 50, codes.ERR_NO_NODE)
    answers += fake.reply(3, 50, 0, w.getvalue())
    if recursive:
        answers += fake.reply(4, 50, 0, bytes(4)) + fake.reply(5, 50, 0, bytes(4))
    session.data_received(answers, 0)
    session.take_happenings()


def test_watches_are_registered_again_with_the_older_request_if_it_suffices() -> None:
    session = connected_session()
    watch_everything(session, recursive=False)
    session.connection_lost(1)
    session.connection_made(2)
    head, r = fake.header_of(fake.frames(session.take_output(2))[1])
    assert (head.xid, head.type) == (codes.XID_SET_WATCHES, codes.OP_SET_WATCHES)
    assert SetWatches.decode(r) == SetWatches(50, ["/data"], ["/missing"], ["/child"])


def test_persistent_watches_are_registered_again_with_the_newer_request() -> None:
    session = connected_session()
    watch_everything(session, recursive=True)
    session.connection_lost(1)
    session.connection_made(2)
    head, r = fake.header_of(fake.frames(session.take_output(2))[1])
    assert (head.xid, head.type) == (codes.XID_SET_WATCHES, codes.OP_SET_WATCHES2)
    assert SetWatches2.decode(r) == SetWatches2(50, ["/data"], ["/missing"], ["/child"], ["/p"], ["/r"])


def test_many_watches_are_registered_in_batches() -> None:
    session = connected_session()
    count = 3000
    for i in range(count):
        session.submit(calls.exists(f"/{i:0100d}", 1))
    session.take_output(0)
    session.data_received(b"".join(fake.reply(i + 1, 5, codes.ERR_NO_NODE) for i in range(count)), 0)
    session.connection_lost(1)
    session.connection_made(2)
    payloads = fake.frames(session.take_output(2))[1:]
    assert len(payloads) == 3
    paths: list[str] = []
    for payload in payloads:
        _, r = fake.header_of(payload)
        paths += SetWatches.decode(r).exist_watches
    assert paths == [f"/{i:0100d}" for i in range(count)]


def fired(session: ClientSession, event_type: int, path: str) -> list[int]:
    session.data_received(fake.event(event_type, path), 1)
    (happening,) = [h for h in session.take_happenings() if isinstance(h, WatchFired)]
    return happening.watchers


def test_one_shot_watches_are_spent_and_persistent_ones_stay() -> None:
    session = connected_session()
    watch_everything(session, recursive=True)
    assert fired(session, codes.EVENT_NODE_DATA_CHANGED, "/data") == [1]
    assert fired(session, codes.EVENT_NODE_DATA_CHANGED, "/data") == []
    assert fired(session, codes.EVENT_NODE_CREATED, "/missing") == [2]
    assert fired(session, codes.EVENT_NODE_CHILDREN_CHANGED, "/child") == [3]
    for _ in range(2):
        assert fired(session, codes.EVENT_NODE_CHILDREN_CHANGED, "/p") == [4]
        assert fired(session, codes.EVENT_NODE_DELETED, "/r/a/b") == [5]
    assert fired(session, codes.EVENT_NODE_CHILDREN_CHANGED, "/r/a") == []
    assert fired(session, codes.EVENT_NODE_CREATED, "/rr") == []


def test_removed_watches_are_forgotten_only_when_the_server_agrees() -> None:
    session = connected_session()
    watch_everything(session, recursive=False)
    session.submit(calls.remove_watches("/data", codes.WATCHER_DATA))
    session.submit(calls.remove_watches("/child", codes.WATCHER_ANY))
    session.take_output(1)
    session.data_received(fake.reply(4, 51, 0) + fake.reply(5, 51, codes.ERR_NO_WATCHER), 1)
    assert not session.watches.has(calls.WATCH_DATA, "/data")
    assert session.watches.has(calls.WATCH_CHILD, "/child")


def test_a_failed_read_registers_no_watch() -> None:
    session = connected_session()
    session.submit(calls.get_data("/a", 1))
    session.take_output(0)
    session.data_received(fake.reply(1, 5, codes.ERR_NO_NODE), 0)
    assert len(session.watches) == 0


@pytest.mark.parametrize(
    ("timeout_ms", "first_ping_ms"),
    [(4000, 1000), (6000, 1000), (9000, 2000), (30_000, 9000), (90_000, 10_000), (2400, 800)],
)
def test_an_idle_session_pings_before_its_timeout(timeout_ms: int, first_ping_ms: int) -> None:
    session = ClientSession(timeout_ms)
    session.connection_made(0)
    session.take_output(0)
    session.data_received(fake.connected(timeout_ms=timeout_ms), 0)
    assert session.wake_at_ms() == first_ping_ms
    assert session.tick(first_ping_ms - 1)
    assert session.take_output(first_ping_ms - 1) == b""
    assert session.tick(first_ping_ms)
    head, _ = fake.header_of(fake.frames(session.take_output(first_ping_ms))[0])
    assert (head.xid, head.type) == (codes.XID_PING, codes.OP_PING)
    session.data_received(fake.reply(codes.XID_PING, 99), first_ping_ms + 1)
    assert session.wake_at_ms() == 2 * first_ping_ms


def test_a_silent_server_is_given_up_after_two_thirds_of_the_timeout() -> None:
    session = connected_session()
    assert session.tick(3999)
    assert not session.tick(4000)


def test_close_waits_for_earlier_calls_and_ends_with_its_reply() -> None:
    session = connected_session()
    before = calls.delete("/a")
    session.submit(before)
    closing = session.close()
    heads = [fake.header_of(p)[0].type for p in fake.frames(session.take_output(1))]
    assert heads == [codes.OP_DELETE, codes.OP_CLOSE_SESSION]
    refused = calls.delete("/b")
    session.submit(refused)
    assert refused.done
    session.data_received(fake.reply(1, 5) + fake.reply(2, 6), 2)
    assert session.state == STATE_CLOSED
    assert before.err == codes.OK and closing.err == codes.OK


def test_a_connection_lost_while_closing_closes_the_session() -> None:
    session = connected_session()
    closing = session.close()
    session.take_output(1)
    session.connection_lost(2)
    assert session.state == STATE_CLOSED
    assert closing.err == codes.ERR_CONNECTION_LOSS


def test_closing_while_disconnected_reconnects_to_say_so() -> None:
    session = connected_session()
    session.connection_lost(1)
    closing = session.close()
    assert session.state == STATE_DISCONNECTED
    session.connection_made(2)
    session.data_received(fake.connected(), 2)
    session.take_output(2)
    session.data_received(fake.reply(1, 9), 3)
    assert closing.err == codes.OK
    assert session.state == STATE_CLOSED


def test_parts_of_a_multi_come_back_with_their_results() -> None:
    w = Writer()
    for op in (codes.OP_CREATE, codes.OP_CREATE2, codes.OP_SET_DATA, codes.OP_DELETE, codes.OP_CHECK):
        w.write_int(op)
        w.write_bool(False)
        w.write_int(0)
        if op in (codes.OP_CREATE, codes.OP_CREATE2):
            w.write_ustring("/made")
        if op in (codes.OP_CREATE2, codes.OP_SET_DATA):
            STAT.encode(w)
    w.write_int(codes.OP_ERROR)
    w.write_bool(False)
    w.write_int(codes.ERR_NO_NODE)
    w.write_int(codes.ERR_NO_NODE)
    w.write_int(-1)
    w.write_bool(True)
    w.write_int(-1)
    session = connected_session()
    call = calls.multi([calls.part_of(calls.create("/a", b"")), calls.check_part("/a", 1)])
    session.submit(call)
    session.take_output(0)
    session.data_received(fake.reply(1, 3, 0, w.getvalue()), 0)
    parts = call.result()
    assert [part.op for part in parts] == [1, 15, 5, 2, 13, -1]
    assert [part.path for part in parts[:2]] == ["/made", "/made"]
    assert parts[1].stat == STAT and parts[2].stat == STAT
    assert parts[5].err == codes.ERR_NO_NODE
