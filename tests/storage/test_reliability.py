"""Rows R7 (crash points), R8 (bit rot) and R9 (disk errors) of the reliability scoreboard, on storage."""

from functools import partial

import pytest
from tests.conftest import Report
from tests.storage import workloads
from tests.storage.crash_points import (
    Enumerator,
    Promises,
    ViolationFound,
    check,
    site_of_caller,
    sites_in_source,
)
from tests.storage.damage import LIKE_A_CRASH, REFUSED, REPAIRED, WRONG, Folder
from tests.storage.folders import FOLDER, Applied, log_txns, new_store, options, save_snapshot

from zabra.server.disk_worker import DiskFailure
from zabra.server.recovery import recover, recover_epochs
from zabra.sim.disk import EIO, ENOSPC, LIE, SHORT, SLOW, SimDisk
from zabra.sim.prng import Prng
from zabra.storage.epochs import Epochs
from zabra.storage.errors import StorageError
from zabra.storage.names import log_zxid, split_snapshot_name
from zabra.tree.snapshot_walk import serialize_tree

LIVES = 6


@pytest.fixture(scope="module")
def crash_points() -> Enumerator:
    """All workloads, crashed everywhere."""
    found = Enumerator()
    for workload in workloads.WORKLOADS:
        found.run(workload.__name__, workload)
    for seed in range(LIVES):
        found.run(f"life {seed}", partial(workloads.some_life, seed))
    return found


@pytest.mark.slow
def test_r7_crash_points(crash_points: Enumerator, reliability: Report) -> None:
    """Whatever survives: what was promised is found, and nothing but what was logged."""
    reliability(
        "R7",
        "crash-points",
        states=crash_points.states,
        recoveries=crash_points.recoveries,
        nested=crash_points.nested,
        sites=len(crash_points.sites),
        violations=len(crash_points.violations),
    )
    assert crash_points.violations == []
    assert crash_points.states >= 10_000


@pytest.mark.slow
@pytest.mark.interpreted
def test_r7_every_site_was_crashed_at(crash_points: Enumerator) -> None:
    """No place that changes the disk is left out.  (Compiled code has no frames to tell it by.)"""
    missed = [site for site in sites_in_source() if site not in crash_points.sites]
    assert missed == []


@pytest.mark.parametrize(
    ("operation", "path_part", "workload"),
    [
        ("sync", "log.", workloads.append_one_by_one),
        ("sync", "new.log", workloads.append_one_by_one),
        ("sync", "new.snapshot", workloads.snap_from_leader),
        ("sync", "Epoch", workloads.epochs_only),
        ("sync_folder", "", workloads.append_one_by_one),
        ("sync_folder", "", workloads.epochs_only),
        ("sync_folder", "", workloads.truncate),
    ],
)
def test_r7_notices_an_fsync_that_is_left_out(
    operation: str, path_part: str, workload: workloads.Workload
) -> None:
    """The enumeration is worth something: without any one kind of fsync it finds violations."""
    found = Enumerator(stop_at_first=True)
    disk = SimDisk()
    disk.inject(operation, LIE, path_part, times=1 << 30)
    with pytest.raises(ViolationFound):
        found.watch(workload.__name__, disk, workload)


# R8: bit rot.


def one_log_folder(log_bytes: int) -> Folder:
    """A single log of about ``log_bytes``, from an empty database on."""
    disk = SimDisk()
    store = new_store(disk)
    recover(store, disk, options())
    applied = Applied()
    while store.log.current_bytes() < log_bytes:
        log_txns(store, applied.some(1))
    store.roll()
    return Folder(disk)


def one_snapshot_folder(snapshot_bytes: int, with_log: bool) -> Folder:
    """A snapshot of about ``snapshot_bytes``; with the whole log, or with nothing else to recover from."""
    disk = SimDisk()
    store = new_store(disk)
    recover(store, disk, options())
    applied = Applied()
    size = 0
    while size < snapshot_bytes:
        log_txns(store, applied.some(1))
        size = len(serialize_tree(applied.tree))
    store.roll()
    save_snapshot(store, applied.tree)
    if not with_log:
        store.log.clear()
        disk.delete(f"{FOLDER}/snapshot.0")
    return Folder(disk)


def flip_every_byte(folder: Folder, name: str, counts: dict[str, int], masks: tuple[int, ...]) -> None:
    """Flips each byte of one file in turn; the outcomes are added to ``counts``."""
    good = folder.files[name]
    for at in range(len(good)):
        for mask in masks:
            disk = folder.fresh()
            disk.flip(f"{FOLDER}/{name}", at, mask)
            damaged = disk.read(f"{FOLDER}/{name}")
            outcome = folder.outcome(disk, name, damaged)
            counts[outcome] = counts.get(outcome, 0) + 1
            assert outcome != WRONG, f"{name}, byte {at} ^ {mask:02x}"


def large_folder() -> Folder:
    """Several logs and snapshots of some ten KiB each."""
    disk = SimDisk()
    store = new_store(disk)
    recover(store, disk, options())
    applied = Applied()
    for count in (60, 50, 70):
        log_txns(store, applied.some(count))
        save_snapshot(store, applied.tree)
        store.roll()
    log_txns(store, applied.some(65))
    store.log.close()
    return Folder(disk)


def fault_a_sector(folder: Folder, prng: Prng) -> str:
    """Zeroes a sector of one file, or puts another one in its place; returns the outcome."""
    name = prng.pick(sorted(folder.files))
    good = folder.files[name]
    size = prng.pick([512, 4096])
    at = prng.below(len(good) // size + 1) * size
    kind = prng.below(3)
    disk = folder.fresh()
    if kind == 0 or len(good) <= at:
        other = bytes(size)
    elif kind == 1:
        # Misdirected: a sector of the same or of another file.
        source = folder.files[prng.pick(sorted(folder.files))]
        start = prng.below(len(source) // size + 1) * size
        other = source[start : start + size]
    else:
        # Stale: what the disk held before this file was, from any byte on.
        source = folder.files[prng.pick(sorted(folder.files))]
        start = prng.below(len(source))
        other = source[start : start + size]
    disk.overwrite(f"{FOLDER}/{name}", at, other)
    return folder.outcome(disk, name, disk.read(f"{FOLDER}/{name}"))


@pytest.mark.slow
def test_r8_bit_rot(reliability: Report) -> None:
    """Damage is refused or repaired, never served, and never taken for the end of the history."""
    counts: dict[str, int] = {}
    log = one_log_folder(4096)
    flip_every_byte(log, log_file(log), counts, (0xFF,))
    alone = one_snapshot_folder(4096, with_log=False)
    flip_every_byte(alone, snapshot_file(alone), counts, (0xFF,))
    assert REPAIRED not in counts or counts[REPAIRED] < counts[REFUSED]
    flips = sum(counts.values())
    assert flips >= 8192
    assert LIKE_A_CRASH not in counts
    folder = large_folder()
    prng = Prng(8, "sector faults")
    sectors: dict[str, int] = {}
    for _ in range(2000):
        outcome = fault_a_sector(folder, prng)
        sectors[outcome] = sectors.get(outcome, 0) + 1
    reliability(
        "R8",
        "bit-rot",
        flips=flips,
        sectors=sum(sectors.values()),
        refused=counts[REFUSED] + sectors[REFUSED],
        repaired=counts.get(REPAIRED, 0) + sectors[REPAIRED],
        like_a_crash=sectors.get(LIKE_A_CRASH, 0),
        violations=sectors.get(WRONG, 0),
    )
    assert sectors.get(WRONG, 0) == 0


def test_r8_a_damaged_snapshot_is_repaired_from_an_older_one_and_the_log() -> None:
    counts: dict[str, int] = {}
    folder = one_snapshot_folder(1000, with_log=True)
    flip_every_byte(folder, snapshot_file(folder), counts, (0xFF,))
    assert list(counts) == [REPAIRED]


def test_r8_single_bits_and_zeroed_bytes_of_a_log() -> None:
    counts: dict[str, int] = {}
    folder = one_log_folder(900)
    flip_every_byte(folder, log_file(folder), counts, (0x01, 0x42))
    assert sorted(counts) == [REFUSED, REPAIRED]


def test_r8_epoch_files() -> None:
    """A digit may rot into another digit; it must not lower an epoch below what the data says."""
    counts: dict[str, int] = {}
    disk = SimDisk()
    store = new_store(disk)
    found = recover(store, disk, options())
    epochs = Epochs(disk, FOLDER)
    recover_epochs(epochs, found)
    epochs.save_accepted(15)
    epochs.save_current(15)
    applied = Applied()
    applied.leader.zxid = 15 << 32
    log_txns(store, applied.some(2))
    folder = Folder(disk)
    for name in ("acceptedEpoch", "currentEpoch"):
        for mask in (0xFF, 0x01, 0x02, 0x04, 0x08):
            flip_every_byte(folder, name, counts, (mask,))
    assert counts[REFUSED] > 0


def log_file(folder: Folder) -> str:
    return max((name for name in folder.files if name.startswith("log.")), key=log_zxid)


def snapshot_file(folder: Folder) -> str:
    names = [name for name in folder.files if name.startswith("snapshot.")]
    return max(names, key=lambda name: split_snapshot_name(name)[0])


# R9: disk errors.

PERSISTENT = "EIO for ever"
KINDS = (EIO, ENOSPC, SHORT, LIE, SLOW, PERSISTENT)
OCCURRENCES = 3


class DiskErrors:
    """Injects one fault per run of a workload; counts what came of it."""

    def __init__(self) -> None:
        self.runs = 0
        self.stopped = 0
        self.went_on = 0
        self.slow = 0
        self.violations: list[str] = []

    def sites(self) -> dict[str, int]:
        """How often each place that uses the disk is passed, by "module.function operation"."""
        disk = SimDisk()
        found: dict[str, int] = {}

        def before(operation: str, path: str) -> None:
            site = f"{site_of_caller()} {operation}"
            found[site] = found.get(site, 0) + 1

        disk.before = before
        workloads.everything_once(disk, Promises())
        return {site: count for site, count in found.items() if not site.startswith("workload ")}

    def run(self, site: str, occurrence: int, kind: str) -> None:
        """One run with a fault at the ``occurrence``-th passing of ``site``, then a crash and a recovery."""
        self.runs += 1
        disk = SimDisk()
        promises = Promises()
        left = [occurrence]

        def before(operation: str, path: str) -> None:
            if f"{site_of_caller()} {operation}" == site:
                left[0] -= 1
                if left[0] == -1:
                    error = EIO if kind == PERSISTENT else kind
                    disk.inject(operation, error, path, times=1 << 30 if kind == PERSISTENT else 1)

        disk.before = before
        try:
            workloads.everything_once(disk, promises)
            self.went_on += 1
        except (OSError, StorageError, DiskFailure):
            self.stopped += 1
        disk.before = None
        self.slow += disk.delay_ms > 0
        self._judge(disk, promises, kind, f"{site} #{occurrence} {kind}")

    def _judge(self, disk: SimDisk, promises: Promises, kind: str, where: str) -> None:
        everything = {change.number: [(0, len(change.data))] for change in disk.changes()}
        if kind == LIE:
            # Nothing can be promised on a disk that lies, but what is found must still be true.
            for allowed in promises.outcomes:
                allowed.low = 0
            promises.accepted = promises.current = tuple(range(9))
            promises.config = ()
        for kept in ({}, everything):
            problem = check(disk.after_crash(kept), promises) if promises.outcomes else ""
            if problem and not (kind == LIE and "refused" in problem):
                self.violations.append(f"{where}: {problem}")


@pytest.mark.interpreted
def test_r9_disk_errors(reliability: Report) -> None:
    """A server whose disk fails stops at once, and has promised nothing that the disk does not hold."""
    errors = DiskErrors()
    sites = errors.sites()
    for site, count in sorted(sites.items()):
        for occurrence in range(min(count, OCCURRENCES)):
            for kind in KINDS:
                errors.run(site, occurrence, kind)
    reliability(
        "R9",
        "disk-errors",
        sites=len(sites),
        kinds=len(KINDS),
        runs=errors.runs,
        stopped=errors.stopped,
        went_on=errors.went_on,
        slow=errors.slow,
        violations=len(errors.violations),
    )
    assert errors.violations == []
    assert errors.slow > 0
    # Mending an end byte takes rot first.
    missed = [site for site in sites_in_source() if site not in sites]
    assert [site for site in missed if "mend_ends" not in site] == []
