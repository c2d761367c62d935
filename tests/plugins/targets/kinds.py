"""All kinds of targets, each started once in a session of tests, when the first test asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.plugins.targets.kafka import Kafka
from tests.plugins.targets.nats import NatsServer
from tests.plugins.targets.postgres import Postgres
from tests.plugins.targets.redis import RedisServer
from tests.plugins.targets.target import Target, TargetUnavailable
from tests.plugins.targets.webhook import Receiver

KINDS: dict[str, Callable[[], Target]] = {
    "postgres": Postgres,
    "redis": RedisServer,
    "nats": NatsServer,
    "webhook": Receiver,
    "kafka": Kafka,
}
"""By the name of the publisher's class."""

_targets: dict[str, Target] = {}


def get(kind: str) -> Target:
    """The running target of a kind, the same for all who ask.  Skips the test where it cannot be had."""
    target = _targets.get(kind)
    if target is None:
        try:
            target = _targets[kind] = KINDS[kind]()
        except TargetUnavailable as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
    if not target.running:
        target.start()
    return target


def close_all() -> None:
    """At the end of the session."""
    while _targets:
        _targets.popitem()[1].close()


def get_all() -> dict[str, Target]:
    """All that can be had here, by name.  Skips the test where none can, and in CI fails it for each."""
    found: dict[str, Target] = {}
    for kind in KINDS:
        try:
            found[kind] = get(kind)
        except pytest.skip.Exception as skipped:
            print(f"without {kind}: {skipped}")
    if not found:
        pytest.skip("none of the targets can be had here")
    return found
