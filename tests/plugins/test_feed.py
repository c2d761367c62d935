"""The feed: in order, without gaps, from memory or from the log; never what is not committed."""

import asyncio
import random

import pytest
from tests.plugins.helpers import E1, E2, E3, MemoryLog, create

from zabra.plugins.feed import Compacted, Feed


def new_feed(log, **limits):
    return Feed(log.open, lambda: log.last(), **limits)


def tell(feed, log, *zxids, on_disk=True):
    entries = [create(zxid) for zxid in zxids]
    if on_disk:
        log.entries += entries
    feed.informed(entries)


async def read_until(reading, zxid):
    zxids = []
    while reading.after < zxid:
        zxids += [txn.zxid for txn in await reading.next(max_txns=7, max_bytes=700)]
    return zxids


def test_from_memory_then_live():
    async def main():
        log = MemoryLog()
        feed = new_feed(log)
        tell(feed, log, E1 + 1, E1 + 2)
        reading = feed.subscribe(E1)
        assert await read_until(reading, E1 + 2) == [E1 + 1, E1 + 2]
        waiting = asyncio.ensure_future(reading.next())
        await asyncio.sleep(0)
        assert not waiting.done()
        tell(feed, log, E1 + 3)
        assert [txn.zxid for txn in await waiting] == [E1 + 3]
        assert log.opened == 0

    asyncio.run(main())


def test_memory_is_bounded_and_the_rest_comes_from_the_log():
    async def main():
        log = MemoryLog()
        feed = new_feed(log, memory_txns=10)
        zxids = list(range(E1 + 1, E1 + 201))
        for zxid in zxids:
            tell(feed, log, zxid)
            assert feed.memory_txns <= 10
        assert len(feed._txns) <= 100
        assert await read_until(feed.subscribe(E1), zxids[-1]) == zxids
        assert log.opened == 1
        small = new_feed(log, memory_bytes=1)
        tell(small, log, E1 + 201)
        assert (small.memory_txns, small.memory_bytes) == (0, 0)
        assert await read_until(small.subscribe(E1 + 150), E1 + 201) == list(range(E1 + 151, E1 + 202))

    asyncio.run(main())


def test_what_was_not_told_is_read_from_the_log():
    """A synchronisation commits txns without INFORMs; so does an election."""

    async def main():
        log = MemoryLog()
        feed = new_feed(log)
        tell(feed, log, E1 + 1)
        reading = feed.subscribe(E1)
        assert await read_until(reading, E1 + 1) == [E1 + 1]
        log.entries += [create(E1 + 2), create(E1 + 3)]
        tell(feed, log, E1 + 4)
        assert await read_until(reading, E1 + 4) == [E1 + 2, E1 + 3, E1 + 4]
        log.entries += [create(E1 + 5)]
        feed.note_committed(E1 + 5)
        assert await read_until(reading, E1 + 5) == [E1 + 5]

    asyncio.run(main())


def test_the_end_of_an_epoch_may_have_been_missed():
    """0x200000001 follows 0x100000001 by its number; 0x100000002 was committed in between, silently."""

    async def main():
        log = MemoryLog()
        feed = new_feed(log)
        tell(feed, log, E1 + 1)
        reading = feed.subscribe(E1 + 1)
        log.entries.append(create(E1 + 2))
        tell(feed, log, E2 + 1)
        feed.note_committed(E3)
        assert feed.committed == E2 + 1
        assert await read_until(reading, E2 + 1) == [E1 + 2, E2 + 1]

    asyncio.run(main())


def test_the_first_txn_of_all_is_on_its_way_to_the_log():
    """A log that begins with the snapshot of an empty tree has reached a zxid that is nobody's."""

    async def main():
        log = MemoryLog()
        feed = Feed(log.open, lambda: max(E1, log.last()))
        feed.note_committed(E1)
        reading = feed.subscribe(0)
        waiting = asyncio.ensure_future(reading.next())
        tell(feed, log, E1 + 1, on_disk=False)
        while not log.opened:  # noqa: ASYNC110  a thread reads it
            await asyncio.sleep(0)
        assert not waiting.done()
        log.entries += [create(E1 + 1)]
        assert [txn.zxid for txn in await waiting] == [E1 + 1]

    asyncio.run(main())


def test_logged_is_not_committed():
    async def main():
        log = MemoryLog()
        feed = new_feed(log, memory_txns=1)
        tell(feed, log, E1 + 1, E1 + 2, E1 + 3)
        log.entries += [create(E1 + 4), create(E1 + 5)]
        reading = feed.subscribe(E1)
        assert await read_until(reading, E1 + 3) == [E1 + 1, E1 + 2, E1 + 3]
        waiting = asyncio.ensure_future(reading.next())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        # They were never committed: another leader's txns take their place.
        log.entries[3:] = []
        tell(feed, log, E2 + 1)
        assert [txn.zxid for txn in await waiting] == [E2 + 1]

    asyncio.run(main())


def test_committed_before_it_is_in_the_log():
    async def main():
        log = MemoryLog()
        feed = new_feed(log, memory_txns=1)
        tell(feed, log, E1 + 1, E1 + 2, E1 + 3, on_disk=False)
        waiting = asyncio.ensure_future(read_until(feed.subscribe(E1), E1 + 3))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        log.entries += [create(E1 + 1), create(E1 + 2), create(E1 + 3)]
        assert await waiting == [E1 + 1, E1 + 2, E1 + 3]

    asyncio.run(main())


def test_compacted():
    async def main():
        log = MemoryLog()
        feed = new_feed(log, memory_txns=1)
        tell(feed, log, *range(E1 + 1, E1 + 11))
        del log.entries[:4]
        with pytest.raises(Compacted) as caught:
            await feed.subscribe(E1 + 2).next()
        assert (caught.value.since, caught.value.oldest) == (E1 + 2, E1 + 5)
        assert await read_until(feed.subscribe(E1 + 4), E1 + 10) == list(range(E1 + 5, E1 + 11))
        # A SNAP: the log is empty, and what comes next is behind the snapshot.
        log.entries = []
        log.last = lambda: E1 + 20
        feed.note_committed(E1 + 20)
        with pytest.raises(Compacted):
            await feed.subscribe(E1 + 10).next()
        without = Feed(None, lambda: 0, memory_txns=1)
        tell(without, log, E1 + 1, E1 + 2)
        with pytest.raises(Compacted, match="oldest = 0x100000002"):
            await without.subscribe(0).next()

    asyncio.run(main())


def test_ahead_of_the_server_waits_and_skips():
    async def main():
        log = MemoryLog()
        feed = new_feed(log)
        feed.note_committed(E1 + 3)
        reading = feed.subscribe(E1 + 5)
        waiting = asyncio.ensure_future(reading.next())
        for zxid in (E1 + 4, E1 + 5):
            tell(feed, log, zxid)
            await asyncio.sleep(0)
            assert not waiting.done()
        tell(feed, log, E1 + 6, E1 + 7)
        assert [txn.zxid for txn in await waiting] == [E1 + 6, E1 + 7]

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(12))
def test_every_reader_gets_the_log(seed):
    """Readers of every speed, with silence, epochs and rereads in between: each gets each txn once."""
    rng = random.Random(seed)

    async def main():
        log = MemoryLog()
        feed = new_feed(log, memory_txns=rng.choice([1, 5, 50]))
        everything = []
        readers = [(since := 0, feed.subscribe(since), []) for _ in range(3)]
        zxid = E1
        for _ in range(60):
            told = []
            for _ in range(rng.randrange(1, 12)):
                zxid = ((zxid >> 32) + 1 << 32) + 1 if rng.random() < 0.03 else zxid + 1
                everything.append(zxid)
                log.entries.append(create(zxid))
                told.append(log.entries[-1])
            silent = rng.randrange(len(told) + 1) if rng.random() < 0.2 else 0
            feed.informed(told[silent:])
            if silent == len(told):
                feed.note_committed(zxid)
            for _, reading, got in readers:
                if rng.random() < 0.5 and reading.is_behind:
                    got += [txn.zxid for txn in await reading.next(rng.randrange(1, 9))]
                if got and rng.random() < 0.1:
                    del got[rng.randrange(len(got)) :]
                    reading.__init__(feed, got[-1] if got else 0)
        for _, reading, got in readers:
            got += await read_until(reading, zxid)
            assert got == everything

    asyncio.run(main())
