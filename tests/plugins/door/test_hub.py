"""The hub: whatever subscribers do, each is told everything it asked for, in order, once."""

import asyncio
import json
import random

import pytest
from tests.plugins.helpers import E1, E2, OPEN, MemoryLog, create

from zabra.auth.registry import Providers, default_providers
from zabra.plugins.door.hub import Hub
from zabra.plugins.door.query import FeedQuery
from zabra.plugins.door.rights import UNKNOWN, Reader, plain
from zabra.plugins.door.settings import DoorSettings, Status
from zabra.plugins.door.snapshots import Snapshot, Snapshots
from zabra.plugins.feed import Compacted, Feed
from zabra.proto import codes
from zabra.proto.records import ACL, DeleteTxn, Id, TxnHeader
from zabra.proto.txn import decode_txn, encode_txn

SETTINGS = DoorSettings("", "", True, 1, heartbeat_ms=50)
STATUS = Status("observer", True, False, 0, 0, 0, 0, -1, 3, 1)
WITHIN_S = 20
MINE = plain([ACL(codes.PERM_ALL, Id("digest", "me:x"))])


class FakeSink:
    """Notes what it is sent; may be paused, and resumes when it is told."""

    def __init__(self, room=1 << 30):
        self.rows = []
        self.room = room
        self.ended = False
        self.resumed = asyncio.Event()
        self.upto = 0

    @property
    def is_paused(self):
        return self.room <= 0

    def send(self, data, upto):
        assert not self.ended
        assert upto >= self.upto
        self.upto = upto
        # (As a chunk of NDJSON.)
        head, _, body = data.partition(b"\r\n")
        assert int(head, 16) == len(body) - 2
        self.rows += [json.loads(line) for line in body.splitlines() if line]
        self.room -= 1

    def end(self, data):
        self.send(data, self.upto)
        self.ended = True

    async def writable(self):
        while self.is_paused:
            self.resumed.clear()
            await self.resumed.wait()

    def resume(self, room):
        self.room = room
        self.resumed.set()

    @property
    def zxids(self):
        return [int(row["zxid"], 16) for row in self.rows if "zxid" in row]


class World:
    """A log, a feed of it, and a hub."""

    def __init__(self, memory_txns=20):
        self.log = MemoryLog()
        self.feed = Feed(self.log.open, self.log.last, memory_txns=memory_txns)
        self.restricted = {}
        self.acl_floor = 0
        self.took = 0
        self.hub = Hub(self.feed, self, Snapshots(self.take), SETTINGS, lambda: STATUS)
        self.tasks = [asyncio.create_task(self.hub.run()), asyncio.create_task(self.hub.keep_in_touch())]
        self.zxid = E1

    def reader(self, name="", sees_all=False):
        ids = [Id("super", "")] if sees_all else [Id("digest", name)] if name else []
        return Reader(Providers(default_providers()), ids)

    def write(self, count=1, path=None):
        entries = []
        for _ in range(count):
            self.zxid += 1
            entries.append(create(self.zxid, path))
        self.log.entries += entries
        self.feed.informed(entries)

    def floor(self):
        return self.acl_floor

    async def before(self, txns):
        await asyncio.sleep(0)
        return [UNKNOWN if txn.zxid <= self.acl_floor else self.restricted.get(txn.zxid, {}) for txn in txns]

    async def take(self, path):
        self.took += 1
        nodes = [(path, b"", 0, 0, 0, 1, 1), (path + "/mine", b"", 0, 1, 0, 1, 1)]
        return Snapshot(self.zxid, nodes, [None, MINE], [plain(OPEN), MINE])

    def subscribe(self, room=1 << 30, reader=None, **query):
        sink = FakeSink(room)
        subscriber = self.hub.add(FeedQuery(format="ndjson", **query), reader or self.reader(), sink)
        return sink, subscriber

    async def until(self, condition):
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                await asyncio.sleep(0)
                for task in self.tasks:
                    assert not task.done() or task.result()

    async def close(self):
        for task in self.tasks:
            task.cancel()
        for subscriber in list(self.hub.subscribers):
            self.hub.remove(subscriber)
        await asyncio.gather(*self.tasks, return_exceptions=True)


def in_world(test, **arguments):
    async def main():
        world = World(**arguments)
        world.write()
        await world.until(lambda: world.hub.position == world.zxid)
        try:
            await test(world)
        finally:
            await world.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "seed", [*range(6), *[pytest.param(seed, marks=pytest.mark.campaign) for seed in range(6, 12)]]
)
def test_nothing_is_missed_and_nothing_comes_twice(seed):
    rng = random.Random(seed)

    async def test(world):
        everybody = []
        reader = world.reader()
        for _ in range(150):
            draw = rng.random()
            if draw < 0.5:
                world.write(rng.randint(1, 15))
            elif draw < 0.65:
                since = rng.choice([None, E1, world.zxid, rng.randint(E1, world.zxid)])
                began = world.hub.position if since is None else since
                sink, subscriber = world.subscribe(rng.choice([1, 3, 1 << 30]), reader, since=since)
                everybody.append((sink, subscriber, began))
            elif draw < 0.8 and everybody:
                rng.choice(everybody)[0].resume(rng.choice([1, 4, 100]))
            elif draw < 0.83 and everybody:
                sink, subscriber, began = rng.choice(everybody)
                world.hub.remove(subscriber)
            for _ in range(rng.randint(0, 6)):
                await asyncio.sleep(0)
        for sink, _, _ in everybody:
            sink.resume(1 << 30)
        there = [one for one in everybody if not one[1].is_gone]
        assert there
        await world.until(lambda: all(one[1].channel is not None for one in there))
        await world.until(lambda: world.hub.position == world.zxid)
        for sink, subscriber, began in everybody:
            wanted = list(range(began + 1, world.zxid + 1))
            if subscriber.is_gone:
                assert sink.zxids == wanted[: len(sink.zxids)]
            else:
                assert sink.zxids == wanted

    in_world(test)


def test_paths_and_ops():
    async def test(world):
        on_a, _ = world.subscribe(path="/a")
        below, _ = world.subscribe(path="/a/b")
        deletes, _ = world.subscribe(ops=("delete",))
        everything, _ = world.subscribe()
        await world.until(lambda: everything.rows)
        for path in ("/a", "/ab", "/a/b", "/a/b/c"):
            world.write(path=path)
        await world.until(lambda: len(everything.zxids) == 4)
        first = world.zxid - 3
        assert on_a.zxids == [first, first + 2, first + 3]
        assert below.zxids == [first + 2, first + 3]
        assert deletes.zxids == []
        # They are told how far the feed has come all the same.
        await world.until(lambda: deletes.rows[-1]["bookmark"] == hex(world.zxid))

    in_world(test)


def test_rights_in_channels_and_behind():
    async def test(world):
        nobody, _ = world.subscribe()
        me, _ = world.subscribe(reader=world.reader("me:x"))
        await world.until(lambda: nobody.rows and me.rows)
        began = world.zxid
        header = TxnHeader(1, 1, began + 1, 0, codes.OP_DELETE)
        entry = decode_txn(encode_txn(header, DeleteTxn("/mine"), None).raw)
        world.restricted[began + 1] = {"/mine": MINE}
        world.zxid += 1
        world.log.entries.append(entry)
        world.feed.informed([entry])
        world.write()
        await world.until(lambda: world.zxid in nobody.zxids and world.zxid in me.zxids)
        assert nobody.zxids == [began + 2]
        assert me.zxids == [began + 1, began + 2]
        for reader, wanted in ((world.reader(), nobody), (world.reader("me:x"), me)):
            again, subscriber = world.subscribe(reader=reader, since=began)
            await world.until(lambda one=subscriber: one.channel is not None)
            assert again.zxids == wanted.zxids

    in_world(test)


def test_where_acls_are_not_known_history_is_compacted():
    async def test(world):
        began = world.zxid
        nobody, subscriber = world.subscribe()
        everything, _ = world.subscribe(reader=world.reader(sees_all=True))
        await world.until(lambda: nobody.rows and everything.rows)
        world.acl_floor = began + 2
        world.write(3)
        await world.until(lambda: nobody.ended)
        assert nobody.rows[-1]["error"] == "compacted"
        assert int(nobody.rows[-1]["oldest"], 16) == began + 3
        assert subscriber.is_gone
        await world.until(lambda: everything.zxids == [began + 1, began + 2, began + 3])
        with pytest.raises(Compacted):
            await world.hub.begin_at(FeedQuery(since=began), world.reader())
        assert (await world.hub.begin_at(FeedQuery(since=0), world.reader())).since == began + 2
        assert (await world.hub.begin_at(FeedQuery(since=0), world.reader(sees_all=True))).since == E1

    in_world(test)


def test_history_that_was_replaced():
    async def test(world):
        plain_one, _ = world.subscribe()
        wants, _ = world.subscribe(path="/s", snapshot=True, since=world.zxid)
        await world.until(lambda: plain_one.rows and wants.rows)
        # A SNAP: the log begins anew, in another epoch.
        world.log.entries.clear()
        world.zxid = E2 + 5
        world.write()
        await world.until(lambda: plain_one.ended)
        assert plain_one.rows[-1]["error"] == "compacted"
        await world.until(lambda: any("snapshotEnd" in row for row in wants.rows))
        world.write(path="/s/after")
        await world.until(lambda: wants.zxids == [world.zxid])

    in_world(test)


def test_snapshots_are_shared_and_show_what_may_be_read():
    async def test(world):
        nobody, first = world.subscribe(path="/s", snapshot=True)
        me, second = world.subscribe(path="/s", snapshot=True, reader=world.reader("me:x"))
        await world.until(lambda: first.channel is not None and second.channel is not None)
        assert world.took == 1
        assert [next(iter(row)) for row in nobody.rows] == ["snapshot", "node", "snapshotEnd", "bookmark"]
        assert nobody.rows[2]["nodes"] == 1
        assert [row["node"]["path"] for row in me.rows if "node" in row] == ["/s", "/s/mine"]

    in_world(test)


def test_one_that_is_ahead_of_its_server_waits_and_skips():
    async def test(world):
        ahead = world.zxid + 3
        sink, _ = world.subscribe(since=ahead)
        await world.until(lambda: sink.rows)
        assert sink.rows[0]["behind"] == hex(world.zxid)
        for _ in range(5):
            world.write()
            await asyncio.sleep(0)
        await world.until(lambda: len(sink.zxids) == 2)
        assert sink.zxids == [ahead + 1, ahead + 2]

    in_world(test)


def test_a_log_that_cannot_be_read_ends_the_subscriber_in_words():
    async def test(world):
        world.write(50)
        await world.until(lambda: world.hub.position == world.zxid)

        def broken(since):
            raise OSError("the disk is gone")

        world.feed._open_history = broken
        sink, _ = world.subscribe(since=E1 + 1)
        await world.until(lambda: sink.ended)
        assert sink.rows[-1] == {"error": "failed", "message": "the disk is gone"}

    in_world(test)
