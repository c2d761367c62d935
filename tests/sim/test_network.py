"""Links as TCP is: in order, complete, in any cut; connections break."""

from hypothesis import given
from hypothesis import strategies as st

from zabra.sim.events import Scheduler
from zabra.sim.network import CONGESTED_BYTES, End, Network
from zabra.sim.prng import Prng


class Peer:
    """Writes down what it is told."""

    def __init__(self, ports: tuple[int, ...] = (80,)) -> None:
        self.ports = ports
        self.ends: list[End] = []
        self.chunks: list[bytes] = []
        self.lost = 0
        self.failed: list[int] = []
        self.dialled: list[int] = []
        self.congestion: list[bool] = []

    def accepts(self, port: int) -> bool:
        return port in self.ports

    def link_made(self, end: End, port: int, dial_id: int) -> None:
        self.ends.append(end)
        self.dialled.append(dial_id)

    def dial_failed(self, dial_id: int) -> None:
        self.failed.append(dial_id)

    def link_data(self, end: End, data: bytes) -> None:
        self.chunks.append(data)

    def link_lost(self, end: End) -> None:
        self.lost += 1

    def link_congested(self, end: End, congested: bool) -> None:
        self.congestion.append(congested)

    def received(self) -> bytes:
        return b"".join(self.chunks)


class Pair:
    """Two hosts, 1 and 2; 1 has dialled 2."""

    def __init__(self, seed: int = 1) -> None:
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, Prng(seed, "network"))
        self.one, self.two = Peer(()), Peer()
        self.network.owners.update({1: self.one, 2: self.two})

    def connect(self) -> None:
        self.network.dial(1, self.one, 80, [2], 5, 1_000_000)
        self.run()

    def run(self, us: int = 10_000_000) -> None:
        self.scheduler.run_until(self.scheduler.now_us + us)


def connected(seed: int = 1) -> Pair:
    pair = Pair(seed)
    pair.connect()
    return pair


def test_a_dial_makes_an_end_on_both_sides() -> None:
    pair = connected()
    assert (pair.one.dialled, pair.two.dialled) == ([5], [0])
    assert pair.one.ends[0].peer is pair.two.ends[0]


def test_dials_are_refused_or_time_out_and_the_next_address_is_tried() -> None:
    pair = Pair()
    pair.network.dial(1, pair.one, 81, [2], 6, 1_000_000)
    pair.network.dial(1, pair.one, 80, [3], 7, 1_000_000)
    pair.network.dial(1, pair.one, 80, [3, 2], 8, 1_000_000)
    pair.run(900_000)
    assert pair.one.failed == [6]
    pair.run()
    assert (pair.one.failed, pair.one.dialled) == ([6, 7], [8])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.integers(0, 1000))
def test_bytes_arrive_once_and_in_order(messages: list[bytes], seed: int) -> None:
    pair = connected(seed)
    pair.network.cut_chance = 0.5
    pair.network.loss_chance = 0.3
    for message in messages:
        pair.network.send(pair.one.ends[0], message)
        pair.run(300)
    pair.network.close(pair.one.ends[0])
    pair.run()
    assert pair.two.received() == b"".join(messages)
    assert pair.two.lost == 1


def test_what_the_acceptor_says_first_waits_for_the_dialler() -> None:
    pair = Pair()
    pair.network.dial(1, pair.one, 80, [2], 5, 1_000_000)
    while not pair.two.ends:
        pair.scheduler.step()
    pair.network.base_us = 1
    pair.network.jitter_us = 1
    pair.network.send(pair.two.ends[0], b"hello")
    pair.run()
    assert (pair.one.dialled, pair.one.received()) == ([5], b"hello")


def test_a_one_way_partition_holds_up_one_direction_and_loses_nothing() -> None:
    pair = connected()
    pair.network.block(1, 2)
    pair.network.send(pair.one.ends[0], b"a")
    pair.network.send(pair.two.ends[0], b"b")
    pair.run()
    assert (pair.two.received(), pair.one.received()) == (b"", b"b")
    pair.network.send(pair.one.ends[0], b"c")
    pair.network.unblock(1, 2)
    pair.run()
    assert pair.two.received() == b"ac"


def test_partitions_add_up() -> None:
    pair = connected()
    pair.network.block(1, 2)
    pair.network.block(1, 2)
    pair.network.unblock(1, 2)
    assert pair.network.is_blocked(1, 2)
    pair.network.heal()
    assert not pair.network.is_blocked(1, 2)


def test_a_clog_ends_by_itself() -> None:
    pair = connected()
    pair.network.clog(1, 2, pair.scheduler.now_us + 1_000_000)
    pair.network.send(pair.one.ends[0], b"a")
    pair.run(999_000)
    assert pair.two.received() == b""
    pair.run(2_000)
    assert pair.two.received() == b"a"


def test_a_cut_delivers_a_beginning_and_both_sides_lose_the_connection() -> None:
    beginnings = set()
    for seed in range(40):
        pair = connected(seed)
        pair.network.send(pair.one.ends[0], b"0123456789")
        pair.network.cut_connection(pair.one.ends[0])
        pair.run()
        assert b"0123456789".startswith(pair.two.received())
        assert (pair.one.lost, pair.two.lost) == (1, 1)
        beginnings.add(pair.two.received())
    assert len(beginnings) > 5


def test_nothing_more_is_heard_after_closing() -> None:
    pair = connected()
    pair.network.send(pair.two.ends[0], b"late")
    pair.network.close(pair.one.ends[0])
    pair.run()
    assert (pair.one.received(), pair.one.lost, pair.two.lost) == (b"", 0, 1)


def test_a_machine_without_power_says_nothing_and_resets_once_it_is_back() -> None:
    pair = connected()
    del pair.network.owners[2]
    pair.network.vanish(pair.two.ends[0])
    pair.network.send(pair.one.ends[0], b"a")
    pair.run()
    assert pair.one.lost == 0
    pair.network.owners[2] = Peer()
    pair.network.send(pair.one.ends[0], b"b")
    pair.run()
    assert pair.one.lost == 1


def test_a_reader_that_does_not_read_congests_the_sender() -> None:
    pair = connected()
    pair.network.pause(pair.two.ends[0], True)
    pair.network.send(pair.one.ends[0], bytes(CONGESTED_BYTES + 1))
    pair.run()
    assert pair.one.congestion == [True]
    pair.network.pause(pair.two.ends[0], False)
    pair.run()
    assert pair.one.congestion == [True, False]
    assert len(pair.two.received()) == CONGESTED_BYTES + 1


def test_a_dial_into_a_partition_knocks_again_when_that_is_over() -> None:
    pair = Pair()
    pair.network.block(1, 2)
    pair.network.dial(1, pair.one, 80, [2], 5, 5_000_000)
    pair.run(2_000_000)
    assert pair.one.dialled == []
    pair.network.unblock(1, 2)
    # The third knock comes three seconds after the first.
    pair.run(1_100_000)
    assert pair.one.dialled == [5]


def test_a_dial_that_nobody_hears_fails_when_its_time_is_up() -> None:
    pair = Pair()
    pair.network.block(1, 2)
    pair.network.dial(1, pair.one, 80, [2], 5, 5_000_000)
    pair.run(4_999_000)
    assert pair.one.failed == []
    pair.run(2_000)
    assert pair.one.failed == [5]
