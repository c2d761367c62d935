"""kafka, and a modelled broker: one partition, transactions, and producers that lock each other out."""

from types import SimpleNamespace

from confluent_kafka import KafkaError, KafkaException
from tests.plugins.conformance.rows import judged_rows
from tests.plugins.targets.nats import rows_of_messages

from zabra.plugins.builtin.kafka import Clients, KafkaPublisher
from zabra.plugins.conformance import Faults, Published, TargetError

TOPIC = "zabra"
OPEN, COMMITTED, ABORTED, MARKER = "open", "committed", "aborted", "marker"
# Room for so little that some txns come in parts.
RECORD_BYTES = 10_000


class Record:
    def __init__(self, headers, body, state=OPEN) -> None:
        self.state = state
        self._headers = headers
        self._body = body

    def headers(self):
        return [(key, value.encode()) for key, value in self._headers.items()]

    def text_headers(self):
        return self._headers

    def value(self):
        return self._body

    def error(self):
        return None


class End:
    """What a consumer is given at the end."""

    def error(self):
        return KafkaError(KafkaError._PARTITION_EOF)


class ModelBroker:
    """The log, and who may write to it."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.log: list[Record] = []
        self.epoch = 0

    def end_open(self, state: str) -> None:
        """Of the transaction that is under way."""
        ended = [record for record in self.log if record.state == OPEN]
        for record in ended:
            record.state = state
        if ended:
            self.log.append(Record({}, b"", MARKER))

    def step(self, name: str, work, may_repeat: bool):
        """A request; librdkafka tells what was wrong by exceptions of its own."""
        try:
            with self.faults.step(name):
                return work()
        except TargetError as error:
            retriable = may_repeat and not self.faults.target_away
            raise KafkaException(
                KafkaError(KafkaError._TIMED_OUT, str(error), retriable=retriable)
            ) from error


class ModelProducer:
    def __init__(self, broker: ModelBroker) -> None:
        self._broker = broker
        self._epoch = 0
        self._queue: list[Record] = []

    def init_transactions(self, timeout):
        def work():
            self._broker.epoch += 1
            self._epoch = self._broker.epoch
            self._broker.end_open(ABORTED)

        self._broker.step("init transactions", work, True)

    def begin_transaction(self):
        self._queue = []

    def produce(self, topic, value, key, headers, partition):
        assert len(value) <= RECORD_BYTES
        self._queue.append(Record(headers, value))

    def poll(self, timeout):
        """Nothing waits for it here."""

    def _own(self) -> None:
        if self._epoch != self._broker.epoch:
            raise KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True))

    def commit_transaction(self, timeout):
        def write():
            self._own()
            records, self._queue = self._queue, []
            self._broker.log += records

        def end():
            self._own()
            self._broker.end_open(COMMITTED)

        if self._queue:
            self._broker.step("produce", write, True)
        self._broker.step("end transaction", end, True)

    def abort_transaction(self, timeout):
        def end():
            self._own()
            self._broker.end_open(ABORTED)

        self._broker.step("abort transaction", end, False)

    def purge(self):
        self._queue = []


class ModelConsumer:
    """Reads what is committed, up to the first transaction that is open."""

    def __init__(self, broker: ModelBroker) -> None:
        self._broker = broker
        self._next = 0

    def list_topics(self, topic, timeout):
        found = SimpleNamespace(error=None, partitions={0: None})
        return self._broker.step("metadata", lambda: SimpleNamespace(topics={topic: found}), False)

    def get_watermark_offsets(self, partition, timeout):
        return self._broker.step("offsets", lambda: (0, len(self._broker.log)), False)

    def assign(self, partitions):
        self._next = partitions[0].offset

    def consume(self, count, timeout):
        def work():
            found = []
            while self._next < len(self._broker.log) and self._broker.log[self._next].state != OPEN:
                record = self._broker.log[self._next]
                self._next += 1
                if record.state == COMMITTED:
                    found.append(record)
            return [*found, End()]

        return self._broker.step("fetch", work, False)

    def close(self):
        """It holds nothing."""


class KafkaSubject:
    def __init__(self, faults: Faults) -> None:
        self._broker = broker = ModelBroker(faults)
        self._clients = Clients(
            lambda settings, logger: ModelConsumer(broker),
            lambda settings, logger: ModelProducer(broker),
            lambda settings, logger: None,
        )

    def publisher(self) -> KafkaPublisher:
        options = KafkaPublisher.Options("broker:9092", TOPIC, max_message_bytes=RECORD_BYTES)
        return KafkaPublisher(options, self._clients)

    def crash(self) -> None:
        """Every record is on enough replicas before it is acknowledged."""

    def published(self) -> Published:
        committed = [
            (record.text_headers(), record.value())
            for record in self._broker.log
            if record.state == COMMITTED
        ]
        return Published(judged_rows(rows_of_messages(committed)))
