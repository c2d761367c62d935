"""What the voters have logged, and whether what a target holds is that."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.interop.members import Mixed
from tests.plugins.targets.target import Row

from zabra.plugins.changes import committed_txn
from zabra.plugins.jsontext import dump, txn_object
from zabra.plugins.publisher import CommittedTxn
from zabra.proto.txn import decode_txn
from zabra.runtime.os_disk import OsDisk
from zabra.storage.log_reader import LogFileReader, list_logs
from zabra.storage.names import VERSION_FOLDER
from zabra.tree.datatree import DataTree


def as_txn(raw: bytes) -> CommittedTxn:
    """A logged txn as publishers see it."""
    return committed_txn(decode_txn(raw))


def entries_of(data: Path) -> Iterator[tuple[int, bytes]]:
    """Everything in the log files of a folder, gaps (behind a SNAP) and all."""
    disk = OsDisk(data)
    for file in list_logs(disk, VERSION_FOLDER):
        reader = LogFileReader(disk, file.path)
        while entries := reader.next_slice():
            for entry in entries:
                yield entry.zxid, entry.raw


class Committed:
    """The log of an ensemble: ``raws`` as logged, ``texts`` as publishers tell them (JSON)."""

    def __init__(self, raws: list[bytes]) -> None:
        self.raws = raws
        self.zxids: list[int] = []
        self.texts: list[str] = []
        self.has_changes = bytearray()
        for raw in raws:
            txn = as_txn(raw)
            self.zxids.append(txn.zxid)
            self.texts.append(dump(txn_object(txn)))
            self.has_changes.append(bool(txn.changes))

    @property
    def last(self) -> int:
        """The last zxid."""
        return self.zxids[-1]

    def tree(self) -> DataTree:
        """What all of it makes."""
        tree = DataTree()
        for raw in self.raws:
            entry = decode_txn(raw)
            tree.process_txn(entry.header, entry.record)
        return tree


def committed_log(ensemble: Mixed) -> list[bytes]:
    """What the voters have logged, each zxid once; they agree on every one, and nothing is missing."""
    found: dict[int, bytes] = {}
    for sid in ensemble.voters():
        for zxid, raw in entries_of(ensemble.members[sid].data_dir):
            other = found.setdefault(zxid, raw)
            # Of a refused multi Apache's leader may log the parts as refused that its followers log as asked.
            same = other == raw or txn_object(as_txn(other)) == txn_object(as_txn(raw))
            assert same, f"0x{zxid:x} differs on server {sid}"
    zxids = sorted(found)
    for zxid, before in zip(zxids[1:], zxids, strict=False):
        assert zxid == before + 1 or zxid & 0xFFFFFFFF == 1, f"0x{zxid:x} follows 0x{before:x}"
    return [found[zxid] for zxid in zxids]


def judge_rows(rows: Iterator[Row], log: Committed, exact: bool, has_refusals: bool) -> dict[str, int]:
    """Each txn of the log once, in order; again only where *at least once* was promised.

    A repeated one is one whose zxid is not above the last: that is how readers tell.
    """
    figures = Counter({"snapshots": 0, "published": 0, "duplicates": 0})
    wanted = [place for place, has in enumerate(log.has_changes) if has or has_refusals]
    places = {log.zxids[place]: number for number, place in enumerate(wanted)}
    reached = -1
    for row in rows:
        if "snapshotEnd" in row:
            figures["snapshots"] += 1
            end = int(row["snapshotEnd"], 16)
            covered = sum(log.zxids[place] <= end for place in wanted) - 1
            assert covered >= reached, f"a snapshot of 0x{end:x} behind number {reached}"
            reached = covered
        elif "zxid" in row:
            number = places[int(row["zxid"], 16)]
            assert row == json.loads(log.texts[wanted[number]]), row
            assert number <= reached + 1, f"{row['zxid']} behind number {reached}: a gap"
            figures["published"] += 1
            figures["duplicates"] += number <= reached
            reached = max(reached, number)
    assert reached == len(wanted) - 1, f"ends at number {reached} of {len(wanted)}"
    assert not (exact and figures["duplicates"]), figures
    return dict(figures)
