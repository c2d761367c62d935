"""How Java writes things."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.admin.texts import hex_long, host_address, java_date, socket_address


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0x5, "5"), (0x100000009, "100000009"), (-1, "ffffffffffffffff"), (-(2**63), "8" + "0" * 15)],
)
def test_hex_long(value: int, text: str) -> None:
    assert hex_long(value) == text


@given(st.integers(-(2**63), 2**63 - 1))
def test_hex_long_reads_back(value: int) -> None:
    unsigned = int(hex_long(value), 16)
    assert unsigned - (1 << 64 if unsigned >= 1 << 63 else 0) == value


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[0:0:0:0:0:0:0:1]"),
        ("2001:db8::ff00:42:8329", "[2001:db8:0:0:0:ff00:42:8329]"),
        ("fe80::1%eth0", "[fe80:0:0:0:0:0:0:1%eth0]"),
        ("::ffff:10.0.0.1", "[0:0:0:0:0:ffff:a00:1]"),
        ("not:an:address", "not:an:address"),
        ("unknown", "unknown"),
    ],
)
def test_addresses(host: str, text: str) -> None:
    assert host_address(host) == text
    assert socket_address(host, 2181) == f"/{text}:2181"


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "Sun Nov 22 14:36:05 UTC 2026"),
        ("EST5EDT", "Sun Nov 22 09:36:05 EST 2026"),
        ("CET-1CEST", "Sun Nov 22 15:36:05 CET 2026"),
    ],
)
def test_dates(zone: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert java_date(1_795_358_165_999) == text
    finally:
        monkeypatch.undo()
        time.tzset()


def test_days_and_months_are_english_whatever_the_locale() -> None:
    day_ms = 86_400_000
    texts = [java_date(day * day_ms + day_ms // 2) for day in range(365)]
    assert {text[:3] for text in texts} == {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
    assert len({text[4:7] for text in texts}) == 12
    # Two digits for the day, as Date.toString.
    assert all(text[8:10].isdigit() for text in texts)
