"""Every built-in whose target can be modelled, at the points where things go wrong."""

import pytest
from tests.plugins.conformance.jsonl_subject import JsonlSubject
from tests.plugins.conformance.mirror_subject import MirrorSubject

from zabra.plugins.builtin.zookeeper import ZooKeeperPublisher
from zabra.plugins.conformance import KILL, ConformanceError, check_publisher


@pytest.mark.parametrize("fsync", [True, False])
def test_jsonl(fsync):
    assert check_publisher(lambda faults: JsonlSubject(faults, fsync), exactly_once=True, stride=41).runs > 15


@pytest.mark.campaign
def test_jsonl_at_many_points():
    assert check_publisher(JsonlSubject, exactly_once=True, stride=7).runs > 100


def test_mirror():
    assert check_publisher(MirrorSubject, exactly_once=True, path="/a", stride=67).runs > 15


@pytest.mark.campaign
def test_mirror_at_many_points():
    assert check_publisher(MirrorSubject, exactly_once=True, path="/a", stride=11).runs > 100


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
