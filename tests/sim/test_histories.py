"""Histories survive the way to a file and back."""

import pytest

from zabra.proto import codes
from zabra.proto.records import Id
from zabra.sim import histories
from zabra.sim.histories import History, dump, load


def some_history() -> History:
    history = History()
    history.connected(1, 0, 0x10000, 4000, 2)
    first = history.sent(2, 0, 0x10000, 1, codes.OP_SET_DATA, b"\x01\x02", [Id("ip", "10.0.0.1")])
    second = history.sent(3, 0, 0x10000, 2, codes.OP_CLOSE_SESSION, b"", [])
    history.event(4, 0, codes.EVENT_NODE_DELETED, "/ä", 0x100000002)
    history.answered(5, first, 0, 0x100000003, b"\xff")
    history.lost(6, second)
    history.add(histories.DISCONNECTED, 7, 0)
    history.add(histories.REWATCHED, 8, 0).zxid = 9
    history.add(histories.EXPIRED, 9, 0)
    return history


def test_a_history_comes_back_as_it_was() -> None:
    lines = list(dump(some_history()))
    again = load(lines)
    assert list(dump(again)) == lines
    one = again.invocations[0]
    assert (one.answered, one.zxid, one.reply, one.ids) == (
        True,
        0x100000003,
        b"\xff",
        [Id("ip", "10.0.0.1")],
    )
    assert (again.invocations[1].answered, again.invocations[1].done_us) == (False, 6)
    assert again.clients() == [0]
    assert len(again.of_client(0)) == 9


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2: JSONDecodeError"),
        ('{"k": "nonsense", "t": 1, "c": 0}', "line 2: ValueError: unknown kind 'nonsense'"),
        ('{"k": "lost", "t": 1, "c": 0, "i": 5}', "line 2: IndexError"),
        ('{"k": "event", "t": 1, "c": 0}', "line 2: KeyError: 'type'"),
        (
            '{"k":"sent","t":1,"c":0,"i":3,"s":"0x1","x":1,"op":"sync","body":"","ids":[]}',
            "request 3 where 0",
        ),
    ],
)
def test_bad_lines_are_named(line: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        load(["", line])
