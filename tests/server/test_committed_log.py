"""The committed log keeps the newest txns without a gap."""

import pytest

from zabra.proto.records import TxnHeader
from zabra.proto.txn import TxnEntry
from zabra.server.committed_log import CommittedLog


def entry(zxid):
    return TxnEntry(TxnHeader(1, 1, zxid, 0, 5), None, None, b"")


def test_the_oldest_go_first():
    log = CommittedLog(3)
    assert (log.min_zxid(9), log.max_zxid(9)) == (9, 9)
    for zxid in range(1, 6):
        log.add(entry(zxid))
    assert [one.header.zxid for one in log.entries()] == [3, 4, 5]
    assert (log.min_zxid(0), log.max_zxid(0)) == (3, 5)
    log.clear()
    assert len(log) == 0


@pytest.mark.parametrize("following", [7, 5, 4, (1 << 32) | 2, 1 << 32])
def test_a_gap_is_a_bug(following):
    log = CommittedLog(3)
    log.add(entry(5))
    with pytest.raises(AssertionError, match="gap"):
        log.add(entry(following))


def test_an_epoch_begins_with_one():
    log = CommittedLog(3)
    log.add(entry(5))
    log.add(entry((1 << 32) | 1))
    log.add(entry((1 << 32) | 2))
    log.add(entry((5 << 32) | 1))
    assert len(log) == 3
