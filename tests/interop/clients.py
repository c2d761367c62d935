"""kazoo clients for tests: connected within a bounded time, and given up with every socket closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient

CONNECT_WITHIN_S = 30.0


def forget(client: KazooClient) -> None:
    """Stops a client and closes what it holds, whatever has become of its server.

    ``KazooClient.start`` stops a client that could not connect, but does not close it.
    """
    client.stop()
    client.close()


def connected(hosts: str, timeout: float = 20.0) -> KazooClient:
    """A client with a session at one of ``hosts``."""
    client = KazooClient(hosts, timeout=timeout)
    try:
        client.start(CONNECT_WITHIN_S)
    except BaseException:
        forget(client)
        raise
    return client


@contextmanager
def client_at(hosts: str, timeout: float = 20.0) -> Iterator[KazooClient]:
    """``connected``, for as long as the block takes."""
    client = connected(hosts, timeout)
    try:
        yield client
    finally:
        forget(client)


class Clients:
    """Any number of clients, all given up together: ``with Clients() as client_of: client_of(hosts)``."""

    def __init__(self) -> None:
        self._made: list[KazooClient] = []

    def __call__(self, hosts: str, timeout: float = 20.0) -> KazooClient:
        self._made.append(connected(hosts, timeout))
        return self._made[-1]

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        while self._made:
            forget(self._made.pop())
