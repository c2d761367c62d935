"""What clients and the operator do."""

from tests.sim.troubled import busy, ends_well

from zabra.sim.histories import CONNECTED


def test_clients_of_one_server_move() -> None:
    run = busy()

    def connected() -> int:
        return sum(entry.kind == CONNECTED for entry in run.cluster.history.entries)

    before = connected()
    for _ in range(8):
        run.nemesis.inject("clients move")
        run.cluster.run_ms(1000)
    assert run.nemesis.counts["clients move"] > 0
    assert connected() > before
    ends_well(run)


def test_sessions_of_clients_that_die_expire() -> None:
    run = busy()
    sessions = sum(client.sessions for client in run.cluster.clients)
    assert run.nemesis.inject("clients die")
    run.cluster.run_ms(8000)
    assert sum(client.sessions for client in run.cluster.clients) > sessions
    ends_well(run)
    assert run.report.judgement.counts["expiries"] > 0


def test_the_operator_changes_the_view() -> None:
    run = busy()
    for _ in range(5):
        run.nemesis.inject("reconfig")
        run.cluster.run_ms(2000)
    assert run.operator.succeeded + run.operator.refused >= 2
    assert run.operator.succeeded >= 1
    assert run.monitor.view is not None
    ends_well(run)
