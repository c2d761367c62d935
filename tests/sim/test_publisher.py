"""What publishers hear: every committed txn once, gaps only where they are said to be."""

from types import SimpleNamespace
from typing import Any

from tests.sim import short_run

from zabra.proto.txn import TxnEntry
from zabra.sim.checkers import Judgement
from zabra.sim.publisher import SimPublisher
from zabra.storage.errors import StorageError


class FakeLog:
    """A log that holds some txns."""

    def __init__(self, entries: list[TxnEntry]) -> None:
        self.entries = entries

    def read_from(self, zxid: int, last_zxid: int) -> list[tuple[int, bytes]]:
        if zxid and not any(entry.header.zxid <= zxid for entry in self.entries):
            raise StorageError("it does not reach back")
        return [(one.header.zxid, one.raw) for one in self.entries if zxid <= one.header.zxid <= last_zxid]


def process_with(entries: list[TxnEntry]) -> Any:
    last = entries[-1].header.zxid if entries else 0
    server = SimpleNamespace(last_synced_zxid=last)
    return SimpleNamespace(store=SimpleNamespace(log=FakeLog(entries)), server=server)


def verdict(publisher: SimPublisher, chain: list[TxnEntry]) -> list[str]:
    judgement = Judgement()
    publisher.check(chain, judgement)
    return short_run.rules(judgement)


def test_what_is_informed_in_order_is_published_once() -> None:
    chain, _ = short_run.material()
    publisher = SimPublisher(1)
    process = process_with(chain)
    publisher.informed(process, chain[:5])
    publisher.informed(process, chain[3:9])
    assert [zxid for zxid, _ in publisher.published] == [entry.header.zxid for entry in chain[:9]]
    assert verdict(publisher, chain) == []


def test_what_was_missed_comes_from_the_log_once_the_log_has_it() -> None:
    chain, _ = short_run.material()
    publisher = SimPublisher(1)
    publisher.informed(process_with(chain), chain[:3])
    publisher.informed(process_with(chain[:4]), chain[9:10])
    assert len(publisher.published) == 3
    publisher.informed(process_with(chain), chain[10:11])
    assert len(publisher.published) == 11
    assert publisher.gaps == {}
    assert verdict(publisher, chain) == []


def test_a_log_that_does_not_reach_back_leaves_a_gap_that_is_told() -> None:
    chain, _ = short_run.material()
    publisher = SimPublisher(1)
    publisher.informed(process_with(chain), chain[:3])
    publisher.informed(process_with(chain[7:]), chain[9:10])
    assert list(publisher.gaps) == [3]
    assert verdict(publisher, chain) == []


def test_a_crash_goes_back_to_the_saved_cursor() -> None:
    chain, _ = short_run.material()
    publisher = SimPublisher(1)
    process = process_with(chain)
    publisher.informed(process, chain[:20])
    publisher.crashed()
    assert len(publisher.published) == 16
    publisher.informed(process, chain[20:22])
    assert verdict(publisher, chain) == []
    assert len(publisher.published) == 22


def test_a_hole_and_an_invented_txn_are_found() -> None:
    chain, _ = short_run.material()
    publisher = SimPublisher(1)
    publisher.informed(process_with(chain), chain[:20])
    del publisher.published[5]
    assert verdict(publisher, chain) == ["publisher"]
    publisher.published[5:5] = [(chain[5].header.zxid, b"other")]
    assert verdict(publisher, chain) == ["publisher"]
