"""zxid: the epoch in the high 32 bits, a counter in the low ones; a signed 64-bit number everywhere.

Source: upstream ``ZxidUtils``; Zab paper, section III.
"""

from typing import Final

from mypy_extensions import i64

COUNTER_MASK: Final = 0xFFFFFFFF

# The counter that ends an epoch: the leader must step down before it is used (upstream ZOOKEEPER-1277).
COUNTER_MAX: Final = 0xFFFFFFFF

# zxid, epoch and sid of a server that is no voter.
LONG_MIN: Final[int] = -0x8000000000000000

# The zxid of an uninitialised database (db.autocreate=false): such a server may not vote.
NO_ZXID: Final = -1


def make_zxid(epoch: i64, counter: i64) -> i64:
    """epoch << 32 | counter."""
    high: i64 = epoch & COUNTER_MASK
    if high >= 0x80000000:
        high -= 0x100000000
    return high * 0x100000000 + (counter & COUNTER_MASK)


def epoch_of(zxid: i64) -> i64:
    """The epoch of ``zxid``."""
    return zxid >> 32


def counter_of(zxid: i64) -> i64:
    """The counter of ``zxid``."""
    return zxid & COUNTER_MASK


def is_epoch_start(zxid: i64) -> bool:
    """Whether no txn can have this zxid: it is where an epoch begins."""
    return (zxid & COUNTER_MASK) == 0


def follows(last: i64, zxid: i64) -> bool:
    """Whether ``zxid`` may stand right after ``last`` in a log: the next one, or the start of a later epoch.

    A later epoch begins with counter 1: every zxid of an epoch is proposed and logged.
    """
    if zxid == last + 1:
        return (zxid & COUNTER_MASK) != 0
    return (zxid >> 32) > (last >> 32) and (zxid & COUNTER_MASK) == 1


def hex_zxid(zxid: i64) -> str:
    """``0x`` and the digits upstream prints: negative numbers as unsigned."""
    whole: int = zxid
    return f"0x{whole & 0xFFFFFFFFFFFFFFFF:x}"
