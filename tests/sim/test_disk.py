"""SimDisk: the fault model, case by case."""

import errno

import pytest

from zabra.sim.disk import (
    EIO,
    ENOSPC,
    LIE,
    SECTOR_BYTES,
    SHORT,
    SLOW,
    SimDisk,
    choose_kept,
    sector_cuts,
)
from zabra.sim.prng import Prng


def with_file(content: bytes = b"old") -> SimDisk:
    """A disk with a durable file ``v/f``."""
    disk = SimDisk()
    disk.make_folder("v")
    file = disk.create("v/f")
    file.write(content)
    file.sync()
    disk.sync_folder("v")
    assert disk.changes() == []
    return disk


def everything(disk: SimDisk) -> dict[int, list[tuple[int, int]]]:
    return {change.number: [(0, len(change.data))] for change in disk.changes()}


# Crashes.


def test_what_is_not_synced_may_be_lost_or_kept() -> None:
    disk = with_file()
    disk.open("v/f").write(b"NEWER")
    assert disk.read("v/f") == b"NEWER"
    assert disk.after_crash({}).read("v/f") == b"old"
    assert disk.after_crash(everything(disk)).read("v/f") == b"NEWER"
    assert disk.read("v/f") == b"NEWER", "looking at a crash changes nothing"


def test_a_write_is_torn_at_sectors_of_the_file() -> None:
    disk = with_file(b"")
    file = disk.open("v/f")
    file.seek(100)
    file.write(b"x" * 2000)
    change = disk.changes()[0]
    assert sector_cuts(change) == [412, 924, 1436, 1948]
    found = disk.after_crash({change.number: [(0, 924)]}).read("v/f")
    assert found == bytes(100) + b"x" * 924
    assert len(found) % SECTOR_BYTES == 0


def test_changes_survive_in_any_combination() -> None:
    disk = with_file()
    file = disk.open("v/f")
    file.write(b"first")
    file.seek(10)
    file.write(b"second")
    first, second = disk.changes()
    assert disk.after_crash({second.number: [(0, 6)]}).read("v/f") == b"old" + bytes(7) + b"second"
    assert disk.after_crash({first.number: [(0, 5)]}).read("v/f") == b"first"


def test_sync_covers_the_file_only() -> None:
    disk = SimDisk()
    disk.make_folder("v")
    file = disk.create("v/new")
    file.write(b"data")
    file.sync()
    assert disk.after_crash({}).list("v") == [], "its name is not durable"
    disk.sync_folder("v")
    assert disk.after_crash({}).read("v/new") == b"data"


def test_names_without_their_content() -> None:
    disk = SimDisk()
    disk.make_folder("v")
    disk.create("v/new").write(b"data")
    disk.sync_folder("v")
    assert disk.after_crash({}).read("v/new") == b""


def test_a_rename_may_be_lost_kept_or_lose_the_old_name() -> None:
    disk = with_file()
    file = disk.create("v/tmp")
    file.write(b"new")
    file.sync()
    create = disk.changes()[0]
    disk.rename("v/tmp", "v/f")
    rename = disk.changes()[1]
    assert file.path == "v/f"
    assert disk.after_crash({}).read("v/f") == b"old"
    assert disk.after_crash({create.number: []}).list("v") == ["f", "tmp"]
    kept = disk.after_crash({rename.number: []})
    assert (kept.list("v"), kept.read("v/f")) == (["f"], b"new")
    disk.sync_folder("v")
    assert disk.after_crash({}).read("v/f") == b"new"


def test_a_delete_may_be_lost() -> None:
    disk = with_file()
    disk.delete("v/f")
    assert disk.after_crash({}).read("v/f") == b"old"
    assert disk.after_crash(everything(disk)).list("v") == []


def test_creating_over_a_file_empties_it_and_may_be_lost() -> None:
    disk = with_file()
    disk.create("v/f").write(b"n")
    assert disk.after_crash({}).read("v/f") == b"old"
    assert disk.after_crash(everything(disk)).read("v/f") == b"n"


def test_resizes_are_changes_too() -> None:
    disk = with_file()
    file = disk.open("v/f")
    file.preallocate(2000)
    assert disk.size("v/f") == 2000
    assert disk.after_crash({}).size("v/f") == 3
    file.truncate(1)
    assert disk.after_crash(everything(disk)).read("v/f") == b"o"
    file.sync()
    assert disk.after_crash({}).read("v/f") == b"o"


def test_crash_draws_and_becomes() -> None:
    outcomes = {}
    for seed in range(60):
        disk = with_file()
        file = disk.open("v/f")
        file.write(b"x" * 1200)
        disk.create("v/other")
        kept = disk.crash(Prng(seed, "crash"))
        outcomes[disk.read("v/f"), tuple(disk.list("v"))] = kept
        assert disk.changes() == []
        with pytest.raises(OSError, match="crashed since"):
            file.write(b"y")
    sizes = {len(content) for content, _ in outcomes}
    assert sizes == {3, 512, 1024, 1200}
    assert {names for _, names in outcomes} == {("f",), ("f", "other")}


def test_crashes_are_determined_by_the_seed() -> None:
    def life(seed: int) -> list[object]:
        disk = with_file()
        prng = Prng(seed, "crash")
        out: list[object] = []
        for i in range(8):
            file = disk.open("v/f")
            file.write(bytes([i]) * 3000)
            disk.create(f"v/n{i}")
            out.append((disk.crash(prng), disk.list("v"), disk.read("v/f")))
        return out

    assert life(3) == life(3)
    assert life(3) != life(4)


def test_scattered_tears_keep_sectors_independently() -> None:
    seen = {}
    for seed in range(80):
        disk = with_file(b"")
        disk.open("v/f").write(b"x" * 1536)
        kept = choose_kept(disk.changes(), Prng(seed, "scatter"), scatter=True)
        content = disk.after_crash(kept).read("v/f").ljust(1536, b"\0")
        seen[bytes(content[i] for i in (0, 512, 1024))] = None
    assert len(seen) == 8


# Errors.


@pytest.mark.parametrize("kind", [EIO, ENOSPC])
@pytest.mark.parametrize(
    "operation",
    ["write", "sync", "truncate", "preallocate", "create", "open", "rename", "delete", "read", "list"],
)
def test_any_call_can_fail(operation: str, kind: str) -> None:
    disk = with_file()
    file = disk.open("v/f")
    calls = {
        "write": lambda: file.write(b"x"),
        "sync": file.sync,
        "truncate": lambda: file.truncate(0),
        "preallocate": lambda: file.preallocate(9),
        "create": lambda: disk.create("v/g"),
        "open": lambda: disk.open("v/f"),
        "rename": lambda: disk.rename("v/f", "v/g"),
        "delete": lambda: disk.delete("v/f"),
        "read": lambda: disk.read("v/f"),
        "list": lambda: disk.list("v"),
    }
    disk.inject(operation, kind)
    with pytest.raises(OSError, match="injected") as caught:
        calls[operation]()
    assert caught.value.errno == (errno.EIO if kind == EIO else errno.ENOSPC)
    assert disk.list("v") == ["f"]
    assert disk.read("v/f") == b"old"
    calls[operation]()


def test_faults_choose_their_place_and_number() -> None:
    disk = with_file()
    disk.inject("read", EIO, "v/g", skip=1, times=2)
    disk.create("v/g")
    disk.read("v/f")
    disk.read("v/g")
    for _ in range(2):
        with pytest.raises(OSError, match="injected"):
            disk.read("v/g")
    disk.read("v/g")
    with pytest.raises(ValueError, match="unknown kind"):
        disk.inject("read", "gremlins")


def test_a_short_write_leaves_half() -> None:
    disk = with_file(b"")
    disk.inject("write", SHORT)
    with pytest.raises(OSError, match="short write"):
        disk.open("v/f").write(b"abcdef")
    assert disk.read("v/f") == b"abc"


def test_a_failed_fsync_loses_what_it_was_for() -> None:
    disk = with_file()
    file = disk.open("v/f")
    file.write(b"new")
    disk.inject("sync", EIO)
    with pytest.raises(OSError, match="injected"):
        file.sync()
    file.sync()
    assert disk.read("v/f") == b"new"
    assert disk.after_crash(everything(disk)).read("v/f") == b"old"


@pytest.mark.parametrize("operation", ["sync", "sync_folder"])
def test_an_fsync_may_lie(operation: str) -> None:
    disk = with_file()
    disk.inject(operation, LIE)
    file = disk.create("v/g")
    file.write(b"x")
    file.sync()
    disk.sync_folder("v")
    found = disk.after_crash({})
    assert found.list("v") == (["f", "g"] if operation == "sync" else ["f"])
    if operation == "sync":
        assert found.read("v/g") == b""


def test_slow_calls_take_simulated_time() -> None:
    disk = with_file()
    disk.slow_ms = 700
    disk.inject("sync", SLOW, times=2)
    file = disk.open("v/f")
    file.sync()
    file.sync()
    file.sync()
    assert disk.delay_ms == 1400


def test_capacity() -> None:
    disk = with_file(b"x" * 90)
    disk.capacity_bytes = 100
    file = disk.create("v/g")
    file.write(b"y" * 10)
    with pytest.raises(OSError, match="no space left"):
        file.write(b"z")
    with pytest.raises(OSError, match="no space left"):
        file.preallocate(11)
    file.truncate(0)
    file.seek(0)
    file.write(b"z" * 10)


def test_damage_at_rest_is_durable() -> None:
    disk = with_file(b"abcdef")
    disk.flip("v/f", 2, 0x20)
    disk.overwrite("v/f", 4, b"12345")
    assert disk.read("v/f") == b"abCd12"
    assert disk.after_crash({}).read("v/f") == b"abCd12"
    disk.lose_entry("v/f")
    assert disk.after_crash({}).list("v") == []


def test_wiped_disks_are_empty() -> None:
    disk = with_file()
    file = disk.open("v/f")
    disk.wipe()
    assert disk.list("") == []
    with pytest.raises(OSError, match="crashed since"):
        file.sync()


def test_modification_times_are_the_drivers_clock() -> None:
    disk = with_file()
    assert disk.modified_ms("v/f") == 0
    disk.now_ms = 77
    disk.open("v/f").write(b"x")
    assert disk.modified_ms("v/f") == 77
    assert disk.after_crash({}).modified_ms("v/f") == 77


def test_hooks_see_every_call() -> None:
    disk = with_file()
    seen: list[tuple[str, str]] = []
    disk.before = lambda operation, path: seen.append((operation, path))
    disk.after = lambda operation, path: seen.append((f"{operation} done", path))
    disk.rename("v/f", "v/g")
    assert seen == [("rename", "v/f"), ("rename done", "v/g")]
    assert disk.counts["rename"] == 1
