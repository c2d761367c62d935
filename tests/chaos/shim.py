"""A server's disk and wall clock under a test's control, by a preloaded library (``shim.c``)."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
_PAGE = struct.Struct("<qqqq")


@cache
def library(folder: Path) -> Path | None:
    """Builds the library into ``folder``; None where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    target = folder / "zabra_shim.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(target), str(SOURCE)]
    subprocess.run(command, check=True)
    return target


class Shim:
    """What one server's library reads; the page outlives the server's process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(mmap.PAGESIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def environment(self, built: Path) -> dict[str, str]:
        """What to add to the server's environment."""
        return {"LD_PRELOAD": str(built), "ZABRA_SHIM": str(self.path)}

    def _set(self, index: int, value: int) -> None:
        self._page[8 * index : 8 * index + 8] = struct.pack("<q", value)

    def slow_syncs(self, delay_ms: int) -> None:
        """Every fsync takes ``delay_ms`` more; 0 ends that."""
        self._set(0, 1000 * delay_ms)

    def step_clock(self, offset_ms: int) -> None:
        """The wall clock is off by this much."""
        self._set(1, offset_ms)

    def fail_syncs(self, code: int) -> None:
        """Every fsync fails with this errno; 0 ends that."""
        self._set(2, code)

    def syncs(self) -> int:
        """fsyncs so far: a library that was not loaded counts none."""
        return int(_PAGE.unpack_from(self._page)[3])
