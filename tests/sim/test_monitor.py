"""The monitor's own count of quorums: naive, right, and heard."""

import random

import pytest
from tests.sim import short_run

from zabra.config.ensemble import EnsembleConfig
from zabra.sim.cluster import server_line
from zabra.sim.monitor import ClusterMonitor, is_quorum
from zabra.zab.quorum import verifier_of


@pytest.mark.parametrize("grouped", [False, True])
def test_it_counts_as_the_servers_do(grouped: bool) -> None:
    draws = random.Random(7)
    for _ in range(500):
        sids = list(range(1, draws.randint(2, 10)))
        servers = {sid: server_line(sid, not grouped and sid > 1 and draws.random() < 0.3) for sid in sids}
        groups: dict[int, list[int]] = {}
        weights: dict[int, int] = {}
        if grouped:
            for sid in sids:
                groups.setdefault(draws.randint(1, 3), []).append(sid)
                weights[sid] = draws.randint(0, 3)
            # Nobody would be a quorum.
            weights[1] = 1
        view = EnsembleConfig(servers, 0, groups, weights)
        some = [sid for sid in sids if draws.random() < 0.6]
        assert is_quorum(view, some) is verifier_of(view).contains_quorum(some), (view.format(), some)


def test_a_commit_that_too_few_disks_have_is_complained_of() -> None:
    chain, _ = short_run.material()
    monitor = ClusterMonitor()
    monitor.ensemble = EnsembleConfig({sid: server_line(sid, sid == 4) for sid in (1, 2, 3, 4)}, 0)
    zxid = chain[0].header.zxid
    for sid in (1, 4):
        monitor.promise(sid).zxid = zxid
    monitor._extend(chain[0])
    (violation,) = monitor.judgement.violations
    assert violation.rule == "quorum"
    assert "on the disks of [1, 4] only" in violation.text
    monitor.promise(2).zxid = zxid
    monitor._extend(chain[0])
    assert len(monitor.judgement.violations) == 1
