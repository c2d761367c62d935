"""What roles tell of themselves, in upstream's words."""

from __future__ import annotations

import pytest

from zabra.config.ensemble import EnsembleConfig
from zabra.server.views import LeaderView, LearnerView, RoleView, SizeStats, copy_buckets, quorum_view
from zabra.zab import phases

CONFIG = EnsembleConfig.parse(
    "server.1=one:2888:3888:participant\nserver.2=two:2888:3888:observer\nversion=0"
)


@pytest.mark.parametrize(
    ("state", "zab_state", "sync_mode", "text"),
    [
        (phases.LOOKING, phases.ELECTION, phases.SYNC_NONE, "looking"),
        (phases.LEADING, phases.BROADCAST, phases.SYNC_NONE, "leading - broadcast"),
        (phases.FOLLOWING, phases.DISCOVERY, phases.SYNC_NONE, "following - discovery"),
        (phases.FOLLOWING, phases.SYNCHRONIZATION, phases.SYNC_DIFF, "following - synchronization - diff"),
        (phases.OBSERVING, phases.SYNCHRONIZATION, phases.SYNC_SNAP, "observing - synchronization - snap"),
    ],
)
def test_peer_state(state: int, zab_state: int, sync_mode: int, text: str) -> None:
    view = quorum_view(CONFIG, state, zab_state, sync_mode)
    assert view.peer_state == text
    assert view.zab_state == phases.ZAB_STATES[zab_state].lower()
    assert (view.leader_id, view.leader_address) == (-1, "")


def test_who_leads() -> None:
    view = quorum_view(CONFIG, phases.OBSERVING, phases.BROADCAST, phases.SYNC_NONE)
    view.led_by(1)
    assert (view.leader_id, view.leader_address) == (1, "one")
    # A leader that a reconfiguration has removed.
    view = quorum_view(CONFIG, phases.OBSERVING, phases.BROADCAST, phases.SYNC_NONE)
    view.led_by(9)
    assert (view.leader_id, view.leader_address) == (9, "")


def test_nothing_is_told_unless_filled_in() -> None:
    view = RoleView("looking", False, 0)
    assert (view.quorum, view.leader, view.local_buckets) == (None, None, None)
    assert (view.synced_observers, view.observer_master_id, view.observers) == (-1, -1, [])
    leader = LeaderView()
    assert (leader.proposal_sizes.last, leader.learners) == (-1, 0)
    learner = LearnerView(4, "host:1", 5)
    assert (learner.last_zxid, learner.queued_packets) == (-1, 0)


def test_buckets() -> None:
    (first, second) = copy_buckets([(10, [1, 2]), (20, [3])])
    assert (first.when_ms, first.session_ids) == (10, [1, 2])
    assert (second.when_ms, second.session_ids) == (20, [3])


def test_sizes() -> None:
    sizes = SizeStats()
    for size in (5, 3, 9, 4):
        sizes.note(size)
    copy = sizes.copy()
    sizes.reset()
    assert (copy.last, copy.smallest, copy.largest) == (4, 3, 9)
    assert (sizes.last, sizes.smallest, sizes.largest) == (-1, -1, -1)
