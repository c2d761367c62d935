"""What is excused as Apache's own, and what is not."""

from __future__ import annotations

from tests.interop.apaches_digests import lines_with_mismatch

APACHE, ZABRA = "13550", "13541"
SNAP = "Learner: Getting a snapshot from leader 0xb000002fe"
MISMATCH = "DataTree: Message:Digests are not matching. Value is Zxid. Value:47244641020"
NEWLEADER = "Learner: Learner received NEWLEADER message"


def connected(port: str) -> str:
    return f"Learner: Successfully connected to leader, using address: /127.0.0.1:{port}"


def test_a_mismatch_in_the_snap_of_an_apache_leader_is_apaches_own() -> None:
    log = [connected(APACHE), SNAP, "DIFF sync got first proposal 0xb000002fb", MISMATCH, NEWLEADER]
    assert lines_with_mismatch(log, {APACHE}) == (1, 0)


def test_nothing_else_is() -> None:
    assert lines_with_mismatch([connected(ZABRA), SNAP, MISMATCH], {APACHE}) == (0, 1)
    assert lines_with_mismatch([connected(APACHE), MISMATCH], {APACHE}) == (0, 1)
    assert lines_with_mismatch([connected(APACHE), SNAP, NEWLEADER, MISMATCH], {APACHE}) == (0, 1)
    assert lines_with_mismatch([connected(APACHE), SNAP, connected(ZABRA), MISMATCH], {APACHE}) == (0, 1)
