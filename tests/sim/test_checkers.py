"""Every checker sees what it is for: a run that is right, tampered with in one place."""

import pytest
from tests.sim import short_run

from zabra.client import calls
from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.records import ErrorTxn, SetDataTxn, Stat
from zabra.proto.txn import TxnEntry, encode_txn
from zabra.sim.checkers import WRITES, has_effect
from zabra.sim.histories import ANSWERED, History, Invocation


def answered(history: History, op: int) -> list[Invocation]:
    """Successful requests of one kind."""
    return [one for one in history.invocations if one.op == op and one.answered and one.err == codes.OK]


def test_the_run_itself_is_right() -> None:
    judgement = short_run.judged()
    assert judgement.violations == []
    for what in ("txns", "writes", "reads", "sessions", "real-time pairs", "watch events"):
        assert judgement.counts[what] > 0, what


def lose_a_txn(chain: list[TxnEntry], history: History) -> None:
    """A write that changed a node is not in the log; others behind it are."""
    del chain[next(i for i, entry in enumerate(chain) if entry.header.type == codes.OP_SET_DATA)]


def refusals(chain: list[TxnEntry]) -> list[int]:
    """Where refused requests of clients stand."""
    return [i for i, entry in enumerate(chain) if isinstance(entry.record, ErrorTxn) and entry.header.cxid]


def lose_a_refusal(chain: list[TxnEntry], history: History) -> None:
    """An answered refusal is not in the log."""
    del chain[
        max(i for i, entry in enumerate(chain) if isinstance(entry.record, ErrorTxn) and entry.header.cxid)
    ]


def repeat_a_txn(chain: list[TxnEntry], history: History) -> None:
    """A refusal happens twice."""
    first = next(
        i for i, entry in enumerate(chain) if isinstance(entry.record, ErrorTxn) and entry.header.cxid
    )
    again = chain[first]
    header = again.header
    header.zxid = chain[-1].header.zxid + 1
    chain.append(encode_txn(header, again.record, None))
    chain[first] = short_run.material()[0][first]


def invent_a_txn(chain: list[TxnEntry], history: History) -> None:
    """Nobody asked for the last one."""
    header = short_run.material()[0][-1].header
    header.zxid += 1
    header.cxid = 999_999
    chain.append(encode_txn(header, ErrorTxn(-101), None))


def decide_otherwise(chain: list[TxnEntry], history: History) -> None:
    """A write that had to succeed was refused."""
    last = max(i for i, entry in enumerate(chain) if entry.header.type == codes.OP_SET_DATA)
    header = chain[last].header
    header.type = codes.OP_ERROR
    chain[last] = encode_txn(header, ErrorTxn(codes.ERR_BAD_VERSION), None)


def wrong_data_in_log(chain: list[TxnEntry], history: History) -> None:
    """A txn writes something else than was asked for."""
    last = max(i for i, entry in enumerate(chain) if isinstance(entry.record, SetDataTxn))
    record = chain[last].record
    assert isinstance(record, SetDataTxn)
    record.data = b"something else"


def wrong_stat_in_reply(chain: list[TxnEntry], history: History) -> None:
    """A setData is answered with a version too high."""
    one = answered(history, codes.OP_SET_DATA)[0]
    stat = Stat.decode(Reader(one.reply))
    stat.version += 1
    w = Writer()
    stat.encode(w)
    one.reply = w.getvalue()


def bytes_behind_reply(chain: list[TxnEntry], history: History) -> None:
    """A reply is longer than it should be."""
    answered(history, codes.OP_SET_DATA)[0].reply += b"\0"


def stale_read(chain: list[TxnEntry], history: History) -> None:
    """A read says what was true before: its zxid is too high for its data."""
    one = answered(history, codes.OP_GET_DATA)[-1]
    data, stat = calls.read_data_and_stat(Reader(one.reply))
    stat.mzxid -= 1
    w = Writer()
    w.write_buffer(data)
    stat.encode(w)
    one.reply = w.getvalue()


def read_error(chain: list[TxnEntry], history: History) -> None:
    """A read is refused that must not be."""
    one = answered(history, codes.OP_GET_DATA)[0]
    one.err = codes.ERR_NO_NODE


def reply_below_txn(chain: list[TxnEntry], history: History) -> None:
    """A write is answered by a server that has not applied it."""
    one = answered(history, codes.OP_SET_DATA)[-1]
    one.zxid -= 3


def zxid_goes_back(chain: list[TxnEntry], history: History) -> None:
    """A session sees an older state after a newer one."""
    last = [e.invocation for e in history.entries if e.kind == ANSWERED and e.invocation is not None][-1]
    whoami = [one for one in history.invocations if one.session_id == last.session_id and one.answered][-1]
    whoami.zxid = chain[3].header.zxid
    whoami.op = codes.OP_SYNC


def real_time_violated(chain: list[TxnEntry], history: History) -> None:
    """The last write is said to have been sent, and the first to have been answered, at impossible times."""
    writes = [one for one in history.invocations if one.op in WRITES and one.answered]
    writes[0].sent_us = writes[-1].done_us + 10
    writes[0].done_us = writes[-1].done_us + 20


@pytest.mark.parametrize(
    ("tamper", "rule"),
    [
        (lose_a_txn, "log replays"),
        (lose_a_refusal, "acknowledged"),
        (repeat_a_txn, "once"),
        (invent_a_txn, "invented write"),
        (decide_otherwise, "decision"),
        (wrong_data_in_log, "decision"),
        (wrong_stat_in_reply, "write reply"),
        (bytes_behind_reply, "write reply"),
        (stale_read, "read reply"),
        (read_error, "read reply"),
        (reply_below_txn, "reply zxid"),
        (zxid_goes_back, "session order"),
        (real_time_violated, "real time"),
    ],
)
def test_tampering_is_seen(tamper: short_run.Tamper, rule: str) -> None:
    assert rule in short_run.rules(short_run.judged(tamper))


def test_a_log_that_may_lag_is_no_violation_beyond_its_end() -> None:
    def cut(chain: list[TxnEntry], history: History) -> None:
        del chain[max(i for i, entry in enumerate(chain) if entry.header.cxid) :]

    assert short_run.rules(short_run.judged(cut)) == ["acknowledged"]
    assert short_run.rules(short_run.judged(cut, chain_complete=False)) == []


def test_refusals_have_no_effect() -> None:
    chain, _ = short_run.material()
    assert {has_effect(entry) for entry in chain if isinstance(entry.record, ErrorTxn)} == {False}
    assert {has_effect(entry) for entry in chain if isinstance(entry.record, SetDataTxn)} == {True}
