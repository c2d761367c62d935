"""zabra.testing: ensembles of real servers inside a test, and the troubles a test may want."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from zabra.proto import codes
from zabra.testing import AsyncEnsemble, Ensemble, Server
from zabra.testing.pytest_plugin import make_zabra_ensemble, zabra_ensemble, zabra_server

__all__ = ["make_zabra_ensemble", "zabra_ensemble", "zabra_server"]


def test_a_standalone_server(zabra_server: Server) -> None:
    client = KazooClient(zabra_server.connect_string)
    client.start()
    assert client.create("/a", b"1") == "/a"
    assert client.get("/a")[0] == b"1"
    client.stop()
    client.close()
    assert zabra_server.members[1].mode == "standalone"


def test_an_ensemble_serves_when_it_is_there(zabra_ensemble: Ensemble) -> None:
    assert sorted(member.mode for member in zabra_ensemble.members.values()) == [
        "follower",
        "follower",
        "leader",
        "observer",
    ]
    client = KazooClient(zabra_ensemble.members[4].address)
    client.start()
    client.create("/a", b"1")
    client.stop()
    client.close()


def test_several_ensembles_side_by_side(make_zabra_ensemble: Callable[..., Ensemble]) -> None:
    one, other = make_zabra_ensemble(1), make_zabra_ensemble(3)
    assert set(one.connect_string.split(",")).isdisjoint(other.connect_string.split(","))
    assert one.leader == 1
    assert other.leader in (1, 2, 3)


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


def test_options_that_make_no_sense_are_refused_and_leave_nothing_behind() -> None:
    before = threading.active_count()
    with pytest.raises(Exception, match="tickTime"), Ensemble(options={"tickTime": "soon"}):
        raise AssertionError("not reached")
    assert threading.active_count() == before


def open_files() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_nothing_is_left_behind() -> None:
    """CI runs a few cycles; ZABRA_CYCLES=1000 runs as many as are asked for."""
    cycles = int(os.environ.get("ZABRA_CYCLES", "15"))
    folders: list[Path] = []
    threads = files = objects = resident = 0
    for cycle in range(cycles + 5):
        if cycle == 5:
            # The first ones fill caches.
            gc.collect()
            threads, files = threading.active_count(), open_files()
            objects = len(gc.get_objects())
            resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with Ensemble(3, 1) as ensemble:
            folders.append(ensemble.members[1].folder.parent)
    gc.collect()
    grown = len(gc.get_objects()) - objects
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    print(f"{cycles} cycles: {grown} more objects, {grown_kb} KiB more resident at most")
    assert threading.active_count() == threads
    assert open_files() <= files
    assert not [folder for folder in folders if folder.exists()]
    assert grown < 40 * cycles, f"{grown} more objects after {cycles} cycles"
