"""zabra.testing: ensembles of real servers inside a test, and the troubles a test may want."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from zabra.proto import codes
from zabra.testing import AsyncEnsemble


def test_stop_start_restart_and_kill_keep_what_was_written() -> None:
    async def scenario() -> None:
        async with AsyncEnsemble(3) as ensemble:
            leader = ensemble.leader
            async with ensemble.client(timeout_ms=30_000) as client:
                await client.create("/kept", b"1")
                await ensemble.kill(leader)
                assert ensemble.members[leader].mode == "stopped"
                assert await ensemble.wait_leader() != leader
                await client.wait_connected()
                await client.create("/meanwhile", b"")
                await ensemble.start(leader)
                await ensemble.wait_ready(leader)
            await ensemble.restart(leader)
            async with ensemble.client(leader) as client:
                assert await client.get_children("/") == ["kept", "meanwhile", "zookeeper"]

    asyncio.run(scenario())


@pytest.mark.parametrize("silently", [False, True])
def test_a_partition_leaves_the_smaller_side_without_a_leader(silently: bool) -> None:
    async def scenario() -> None:
        async with AsyncEnsemble(3, options={"syncLimit": "5"}) as ensemble:
            old = ensemble.leader
            rest = [sid for sid in (1, 2, 3) if sid != old]
            await ensemble.partition([old], silently=silently)
            assert await ensemble.wait_leader(*rest) in rest
            await ensemble.wait("it looks", lambda: ensemble.members[old].mode == "looking")
            async with ensemble.client(*rest) as client:
                await client.create("/on-the-larger-side", b"")
            await ensemble.heal()
            await ensemble.wait_ready()
            async with ensemble.client(old) as client:
                await client.sync("/")
                assert await client.exists("/on-the-larger-side") is not None

    asyncio.run(scenario())


def test_an_observer_that_lags_and_catches_up() -> None:
    async def scenario() -> None:
        async with (
            AsyncEnsemble(3, 1) as ensemble,
            ensemble.client(4) as near,
            ensemble.client(1, 2, 3) as client,
        ):
            await ensemble.lag(4, None)
            await client.create("/late", b"")
            await client.sync("/")
            assert await near.exists("/late") is None
            await ensemble.lag(4, 0.0)
            await near.sync("/")
            assert await near.exists("/late") is not None

    asyncio.run(scenario())


def test_a_session_expires_when_it_is_told_to() -> None:
    async def scenario() -> None:
        async with AsyncEnsemble(3, 1) as ensemble, ensemble.client() as other:
            client = ensemble.client(4, timeout_ms=60_000)
            await client.start()
            await client.create("/mine", b"", flags=codes.MODE_EPHEMERAL)
            await ensemble.expire_session(client.session.session_id)
            await other.sync("/")
            assert await other.exists("/mine") is None
            await ensemble.wait("the client is told", client.session.is_over)
            await client.abandon()

    asyncio.run(scenario())


def test_a_folder_that_is_given_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with AsyncEnsemble(1, folder=tmp_path) as ensemble, ensemble.client() as client:
            await client.create("/a", b"kept")
        synced = AsyncEnsemble(1, folder=tmp_path, force_sync=True)
        async with synced as ensemble, ensemble.client() as client:
            assert (await client.get_data("/a"))[0] == b"kept"

    asyncio.run(scenario())
