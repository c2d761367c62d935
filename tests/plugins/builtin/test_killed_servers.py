"""Servers that publish to all targets at once are killed (SIGKILL), and so are the targets."""

import asyncio
import random
import signal

import pytest
from tests.interop.members import ZABRA, Mixed
from tests.interop.processes import free_ports
from tests.plugins.targets import kinds
from tests.plugins.targets.harness import until, zxid_of
from tests.plugins.targets.killing import (
    END_PORT,
    FIRST_PORT,
    Writer,
    assert_is_log,
    logged,
    publisher_options,
    standalone,
    until_published,
)

# On a machine that does a hundred other things.
START_S = 240


@pytest.fixture
def all_targets(targets):
    """All that can be had here, and all of them in CI."""
    return kinds.get_all()


def test_a_server_is_killed(all_targets, place, tmp_path):
    server = standalone(tmp_path / "server", publisher_options(all_targets, place))
    rng = random.Random(1)

    async def main():
        writer = Writer(server.address, rng)
        for _ in range(3):
            await asyncio.to_thread(server.start, START_S)
            enough = writer.acknowledged + rng.randrange(40, 150)
            await writer.run(lambda: writer.acknowledged >= enough)  # noqa: B023  run ends before the next
            server.kill()
        await asyncio.to_thread(server.start, START_S)
        await until_published(all_targets, place, writer.zxid)
        server.stop()

    try:
        asyncio.run(main())
    finally:
        server.kill()
    log = logged(server.data_dir)
    for target in all_targets.values():
        assert assert_is_log(target, target.rows(place), log) >= 100


@pytest.mark.campaign
def test_an_observer_its_leader_and_the_targets_are_killed(all_targets, place, tmp_path):
    """Three voters and an observer that publishes to all targets; something is killed all the time."""
    ports = free_ports(16, FIRST_PORT, END_PORT)
    ensemble = Mixed([ZABRA] * 4, tmp_path / "ensemble", observers=1, ports=ports)
    observer = ensemble.members[4]
    observer.cfg |= publisher_options(all_targets, place)
    rng = random.Random(7)
    kills = dict.fromkeys(["observer", "leader", "target"], 0)

    def kill_something():
        victim = rng.choice(["observer", "observer", "target", "target", "leader"])
        kills[victim] += 1
        if victim == "target":
            target = rng.choice(list(all_targets.values()))
            target.kill()
            target.start()
            return
        member = observer if victim == "observer" else ensemble.members[ensemble.wait_leader()]
        member.signal(signal.SIGKILL)
        member.kill()
        member.start(START_S)

    async def main():
        done = False
        addresses = ",".join([ensemble.members[sid].address for sid in (1, 2, 3)])
        writers = [Writer(addresses, random.Random(seed)) for seed in range(2)]
        writing = [asyncio.ensure_future(writer.run(lambda: done)) for writer in writers]
        for _ in range(12):
            await asyncio.to_thread(kill_something)
            enough = writers[0].acknowledged + rng.randrange(20, 120)
            await until(lambda: writers[0].acknowledged >= enough)  # noqa: B023  ends before the next
        done = True
        await asyncio.gather(*writing)
        await until_published(all_targets, place, max(writer.zxid for writer in writers))

    with ensemble:
        asyncio.run(main())
        leader = ensemble.members[ensemble.wait_leader()]
        # What was never acknowledged is committed too once somebody leads; it is published in its turn.
        ensemble.stop()
        log = logged(leader.data_dir)
    published = 0
    for target in all_targets.values():
        rows = target.rows(place)
        last = zxid_of(rows[-1])
        published += assert_is_log(target, rows, [row for row in log if zxid_of(row) <= last])
    print(f"txns published: {published}; killed: {kills}")
