"""Traces in the specification's words: what is written so, and what is not so, is said."""

import pytest

from zabra.sim.scenario import Player
from zabra.sim.scenario_faults import ExpectationError
from zabra.sim.spec_schedule import zxid_of

BEGIN = "cluster voters=1,2,3\nshow nothing\nspec s0=3 s1=2 s2=1\nSetInitState s0 s1,s2\n"


def test_zxids_are_written_as_epoch_and_counter() -> None:
    assert zxid_of("1:2") == 0x1_0000_0002
    assert zxid_of("27:0") == 27 << 32


def test_after_the_initial_state_the_leader_alone_has_a_second_txn() -> None:
    Player().play(BEGIN + "expect disk 3 log=0x100000002\nexpect disk 1 log=0x100000001\n")


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("LeaderSyncFollower s0 s1", "s0 does not synchronise s1"),
        ("FollowerProcessSyncMessage s1 s0 SNAP", "s1 is not sent SNAP"),
        ("LeaderProcessACKLD s0 s1", "s1 has not acked"),
        ("FollowerProcessUPTODATE s1 s0", "3 sends 2 no UPTODATE"),
    ],
)
def test_a_step_that_cannot_be_taken_is_named(steps: str, why: str) -> None:
    with pytest.raises(ExpectationError, match=why):
        Player().play(BEGIN + steps)


def test_where_another_server_leads_the_rest_is_passed_over() -> None:
    text = BEGIN + (
        "FollowerProcessPROPOSAL s2 s0 1:2\nNodeCrash s0\nElectionAndDiscovery s1 s2\n"
        "LeaderProcessACKLD s1 s2\nFinish\nexpect leader 1\nexpect same\n"
    )
    assert "here s2 leads, not s1" in Player().play(text)
