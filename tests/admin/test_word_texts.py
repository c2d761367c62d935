"""The texts of the words against what Apache ZooKeeper 3.9.4 printed."""

from __future__ import annotations

import pytest
from tests.admin.driver import Drive
from tests.admin.helpers import RECORDED, InRole, in_any_order, masked, recorded_run, words_for

from zabra.proto import codes


@pytest.mark.parametrize(
    "word",
    ["ruok", "isro", "srvr", "stat", "conf", "cons", "dump", "wchs", "wchc", "wchp", "dirs", "gtmk", "hash"],
)
def test_standalone_texts_are_apaches(word: str) -> None:
    drive = recorded_run()
    words = words_for(drive.server)
    text = drive.word(words.answer, word)
    assert in_any_order(masked(text)) == in_any_order(masked(RECORDED["standalone"][word]))


def test_resets_are_apaches() -> None:
    drive = recorded_run()
    words = words_for(drive.server)
    recorded = RECORDED["standalone"]
    assert drive.word(words.answer, "crst") == recorded["crst"]
    cons = drive.word(words.answer, "cons")
    assert in_any_order(masked(cons)) == in_any_order(masked(recorded["cons after crst"]))
    assert drive.word(words.answer, "srst") == recorded["srst"]
    srvr = drive.word(words.answer, "srvr")
    # The answer to srst, and srvr itself.
    assert "Latency min/avg/max: 0/0.0/0\nReceived: 1\nSent: 1\n" in srvr


@pytest.mark.parametrize("role", ["leader", "follower", "observer"])
@pytest.mark.parametrize("word", ["isro", "srvr", "conf", "dump", "dump with local sessions"])
def test_texts_of_members_are_apaches(role: str, word: str) -> None:
    drive = Drive()
    # Four sessions with an ephemeral node each, as there were; one of them was a client of this server.
    clients = [drive.connect(port=40000 + number) for number in range(4)]
    drive.create(clients[0], "/app")
    for number, client in enumerate(clients):
        drive.create(client, f"/app/e{number + 1}", flags=codes.MODE_EPHEMERAL)
    for client in clients[1:]:
        drive.lose(client)
    server = InRole(drive, role)
    server.local_sessions = "local" in word
    words = words_for(server, client_port=13100 + 10 * server.status().server_id)
    text = masked(drive.word(words.answer, word[:4]))
    recorded = masked(RECORDED[role][word]).replace("0x100000009", "0x9")
    assert in_any_order(text) == in_any_order(recorded)


def test_a_read_only_server_says_so() -> None:
    drive = Drive()
    server = InRole(drive, "read-only")
    words = words_for(server)
    assert words.answer("isro", b"") == b"ro"
    head = words.answer("srvr", b"").decode().split("\n")
    assert head[1] == "READ-ONLY mode; serving only read-only clients"
    assert "Mode: read-only" in head


def test_latencies_before_3_6_are_integers() -> None:
    drive = Drive()
    conn = drive.connect()
    for took_ms in (1, 2):
        drive.get(conn, "/", took_ms=took_ms)
    new = words_for(drive.server).answer("srvr", b"").decode()
    old = words_for(drive.server, version_text="3.5.6").answer("srvr", b"").decode()
    assert "Latency min/avg/max: 0/1.0/2\n" in new
    assert "Latency min/avg/max: 0/1/2\n" in old
    assert old.startswith("Zookeeper version: 3.5.6-")


def test_trace_mask() -> None:
    words = words_for(Drive().server)
    assert words.answer("gtmk", b"") == b"306"
    assert words.answer("stmk", (2**63 - 2).to_bytes(8, "big")) == b"9223372036854775806"
    assert words.answer("stmk", b"\xff" * 8 + b"more") == b"-1"
    assert words.answer("gtmk", b"") == b"-1"
    # Upstream dies of a buffer that is too short and says nothing.
    assert words.answer("stmk", b"1234567") == b""
    assert words.answer("gtmk", b"") == b"-1"
