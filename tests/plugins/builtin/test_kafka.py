"""kafka: the transaction is the fence, the last record the cursor; what it refuses."""

import asyncio

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic
from tests.interop.processes import free_ports
from tests.plugins.helpers import E1
from tests.plugins.targets import kinds
from tests.plugins.targets.harness import LARGE, Script

from zabra.plugins.builtin.kafka import read_settings
from zabra.plugins.publisher import PublisherContext
from zabra.plugins.registry import PublisherError, plan_publisher

CONTEXT = PublisherContext("p", {}, 1)


@pytest.fixture
def kafka(targets):
    return kinds.get("kafka")


async def opened(kafka, place, **more):
    publisher = plan_publisher("p", {**kafka.options(place), "timeoutMs": "20000", **more}).make()
    try:
        return publisher, await publisher.open(CONTEXT)
    except BaseException:
        await publisher.close()
        raise


def test_a_large_txn_is_several_records(kafka, place, tmp_path):
    script = Script()
    script.create("/large", LARGE)
    script.create("/small", b"x")
    settings = tmp_path / "settings"
    settings.write_text("# how it is packed\ncompression.type=zstd\n\n")

    async def main():
        publisher, _ = await opened(kafka, place, configFile=str(settings))
        await publisher.inform(script.txns)
        await publisher.close()

    asyncio.run(main())
    messages = list(kafka.messages(place))
    assert [headers.get("Zabra-Part") for headers, _ in messages] == ["1/2", "2/2", None]
    assert [headers["Zabra-Cursor"] for headers, _ in messages] == ["0x0", f"0x{E1 + 1:x}", f"0x{E1 + 2:x}"]
    assert kafka.rows(place) == script.rows


def test_whoever_comes_second_locks_the_first_out(kafka, place):
    script = Script()
    script.some(6)

    async def main():
        first, _ = await opened(kafka, place)
        await first.inform(script.txns[:3])
        second, cursor = await opened(kafka, place)
        assert cursor == script.txns[2].zxid
        with pytest.raises(KafkaException, match=r"fenced|FENCED"):
            await first.inform(script.txns[3:5])
        await first.close()
        await second.inform(script.txns[3:])
        await second.close()

    asyncio.run(main())
    assert kafka.rows(place) == script.rows


def test_a_topic_that_was_emptied(kafka, place):
    script = Script()
    script.some(3)

    async def main():
        publisher, cursor = await opened(kafka, place)
        assert cursor == 0
        await publisher.inform(script.txns)
        await publisher.close()
        admin = kafka.admin()
        (done,) = admin.delete_records([TopicPartition(place, 0, -1)]).values()
        await asyncio.to_thread(done.result, 20)
        publisher, cursor = await opened(kafka, place)
        assert cursor is None
        await publisher.close()

    asyncio.run(main())


def test_what_is_not_its_own_is_left_alone(kafka, place):
    def produce():
        producer = Producer({"bootstrap.servers": kafka.server, "log_level": 0})
        producer.produce(place, b"rain", partition=0)
        assert producer.flush(20) == 0

    async def main():
        admin = kafka.admin()
        for made in admin.create_topics([NewTopic(place + "two", 2, 1), NewTopic(place, 1, 1)]).values():
            await asyncio.to_thread(made.result, 20)
        with pytest.raises(ValueError, match="has 2 partitions: order needs one"):
            await opened(kafka, place + "two")
        await asyncio.to_thread(produce)
        with pytest.raises(ValueError, match=f"the topic {place} has other messages in it"):
            await opened(kafka, place)

    asyncio.run(main())


def test_nobody_listens(kafka, place):
    (port,) = free_ports(1, 15000, 16000)

    async def main():
        with pytest.raises(KafkaException, match=r"_TRANSPORT|_TIMED_OUT|_ALL_BROKERS_DOWN"):
            await opened(kafka, place, servers=f"127.0.0.1:{port}", timeoutMs="1000")

    asyncio.run(main())


def test_settings(tmp_path):
    path = tmp_path / "settings"
    path.write_text("a=b=c\n# d\n  e = f\n")
    assert read_settings(str(path)) == {"a": "b=c", "e": "f"}
    path.write_text("a=b\nc\n")
    with pytest.raises(ValueError, match="line 2: is not key=value"):
        read_settings(str(path))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "publisher.p.servers: is not set"),
        ({"servers": "a:1,b"}, "publisher.p: servers: 'b' is not host:port"),
        ({"servers": "a:1", "topic": "a b"}, "publisher.p: topic: 'a b' is no name of a topic"),
        ({"servers": "a:1", "replication": "0"}, "publisher.p: replication is 0, must be -1 or at least 1"),
        ({"servers": "a:1", "maxMessageBytes": "9"}, "publisher.p: maxMessageBytes is 9, must be at least"),
        ({"servers": "a:1", "timeoutMs": "9"}, "publisher.p: timeoutMs is 9, must be at least 1000"),
        ({"servers": "a:1", "transactionTimeoutMs": "9"}, "publisher.p: transactionTimeoutMs is less than"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(PublisherError) as caught:
        plan_publisher("p", {"class": "kafka", **options})
    assert str(caught.value).startswith(text)
