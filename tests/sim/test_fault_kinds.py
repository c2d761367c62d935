"""The written fault model says of each kind what it is."""

from zabra.sim.fault_kinds import KIND_NAMES, KINDS


def test_kinds_have_names_of_their_own_and_a_text() -> None:
    assert len(set(KIND_NAMES)) == len(KINDS) > 40
    for kind in KINDS:
        assert kind.name == kind.name.strip().replace("_", " ")
        assert len(kind.text) > 20
        assert 0 < kind.chance < 1
