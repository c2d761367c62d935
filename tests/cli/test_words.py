"""The words of a server are those of admin, with its configuration."""

from tests.admin.driver import Drive
from tests.admin.helpers import config_with

from zabra.cli.words import words_of


def test_words_obey_the_configuration() -> None:
    drive = Drive()
    answer = words_of(config_with(four_letter_words=("ruok",), version_text="3.8.0"), drive.server)
    assert drive.word(answer, "ruok") == "imok"
    assert drive.word(answer, "srvr").startswith("Zookeeper version: 3.8.0-")
    assert drive.word(answer, "stat") == "stat is not executed because it is not in the whitelist.\n"


def test_what_runs_beside_the_server_is_in_mntr() -> None:
    drive = Drive()
    config = config_with(four_letter_words=("*",))
    answer = words_of(config, drive.server, lambda: {"publisher_cursor": {"audit": 7}})
    assert "\nzk_audit_publisher_cursor\t7\n" in drive.word(answer, "mntr")
