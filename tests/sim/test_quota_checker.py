"""QuotaChecker: room is looked for in every state that a leader may have gone by, and in no other."""

import pytest

from zabra.client import calls
from zabra.proto import codes
from zabra.sim.checkers import reads_idle_stats
from zabra.sim.histories import Invocation
from zabra.sim.model import LIMITS, QUOTA_ROOT, STATS, Model, Node
from zabra.sim.quota_checker import QuotaChecker, room_for_a_node

OPEN = b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2"


def model(used: int) -> Model:
    """A quota of two nodes on /q, of which so many are used."""
    out = Model()
    out.nodes[QUOTA_ROOT + "/q" + LIMITS] = Node(OPEN, [], 1, 0, 0)
    out.nodes[QUOTA_ROOT + "/q" + STATS] = Node(b"count=%d,bytes=0" % used, [], 1, 0, 0)
    return out


def invocation(sent_us: int, done_us: int = -1, zxid: int = 0) -> Invocation:
    one = Invocation(0, 1, 7, 1, codes.OP_CREATE, b"", [], sent_us)
    if done_us >= 0:
        one.answered, one.done_us, one.zxid = True, done_us, zxid
    return one


def test_room() -> None:
    assert room_for_a_node(model(1), "/q")
    assert not room_for_a_node(model(2), "/q")
    assert room_for_a_node(model(9), "/other")
    without = model(2)
    without.nodes[QUOTA_ROOT + "/q" + LIMITS].data = b"count=2,bytes=-1"
    assert room_for_a_node(without, "/q")
    without = model(2)
    without.nodes[QUOTA_ROOT + "/q" + STATS].data = b""
    assert room_for_a_node(without, "/q")


@pytest.mark.parametrize(
    ("sent_us", "zxid", "had"),
    [
        # Nothing was told to anybody yet: the leader may have stood anywhere.
        (5, 14, True),
        # 12, with which it became full, was told at 20 us: from then on there was none.
        (21, 14, False),
        (20, 14, True),
        # There was room again from 15 on, and right before 16 the leader may have seen it.
        (21, 16, True),
        (21, 15, False),
        # Told at 40 us was 18, and it became full with that.
        (41, 20, False),
    ],
)
def test_between_what_was_told_and_what_was_done(sent_us: int, zxid: int, had: bool) -> None:
    checker = QuotaChecker([invocation(0, 20, 12), invocation(0, 40, 18), invocation(3)])
    for at, used in ((10, 1), (12, 2), (15, 1), (18, 2)):
        checker.applied(model(used), at)
    assert checker.had_room("/q", invocation(sent_us), zxid) is had
    assert checker.had_room("/none", invocation(sent_us), zxid)
    assert checker.was_full(invocation(sent_us), zxid) is (zxid > 14 or sent_us > 0)


QUOTA = QUOTA_ROOT + "/q"


@pytest.mark.parametrize(
    ("call", "idle"),
    [
        (calls.get_data(QUOTA + STATS), True),
        (calls.exists(QUOTA + STATS), True),
        (
            calls.multi_read(
                [calls.part_of(calls.get_children("/")), calls.part_of(calls.get_data(QUOTA + STATS))]
            ),
            True,
        ),
        (calls.get_data("/q" + STATS), False),
        (calls.get_data(QUOTA), False),
        (calls.multi_read([calls.part_of(calls.get_data("/q"))]), False),
        (calls.who_am_i(), False),
    ],
)
def test_stats_of_a_lifted_quota_say_nothing(call: calls.Call[object], idle: bool) -> None:
    one = Invocation(0, 1, 7, 1, call.op, call.body, [], 0)
    lifted = model(1)
    assert not reads_idle_stats(lifted, one)
    del lifted.nodes[QUOTA + LIMITS]
    assert reads_idle_stats(lifted, one) is idle
