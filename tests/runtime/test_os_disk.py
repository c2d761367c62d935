"""OsDisk on a real folder, and side by side with the simulated one."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from zabra.runtime.os_disk import OsDisk


@pytest.fixture
def disk(tmp_path: Path) -> OsDisk:
    return OsDisk(tmp_path)


def test_write_seek_read(disk: OsDisk) -> None:
    file = disk.create("f")
    file.write(b"hello world")
    assert file.tell() == 11
    file.seek(6)
    file.write(b"there")
    file.sync()
    file.close()
    file.close()
    assert disk.read("f") == b"hello there"
    assert disk.read("f", 6, 3) == b"the"
    assert disk.read("f", 9, 100) == b"re"
    assert disk.read("f", 99) == b""
    assert disk.size("f") == 11
    assert abs(disk.modified_ms("f") - (Path(disk.root) / "f").stat().st_mtime * 1000) < 1


def test_a_file_can_be_read_while_it_is_written(disk: OsDisk) -> None:
    file = disk.create("f")
    file.write(b"one")
    assert disk.read("f") == b"one"
    file.write(b"two")
    assert disk.read("f", 3) == b"two"
    file.close()


def test_preallocate_and_truncate(disk: OsDisk) -> None:
    file = disk.create("f")
    file.write(b"abc")
    file.preallocate(100_000)
    assert disk.read("f") == b"abc" + bytes(99_997)
    assert os.stat(Path(disk.root) / "f").st_blocks * 512 >= 100_000, "room is reserved"
    file.preallocate(50)
    assert disk.size("f") == 100_000
    file.write(b"def")
    file.truncate(6)
    assert disk.read("f") == b"abcdef"
    file.close()


def test_folders(disk: OsDisk) -> None:
    assert disk.list("a/b") == []
    disk.make_folder("a/b")
    disk.make_folder("a/b")
    for name in ("z", "y"):
        disk.create(f"a/b/{name}").close()
    assert disk.list("a/b") == ["y", "z"]
    disk.rename("a/b/z", "a/b/y")
    disk.sync_folder("a/b")
    assert disk.list("a/b") == ["y"]
    disk.delete("a/b/y")
    assert (disk.exists("a/b"), disk.exists("a/b/y")) == (True, False)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up"])
def test_names_stay_inside(disk: OsDisk, name: str) -> None:
    for use in (disk.read, disk.create, disk.delete, disk.list):
        with pytest.raises(ValueError, match="leaves the folder"):
            use(name)


def test_errors_are_oserrors(disk: OsDisk) -> None:
    disk.make_folder("folder")
    for use in (disk.read, disk.open, disk.delete, disk.size):
        with pytest.raises(FileNotFoundError):
            use("none")
    with pytest.raises(IsADirectoryError):
        disk.create("folder")
    with pytest.raises(FileNotFoundError):
        disk.create("none/f")


def test_only_regular_files_are_opened(disk: OsDisk) -> None:
    os.mkfifo(Path(disk.root) / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        disk.open("pipe")


WRITE_TOO_MUCH = """
import resource, signal, sys
from zabra.runtime.os_disk import OsDisk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
file = OsDisk(sys.argv[1]).create("f")
try:
    file.write(bytes(8192))
except OSError as error:
    print(error.errno, file.tell())
"""


def test_a_short_write_is_continued_until_it_fails(tmp_path: Path) -> None:
    """The kernel takes 5000 of 8192 bytes; the rest is tried again, and that fails."""
    assert resource.RLIMIT_FSIZE >= 0
    done = subprocess.run(
        [sys.executable, "-c", WRITE_TOO_MUCH, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(errno.EFBIG), "5000"]
    assert (tmp_path / "f").stat().st_size == 5000


def test_descriptors_are_given_back(disk: OsDisk) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for i in range(50):
        file = disk.create(f"f{i}")
        file.write(b"x")
        file.close()
        disk.read(f"f{i}")
        disk.sync_folder("")
    assert len(os.listdir("/proc/self/fd")) == before
