"""The oracle of two voters: verifiers that ask it, and a leader that it lets go on alone."""

from zabra.config.ensemble import EnsembleConfig
from zabra.server.oracle import Oracle
from zabra.server.settings import Settings
from zabra.sim.cluster import Cluster, Shape
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng
from zabra.zab.quorum import QuorumHierarchical, QuorumOracleMaj


def view(sids: list[int], version: int = 0) -> EnsembleConfig:
    lines = [f"server.{sid}=h{sid}:1:2" for sid in sids] + [f"version={version:x}"]
    return EnsembleConfig.parse("\n".join(lines))


def test_one_of_two_is_enough_while_the_oracle_says_so_and_nobody_follows() -> None:
    oracle = Oracle()
    verifier = oracle.verifier(view([1, 2]))
    assert not verifier.contains_quorum([1])
    oracle.hear(True)
    assert verifier.contains_quorum([1])
    assert not oracle.count_followers(1)
    assert not verifier.contains_quorum([1])
    assert oracle.count_followers(0)
    oracle.hear(False)
    assert not oracle.count_followers(0)
    assert not verifier.contains_quorum([1])
    assert verifier.contains_quorum([1, 2])


def test_a_view_has_one_verifier() -> None:
    oracle = Oracle()
    first = oracle.verifier(view([1, 2]))
    assert oracle.verifier(view([1, 2])) is first
    second = oracle.verifier(view([1, 2], 5))
    assert second is not first
    assert oracle.verifier(view([1, 2])) is first
    oracle.hear(True)
    assert isinstance(first, QuorumOracleMaj)
    assert isinstance(second, QuorumOracleMaj)
    assert first.oracle
    assert second.oracle


def test_three_voters_ask_no_oracle() -> None:
    oracle = Oracle()
    oracle.hear(True)
    assert not oracle.verifier(view([1, 2, 3])).contains_quorum([1])
    grouped = view([1, 2, 3]).format() + "\ngroup.1=1:2:3"
    assert isinstance(oracle.verifier(EnsembleConfig.parse(grouped)), QuorumHierarchical)


def two_voters() -> Cluster:
    settings = Settings()
    settings.tick_ms = 200
    settings.has_oracle = True
    made = Cluster(Shape([1, 2]), settings, Prng(3, "oracle"), ClusterMonitor())
    made.start()
    made.run_ms(3000)
    return made


def leader_of(made: Cluster) -> int:
    return next(p.machine.sid for p in made.serving() if p.server.role.name() == "leader")


def tell(made: Cluster, sid: int, says: bool) -> None:
    process = made.machines[sid].process
    assert process is not None
    process.call(lambda server: server.oracle_says(says))


def test_a_leader_told_so_goes_on_alone_and_one_that_is_not_steps_down() -> None:
    made = two_voters()
    first = leader_of(made)
    role = made.machines[first].process.server.role
    tell(made, first, True)
    made.run_ms(500)
    made.machines[3 - first].kill()
    made.run_ms(5000)
    assert made.machines[first].process.server.role is role, "the same leadership goes on"
    assert role.serves()
    tell(made, first, False)
    made.run_ms(5000)
    assert not made.machines[first].process.server.role.serves()
    # Told so while it looks, it is elected by itself.
    tell(made, first, True)
    made.run_ms(5000)
    assert leader_of(made) == first
    # The other one comes back and follows.
    made.machines[3 - first].start()
    made.run_ms(5000)
    assert sorted(p.server.role.name() for p in made.serving()) == ["follower", "leader"]


def test_without_an_oracle_one_of_two_steps_down() -> None:
    made = two_voters()
    first = leader_of(made)
    made.machines[3 - first].kill()
    made.run_ms(5000)
    assert not made.machines[first].process.server.role.serves()
