"""What link faults do to the network, and that it is undone."""

from tests.sim.troubled import busy, ends_well

from zabra.sim.trouble import SPAN_MS


def test_slow_pairs_are_fast_again() -> None:
    run = busy()
    network = run.cluster.network
    assert run.nemesis.inject("delay")
    assert run.nemesis.inject("client delay")
    assert len(network.slow_pairs) > 1
    assert all(0 < extra_us <= 300_000 for extra_us in network.slow_pairs.values())
    run.cluster.run_ms(SPAN_MS + 100)
    assert network.slow_pairs == {}
    ends_well(run)


def test_a_leader_is_isolated_in_one_direction_at_least() -> None:
    run = busy()
    leader = run.nemesis.leader()
    assert leader is not None
    assert run.nemesis.inject("isolate leader")
    blocked = run.cluster.network.is_blocked
    others = [sid for sid in run.nemesis.sids() if sid != leader.sid]
    outward = {blocked(leader.sid, sid) for sid in others}
    inward = {blocked(sid, leader.sid) for sid in others}
    assert True in outward | inward
    assert len(outward) == len(inward) == 1
    ends_well(run)


def test_a_partition_has_two_sides() -> None:
    run = busy()
    assert run.nemesis.inject("partition")
    sids = run.nemesis.sids()
    blocked = run.cluster.network.is_blocked
    first = {sid for sid in sids if not blocked(sids[0], sid)}
    assert 0 < len(first) < len(sids)
    for a in sids:
        for b in sids:
            assert blocked(a, b) is ((a in first) != (b in first))
    ends_well(run)


def test_connections_are_cut() -> None:
    run = busy()
    before = run.cluster.network.connections()
    assert run.nemesis.inject("cut")
    run.cluster.run_ms(20)
    after = run.cluster.network.connections()
    assert 1 <= len([end for end in before if end not in after]) <= 3
    assert run.nemesis.inject("cut at a packet")
    ends_well(run)
