"""Election connections: who dials, who yields, what is sent again and refused; then over a network."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.proto.notification import (
    ANONYMOUS_OBSERVER,
    NOTIFICATION_BYTES_MAX,
    Notification,
    encode_initial_message,
    encode_notification,
    frame_notification,
)
from zabra.server.election_connection import (
    NEVER,
    UNIDENTIFIED_MAX,
    UNKNOWN_PEERS_MAX,
    ElectionActions,
    ElectionConnections,
)

TIMEOUT = 500
VIEW = {sid: [("127.0.0.1", 3000 + sid)] for sid in range(1, 6)}


def connections(sid: int = 3) -> ElectionConnections:
    c = ElectionConnections(sid, VIEW.get(sid, [("h", 1)]), False, TIMEOUT)
    c.set_view(VIEW)
    return c


def vote(leader: int = 1, clock: int = 1) -> Notification:
    return Notification(0, leader, 0, clock, 0, 2, b"version=0")


def framed(n: Notification) -> bytes:
    return frame_notification(encode_notification(n))


def hello(sid: int, addresses: list[tuple[str, int]] | None = None) -> bytes:
    return encode_initial_message(sid, VIEW.get(sid, [("x", 9)]) if addresses is None else addresses, True)


def send(c: ElectionConnections, sid: int, n: Notification) -> ElectionActions:
    actions = ElectionActions()
    c.send(sid, n, actions)
    return actions


def established(c: ElectionConnections, sid: int, conn: int) -> None:
    """Brings up a connection to a larger sid."""
    c.accepted(conn, 0)
    assert c.received(conn, hello(sid)).ups == [sid]


def test_a_message_dials_and_goes_out_when_the_connection_stands() -> None:
    c = connections()
    actions = send(c, 1, vote())
    assert actions.dials == [(1, VIEW[1])]
    assert actions.sends == []
    # Only the newest message counts, and one dial is enough.
    assert send(c, 1, vote(2)).dials == []
    actions = c.dialled(1, 7)
    assert actions.sends == [(7, encode_initial_message(3, VIEW[3], False)), (7, framed(vote(2)))]
    assert actions.ups == [1]
    assert c.is_up(1)
    assert c.connection_of(1) == 7
    assert send(c, 1, vote(3)).sends == [(7, framed(vote(3)))]


def test_a_peer_that_shows_itself_is_dialled_beside_a_dial_that_hangs() -> None:
    """It dialled before peer 1 could be reached; that dial may hang for seconds, and 1 waits for another."""
    c = connections(3)
    assert send(c, 1, vote()).dials == [(1, VIEW[1])]
    c.accepted(8, 0)
    assert c.received(8, hello(1)).dials == [(1, VIEW[1])]
    # Whoever dials again and again does not multiply dials.
    c.accepted(9, 0)
    assert c.received(9, hello(1)).dials == []
    assert c.dialled(1, 10).ups == [1]
    # The first dial fails in the end, which says nothing about a connection that stands.
    assert c.dial_failed(1).downs == []
    assert c.is_up(1)


def test_a_peer_is_down_when_its_last_dial_has_failed() -> None:
    c = connections(3)
    send(c, 1, vote())
    c.accepted(8, 0)
    c.received(8, hello(1))
    assert c.dial_failed(1).downs == []
    assert c.dial_failed(1).downs == [1]
    assert send(c, 1, vote()).dials == [(1, VIEW[1])]


def test_the_smaller_sid_says_hello_and_hangs_up() -> None:
    c = connections(3)
    send(c, 5, vote())
    actions = c.dialled(5, 7)
    assert actions.sends == [(7, encode_initial_message(3, VIEW[3], False))]
    assert actions.closes == [(7, "the larger sid 5 dials back")]
    assert actions.ups == []
    # It does, and gets what it is owed.
    assert c.accepted(8, 0).closes == []
    actions = c.received(8, hello(5))
    assert actions.ups == [5]
    assert actions.sends == [(8, framed(vote()))]


def test_a_dial_that_is_overtaken_says_nothing() -> None:
    c = connections(3)
    send(c, 5, vote())
    established(c, 5, 8)
    actions = c.dialled(5, 9)
    assert actions.sends == []
    assert [conn for conn, _ in actions.closes] == [9]
    assert c.connection_of(5) == 8


def test_a_smaller_sid_is_dialled_back_at_the_address_it_gives() -> None:
    c = connections(3)
    c.accepted(8, 0)
    actions = c.received(8, hello(1, [("elsewhere", 77)]))
    assert [conn for conn, _ in actions.closes] == [8]
    assert actions.dials == [(1, [("elsewhere", 77)])]
    # A wildcard is no address: the configuration's is taken.
    c = connections(3)
    c.accepted(8, 0)
    assert c.received(8, hello(1, [("0.0.0.0", 77)])).dials == [(1, VIEW[1])]


def test_a_smaller_sid_that_dials_has_lost_the_old_connection() -> None:
    c = connections(3)
    send(c, 1, vote())
    c.dialled(1, 7)
    c.accepted(8, 0)
    actions = c.received(8, hello(1))
    assert [conn for conn, _ in actions.closes] == [8, 7]
    # It is expected back: no reason to tell the election that it is down.
    assert actions.downs == []
    assert not c.is_up(1)
    actions = c.dialled(1, 9)
    # The last message is sent again: the old connection may have swallowed it.
    assert actions.sends[1:] == [(9, framed(vote()))]
    assert c.lost(7).downs == []


def test_a_newer_connection_replaces_the_older() -> None:
    c = connections(3)
    established(c, 5, 8)
    c.accepted(9, 0)
    actions = c.received(9, hello(5))
    assert [conn for conn, _ in actions.closes] == [8]
    assert actions.ups == [5]
    assert c.lost(8).downs == []
    assert c.lost(9).downs == [5]
    assert not c.is_up(5)
    assert c.connection_of(5) == -1


def test_the_ancient_form_has_no_address() -> None:
    c = connections(3)
    c.accepted(8, 0)
    actions = c.received(8, (5).to_bytes(8, "big") + framed(vote(4)))
    assert actions.ups == [5]
    assert actions.notifications == [(5, vote(4))]
    c.accepted(9, 0)
    assert c.received(9, (1).to_bytes(8, "big")).dials == [(1, VIEW[1])]


def test_anonymous_observers_get_sids_of_their_own() -> None:
    c = connections(3)
    for conn, sid in ((8, -1), (9, -2)):
        c.accepted(conn, 0)
        assert c.received(conn, hello(ANONYMOUS_OBSERVER, [("o", 1)])).dials == [(sid, [("o", 1)])]
    actions = c.dialled(-1, 10)
    assert actions.ups == [-1]
    assert send(c, -1, vote()).sends == [(10, framed(vote()))]


def test_bytes_arrive_as_they_like() -> None:
    c = connections(3)
    c.accepted(8, 0)
    stream = hello(5) + framed(vote(1)) + framed(vote(2)) + framed(vote(4))
    got = []
    for index in range(len(stream)):
        actions = c.received(8, stream[index : index + 1])
        assert actions.closes == []
        got += actions.notifications
    assert got == [(5, vote(1)), (5, vote(2)), (5, vote(4))]
    whole = connections(3)
    whole.accepted(8, 0)
    assert whole.received(8, stream).notifications == got


def test_own_sid_and_itself() -> None:
    c = connections(3)
    assert send(c, 3, vote()).dials == []
    c.accepted(8, 0)
    actions = c.received(8, hello(3))
    assert "own sid" in actions.closes[0][1]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ((-1).to_bytes(8, "big", signed=True) + b"\0" * 12, "unrecognized protocol version"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None),
        (hello(5)[:16] + (0).to_bytes(4, "big"), "unreasonable buffer length"),
        (hello(5) + (0).to_bytes(4, "big"), "invalid message length 0"),
        (hello(5) + b"\xff\xff\xff\xff", "invalid message length -1"),
        (hello(5) + (NOTIFICATION_BYTES_MAX + 1).to_bytes(4, "big"), "invalid message length"),
    ],
)
def test_bad_bytes_cost_the_connection(data: bytes, reason: str | None) -> None:
    c = connections(3)
    c.accepted(8, 0)
    actions = c.received(8, data)
    if reason is None:
        # Text reads as an enormous sid, in the ancient form; the frame behind it is refused.
        reason = "invalid message length"
    assert [conn for conn, _ in actions.closes] == [8]
    assert reason in actions.closes[0][1]
    assert actions.ups == actions.downs
    assert c.received(8, b"more").closes == []
    assert c.lost(8).downs == []


def test_a_malformed_notification_costs_nothing_but_itself() -> None:
    c = connections(3)
    established(c, 5, 8)
    actions = c.received(8, b"\0\0\0\x05abcde" + framed(vote(4)))
    assert actions.notifications == [(5, vote(4))]
    assert actions.closes == []
    assert "short notification" in actions.notes[0]


def test_silence_is_cut_off() -> None:
    c = connections(3)
    assert c.next_deadline_ms() == NEVER
    c.accepted(8, 100)
    c.accepted(9, 50)
    c.received(9, hello(5)[:10])
    assert c.next_deadline_ms() == 50 + TIMEOUT
    assert c.tick(50 + TIMEOUT - 1).closes == []
    assert [conn for conn, _ in c.tick(50 + TIMEOUT).closes] == [9]
    assert c.next_deadline_ms() == 100 + TIMEOUT
    c.received(8, hello(5))
    assert c.next_deadline_ms() == NEVER
    assert c.tick(10**9).closes == []


def test_congestion_keeps_the_newest_message_only() -> None:
    c = connections(3)
    established(c, 5, 8)
    assert c.set_congested(8, True).sends == []
    assert send(c, 5, vote(1)).sends == []
    assert send(c, 5, vote(2)).sends == []
    assert c.set_congested(8, False).sends == [(8, framed(vote(2)))]
    assert c.set_congested(8, False).sends == []
    assert c.set_congested(99, True).sends == []


def test_dials_that_fail() -> None:
    c = connections(3)
    send(c, 1, vote())
    assert c.dial_failed(1).downs == [1]
    # The next message, or connect_all, tries again.
    assert send(c, 1, vote()).dials == [(1, VIEW[1])]
    established(c, 5, 8)
    send(c, 5, vote())
    assert c.dial_failed(5).downs == []


def test_connect_all() -> None:
    c = connections(3)
    established(c, 5, 8)
    send(c, 1, vote())
    actions = ElectionActions()
    c.connect_all(actions)
    assert [sid for sid, _ in actions.dials] == [2, 4]
    c.set_view({1: [("a", 1)], 9: []})
    c.set_own_addresses([("moved", 1)])
    c.dial_failed(1)
    actions = ElectionActions()
    c.connect_all(actions)
    assert actions.dials == [(1, [("a", 1)])]
    assert "no election address of server 9" in actions.notes[0]
    assert c.dialled(1, 20).sends[0] == (20, encode_initial_message(3, [("moved", 1)], False))


def test_strangers_are_owed_nothing() -> None:
    c = connections(3)
    assert "no configuration" in send(c, 77, vote()).notes[0]
    c.accepted(8, 0)
    c.received(8, hello(77))
    assert send(c, 77, vote()).sends == [(8, framed(vote()))]
    c.lost(8)
    c.accepted(9, 0)
    assert c.received(9, hello(77)).sends == []


def test_everything_is_bounded() -> None:
    c = connections(3)
    for conn in range(UNIDENTIFIED_MAX):
        assert c.accepted(conn, 0).closes == []
    assert c.accepted(1000, 0).closes == [(1000, "too many connections that have not said who they are")]
    c.tick(TIMEOUT)
    for index in range(UNKNOWN_PEERS_MAX):
        c.accepted(index, 0)
        assert c.received(index, hello(1000 + index)).ups == [1000 + index]
    c.accepted(5000, 0)
    assert "too many connections of unknown peers" in c.received(5000, hello(5000)).closes[0][1]
    # A known peer still gets in, and a dial to one more stranger that succeeds does not.
    c.accepted(5001, 0)
    assert c.received(5001, hello(5)).ups == [5]
    for index in range(UNKNOWN_PEERS_MAX):
        c.accepted(6000 + index, 0)
        assert c.received(6000 + index, hello(-1 - index)).dials != []
    c.accepted(7000, 0)
    actions = c.received(7000, hello(-7000))
    assert actions.dials == []
    assert "too many dials" in actions.notes[0]
    assert "too many connections" in c.dialled(-1, 8000).closes[0][1]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_raise(chunks: list[bytes]) -> None:
    c = connections(3)
    established(c, 5, 8)
    c.accepted(9, 0)
    for chunk in chunks:
        c.received(9, chunk)
        c.received(8, chunk)


# Two servers and a network.


class Wire:
    """Sockets between servers: bytes in order, closes after them, connections that break when told to."""

    def __init__(self, sids: list[int], seed: int) -> None:
        self.random = random.Random(seed)
        self.nodes = {sid: connections(sid) for sid in sids}
        for node in self.nodes.values():
            node.set_view({sid: VIEW[sid] for sid in sids})
        self.peers: dict[
            int, tuple[int, int]
        ] = {}  # connection -> (its server, the connection at the other end)
        self.pipes: dict[int, list[bytes | None]] = {}  # to a connection; None is the end
        self.dials: list[tuple[int, int]] = []
        self.next_conn = 100
        self.got: dict[tuple[int, int], list[Notification]] = {}
        self.up: dict[int, set[int]] = {sid: set() for sid in sids}

    def carry_out(self, sid: int, actions: ElectionActions) -> None:
        for conn, data in actions.sends:
            self.write(conn, data)
        for conn, _ in actions.closes:
            self.write(conn, None)
            self.pipes.pop(conn, None)
        for target, addresses in actions.dials:
            assert addresses == VIEW[target]
            self.dials.append((sid, target))
        for source, n in actions.notifications:
            self.got.setdefault((source, sid), []).append(n)
        self.up[sid] |= set(actions.ups)
        self.up[sid] -= set(actions.downs)

    def write(self, conn: int, data: bytes | None) -> None:
        _, other = self.peers[conn]
        if other in self.pipes:
            self.pipes[other].append(data)

    def say(self, sid: int, to: int, n: Notification) -> None:
        actions = ElectionActions()
        self.nodes[sid].send(to, n, actions)
        self.carry_out(sid, actions)

    def cut(self, conn: int) -> None:
        """The connection breaks: what is on its way is lost."""
        _, other = self.peers[conn]
        for end in (conn, other):
            if end in self.pipes:
                self.pipes.pop(end)
                sid, _ = self.peers[end]
                self.carry_out(sid, self.nodes[sid].lost(end))

    def turn(self) -> bool:
        ready = [conn for conn in sorted(self.pipes) if self.pipes[conn]]
        choices = len(ready) + len(self.dials)
        if choices == 0:
            return False
        index = self.random.randrange(choices)
        if index >= len(ready):
            self.complete(*self.dials.pop(index - len(ready)))
            return True
        conn = ready[index]
        sid, _ = self.peers[conn]
        item = self.pipes[conn].pop(0)
        if item is None:
            self.pipes.pop(conn)
            self.carry_out(sid, self.nodes[sid].lost(conn))
            return True
        size = self.random.randint(1, len(item))
        if size < len(item):
            self.pipes[conn].insert(0, item[size:])
        self.carry_out(sid, self.nodes[sid].received(conn, item[:size]))
        return True

    def complete(self, sid: int, target: int) -> None:
        near, far = self.next_conn, self.next_conn + 1
        self.next_conn += 2
        self.peers[near], self.peers[far] = (sid, far), (target, near)
        self.pipes[near], self.pipes[far] = [], []
        self.carry_out(target, self.nodes[target].accepted(far, 0))
        self.carry_out(sid, self.nodes[sid].dialled(target, near))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 4), st.integers(0, 6))
def test_the_newest_message_always_arrives(seed: int, count: int, cuts: int) -> None:
    wire = Wire(list(range(1, count + 1)), seed)
    newest: dict[tuple[int, int], Notification] = {}
    clock = 0
    steps = 0
    while True:
        steps += 1
        assert steps < 20_000
        roll = wire.random.random()
        if roll < 0.15 and clock < 30:
            clock += 1
            pair = wire.random.sample(range(1, count + 1), 2)
            newest[pair[0], pair[1]] = vote(1, clock)
            wire.say(pair[0], pair[1], vote(1, clock))
        elif roll < 0.2 and cuts and wire.pipes:
            cuts -= 1
            wire.cut(wire.random.choice(sorted(wire.pipes)))
        elif not wire.turn() and clock >= 30:
            # What a timer of the election does after a while.
            lost = [pair for pair in sorted(newest) if wire.got.get(pair, [None])[-1] != newest[pair]]
            if not lost:
                break
            for sid in sorted(wire.nodes):
                actions = ElectionActions()
                wire.nodes[sid].connect_all(actions)
                wire.carry_out(sid, actions)
            assert wire.dials, f"{lost} never arrive"
    for one in wire.nodes:
        for two in wire.nodes:
            if one < two and wire.nodes[one].is_up(two):
                # One connection for the pair, and both hold its ends.
                near, far = wire.nodes[one].connection_of(two), wire.nodes[two].connection_of(one)
                assert wire.peers[near] == (one, far)
            elif one < two:
                assert not wire.nodes[two].is_up(one)
    for sid in wire.nodes:
        assert wire.up[sid] == {other for other in wire.nodes if wire.nodes[sid].is_up(other)}
