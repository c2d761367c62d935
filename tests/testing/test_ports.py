"""Ports: nobody's, and nobody else's in any process until they are given back."""

from __future__ import annotations

import socket
import subprocess
import sys

from zabra.testing.ports import END, FIRST, HOST, claim, give_back, take_ports


def test_ports_are_free_and_given_once() -> None:
    first, second = take_ports(5), take_ports(5)
    assert len(set(first + second)) == 10
    for port in first + second:
        assert FIRST <= port < END
        with socket.socket() as probe:
            # As a server binds: connections of one that is gone may linger there (TIME_WAIT).
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            probe.listen()
    give_back(first + second)


def claimed_elsewhere(port: int) -> bool:
    """Whether another process gets the port."""
    program = f"from zabra.testing.ports import claim; print(claim({port}))"
    return subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "True"


def test_another_process_gets_a_port_only_when_it_was_given_back() -> None:
    (port,) = take_ports(1)
    assert claim(port)
    assert not claimed_elsewhere(port)
    give_back([port])
    # The other process has ended, and its claim with it.
    assert claimed_elsewhere(port)
    assert claim(port)
    give_back([port])
