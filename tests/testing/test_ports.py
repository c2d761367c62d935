"""Ports: nobody's, and nobody else's in this process until they are given back."""

from __future__ import annotations

import socket

from zabra.testing.ports import END, FIRST, HOST, give_back, take_ports


def test_ports_are_free_and_given_once() -> None:
    first, second = take_ports(5), take_ports(5)
    assert len(set(first + second)) == 10
    for port in first + second:
        assert FIRST <= port < END
        with socket.socket() as probe:
            probe.bind((HOST, port))
    give_back(first + second)
