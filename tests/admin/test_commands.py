"""The table of commands: upstream's names, and answers of the shape Apache ZooKeeper 3.9.5 gave."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.admin.driver import Drive
from tests.admin.helpers import ADMIN_SHAPES, InRole, config_with

from zabra.admin.commands import BY_NAME, BY_WORD, COMMANDS, NOT_SERVING, run_command
from zabra.admin.context import DEFAULT_TRACE_MASK, AdminContext
from zabra.proto import codes

# Upstream's primary names, 3.9; snapshot and restore carry streams and are the HTTP server's.
NAMES = [
    "connection_stat_reset", "configuration", "connections", "hash", "dirs", "dump", "environment",
    "get_trace_mask", "initial_configuration", "is_read_only", "last_snapshot", "leader", "monitor",
    "observer_connection_stat_reset", "observers", "ruok", "set_trace_mask", "server_stats", "stats",
    "stat_reset", "system_properties", "voting_view", "watches", "watches_by_path", "watch_summary",
    "zabstate",
]  # fmt: skip

# Members of "zabstate" that are the outcome of trying to connect, which nobody did.
UNTRIED = (
    "reachable_address",
    "all_reachable_addresses",
    "all_reachable_addresses_or_all",
    "reachable_or_one",
)
# Keys that are data.
MAPS = (
    "expiry_time_to_session_ids",
    "session_id_to_ephemeral_paths",
    "session_id_to_watched_paths",
    "path_to_session_ids",
    "current_config",
)


def shape(value: Any, key: str = "") -> Any:
    """Keys and types of an answer, in order."""
    if isinstance(value, dict):
        if key in MAPS:
            return {"*": shape(next(iter(value.values())))} if value else {}
        return {name: shape(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def expected(role: str, name: str) -> Any:
    recorded = ADMIN_SHAPES[role][name]
    if name == "icfg":
        # Upstream's members have forgotten theirs.
        recorded["initial_configuration"] = "str"
    for part in ("quorum_address", "election_address"):
        if part in recorded:
            recorded[part] = {key: one for key, one in recorded[part].items() if key not in UNTRIED}
    if "server_stats" in recorded:
        # A HashMap's order of getters changes from one run of Java to the next.
        recorded["server_stats"] = dict(sorted(recorded["server_stats"].items()))
    return recorded


def context_in(role: str) -> tuple[Drive, AdminContext]:
    drive = Drive()
    conn = drive.connect()
    drive.create(conn, "/app")
    drive.create(conn, "/app/e", flags=codes.MODE_EPHEMERAL)
    drive.get(conn, "/app", watch=True)
    server = drive.server if role == "standalone" else InRole(drive, role)
    return drive, AdminContext(config_with(), server)


def test_names_are_upstreams_and_unique() -> None:
    assert [row.name for row in COMMANDS] == NAMES
    assert len(BY_NAME) == sum(len(row.names) for row in COMMANDS)
    for word, row in BY_WORD.items():
        assert len(word) == 4
        assert word in row.names


@pytest.mark.parametrize("role", ["standalone", "leader", "follower", "observer"])
@pytest.mark.parametrize("name", sorted(set(ADMIN_SHAPES["standalone"]) - {"nosuch"}))
def test_answers_have_apaches_shape(role: str, name: str) -> None:
    _, context = context_in(role)
    answer = run_command(context, name, {}, 1000)
    if "server_stats" in answer:
        assert isinstance(answer["server_stats"], dict)
        answer["server_stats"] = dict(sorted(answer["server_stats"].items()))
    recorded = expected(role, name)
    if role != "standalone" and name in ("dump", "wchc", "wchp", "voting_view"):
        # What was there differs; the form does not.
        assert list(shape(answer)) == list(recorded)
    else:
        assert shape(answer) == recorded
        assert list(answer) == list(recorded)
    json.dumps(answer)


def test_unknown_and_not_serving() -> None:
    drive, context = context_in("standalone")
    assert run_command(context, "nosuch", {}, 10) == {"command": "nosuch", "error": "Unknown command: nosuch"}
    looking = InRole(drive, "looking")
    looking.serves = False
    context = AdminContext(config_with(), looking)
    assert run_command(context, "srvr", {}, 10) == {"command": "srvr", "error": NOT_SERVING}
    assert run_command(context, "gtmk", {}, 10)["tracemask"] == DEFAULT_TRACE_MASK
    assert run_command(context, "zabstate", {}, 10)["zabstate"] == ""


def test_monitor_is_what_mntr_prints() -> None:
    _, context = context_in("leader")
    answer = run_command(context, "mntr", {}, 10)
    assert list(answer)[:3] == ["version", "server_state", "peer_state"]
    assert answer["peer_state"] == "leading - broadcast"
    assert answer["znode_count"] == 7
    assert answer["synced_followers"] == 2
    assert answer["cnt_updatelatency"] == 3


def test_reset_commands_reset() -> None:
    drive, context = context_in("standalone")
    assert drive.server.status().packets_received == 4
    run_command(context, "stat_reset", {}, 10)
    assert drive.server.status().packets_received == 0
    assert drive.server.metrics.updatelatency.summary.count == 0
    run_command(context, "crst", {}, 10)
    (one,) = run_command(context, "cons", {}, 10)["connections"]  # type: ignore[misc]
    assert one["packets_received"] == 0
    assert one["last_operation"] == "NA"
    leading = InRole(drive, "leader")
    run_command(AdminContext(config_with(), leading), "orst", {}, 10)
    assert leading.observer_resets == 1


@pytest.mark.parametrize("given", ["x", "", "1.5", str(2**63), None])
def test_trace_mask_wants_a_long(given: str | None) -> None:
    _, context = context_in("standalone")
    answer = run_command(context, "stmk", {} if given is None else {"traceMask": given}, 10)
    assert str(answer["error"]).startswith("setTraceMask requires long traceMask argument")
    assert context.trace_mask == DEFAULT_TRACE_MASK


def test_trace_mask_is_set() -> None:
    _, context = context_in("standalone")
    assert run_command(context, "stmk", {"traceMask": "-5"}, 10)["tracemask"] == -5
    assert run_command(context, "gtmk", {}, 10)["tracemask"] == -5


def test_leader_and_zab_state_of_a_member() -> None:
    _, context = context_in("follower")
    leader = run_command(context, "leader", {}, 10)
    assert (leader["is_leader"], leader["leader_id"], leader["leader_ip"]) == (False, 3, "127.0.0.1")
    state = run_command(context, "zabstate", {}, 10)
    assert (state["voting"], state["zabstate"], state["zab_counter"]) == (True, "broadcast", 3)
    view = run_command(context, "voting_view", {}, 10)["current_config"]
    assert isinstance(view, dict)
    assert sorted(view) == ["1", "2", "3"]
    _, context = context_in("observer")
    assert run_command(context, "zabstate", {}, 10)["voting"] is False


def test_properties_leave_out_secrets() -> None:
    drive = Drive()
    config = config_with(super_digest="super:secret", origins={"super_digest": "zoo.cfg:3"})
    answer = run_command(AdminContext(config, drive.server), "sysp", {}, 10)
    assert answer["DigestAuthenticationProvider.superDigest"] == "********"
    assert "secret" not in str(answer)


def test_last_snapshot_before_and_after_the_first() -> None:
    drive, context = context_in("standalone")
    # Drive carries out snapshots at once: the one a server starts with is there.
    done = run_command(context, "lsnp", {}, 10)
    assert done["zxid"] == "0"
    assert done["timestamp"] == (drive.wall_ms) // 1000
    drive.server.snapshotter.last_zxid = -1
    drive.server.snapshotter.last_wall_ms = -1
    before = run_command(context, "lsnp", {}, 10)
    assert (before["zxid"], before["timestamp"]) == ("f" * 16, -1)
