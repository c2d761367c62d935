"""Initial messages and Notifications: recorded bytes, the older formats, and everything that is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.proto.notification import (
    INITIAL_V1,
    INITIAL_V2,
    InitialMessage,
    Notification,
    Refused,
    decode_initial_message,
    decode_notification,
    encode_initial_message,
    encode_notification,
    format_address,
    frame_notification,
    parse_address,
)

LONG_MIN = -(2**63)


def test_recorded_initial_message() -> None:
    raw = bytes.fromhex("ffffffffffff000000000000000000030000000f") + b"127.0.0.1:33883"
    assert encode_initial_message(3, [("127.0.0.1", 33883), ("10.0.0.1", 1)], False) == raw
    hello = decode_initial_message(raw + b"rest")
    assert isinstance(hello, InitialMessage)
    assert (hello.version, hello.sid, hello.addresses) == (INITIAL_V1, 3, [("127.0.0.1", 33883)])
    assert hello.size == len(raw)


def test_recorded_observer_notification() -> None:
    raw = bytes.fromhex(
        "000000350000000080000000000000008000000000000000000000000000000180000000000000000000000200000009"
    )
    n = Notification(0, LONG_MIN, LONG_MIN, 1, LONG_MIN, 2, b"version=0")
    assert frame_notification(encode_notification(n)) == raw + b"version=0"
    assert decode_notification(encode_notification(n)) == n


def test_every_prefix_of_an_initial_message_waits() -> None:
    raw = encode_initial_message(2, [("h1", 1), ("::1", 2)], True)
    for size in range(len(raw)):
        assert decode_initial_message(raw[:size]) is None
    hello = decode_initial_message(raw)
    assert isinstance(hello, InitialMessage)
    assert hello.version == INITIAL_V2
    assert hello.addresses == [("h1", 1), ("::1", 2)]
    assert "sid=2" in repr(hello)


def test_ancient_initial_message_is_the_sid() -> None:
    hello = decode_initial_message((5).to_bytes(8, "big") + b"frames follow")
    assert isinstance(hello, InitialMessage)
    assert (hello.sid, hello.addresses, hello.size) == (5, [], 8)


def test_wildcard_addresses_are_left_out() -> None:
    raw = encode_initial_message(2, [("0.0.0.0", 1), ("::", 2), ("h", 3)], True)
    hello = decode_initial_message(raw)
    assert isinstance(hello, InitialMessage)
    assert hello.addresses == [("h", 3)]


def hello_with(version: int, text: bytes, size: int | None = None) -> bytes:
    length = len(text) if size is None else size
    return (
        version.to_bytes(8, "big", signed=True)
        + (2).to_bytes(8, "big")
        + length.to_bytes(4, "big", signed=True)
        + text
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (hello_with(-1, b"h:1"), "unrecognized protocol version"),
        (hello_with(-65537, b"h:1"), "unrecognized protocol version"),
        (hello_with(LONG_MIN, b"h:1"), "unrecognized protocol version"),
        (hello_with(INITIAL_V1, b"h:1", 0), "unreasonable buffer length"),
        (hello_with(INITIAL_V1, b"h:1", -5), "unreasonable buffer length"),
        (hello_with(INITIAL_V1, b"h:1", 2049), "unreasonable buffer length"),
        (hello_with(INITIAL_V1, b"host"), "badly formed address"),
        (hello_with(INITIAL_V1, b"h:1:2"), "badly formed address"),
        (hello_with(INITIAL_V1, b"h:"), "bad port"),
        (hello_with(INITIAL_V1, b"h:99999"), "bad port"),
        (hello_with(INITIAL_V1, b"h:-1"), "bad port"),
        (hello_with(INITIAL_V2, b"h:1||h:2"), "badly formed address"),
        (hello_with(INITIAL_V2, b"h:\xff1"), "bad port"),
        (hello_with(INITIAL_V2, "h:\u0663".encode()), "bad port"),
    ],
)
def test_bad_initial_messages_are_refused(raw: bytes, reason: str) -> None:
    refused = decode_initial_message(raw)
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert reason in repr(refused)


def test_addresses() -> None:
    assert parse_address(format_address("fe80::1", 7)) == ("fe80::1", 7)
    assert parse_address(format_address("host", 7)) == ("host", 7)


def body(state: int, *longs: int) -> bytes:
    out = state.to_bytes(4, "big", signed=True)
    for value in longs:
        out += value.to_bytes(8, "big", signed=True)
    return out


def test_28_bytes_take_the_epoch_from_the_zxid() -> None:
    n = decode_notification(body(1, 3, 0x500000007, 9))
    assert isinstance(n, Notification)
    assert (n.leader, n.zxid, n.election_epoch, n.peer_epoch, n.version) == (3, 0x500000007, 9, 5, 0)
    assert n.config is None


def test_40_bytes_have_no_version_whatever_stands_there() -> None:
    n = decode_notification(body(2, 3, 4, 9, 6) + (7).to_bytes(4, "big"))
    assert isinstance(n, Notification)
    assert (n.peer_epoch, n.version, n.config) == (6, 0, None)


def test_version_1_has_no_config_and_bytes_after_are_ignored() -> None:
    n = decode_notification(body(2, 3, 4, 9, 6) + (1).to_bytes(4, "big") + b"xyz")
    assert isinstance(n, Notification)
    assert (n.version, n.config) == (1, None)
    assert encode_notification(n) == body(2, 3, 4, 9, 6) + (1).to_bytes(4, "big")


def test_empty_config() -> None:
    n = decode_notification(body(0, 3, 4, 9, 6) + bytes.fromhex("0000000200000000"))
    assert isinstance(n, Notification)
    assert n.config == b""


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "short"),
        (b"\0" * 27, "short"),
        (b"\0" * 29, "malformed"),
        (b"\0" * 39, "malformed"),
        (body(0, 1, 1, 1, 1) + bytes.fromhex("00000002"), None),
        (body(0, 1, 1, 1, 1) + bytes.fromhex("0000000200"), "malformed"),
        (body(0, 1, 1, 1, 1) + bytes.fromhex("00000002ffffffff"), "invalid config length"),
        (body(0, 1, 1, 1, 1) + bytes.fromhex("000000027fffffff"), "invalid config length"),
        (body(0, 1, 1, 1, 1) + bytes.fromhex("0000000200000002") + b"a", "invalid config length"),
        (body(4, 1, 1, 1, 1) + bytes.fromhex("0000000200000000"), "unknown server state"),
        (body(-1, 1, 1, 1), "unknown server state"),
    ],
)
def test_malformed_notifications_are_refused(raw: bytes, reason: str | None) -> None:
    result = decode_notification(raw)
    if reason is None:
        assert isinstance(result, Notification)
    else:
        assert isinstance(result, Refused)
        assert reason in result.reason


longs = st.integers(-(2**63), 2**63 - 1)


@given(st.integers(0, 3), longs, longs, longs, longs, st.binary(max_size=40))
def test_round_trip(state: int, leader: int, zxid: int, clock: int, epoch: int, config: bytes) -> None:
    n = Notification(state, leader, zxid, clock, epoch, 2, config)
    again = decode_notification(encode_notification(n))
    assert again == n
    assert hash(again) == hash(n)
    assert repr(again) == repr(n)


@given(st.binary(max_size=120))
def test_no_bytes_raise(raw: bytes) -> None:
    assert isinstance(decode_notification(raw), (Notification, Refused))
    assert isinstance(decode_initial_message(raw), (InitialMessage, Refused, type(None)))
