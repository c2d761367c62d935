"""The failover benchmark: its table, and one real kill of an Apache leader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.wire import NODE_EXISTS, Closed, Session
from tests.cli.fake_zookeeper import FakeZooKeeper
from tests.interop import apache

from bench import failover


def test_table_has_percentiles_and_kept_sessions() -> None:
    rows = [
        {"system": "zabra", "first_ack_ms": float(ms), "moved_session_ms": 2.0 * ms, "session_kept": ms != 7}
        for ms in range(10, 0, -1)
    ]
    line = failover.markdown(rows, ["zabra"]).splitlines()[-1]
    assert line == "| zabra | 10 | 6 | 9 | 10 | 10 | 11 | 9 of 10 |"


def test_sessions_speak_the_protocol() -> None:
    with FakeZooKeeper() as server:
        session = Session(timeout_s=10)
        session.connect(server.address)
        assert session.session_id == 1
        assert session.create("/a", b"x") == 0
        assert session.create("/a", b"x") == NODE_EXISTS
        assert session.set("/a", b"y") == 0
        assert server.nodes["/a"] == b"y"
        session.close()
        with pytest.raises(Closed, match="not connected"):
            session.set("/a", b"z")
        assert server.violations == []


def test_a_refused_session_is_an_error() -> None:
    with FakeZooKeeper() as server:
        server.does.refuse_first = 1
        session = Session(timeout_s=10)
        with pytest.raises(OSError, match=r"closed by the server|reset"):
            session.connect(server.address)
        session.connect(server.address)
        session.close()


@pytest.mark.java
@pytest.mark.slow
def test_a_killed_leader_is_replaced_and_sessions_move(tmp_path: Path) -> None:
    apache.require_java()
    places = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    words = ["--systems", "apache", "--kills", "1", "--jvm-flags=-Xmx128m", *places]
    assert failover.main(words) == 0
    [path] = (tmp_path / "results").iterdir()
    _, row = [json.loads(line) for line in path.read_text().splitlines()]
    assert row["session_kept"]
    assert row["next_leader"] != row["killed"]
    assert 0 < row["first_ack_ms"] <= row["all_survivors_ms"]
