"""Elections are judged by the votes that were sent, not by what a server makes of them."""

import pytest
from tests.sim.test_monitor import members

from zabra.config.ensemble import EnsembleConfig
from zabra.proto.notification import Notification, encode_notification, frame_notification
from zabra.sim.cluster import server_line
from zabra.sim.election_checker import SPELLS_MAX, ElectionChecker
from zabra.zab.phases import LOOKING


def test_many_votes_in_no_time_are_an_election_in_circles() -> None:
    cluster, monitor = members()
    for sid in (1, 2):
        cluster.machines[sid].kill()
    cluster.run_ms(2000)
    process = cluster.machines[3].process
    assert process is not None
    assert process.server.looking is not None
    now_us = cluster.scheduler.now_us
    process.votes_heard = 301
    monitor.elections.look_at(process, monitor.judgement, now_us, 3)
    assert monitor.judgement.violations == []
    process.votes_heard = 400
    monitor.elections.look_at(process, monitor.judgement, now_us, 3)
    assert [violation.rule for violation in monitor.judgement.violations] == ["election"]


def test_many_elections_in_no_time_are_circles_too() -> None:
    cluster, monitor = members()
    process = cluster.machines[3].process
    assert process is not None
    now_us = cluster.scheduler.now_us
    for _ in range(SPELLS_MAX):
        monitor.elections.count_spell(process, monitor.judgement, now_us)
    for _ in range(SPELLS_MAX):
        monitor.elections.count_spell(process, monitor.judgement, now_us + 1_000_001)
    assert monitor.judgement.violations == []
    monitor.elections.count_spell(process, monitor.judgement, now_us + 1_000_001)
    assert [violation.rule for violation in monitor.judgement.violations] == ["election"]


@pytest.mark.parametrize("pending", [False, True])
def test_who_leads_needs_the_votes_of_a_quorum_of_every_view(pending: bool) -> None:
    cluster, monitor = members()
    assert monitor.judgement.counts["elected"] >= 1
    process = cluster.machines[3].process
    assert process is not None
    peer = process.server.peer
    assert peer is not None
    assert process.server.leading is not None
    if pending:
        lines = {sid: server_line(sid, sid < 3) for sid in (1, 2, 3)} | {4: server_line(4, False)}
        peer.last_seen = EnsembleConfig(lines, peer.config.version + 1)
    # As if it had just been elected: by all that have voted.
    checker = monitor.elections if pending else ElectionChecker()
    process.notes["elected"] = None
    if not pending:
        # Nobody has: it was named by a reconfiguration.
        checker.look_at(process, monitor.judgement, cluster.scheduler.now_us, 3)
        assert monitor.judgement.violations == []
        vote = peer.election.current_vote
        n = Notification(LOOKING, 3, vote.zxid, vote.election_epoch, vote.peer_epoch, 2, None)
        checker.voted(3, frame_notification(encode_notification(n)))
        process.notes["elected"] = None
    checker.look_at(process, monitor.judgement, cluster.scheduler.now_us, 3)
    (violation,) = monitor.judgement.violations
    assert violation.rule == "election"
    assert "have sent" in violation.text
