"""postgres: the nodes are the tree, for every reader at any moment; what it refuses."""

import asyncio

import psycopg
import pytest
from tests.plugins.helpers import E1
from tests.plugins.targets import kinds
from tests.plugins.targets.harness import Hosted, Script

from zabra.plugins.builtin.postgres import CursorMovedError, connection_string, first_nodes
from zabra.plugins.filters import Filter
from zabra.plugins.jsontext import acl_object
from zabra.plugins.publisher import Change, CommittedTxn, PublisherContext, Snap, SnapNode
from zabra.plugins.registry import PublisherError, plan_publisher
from zabra.proto import codes
from zabra.proto.records import TxnHeader
from zabra.proto.txn import decode_txn, encode_txn

CONTEXT = PublisherContext("p", {}, 1)


@pytest.fixture
def postgres(targets):
    return kinds.get("postgres")


def expected(tree):
    """The tree, as ``Postgres.nodes`` has it."""
    return {
        path: (
            node.data,
            node.version,
            acl_object(tuple(tree.acl_of(node))),
            node.ephemeral_owner,
            node.czxid,
            node.mzxid,
        )
        for path, node in tree.nodes.items()
    }


@pytest.mark.parametrize("begins", ["with the log", "with a snapshot"])
def test_the_nodes_are_the_tree(postgres, place, tmp_path, begins):
    script = Script(3).everything()
    script.some(100)

    async def main():
        hosted = Hosted(tmp_path, postgres.options(place), script)
        hosted.log.entries = list(script.log) if begins == "with the log" else script.log[-1:]
        async with hosted:
            await hosted.until(lambda: hosted.host.runs[0].cursor > 0)
            for _ in range(10):
                hosted.commit(script.some(30))
                await hosted.until_published()
            assert hosted.host.runs[0].snapshot_count == (begins == "with a snapshot")

    asyncio.run(main())
    assert postgres.nodes(place) == expected(script.prep.tree)
    assert postgres.ask(f"SELECT name, zxid FROM {place}.publisher") == [("p", script.log[-1].header.zxid)]
    children = postgres.ask(f"SELECT path FROM {place}.nodes WHERE parent = '/zookeeper' ORDER BY path")
    assert children == [("/zookeeper/config",), ("/zookeeper/quota",)]


def test_a_session_that_ends_without_saying_what_went_with_it(postgres, place):
    def txn(zxid, *changes):
        return CommittedTxn(zxid, 0, 5, 1, "multi", changes, b"")

    async def main():
        publisher = plan_publisher("p", postgres.options(place)).make()
        await publisher.open(CONTEXT)
        await publisher.inform(
            [txn(E1 + n, Change(0, "create", f"/e{n}", b"", 0, (), 4 + n)) for n in (1, 2)]
        )
        await publisher.inform([txn(E1 + 3, Change(0, "closeSession", "", owner=5))])
        await publisher.close()

    asyncio.run(main())
    assert [path for path in postgres.nodes(place) if path.startswith("/e")] == ["/e2"]


def test_ephemerals_of_a_subtree_go_with_a_session_that_does_not_list_them(postgres, place, tmp_path):
    script = Script(5)
    script.create("/a")
    for path in ("/a/e", "/e"):
        script.create(path, b"e", 1)
    # As servers with closeSessionTxn.enabled=false log it.
    last = script.log[-1].header
    header = TxnHeader(last.client_id, last.cxid, last.zxid + 1, last.time, codes.OP_CLOSE_SESSION)
    script.log.append(decode_txn(encode_txn(header, None, None).raw))

    async def main():
        async with Hosted(tmp_path, {**postgres.options(place), "path": "/a"}, script) as hosted:
            hosted.commit(script.log[:-1])
            await hosted.until_published()
            assert sorted(await asyncio.to_thread(postgres.nodes, place)) == ["/a", "/a/e"]
            hosted.commit(script.log[-1:])
            await hosted.until_published()

    asyncio.run(main())
    assert sorted(postgres.nodes(place)) == ["/a"]


def test_only_a_subtree(postgres, place, tmp_path):
    script = Script(4)
    script.create("/a")
    script.create("/a/b")
    script.create("/ab")

    async def main():
        async with Hosted(tmp_path, {**postgres.options(place), "path": "/a"}, script) as hosted:
            hosted.commit(script.log)
            await hosted.until_published()

    asyncio.run(main())
    assert sorted(postgres.nodes(place)) == ["/a", "/a/b"]


def test_readers_see_the_old_nodes_until_the_snapshot_is_whole(postgres, place):
    script = Script()
    script.create("/old")
    seen = []

    async def nodes():
        yield SnapNode("/new", b"", 0, (), 0, 1, 1)
        seen.append(await asyncio.to_thread(postgres.nodes, place))

    async def main():
        publisher = plan_publisher("p", postgres.options(place)).make()
        await publisher.open(CONTEXT)
        await publisher.inform(script.txns)
        await publisher.snap(Snap(E1 + 9, nodes()))
        await publisher.close()

    asyncio.run(main())
    assert "/old" in seen[0]
    assert list(postgres.nodes(place)) == ["/new"]
    assert postgres.ask(f"SELECT zxid, since, nodes FROM {place}.snapshots") == [(E1 + 9, E1 + 1, 1)]


def test_whoever_comes_second_loses(postgres, place):
    script = Script()
    script.some(6)

    async def main():
        plan = plan_publisher("p", postgres.options(place))
        first, second = plan.make(), plan.make()
        assert await first.open(CONTEXT) == await second.open(CONTEXT) == 0
        await first.inform(script.txns[:3])
        with pytest.raises(CursorMovedError, match="somebody else has published"):
            await second.inform(script.txns)
        await second.close()
        second = plan.make()
        assert await second.open(CONTEXT) == script.txns[2].zxid
        await first.close()
        await second.close()

    asyncio.run(main())


def test_what_is_not_its_own_is_left_alone(postgres, place):
    async def opened(name, schema, **more):
        publisher = plan_publisher(name, {**postgres.options(schema), **more}).make()
        try:
            return await publisher.open(PublisherContext(name, {}, 1))
        finally:
            await publisher.close()

    async def main():
        assert await opened("p", place) == 0
        with pytest.raises(ValueError, match="is of the publisher 'p': give each its own"):
            await opened("q", place)
        await asyncio.to_thread(change, f"UPDATE {place}.publisher SET format = 99")
        with pytest.raises(ValueError, match="has format 99, and this version knows 1 only"):
            await opened("p", place)
        await asyncio.to_thread(change, f"DELETE FROM {place}.publisher")
        with pytest.raises(ValueError, match="has lost its row"):
            await opened("p", place)
        await asyncio.to_thread(
            change, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
        with pytest.raises(ValueError, match="the database is in LATIN1"):
            await opened("p", place, dsn=postgres.dsn.removesuffix("postgres") + "latin")

    def change(statement):
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute(statement)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dsn": "host"}, "publisher.p: dsn is no connection string: missing"),
        ({"dsn": "host=x", "timeoutMs": "soon"}, "publisher.p.timeoutMs: 'soon' is not a whole number"),
        ({"timeoutMs": "10"}, "publisher.p: timeoutMs is 10, must be at least 1000"),
        ({"schema": "x" * 64}, "publisher.p: schema is empty or longer than 63 bytes"),
        ({"shcema": "x"}, "publisher.p.shcema: 'postgres' has no such option"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(PublisherError) as caught:
        plan_publisher("p", {"class": "postgres", **options})
    assert str(caught.value).startswith(text)


def test_what_the_connection_string_says_wins():
    assert "connect_timeout=30" in connection_string("host=x", "p", 30_000)
    assert "connect_timeout=7" in connection_string("host=x connect_timeout=7", "p", 30_000)
    assert "application_name=zabra-p" in connection_string("", "p", 30_000)


def test_first_nodes():
    assert [row.path for row in first_nodes(Filter("/"))] == [
        "/",
        "/zookeeper",
        "/zookeeper/config",
        "/zookeeper/quota",
    ]
    assert [row.path for row in first_nodes(Filter("/app"))] == []
