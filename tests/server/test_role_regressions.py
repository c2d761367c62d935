"""What real ensembles have shown to be wrong once, at the smallest scale that shows it: simulated members."""

from __future__ import annotations

import pytest

from zabra.auth.registry import Providers
from zabra.auth.schemes import IpProvider
from zabra.jute.primitives import JuteError, Writer
from zabra.proto import codes
from zabra.proto.packets import request_packet
from zabra.proto.records import ErrorTxn, QuorumPacket, TxnHeader
from zabra.server.ready import (
    DISK_DELETE_FILE,
    DISK_SAVE_FILE,
    DISK_SNAPSHOT_END,
    DISK_TRUNCATE,
    PORT_OBSERVER_MASTER,
    PORT_QUORUM,
)
from zabra.server.recovery import Recovered
from zabra.server.roles.leading import Leading
from zabra.server.roles.learning import BROADCAST, LOST, SYNCHRONIZATION, entry_of
from zabra.server.server import Server
from zabra.server.settings import Settings
from zabra.sim.client import SimClient
from zabra.sim.cluster import RELAYS_FOLLOWERS, Cluster, Shape, ensemble_of
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng
from zabra.tree.datatree import DataTree
from zabra.zab.synchronization import LearnerSync


def cluster(shape: Shape, seed: int = 1) -> Cluster:
    """A simulated ensemble with short ticks, started."""
    settings = Settings()
    settings.tick_ms = 200
    made = Cluster(shape, settings, Prng(seed, "cluster"), ClusterMonitor())
    made.start()
    return made


def modes(made: Cluster) -> dict[int, str]:
    """What each server says it is, once it serves."""
    return {int(process.server.settings.server_id): process.server.role.name() for process in made.serving()}


def test_a_follower_may_have_sid_0() -> None:
    """It was never told the epoch: 0 was taken for a learner that has not said who it is."""
    made = cluster(Shape([0, 1, 2]))
    made.run_ms(3000)
    assert sorted(modes(made)) == [0, 1, 2]
    assert sorted(modes(made).values()) == ["follower", "follower", "leader"]


def test_an_observer_may_have_sid_0() -> None:
    made = cluster(Shape([1, 2, 3], observers=[0]))
    made.run_ms(3000)
    assert modes(made)[0] == "observer"


def test_a_txn_under_another_zxid_than_its_packets_is_refused() -> None:
    """Taken at its word it stopped the server: the log would have had a hole."""
    w = Writer()
    TxnHeader(1, 1, 7, 1, codes.OP_ERROR).encode(w)
    ErrorTxn(-101).encode(w)
    raw = w.getvalue()
    assert entry_of(7, raw).header.zxid == 7
    with pytest.raises(JuteError, match="the txn 0x7 in a packet of 0x8"):
        entry_of(8, raw)


@pytest.mark.parametrize("op", [codes.OP_GET_DATA, codes.OP_PING, codes.OP_WHO_AM_I])
def test_a_learner_that_forwards_what_makes_no_txn_is_not_hung_up_on(op: int) -> None:
    """It was: an observer below a follower could have the follower lose its leader."""
    made = cluster(Shape([1, 2, 3]))
    made.run_ms(3000)
    leader = next(process.server for process in made.serving() if process.server.role.name() == "leader")
    role = leader.role
    assert isinstance(role, Leading)
    handlers = dict(role.handlers)
    last = leader.tree.last_processed_zxid
    for conn_id in handlers:
        leader.data_received(conn_id, request_packet(1, 1, op, b"", []))
    made.run_ms(3000)
    assert role.handlers == handlers
    assert leader.tree.last_processed_zxid == last


class Idle:
    """A client program that wants nothing but its session."""

    stopping = False

    def connected(self, client: SimClient) -> None:
        """Content."""

    def answered(self, client: SimClient, call: object) -> None:
        """Asked for nothing."""

    def fired(self, client: SimClient, event: object) -> None:
        """Watches nothing."""

    def over(self, client: SimClient, expired: bool) -> None:
        """Stays away."""

    def wake(self, client: SimClient, tag: object) -> None:
        """Waits for nothing."""


@pytest.mark.parametrize("voters", [[1, 2, 3], [1]], ids=["leader", "standalone"])
def test_a_server_that_slept_does_not_hold_it_against_its_clients(voters: list[int]) -> None:
    """A stopped leader woke up and expired everybody whom the followers had heard all the while."""
    settings = Settings()
    settings.tick_ms = 200
    # It sleeps for longer than sessions last, and not so long that it is deposed.
    settings.sync_limit_ticks = 40
    made = Cluster(Shape(voters), settings, Prng(1, "cluster"), ClusterMonitor())
    made.start()
    made.run_ms(2000)
    leader = next(sid for sid, mode in modes(made).items() if mode in ("leader", "standalone"))
    others = [sid for sid in voters if sid != leader] or voters
    clients = [made.add_client(Idle(), 2000, others) for _ in range(4)]
    for client in clients:
        client.start()
    made.run_ms(1000)
    assert all(client.is_connected() for client in clients)
    made.machines[leader].pause()
    made.run_ms(5000)
    made.machines[leader].resume()
    made.run_ms(4000)
    assert all(client.is_connected() and client.expired == 0 for client in clients)
    # One that really is silent goes.
    clients[0].abandon()
    tree = made.machines[leader].process.server.tree
    made.run_ms(3000)
    assert clients[0].session.session_id not in tree.sessions
    assert all(client.session.session_id in tree.sessions for client in clients[1:])


def closed_at_once(server: Server, port: int) -> bool:
    """Whether who connects there, in the turn in which the role ends, is hung up on."""
    conn_id = 1_000_000
    server.connection_made(conn_id, port, "somebody", 40_000)
    return conn_id in server.ready().closes


def test_who_connects_as_a_leadership_ends_is_not_left_waiting() -> None:
    """It was taken by the role that had just ended, and heard nothing for initLimit."""
    made = cluster(Shape([1, 2, 3]))
    made.run_ms(3000)
    leader = next(process.server for process in made.serving() if process.server.role.name() == "leader")
    assert isinstance(leader.role, Leading)
    leader.role.end("a test")
    assert closed_at_once(leader, PORT_QUORUM)


def test_who_connects_as_a_relay_loses_its_master_is_not_left_waiting() -> None:
    """An observer of fifty was away for a minute, once in forty deaths of a leader."""
    made = cluster(Shape([1, 2, 3], observers=[4], relays=RELAYS_FOLLOWERS))
    made.run_ms(3000)
    relay = next(process.server for process in made.serving() if process.server.relay() is not None)
    learning = relay.learning
    assert learning is not None
    learning.connection_lost()
    assert closed_at_once(relay, PORT_OBSERVER_MASTER)


def is_in_step(server: Server) -> bool:
    """Whether a learner has been synchronised."""
    return server.learning is not None and server.learning.state == BROADCAST


def lose_leader(server: Server) -> None:
    """The connection to the leader is gone."""
    assert server.learning is not None
    server.learning.connection_lost()


def test_an_observer_asks_how_far_it_is_behind_as_soon_as_it_is_synchronised() -> None:
    """It asked in its next turn: in a quiet ensemble with the leader's next PING, half a tick later."""
    settings = Settings()
    settings.tick_ms = 20_000
    made = Cluster(Shape([1, 2, 3], observers=[4]), settings, Prng(1, "cluster"), ClusterMonitor())
    made.start()
    made.run_ms(30_000)
    observer = next(process for process in made.serving() if process.server.role.name() == "observer")
    observer.call(lose_leader)
    made.run_ms(1)
    assert not is_in_step(observer.server)
    waited_ms = 0
    while not is_in_step(observer.server) and waited_ms < 5000:
        made.run_ms(1)
        waited_ms += 1
    made.run_ms(5)
    assert observer.server.role.serves()


def test_a_turn_in_which_an_election_begins_asks_for_the_next_one() -> None:
    """It asked at its start only: one whose first notifications were all lost waited for ever."""
    made = cluster(Shape([1, 2, 3], observers=[4]))
    made.run_ms(3000)
    server = next(process.server for process in made.serving() if process.server.role.name() == "observer")
    server.begin_turn(server.now_ms, server.wall_ms)
    lose_leader(server)
    server.ready()
    assert server.looking is not None
    server.begin_turn(server.looking.not_before_ms, server.wall_ms)
    ready = server.ready()
    assert server.role.name() == "looking"
    assert server.now_ms < ready.wake_at_ms <= server.now_ms + 200


def test_a_leader_that_nobody_comes_to_gives_up() -> None:
    """It asked for no turn of its own: where all others were content with another leader, it led for ever."""
    server = member()
    assert server.peer is not None
    server.peer.follow(1, 0)
    ready = server.ready()
    assert server.role.name() == "leader"
    turns = 0
    while server.role.name() == "leader":
        assert ready.wake_at_ms > 0
        server.begin_turn(max(ready.wake_at_ms, server.now_ms + 1), 1000)
        ready = server.ready()
        turns += 1
    assert server.now_ms - 1000 <= 2 * server.settings.init_limit_ticks * server.settings.tick_ms
    assert turns < 100


def member() -> Server:
    """One of three voters, looking for a leader."""
    recovered = Recovered(DataTree())
    recovered.last_zxid = recovered.accepted_epoch = recovered.current_epoch = 0
    settings = Settings()
    settings.server_id = 1
    view = ensemble_of(Shape([1, 2, 3]))
    server = Server(settings, Providers([IpProvider()]), recovered, 1, 1000, 1000, view)
    server.begin_turn(1000, 1000)
    server.ready()
    return server


def test_a_tree_is_not_loaded_while_a_snapshot_is_being_given_up() -> None:
    """Loading removes unfinished snapshots: who was to remove that one found no file, and stopped."""
    server = member()
    server.snapshotter.begin()
    server.ready()
    server.snapshotter.abort()
    server.look([], True, 0)
    assert not server.ready().reload
    server.begin_turn(1001, 1001)
    server.snapshot_done(int(server.snapshotter.end_token))
    assert server.ready().reload


def test_a_tree_is_loaded_once_at_a_time() -> None:
    """Two that load it at once, or one while the log is written again, would not see the same."""
    server = member()
    server.ask_reload()
    assert server.ready().reload
    server.begin_turn(1001, 1001)
    server.look([], True, 0)
    assert not server.ready().reload
    server.begin_turn(1002, 1002)
    recovered = Recovered(DataTree())
    recovered.last_zxid = 0
    server.reloaded(recovered)
    assert server.looking is not None
    assert server.looking.looking
    server.begin_turn(1003, 1003)
    server.look([], True, 0)
    assert server.ready().reload


@pytest.mark.parametrize(
    ("keeps_log", "cut", "left", "follows"),
    [
        (True, 0x100000007, 0x100000007, True),
        (True, 0x100000007, 0x100000003, False),
        (True, 0x200000000, 0x100000003, True),
        (False, 0x100000007, 0x100000007, True),
        (False, 0x100000007, 0x100000003, False),
        (False, 0x200000000, 0x100000003, False),
    ],
)
def test_a_history_that_ends_before_the_cut_is_not_built_upon(
    keeps_log: bool, cut: int, left: int, follows: bool
) -> None:
    """An observer that keeps no log (syncEnabled=false) has only its last snapshot to go back to."""
    made = cluster(Shape([1, 2, 3], observers=[4]))
    made.run_ms(3000)
    process = made.machines[4].process
    assert process is not None
    server = process.server
    server.settings.sync_enabled = keeps_log
    role = server.learning
    assert role is not None
    role.state = SYNCHRONIZATION
    role.sync = LearnerSync(0x300000001, 0x400000000, True)
    role.sync.packet(QuorumPacket(codes.PACKET_TRUNC, cut, None, None))
    recovered = Recovered(DataTree())
    recovered.tree.last_processed_zxid = recovered.last_zxid = left
    server.reloaded(recovered)
    assert (role.state != LOST) == follows
    assert role.lost == "" if follows else "what is left of the history ends at" in role.lost


@pytest.mark.parametrize(("version", "counts"), [(7, True), (8, False)])
def test_a_view_whose_txn_never_became_durable_here_is_forgotten(version: int, counts: bool) -> None:
    """A leader that had it in its file and not in its log put it in force without its txn (seed 2001136)."""
    recovered = Recovered(DataTree())
    recovered.accepted_epoch = recovered.current_epoch = 0
    recovered.last_zxid = 7
    settings = Settings()
    settings.server_id = 1
    settings.reconfig_enabled = True
    coming = ensemble_of(Shape([1, 2, 4]))
    coming.version = version
    providers = Providers([IpProvider()])
    server = Server(settings, providers, recovered, 1, 1000, 1000, ensemble_of(Shape([1, 2, 3])), coming)
    assert server.peer is not None
    assert (server.peer.last_seen is coming) == counts
    assert len(server.peer.verifiers()) == 1 + counts


@pytest.mark.parametrize(("cut", "goes"), [(0, True), (0x100000008, True), (0x100000009, False)])
def test_a_views_file_goes_before_the_history_that_has_its_txn(cut: int, goes: bool) -> None:
    """A power cut between the two left a view that was put in force without its txn (seed 7038703)."""
    made = cluster(Shape([1, 2, 3]))
    made.run_ms(3000)
    process = made.machines[1].process
    assert process is not None
    server = process.server
    server.settings.reconfig_enabled = True
    server.settings.config_file = "zoo.cfg"
    peer, role = server.peer, server.learning
    assert peer is not None
    assert role is not None
    coming = ensemble_of(Shape([1, 2, 3, 4])).with_version(0x100000009)
    peer.saw(coming)
    assert [command.kind for command in server.ready().disk] == [DISK_SAVE_FILE]
    if cut:
        role.truncate(cut)
    else:
        role.save_snapshot()
    kinds = [command.kind for command in server.ready().disk]
    assert (kinds[0] == DISK_DELETE_FILE) == goes
    assert kinds[-1] == (DISK_TRUNCATE if cut else DISK_SNAPSHOT_END)
    # Its quorums count until the leader says what does; and if it says this, it has a file again.
    assert peer.last_seen is coming
    peer.saw(coming)
    assert [command.kind for command in server.ready().disk] == [DISK_SAVE_FILE] * goes
