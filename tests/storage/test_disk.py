"""The Disk door: what is behind it in production and in simulations does the same."""

import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from zabra.runtime.os_disk import OsDisk
from zabra.sim.disk import SimDisk
from zabra.storage.disk import Disk, DiskFile

NAMES = ["a", "b", "v/c", "v/d"]
STEPS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3000)), max_size=25
)


def play(disk: Disk, steps: list[tuple[int, int, int, int]]) -> list[object]:
    """Does the steps and says what came of each."""
    files: dict[str, DiskFile] = {}
    out: list[object] = []
    disk.make_folder("v")
    for operation, first, second, number in steps:
        name, other = NAMES[first], NAMES[second]
        try:
            out.append(step(disk, files, operation, name, other, number))
        except FileNotFoundError:
            out.append("no such file")
        out.append([disk.list(""), disk.list("v"), [disk.read(n) for n in NAMES if disk.exists(n)]])
    for file in files.values():
        file.close()
    return out


def step(
    disk: Disk, files: dict[str, DiskFile], operation: int, name: str, other: str, number: int
) -> object:
    if operation <= 1:
        if name in files:
            files.pop(name).close()
        files[name] = disk.create(name) if operation == 0 else disk.open(name)
    elif operation == 2 and name in files:
        files[name].write(bytes([number % 256]) * number)
        return files[name].tell()
    elif operation == 3 and name in files:
        files[name].preallocate(number)
    elif operation == 4 and name in files:
        files[name].truncate(number)
    elif operation == 5 and name in files:
        files[name].seek(number)
    elif operation == 6:
        disk.rename(name, other)
        # Handles follow the file, not the name; drop them to keep names and files apart.
        for gone in (name, other):
            if gone in files:
                files.pop(gone).close()
    elif operation == 7:
        disk.delete(name)
        if name in files:
            files.pop(name).close()
    elif operation == 8:
        disk.sync_folder("v")
        return (disk.exists(name), disk.size(name), disk.read(name, number, 10))
    return None


@settings(deadline=None)
@given(STEPS)
def test_the_simulated_disk_does_what_the_real_one_does(steps: list[tuple[int, int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert play(SimDisk(), steps) == play(OsDisk(folder), steps)
