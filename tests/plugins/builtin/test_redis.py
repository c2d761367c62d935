"""redis: the stream's own id is the cursor, whatever becomes of the entries; what it refuses."""

import asyncio
import json

import pytest
from redis.exceptions import AuthenticationError
from tests.plugins.helpers import E1
from tests.plugins.targets import kinds
from tests.plugins.targets.harness import Script

from zabra.plugins.builtin.redis import MovedOnError, snapshot_names
from zabra.plugins.publisher import PublisherContext, Snap, SnapNode
from zabra.plugins.registry import PublisherError, plan_publisher

CONTEXT = PublisherContext("p", {}, 1)


@pytest.fixture
def redis(targets):
    return kinds.get("redis")


async def opened(redis, place, **more):
    publisher = plan_publisher("p", {**redis.options(place), **more}).make()
    try:
        return publisher, await publisher.open(CONTEXT)
    except BaseException:
        await publisher.close()
        raise


def snapshot(zxid, *paths):
    async def nodes():
        for path in paths:
            yield SnapNode(path, b"\xff", 0, (), 0, zxid, zxid)

    return Snap(zxid, nodes())


def test_the_cursor_outlives_the_entries(redis, place):
    script = Script()
    script.some(400)

    async def main():
        publisher, _ = await opened(redis, place, maxLen="100")
        for start in range(0, 400, 100):
            await publisher.inform(script.txns[start : start + 100])
        await publisher.close()
        with redis.client() as client:
            assert 100 <= client.xlen(place) < 400
            client.xtrim(place, maxlen=0)
        publisher, cursor = await opened(redis, place)
        assert cursor == script.log[-1].header.zxid
        await publisher.close()

    asyncio.run(main())


def test_ids_are_zxids(redis, place):
    script = Script()
    script.create("/a", b"\xff")

    async def main():
        publisher, _ = await opened(redis, place)
        await publisher.inform(script.txns)
        await publisher.close()

    asyncio.run(main())
    with redis.client() as client:
        ((entry_id, fields),) = client.xread({place: f"{E1}-0"})[0][1]
    assert entry_id == f"{E1 + 1}-0"
    assert fields["op"] == "create"
    assert json.loads(fields["txn"])["changes"][0]["data64"] == "/w=="


def test_whoever_comes_second_loses(redis, place):
    script = Script()
    script.some(6)

    async def main():
        first, _ = await opened(redis, place)
        second, _ = await opened(redis, place)
        await first.inform(script.txns[:3])
        for attempt in (second.inform(script.txns), second.snap(snapshot(E1 + 99, "/a"))):
            with pytest.raises(MovedOnError, match=f"the stream is at {script.txns[2].zxid}-0, not at 0-0"):
                await attempt
        await first.close()
        await second.close()

    asyncio.run(main())
    assert redis.rows(place) == script.rows[:3]


def test_one_snapshot_is_kept(redis, place):
    async def main():
        publisher, _ = await opened(redis, place)
        await publisher.snap(snapshot(E1 + 1, "/a", "/b"))
        await publisher.snap(snapshot(E1 + 5, "/c"))
        await publisher.snap(snapshot(E1 + 5, "/d"))
        await publisher.close()
        publisher, cursor = await opened(redis, place)
        await publisher.close()
        assert cursor == E1 + 5

    asyncio.run(main())
    with redis.client() as client:
        assert [entry_id for entry_id, _ in client.xrange(place)] == [
            f"{E1 + 1}-1",
            f"{E1 + 5}-1",
            f"{E1 + 5}-2",
        ]
        assert client.hkeys(snapshot_names(place, E1 + 5).done) == ["/d"]
        assert sorted(client.scan_iter(f"*{place}*")) == sorted(
            [place, snapshot_names(place, E1 + 5).done, snapshot_names(place, E1 + 5).pointer]
        )


def test_what_is_not_its_own_is_left_alone(redis, place):
    with redis.client() as client:
        client.xadd(place, {"temperature": "7"})
        client.set(place + "text", "x")

    async def main():
        with pytest.raises(ValueError, match=f"the stream {place} has other things in it"):
            await opened(redis, place)
        with pytest.raises(Exception, match="WRONGTYPE"):
            await opened(redis, place + "text")

    asyncio.run(main())
    with redis.client() as client:
        assert client.xlen(place) == 1


def test_a_password_from_a_file(redis, place, tmp_path):
    with redis.client() as client:
        client.acl_setuser("zk", enabled=True, passwords=["+sesame"], keys=["*"], commands=["+@all"])
    secret = tmp_path / "secret"
    url = redis.options(place)["url"].replace("//", "//zk@")

    async def main():
        secret.write_text("open\n")
        with pytest.raises(AuthenticationError):
            await opened(redis, place, url=url, passwordFile=str(secret))
        secret.write_text("sesame\n")
        publisher, _ = await opened(redis, place, url=url, passwordFile=str(secret))
        await publisher.close()

    asyncio.run(main())


def test_replicas_that_are_wanted_and_are_not_there(redis, place):
    script = Script()
    script.some(2)

    async def main():
        publisher, _ = await opened(redis, place, replicas="1", timeoutMs="2000")
        with pytest.raises(TimeoutError, match="0 of 1 replicas have it"):
            await publisher.inform(script.txns)
        await publisher.close()

    asyncio.run(main())


def test_names_share_a_slot():
    assert snapshot_names("zk", 255).done == "{zk}:snapshot:0xff"
    assert snapshot_names("a{b}c", 255).making == "a{b}c:making"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": "http://x"}, "publisher.p: url begins with none of redis://, rediss://, unix://"),
        ({"stream": ""}, "publisher.p: stream is empty"),
        ({"maxLen": "-1"}, "publisher.p: maxLen and replicas cannot be negative"),
        ({"timeoutMs": "1"}, "publisher.p: timeoutMs is 1, must be at least 100"),
        ({"timeout": "1"}, "publisher.p.timeout: 'redis' has no such option"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(PublisherError) as caught:
        plan_publisher("p", {"class": "redis", **options})
    assert str(caught.value).startswith(text)
