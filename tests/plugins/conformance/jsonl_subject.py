"""jsonl on a simulated disk, which loses power with its observer."""

import json
from collections.abc import Iterator

from tests.plugins.conformance.rows import judged_rows

from zabra.plugins.builtin.jsonl import JsonlPublisher
from zabra.plugins.conformance import Faults, Published
from zabra.sim.disk import SimDisk
from zabra.sim.prng import Prng

FILE = "out.jsonl"


class SimLines:
    """``jsonl.Lines`` on a simulated disk."""

    def __init__(self, disk: SimDisk, faults: Faults) -> None:
        self.name = FILE
        self._disk = disk
        self._faults = faults
        with faults.step("open"):
            self._file = disk.open(FILE) if disk.exists(FILE) else disk.create(FILE)

    def size(self) -> int:
        return self._disk.size(FILE)

    def read(self, offset: int, size: int) -> bytes:
        return self._disk.read(FILE, offset, size)

    def append(self, data: bytes) -> None:
        with self._faults.step("append"):
            self._file.seek(self.size())
            self._file.write(data)

    def truncate(self, size: int) -> None:
        with self._faults.step("truncate"):
            if size < self.size():
                self._file.truncate(size)

    def sync(self) -> None:
        with self._faults.step("sync"):
            self._file.sync()
            self._disk.sync_folder("")

    def close(self) -> None:
        self._file.close()


class JsonlSubject:
    def __init__(self, faults: Faults, fsync: bool = True) -> None:
        self._disk = SimDisk()
        self._faults = faults
        self._prng = Prng(faults.at, faults.kind)
        self._options = JsonlPublisher.Options(FILE, fsync)
        faults.power_cut = self.crash

    def publisher(self) -> JsonlPublisher:
        return JsonlPublisher(self._options, lambda _: SimLines(self._disk, self._faults))

    def crash(self) -> None:
        self._disk.crash(self._prng, scatter=True)

    def published(self) -> Published:
        """What a reader of the file makes of it."""
        return Published(judged_rows(self._whole_lines()))

    def _whole_lines(self) -> Iterator[dict]:
        for line in self._disk.read(FILE).split(b"\n")[:-1] if self._disk.exists(FILE) else []:
            try:
                yield json.loads(line)
            except ValueError:
                # Torn by a power cut: it goes at the next start.
                return
