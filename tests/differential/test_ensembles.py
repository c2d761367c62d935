"""Ensembles beside ensembles of Apache ZooKeeper, through each kind of member, of one kind and mixed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.differential.__main__ import play
from tests.differential.engine import Harness
from tests.differential.servers import running_pair
from tests.interop.apache import require_java

pytestmark = [pytest.mark.java, pytest.mark.slow]

OPS = 3_000


@pytest.mark.parametrize(
    ("right", "place"),
    [
        ("zabra", "leader"),
        ("zabra", "follower"),
        ("zabra", "observer"),
        # The voter with the highest id leads a fresh ensemble.
        ("zabra+zabra+apache+zabra", "follower"),
        ("apache+apache+zabra+apache", "observer"),
    ],
)
def test_the_same_answers_through_an_ensemble(right: str, place: str, tmp_path: Path) -> None:
    require_java()
    with running_pair(f"apache-{right}", tmp_path, place) as (_, addresses):
        harness = Harness(addresses[0], addresses[1], malformed=False)
        found = play(harness, random.Random(7), OPS, stop_after=1, shrink=True)
        print(harness.counts.line(found))
        assert found == 0
        assert harness.counts.events.total() > OPS // 10
