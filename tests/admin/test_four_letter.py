"""Who may ask a word, what is said while not serving, and what an answer may cost."""

from __future__ import annotations

import pytest
from tests.admin.driver import Drive
from tests.admin.helpers import Clock, InRole, config_with, words_for

from zabra.admin import context, four_letter, word_texts
from zabra.admin.commands import BY_WORD, NOT_SERVING
from zabra.admin.four_letter import COSTLY_BURST_MS, Budget, FourLetterWords, enabled_words
from zabra.proto import codes

ALL_WORDS = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr",
    "stat", "stmk", "wchc", "wchp", "wchs",
]  # fmt: skip


def test_the_words_are_upstreams() -> None:
    assert sorted(BY_WORD) == ALL_WORDS


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


def test_a_folder_that_cannot_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: str) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(context, "folder_size", refuse)
    words = words_for(Drive().server)
    text = words.answer("dirs", b"").decode()
    assert text == "dirs failed: [Errno 13] Permission denied: '/srv/zookeeper/data/version-2'\n"
    assert "Permission denied" in caplog.text


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
