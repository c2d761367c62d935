"""A copy counts what it does, and looks at what it does not touch."""

import asyncio

from tests.plugins.memory_zookeeper import MemorySession, MemoryZooKeeper

from zabra.client import calls
from zabra.plugins.mirror_copy import Copy, acl_key, look
from zabra.plugins.mirror_plan import Choices
from zabra.plugins.publisher import SnapNode
from zabra.proto.records import ACL, Id

ONE = ACL(1, Id("world", "anyone"))
OTHER = ACL(31, Id("digest", "a:b"))


def test_what_was_done_is_counted():
    async def main():
        zookeeper = MemoryZooKeeper()
        for path in ("/y", "/y/a", "/y/b", "/y/gone", "/fence"):
            zookeeper.carry_out(calls.create(path, b"1"))
        fence = calls.check_part("/fence", 0)
        copy = Copy(MemorySession(zookeeper), Choices("/x", "/y"), fence, 10_000, False)
        acl = tuple(calls.OPEN_ACL)
        for path, data, owner, entries in (
            ("/x", b"1", 0, acl),
            ("/x/a", b"2", 0, acl),
            ("/x/b", b"1", 0, (ONE, OTHER)),
            ("/x/c", b"", 0, acl),
            ("/x/e", b"", 7, acl),
        ):
            await copy.add(SnapNode(path, data, 0, entries, owner, 1, 1))
        counts = await copy.finish()
        assert counts.text() == (
            "1 created, 1 set, 1 ACLs set, 1 deleted, 1 the same, 1 left out "
            "(set /y/a, setACL /y/b, create /y/c, delete /y/gone, …)"
        )
        assert zookeeper.below("/y", "/y") == {"/y": b"1", "/y/a": b"2", "/y/b": b"1", "/y/c": b""}

    asyncio.run(main())


def test_many_nodes_in_several_multis():
    async def main():
        zookeeper = MemoryZooKeeper()
        zookeeper.carry_out(calls.create("/fence", b""))
        fence = calls.check_part("/fence", 0)
        copy = Copy(MemorySession(zookeeper), Choices("/x", "/y"), fence, 10_000, False)
        for number in range(-1, 300):
            path = "/x" if number < 0 else f"/x/{number}"
            await copy.add(SnapNode(path, bytes(100), 0, tuple(calls.OPEN_ACL), 0, 1, 1))
        assert (await copy.finish()).creates == 301
        assert len(zookeeper.below("/y", "/y")) == 301
        assert zookeeper.requests.count("multi") > 3

    asyncio.run(main())


def test_look():
    async def main():
        session = MemorySession(MemoryZooKeeper())
        assert await look(session, "/none") is None
        found = await look(session, "/")
        assert found is not None
        assert found.stat.ephemeral_owner == 0

    asyncio.run(main())


def test_the_order_of_acls_means_nothing():
    assert acl_key([ONE, OTHER]) == acl_key([OTHER, ONE])
    assert acl_key([ONE]) != acl_key([OTHER])
