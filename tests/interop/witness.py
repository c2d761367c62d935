"""The committed history of an ensemble, from the logs of its members, and how clients' histories fit it.

A failed multi can stand in logs in two forms: upstream's ``DataTree.processTxn`` turns the parts before the
failure into errors in place, so that a server which encodes such a txn again, after applying it, writes
another type (and the same body) for them.  Nothing follows from it: no part of a failed multi has an effect.

Members are stopped first.  Every server's log is a run of txns without gaps; it can hold a tail that was
never committed, or end where a snapshot replaced it.  What is certain: the server that ends last ends with
what was committed, and whatever comes before a committed txn in a log was committed too (TRUNC sees to
that).  So the chain is put together from its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zabra.proto import codes
from zabra.proto.records import MultiTxn
from zabra.proto.txn import TxnEntry, decode_txn
from zabra.runtime.os_disk import OsDisk
from zabra.sim.checkers import HistoryChecker, Judgement, Violation
from zabra.sim.histories import History
from zabra.sim.watch_checker import WatchChecker
from zabra.storage.log_reader import LogFileReader, list_logs
from zabra.storage.names import VERSION_FOLDER
from zabra.storage.txnlog_format import follows

Run = list[tuple[int, bytes]]


def runs_of(data_dir: Path) -> list[Run]:
    """The log of one server as runs of (zxid, bytes) without gaps."""
    disk = OsDisk(str(data_dir))
    if not disk.exists(VERSION_FOLDER):
        return []
    runs: list[Run] = []
    for file in list_logs(disk, VERSION_FOLDER):
        reader = LogFileReader(disk, file.path)
        while entries := reader.next_slice():
            for entry in entries:
                last = runs[-1][-1][0] if runs else -1
                if runs and entry.zxid <= last:
                    # Truncated and written again, as upstream does within a file that has grown.
                    _cut(runs, entry.zxid)
                if not runs or not runs[-1] or not follows(entry.zxid, runs[-1][-1][0]):
                    runs.append([])
                runs[-1].append((entry.zxid, entry.raw))
    return [run for run in runs if run]


def _cut(runs: list[Run], zxid: int) -> None:
    while runs and runs[-1] and runs[-1][-1][0] >= zxid:
        runs[-1].pop()
        if not runs[-1]:
            runs.pop()


def disagreements(runs: Sequence[Run]) -> list[str]:
    """zxids that do not have the same txn everywhere: two leaders would have shared an epoch."""
    seen: dict[int, bytes] = {}
    out = []
    for run in runs:
        for zxid, raw in run:
            other = seen.setdefault(zxid, raw)
            if other != raw and not _is_same_failed_multi(other, raw):
                out.append(f"0x{zxid:x}: {other.hex()} and {raw.hex()}")
    return out


def _failures(raw: bytes) -> int:
    """How many parts of a multi are errors; 0 for anything else."""
    record = decode_txn(raw).record
    return sum(part.type == codes.OP_ERROR for part in record.txns) if isinstance(record, MultiTxn) else 0


def _is_same_failed_multi(one: bytes, other: bytes) -> bool:
    if not _failures(one) or not _failures(other) or len(one) != len(other):
        return False
    left, right = decode_txn(one), decode_txn(other)
    return left.header == right.header and left.digest == right.digest


def _originals(runs: Sequence[Run]) -> dict[int, bytes]:
    """Failed multis as the leader made them, by zxid."""
    found: dict[int, bytes] = {}
    for run in runs:
        for zxid, raw in run:
            failures = _failures(raw)
            if failures and (zxid not in found or failures < _failures(found[zxid])):
                found[zxid] = raw
    return found


def chain_of(runs: Iterable[Run]) -> list[TxnEntry]:
    """Every committed txn from the first on.  Raises AssertionError where the logs do not reach back."""
    runs = list(runs)
    originals = _originals(runs)
    rest = sorted(runs, key=lambda run: (run[-1][0], -run[0][0]))
    if not rest:
        return []
    chain = rest.pop()
    while True:
        head = chain[0][0]
        sharing = [run for run in rest if run[0][0] < head <= run[-1][0] and head in dict(run)]
        ending = [run for run in rest if run[-1][0] < head and follows(head, run[-1][0])]
        if sharing:
            best = min(sharing, key=_start)
            chain = [pair for pair in best if pair[0] < head] + chain
        elif ending:
            chain = min(ending, key=_start) + chain
        else:
            break
    assert chain[0][0] & 0xFFFFFFFF == 1, f"no log reaches back beyond 0x{chain[0][0]:x}"
    return [decode_txn(originals.get(zxid, raw)) for zxid, raw in chain]


def _start(run: Run) -> int:
    return run[0][0]


def judge(
    chain: Sequence[TxnEntry],
    history: History,
    watches: bool = True,
    excuse: Callable[[Violation], bool] | None = None,
) -> Judgement:
    """What the checkers of the simulator find in a history of real clients.

    ``excuse`` says which findings are none.  Watches are checked only where the rest is as it should be.
    """
    checker = HistoryChecker(chain, history)
    judgement = checker.check()
    if excuse is not None:
        judgement.violations = [one for one in judgement.violations if not excuse(one)]
    if watches and not judgement.violations:
        WatchChecker(checker.events, history, judgement).check(chain)
    return judgement
