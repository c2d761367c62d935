"""What is right and what is wrong about what a target holds."""

import pytest

from zabra.plugins.conformance.judge import (
    ConformanceError,
    Published,
    Told,
    ToldSnapshot,
    Truth,
    judge,
    told,
    told_json,
)
from zabra.plugins.jsontext import txn_object
from zabra.plugins.publisher import Change, CommittedTxn

T = [Told(zxid, ((0, "create", f"/n{zxid}", b"x"), (1, "delete", f"/m{zxid}", None))) for zxid in range(1, 6)]
NODES = {zxid: {f"/n{one}": b"x" for one in range(1, zxid + 1)} for zxid in range(1, 6)}
TRUTH = Truth(T, NODES)
SNAP3 = ToldSnapshot(3, NODES[3])


@pytest.mark.parametrize(
    ("log", "exactly_once"),
    [
        (T, True),
        ([SNAP3, T[3], T[4]], True),
        ([T[0], SNAP3, T[3], T[4]], True),
        ([T[0], T[1], T[0], T[1], T[2], T[3], T[4]], False),
        ([SNAP3, SNAP3, *T[3:], T[4]], False),
    ],
)
def test_right(log, exactly_once):
    judge(Published(log), TRUTH, exactly_once, True)


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (T[:4], "ends at 0x4: 0x5 to 0x5 never arrived"),
        ([], "ends at the beginning: 0x1 to 0x5 never arrived"),
        ([T[0], T[2]], "after 0x1 the target was given 0x3: 0x2 lost, or late"),
        ([T[0], T[1], T[0], T[2]], "after 0x1 the target was given 0x3"),
        ([Told(9, ())], "holds 0x9, which was never committed"),
        ([Told(1, T[0].changes[:1])], "holds 0x1 with 1 of its 2 changes: it was split"),
        ([Told(1, ((0, "create", "/n1", b"y"),))], "with other changes than were committed"),
        ([ToldSnapshot(3, NODES[2])], "the snapshot, said to be as of 0x3, lacks /n3"),
        ([ToldSnapshot(9, {})], "the snapshot is of 0x9, which was never committed"),
        ([*T[:4], SNAP3], "given a snapshot of 0x3 when it was at 0x4"),
    ],
)
def test_wrong(log, text):
    with pytest.raises(ConformanceError, match=text):
        judge(Published(log), TRUTH, False, True)


def test_twice():
    with pytest.raises(ConformanceError, match="holds 0x1 twice"):
        judge(Published([T[0], T[0]]), TRUTH, True, False)


def test_state():
    judge(Published(nodes=NODES[5], zxid=5), TRUTH, True, True)
    judge(Published(nodes={"/half": b""}, zxid=-1), TRUTH, True, False)
    for nodes, zxid, text in (
        (NODES[4], 4, "ends at 0x4, the log at 0x5"),
        (NODES[4], 5, "lacks /n5"),
        ({**NODES[5], "/z": b""}, 5, "has /z, which is not there"),
        ({**NODES[5], "/n5": b"y"}, 5, "has b'y' in /n5, not b'x'"),
        ({}, 9, "it is at 0x9, which was never committed"),
    ):
        with pytest.raises(ConformanceError, match=text):
            judge(Published(nodes=nodes, zxid=zxid), TRUTH, True, True)
    with pytest.raises(ConformanceError, match="nothing to judge by"):
        judge(Published(), TRUTH, True, False)


def test_json_says_the_same():
    changes = (
        Change(0, "create", "/a", b"\xff"),
        Change(2, "setData", "/b", None, 3),
        Change(3, "delete", "/c"),
    )
    txn = CommittedTxn(5, 1, 2, 3, "multi", changes, b"")
    assert told_json(txn_object(txn)) == told(txn)
