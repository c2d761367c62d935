"""Both ends of the link on one loop: what is told, what is asked, what becomes of the process."""

import asyncio
import os
import socket

import pytest
from tests.plugins.door.doors import until
from tests.plugins.helpers import OPEN, MemoryLog, create

from zabra.plugins.changes import committed_txn
from zabra.plugins.door import server_end
from zabra.plugins.door.far_server import FarServer, LinkLost
from zabra.plugins.door.rights import plain
from zabra.plugins.door.server_end import DoorPort, DoorProcess, ServerEnd, restricts
from zabra.plugins.door.settings import NO_STATUS, DoorSettings, Status
from zabra.plugins.door.snapshots import SnapshotTooLarge
from zabra.plugins.feed import Feed
from zabra.plugins.tree_snapshots import TreeSnapshots
from zabra.proto import codes
from zabra.proto.records import ACL, CreateTxn, DeleteTxn, Id, SetDataTxn, TxnHeader
from zabra.proto.txn import decode_txn, encode_txn
from zabra.tree.acl_trail import AclTrail
from zabra.tree.datatree import DataTree

MINE = [ACL(codes.PERM_ALL, Id("digest", "me:x"))]
WITHIN_S = 20


class Pair:
    """A server's tree, and a door that hears of it."""

    def __init__(self, max_nodes=100):
        self.tree = DataTree()
        self.tree.acl_trail = AclTrail(0)
        self.near_feed = Feed(None, lambda: 0)
        self.far_feed = Feed(None, lambda: 0)
        self.begun = []
        self.lost = []
        snapshots = TreeSnapshots(self.near_feed, lambda: self.tree)
        self.near = ServerEnd(lambda: self.tree, snapshots, max_nodes, lambda: self.lost.append("near"))
        self.far = FarServer(self.begin, lambda: self.lost.append("far"))
        self.zxid = 0
        self.log = []

    def begin(self, settings):
        self.begun.append(settings)
        return self.far_feed

    async def connect(self):
        loop = asyncio.get_running_loop()
        for socket_, end in zip(socket.socketpair(), (self.near, self.far), strict=True):
            await loop.create_connection(lambda end=end: end, sock=socket_)
        self.near.tell(("hello", DoorSettings("", "", False, 1).message()))

    def do(self, record, kind):
        """A txn: applied, and told."""
        self.zxid += 1
        entry = decode_txn(encode_txn(TxnHeader(1, 1, self.zxid, 0, kind), record, None).raw)
        self.log.append(entry)
        self.tree.process_txn(entry.header, entry.record)
        self.near_feed.informed([entry])
        self.near.tell_txns([entry])
        return committed_txn(entry)

    def create(self, path, acl=OPEN):
        return self.do(CreateTxn(path, b"x", acl, False, -1), codes.OP_CREATE)

    def set(self, path, data):
        return self.do(SetDataTxn(path, data, 1), codes.OP_SET_DATA)

    def delete(self, path):
        return self.do(DeleteTxn(path), codes.OP_DELETE)

    async def close(self):
        if self.near.transport is not None:
            self.near.transport.close()
        async with asyncio.timeout(WITHIN_S):
            while len(self.lost) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)


def in_pair(test, **arguments):
    async def main():
        pair = Pair(**arguments)
        await pair.connect()
        try:
            await test(pair)
        finally:
            await pair.close()

    asyncio.run(main())


def test_txns_come_with_the_acls_before_them():
    async def test(pair):
        assert not restricts(pair.tree)
        pair.create("/open")
        pair.create("/mine", MINE)
        assert restricts(pair.tree)
        deleted = pair.delete("/mine")
        assert restricts(pair.tree)
        reading = pair.far_feed.subscribe(0)
        told = []
        while len(told) < 3:
            told += await reading.next()
        assert pair.begun == [DoorSettings("", "", False, 1)]
        assert [txn.zxid for txn in told] == [1, 2, 3]
        assert await pair.far.before(told) == [{}, {}, {"/mine": plain(MINE)}]
        # What has left memory is asked for.
        pair.far_feed.note_committed(9)
        assert await pair.far.before([deleted]) == [{"/mine": plain(MINE)}]
        pair.tree.acl_trail.unsure(3)
        assert await pair.far.before([deleted]) == [None]

    in_pair(test)


def test_what_everybody_may_read_is_not_asked_for():
    async def test(pair):
        txn = pair.create("/open")
        status = Status("observer", True, False, 1, 1, 1, 0, 1, 0, 0)
        pair.near.tell(("status", status.message()))
        async with asyncio.timeout(WITHIN_S):
            while pair.far.status != status:  # noqa: ASYNC110
                await asyncio.sleep(0)
        pair.near.transport.pause_reading()
        assert await pair.far.before([txn]) == [{}]
        assert pair.far.floor() == 0

    in_pair(test)


def test_the_acl_of_now():
    async def test(pair):
        pair.create("/mine", MINE)
        assert await pair.far.acl_now("/mine") == plain(MINE)
        assert await pair.far.acl_now("/none") is None
        pair.delete("/mine")
        # Remembered for a moment.
        assert await pair.far.acl_now("/mine") == plain(MINE)

    in_pair(test)


def test_snapshots_in_parts(monkeypatch):
    monkeypatch.setattr(server_end, "SNAPSHOT_PART", 7)

    async def test(pair):
        pair.create("/a")
        for number in range(30):
            pair.create(f"/a/{number}", MINE if number % 3 else OPEN)
        snapshot = await pair.far.snapshot("/a")
        assert snapshot.zxid == 31
        seen = {node[0]: snapshot.acl(place) for place, node in enumerate(snapshot.nodes)}
        assert len(seen) == 31
        assert seen["/a/1"] == plain(MINE)
        assert seen["/a/3"] is None
        assert b'"perms":"rwcda"' in snapshot.text(0)
        assert (await pair.far.snapshot("/none")).nodes == []
        pair.create("/b")
        for number in range(100):
            pair.create(f"/b/{number}")
        with pytest.raises(SnapshotTooLarge, match=r"/b has more than 100 nodes.*maxSnapshotNodes"):
            await pair.far.snapshot("/b")

    in_pair(test)


def test_questions_end_with_the_link():
    async def test(pair):
        pair.near.transport.pause_reading()
        asking = asyncio.ensure_future(pair.far.acl_now("/a"))
        await asyncio.sleep(0)
        pair.near.transport.abort()
        with pytest.raises(LinkLost):
            await asking
        with pytest.raises(LinkLost):
            await pair.far.acl_now("/b")

    in_pair(test)


def test_a_process_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(server_end, "WAITING_BYTES_MAX", 1_000_000)
    monkeypatch.setattr(server_end, "HUNG_S", 0.05)

    async def test(pair):
        pair.far._transport.pause_reading()
        async with asyncio.timeout(WITHIN_S):
            while "near" not in pair.lost:
                pair.near.tell_txns([create(1, data=b"x" * 100_000)])
                pair.near.tell(("status", NO_STATUS.message()))
                await asyncio.sleep(0)
        assert pair.near.left_out > 0
        pair.far._transport.close()

    in_pair(test)


def test_what_a_slow_process_is_not_told_it_reads_from_the_log(monkeypatch):
    """Nobody is cut off, little waits, and each txn comes once, with its ACLs."""
    monkeypatch.setattr(server_end, "WAITING_BYTES_MAX", 200_000)

    async def test(pair):
        log = MemoryLog()
        pair.far_feed = Feed(log.open, lambda: log.last())
        pair.near.tell(("hello", DoorSettings("", "", False, 1).message()))
        await asyncio.sleep(0)
        pair.far._transport.pause_reading()
        wanted = []
        for number in range(300):
            pair.create(f"/{number}", MINE if number % 3 else OPEN)
            wanted.append(pair.set(f"/{number}", b"x" * 10_000))
            log.entries = pair.log
            assert pair.near.transport.get_write_buffer_size() < 400_000
            await asyncio.sleep(0)
        assert pair.near.left_out > 300
        pair.far._transport.resume_reading()
        last = pair.create("/last")
        reading = pair.far_feed.subscribe(0)
        told, acls = [], []
        async with asyncio.timeout(WITHIN_S):
            while not told or told[-1].zxid < last.zxid:
                if pair.near.transport.get_write_buffer_size() == 0:
                    # As its state, sent five times a second, says.
                    pair.far_feed.note_committed(last.zxid)
                if pair.far_feed.committed > reading.after:
                    some = await reading.next()
                    told += some
                    acls += await pair.far.before(some)
                await asyncio.sleep(0)
        assert [txn.zxid for txn in told] == list(range(1, last.zxid + 1))
        found = {txn.changes[0].path: acl for txn, acl in zip(told, acls, strict=True) if txn.op == "setData"}
        assert found == {
            f"/{number}": {f"/{number}": plain(MINE)} if number % 3 else {} for number in range(300)
        }
        assert pair.lost == []

    in_pair(test)


def test_a_process_that_dies_is_started_anew_on_the_same_port(tmp_path):
    async def main():
        port = DoorPort("127.0.0.1", 0, DoorSettings(str(tmp_path), str(tmp_path), False, 1))
        tree = DataTree()
        tree.acl_trail = AclTrail(0)
        snapshots = TreeSnapshots(Feed(None, lambda: 0), lambda: tree)
        door = DoorProcess(port, lambda: tree, snapshots, lambda: NO_STATUS)
        door.start()
        try:
            for start in (1, 2):
                async with asyncio.timeout(WITHIN_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    assert b'"status":"ok"' in await reader.read()
                    writer.close()
                    assert door.starts == start
                    process = door.process
                    process.kill()
                    await until(lambda old=process: door.process is not old)
        finally:
            await door.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(door.process.pid, 0)

    asyncio.run(main())


def test_a_port_in_use_is_an_error():
    settings = DoorSettings("", "", False, 1)
    one = DoorPort("127.0.0.1", 0, settings)
    with pytest.raises(OSError, match="in use"):
        DoorPort("127.0.0.1", one.port, settings)
    one.close()
