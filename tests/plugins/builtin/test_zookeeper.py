"""The mirror against a ZooKeeper in memory: what it makes, what it refuses, what it repairs."""

import asyncio

import pytest
from tests.plugins.conformance.passing import virtual
from tests.plugins.memory_zookeeper import MemorySession, MemoryZooKeeper

from zabra.client import calls
from zabra.plugins.builtin.zookeeper import DivergedError, ZooKeeperPublisher
from zabra.plugins.conformance.virtual_time import run_virtual
from zabra.plugins.mirror_plan import Cursor
from zabra.plugins.publisher import (
    WANTS_SNAPSHOT,
    Change,
    CommittedTxn,
    PublisherContext,
    Snap,
    SnapNode,
)
from zabra.plugins.registry import PublisherError, plan_publisher
from zabra.proto.records import ACL, Id

OPEN = tuple(calls.OPEN_ACL)
MINE = (ACL(31, Id("digest", "a:b")),)
SESSION = 0x1000000A
CURSOR = "/zabra-mirrors/m"
CONTEXT = PublisherContext("m", {}, 1, "/x")


def node(path, data=b"", owner=0, acl=OPEN):
    return SnapNode(path, data, 0, acl, owner, 1, 1)


def snapshot(zxid, *nodes):
    async def all_nodes():
        for one in nodes:
            yield one

    return Snap(zxid, all_nodes())


def txn(zxid, *changes, op="multi"):
    return CommittedTxn(zxid, 1, SESSION, 1, op, tuple(changes), b"")


def create(path, data=b"", owner=0, acl=OPEN):
    return Change(0, "create", path, data, 0, acl, owner)


class Mirror:
    """Publishers one after the other, for one target."""

    def __init__(self, **options):
        self.zookeeper = MemoryZooKeeper()
        self.options = ZooKeeperPublisher.Options("unused", **{"target": "/y", **options})
        self.sessions = []
        self.publisher = None

    async def open(self, context=CONTEXT):
        async def open_session(options):
            self.sessions.append(MemorySession(self.zookeeper))
            return self.sessions[-1]

        self.publisher = ZooKeeperPublisher(self.options, open_session)
        return await self.publisher.open(context)

    async def begin(self, *nodes, zxid=5):
        assert await self.open() == WANTS_SNAPSHOT
        await self.publisher.snap(snapshot(zxid, *nodes))

    @property
    def there(self):
        return self.zookeeper.below("/y", "/y")

    def write(self, call):
        return self.zookeeper.carry_out(call)


def run(main):
    asyncio.run(main())


def test_a_snapshot_then_txns_then_again():
    async def main():
        mirror = Mirror()
        await mirror.begin(node("/x", b"top"), node("/x/a", None, acl=MINE), node("/x/e", owner=SESSION))
        assert mirror.there == {"/y": b"top", "/y/a": None}
        assert mirror.zookeeper.tree.acl_of(mirror.zookeeper.tree.find("/y/a")) == list(MINE)
        txns = [
            txn(
                6,
                create("/x/b", b"1"),
                Change(1, "setData", "/x/a", b"2", 1),
                Change(2, "setData", "/x/e", b""),
            ),
            txn(7, Change(0, "setACL", "/x/a", acl=OPEN)),
            txn(8, op="error"),
        ]
        assert await mirror.publisher.inform(txns) == 8
        assert mirror.there == {"/y": b"top", "/y/a": b"2", "/y/b": b"1"}
        assert mirror.zookeeper.tree.acl_of(mirror.zookeeper.tree.find("/y/a")) == list(OPEN)
        await mirror.publisher.close()
        assert mirror.sessions[0].closed
        assert await mirror.open() == 8
        # That /x/e was left out is not known any more.
        assert await mirror.publisher.inform([txn(9, Change(0, "setData", "/x/e", b""), create("/x/c"))]) == 9
        assert "/y/c" in mirror.there
        assert mirror.zookeeper.cursor(CURSOR).zxid == 9

    run(main)


def test_what_it_may_not_do_is_said():
    async def main():
        mirror = Mirror()
        await mirror.begin(node("/x"), node("/x/p", acl=(ACL(1, Id("world", "anyone")),)), node("/x/p/c"))
        mirror.zookeeper.ids = [Id("ip", "127.0.0.1")]
        # A session's end at the source: nobody asks for rights there.
        assert await mirror.publisher.inform([txn(6, Change(0, "delete", "/x/p/ephemeral"))]) == 6
        with pytest.raises(
            PermissionError, match=r"NOAUTH for /y/p/c: a mirror that copies ACLs needs a super"
        ):
            await mirror.publisher.inform([txn(7, Change(0, "delete", "/x/p/c"))])

    run(main)


def test_a_copy_touches_only_what_is_different():
    async def main():
        mirror = Mirror(overwrite=True)
        for path in ("/y", "/y/same", "/y/other", "/y/gone", "/y/gone/too", "/z"):
            mirror.write(calls.create(path, b"1"))
        mirror.write(calls.create("/y/eph", b"1", flags=1))
        before = mirror.zookeeper.tree.find("/y/same").mzxid
        await mirror.begin(
            node("/x", b"1"),
            node("/x/same", b"1"),
            node("/x/other", b"2"),
            node("/x/eph", b"1"),
            node("/x/new"),
        )
        assert mirror.there == {
            "/y": b"1", "/y/same": b"1", "/y/other": b"2", "/y/eph": b"1", "/y/new": b"",
        }  # fmt: skip
        assert mirror.zookeeper.tree.find("/y/eph").ephemeral_owner == 0
        assert mirror.zookeeper.tree.find("/y/same").mzxid == before
        assert mirror.zookeeper.data("/z") == b"1"

    run(main)


def test_the_source_is_not_there():
    async def main():
        mirror = Mirror(overwrite=True)
        mirror.write(calls.create("/y", b""))
        await mirror.begin()
        assert mirror.there == {}
        await mirror.publisher.inform([txn(6, create("/x")), txn(7, create("/x/a"))])
        assert list(mirror.there) == ["/y", "/y/a"]

    run(main)


def test_somebody_elses_nodes_are_not_overwritten():
    async def main():
        mirror = Mirror()
        mirror.write(calls.create("/y", b""))
        mirror.write(calls.create("/y/precious", b""))
        with pytest.raises(DivergedError, match=r"/y has 1 nodes .* \(precious first\): overwrite=true"):
            await mirror.open()
        assert mirror.there == {"/y": b"", "/y/precious": b""}

    run(main)


def test_a_copy_that_was_cut_off_begins_anew():
    async def main():
        mirror = Mirror()
        assert await mirror.open() == WANTS_SNAPSHOT

        async def cut():
            yield node("/x")
            raise ConnectionError

        with pytest.raises(ConnectionError):
            await mirror.publisher.snap(Snap(5, cut()))
        assert await mirror.open() == WANTS_SNAPSHOT
        await mirror.publisher.snap(snapshot(6, node("/x"), node("/x/a")))
        assert await mirror.open() == 6

    run(main)


def test_other_choices_are_another_mirror():
    async def main():
        mirror = Mirror()
        await mirror.begin(node("/x"))
        mirror.options = ZooKeeperPublisher.Options("unused", "/y", acls="open")
        assert await mirror.open() == WANTS_SNAPSHOT

    run(main)


def test_who_was_given_up_for_dead_cannot_go_on():
    async def main():
        mirror = Mirror()
        await mirror.begin(node("/x"))
        zombie = mirror.publisher
        assert await mirror.open() == 5
        with pytest.raises(DivergedError, match="another mirror has taken /zabra-mirrors/m"):
            await zombie.inform([txn(6, create("/x/a"))])
        assert list(mirror.there) == ["/y"]
        await mirror.publisher.inform([txn(6, create("/x/a"))])
        with pytest.raises(DivergedError):
            await zombie.inform([txn(6, create("/x/a"))])

    run(main)


@pytest.mark.parametrize("policy", ["stop", "repair"])
def test_somebody_wrote_at_the_target(policy):
    async def main():
        mirror = Mirror(on_divergence=policy)
        await mirror.begin(node("/x"), node("/x/a"))
        mirror.write(calls.create("/y/b", b"mine"))
        with pytest.raises(DivergedError, match=r"NODEEXISTS for /y/b: the target is not like /x/b any more"):
            await mirror.publisher.inform([txn(6, create("/x/b", b"theirs"))])
        # All or nothing.
        assert mirror.there["/y/b"] == b"mine"
        assert await mirror.open() == (5 if policy == "stop" else WANTS_SNAPSHOT)
        if policy == "repair":
            await mirror.publisher.snap(snapshot(6, node("/x"), node("/x/a"), node("/x/b", b"theirs")))
            assert mirror.there["/y/b"] == b"theirs"

    run(main)


def test_a_multi_that_is_too_large_is_cut_and_goes_on_where_it_was():
    async def main():
        mirror = Mirror(max_bytes=10_000)
        await mirror.begin(node("/x"))
        large = txn(
            6, *[create(f"/x/{number}", bytes(3000)) for number in range(7)], create("/x/8", bytes(30_000))
        )
        session = mirror.sessions[-1]
        left = 2

        async def fails_at_last(call, once=session.call):
            nonlocal left
            left -= call.op == 14
            if left < 0:
                raise ConnectionError
            return await once(call)

        session.call = fails_at_last
        with pytest.raises(ConnectionError):
            await mirror.publisher.inform([large])
        part = mirror.zookeeper.cursor(CURSOR).part
        assert 0 < part < 8
        assert await mirror.open() == 5
        assert await mirror.publisher.inform([large, txn(7, create("/x/9"))]) == 7
        assert len(mirror.there) == 10
        assert mirror.zookeeper.cursor(CURSOR) == Cursor(7, "/x /y skip copy")

    run(main)


def test_a_dry_run_changes_nothing():
    async def main():
        mirror = Mirror(dry_run=True)
        mirror.write(calls.create("/y", b"1"))
        mirror.write(calls.create("/y/gone", b"1"))
        before = dict(mirror.zookeeper.tree.nodes)
        zxid = mirror.zookeeper.tree.last_processed_zxid
        assert await mirror.open() == WANTS_SNAPSHOT
        await mirror.publisher.snap(snapshot(5, node("/x"), node("/x/a", acl=MINE)))
        assert await mirror.publisher.inform([txn(6, create("/x/b"))]) == 6
        assert mirror.zookeeper.tree.nodes == before
        assert mirror.zookeeper.tree.last_processed_zxid == zxid

    run(main)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("ephemerals", "keep", "ephemerals is 'keep', must be skip or persistent"),
        ("acls", "none", "acls is 'none', must be copy or open"),
        ("onDivergence", "cry", "onDivergence is 'cry', must be stop or repair"),
        ("target", "y", "'y' is not a path"),
        ("target", "/zookeeper/y", "target /zookeeper/y is not for mirrors"),
        ("cursor", "/y/cursor", "cursor /y/cursor is inside the target"),
        ("maxBytes", "9", "maxBytes must be at least 10000"),
    ],
)
def test_mistakes(key, value, text):
    given = {"class": "zookeeper", "connect": "a:1", "target": "/y", key: value}
    with pytest.raises(PublisherError, match=text):
        plan_publisher("m", given)


class Source:
    """What a mirror that looks after itself asks of its host."""

    def __init__(self, *nodes, zxid=5):
        self.nodes = list(nodes)
        self.zxid = self.reached = zxid

    async def snapshot(self):
        return snapshot(self.zxid, *self.nodes)


async def checked_mirror(source, **options):
    """A mirror of ``source`` that compares every second, of time that takes none."""
    mirror = Mirror(check_every_ms=1000, **options)
    await mirror.open(PublisherContext("m", {}, 1, "/x", source.snapshot, lambda: source.reached))
    await mirror.publisher.snap(await source.snapshot())
    return mirror


def test_it_compares_itself_with_its_source(caplog):
    async def main():
        source = Source(node("/x", b"top"), node("/x/a", acl=MINE), node("/x/e", owner=SESSION))
        mirror = await checked_mirror(source)
        assert mirror.publisher.figures() == {"mirror_checks": 0, "mirror_differences": -1}
        await virtual(1.8)
        assert mirror.publisher.figures() == {"mirror_checks": 1, "mirror_differences": 0}
        mirror.write(calls.set_data("/y/a", b"somebody else"))
        mirror.write(calls.create("/y/stranger", b""))
        await virtual(2)
        assert mirror.publisher.figures()["mirror_differences"] == 2
        assert (
            "/y differs as of 0x5 in 2 places: /a: data differs, /stranger: only at the target" in caplog.text
        )
        # It is told, and not touched.
        assert "/y/stranger" in mirror.there
        await mirror.publisher.close()

    run_virtual(main)


def test_it_compares_at_the_very_txn():
    """Txns that come in one batch before and after that one are no differences."""

    async def main():
        source = Source(node("/x"))
        mirror = await checked_mirror(source)
        source.zxid = 7
        source.nodes += [node("/x/6"), node("/x/7")]
        await virtual(1.2)
        assert mirror.publisher.figures()["mirror_checks"] == 0
        await mirror.publisher.inform([txn(n, create(f"/x/{n}")) for n in (6, 7, 8, 9)])
        assert mirror.publisher.figures() == {"mirror_checks": 1, "mirror_differences": 0}
        assert sorted(mirror.there) == ["/y", "/y/6", "/y/7", "/y/8", "/y/9"]
        await mirror.publisher.close()

    run_virtual(main)


@pytest.mark.parametrize("is_idle", [True, False])
def test_it_repairs_what_it_finds(is_idle):
    async def main():
        source = Source(node("/x"), node("/x/a", b"1"))
        mirror = await checked_mirror(source, on_divergence="repair")
        mirror.write(calls.delete("/y/a"))
        mirror.write(calls.create("/y/stranger", b""))
        source.zxid = 7
        source.nodes.append(node("/x/7"))
        if is_idle:
            source.reached = 7
        await virtual(1.8)
        if not is_idle:
            await mirror.publisher.inform([txn(n, create(f"/x/{n}")) for n in (7, 8)])
        assert mirror.publisher.figures()["mirror_differences"] == (3 if is_idle else 2)
        wanted = {"/y": b"", "/y/a": b"1", "/y/7": b""}
        assert mirror.there == (wanted if is_idle else wanted | {"/y/8": b""})
        await virtual(3)
        if is_idle:
            assert mirror.publisher.figures()["mirror_differences"] == 0
        await mirror.publisher.close()

    run_virtual(main)


def test_a_target_that_cannot_be_read_is_no_difference(caplog):
    async def main():
        mirror = await checked_mirror(Source(node("/x")))
        await mirror.sessions[0].close()
        await virtual(1.8)
        assert mirror.publisher.figures() == {"mirror_checks": 0, "mirror_differences": -1}
        assert "/y could not be compared" in caplog.text
        await mirror.publisher.close()

    run_virtual(main)
