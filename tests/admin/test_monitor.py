"""mntr: the lines of each role, in an order that small readers can live with."""

from __future__ import annotations

import re

import pytest
from tests.admin.helpers import RECORDED, InRole, recorded_run, words_for

from zabra.metrics import Metrics


@pytest.mark.parametrize("role", ["standalone", "leader", "follower", "observer"])
def test_mntr_has_the_lines_of_that_role(role: str) -> None:
    drive = recorded_run()
    server = drive.server if role == "standalone" else InRole(drive, role)
    text = words_for(server).answer("mntr", b"").decode()
    lines = text.removesuffix("\n").split("\n")
    names = [line.split("\t")[0] for line in lines]
    assert len(set(names)) == len(names)
    counted = {f"zk_{name}" for name in Metrics().dump()}
    keyed = [name for name in names if name not in counted]
    # Counted by key: not in the recording, and named after the key.
    gauges = [name for name in keyed if not name.endswith(("_read_per_namespace", "_write_per_namespace"))]
    assert sorted(gauges) == sorted([f"zk_{name}" for name in RECORDED["gauges"][role]])
    for line in lines:
        assert re.fullmatch(r"zk_\w+\t(-?\d+|-?\d+\.\d+(E-?\d+)?)", line) or line.startswith(
            ("zk_version\t", f"zk_server_state\t{role}", "zk_peer_state\t")
        ), line


def test_collectd_finds_every_gauge_in_the_first_4096_bytes() -> None:
    """Its plug-in reads no further (and looks at the beginnings of names)."""
    drive = recorded_run()
    limits = drive.connect()
    # Many namespaces with a quota make many lines; none may come before the gauges.
    drive.create(limits, "/zookeeper/quota/app")
    for node, text in (("zookeeper_limits", b"count=9,bytes=9"), ("zookeeper_stats", b"count=1,bytes=1")):
        drive.create(limits, f"/zookeeper/quota/app/{node}", text)
    text = words_for(InRole(drive, "leader")).answer("mntr", b"")
    assert b"zk_app_quota_count_limit_per_namespace\t9\n" in text
    head = text[:4096].decode()
    for name in RECORDED["gauges"]["leader"]:
        assert f"\nzk_{name}\t" in f"\n{head}", name
    for prefix in ("avg_latency", "min_latency", "max_latency", "packets_sent", "watch_count", "znode_count"):
        assert len(re.findall(rf"(?m)^zk_{prefix}", text.decode())) == 1
