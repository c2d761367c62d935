"""What the operating system is told about a connection."""

import socket

import pytest

from zabra.runtime.sockets import SocketOptions
from zabra.server.ready import PORT_CLIENT, PORT_ELECTION, PORT_OBSERVER_MASTER, PORT_QUORUM


def applied(options: SocketOptions, port: int, dialled: bool = False) -> tuple[bool, bool]:
    """(no delay, keep alive) of a socket that was set up."""
    with socket.socket() as sock:
        options.apply(sock, port, dialled)
        return (
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0,
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0,
        )


@pytest.mark.parametrize("port", [PORT_CLIENT, PORT_QUORUM, PORT_ELECTION, PORT_OBSERVER_MASTER])
def test_by_default_nothing_waits_and_nothing_is_probed(port: int) -> None:
    assert applied(SocketOptions(), port) == (True, False)


def test_keep_alive_of_clients_and_of_servers() -> None:
    options = SocketOptions()
    options.client_keep_alive = True
    assert [applied(options, port)[1] for port in (PORT_CLIENT, PORT_ELECTION, PORT_QUORUM)] == [
        True,
        False,
        False,
    ]
    options.client_keep_alive, options.peer_keep_alive = False, True
    assert [applied(options, port)[1] for port in (PORT_CLIENT, PORT_ELECTION, PORT_QUORUM)] == [
        False,
        True,
        True,
    ]


def test_delay_of_the_leader_s_and_of_the_learner_s_connections() -> None:
    options = SocketOptions()
    options.leader_nodelay = False
    assert applied(options, PORT_QUORUM) == (False, False)
    assert applied(options, PORT_QUORUM, dialled=True) == (True, False)
    assert applied(options, PORT_CLIENT) == (True, False)
    options.leader_nodelay, options.follower_nodelay = True, False
    assert applied(options, PORT_QUORUM) == (True, False)
    assert applied(options, PORT_QUORUM, dialled=True) == (False, False)
    assert applied(options, PORT_ELECTION, dialled=True) == (True, False)


def test_a_socket_of_another_family_is_left_alone() -> None:
    left, right = socket.socketpair()
    with left, right:
        SocketOptions().apply(left, PORT_CLIENT, False)
        assert left.family == socket.AF_UNIX
