"""``zabra bench`` and its load generator against a strict, sometimes misbehaving fake server."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli import fake_zookeeper as fake
from tests.cli.fake_zookeeper import FakeZooKeeper

from zabra.cli import bench

OPCODES = {
    "get": fake.GET_DATA,
    "set": fake.SET_DATA,
    "create": fake.CREATE,
    "exists": fake.EXISTS,
    "children": fake.GET_CHILDREN,
    "sync": fake.SYNC,
}
SMALL = ("--connections", "4", "--keys", "5", "--children", "3", "--parents", "2", "--connect-timeout", "10")


@pytest.fixture(scope="session")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The load generator, built with every warning an error."""
    try:
        compiler = bench.find_compiler()
    except bench.BenchError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    target = tmp_path_factory.mktemp("helper") / "zkload"
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Werror"]
    subprocess.run(
        [compiler, *bench.COMPILE_FLAGS, *warnings, "-o", str(target), str(bench.SOURCE)], check=True
    )
    return target


@pytest.fixture
def server() -> Iterator[FakeZooKeeper]:
    with FakeZooKeeper() as running:
        yield running
        assert running.violations == []


def load(helper: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Runs the generator; exit code, result (empty when none) and what it told people."""
    done = subprocess.run([str(helper), *arguments], capture_output=True, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.mark.parametrize("op", sorted(OPCODES))
@pytest.mark.parametrize("mode", ["closed", "pipelined"])
def test_each_operation_is_sent_counted_and_cleaned_up(
    helper: Path, server: FakeZooKeeper, op: str, mode: str
) -> None:
    arguments = ["--servers", server.address, "--mode", mode, "--op", op, "--count", "60", "--window", "7"]
    code, result, _ = load(helper, *arguments, *SMALL)
    assert code == 0
    assert result["complete"]
    assert result["ops"] == result["latency_us"]["count"] == 60
    assert result["errors"] == result["disconnects"] == result["protocol_errors"] == 0
    # Each connection also sends one sync before the load; the fixed nodes are created before it.
    fixed = {"create": 4 + 2, "sync": 4}.get(op, 0)
    assert server.counts[OPCODES[op]] == 60 + fixed
    assert result["left"] is None
    assert list(server.nodes) == ["/"]
    assert server.goodbyes == server.sessions == 4


def test_kept_creates_lie_below_the_root_with_their_payload(helper: Path, server: FakeZooKeeper) -> None:
    arguments = ["--op", "create", "--count", "25", "--size", "33", "--keep", "--root", "/mine"]
    _, result, _ = load(helper, "--servers", server.address, *arguments, *SMALL)
    assert result["left"] == "/mine"
    made = sorted(path for path in server.nodes if "/n" in path)
    assert made == sorted(f"/mine/p/{i % 2:04}/n{i:012}" for i in range(25))
    assert {len(server.nodes[path]) for path in made} == {33}


def test_sets_write_the_payload_and_touch_every_key(helper: Path, server: FakeZooKeeper) -> None:
    arguments = ["--op", "set", "--count", "400", "--size", "9", "--keep", "--root", "/mine"]
    load(helper, "--servers", server.address, *arguments, *SMALL)
    keys = {path: data for path, data in server.nodes.items() if path.startswith("/mine/k/")}
    assert sorted(keys) == [f"/mine/k/{i:07}" for i in range(5)]
    assert {len(data) for data in keys.values()} == {9}


def test_mixed_follows_the_weights(helper: Path, server: FakeZooKeeper) -> None:
    arguments = ["--op", "mixed", "--mix", "get:3,set:1,exists:0", "--count", "2000"]
    _, result, _ = load(helper, "--servers", server.address, *arguments, *SMALL)
    by_op = result["latency_by_op_us"]
    assert sorted(by_op) == ["get", "set"]
    assert by_op["get"]["count"] + by_op["set"]["count"] == 2000
    # The seed is fixed: the share is 1500 give or take what 2000 draws allow.
    assert 1400 < by_op["get"]["count"] < 1600
    assert result["mix"] == {"get": 3, "set": 1}


def test_a_window_is_really_in_flight(helper: Path, server: FakeZooKeeper) -> None:
    # The server answers reads only when 8 of them wait: with fewer in flight the run would stand still.
    server.does.answer_in_groups = 8
    arguments = [
        "--mode",
        "pipelined",
        "--window",
        "8",
        "--connections",
        "1",
        "--count",
        "64",
        "--deadline",
        "60",
    ]
    code, result, _ = load(helper, "--servers", server.address, *arguments)
    assert code == 0
    assert result["ops"] == 64


def test_closed_loop_has_one_in_flight(helper: Path, server: FakeZooKeeper) -> None:
    server.does.answer_in_groups = 2
    # The ping that lets the fake go on, so that the run can clean up, comes after the deadline.
    limits = ["--warmup", "0", "--deadline", "0.4", "--session-timeout", "3000"]
    arguments = ["--connections", "1", "--count", "2", *limits]
    code, result, _ = load(helper, "--servers", server.address, *arguments)
    assert code == 1
    assert not result["complete"]
    assert result["ops"] == 0


def test_paced_load_sends_all_that_falls_due(helper: Path, server: FakeZooKeeper) -> None:
    arguments = ["--mode", "pipelined", "--rate", "3000", "--count", "300"]
    code, result, _ = load(helper, "--servers", server.address, *arguments, *SMALL)
    assert code == 0
    assert result["ops"] == 300
    assert result["rate_target"] == 3000


def test_durations_give_rates_per_second(helper: Path, server: FakeZooKeeper) -> None:
    arguments = ["--warmup", "0.1", "--duration", "1.1", "--pid", str(os.getpid())]
    code, result, _ = load(helper, "--servers", server.address, *arguments, *SMALL)
    assert code == 0
    assert len(result["rates"]) == 1
    assert 0 < result["rates"][0] <= result["ops"]
    assert result["server_cpu_s"][0] > 0
    assert result["self_cpu_s"] > 0


def test_answers_may_arrive_byte_by_byte(helper: Path, server: FakeZooKeeper) -> None:
    server.does.byte_by_byte = True
    code, result, _ = load(
        helper, "--servers", server.address, "--count", "30", "--mode", "pipelined", *SMALL
    )
    assert code == 0
    assert result["ops"] == 30


def test_idle_sessions_are_kept_alive_by_pings(helper: Path, server: FakeZooKeeper) -> None:
    server.does.until_ping = True
    arguments = ["--session-timeout", "90", "--count", "4", "--connections", "1"]
    code, result, _ = load(helper, "--servers", server.address, *arguments)
    assert code == 0
    assert result["ops"] == 4
    assert server.counts[fake.PING] >= 1


def test_errors_are_counted_by_code_and_not_as_operations(helper: Path, server: FakeZooKeeper) -> None:
    server.does.error_for[fake.SET_DATA] = -102
    _, result, _ = load(helper, "--servers", server.address, "--op", "set", "--count", "40", *SMALL)
    assert result["errors"] == 40
    assert result["error_codes"] == {"-102": 40}
    assert result["ops"] == 0


def test_a_lost_connection_is_reported_with_what_was_in_flight(helper: Path, server: FakeZooKeeper) -> None:
    # The first connection makes nine nodes and syncs; it is closed in the middle of the load.
    server.does.close_after = 30
    arguments = ["--connections", "1", "--keys", "5", "--count", "100"]
    code, result, told = load(helper, "--servers", server.address, *arguments)
    assert code == 1
    assert not result["complete"]
    assert result["disconnects"] == 1
    assert result["ops"] == 30 - 9 - 1
    assert result["lost_in_flight"] == 1
    assert result["left"] is not None
    assert "closed by the server" in told or "reset" in told


def test_an_answer_out_of_order_is_a_protocol_error(helper: Path, server: FakeZooKeeper) -> None:
    server.does.shift_xid_at = 15
    arguments = ["--connections", "1", "--keys", "5", "--count", "100"]
    code, result, told = load(helper, "--servers", server.address, *arguments)
    assert code == 1
    assert result["protocol_errors"] == 1
    assert "reply with xid 22 where 15 was due" in told


def test_refused_sessions_are_tried_again(helper: Path, server: FakeZooKeeper) -> None:
    server.does.refuse_first = 3
    code, result, _ = load(helper, "--servers", server.address, "--count", "8", *SMALL)
    assert code == 0
    assert result["retried_connects"] >= 3


def test_refused_for_ever_says_so(helper: Path, server: FakeZooKeeper) -> None:
    server.does.refuse_first = 1_000_000
    arguments = ["--servers", server.address, "--connections", "2", "--connect-timeout", "1"]
    code, result, told = load(helper, *arguments)
    assert code == 1
    assert result == {}
    assert "0 of 2 sessions" in told
    assert "maxClientCnxns" in told


def test_set_up_that_fails_names_the_error(helper: Path, server: FakeZooKeeper) -> None:
    code, _, told = load(helper, "--servers", server.address, "--root", "/no/such", *SMALL)
    assert code == 1
    assert "cannot make the nodes below /no/such: error -101" in told


def test_connections_are_spread_over_the_servers(helper: Path, server: FakeZooKeeper) -> None:
    with FakeZooKeeper(server.nodes) as other:
        other.lock = server.lock
        both = f"{server.address},{other.address}"
        code, _, _ = load(helper, "--servers", both, "--count", "50", *SMALL)
        assert code == 0
        assert (server.sessions, other.sessions) == (2, 2)
        assert other.violations == []


def test_watch_mode_tells_every_watcher_every_round(helper: Path, server: FakeZooKeeper) -> None:
    arguments = ["--mode", "watch", "--connections", "6", "--count", "5"]
    code, result, _ = load(helper, "--servers", server.address, *arguments)
    assert code == 0
    assert result["rounds"] == 5
    assert result["ops"] == 30
    assert result["last_event_us"]["count"] == 5
    assert server.counts[fake.SET_DATA] == 5
    assert list(server.nodes) == ["/"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "--servers is missing"),
        (["--servers", "127.0.0.1:1", "--mode", "open"], "--mode must be"),
        (["--servers", "127.0.0.1:1", "--op", "delete"], "'delete' is no operation"),
        (["--servers", "127.0.0.1:1", "--op", "mixed", "--mix", "get"], "--mix wants"),
        (["--servers", "127.0.0.1:1", "--op", "mixed", "--mix", "get:0"], "no weight above 0"),
        (["--servers", "127.0.0.1:1", "--connections", "0"], "--connections must be"),
        (["--servers", "127.0.0.1:1", "--window", "12x"], "--window must be"),
        (["--servers", "127.0.0.1:1", "--duration", "nan"], "--duration must be"),
        (["--servers", "127.0.0.1:1", "--root", "bench"], "--root must be"),
        (["--servers", "[::1:1"], "lacks a ]"),
        (["--servers", "127.0.0.1:1", "--mode", "watch", "--rate", "5"], "do not go together"),
        (["--servers", "127.0.0.1:1", "surplus"], "'surplus' is no option"),
    ],
)
def test_bad_arguments_are_named(helper: Path, arguments: list[str], text: str) -> None:
    code, result, told = load(helper, *arguments)
    assert code == 2
    assert result == {}
    assert text in told


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers(0, 2**62), min_size=1, max_size=200))
def test_percentiles_are_within_half_a_percent(helper: Path, values: list[int]) -> None:
    text = "\n".join(map(str, values))
    done = subprocess.run(
        [str(helper), "--histogram"], input=text, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    ordered = sorted(values)
    assert told["count"] == len(values)
    assert told["max"] == pytest.approx(ordered[-1] / 1e3, rel=1e-6, abs=0.0006)
    for name, per_mille in {"p50": 500, "p90": 900, "p99": 990, "p999": 999}.items():
        rank = -(-per_mille * len(values) // 1000)
        exact = ordered[rank - 1] / 1e3
        assert told[name] == pytest.approx(exact, rel=0.005, abs=0.0006)


def command(arguments: list[str]) -> int:
    """Runs ``zabra bench`` as the composition root does."""
    parser = argparse.ArgumentParser(prog="zabra")
    bench.register(parser.add_subparsers())
    args = parser.parse_args(["bench", *arguments])
    code: int = args.run(args)
    return code


def test_command_reports_for_people(
    helper: Path, server: FakeZooKeeper, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--connect", server.address, "--helper", str(helper), "--op", "mixed", "--count", "50"]
    assert command([*arguments, "--mode", "pipelined", "--connections", "3", "--pid", str(os.getpid())]) == 0
    out, _ = capfd.readouterr()
    assert "pipelined: get 90, set 10; 3 connections x 100 in flight; 100 B payload" in out
    assert "(50 in " in out
    assert "p99.9" in out
    assert "CPU us per operation" in out


def test_command_reports_errors_and_what_is_left(
    helper: Path, server: FakeZooKeeper, capfd: pytest.CaptureFixture[str]
) -> None:
    server.does.error_for[fake.GET_DATA] = -102
    arguments = ["--connect", server.address, "--helper", str(helper), "--count", "9", "--keep"]
    assert command([*arguments, "--connections", "3", "--root", "/left"]) == 0
    out, _ = capfd.readouterr()
    assert "errors: 9 (-102: 9); 0 connections lost" in out
    assert "nodes left behind below /left" in out


def test_command_prints_json(helper: Path, server: FakeZooKeeper, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--connect", server.address, "--helper", str(helper), "--mode", "watch", "--count", "2"]
    assert command([*arguments, "--connections", "3", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["rounds"] == 2


def test_command_fails_clearly_when_nobody_listens(helper: Path, capfd: pytest.CaptureFixture[str]) -> None:
    probe = FakeZooKeeper()
    probe._server.server_close()
    arguments = ["--connect", probe.address, "--helper", str(helper), "--count", "2"]
    assert load(helper, "--servers", probe.address, "--connect-timeout", "1")[0] == 1
    assert command([*arguments, "--connect-timeout", "1"]) == 1
    _, told = capfd.readouterr()
    assert "Connection refused" in told
    assert "no result" in told


def test_helper_is_built_once_per_source(tmp_path: Path, helper: Path) -> None:
    first = bench.build_helper(tmp_path)
    before = first.stat().st_mtime_ns
    assert bench.build_helper(tmp_path) == first
    assert first.stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    usage = subprocess.run([str(first), "--help"], capture_output=True, text=True, check=True)
    assert usage.stdout.startswith("usage: zkload")


def test_without_a_compiler_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert command(["--connect", "127.0.0.1:1"]) == 1
    assert "no C compiler" in capsys.readouterr().err
    monkeypatch.setenv("CC", "no-such-compiler")
    assert command(["--connect", "127.0.0.1:1"]) == 1
    assert "no-such-compiler, is not on PATH" in capsys.readouterr().err


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "badcc"
    script.write_text("#!/bin/sh\necho out of luck >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    with pytest.raises(bench.BenchError, match="out of luck"):
        bench.build_helper(tmp_path / "cache")


def test_a_helper_that_hangs_is_ended(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    with pytest.raises(bench.BenchError, match="did not end within"):
        bench.run_helper(Path(sleep), ["600"], 0.2)


def test_a_missing_helper_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command(["--connect", "127.0.0.1:1", "--helper", str(tmp_path / "gone")]) == 1
    assert "is no file" in capsys.readouterr().err
