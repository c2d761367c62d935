"""Apache Kafka from Maven Central, one broker that is its own controller (KRaft).

Its jars are copied once into a cache folder by ``mvn``, as those of Apache ZooKeeper are.
"""

from __future__ import annotations

import fcntl
import re
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from tests.interop.apache import apache_cache
from tests.interop.processes import free_ports
from tests.plugins.targets.nats import rows_of_messages
from tests.plugins.targets.target import END_PORT, FIRST_PORT, Row, Target, TargetUnavailable, require

VERSIONS = ("4.1.1", "4.1.2", "4.0.2", "3.9.1")
"""The first one that Maven can get is taken."""

MAVEN_TIMEOUT_S = 600
READ_WITHIN_S = 60

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>zabra.targets</groupId><artifactId>kafka</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{version}</version></dependency>
  </dependencies>
</project>
"""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.coordinator.append.linger.ms=0
num.network.threads=1
num.io.threads=2
log.cleaner.enable=false
broker.session.timeout.ms=6000
"""

_FLAGS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


@cache
def jars() -> str:
    """The class path; puts the jars into the cache.  Raises TargetUnavailable."""
    require("java", "default-jre-headless")
    failures = []
    for version in VERSIONS:
        folder = apache_cache().parent / "kafka" / version
        failure = _fetch(version, folder)
        if failure is None:
            return f"{folder}/lib/*"
        failures.append(f"{version}: {failure}")
    raise TargetUnavailable("no Apache Kafka: " + "; ".join(failures))


def _fetch(version: str, folder: Path) -> str | None:
    """None when the jars are there, else why not."""
    mark = folder / "complete"
    if mark.exists():
        return None
    try:
        maven = require("mvn", "maven")
    except TargetUnavailable as error:
        return str(error)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mark.exists():
            return None
        (folder / "pom.xml").write_text(_POM.format(version=version))
        command = [maven, "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        command.append(f"-DoutputDirectory={folder / 'lib'}")
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            return f"mvn did not end within {MAVEN_TIMEOUT_S} s"
        if done.returncode != 0:
            said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
            return (
                "mvn failed: " + " ".join([line for line in said.splitlines() if "ERROR" in line][:2])[:600]
            )
        mark.write_text("")
    return None


class Kafka(Target):
    """A place is a topic."""

    kind = "kafka"

    def __init__(self) -> None:
        self._jars = jars()
        super().__init__()
        (self._controller,) = (port for port in free_ports(2, FIRST_PORT, END_PORT) if port != self.port)

    def _java(self, *words: str) -> list[str]:
        return ["java", *_FLAGS, "-cp", self._jars, *words]

    def prepare(self) -> None:
        """Formats its folder."""
        text = _PROPERTIES.format(port=self.port, controller=self._controller, folder=self.folder)
        properties = self.folder / "server.properties"
        properties.write_text(text)
        command = self._java("kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c")
        done = subprocess.run([*command, str(properties)], capture_output=True, text=True, cwd=self.folder)
        if done.returncode != 0:
            raise RuntimeError(f"formatting failed: {done.stdout}{done.stderr}")

    def command(self) -> list[str]:
        """The broker."""
        return self._java("kafka.Kafka", str(self.folder / "server.properties"))

    @property
    def server(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    def admin(self) -> AdminClient:
        """For looking and for breaking things."""
        return AdminClient({"bootstrap.servers": self.server, "log_level": 0})

    def is_ready(self) -> bool:
        """Whether it answers."""
        if not super().is_ready():
            return False
        try:
            return bool(self.admin().list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def options(self, place: str) -> dict[str, str]:
        """A topic of its own."""
        return {"class": "kafka", "servers": self.server, "topic": place, "timeoutMs": "5000"}

    def messages(self, place: str) -> Iterator[tuple[dict[str, str], bytes]]:
        """Headers and body of all records that are committed."""
        settings = {
            "bootstrap.servers": self.server,
            "group.id": "reader",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "log_level": 0,
        }
        consumer = Consumer(settings)
        try:
            topics = consumer.list_topics(timeout=10).topics
            if place not in topics:
                return
            consumer.assign([TopicPartition(place, 0, 0)])
            yield from _read_all(consumer)
        finally:
            consumer.close()

    def each(self, place: str) -> Iterator[Row]:
        """What a reader makes of the records."""
        return rows_of_messages(self.messages(place))


def _read_all(consumer: Consumer) -> Iterator[tuple[dict[str, str], bytes]]:
    deadline = time.monotonic() + READ_WITHIN_S
    while time.monotonic() < deadline:
        for record in consumer.consume(1000, timeout=1):
            error = record.error()
            if error is None:
                headers = {key: value.decode() for key, value in record.headers() or []}
                deadline = time.monotonic() + READ_WITHIN_S
                yield headers, record.value() or b""
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif not error.retriable():
                raise KafkaException(error)
    raise TimeoutError("the topic has no end")
