"""What happens to disks; and that nothing is lost that only one of them has."""

import pytest
from tests.sim.troubled import busy, ends_well

from zabra.sim.disk_faults import take_snapshot
from zabra.storage.names import VERSION_FOLDER


@pytest.mark.parametrize("name", ["write error", "fsync error", "short write", "disk full"])
def test_a_server_whose_disk_fails_stops_and_comes_back(name: str) -> None:
    run = busy()
    assert run.nemesis.inject(name)
    run.cluster.run_ms(5000)
    assert len(run.monitor.stops) == 1
    ends_well(run)


@pytest.mark.parametrize("name", ["reformat", "lost entry", "bit flip"])
def test_data_is_damaged_of_one_machine_at_a_time(name: str) -> None:
    run = busy()
    assert run.nemesis.inject(name)
    damaged = [sid for sid in run.nemesis.sids() if run.monitor.promise(sid).was_damaged]
    assert len(damaged) == 1
    # It keeps nobody's promises until it has caught up.
    voters = run.options.shape().voters
    if damaged[0] in voters:
        assert not any(run.nemesis.is_safe_to_lose(sid) for sid in voters if sid != damaged[0])
    ends_well(run)


def test_a_snapshot_is_taken_when_the_operator_asks() -> None:
    run = busy()
    leader = run.nemesis.leader()
    assert leader is not None
    assert leader.process is not None
    leader.process.call(take_snapshot)
    run.cluster.run_ms(1000)
    zxid = int(leader.process.server.tree.last_processed_zxid)
    names = [name for name in leader.disk.list(VERSION_FOLDER) if name.startswith("snapshot.")]
    newest = max(int(name.partition(".")[2], 16) for name in names)
    assert 0 < newest <= zxid
    assert run.nemesis.inject("purge")
    ends_well(run)
