"""Throttles: the token bucket of sessions, requests held back, large requests."""

import pytest
from tests.admin.driver import Drive, framed
from tests.server.clusters import TICK_MS, Ensemble
from tests.server.test_serving import create_frame, frame, headers

from zabra.jute.primitives import Writer
from zabra.proto import codes
from zabra.proto.records import ConnectRequest
from zabra.server.prng import SplitMix
from zabra.server.settings import Settings
from zabra.server.throttle import ConnectionThrottle, LargeRequests
from zabra.sim.cluster import Shape


def bucket(**changes):
    settings = Settings()
    for name, value in changes.items():
        setattr(settings, f"connection_throttle_{name}", value)
    return ConnectionThrottle(settings, SplitMix(7), 0)


def test_without_tokens_everybody_is_admitted():
    throttle = bucket()
    assert all(throttle.admits(1, 0) for _ in range(1000))
    assert throttle.deficit() == 0


def test_a_bucket_empties_and_fills_with_time():
    throttle = bucket(tokens=3, fill_time_ms=10, fill_count=2)
    assert [throttle.admits(1, 5) for _ in range(4)] == [True, True, True, False]
    assert throttle.deficit() == 3
    # Only once more than a fill time has passed is anything added.
    assert not throttle.admits(1, 10)
    assert [throttle.admits(1, 11) for _ in range(3)] == [True, True, False]
    # However long the wait, it holds no more than its size.
    assert [throttle.admits(1, 10_000) for _ in range(4)] == [True, True, True, False]


def test_prices_by_weight():
    plain = bucket(tokens=2)
    assert {plain.price(new, local) for new in (True, False) for local in (True, False)} == {1}
    weighed = bucket(tokens=2, weight_enabled=True, fill_count=4)
    assert [weighed.price(True, False), weighed.price(True, True), weighed.price(False, False)] == [3, 1, 2]
    # The size is meant in global sessions.
    assert (weighed.max_tokens, weighed.fill_count) == (6, 12)
    # No kind is cheaper than a local session.
    odd = bucket(weight_enabled=True, local_session_weight=5, tokens=1)
    assert [odd.price(True, False), odd.price(True, True), odd.price(False, True)] == [5, 5, 5]


def test_blue_refuses_more_and_more_while_the_bucket_is_empty_and_fewer_afterwards():
    throttle = bucket(
        tokens=1, fill_time_ms=1_000_000, freeze_time_ms=10, drop_increase=0.5, drop_decrease=0.25
    )
    assert throttle.admits(1, 0)
    throttle.admits(1, 11)
    assert throttle.drop_chance == 0.5
    throttle.admits(1, 12)
    assert throttle.drop_chance == 0.5, "frozen for a while"
    throttle.admits(1, 22)
    throttle.admits(1, 33)
    assert throttle.drop_chance == 1.0
    # Full again: it falls, a step each time it thaws, and nobody is refused when it is back at 0.
    for step in range(1, 5):
        throttle.admits(1, 2_000_000 + 1_100_000 * step)
    assert throttle.drop_chance == 0.0
    assert throttle.admits(1, 90_000_000)


def test_chance_refuses_about_as_many_as_it_says():
    throttle = bucket(tokens=1000, freeze_time_ms=1_000_000)
    throttle.drop_chance = 0.3
    refused = sum(not throttle.admits(1, 0) for _ in range(1000))
    assert 200 < refused < 400


def test_a_session_too_many_is_closed_without_an_answer():
    settings = Settings()
    settings.connection_throttle_tokens = 2
    settings.connection_throttle_fill_time_ms = 1000
    drive = Drive(settings)
    for _ in range(2):
        drive.connect()
    conn = drive.open()
    w = Writer()
    ConnectRequest(0, 0, 10_000, 0, bytes(16), False).encode(w)
    assert drive.receive(conn, framed(w.getvalue())) == b""
    assert drive.closed == [conn]
    metrics = drive.server.metrics.dump()
    assert metrics["connection_rejected"] == 1
    assert metrics["max_connection_token_deficit"] == 2
    drive.now_ms += 2000
    drive.connect()


@pytest.mark.parametrize(
    ("threshold", "size", "admitted"), [(-1, 10**9, True), (10, 10, True), (10, 11, False)]
)
def test_large(threshold, size, admitted):
    assert LargeRequests(threshold, 5).admits(size) == admitted


class HeldUp(Drive):
    """A server whose disk answers only when told to, so that writes stay under way."""

    def __init__(self, **changes):
        settings = Settings()
        for name, value in changes.items():
            setattr(settings, name, value)
        self.frozen = False
        self.owed = []
        super().__init__(settings)

    def end(self, took_ms=0):
        if not self.frozen:
            return super().end(took_ms)
        ready = self._carry_out()
        self.owed += ready.disk
        return ready

    def thaw(self):
        """The disk has carried out everything."""
        self.frozen = False
        self.begin()
        self.server.disk_done(self.owed.pop().token)
        self.owed = []
        self.end()


def held_up(conns=1, **changes):
    drive = HeldUp(**changes)
    found = [drive.connect(port=40_000 + number) for number in range(conns)]
    drive.frozen = True
    return drive, *found


def test_large_requests_are_counted_until_they_are_answered():
    drive, one, two = held_up(2, large_request_threshold=40, large_request_max_bytes=150)
    large = "/" + "a" * 50
    drive.receive(one, create_frame(1, large))
    assert drive.server.serving.large.bytes_under_way > 50
    drive.receive(two, create_frame(1, large + "b"))
    assert drive.closed == [two]
    assert drive.server.metrics.dump()["large_requests_rejected"] == 1
    drive.receive(one, frame(2, codes.OP_GET_DATA, "/", False))
    assert drive.closed == [two], "a small request is none of them"
    drive.thaw()
    assert drive.server.serving.large.bytes_under_way == 0
    assert [one.err for one in headers(drive.receive(one, create_frame(3, large + "c")))] == [codes.OK]


def test_large_requests_of_a_connection_that_goes_are_forgotten():
    drive, conn = held_up(1, large_request_threshold=4, large_request_max_bytes=1000)
    drive.receive(conn, create_frame(1, "/aaaa") + create_frame(2, "/aaab"))
    drive.begin()
    drive.server.connection_lost(conn)
    drive.end()
    assert drive.server.serving.large.bytes_under_way == 0
    drive.thaw()
    assert drive.server.serving.large.bytes_under_way == 0


def test_requests_beyond_the_limit_wait_and_are_answered_in_order():
    drive, one, two = held_up(2, request_throttle_max_requests=2)
    drive.receive(one, create_frame(1, "/a") + create_frame(2, "/b") + create_frame(3, "/c"))
    # Reads and pings of others wait behind it, as everything does.
    assert drive.receive(two, frame(1, codes.OP_EXISTS, "/c", False) + frame(-2, codes.OP_PING)) == b""
    assert len(drive.server.serving.held) == 3
    assert len(drive.server.serving.connections[one].queue) == 2
    drive.sent[one].clear()
    drive.thaw()
    assert len(drive.server.serving.held) == 0
    assert [(head.xid, head.err) for head in headers(bytes(drive.sent[one]))] == [(1, 0), (2, 0), (3, 0)]
    # Taken up as soon as there was room, and so before the third create took effect.
    answers = [(head.xid, head.err) for head in headers(bytes(drive.sent[two]))]
    assert answers == [(1, codes.ERR_NO_NODE), (-2, 0)]
    metrics = drive.server.metrics.dump()
    assert metrics["request_throttle_wait_count"] == 3
    assert metrics["cnt_request_throttle_queue_time_ms"] == 3


def test_held_requests_wake_the_server_and_hold_back_input():
    drive, conn = held_up(1, request_throttle_max_requests=1, global_outstanding_limit=2)
    sent = b"".join(create_frame(xid, f"/n{xid}") for xid in range(1, 8))
    drive.begin()
    drive.server.data_received(conn, sent)
    ready = drive.end()
    assert 0 < ready.wake_at_ms <= drive.now_ms + 100
    assert ready.pauses == [conn]
    drive.sent[conn].clear()
    drive.thaw()
    drive.turn()
    assert [head.xid for head in headers(bytes(drive.sent[conn]))] == list(range(1, 8))
    assert not drive.server.serving.paused


def test_what_waited_too_long_is_answered_throttled():
    drive, conn = held_up(1, request_throttle_max_requests=1, throttled_op_wait_ms=500)
    sent = create_frame(1, "/a") + create_frame(2, "/b") + frame(3, codes.OP_EXISTS, "/a", False)
    drive.receive(conn, sent + frame(-2, codes.OP_PING) + frame(5, codes.OP_CLOSE_SESSION))
    drive.now_ms += 501
    drive.sent[conn].clear()
    drive.thaw()
    throttled = codes.ERR_THROTTLED_OP
    answers = [(head.xid, head.err) for head in headers(bytes(drive.sent[conn]))]
    # Pings and the end of a session are never answered so.
    assert answers == [(1, 0), (2, throttled), (3, throttled), (-2, 0), (5, 0)]
    assert drive.server.metrics.dump()["throttled_ops"] == 2
    assert drive.server.tree.find("/b") is None


@pytest.mark.parametrize("drops", [True, False])
def test_requests_of_a_connection_that_is_gone(drops):
    drive, one, two = held_up(2, request_throttle_max_requests=1, request_throttle_drop_stale=drops)
    drive.receive(one, create_frame(1, "/a"))
    drive.receive(two, create_frame(1, "/b") + frame(2, codes.OP_EXISTS, "/a", False))
    drive.begin()
    drive.server.connection_lost(two)
    drive.end()
    # Those that nobody waits for go at once.
    assert len(drive.server.serving.held) == (0 if drops else 2)
    drive.thaw()
    drive.turn()
    assert len(drive.server.serving.held) == 0
    assert (drive.server.tree.find("/b") is None) == drops
    metrics = drive.server.metrics.dump()
    assert metrics["stale_requests_dropped"] == (2 if drops else 0)
    assert metrics["stale_requests"] == 2


def test_requests_older_than_their_session_s_timeout_close_its_connection():
    drive, one, two = held_up(2, request_throttle_max_requests=1, request_stale_latency_check=True)
    drive.receive(one, create_frame(1, "/a"))
    drive.receive(two, create_frame(1, "/b") + create_frame(2, "/c"))
    drive.now_ms += 10_001
    drive.turn()
    assert drive.closed == [two]
    assert len(drive.server.serving.held) == 0
    drive.thaw()
    assert drive.server.tree.find("/b") is None


@pytest.mark.parametrize(("voters", "share"), [(1, 12), (2, 12), (3, 6), (5, 3)])
def test_leader_and_followers_share_the_limit_of_unanswered_requests(voters, share):
    settings = Settings()
    settings.tick_ms = TICK_MS
    settings.global_outstanding_limit = 12
    settings.standalone_enabled = False
    observer = voters + 1
    ensemble = Ensemble(Shape(list(range(1, observer)), [observer]), settings=settings).start()
    limits = {sid: server.serving.outstanding_limit for sid, server in ensemble.servers().items()}
    assert limits == dict.fromkeys(range(1, observer), share) | {observer: 12}
