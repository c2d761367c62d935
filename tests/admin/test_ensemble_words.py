"""A real ensemble of ours, word by word, against what an ensemble of Apache's printed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.admin.helpers import RECORDED, masked
from tests.interop.clients import Clients
from tests.interop.processes import ConfigValue, Ensemble, ServerProcess, poll

pytestmark = pytest.mark.slow


def member(sid: int, own: dict[str, ConfigValue], folder: Path) -> ServerProcess:
    argv = [sys.executable, "-m", "zabra", "server", "{config}"]
    return ServerProcess(argv, own, folder, name=f"member {sid}")


@pytest.fixture
def ensemble(tmp_path: Path) -> Iterator[Ensemble]:
    with Ensemble(member, 3, 1, tmp_path) as started:
        yield started


def told(server: ServerProcess, word: str) -> str:
    text = server.four_letter(word)
    assert text is not None
    return text


def gauge(server: ServerProcess, name: str) -> str:
    """One value of ``mntr``."""
    return dict(line.split("\t") for line in told(server, "mntr").strip().split("\n"))[f"zk_{name}"]


def without_numbers(text: str) -> str:
    """Ports, zxids, sizes and the like as N; the folder as Apache's."""
    text = re.sub(r"(data(?:Log)?Dir)=.*/version-2", r"\1=/srv/zookeeper/data/version-2", masked(text))
    return re.sub(r"\d+", "N", re.sub(r"0x[0-9a-f]+", "0xN", text))


def test_every_role_tells_what_apaches_tells(ensemble: Ensemble) -> None:
    roles = {str(server.mode()): server for server in ensemble.members.values()}
    assert sorted(roles) == ["follower", "leader", "observer"]
    with Clients() as client_of:
        for number, server in enumerate(roles.values()):
            client_of(server.address).create(f"/e{number}", b"", ephemeral=True)
        for role, server in roles.items():
            for word in ("isro", "srvr", "conf"):
                assert without_numbers(told(server, word)) == without_numbers(RECORDED[role][word]), word
            values = dict(line.split("\t") for line in told(server, "mntr").strip().split("\n"))
            missing = [name for name in RECORDED["gauges"][role] if f"zk_{name}" not in values]
            assert missing == []
            assert values["zk_quorum_size"] == "3"
            assert values["zk_global_sessions"] == "3"
        leader = dict(line.split("\t") for line in told(roles["leader"], "mntr").strip().split("\n"))
        assert (leader["zk_learners"], leader["zk_synced_followers"], leader["zk_synced_observers"]) == (
            "3",
            "2",
            "1",
        )
        assert int(leader["zk_proposal_count"]) == int(leader["zk_commit_count"]) == 6
        # The two followers may have committed the last one before the leader's own disk has it.
        poll(
            "six acks of the leader's own",
            20.0,
            lambda: gauge(roles["leader"], "cnt_proposal_ack_creation_latency") == "6" or None,
        )
        # Both followers acked each; an ack that comes after the commit has nothing to be measured by.
        acked = [
            int(leader[f"zk_cnt_{sid}_ack_latency"])
            for sid in (1, 2, 3)
            if f"zk_cnt_{sid}_ack_latency" in leader
        ]
        assert sum(acked) >= 6
        follower = dict(line.split("\t") for line in told(roles["follower"], "mntr").strip().split("\n"))
        assert follower["zk_learner_proposal_received_count"] == "6"
        assert follower["zk_learner_commit_received_count"] == "6"
        assert int(follower["zk_cnt_follower_sync_time"]) >= 1
        assert int(follower["zk_looking_count"]) >= 1
