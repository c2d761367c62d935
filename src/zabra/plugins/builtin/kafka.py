"""``kafka``: a record in a topic of one partition for each txn (several where it is larger than one may be).

Each batch is a transaction of Kafka's, under an id that only one producer can have at a time: opening aborts
what an earlier one had under way and locks it out, so that the topic's last record, read after that, is
final.  The cursor is in that record.  So each txn is there exactly once, in order and without gaps, for
readers with ``isolation.level=read_committed``; and a snapshot is there whole or not at all.

The client, librdkafka, works in threads of its own; calls that wait are made in a thread of ours, in short
turns, so that closing need not wait for long.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaRecord
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from zabra.plugins.builtin.messages import Message, cursor_of, messages_of, snapshot_messages
from zabra.plugins.publisher import CommittedTxn, PublisherContext, Snap

log = logging.getLogger("zabra.publishers.kafka")

# What a record's headers may take of the limit.
_HEADER_BYTES: Final = 512
# How long one call to the client may wait before it is looked whether to go on.
_TURN_S: Final = 0.2
_ABORT_S: Final = 2.0
# Messages of a snapshot that are handed over at once.
_WINDOW: Final = 500
# How many offsets from the end the last record is looked for at first; aborted ones take some too.
_LOOK_BACK: Final = 64


@dataclass(frozen=True, slots=True)
class Clients:
    """What the library's clients are made by."""

    consumer: Callable[..., Consumer] = Consumer
    producer: Callable[..., Producer] = Producer
    admin: Callable[..., AdminClient] = AdminClient


class KafkaPublisher:
    """See the module."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Where to.

        Attributes:
            servers: ``host:port`` of some brokers, comma separated.
            topic: made, with one partition, where there is none; each publisher has its own.
            transactional_id: the id that only one producer can have.  Empty: ``zabra-`` and the topic.
            replication: of the topic, where it is made; -1: as the brokers have it.
            max_message_bytes: the largest record that the topic takes (its ``max.message.bytes``).
            transaction_timeout_ms: how long a transaction may take, a snapshot for instance, until the
                brokers abort it.
            config_file: further settings of librdkafka, a line ``key=value`` each (security, compression).
            timeout_ms: how long connecting, or publishing one batch, may take.
        """

        servers: str
        topic: str = "zabra"
        transactional_id: str = ""
        replication: int = -1
        max_message_bytes: int = 1_000_000
        transaction_timeout_ms: int = 60_000
        config_file: str = ""
        timeout_ms: int = 15_000

        def __post_init__(self) -> None:
            for server in self.servers.split(","):
                host, _, port = server.strip().rpartition(":")
                if not host or not port.isdigit():
                    raise ValueError(f"servers: {server.strip()!r} is not host:port")
            if not self.topic or not set(self.topic) <= _TOPIC_LETTERS or len(self.topic) > 249:
                raise ValueError(f"topic: {self.topic!r} is no name of a topic")
            if self.replication < 1 and self.replication != -1:
                raise ValueError(f"replication is {self.replication}, must be -1 or at least 1")
            if self.max_message_bytes < 10_000:
                raise ValueError(f"maxMessageBytes is {self.max_message_bytes}, must be at least 10000")
            if self.timeout_ms < 1000:
                raise ValueError(f"timeoutMs is {self.timeout_ms}, must be at least 1000")
            if self.transaction_timeout_ms < self.timeout_ms:
                raise ValueError("transactionTimeoutMs is less than timeoutMs")

    def __init__(self, options: "KafkaPublisher.Options", clients: Clients | None = None) -> None:
        self._options = options
        self._clients = clients or Clients()
        self._limit = options.max_message_bytes - _HEADER_BYTES
        self._producer: Producer | None = None
        self._cursor = 0
        self._closing = threading.Event()
        # Whoever works with the producer holds it: calls may outlive the task that waits for them.
        self._working = threading.Lock()

    # --- opening ------------------------------------------------------------------------------------------

    async def open(self, context: PublisherContext) -> int | None:
        """Locks others out, then reads the last record."""
        own = await asyncio.to_thread(self._open, context.name)
        self._cursor = own or 0
        return own

    def _open(self, name: str) -> int | None:
        options = self._options
        common: dict[str, Any] = {
            "bootstrap.servers": options.servers,
            "client.id": f"zabra-{name}",
            "reconnect.backoff.max.ms": 1000,
            # Every attempt that fails is an error in its eyes; the host says so once.
            "log_level": 2,
        }
        if options.config_file:
            common |= read_settings(options.config_file)
        with self._working:
            deadline = time.monotonic() + options.timeout_ms / 1000
            reading = {
                "group.id": f"zabra-{name}",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
            }
            consumer = self._clients.consumer({**common, **reading}, logger=log)
            try:
                self._find_topic(consumer, common, deadline)
                writing = {
                    "transactional.id": options.transactional_id or f"zabra-{options.topic}",
                    "transaction.timeout.ms": options.transaction_timeout_ms,
                    "message.max.bytes": options.max_message_bytes,
                    "linger.ms": 5,
                }
                self._producer = producer = self._clients.producer({**common, **writing}, logger=log)
                self._repeat(producer.init_transactions, deadline)
                return self._last_cursor(consumer, deadline)
            finally:
                consumer.close()

    def _find_topic(self, consumer: Consumer, common: dict[str, Any], deadline: float) -> None:
        """Makes the topic where there is none."""
        topic = self._options.topic
        is_made = False
        while True:
            self._check(deadline, "the topic's metadata")
            found = consumer.list_topics(topic, timeout=_left(deadline)).topics[topic]
            code = None if found.error is None else found.error.code()
            if code is None and found.partitions:
                break
            if code not in (None, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE):
                raise KafkaException(found.error)
            if not is_made:
                new = NewTopic(topic, num_partitions=1, replication_factor=self._options.replication)
                # It is destroyed with its last reference, whatever it has under way.
                admin = self._clients.admin(common, logger=log)
                for made in admin.create_topics([new]).values():
                    made.result(_left(deadline))
                is_made = True
            self._closing.wait(_TURN_S)
        if len(found.partitions) != 1:
            raise ValueError(f"the topic {topic} has {len(found.partitions)} partitions: order needs one")

    def _last_cursor(self, consumer: Consumer, deadline: float) -> int | None:
        """What the last record says; 0 in a new topic, None in one that was emptied by its retention."""
        topic = self._options.topic
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=_left(deadline))
        look_back = _LOOK_BACK
        while low < high:
            start = max(low, high - look_back)
            headers = self._read_last(consumer, start, deadline)
            if headers is not None:
                return cursor_of(headers, f"the topic {topic}")
            if start == low:
                break
            look_back *= 8
        return 0 if low == 0 else None

    def _read_last(self, consumer: Consumer, start: int, deadline: float) -> dict[str, str] | None:
        """The headers of the last record from ``start`` on; None where there is none."""
        consumer.assign([TopicPartition(self._options.topic, 0, start)])
        headers: dict[str, str] | None = None
        while True:
            self._check(deadline, "the topic's last record")
            for record in consumer.consume(_WINDOW, timeout=_TURN_S):
                error = record.error()
                if error is None:
                    headers = headers_of(record)
                elif error.code() == KafkaError._PARTITION_EOF:
                    return headers
                elif not error.retriable():
                    raise KafkaException(error)

    # --- publishing ---------------------------------------------------------------------------------------

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """One transaction."""
        records: list[Message] = []
        for txn in txns:
            records += messages_of(txn, self._cursor, self._limit)
            self._cursor = txn.zxid
        await asyncio.to_thread(self._publish, records)
        return txns[-1].zxid

    def _publish(self, records: list[Message]) -> None:
        with self._working:
            producer = self._open_producer()
            deadline = time.monotonic() + self._options.timeout_ms / 1000
            producer.begin_transaction()
            self._produce(producer, records, deadline)
            self._repeat(producer.commit_transaction, deadline)

    async def snap(self, snap: Snap) -> None:
        """One transaction, too: readers see all of it or nothing."""
        window: list[Message] = []
        begins = True
        async for message in snapshot_messages(snap, self._cursor, self._limit):
            window.append(message)
            if len(window) >= _WINDOW:
                await asyncio.to_thread(self._snap_part, window, begins, False)
                window = []
                begins = False
        await asyncio.to_thread(self._snap_part, window, begins, True)
        self._cursor = snap.zxid

    def _snap_part(self, records: list[Message], begins: bool, ends: bool) -> None:
        with self._working:
            producer = self._open_producer()
            deadline = time.monotonic() + self._options.timeout_ms / 1000
            if begins:
                producer.begin_transaction()
            self._produce(producer, records, deadline)
            if ends:
                self._repeat(producer.commit_transaction, deadline)

    def _open_producer(self) -> Producer:
        if self._producer is None or self._closing.is_set():
            raise ConnectionError("closed meanwhile")
        return self._producer

    def _produce(self, producer: Producer, records: Iterable[Message], deadline: float) -> None:
        """Hands them to the client, in order; how they fare shows when the transaction ends."""
        for record in records:
            headers: dict[str, str | bytes | None] = {**record.headers()}
            key = f"{record.zxid:016x}".encode("ascii")
            while True:
                try:
                    producer.produce(
                        self._options.topic, value=record.body, key=key, headers=headers, partition=0
                    )
                    break
                except BufferError:
                    self._check(deadline, "room for records")
                    producer.poll(_TURN_S)

    def _repeat(self, call: Callable[[float], None], deadline: float) -> None:
        """A call that takes a timeout and may be made again after it."""
        while True:
            try:
                call(_TURN_S)
                return
            except KafkaException as error:
                what = error.args[0]
                if self._closing.is_set() or not what.retriable() or time.monotonic() >= deadline:
                    raise

    def _check(self, deadline: float, what: str) -> None:
        if self._closing.is_set():
            raise ConnectionError("closed meanwhile")
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waiting for {what}")

    async def close(self) -> None:
        """Aborts what is under way."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._closing.set()
        with self._working:
            producer, self._producer = self._producer, None
            if producer is None:
                return
            producer.purge()
            try:
                producer.abort_transaction(_ABORT_S)
            except KafkaException as error:
                # Nothing was under way; or whoever opens next aborts it.
                log.debug("%s", error)


_TOPIC_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def _left(deadline: float) -> float:
    return max(_TURN_S, deadline - time.monotonic())


def headers_of(record: KafkaRecord) -> dict[str, str]:
    """A record's headers as text."""
    found = {}
    for key, value in dict(record.headers() or []).items():
        found[key] = value.decode("ascii", "replace") if isinstance(value, bytes) else value or ""
    return found


def read_settings(path: str) -> dict[str, str]:
    """``key=value`` lines, without empty ones and those that begin with #.  Raises OSError, ValueError."""
    found = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            key, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"{path}, line {number}: is not key=value")
            found[key.strip()] = value.strip()
    return found
