"""Whose data may be lost, and when; and what is undone."""

from tests.sim.troubled import busy, ends_well


def test_a_voter_may_lose_what_a_quorum_of_the_others_has() -> None:
    run = busy()
    nemesis, monitor = run.nemesis, run.monitor
    while not all(nemesis.is_safe_to_lose(sid) for sid in (1, 2, 3)):
        run.cluster.run_ms(1)
    # An observer is never needed.
    assert nemesis.is_safe_to_lose(4)
    # What it alone has acked may be committed by that ack.
    monitor.promise(2).zxid += 1
    assert not nemesis.is_safe_to_lose(2)
    assert nemesis.is_safe_to_lose(1)
    # With one of the three gone nobody else can be spared.
    monitor.promise(2).zxid -= 1
    run.cluster.machines[3].kill()
    assert not nemesis.is_safe_to_lose(1)
    assert not nemesis.is_safe_to_lose(2)
    run.cluster.machines[3].start()
    ends_well(run)


def test_what_lasts_is_undone_once() -> None:
    run = busy()
    done: list[str] = []
    run.nemesis.later(50, lambda: done.append("first"))
    run.nemesis.later(100_000, lambda: done.append("second"))
    run.cluster.run_ms(60)
    assert done == ["first"]
    run.nemesis.stop()
    assert done == ["first", "second"]
    run.cluster.run_ms(100)
    ends_well(run)
    assert done == ["first", "second"]


def test_who_is_down_for_no_reason_is_started() -> None:
    run = busy()
    machine = run.cluster.machines[2]
    machine.kill()
    run.nemesis.return_later(machine, 500)
    run.nemesis.revive()
    assert not machine.is_up()
    run.cluster.run_ms(600)
    assert machine.is_up()
    run.cluster.machines[1].kill()
    run.nemesis.revive()
    assert run.cluster.machines[1].is_up()
    ends_well(run)
