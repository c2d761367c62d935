"""Node: doors that cannot be opened yet."""

import asyncio
import socket
from pathlib import Path

import pytest

from zabra.runtime.node import Node
from zabra.server.ready import PORT_ELECTION, PORT_QUORUM
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
