"""FileSnap: the snapshots of a server, as files ``snapshot.<zxid>[.gz|.snappy]`` in one folder.

Source: upstream ``FileSnap``, ``SnapStream``.  Upstream writes a snapshot under its final name and, unless
asked to, does not fsync it; a crash leaves a file that looks like a snapshot.  Here it is written as
``new.snapshot.<zxid>``, fsynced, renamed, and the folder fsynced: a file named ``snapshot.*`` was whole once.
One that a leader sends may be saved while another of the same zxid is being written beside the log, or given
up: each has its own name until it is whole.

A body is opaque bytes; the tree makes and reads it.
"""

from collections.abc import Iterable
from typing import Final

from zabra.proto.txn import DIGEST_VERSION
from zabra.storage import compression
from zabra.storage.compression import CompressionError
from zabra.storage.disk import Disk
from zabra.storage.errors import SnapshotError
from zabra.storage.names import (
    ADOPTING_PREFIX,
    NEW_SNAPSHOT_PREFIX,
    join,
    parse_zxid,
    snapshot_name,
    split_snapshot_name,
)
from zabra.storage.snapshot_format import (
    SealChecker,
    SnapshotDecoder,
    SnapshotEncoder,
    ZxidDigest,
    ends_like_snapshot,
)

# Upstream tries this many files, newest first, before it gives up.
MAX_CANDIDATES: Final = 100
_READ_BYTES: Final = 1024 * 1024
# The smallest file upstream looks into.
_MIN_FILE_BYTES: Final = 10


class SnapshotFile:
    """One snapshot file: its name in the folder, the zxid in it, its compression and its size in bytes."""

    __slots__ = ("compression", "name", "path", "size", "zxid")

    def __init__(self, folder: str, name: str, zxid: int, method: str, size: int) -> None:
        self.name = name
        self.path = join(folder, name)
        self.zxid = zxid
        self.compression = method
        self.size = size

    def __repr__(self) -> str:
        return f"SnapshotFile({self.path!r})"


class SnapshotWriter:
    """Writes one snapshot: ``write`` for each chunk of the body, then ``finish``, or ``abort``.

    ``path`` is the name it gets by ``finish``.
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        zxid: int,
        new_name: str,
        method: str,
        with_digest: bool,
        with_last_zxid: bool,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._with_digest = with_digest
        self._with_last_zxid = with_last_zxid
        self.path = join(folder, snapshot_name(zxid, method))
        self._new = join(folder, new_name)
        self._compressor = compression.compressor(method)
        self._encoder = SnapshotEncoder()
        self._file = disk.create(self._new)
        self._put(self._encoder.begin())

    def _put(self, data: bytes) -> None:
        packed = self._compressor.compress(data)
        if packed:
            self._file.write(packed)

    def write(self, chunk: bytes) -> None:
        """The next piece of the body."""
        self._put(self._encoder.body(chunk))

    def finish(self, zxid: int, digest: int) -> None:
        """Writes what stands behind the body, and returns when the snapshot is durable under its name.

        ``zxid`` is the last txn that may be in the body, ``digest`` the tree's digest after that txn.
        """
        trailer = self._encoder.end(
            ZxidDigest(zxid, DIGEST_VERSION, digest) if self._with_digest else None,
            zxid if self._with_last_zxid else -1,
        )
        try:
            self._put(trailer)
            rest = self._compressor.finish()
            if rest:
                self._file.write(rest)
            self._file.sync()
        finally:
            self._file.close()
        self._disk.rename(self._new, self.path)
        self._disk.sync_folder(self._folder)

    def abort(self) -> None:
        """Gives up: the unfinished file is removed."""
        self._file.close()
        self._disk.delete(self._new)


class SnapshotReader:
    """Reads one snapshot for somebody who understands the body.

    Call ``more`` until that reader has seen the end of the body, telling ``used`` after each call how many
    bytes it took; then ``finish``.  Errors are SnapshotError, naming the file.
    """

    def __init__(self, disk: Disk, file: SnapshotFile, slice_bytes: int = _READ_BYTES) -> None:
        self._disk = disk
        self.file = file
        self._slice_bytes = slice_bytes
        self._decoder = SnapshotDecoder()
        self._decompressor = compression.decompressor(file.compression)
        self._at_end = False
        self.bytes_read = 0

    def _fail(self, reason: str) -> SnapshotError:
        return SnapshotError(self.file.path, self._decoder.offset, reason)

    def _next(self) -> bytes:
        """The next bytes of the uncompressed file; b"" with ``_at_end`` set at its end."""
        try:
            while not self._at_end:
                packed = self._disk.read(self.file.path, self.bytes_read, self._slice_bytes)
                self.bytes_read += len(packed)
                if not packed:
                    self._decompressor.finish()
                    self._at_end = True
                    break
                data = self._decompressor.decompress(packed)
                if data:
                    return data
        except CompressionError as error:
            raise self._fail(str(error)) from error
        return b""

    def more(self) -> bytes:
        """All bytes of the body (and maybe beyond) that were not used yet, and some new ones."""
        data = self._next()
        if self._at_end:
            raise self._fail("the file ends inside the body")
        out = self._decoder.feed(data)
        if self._decoder.problem:
            raise self._fail(self._decoder.problem)
        return out

    def used(self, count: int, body_done: bool) -> None:
        """The body's reader took ``count`` bytes of what ``more`` gave; ``body_done``: it needs no more."""
        self._decoder.used(count, body_done)

    def finish(self) -> None:
        """Reads to the end and checks every seal; afterwards ``digest`` and ``last_zxid`` are known."""
        while not self._at_end:
            self._decoder.feed(self._next())
            if self._decoder.problem:
                break
        self._decoder.finish()
        if self._decoder.problem:
            raise self._fail(self._decoder.problem)

    @property
    def digest(self) -> ZxidDigest | None:
        """The digest stored behind the body; None if the file has none."""
        return self._decoder.digest

    @property
    def last_zxid(self) -> int:
        """lastProcessedZxid stored behind the body; -1 if the file has none."""
        return self._decoder.last_zxid


class FileSnap:
    """The snapshots in one folder (``<dataDir>/version-2``).

    Args:
        disk, folder: where the files are.
        compression_method: "", "gz" or "snappy" (``snapshot.compression.method``), for new files.
        with_digest: new files say what the tree's digest is (``digest.enabled``).
        with_last_zxid: new files say how far they reach (``serializeLastProcessedZxid.enabled``).
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        *,
        compression_method: str = "",
        with_digest: bool = True,
        with_last_zxid: bool = True,
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._method = compression_method
        self._with_digest = with_digest
        self._with_last_zxid = with_last_zxid
        compression.compressor(compression_method)

    def files(self) -> list[SnapshotFile]:
        """All snapshot files, newest first, whether or not they are whole; stray names are left out."""
        found = []
        for name in self._disk.list(self._folder):
            zxid, method = split_snapshot_name(name)
            if zxid >= 0:
                found.append((-zxid, name, method))
        return [
            SnapshotFile(self._folder, name, -minus, method, self._disk.size(join(self._folder, name)))
            for minus, name, method in sorted(found)
        ]

    def plausible(self, file: SnapshotFile) -> bool:
        """Upstream's quick look: a plain file must end like one, a compressed one begin like one."""
        if file.compression == "gz":
            return self._disk.read(file.path, 0, 2) == compression.GZIP_MAGIC
        if file.compression == "snappy":
            return self._disk.read(file.path, 0, 8) == compression.SNAPPY_MAGIC
        if file.size < _MIN_FILE_BYTES:
            return False
        return ends_like_snapshot(self._disk.read(file.path, file.size - 5, 5))

    def candidates(self, limit: int = MAX_CANDIDATES) -> list[SnapshotFile]:
        """The newest ``limit`` files that pass the quick look, newest first."""
        out: list[SnapshotFile] = []
        for file in self.files():
            if len(out) >= limit:
                break
            if self.plausible(file):
                out.append(file)
        return out

    def problem(self, file: SnapshotFile) -> str:
        """Reads a whole file and says what is wrong with it; "" when its last seal is right."""
        checker = SealChecker()
        position = 0
        try:
            unpack = compression.decompressor(file.compression)
            while True:
                packed = self._disk.read(file.path, position, _READ_BYTES)
                if not packed:
                    break
                position += len(packed)
                checker.feed(unpack.decompress(packed))
            unpack.finish()
        except CompressionError as error:
            return str(error)
        return checker.finish()

    def newest_whole(self, limit: int) -> list[SnapshotFile]:
        """The newest ``limit`` files whose last seal is right, newest first (reads them)."""
        out: list[SnapshotFile] = []
        for file in self.files():
            if len(out) >= limit:
                break
            if self.plausible(file) and not self.problem(file):
                out.append(file)
        return out

    def newest_size(self) -> int:
        """Bytes of the newest plausible snapshot (for ``snapshotSizeFactor``); 0 without one."""
        found = self.candidates(1)
        return found[0].size if found else 0

    def settle_names(self) -> None:
        """Makes the names in the folder durable."""
        self._disk.sync_folder(self._folder)

    def begin(self, zxid: int, sync: bool = True, from_leader: bool = False) -> SnapshotWriter:
        """Begins the snapshot of ``zxid``; a snapshot of that zxid is replaced when the writer finishes.

        ``sync`` is upstream's choice whether the file is fsynced before it counts as taken; here every
        one is, since a name given to bytes that are not durable is what recovery would trip over.
        """
        new_name = f"{NEW_SNAPSHOT_PREFIX}{zxid:x}" + (".leader" if from_leader else "")
        return SnapshotWriter(
            self._disk, self._folder, zxid, new_name, self._method, self._with_digest, self._with_last_zxid
        )

    def save(self, zxid: int, body: Iterable[bytes], last_zxid: int, digest: int) -> str:
        """Writes a whole snapshot; returns its path.  If ``body`` fails the unfinished file is removed."""
        writer = self.begin(zxid)
        try:
            for chunk in body:
                writer.write(chunk)
        except BaseException:
            writer.abort()
            raise
        writer.finish(last_zxid, digest)
        return writer.path

    def drop_after(self, zxid: int) -> None:
        """Deletes every snapshot newer than ``zxid``, durably."""
        for file in self.files():
            if file.zxid > zxid:
                self.delete(file)

    def reader(self, file: SnapshotFile, slice_bytes: int = _READ_BYTES) -> SnapshotReader:
        """Reads a file; see SnapshotReader."""
        return SnapshotReader(self._disk, file, slice_bytes)

    def delete(self, file: SnapshotFile) -> None:
        """Removes a file, durably."""
        self._disk.delete(file.path)
        self._disk.sync_folder(self._folder)

    def remove_unfinished(self) -> list[str]:
        """Removes files that a crash left unfinished; returns their names."""
        names = [name for name in self._disk.list(self._folder) if name.startswith(NEW_SNAPSHOT_PREFIX)]
        for name in names:
            self._disk.delete(join(self._folder, name))
        return names

    # One that replaces everything else.

    def mark_adopting(self, zxid: int) -> None:
        """Notes, durably, that the snapshot of ``zxid`` replaces all else, once it is there."""
        self._disk.create(join(self._folder, f"{ADOPTING_PREFIX}{zxid:x}")).close()
        self._disk.sync_folder(self._folder)

    def adopting(self) -> int:
        """The zxid of the snapshot that replaces all else; -1 if none does."""
        for name in self._disk.list(self._folder):
            if name.startswith(ADOPTING_PREFIX):
                return parse_zxid(name[len(ADOPTING_PREFIX) :])
        return -1

    def adopted(self, zxid: int) -> None:
        """All else is gone, or stays after all."""
        self._disk.delete(join(self._folder, f"{ADOPTING_PREFIX}{zxid:x}"))
        self._disk.sync_folder(self._folder)
