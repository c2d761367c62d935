"""What an operator may ask about the process and the machine: environment, descriptors, sizes of folders."""

import getpass
import os
import platform
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator

from zabra import __version__, _mode

NOT_AVAILABLE = "<NA>"
# Files that folder_size looks at; a data folder has some dozens.
FILES_MAX = 100_000

_FOLDER_OF_DESCRIPTORS = "/proc/self/fd"
_MB = 1024 * 1024
# Java's names of processors, which is what readers of ``os.arch`` know.
_JAVA_ARCH = {"x86_64": "amd64", "arm64": "aarch64"}


def environment(version: str) -> list[tuple[str, str]]:
    """The lines of ``envi``: upstream's keys first (the JVM's have no value here), then what is Python's."""
    memory = _memory()
    rows = [
        ("zookeeper.version", version),
        ("host.name", socket.gethostname()),
        ("java.version", NOT_AVAILABLE),
        ("java.vendor", NOT_AVAILABLE),
        ("java.home", NOT_AVAILABLE),
        ("java.class.path", NOT_AVAILABLE),
        ("java.library.path", NOT_AVAILABLE),
        ("java.io.tmpdir", tempfile.gettempdir()),
        ("java.compiler", NOT_AVAILABLE),
        ("os.name", platform.system()),
        ("os.arch", _JAVA_ARCH.get(platform.machine(), platform.machine())),
        ("os.version", platform.release()),
        ("user.name", _user_name()),
        ("user.home", os.path.expanduser("~")),
        ("user.dir", _working_folder()),
        ("os.memory.free", memory[0]),
        ("os.memory.max", memory[1]),
        ("os.memory.total", memory[2]),
        ("zabra.version", __version__),
        ("zabra.compiled", "true" if _mode.is_compiled() else "false"),
        ("python.version", platform.python_version()),
        ("python.implementation", platform.python_implementation()),
        ("python.executable", sys.executable or NOT_AVAILABLE),
    ]
    return [(key, _one_line(value)) for key, value in rows]


def _one_line(value: str) -> str:
    return value.replace("\n", " ").replace("\r", " ")


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return str(os.getuid())


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return NOT_AVAILABLE


def _memory() -> tuple[str, str, str]:
    """Free and whole memory of the machine, and what this process takes of it."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        free = os.sysconf("SC_AVPHYS_PAGES") * page
        whole = os.sysconf("SC_PHYS_PAGES") * page
    except (ValueError, OSError):
        return NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE
    return f"{free // _MB}MB", f"{whole // _MB}MB", f"{_resident_bytes(page) // _MB}MB"


def _resident_bytes(page: int) -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * page
    except (OSError, IndexError, ValueError):
        # Not Linux: the most it ever took, in KiB, is the best there is.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def open_descriptors() -> int:
    """Descriptors this process has open; -1 where the system does not tell."""
    try:
        # One of them was opened to look.
        return len(os.listdir(_FOLDER_OF_DESCRIPTORS)) - 1
    except OSError:
        return -1


def descriptor_limit() -> int:
    """Descriptors this process may have open; -1 for no limit."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return -1 if limit == resource.RLIM_INFINITY else limit


def folder_size(path: str) -> int:
    """Bytes in the files below ``path``; 0 for a folder that is not there (yet)."""
    total = 0
    for count, entry in enumerate(_files(path)):
        if count >= FILES_MAX:
            break
        try:
            total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            # Purged since it was listed.
            continue
    return total


def _files(path: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(path))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            yield entry
