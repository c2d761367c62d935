"""Zabra beside Apache ZooKeeper: 50,000 operations with a fixed seed of seeds, some with a random one."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from tests.differential.__main__ import play
from tests.differential.engine import Harness
from tests.differential.servers import start_pair
from tests.interop.apache import require_java

pytestmark = [pytest.mark.java, pytest.mark.slow]

FIXED_OPS = 50_000
RANDOM_OPS = 10_000


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """One for both tests: it knows by how much the zxids of nodes that outlive a run differ."""
    require_java()
    servers = start_pair("apache-zabra", tmp_path_factory.mktemp("pair"))
    yield Harness(servers[0].pair, servers[1].pair)
    for server in servers:
        server.stop()


def test_the_same_answers_to_fifty_thousand_operations(harness: Harness) -> None:
    found = play(harness, random.Random(20_000), FIXED_OPS, stop_after=1, shrink=True)
    print(harness.counts.line(found))
    assert found == 0
    assert harness.counts.missing() == []


def test_the_same_answers_with_another_seed_each_time(harness: Harness) -> None:
    seed = time.time_ns() % 2**32
    done = harness.counts.ops.total()
    found = play(harness, random.Random(seed), done + RANDOM_OPS, stop_after=1, shrink=True)
    assert found == 0, f"seed {seed}"
