"""Node: doors that cannot be opened yet, connections that end while they begin, work that fails."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from zabra.runtime.node import EXIT_UNEXPECTED, Node
from zabra.runtime.ports import Port
from zabra.runtime.sockets import SocketOptions
from zabra.server.ready import PORT_ELECTION, PORT_QUORUM, Dial
from zabra.server.recovery import Recovered
from zabra.server.server import EXIT_TXNLOG_ERROR
from zabra.storage.errors import StorageError
from zabra.testing import AsyncEnsemble


async def of_a_server(ensemble: AsyncEnsemble) -> Node:
    running = ensemble.members[1].running
    assert running is not None
    running.node.bind_retry_s = 0.001
    return running.node


def test_an_election_port_that_becomes_free_is_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with AsyncEnsemble(1, folder=tmp_path) as ensemble:
            node = await of_a_server(ensemble)
            node.election_bind_attempts = 0
            with socket.create_server(("127.0.0.1", 0)) as other:
                number = other.getsockname()[1]
                opening = asyncio.create_task(node.open_patiently(PORT_ELECTION, "127.0.0.1", number))
                await ensemble.wait(
                    "more attempts than there are by default", lambda: "attempt 5" in caplog.text
                )
                assert not opening.done()
            opened = await asyncio.wait_for(opening, 30)
            assert opened.sockets[0].getsockname()[1] == number
            opened.close()

    asyncio.run(main())


@pytest.mark.parametrize(("port", "attempts"), [(PORT_ELECTION, 4), (PORT_QUORUM, 1)])
def test_patience_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture, port: int, attempts: int) -> None:
    async def main() -> None:
        async with AsyncEnsemble(1, folder=tmp_path) as ensemble:
            node = await of_a_server(ensemble)
            node.election_bind_attempts = 4
            with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
                await node.open_patiently(port, "127.0.0.1", other.getsockname()[1])
            assert caplog.text.count("cannot listen on") == attempts - 1

    asyncio.run(main())


class Told:
    """What a server hears of its connections."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def connection_made(self, conn_id: int, port: int, host: str, number: int, dial_id: int) -> None:
        self.calls.append(f"made {conn_id} for dial {dial_id}")

    def connection_lost(self, conn_id: int) -> None:
        self.calls.append(f"lost {conn_id}")

    def dial_failed(self, dial_id: int) -> None:
        self.calls.append(f"failed {dial_id}")


class CutOff:
    """A loop on which the time to connect is over just when the connection is there.

    As uvloop does it: the transport is closed, and the protocol is not told.
    """

    async def create_connection(self, factory: Callable[[], Port], host: str, number: int) -> None:
        port = factory()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, host, number)
        port.connection_made(transport)
        transport.abort()
        raise TimeoutError


def test_a_dial_that_ends_when_it_is_made_leaves_no_dead_connection() -> None:
    """It did once, on a machine too busy to dial in time; the next write to it stopped the server."""

    async def main() -> None:
        node = object.__new__(Node)
        told = Told()
        node.__dict__.update(loop=CutOff(), server=told, ports={}, ended=False, _next_conn_id=7)
        node.__dict__.update(sockets=SocketOptions(), turn=lambda: None)
        with socket.create_server(("127.0.0.1", 0)) as door:
            number = door.getsockname()[1]
            await node._dial(Dial(3, PORT_ELECTION, [("127.0.0.1", number)], 1000))
            assert node.ports == {}
            assert told.calls == ["made 7 for dial 3", "lost 7"]

    asyncio.run(main())


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "\udc80", "a\0b"])
def test_a_name_that_cannot_be_looked_up_is_a_dial_that_failed(host: str) -> None:
    """Peers tell where they are to be dialled; an error of another kind than OSError was never reported."""

    async def main() -> None:
        node = object.__new__(Node)
        told = Told()
        node.__dict__.update(loop=asyncio.get_running_loop(), server=told, turn=lambda: None)
        await node._dial(Dial(3, PORT_ELECTION, [(host, 1)], 1000))
        assert told.calls == ["failed 3"]

    asyncio.run(main())


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), StorageError("a hole")])
def test_data_that_cannot_be_loaded_again_end_the_server(
    error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with AsyncEnsemble(1, folder=tmp_path) as ensemble:
            node = await of_a_server(ensemble)

            def reload() -> Recovered:
                raise error

            node.reload = reload
            await node._reload()
            assert await asyncio.wait_for(asyncio.shield(node.stopped), 30) == EXIT_TXNLOG_ERROR
            assert f"the data cannot be loaded again: {error}" in caplog.text

    asyncio.run(main())


def test_work_that_fails_ends_the_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits for it would wait for ever."""

    async def mistake() -> None:
        raise KeyError("a mistake of ours")

    async def main() -> None:
        async with AsyncEnsemble(1, folder=tmp_path) as ensemble:
            node = await of_a_server(ensemble)
            node._spawn(mistake())
            assert await asyncio.wait_for(asyncio.shield(node.stopped), 30) == EXIT_UNEXPECTED
            assert "a mistake of ours" in caplog.text

    asyncio.run(main())
