"""What the voters have logged, and whether what a target holds is that.

Nothing here holds a log in memory: it is merged from the voters' files into two files of its own, and a
target is read beside them.
"""

from __future__ import annotations

import heapq
import json
import mmap
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from tests.interop.members import Mixed
from tests.plugins.targets.target import Row

from zabra.plugins.changes import committed_txn
from zabra.plugins.jsontext import dump, hex_of, txn_object
from zabra.plugins.publisher import CommittedTxn
from zabra.proto.txn import decode_txn
from zabra.runtime.os_disk import OsDisk
from zabra.storage.log_reader import LogFileReader, list_logs
from zabra.storage.names import VERSION_FOLDER
from zabra.tree.datatree import DataTree

# Violations that are told in full; all are counted.
TOLD = 20
EPOCH_BITS = 32


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


class Pieces:
    """Pieces of bytes in a file, which is written first and then read, by number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends = array("Q", [0])
        self._map: mmap.mmap | None = None

    def write(self, pieces: Iterable[bytes]) -> None:
        """All of them."""
        with self._path.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                self._ends.append(self._ends[-1] + len(piece))
        with self._path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        assert self._map is not None
        return self._map[self._ends[number] : self._ends[number + 1]]


class Committed:
    """The log of an ensemble: ``raws`` as logged, ``texts`` as publishers tell them (JSON)."""

    def __init__(self, raws: Iterable[bytes], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.raws = Pieces(folder / "raws")
        self.texts = Pieces(folder / "texts")
        self.zxids = array("Q")
        self.has_changes = bytearray()
        self.raws.write(raws)
        self.texts.write(self._read())

    def _read(self) -> Iterator[bytes]:
        for number in range(len(self.raws)):
            txn = as_txn(self.raws[number])
            self.zxids.append(txn.zxid)
            self.has_changes.append(bool(txn.changes))
            yield dump(txn_object(txn)).encode()

    @property
    def last(self) -> int:
        """The last zxid."""
        return self.zxids[-1]

    def each_raw(self) -> Iterator[tuple[int, bytes]]:
        """Zxid and txn of all."""
        for place, zxid in enumerate(self.zxids):
            yield zxid, self.raws[place]

    def tree(self) -> DataTree:
        """What all of it makes."""
        tree = DataTree()
        for _, raw in self.each_raw():
            entry = decode_txn(raw)
            tree.process_txn(entry.header, entry.record)
        return tree


def committed_log(ensemble: Mixed) -> Iterator[bytes]:
    """What the voters have committed, each zxid once; they agree on every one, and nothing is missing.

    The end of an epoch that a single voter has logged was lost with its leader.  (A server of Apache's keeps
    it in its log when it is sent a snapshot.)  Were it committed, targets would have txns that are not here.
    """
    logs = [_ascending(entries_of(ensemble.members[sid].data_dir), sid) for sid in ensemble.voters()]
    alone: list[tuple[int, bytes]] = []
    before = -1
    for zxid, group in groupby(heapq.merge(*logs, key=itemgetter(0)), itemgetter(0)):
        raws = [raw for _, raw in group]
        _assert_same(zxid, raws)
        if alone and alone[-1][0] >> EPOCH_BITS != zxid >> EPOCH_BITS:
            alone = []
        alone.append((zxid, raws[0]))
        if len(raws) > 1:
            for one, raw in alone:
                assert before < 0 or one == before + 1 or one & 0xFFFFFFFF == 1, (
                    f"the voters' logs: 0x{one:x} follows 0x{before:x}"
                )
                before = one
                yield raw
            alone = []
    assert not alone, f"the voters' logs: the end, from 0x{alone[0][0]:x} on, is at one voter only"


def _ascending(entries: Iterator[tuple[int, bytes]], sid: int) -> Iterator[tuple[int, bytes]]:
    """Without those that a learner has logged again."""
    last = -1
    for zxid, raw in entries:
        if zxid > last:
            last = zxid
            yield zxid, raw


def _assert_same(zxid: int, raws: list[bytes]) -> None:
    for other in raws[1:]:
        # Of a refused multi Apache's leader may log the parts as refused that its followers log as asked.
        same = other == raws[0] or txn_object(as_txn(other)) == txn_object(as_txn(raws[0]))
        assert same, f"the voters' logs: 0x{zxid:x} is not the same in all"


class Violations:
    """What is wrong at one target: all are counted, the first are told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.told: list[str] = []

    def add(self, kind: str, text: str) -> None:
        """One more, of a kind: a gap, a double, something out of order, altered, unknown."""
        self.counts[kind] += 1
        if len(self.told) < TOLD:
            self.told.append(f"{kind}: {text}")

    def into(self, figures: dict[str, Any]) -> None:
        """Notes them where there are any."""
        figures["violations"] = self.counts.total()
        if self.told:
            figures["wrong"] = [*self.told, *([f"in all: {dict(self.counts)}"] if self.counts else [])]


class Judge:
    """Reads what a target holds beside the log: each txn once, in order; again only where that was promised.

    A repeated one is one whose zxid is not above the last: that is how readers tell.

    Args:
        exact: no txn may be there twice.
        has_refusals: txns that changed nothing are there too.
    """

    def __init__(self, log: Committed, exact: bool, has_refusals: bool) -> None:
        self._log = log
        self._exact = exact
        self._places = array("Q", [place for place, has in enumerate(log.has_changes) if has or has_refusals])
        self._zxids = array("Q", [log.zxids[place] for place in self._places])
        self._seen = bytearray(len(self._zxids))
        # All up to this number is there, or was missed.
        self._reached = -1
        self.violations = Violations()
        self.figures = Counter({"snapshots": 0, "published": 0, "changes": 0, "duplicates": 0})

    def judge(self, rows: Iterable[Row]) -> dict[str, Any]:
        """All of it; returns figures."""
        for row in rows:
            if "snapshotEnd" in row:
                self._take_snapshot(int(row["snapshotEnd"], 16))
            elif "zxid" in row:
                self._take(row)
        self._end()
        figures: dict[str, Any] = dict(self.figures)
        self.violations.into(figures)
        return figures

    def _zxid(self, number: int) -> str:
        return hex_of(self._zxids[number]) if number >= 0 else "the beginning"

    def _take_snapshot(self, end: int) -> None:
        """It stands for all up to there."""
        self.figures["snapshots"] += 1
        covered = bisect_right(self._zxids, end) - 1
        if covered < self._reached:
            self.violations.add(
                "out of order", f"a snapshot of {hex_of(end)} behind {self._zxid(self._reached)}"
            )
        for number in range(self._reached + 1, covered + 1):
            self._seen[number] = 1
        self._reached = max(self._reached, covered)

    def _take(self, row: Row) -> None:
        zxid = int(row["zxid"], 16)
        number = bisect_left(self._zxids, zxid)
        if number == len(self._zxids) or self._zxids[number] != zxid:
            self.violations.add(
                "unknown", f"behind {self._zxid(self._reached)} comes what nobody has logged: {dump(row)}"
            )
            return
        text = self._log.texts[self._places[number]]
        if row != json.loads(text):
            self.violations.add("altered", f"{dump(row)} is in the log as {text.decode()}")
        self.figures["published"] += 1
        if number > self._reached + 1:
            missed = f"{number - self._reached - 1} txns, from {self._zxid(self._reached + 1)} on"
            self.violations.add(
                "gap", f"{row['zxid']} comes behind {self._zxid(self._reached)}: {missed}, are missing there"
            )
        if number > self._reached:
            self._reached = number
        elif not self._seen[number]:
            self.violations.add(
                "out of order", f"{row['zxid']} comes only behind {self._zxid(self._reached)}"
            )
        else:
            self.figures["duplicates"] += 1
            if self._exact:
                self.violations.add("double", f"{row['zxid']} again, behind {self._zxid(self._reached)}")
        if not self._seen[number]:
            self._seen[number] = 1
            self.figures["changes"] += len(row["changes"])

    def _end(self) -> None:
        behind = len(self._zxids) - 1 - self._reached
        if behind:
            self.violations.add("gap", f"ends with {self._zxid(self._reached)}, {behind} txns before the log")


def judge_rows(rows: Iterable[Row], log: Committed, exact: bool, has_refusals: bool) -> dict[str, Any]:
    """Figures, ``violations`` among them, and ``wrong`` where there are any."""
    return Judge(log, exact, has_refusals).judge(rows)
