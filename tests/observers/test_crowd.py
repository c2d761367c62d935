"""Fifty observers join and leave an ensemble that is written to, half of them without a ``server.N`` line.

All servers run in this process (``zabra.testing``); ``bench/crowd.py`` does it with processes and a clock.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.reconfig.test_views import OPTIONS, Writer, check_written

from zabra.server.session_claim import RANGE_BITS
from zabra.testing import AsyncEnsemble

# With so many servers on one thread, ticks of 200 ms would be missed.
SLOW_TICKS = {"tickTime": "1000", "initLimit": "30", "syncLimit": "20", "snapCount": "100000"}


async def crowd(count: int) -> None:
    """``count`` come, the leader is killed, half of them leave."""
    options = {**OPTIONS, **SLOW_TICKS}
    async with AsyncEnsemble(3, options=options, relays=True) as ensemble, Writer(ensemble) as writer:
        listed: list[int] = []
        joined: list[int] = []
        relay = 0
        for number in range(count // 2):
            sid = await add_listed(ensemble)
            listed.append(sid)
            # In turn: under the leader, under a follower, under an observer.
            under = [[], ensemble.followers[:1], [relay] if relay else ensemble.followers][number % 3]
            sid = await ensemble.join(*under)
            joined.append(sid)
            if number == 1:
                # A relay for the others to stand under.
                relay = sid
                await ensemble.wait_ready(relay)
        await ensemble.wait_ready()
        await writer.more(ensemble)
        await check(ensemble, listed, joined)
        # The leader dies: everybody is back, and nobody's session is somebody else's.
        old = ensemble.leader
        await ensemble.kill(old)
        await ensemble.wait_leader()
        await ensemble.wait_ready(*listed, *joined)
        await writer.more(ensemble)
        await ensemble.start(old)
        await ensemble.wait_ready(old)
        # Half of each kind leave, one kind by reconfiguration, one without a word.
        async with ensemble.client(*ensemble.followers, timeout_ms=30_000) as admin:
            gone = listed[::2]
            await admin.reconfig(leaving=",".join([str(sid) for sid in gone]))
            for sid in [*gone, *joined[2::2]]:
                await ensemble.stop(sid)
        stay, stay_joined = listed[1::2], joined[:2] + joined[3::2]
        await ensemble.wait_ready(*stay, *stay_joined)
        await check(ensemble, stay, stay_joined)
        async with ensemble.client(stay_joined[-1], timeout_ms=30_000) as client:
            await check_written(client, writer)


async def add_listed(ensemble: AsyncEnsemble) -> int:
    """An observer with a line in everybody's view."""
    sid = await ensemble.add(observer=True)
    async with ensemble.client(1, 2, 3, timeout_ms=30_000) as admin:
        await admin.reconfig(joining=ensemble.members[sid].line)
    return sid


async def check(ensemble: AsyncEnsemble, listed: list[int], joined: list[int]) -> None:
    """Every view is right, and session ids are everybody's own."""
    running = [member for member in ensemble.members.values() if member.running is not None]

    def views_are_right() -> bool:
        for member in running:
            assert member.running is not None
            peer = member.running.server.peer
            assert peer is not None
            if peer.config.voters() != [1, 2, 3] or peer.config.observers() != listed:
                return False
        return True

    await ensemble.wait("all views are right", views_are_right)
    ids = []
    for sid in [*listed, *joined]:
        client = ensemble.client(sid, timeout_ms=30_000)
        await client.start()
        ids.append(client.session.session_id)
        await client.close()
    assert len(set(ids)) == len(ids)
    ranges = [one >> RANGE_BITS for one in ids]
    assert len(set(ranges)) == len(ranges), "two servers make session ids of one range"
    syncers = [member.running.server.relay() for member in running if member.running is not None]
    assert sum(len(one.handlers) for one in syncers if one is not None) > 0


def test_a_few_observers_join_and_leave_under_load() -> None:
    asyncio.run(crowd(6))


@pytest.mark.campaign
def test_fifty_observers_join_and_leave_under_load() -> None:
    asyncio.run(crowd(50))
