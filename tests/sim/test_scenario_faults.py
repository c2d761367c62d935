"""Packets held, disks that stop, and expectations: each says no where it must."""

import pytest

from zabra.sim.scenario import Player
from zabra.sim.scenario_faults import ExpectationError

STARTED = "cluster voters=1,2,3\nstart 1 2 3\nsettle\nclient c at=2\nc create /a v\nsettle\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("expect leader 2", r"leaders are \[3\]"),
        ("expect leader none", r"leaders are \[3\]"),
        ("expect epoch 2", r"epochs of the leaders are \[1\]"),
        ("expect disk 1 accepted=2", "accepted epoch on disk 1 is 1"),
        ("expect disk 1 current=2", "current epoch on disk 1 is 1"),
        ("expect disk 1 log=0x100000009", "the log of 1 ends at 0x100000002"),
        ("expect present /b", "does not have /b"),
        ("expect absent /a", "has /a"),
        ("kill 2\nexpect up 1,2", "server 2 does not serve"),
        ("expect down 1", "server 1 serves"),
        ("expect stopped 1", "server 1 runs"),
        ("expect sync 1 SNAP", "synchronised by DIFF"),
        ("expect held 1>3 ACK", "held is nothing"),
        ("expect commits 9", "2 txns are committed"),
        ("kill 1\nexpect exact 1", "server 1 is down"),
        ("hold 3>1 at=PROPOSAL\nc create /b v\nexpect same", "server 1 is behind"),
        ("hold 3>1\nlet 3>1 SNAP", "3 sends 1 no SNAP"),
        ("inject 1>2 ACK 0x1", "1 has no connection to 2"),
    ],
)
def test_an_expectation_fails_the_scenario(line: str, why: str) -> None:
    Player().play(STARTED)
    with pytest.raises(ExpectationError, match=why):
        Player().play(STARTED + line)


def test_disk_work_stops_before_a_kind_of_command_and_goes_on() -> None:
    text = (
        "cluster voters=1,2,3\nhold-disk 1 at=current-epoch\nstart 1 2 3\nrun 500\n"
        "expect disk 1 accepted=1 current=0\nrelease-disk 1\nsettle\nexpect disk 1 accepted=1 current=1\n"
    )
    Player().play(text)


def test_a_server_whose_disk_is_full_stops_and_comes_back() -> None:
    text = STARTED + (
        "fill-disk 1\nsnapshot 1\nc create /b v\nrun 100\nexpect stopped 1\n"
        "free-disk 1\nstart 1\nsettle\nexpect same\n"
    )
    Player().play(text)


def test_a_rotten_log_and_a_rotten_snapshot_are_not_served() -> None:
    log = STARTED + "kill 1\nrot 1 log\nstart 1\nrun 100\nexpect stopped 1\n"
    assert "1 does not start: RottenLogError" in Player().play(log)
    snapshot = STARTED + "snapshot 1\nrun 100\nkill 1\nrot 1 snapshot\nstart 1\nsettle\nexpect same\n"
    Player().play(snapshot)


def test_a_slow_machine_and_a_file_of_its_own() -> None:
    Player().play(STARTED + "slow 1 50\nput 1 currentEpoch.tmp 9\nc create /b v\nsettle\nexpect same\n")
