"""nats: the sequence is the fence, the last message the cursor; what it refuses."""

import asyncio

import pytest
from nats.js.api import StreamConfig
from nats.js.errors import APIError
from tests.interop.processes import free_ports
from tests.plugins.helpers import E1
from tests.plugins.targets import kinds
from tests.plugins.targets.harness import LARGE, Script

from zabra.plugins.builtin.nats import NoServerError
from zabra.plugins.publisher import PublisherContext, Snap, SnapNode
from zabra.plugins.registry import PublisherError, plan_publisher

CONTEXT = PublisherContext("p", {}, 1)


@pytest.fixture
def nats(targets):
    return kinds.get("nats")


async def opened(nats, place, **more):
    publisher = plan_publisher("p", {**nats.options(place), **more}).make()
    try:
        return publisher, await publisher.open(CONTEXT)
    except BaseException:
        await publisher.close()
        raise


def test_a_large_txn_is_several_messages(nats, place):
    script = Script()
    script.create("/large", LARGE)
    script.create("/small", b"x")

    async def main():
        publisher, _ = await opened(nats, place)
        await publisher.inform(script.txns)
        await publisher.close()

    asyncio.run(main())
    messages = list(nats.messages(place))
    assert [headers.get("Zabra-Part") for headers, _ in messages] == ["1/2", "2/2", None]
    assert messages[2][0]["Nats-Msg-Id"] == f"0x{E1 + 2:x}"
    assert len({headers["Nats-Msg-Id"] for headers, _ in messages}) == 3
    assert [headers["Zabra-Cursor"] for headers, _ in messages] == ["0x0", f"0x{E1 + 1:x}", f"0x{E1 + 2:x}"]
    assert nats.rows(place) == script.rows


def test_whoever_comes_second_loses(nats, place):
    """And nothing of its batch slips in, though a later message meets the sequence that it expects."""
    script = Script()
    script.some(20)

    async def nodes():
        yield SnapNode("/a", b"", 0, (), 0, 1, 1)

    async def main():
        first, _ = await opened(nats, place)
        second, _ = await opened(nats, place)
        await first.snap(Snap(script.txns[9].zxid, nodes()))
        with pytest.raises(APIError, match="wrong last sequence: 3"):
            await second.inform(script.txns)
        third, cursor = await opened(nats, place)
        assert cursor == script.txns[9].zxid
        await third.inform(script.txns[10:15])
        with pytest.raises(APIError, match="wrong last sequence: 8"):
            await first.inform(script.txns[15:])
        for one in (first, second, third):
            await one.close()

    asyncio.run(main())
    assert [row for row in nats.rows(place) if "zxid" in row] == script.rows[10:15]


def test_a_stream_that_was_emptied(nats, place):
    script = Script()
    script.some(3)

    async def main():
        publisher, _ = await opened(nats, place)
        await publisher.inform(script.txns)
        await publisher.close()
        await asyncio.to_thread(nats.ask, lambda stream: stream.purge_stream(place))
        publisher, cursor = await opened(nats, place)
        assert cursor is None
        script.some(1)
        await publisher.inform(script.txns[-1:])
        await publisher.close()
        await asyncio.to_thread(nats.ask, lambda stream: stream.delete_stream(place))
        publisher, cursor = await opened(nats, place)
        assert cursor == 0
        await publisher.close()

    asyncio.run(main())


def test_a_message_that_is_a_duplicate_to_the_server_is_not_taken_for_published(nats, place):
    """The last message was removed by hand: within its window the server only says that it had it."""
    script = Script()
    script.some(2)

    async def main():
        publisher, _ = await opened(nats, place)
        await publisher.inform(script.txns)
        await publisher.close()
        await asyncio.to_thread(nats.ask, lambda stream: stream.delete_msg(place, 2))
        publisher, cursor = await opened(nats, place)
        assert cursor is None
        with pytest.raises(Exception, match="the server has it at 2, not at 3"):
            await publisher.inform(script.txns[1:])
        await publisher.close()

    asyncio.run(main())


def test_what_is_not_its_own_is_left_alone(nats, place):
    async def other(stream):
        await stream.add_stream(StreamConfig(name=place, subjects=["weather"]))
        await stream.publish("weather", b"rain")

    async def main():
        await asyncio.to_thread(nats.ask, other)
        with pytest.raises(ValueError, match=f"does not take the subject {place}.changes"):
            await opened(nats, place)
        with pytest.raises(ValueError, match=f"the stream {place} has other messages in it"):
            await opened(nats, place, subject="weather")

    asyncio.run(main())


def test_nobody_listens(nats, place):
    async def main():
        ports = free_ports(2, 15000, 16000)
        servers = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
        with pytest.raises(NoServerError, match="ConnectionRefusedError"):
            await opened(nats, place, servers=servers)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"servers": "nats://a,b"}, "publisher.p: servers: 'b' does not begin with nats:// or tls://"),
        ({"stream": "a.b"}, "publisher.p: stream: 'a.b' is no name of a stream"),
        ({"subject": "a.*"}, "publisher.p: subject: 'a.*' is no subject to publish to"),
        ({"subject": "a..b"}, "publisher.p: subject: 'a..b' is no subject to publish to"),
        ({"replicas": "0"}, "publisher.p: replicas is 0, must be 1 to 5"),
        ({"timeoutMs": "1"}, "publisher.p: timeoutMs is 1, must be at least 100"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(PublisherError) as caught:
        plan_publisher("p", {"class": "nats", **options})
    assert str(caught.value).startswith(text)
