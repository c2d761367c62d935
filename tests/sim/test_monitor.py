"""The monitor's own count of quorums: naive, right, and heard."""

import random

import pytest
from tests.sim import short_run

from zabra.config.ensemble import EnsembleConfig
from zabra.server.ready import DISK_SNAPSHOT_BEGIN
from zabra.server.settings import Settings
from zabra.sim.checkers import is_quorum
from zabra.sim.cluster import Cluster, Shape, server_line
from zabra.sim.disk_faults import take_snapshot
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng
from zabra.storage.epochs import Epochs
from zabra.storage.names import VERSION_FOLDER
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


def members() -> tuple[Cluster, ClusterMonitor]:
    """Three voters that have been in step, and whoever watches them."""
    settings = Settings()
    settings.tick_ms = 200
    monitor = ClusterMonitor()
    cluster = Cluster(Shape([1, 2, 3]), settings, Prng(1, "cluster"), monitor)
    monitor.machines = cluster.machines
    monitor.ensemble = cluster.ensemble
    cluster.start()
    cluster.run_ms(3000)
    assert monitor.judgement.violations == []
    assert monitor.judgement.counts["promises"] >= 4
    return cluster, monitor


def test_an_epoch_that_no_quorum_has_on_its_disks_is_complained_of() -> None:
    cluster, monitor = members()
    monitor._check_establishment(3, 1)
    assert monitor.judgement.violations == []
    for sid in (1, 2):
        Epochs(cluster.machines[sid].disk, VERSION_FOLDER).save_current(0)
    monitor._check_establishment(3, 1)
    (violation,) = monitor.judgement.violations
    assert violation.rule == "promise"
    assert "leads in epoch 1" in violation.text


def test_an_epoch_that_is_acked_and_not_durable_is_complained_of() -> None:
    cluster, monitor = members()
    process = cluster.machines[1].process
    assert process is not None
    monitor._check_epoch(process, "currentEpoch", 1)
    assert monitor.judgement.violations == []
    # It has been written, and its name is not durable yet.
    disk = cluster.machines[1].disk
    file = disk.create(f"{VERSION_FOLDER}/currentEpoch.tmp")
    file.write(b"2")
    file.sync()
    disk.rename(f"{VERSION_FOLDER}/currentEpoch.tmp", f"{VERSION_FOLDER}/currentEpoch")
    monitor._check_epoch(process, "currentEpoch", 2)
    assert [violation.rule for violation in monitor.judgement.violations] == ["promise"]
    disk.sync_folder(VERSION_FOLDER)
    monitor._check_epoch(process, "currentEpoch", 2)
    assert len(monitor.judgement.violations) == 1


def test_a_disk_that_stood_still_goes_on_with_snapshots_too() -> None:
    cluster, _ = members()
    machine = cluster.machines[1]
    process = machine.process
    assert process is not None
    machine.disk_stops = frozenset((DISK_SNAPSHOT_BEGIN,))
    process.call(take_snapshot)
    cluster.run_ms(1000)
    assert process.server.snapshotter.busy()
    machine.disk_stops = frozenset()
    machine.hurry()
    cluster.run_ms(100)
    assert not process.server.snapshotter.busy()
