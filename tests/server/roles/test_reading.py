"""Read-only mode: what clients see of a member that finds no leader."""

import pytest
from tests.admin.driver import Drive, framed
from tests.server.test_serving import create_frame, frame, frames, headers

from zabra.auth.registry import Providers
from zabra.auth.schemes import IpProvider
from zabra.config.ensemble import EnsembleConfig
from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.records import ACL, ConnectRequest, ConnectResponse, CreateTxn, Id, TxnHeader
from zabra.server.recovery import Recovered
from zabra.server.roles.reading import grace_ms
from zabra.server.server import Server
from zabra.server.settings import Settings
from zabra.sessions.session_id import session_password
from zabra.sim.cluster import Cluster, Shape
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng
from zabra.tree.datatree import DataTree

MEMBERS = "".join(f"server.{sid}=127.0.0.1:{sid}001:{sid}002\n" for sid in (1, 2, 3))
GLOBAL_SESSION = 0x0100_0000_0000_0077
OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]


def tree_with_a_past():
    tree = DataTree()
    tree.process_txn(TxnHeader(1, 1, 1, 1, codes.OP_CREATE), CreateTxn("/a", b"v", OPEN, False, 1))
    tree.sessions[GLOBAL_SESSION] = 10_000
    return tree


class Alone(Drive):
    """One member of three; the others are never there."""

    def __init__(self, **changes):
        settings = Settings()
        settings.server_id = 1
        settings.read_only_enabled = True
        settings.local_sessions_enabled = True
        settings.local_sessions_upgrading_enabled = True
        for name, value in changes.items():
            setattr(settings, name, value)
        self.now_ms = 1_000_000
        recovered = Recovered(tree_with_a_past())
        recovered.last_zxid = 1
        self.server = Server(
            settings,
            Providers([IpProvider()]),
            recovered,
            1,
            self.now_ms,
            self.wall_ms,
            EnsembleConfig.parse(MEMBERS),
        )
        self.sent = {}
        self.words = []
        self.closed = []
        self._next_conn = 100
        self.turn()

    def wait(self, ms):
        self.now_ms += ms
        self.turn()

    def hello(self, session_id=0, read_only=True, password=bytes(16), zxid=0):
        """(connection, the response or None) of one more client."""
        conn = self.open()
        w = Writer()
        ConnectRequest(0, zxid, 10_000, session_id, password, read_only).encode(w)
        answer = self.receive(conn, framed(w.getvalue()))
        return conn, ConnectResponse.decode(Reader(answer[4:])) if answer else None


@pytest.fixture
def alone():
    drive = Alone()
    drive.wait(2000)
    return drive


def test_nobody_is_served_before_the_grace_time_is_over():
    drive = Alone()
    drive.wait(1999)
    conn, response = drive.hello()
    assert response is None
    assert drive.closed == [conn]
    view = drive.server.status()
    assert (view.role.name, view.role.serves, view.is_read_only()) == ("looking", False, False)
    drive.wait(1)
    assert drive.hello()[1] is not None


def test_the_server_wakes_up_when_the_time_is_over():
    drive = Alone()
    drive.begin()
    assert 0 < drive.server.ready().wake_at_ms <= drive.now_ms + 2000


@pytest.mark.parametrize(("tick", "grace"), [(100, 2000), (2000, 2000), (5000, 5000)])
def test_grace(tick, grace):
    settings = Settings()
    settings.tick_ms = tick
    assert grace_ms(settings) == grace


def test_without_the_mode_nobody_is_served():
    drive = Alone(read_only_enabled=False)
    drive.wait(10_000)
    assert drive.hello()[1] is None


def test_reads_are_served_and_watches_kept(alone):
    conn, response = alone.hello()
    assert response.read_only is True
    assert alone.get(conn, "/a", True)[0] == codes.OK
    assert alone.server.tree.watches.count() == 1
    alone.ping(conn)
    view = alone.server.status()
    assert (view.role.name, view.role.serves, view.is_read_only()) == ("read-only", True, True)


def test_every_write_and_sync_is_refused(alone):
    conn, _ = alone.hello()
    refused = codes.ERR_NOT_READ_ONLY
    sent = create_frame(1, "/b") + create_frame(2, "/e", codes.MODE_EPHEMERAL)
    sent += frame(3, codes.OP_SET_DATA, "/a", b"w", -1) + frame(4, codes.OP_DELETE, "/a", -1)
    sent += frame(5, codes.OP_SYNC, "/") + frame(6, codes.OP_MULTI) + frame(7, codes.OP_EXISTS, "/a", False)
    answers = [(head.xid, head.err) for head in headers(alone.receive(conn, sent))]
    assert answers == [(xid, refused) for xid in range(1, 7)] + [(7, codes.OK)]
    assert alone.server.tree.find("/b") is None
    assert alone.server.tree.last_processed_zxid == 1


def test_the_session_may_be_closed_and_ends_with_its_timeout(alone):
    conn, _ = alone.hello()
    answer = frames(alone.receive(conn, frame(1, codes.OP_CLOSE_SESSION)))
    assert len(answer) == 1
    assert alone.closed == [conn]
    silent, _ = alone.hello()
    alone.wait(20_000)
    assert alone.closed == [conn, silent]


def test_a_session_of_this_mode_may_come_back(alone):
    _, response = alone.hello()
    session_id = response.session_id
    conn, again = alone.hello(session_id, password=session_password(session_id))
    assert again.session_id == session_id
    assert alone.get(conn, "/a")[0] == codes.OK


def test_who_wants_more_than_to_read_is_closed_without_an_answer(alone):
    assert alone.hello(read_only=False)[1] is None


def test_a_session_of_the_quorum_is_closed_without_an_answer(alone):
    conn, response = alone.hello(GLOBAL_SESSION, password=session_password(GLOBAL_SESSION))
    assert response is None
    assert alone.closed == [conn]


def test_a_session_that_nobody_knows_is_told_so(alone):
    unknown = GLOBAL_SESSION + 1
    _, response = alone.hello(unknown, password=session_password(unknown))
    assert (response.time_out, response.session_id) == (0, 0)


def test_a_client_that_has_seen_more_is_refused(alone):
    assert alone.hello(zxid=2)[1] is None


def test_without_local_sessions_there_can_be_no_new_ones():
    drive = Alone(local_sessions_enabled=False)
    drive.wait(2000)
    assert drive.hello()[1] is None


def test_when_a_leader_is_found_clients_are_sent_away_and_then_served_in_full():
    settings = Settings()
    settings.tick_ms = 200
    settings.read_only_enabled = True
    settings.local_sessions_enabled = True
    made = Cluster(Shape([1, 2, 3]), settings, Prng(5, "reading"), ClusterMonitor())
    machine = made.machines[3]
    machine.start()
    made.run_ms(3000)
    server = machine.process.server
    assert server.status().is_read_only()
    made.machines[2].start()
    made.run_ms(3000)
    assert not server.status().is_read_only()
    assert server.serving.role is server.role
    assert server.role.serves()
    # And back again, once the others are gone.
    made.machines[2].kill()
    made.run_ms(5000)
    assert server.status().is_read_only()
