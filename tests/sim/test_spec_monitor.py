"""Steps are made of what servers do: roles, phases, logs, deliveries; a server on its own makes none."""

from zabra.sim import spec
from zabra.sim.scenario import Player


def test_a_standalone_server_is_outside_the_specification() -> None:
    player = Player(keep_steps=True)
    player.play("cluster voters=1\nstart 1\nclient c at=1\nc create /a v\n")
    assert player.monitor.steps == []
    assert player.monitor.judgement.counts["deliveries"] > 0


def test_a_follower_that_is_cut_back_takes_a_sync_message() -> None:
    player = Player(keep_steps=True)
    player.play(
        "cluster voters=1,2,3\nstart 1 2 3\nsettle\nclient c at=3\nc create /a v\nsettle\n"
        "hold 3>1,2 at=PROPOSAL\nc? create /b v\nrun 20\nkill 3\nheal\nrun 5000\nsettle\nstart 3\nsettle\n"
    )
    texts = [str(step) for step in player.monitor.steps]
    assert "FollowerProcessSyncMessage s3 s2 TRUNC 1:2" in texts
    ends = [step.action for step in player.monitor.steps if step.sid == 3]
    assert ends.index(spec.NODE_CRASH) < ends.index(spec.FOLLOWER_SYNC)
