"""The bytes of a snapshot file around its body: header, seals, and what stands between the seals.

A file is a FileHeader, the body (sessions, ACLs and nodes: the same bytes that follow a SNAP packet, opaque
here), a seal, and then optionally a digest with a second seal and a lastProcessedZxid with a third.  A seal
is the Adler32 of every byte before it, earlier seals included, as a long, and the string "/".
Source: upstream ``FileSnap``, ``SnapStream``, ``DataTree.serializeZxidDigest``.

Readers of older releases stop after the last seal they know.  So do we when more follows than we know, but
only if the file ends with a right seal over all of it.
"""

import zlib
from typing import Final

from librt.strings import read_i32_be, read_i64_be
from mypy_extensions import i64

from zabra.jute.primitives import Writer

MAGIC: Final = 0x5A4B534E  # "ZKSN"
VERSION: Final = 2
DBID: Final = -1
HEADER_BYTES: Final = 16
SEAL_BYTES: Final = 13
DIGEST_BYTES: Final = 20
LAST_ZXID_BYTES: Final = 8
# More behind the body than this is not a snapshot of any release.
MAX_TRAILER_BYTES: Final = 4096
_SEAL_TEXT: Final = b"\x00\x00\x00\x01/"


class ZxidDigest:
    """The tree's digest at one zxid, as stored with a snapshot (version 2 is the one in use)."""

    __slots__ = ("digest", "version", "zxid")

    def __init__(self, zxid: i64, version: i64, digest: i64) -> None:
        self.zxid: i64 = zxid
        self.version: i64 = version
        self.digest: i64 = digest

    def __repr__(self) -> str:
        return f"ZxidDigest(zxid=0x{self.zxid:x}, version={self.version}, digest=0x{self.digest:x})"


def seal(checksum: i64) -> bytes:
    """The 13 bytes of a seal."""
    w = Writer()
    w.write_long(checksum)
    w.write_raw(_SEAL_TEXT)
    return w.getvalue()


def ends_like_snapshot(tail: bytes) -> bool:
    """Upstream's quick check: the last five bytes are the string "/".  A file that fails was cut short."""
    return tail.endswith(_SEAL_TEXT)


class SnapshotEncoder:
    """Makes the file around body chunks: ``begin``, ``body`` for each chunk, ``end``.  Keeps the checksum."""

    __slots__ = ("checksum",)

    def __init__(self) -> None:
        self.checksum: i64 = 1

    def _count(self, data: bytes) -> bytes:
        total: int = zlib.adler32(data, self.checksum)
        self.checksum = total
        return data

    def begin(self) -> bytes:
        """The header."""
        w = Writer()
        w.write_int(MAGIC)
        w.write_int(VERSION)
        w.write_long(DBID)
        return self._count(w.getvalue())

    def body(self, chunk: bytes) -> bytes:
        """The next piece of the body, which is returned as it is."""
        return self._count(chunk)

    def end(self, digest: ZxidDigest | None, last_zxid: i64) -> bytes:
        """Everything behind the body.

        Args:
            digest: of the tree; None where digests are switched off (``digest.enabled=false``).
            last_zxid: lastProcessedZxid when the walk ended; negative to leave it out, as before 3.9.
        """
        parts = [self._count(seal(self.checksum))]
        if digest is not None:
            w = Writer()
            w.write_long(digest.zxid)
            w.write_int(digest.version)
            w.write_long(digest.digest)
            parts.append(self._count(w.getvalue()))
            parts.append(self._count(seal(self.checksum)))
        if last_zxid >= 0:
            w = Writer()
            w.write_long(last_zxid)
            parts.append(self._count(w.getvalue()))
            parts.append(self._count(seal(self.checksum)))
        return b"".join(parts)


class SnapshotDecoder:
    """Checks the file around a body that somebody else reads.

    Only the reader of the body knows where it ends, so the exchange is: ``feed(data)`` returns the bytes to
    give to that reader (the file without its header), ``used(n)`` says how many of them belonged to the
    body, and once the body has ended everything left is collected until ``finish``.  ``problem`` is "" or
    says what is wrong; ``offset`` counts the bytes accepted so far.
    """

    __slots__ = (
        "_body_done",
        "_checksum",
        "_pending",
        "_started",
        "digest",
        "last_zxid",
        "offset",
        "problem",
    )

    def __init__(self) -> None:
        self._checksum: i64 = 1
        self._pending: bytes = b""
        self._started: bool = False
        self._body_done: bool = False
        self.digest: ZxidDigest | None = None
        self.last_zxid: i64 = -1
        self.offset: i64 = 0
        self.problem: str = ""

    def _accept(self, count: i64) -> None:
        total: int = zlib.adler32(self._pending[:count], self._checksum)
        self._checksum = total
        self._pending = self._pending[count:]
        self.offset += count

    def feed(self, data: bytes) -> bytes:
        """Takes the next bytes of the file; returns all bytes that the body's reader has not used yet."""
        self._pending += data
        if not self._started:
            if len(self._pending) < HEADER_BYTES:
                return b""
            self._started = True
            self.problem = header_problem(self._pending)
            self._accept(HEADER_BYTES)
        if self._body_done and len(self._pending) > MAX_TRAILER_BYTES and not self.problem:
            self.problem = f"more than {MAX_TRAILER_BYTES} bytes behind the body"
        if self._body_done or self.problem:
            return b""
        return self._pending

    def used(self, count: i64, body_done: bool) -> None:
        """The reader of the body took ``count`` bytes of what ``feed`` returned, and may be done with it."""
        self._accept(count)
        self._body_done = body_done

    def _seal_at(self, pos: i64) -> bool:
        """Whether ``_pending`` has, at ``pos``, a seal over all before it."""
        end: i64 = pos + SEAL_BYTES
        if end > len(self._pending) or self._pending[pos + 8 : end] != _SEAL_TEXT:
            return False
        total: int = zlib.adler32(self._pending[:pos], self._checksum)
        checksum: i64 = read_i64_be(self._pending, pos)
        return checksum == total

    def finish(self) -> None:
        """The file has ended: checks the seals and reads what stands between them; see ``problem``."""
        if self.problem:
            return
        if not self._started or not self._body_done:
            where = "body" if self._started else "header"
            self.problem = f"the file ends inside the {where}"
            return
        self.problem = self._read_trailers()

    def _read_trailers(self) -> str:
        if not self._seal_at(0):
            return "the seal behind the body does not match"
        pos: i64 = SEAL_BYTES
        rest = self._pending
        if len(rest) == pos:
            return ""
        if not self._seal_at(len(rest) - SEAL_BYTES):
            return "the last seal does not match"
        if self._seal_at(pos + DIGEST_BYTES):
            version: int = read_i32_be(rest, pos + 8)
            self.digest = ZxidDigest(read_i64_be(rest, pos), version, read_i64_be(rest, pos + 12))
            pos += DIGEST_BYTES + SEAL_BYTES
        if self._seal_at(pos + LAST_ZXID_BYTES):
            self.last_zxid = read_i64_be(rest, pos)
        return ""


def header_problem(head: bytes) -> str:
    """What is wrong with the first 16 bytes of a snapshot; "" when nothing is."""
    if len(head) < HEADER_BYTES:
        return "the file ends inside the header"
    magic: int = read_i32_be(head, 0)
    if magic != MAGIC:
        return f"mismatching magic header 0x{magic & 0xFFFFFFFF:08x}, not 0x{MAGIC:08x} (ZKSN)"
    version: int = read_i32_be(head, 4)
    if version != VERSION:
        return f"unknown snapshot format version {version}"
    return ""


class SealChecker:
    """Checks a whole snapshot without reading its body: the last 13 bytes must seal all before them."""

    __slots__ = ("_checksum", "_head", "_tail")

    def __init__(self) -> None:
        self._checksum: i64 = 1
        self._head: bytes = b""
        self._tail: bytes = b""

    def feed(self, data: bytes) -> None:
        """The next bytes of the file."""
        if len(self._head) < HEADER_BYTES:
            self._head = (self._head + data)[:HEADER_BYTES]
        data = self._tail + data
        keep: i64 = len(data) - SEAL_BYTES
        if keep > 0:
            total: int = zlib.adler32(data[:keep], self._checksum)
            self._checksum = total
            data = data[keep:]
        self._tail = data

    def finish(self) -> str:
        """What is wrong with the file; "" when it is whole."""
        problem = header_problem(self._head)
        if problem:
            return problem
        if len(self._tail) < SEAL_BYTES or not ends_like_snapshot(self._tail):
            return "the file does not end with a seal"
        checksum: i64 = read_i64_be(self._tail, 0)
        return "" if checksum == self._checksum else "the last seal does not match"
