"""FileSnap: saving, choosing, compressing, refusing, thinning out."""

import gzip
from collections.abc import Iterator

import pytest

from zabra.sim.disk import EIO, SimDisk
from zabra.storage import compression
from zabra.storage.errors import SnapshotError, StorageError
from zabra.storage.snapshots import FileSnap

BODY = [b"a" * 50_000, b"", bytes(range(256)) * 300]


def new_snaps(disk: SimDisk, method: str = "") -> FileSnap:
    disk.make_folder("v")
    return FileSnap(disk, "v", compression_method=method)


def read_body(snaps: FileSnap, size: int, slice_bytes: int = 1000) -> bytes:
    """Reads the newest snapshot as a reader that knows the length of its body."""
    reader = snaps.reader(snaps.files()[0], slice_bytes)
    body = b""
    while True:
        piece = reader.more()
        take = piece[: size - len(body)]
        body += take
        reader.used(len(take), len(body) == size)
        if len(body) == size:
            break
    reader.finish()
    assert reader.last_zxid == 9
    assert reader.digest is not None
    assert (reader.digest.zxid, reader.digest.version, reader.digest.digest) == (9, 2, -77)
    return body


@pytest.mark.parametrize("method", compression.METHODS)
def test_saved_and_read_back(method: str) -> None:
    disk = SimDisk()
    snaps = new_snaps(disk, method)
    path = snaps.save(7, BODY, 9, -77)
    assert path == "v/snapshot.7" + (f".{method}" if method else "")
    whole = b"".join(BODY)
    assert read_body(snaps, len(whole)) == whole
    assert [snaps.problem(file) for file in snaps.files()] == [""]
    assert [file.zxid for file in snaps.candidates()] == [7]
    assert snaps.newest_size() == disk.size(path)


def test_optional_parts_can_be_left_out() -> None:
    disk = SimDisk()
    disk.make_folder("v")
    sizes = []
    for with_digest, with_last_zxid in ((False, False), (False, True), (True, False), (True, True)):
        snaps = FileSnap(disk, "v", with_digest=with_digest, with_last_zxid=with_last_zxid)
        sizes.append(disk.size(snaps.save(1, [b"body"], 2, 3)))
    assert sizes == [16 + 4 + 13, 54, 66, 87]


def test_the_name_appears_only_when_the_file_is_whole() -> None:
    disk = SimDisk()
    snaps = new_snaps(disk)
    writer = snaps.begin(5)
    writer.write(b"x" * 100)
    assert disk.list("v") == ["new.snapshot.5"]
    assert snaps.files() == []
    writer.abort()
    assert disk.list("v") == []
    snaps.begin(6).write(b"y")
    assert snaps.remove_unfinished() == ["new.snapshot.6"]


def test_a_body_that_fails_leaves_nothing() -> None:
    def body() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("the walk was abandoned")

    disk = SimDisk()
    snaps = new_snaps(disk)
    with pytest.raises(RuntimeError):
        snaps.save(5, body(), 5, 0)
    assert disk.list("v") == []


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "sync_folder"])
def test_errors_reach_the_caller_and_leave_the_old_one(operation: str) -> None:
    disk = SimDisk()
    snaps = new_snaps(disk)
    snaps.save(5, [b"old"], 5, 0)
    disk.inject(operation, EIO)
    with pytest.raises(OSError, match="injected"):
        snaps.save(6, [b"new"], 6, 0)
    after = FileSnap(disk.after_crash({}), "v")
    assert [file.zxid for file in after.newest_whole(9)] == [5]


def test_newest_first_and_stray_names_left_out() -> None:
    disk = SimDisk()
    snaps = new_snaps(disk)
    for zxid in (0x9, 0x10, 0x100000000):
        snaps.save(zxid, [b"body"], zxid, 0)
    for ending in (".99.tmp", ".zz", ".", "s.5", ".-1", ".5.zip", ".5.", ".00000000000000005"):
        disk.create(f"v/snapshot{ending}").write(b"stray")
    assert [file.name for file in snaps.files()] == ["snapshot.100000000", "snapshot.10", "snapshot.9"]
    snaps.drop_after(0x10)
    assert [file.zxid for file in snaps.files()] == [0x10, 9]


def test_the_quick_look_drops_what_was_cut_short() -> None:
    disk = SimDisk()
    for method in compression.METHODS:
        snaps = new_snaps(disk, method)
        snaps.save(len(method), [b"body" * 50], 5, 0)
    assert len(snaps.candidates()) == 3
    for name in ("snapshot.20", "snapshot.21.gz", "snapshot.22.snappy"):
        disk.create(f"v/{name}").write(b"ZKSN" + bytes(100))
        disk.create(f"v/{name[:-1]}f")
    assert [file.zxid for file in snaps.candidates()] == [6, 2, 0]
    assert [file.zxid for file in snaps.candidates(2)] == [6, 2]


@pytest.mark.parametrize("method", compression.METHODS)
def test_a_whole_look_finds_rot(method: str) -> None:
    disk = SimDisk()
    snaps = new_snaps(disk, method)
    path = snaps.save(5, [bytes(range(100))], 5, 0)
    good = disk.read(path)
    missed = []
    for at in range(len(good)):
        disk.flip(path, at)
        if not snaps.problem(snaps.files()[0]):
            missed.append(at)
        disk.flip(path, at)
    # Bytes of a header that mean nothing to the reader: gzip's mtime, flags and system; snappy's versions.
    assert missed == {"": [], "gz": [4, 5, 6, 7, 8, 9], "snappy": list(range(8, 16))}[method]
    older_layouts = [len(good) - 54, len(good) - 21] if method == "" else []
    for cut in range(len(good)):
        disk.create(path).write(good[:cut])
        assert bool(snaps.problem(snaps.files()[0])) == (cut not in older_layouts), cut


def test_reading_names_the_file() -> None:
    disk = SimDisk()
    snaps = new_snaps(disk)
    path = snaps.save(5, [b"body"], 5, 0)
    disk.flip(path, 17)
    reader = snaps.reader(snaps.files()[0])
    reader.used(4, bool(reader.more()))
    with pytest.raises(SnapshotError, match=r"v/snapshot\.5, byte 20: the seal behind the body"):
        reader.finish()
    disk.create(path).write(b"ZKSN")
    reader = snaps.reader(snaps.files()[0])
    assert reader.more() == b""
    with pytest.raises(SnapshotError, match="ends inside the body"):
        reader.more()


def test_unknown_compression_is_refused_at_once() -> None:
    with pytest.raises(StorageError, match="unknown compression method zip"):
        FileSnap(SimDisk(), "v", compression_method="zip")


def test_gzip_is_gzip() -> None:
    disk = SimDisk()
    snaps = new_snaps(disk, "gz")
    plain = new_snaps(disk)
    packed = disk.read(snaps.save(5, BODY, 5, 0))
    assert gzip.decompress(packed) == disk.read(plain.save(5, BODY, 5, 0))
    assert disk.read(snaps.save(5, BODY, 5, 0)) == packed, "no time stamp: the same bytes every time"
