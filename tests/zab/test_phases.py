"""State machines move along their tables and nowhere else."""

import pytest

from zabra.zab import phases
from zabra.zab.phases import IllegalMove, Machine


@pytest.mark.parametrize("make", [phases.server_machine, phases.zab_machine, phases.sync_machine])
def test_every_pair_is_a_move_or_illegal(make: object) -> None:
    assert callable(make)
    names = make().names
    for old in names:
        for new in names:
            machine = make()
            machine.state = old
            if new in machine.moves[old]:
                assert machine.can_move(new)
                move = machine.move(new, "because")
                assert machine.state == new
                assert (move.old, move.new, move.why) == (names[old], names[new], "because")
            else:
                assert not machine.can_move(new)
                with pytest.raises(IllegalMove):
                    machine.move(new, "because")
                assert machine.state == old


def test_tables_name_only_known_states_and_leave_none_without_an_exit() -> None:
    tables = [
        (phases.SERVER_STATES, phases.SERVER_MOVES),
        (phases.ZAB_STATES, phases.ZAB_MOVES),
        (phases.SYNC_MODES, phases.SYNC_MOVES),
    ]
    for names, moves in tables:
        assert sorted(moves) == sorted(names)
        for targets in moves.values():
            assert targets
            assert set(targets) <= set(names)


def test_phases_come_in_order_and_each_may_fall_back_to_election() -> None:
    machine = phases.zab_machine()
    for state in (phases.DISCOVERY, phases.SYNCHRONIZATION, phases.BROADCAST):
        machine.move(state, "the paper's order")
        assert machine.can_move(phases.ELECTION)
    assert machine.word() == "BROADCAST"
    with pytest.raises(IllegalMove, match="BROADCAST -> SYNCHRONIZATION"):
        machine.move(phases.SYNCHRONIZATION, "back")


def test_an_unknown_state_is_illegal() -> None:
    machine: Machine = phases.server_machine()
    with pytest.raises(IllegalMove):
        machine.move(17, "no such state")


def test_a_move_reads_well() -> None:
    move = phases.server_machine().move(phases.LEADING, "elected")
    assert repr(move) == "ServerState: LOOKING -> LEADING (elected)"
