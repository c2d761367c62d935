"""Publishers on real servers that are killed: the target holds exactly what was committed."""

import asyncio
import json
import random
from contextlib import contextmanager

import pytest
from tests.interop import apache
from tests.interop.members import APACHE_39, ZABRA, Mixed
from tests.interop.processes import free_ports, poll
from tests.interop.session import Session

from zabra.client import calls
from zabra.plugins.changes import committed_txn
from zabra.plugins.jsontext import txn_object
from zabra.plugins.log_history import LogHistory
from zabra.proto.txn import decode_txn
from zabra.runtime.os_disk import OsDisk
from zabra.testing.ensemble import AsyncEnsemble

WITHIN_S = 40


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def logged(member):
    """What is in a member's log (Apache's is read the same way), as the publisher writes it."""
    disk = OsDisk(member.folder / "data")
    history = LogHistory(disk, disk, LogHistory(disk, disk, 0).oldest() - 1)
    return [txn_object(committed_txn(decode_txn(raw))) for raw in history.read(1 << 62, 1 << 30)]


def assert_is_log(rows, expected):
    """A snapshot at most at the head (a new observer is sent one), then every txn once, in order."""
    ends = [index for index, row in enumerate(rows) if "snapshotEnd" in row]
    assert len(ends) <= 1
    behind = 0
    if ends:
        assert "snapshot" in rows[0]
        assert all("node" in row for row in rows[1 : ends[0]])
        behind = int(rows[ends[0]]["snapshotEnd"], 16)
        rows = rows[ends[0] + 1 :]
    wanted = [row for row in expected if int(row["zxid"], 16) > behind]
    assert rows == wanted[: len(rows)]


def is_published(path, zxid):
    # A line may be cut where it is just being written.
    return f'{{"zxid":"0x{zxid:x}"' in (path.read_text() if path.exists() else "")


async def until_published(path, zxid):
    async with asyncio.timeout(WITHIN_S):
        while not is_published(path, zxid):  # noqa: ASYNC110  another thread writes the file
            await asyncio.sleep(0.02)


async def write_all(client, count):
    """Creates and sets, with others' failures taken as they come; returns the last zxid."""
    last = 0
    for number in range(count):
        stat = await client.set_data("/counter", b"%d" % number)
        last = stat.mzxid
    return last


def test_the_file_is_the_log_whatever_is_killed(tmp_path):
    async def main():
        rng = random.Random(5)
        out = tmp_path / "out.jsonl"
        options = {"publisher.out.class": "jsonl", "publisher.out.file": out}
        async with AsyncEnsemble(3, 1, options=options, folder=tmp_path / "ensemble") as ensemble:
            observer = ensemble.observers[0]
            for _ in range(5):
                voters = [sid for sid in ensemble.members if sid != observer]
                async with ensemble.client(*voters) as client:
                    if await client.exists("/counter") is None:
                        await client.create("/counter")
                    writing = asyncio.ensure_future(write_all(client, 60))
                    victim = rng.choice(["observer", "publisher", "leader"])
                    while not out.exists():  # noqa: ASYNC110  another thread writes the file
                        await asyncio.sleep(0.01)
                    if victim == "observer":
                        await ensemble.kill(observer)
                        await ensemble.start(observer)
                    elif victim == "publisher":
                        host = ensemble.members[observer].publishers.host
                        await host.stop()
                        host.start()
                    last = await writing
                if victim == "leader":
                    leader = ensemble.leader
                    await ensemble.kill(leader)
                    await ensemble.wait_leader()
                    await ensemble.start(leader)
                    await ensemble.wait_ready()
                await until_published(out, last)
            await ensemble.wait_ready()
            rows = rows_of(out)
            leader = ensemble.members[ensemble.leader]
            expected = logged(leader)
        assert_is_log(rows, expected)
        assert len(rows) >= 300

    asyncio.run(main())


@pytest.mark.parametrize("observers_first", [False, True])
def test_who_is_there_before_the_first_txn_has_all(tmp_path, observers_first):
    """Whether the observer comes before its leader leads or after: the file begins with the first txn."""
    out = tmp_path / "out.jsonl"
    ensemble = Mixed([ZABRA] * 4, tmp_path / "ensemble", observers=1, ports=free_ports(16, 14600, 14900))
    observer = ensemble.members[4]
    observer.cfg |= {"publisher.out.class": "jsonl", "publisher.out.file": str(out)}
    early = [4] if observers_first else []
    with started(ensemble, [*early, 1, 2, 3]):
        ensemble.wait_leader()
        if not observers_first:
            observer.launch()
        observer.wait_serving(WITHIN_S)
        for _ in range(20):
            session = Session().connect_when_possible(observer.address)
            session.end()
        session = Session().connect_when_possible(observer.address)
        last = session.do(calls.create2("/a", b""))[1].czxid
        session.end()
        poll("all is published", WITHIN_S, lambda: is_published(out, last) or None)
        rows = rows_of(out)
        expected = logged(ensemble.members[1])
    assert rows == expected[: len(rows)]
    assert rows[0]["zxid"] == expected[0]["zxid"]
    assert len(rows) > 40


@contextmanager
def started(ensemble, sids):
    for sid in sids:
        ensemble.members[sid].launch()
    try:
        yield
    finally:
        ensemble.kill()


def test_a_purge_asks_the_publishers(tmp_path):
    async def main():
        options = {"publisher.out.class": "jsonl", "publisher.out.file": tmp_path / "out"}
        async with AsyncEnsemble(1, options=options, folder=tmp_path / "ensemble") as ensemble:
            async with ensemble.client() as client:
                await client.create("/a")
                last = (await client.set_data("/a", b"")).mzxid
            await until_published(tmp_path / "out", last)
            purge = ensemble.members[1].running.purge
            # (The file has it a moment before the host knows.)
            await ensemble.wait("the host knows", lambda: purge.keep_zxid() >= last, WITHIN_S)

    asyncio.run(main())


@pytest.mark.java
@pytest.mark.slow
def test_the_changes_of_an_apache_ensemble(tmp_path):
    """One Zabra observer on three of Apache's; it and their leader are killed, and the file is their log."""
    apache.require_java()
    out = tmp_path / "out.jsonl"
    ports = free_ports(16, 14600, 14900)
    ensemble = Mixed([APACHE_39] * 3 + [ZABRA], tmp_path / "ensemble", observers=1, ports=ports)
    observer = ensemble.members[4]
    observer.cfg |= {"publisher.out.class": "jsonl", "publisher.out.file": str(out)}
    with ensemble:
        # The observer is there before anything is written: the file begins with the first txn of all.
        session = Session().connect_when_possible(ensemble.members[ensemble.wait_leader()].address)
        session.do(calls.create("/begun", b""))
        session.end()
        poll("the publisher has begun", WITHIN_S, lambda: (out.exists() and out.stat().st_size) or None)
        last = 0
        for part in range(4):
            session = Session().connect_when_possible(ensemble.members[ensemble.wait_leader()].address)
            session.do(calls.create2(f"/part-{part}", b"\x00\xff"))
            for number in range(100):
                if (part, number) == (1, 50):
                    observer.kill()
                    observer.launch()
                last = session.do(calls.set_data(f"/part-{part}", b"%d" % number)).mzxid
            session.end()
            if part == 2:
                leader = ensemble.members[ensemble.wait_leader()]
                leader.kill()
                leader.launch()
                leader.wait_serving()
        poll("all is published", WITHIN_S, lambda: is_published(out, last) or None)
        expected = logged(ensemble.members[ensemble.wait_leader()])
        rows = rows_of(out)
    assert rows == expected[: len(rows)]
    assert len(rows) >= 400
