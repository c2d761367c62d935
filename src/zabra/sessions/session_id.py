"""Session ids and the passwords that every server derives from them.

The formulas are fixed by the wire: a client may present an id that one server made to any other, also
to an Apache server.  Source: upstream ``SessionTrackerImpl.initializeNextSessionId`` and
``ZooKeeperServer.generatePasswd`` (java.util.Random's documented generator).
"""

from typing import Final

from mypy_extensions import i64

PASSWORD_SALT: Final = 0xB3415C00
PASSWORD_BYTES: Final = 16
CONTAINER_OWNER: Final = -0x8000000000000000
_MULTIPLIER: Final = 0x5DEECE66D
_MASK_48: Final = (1 << 48) - 1


def signed64(value: int) -> i64:
    """``value`` modulo 2**64 as a signed 64-bit integer."""
    low = value & 0xFFFFFFFFFFFFFFFF
    return low - (1 << 64) if low >= 1 << 63 else low


def first_session_id(server_id: int, now_ms: int) -> i64:
    """The id to count up from: server id in the top byte, 40 bits of ms, 16 bits of counter."""
    time_part = ((now_ms << 24) & 0xFFFFFFFFFFFFFFFF) >> 8
    return signed64((server_id << 56) | (time_part & 0x00FFFFFFFFFFFFFF))


def next_session_id(previous: i64) -> i64:
    """The id after ``previous``, leaving out the value that marks container nodes."""
    following = signed64(previous + 1)
    if following == CONTAINER_OWNER:
        return following + 1
    return following


def session_password(session_id: int) -> bytes:
    """The 16 bytes a client must present to resume ``session_id``."""
    state = ((session_id ^ PASSWORD_SALT) ^ _MULTIPLIER) & _MASK_48
    out = bytearray()
    while len(out) < PASSWORD_BYTES:
        state = (state * _MULTIPLIER + 0xB) & _MASK_48
        out += ((state >> 16) & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(out)
