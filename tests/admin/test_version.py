"""The version text, in the forms clients parse."""

import re

import pytest

from zabra import __version__
from zabra.admin.version import UPSTREAM_VERSION, is_old_form, version_text

# What zkServer.sh, kazoo and Go clients look for.
KAZOO = re.compile(r"Zookeeper version: (\d+)(?:\.(\d+))?(?:\.(\d+))?")
GO_ZK = re.compile(
    r"^Zookeeper version: ([A-Za-z0-9\.\-]+), built on (\d\d/\d\d/\d\d\d\d \d\d:\d\d [A-Za-z0-9:\+\-]+)$"
)


def test_our_own() -> None:
    text = version_text("")
    assert text.startswith(f"{UPSTREAM_VERSION}-zabra.{__version__}, built on ")
    assert re.fullmatch(r"[^,]+, built on \d{4}-\d\d-\d\d \d\d:\d\d UTC", text)
    assert not is_old_form(text)


def test_kazoo_reads_the_numbers() -> None:
    found = KAZOO.match("Zookeeper version: " + version_text("3.8.0"))
    assert found is not None
    assert found.groups() == ("3", "8", "0")


@pytest.mark.parametrize("setting", ["3.5.6", "3.4.14", "3.5.6-c11b7e26, built on 10/08/2019 20:18 GMT"])
def test_old_versions_have_the_old_date(setting: str) -> None:
    text = version_text(setting)
    assert GO_ZK.match("Zookeeper version: " + text)
    assert is_old_form(text)


def test_a_version_with_a_revision_keeps_it() -> None:
    assert version_text("3.8.0-abc").startswith("3.8.0-abc, built on ")


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("3.5.10", True),
        ("3.6.0", False),
        ("3.10.0-SNAPSHOT", False),
        ("4", False),
        ("2.9", True),
        ("x", False),
    ],
)
def test_which_form(text: str, old: bool) -> None:
    assert is_old_form(text) is old
