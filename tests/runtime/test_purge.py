"""AutoPurge: when it runs, what it survives, and what is left on a real disk."""

import asyncio
import threading
from pathlib import Path

import pytest
from tests.storage.test_txnsnaplog import full_folder, names

from zabra.runtime.purge import AutoPurge, GuardedStore
from zabra.testing import AsyncEnsemble

WITHIN_S = 30


class Store:
    """Stands where the store does: says when it is asked, and waits until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = threading.Semaphore(0)
        self.go = threading.Event()
        self.calls: list[tuple[int, int]] = []
        self.error = error

    def purge(self, retain: int, keep_zxid: int) -> tuple[list[str], list[str]]:
        self.calls.append((retain, keep_zxid))
        self.asked.release()
        assert self.go.wait(WITHIN_S)
        if self.error is not None:
            raise self.error
        return ["snapshot.1"], []


async def asked(store: Store) -> None:
    assert await asyncio.to_thread(store.asked.acquire, True, WITHIN_S)


def test_it_purges_at_once_and_again_and_again() -> None:
    async def main() -> None:
        store = Store()
        store.go.set()
        purge = AutoPurge(store, 4, 1)  # type: ignore[arg-type]  # stands where the store does
        purge.keep_zxid = lambda: 77
        purge.start()
        for _ in range(3):
            await asked(store)
        await purge.stop()
        assert store.calls[0] == (4, 77)
        runs = purge.runs
        await asyncio.sleep(0)
        assert purge.runs == runs >= 3

    asyncio.run(main())


def test_without_an_interval_it_never_runs() -> None:
    async def main() -> None:
        store = Store()
        purge = AutoPurge(store, 3, 0)  # type: ignore[arg-type]
        purge.start()
        await asyncio.sleep(0)
        await purge.stop()
        assert store.calls == []

    asyncio.run(main())


def test_stopping_waits_for_a_purge_under_way() -> None:
    async def main() -> None:
        store = Store()
        purge = AutoPurge(store, 3, 1)  # type: ignore[arg-type]
        purge.start()
        await asked(store)
        stopping = asyncio.get_running_loop().create_task(purge.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        store.go.set()
        await asyncio.wait_for(stopping, WITHIN_S)
        assert len(store.calls) == 1

    asyncio.run(main())


def test_a_disk_that_refuses_is_reported_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        store = Store(OSError("read-only file system"))
        store.go.set()
        purge = AutoPurge(store, 3, 1)  # type: ignore[arg-type]
        purge.start()
        for _ in range(2):
            await asked(store)
        await purge.stop()

    asyncio.run(main())
    assert "purging old snapshots and logs failed: read-only file system" in caplog.text


def test_one_purge() -> None:
    disk, store, _ = full_folder(6)
    purge = AutoPurge(GuardedStore(store), 3, 1000)
    purge.purge()
    assert len([name for name in names(disk) if name.startswith("snapshot")]) == 3
    before = names(disk)
    purge.purge()
    assert names(disk) == before


def test_a_guarded_store_does_what_a_store_does() -> None:
    disk, store, _ = full_folder(6)
    guarded = GuardedStore(store)
    assert guarded.truncate(0x100000014)
    assert guarded.log.last_zxid == 0x100000014
    guarded.forget_beyond(0x100000012)
    assert guarded.log.last_zxid == 0x100000012
    guarded.drop_after(0x100000008)
    assert guarded.purge(3) == ([], [])
    guarded.adopt(0x100000008)
    assert [name for name in names(disk) if name.startswith("snapshot")] == ["snapshot.100000008"]


def test_a_server_that_purges_while_it_writes_keeps_everything(tmp_path: Path) -> None:
    options = {"snapCount": 8, "autopurge.purgeInterval": "10ms", "autopurge.snapRetainCount": 3}
    folder = tmp_path / "server-1" / "data" / "version-2"

    def files(prefix: str) -> list[str]:
        return sorted(path.name for path in folder.iterdir() if path.name.startswith(prefix))

    async def main() -> None:
        async with AsyncEnsemble(1, options=options, folder=tmp_path) as ensemble:
            async with ensemble.client() as client:
                for number in range(120):
                    await client.create(f"/n{number}", b"x")
            running = ensemble.members[1].running
            assert running is not None
            assert running.purge.runs > 1
            await ensemble.wait(
                "a purge", lambda: len(files("snapshot.")) == 3 and "log.1" not in files("log.")
            )
            await ensemble.restart(1)
            async with ensemble.client() as client:
                assert len(await client.get_children("/")) == 121

    asyncio.run(main())
