"""Every built-in, with a model of its target behind its client, at the points where things go wrong."""

import pytest
from tests.plugins.conformance.jsonl_subject import JsonlSubject
from tests.plugins.conformance.kafka_subject import KafkaSubject
from tests.plugins.conformance.mirror_subject import MirrorSubject
from tests.plugins.conformance.nats_subject import NatsSubject
from tests.plugins.conformance.postgres_subject import PostgresSubject
from tests.plugins.conformance.redis_subject import RedisSubject
from tests.plugins.conformance.webhook_subject import WebhookSubject

from zabra.plugins.builtin.zookeeper import ZooKeeperPublisher
from zabra.plugins.conformance import ERROR, KILL, ConformanceError, check_publisher
from zabra.plugins.registry import BUILT_IN

# The subject, and what its target promises.
SUBJECTS = {
    "jsonl": (JsonlSubject, {"exactly_once": True}),
    "kafka": (KafkaSubject, {"exactly_once": True}),
    "nats": (NatsSubject, {"exactly_once": True}),
    "postgres": (PostgresSubject, {"exactly_once": True, "refusals": False}),
    "redis": (RedisSubject, {"exactly_once": True}),
    "webhook": (WebhookSubject, {}),
    "zookeeper": (MirrorSubject, {"exactly_once": True, "path": "/a"}),
}
STRIDE = 67


def test_none_is_left_out():
    assert sorted(SUBJECTS) == sorted(BUILT_IN)


@pytest.mark.parametrize("name", list(SUBJECTS))
def test_at_some_points(name):
    subject, promise = SUBJECTS[name]
    assert check_publisher(subject, stride=STRIDE, **promise).runs > 10


@pytest.mark.campaign
@pytest.mark.parametrize("name", list(SUBJECTS))
def test_at_every_point(name):
    subject, promise = SUBJECTS[name]
    assert check_publisher(subject, **promise).runs > 600


def test_jsonl_that_does_not_wait_for_the_disk():
    assert (
        check_publisher(lambda faults: JsonlSubject(faults, False), exactly_once=True, stride=STRIDE).runs
        > 10
    )


def test_a_mirror_that_checks_itself_finds_nothing_whatever_fails():
    subjects = []

    def factory(faults):
        subjects.append(MirrorSubject(faults, check_every_ms=100))
        return subjects[-1]

    check_publisher(factory, exactly_once=True, path="/a", stride=STRIDE)
    figures = [publisher.figures() for subject in subjects for publisher in subject.publishers]
    assert max(one["mirror_differences"] for one in figures) == 0
    assert sum(one["mirror_checks"] for one in figures) > 10


class Flawed:
    """A subject whose publishers are wrapped."""

    def __init__(self, subject, wrapper):
        self._subject = subject
        self._wrapper = wrapper

    def publisher(self):
        return self._wrapper(self._subject.publisher())

    def __getattr__(self, name):
        return getattr(self._subject, name)


class TakesErrorsForSuccess:
    """Whatever goes wrong, it says that it is durable."""

    def __init__(self, publisher):
        self._publisher = publisher

    async def inform(self, txns):
        try:
            return await self._publisher.inform(txns)
        except Exception:  # noqa: BLE001  this is what is wrong with it
            return txns[-1].zxid

    def __getattr__(self, name):
        return getattr(self._publisher, name)


class WithoutACursor:
    """Goes on where the host has noted that it was."""

    def __init__(self, publisher):
        self._publisher = publisher

    async def open(self, context):
        await self._publisher.open(context)

    def __getattr__(self, name):
        return getattr(self._publisher, name)


@pytest.mark.parametrize("name", list(SUBJECTS))
def test_a_loss_is_found(name):
    subject, promise = SUBJECTS[name]
    with pytest.raises(ConformanceError):
        check_publisher(
            lambda faults: Flawed(subject(faults), TakesErrorsForSuccess), kinds=[ERROR], stride=3, **promise
        )


@pytest.mark.parametrize("name", [name for name in SUBJECTS if "exactly_once" in SUBJECTS[name][1]])
def test_a_double_is_found(name):
    subject, promise = SUBJECTS[name]
    with pytest.raises(ConformanceError):
        check_publisher(
            lambda faults: Flawed(subject(faults), WithoutACursor), kinds=[KILL], stride=3, **promise
        )


class TwoRequests(ZooKeeperPublisher):
    """The changes first, and the cursor behind them: not exactly once."""

    async def _move_cursor(self, cursor, steps):
        if steps:
            await super()._move_cursor(self._cursor, steps)
        await super()._move_cursor(cursor, [])


def test_a_mirror_that_would_not_be_exact_is_found(monkeypatch):
    monkeypatch.setattr("tests.plugins.conformance.mirror_subject.ZooKeeperPublisher", TwoRequests)
    with pytest.raises(ConformanceError, match=r"the target's state, said to be as of|does not catch up"):
        check_publisher(MirrorSubject, exactly_once=True, path="/a", kinds=[KILL], stride=3)
