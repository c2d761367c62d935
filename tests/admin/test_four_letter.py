"""The texts of the words against what Apache ZooKeeper 3.9.4 printed; who may ask; what answers may cost."""

from __future__ import annotations

import re

import pytest
from tests.admin.driver import Drive
from tests.admin.helpers import (
    RECORDED,
    Clock,
    InRole,
    config_with,
    in_any_order,
    masked,
    words_for,
)

from zabra.admin import four_letter, word_texts
from zabra.admin.commands import BY_WORD, NOT_SERVING
from zabra.admin.four_letter import COSTLY_BURST_MS, Budget, FourLetterWords, enabled_words
from zabra.metrics import Metrics
from zabra.proto import codes

ALL_WORDS = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr",
    "stat", "stmk", "wchc", "wchp", "wchs",
]  # fmt: skip


def recorded_run() -> Drive:
    """What was done to Apache before its words were recorded: two clients, ephemerals, watches."""
    drive = Drive()
    first = drive.connect(port=41450)
    drive.create(first, "/app", b"x", xid=1)
    drive.create(first, "/app/e", flags=codes.MODE_EPHEMERAL, xid=2)
    drive.create(first, "/app/f", flags=codes.MODE_EPHEMERAL, xid=3)
    drive.read(first, codes.OP_GET_DATA, "/app", watch=True, xid=4)
    drive.read(first, codes.OP_GET_CHILDREN, "/app", watch=True, xid=5)
    assert drive.read(first, codes.OP_EXISTS, "/nope", watch=True, xid=6)[0] == codes.ERR_NO_NODE
    second = drive.connect(port=41462)
    drive.read(second, codes.OP_GET_DATA, "/app", watch=True, xid=1)
    assert drive.read(second, codes.OP_GET_DATA, "/zz", xid=2)[0] == codes.ERR_NO_NODE
    return drive


def test_the_words_are_upstreams() -> None:
    assert sorted(BY_WORD) == ALL_WORDS


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


@pytest.mark.parametrize(
    ("whitelist", "read_only", "enabled"),
    [
        ((), False, ["srvr"]),
        (("srvr",), False, ["srvr"]),
        ((), True, ["isro", "srvr"]),
        (("ruok", "stat"), False, ["ruok", "srvr", "stat"]),
        (("*",), False, ALL_WORDS),
        (("ruok", "*"), False, ALL_WORDS),
        (("nope", "ruok"), False, ["ruok", "srvr"]),
    ],
)
def test_whitelist(whitelist: tuple[str, ...], read_only: bool, enabled: list[str]) -> None:
    assert sorted(enabled_words(whitelist, read_only)) == enabled


@pytest.mark.parametrize("word", ALL_WORDS)
def test_a_word_outside_the_whitelist_is_refused(word: str) -> None:
    drive = Drive()
    config = config_with(four_letter_words=("srvr",))
    words = FourLetterWords(config, drive.server, Clock())
    text = drive.word(words.answer, word)
    if word == "srvr":
        assert text.startswith("Zookeeper version: ")
    else:
        assert text == f"{word} is not executed because it is not in the whitelist.\n"


@pytest.mark.parametrize("word", ALL_WORDS)
def test_a_server_that_does_not_serve(word: str) -> None:
    server = InRole(Drive(), "looking")
    server.serves = False
    text = words_for(server).answer(word, bytes(8)).decode()
    spoken = {"ruok": "imok", "isro": "null", "gtmk": "306", "stmk": "0", "hash": NOT_SERVING}
    if word == "envi":
        assert text.startswith("Environment:\n")
    else:
        assert text == spoken.get(word, NOT_SERVING + "\n")


def test_answers_count_as_packets() -> None:
    drive = Drive()
    words = words_for(drive.server)
    before = drive.server.stats.packets_sent
    words.answer("ruok", b"")
    assert drive.server.stats.packets_sent == before + 1
    size = len(words.answer("mntr", b""))
    assert drive.server.stats.packets_sent == before + 1 + -(-size // 8192)


def test_long_answers_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(four_letter, "ENTRIES_MAX", 3)
    drive = Drive()
    conn = drive.connect()
    for number in range(5):
        drive.create(conn, f"/n{number}", flags=codes.MODE_EPHEMERAL)
        drive.get(conn, f"/n{number}", watch=True)
        drive.connect(port=41000 + number)
    words = words_for(drive.server)
    for word, shown in (("wchc", "\t/n"), ("wchp", "\t0x"), ("cons", " /127"), ("stat", " /127")):
        text = words.answer(word, b"").decode()
        assert text.count(shown) == 3, word
        assert f"{word_texts.CUT}\n" in text
    dump = words.answer("dump", b"").decode()
    assert dump.count("\t/n") == 3
    assert dump.count("\tip: ") == 3
    assert dump.endswith(f"{word_texts.CUT}\n")
    monkeypatch.setattr(four_letter, "ENTRIES_MAX", 6)
    for word in ("wchc", "wchp", "cons", "stat", "dump"):
        assert word_texts.CUT not in words.answer(word, b"").decode()


def test_costly_words_get_a_share_of_the_time() -> None:
    drive = Drive()
    clock = Clock()
    words = FourLetterWords(config_with(), Slow(drive, clock), clock)
    answers = [words.answer("wchp", b"") for _ in range(20)]
    refused = f"wchp {four_letter.TOO_OFTEN}\n".encode()
    spent = clock.now
    # What was saved up, what came in meanwhile, and the last answer, which went beyond.
    assert spent == COSTLY_BURST_MS + 200
    assert answers.count(refused) == 20 - 12
    # Words that health checks live on are answered whatever happens.
    assert words.answer("ruok", b"") == b"imok"
    assert words.answer("srvr", b"").startswith(b"Zookeeper version")
    clock.now += 1100
    assert words.answer("wchp", b"") != refused
    assert words.answer("wchp", b"") == refused


def test_budget_saves_up_to_its_burst() -> None:
    clock = Clock()
    budget = Budget(clock, 0.1, 50.0)
    assert budget.has_some()
    clock.now += 100_000
    assert budget.has_some()
    start = clock.now
    clock.now += 60
    budget.spend_since(start)
    assert not budget.has_some()
    clock.now += 50
    # A debt of 4 was left: 60 spent, 50 + 6 there.
    assert budget.has_some()


class Slow(InRole):
    """A server whose costly pictures take 100 ms."""

    def __init__(self, drive: Drive, clock: Clock) -> None:
        super().__init__(drive, "standalone")
        self.clock = clock

    def status(self, parts: int = 0, limit: int = 1000):  # type: ignore[no-untyped-def]
        if parts:
            self.clock.now += 100
        return super().status(parts, limit)
