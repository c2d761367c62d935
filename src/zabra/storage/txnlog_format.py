"""The bytes of a txn log: header, entries, padding, and how to tell a torn tail from a rotten middle.

A file is a FileHeader (16 bytes) and entries: Adler32 of the txn as a long, its length as an int, the txn,
the byte 0x42.  Zeros follow up to the preallocated size.  Source: upstream ``FileTxnLog``, ``Util``.

Where the entries stop, upstream looks at one entry only: it takes a zero length, a cut entry or a missing
0x42 for the end of the file and goes on with the next one, and refuses to start on a bad checksum.  A zeroed
block in the middle of a log thus loses, silently, all that stood behind it.  Here the rest of the file is
looked at:

* nothing but zeros follow: the end (``END``);
* the damage has the shape a crash leaves and nothing valid follows: a torn tail (``TORN``).  The shape:
  everything up to some 512-byte boundary (or the end of the file) was written, nothing after it, and the
  entry does not fit before that boundary;
* anything else is rot (``ROTTEN``) and must be refused: a valid entry follows, or the entry is all there
  and its checksum or length is wrong.

An entry with a right checksum and a wrong end byte is accepted: the checksum already vouches for the txn.
Its place is reported so that the byte can be mended, since upstream would stop reading there.

One case cannot be told apart by looking at a log alone: a disk that zeroes the last blocks of the file, from
a 512-byte boundary to the very end, leaves what a crash before the fsync would have left.
"""

import zlib
from typing import Final

from librt.strings import read_i32_be, read_i64_be
from mypy_extensions import i64

from zabra.jute.primitives import Writer

MAGIC: Final = 0x5A4B4C47  # "ZKLG"
VERSION: Final = 2
HEADER_BYTES: Final = 16
ENTRY_HEAD_BYTES: Final = 12
# Checksum, length and the end byte.
ENTRY_OVERHEAD_BYTES: Final = 13
END_BYTE: Final = 0x42
# A TxnHeader alone.
MIN_TXN_BYTES: Final = 32
# No txn is longer; jute.maxbuffer, which bounds what is logged, is 1 MiB unless someone raised it.
MAX_TXN_BYTES: Final = 0x10000000
SECTOR_BYTES: Final = 512
# The zxid's place in a TxnHeader: after the session id (8) and the cxid (4).
_ZXID_OFFSET: Final = 12
_COUNTER_MASK: Final = 0xFFFFFFFF
_ZERO_PAGE: Final = bytes(4096)

# How a scan stopped.
MORE: Final = 0  # the buffer ends inside an entry, the file goes on
END: Final = 1  # at the end of the file, or at zeros
BAD: Final = 2  # something that is not an entry

# What the rest of a file is, once a scan has stopped before its end.
CLEAN: Final = 0
TORN: Final = 1
ROTTEN: Final = 2


def encode_file_header(previous: i64 = 0) -> bytes:
    """The 16 bytes every log file begins with.

    ``previous`` is the zxid of the txn before the file's first one, 0 where it is not known.  It stands where
    upstream has a dbid, which it always writes as 0 and never looks at (docs/adr/0122).
    """
    w = Writer()
    w.write_int(MAGIC)
    w.write_int(VERSION)
    w.write_long(previous)
    return w.getvalue()


def file_header_problem(head: bytes) -> str:
    """What is wrong with the first 16 bytes of a log file; "" when nothing is."""
    if len(head) < HEADER_BYTES:
        return f"a log file begins with {HEADER_BYTES} bytes of header, here are {len(head)}"
    magic: int = read_i32_be(head, 0)
    if magic != MAGIC:
        return f"invalid magic number 0x{magic & 0xFFFFFFFF:08x}, not 0x{MAGIC:08x} (ZKLG)"
    version: int = read_i32_be(head, 4)
    if version != VERSION:
        return f"unknown log format version {version}"
    return ""


def previous_zxid(head: bytes) -> i64:
    """Where the history stood before the first txn of a file with this header, 0 where that is not known."""
    zxid: int = read_i64_be(head, 8)
    return zxid if zxid > 0 else 0


def _length(buf: bytes, pos: i64) -> i64:
    value: int = read_i32_be(buf, pos)
    return value


def encode_entries(txns: list[bytes]) -> bytes:
    """The entries of a batch, to be written in one go."""
    w = Writer()
    for raw in txns:
        w.write_long(zlib.adler32(raw))
        w.write_buffer(raw)
        w.write_byte(END_BYTE)
    return w.getvalue()


def first_gap(txns: list[bytes], last_zxid: i64) -> i64:
    """The index of the first txn that does not follow the one before it (``follows``); -1 if each does."""
    last = last_zxid
    for i in range(len(txns)):
        zxid = txn_zxid(txns[i])
        if last >= 0 and not follows(zxid, last):
            return i
        last = zxid
    return -1


def follows(zxid: i64, before: i64) -> bool:
    """Whether ``zxid`` may be the very next txn after ``before``."""
    if zxid >> 32 == before >> 32:
        return zxid == before + 1
    return zxid > before and zxid & _COUNTER_MASK == 1


def txn_zxid(raw: bytes) -> i64:
    """The zxid in the header of an encoded txn (at least 32 bytes)."""
    return read_i64_be(raw, _ZXID_OFFSET)


class Scan:
    """What a buffer holds: parallel lists of zxids, entry offsets and txns, and how the reading stopped.

    Offsets are relative to the buffer.  ``consumed`` is the offset behind the last entry, ``stop`` one of
    MORE, END, BAD; ``reason`` says what is wrong at ``consumed`` when BAD.  ``needed`` is how many bytes from
    ``consumed`` the next entry takes when MORE (0: not known yet).  ``bad_ends`` are the offsets of end
    bytes that are not 0x42 behind a txn whose checksum is right.
    """

    __slots__ = ("bad_ends", "consumed", "needed", "offsets", "reason", "stop", "txns", "zxids")

    def __init__(self) -> None:
        self.zxids: list[int] = []
        self.offsets: list[int] = []
        self.txns: list[bytes] = []
        self.bad_ends: list[int] = []
        self.consumed: i64 = 0
        self.needed: i64 = 0
        self.stop: i64 = MORE
        self.reason: str = ""


def entry_problem(checksum: i64, length: i64) -> str:
    """What is wrong with the head of an entry; "" when it can be one."""
    if length < MIN_TXN_BYTES or length > MAX_TXN_BYTES:
        return f"unreasonable length {length} of a txn"
    if checksum < 0 or checksum > 0xFFFFFFFF:
        return "a checksum of more than 32 bits"
    return ""


def scan(buf: bytes, at_end: bool) -> Scan:
    """Reads entries from ``buf``, which begins at one; ``at_end``: the file ends where ``buf`` does."""
    out = Scan()
    end: i64 = len(buf)
    pos: i64 = 0
    while True:
        out.consumed = pos
        if end - pos < ENTRY_HEAD_BYTES:
            if at_end:
                out.stop = END if pos == end else BAD
                out.reason = "the file ends inside the head of an entry"
            return out
        checksum: i64 = read_i64_be(buf, pos)
        length: i64 = _length(buf, pos + 8)
        if checksum == 0 and length == 0:
            out.stop = END
            return out
        problem = entry_problem(checksum, length)
        if problem:
            out.stop = BAD
            out.reason = problem
            return out
        last: i64 = pos + ENTRY_HEAD_BYTES + length
        if last >= end:
            out.needed = length + ENTRY_OVERHEAD_BYTES
            if at_end:
                out.stop = BAD
                out.reason = "the file ends inside a txn"
            return out
        raw = buf[pos + ENTRY_HEAD_BYTES : last]
        if zlib.adler32(raw) != checksum:
            out.stop = BAD
            out.reason = "the checksum of a txn does not match"
            return out
        if buf[last] != END_BYTE:
            out.bad_ends.append(last)
        out.zxids.append(txn_zxid(raw))
        out.offsets.append(pos)
        out.txns.append(raw)
        pos = last + 1


def trimmed_length(buf: bytes) -> i64:
    """The offset behind the last byte that is not zero."""
    return len(buf.rstrip(b"\0"))


def find_entry(buf: bytes, start: i64, after_zxid: i64) -> i64:
    """The offset, from ``start`` on, of a valid entry with a zxid above ``after_zxid``; -1 if there is none.

    Every byte is a candidate, since damage leaves no alignment to hold on to.  An entry begins with the four
    zero bytes of its checksum's upper half, which ``bytes.find`` looks for quickly.
    """
    end: i64 = len(buf)
    pos: i64 = start
    while True:
        pos = buf.find(b"\0\0\0\0", pos)
        if pos < 0 or pos + ENTRY_OVERHEAD_BYTES + MIN_TXN_BYTES > end:
            return -1
        if buf[pos : pos + 4096] == _ZERO_PAGE:
            pos += 4096 - ENTRY_HEAD_BYTES
            continue
        length: i64 = _length(buf, pos + 8)
        last: i64 = pos + ENTRY_HEAD_BYTES + length
        if length >= MIN_TXN_BYTES and last < end and buf[last] == END_BYTE:
            checksum: i64 = read_i64_be(buf, pos)
            raw = buf[pos + ENTRY_HEAD_BYTES : last]
            if checksum == zlib.adler32(raw) and txn_zxid(raw) > after_zxid:
                return pos
        pos += 1


class Tail:
    """What stands from the first thing that is not an entry to the end of a file."""

    __slots__ = ("reason", "verdict")

    def __init__(self, verdict: i64, reason: str) -> None:
        self.verdict: i64 = verdict
        self.reason: str = reason


def _torn_shape(rest: bytes, offset: i64, file_size: i64) -> str:
    """Why ``rest`` cannot be what a crash leaves; "" when it can."""
    written: i64 = len(rest)
    boundary: i64 = (offset + written + SECTOR_BYTES - 1) // SECTOR_BYTES * SECTOR_BYTES
    if boundary > file_size:
        boundary = file_size
    survived: i64 = boundary - offset
    if survived < ENTRY_HEAD_BYTES:
        return ""
    head = rest[:ENTRY_HEAD_BYTES] + bytes(ENTRY_HEAD_BYTES)
    checksum: i64 = read_i64_be(head, 0)
    length: i64 = _length(head, 8)
    problem = entry_problem(checksum, length)
    if problem:
        return problem
    if length + ENTRY_OVERHEAD_BYTES <= survived:
        # A write may have happened in part (a full disk), and the process died before it could cut that off:
        # then the end byte is missing.  Where a wrong length hides it, it is the last thing there.
        if written < length + ENTRY_OVERHEAD_BYTES and rest[written - 1] != END_BYTE:
            return ""
        return "the checksum of a txn does not match"
    # (Compiled, a slice that would end before it begins is an error.)
    if written <= ENTRY_HEAD_BYTES:
        return ""
    if rest[written - 1] == END_BYTE and zlib.adler32(rest[ENTRY_HEAD_BYTES : written - 1]) == checksum:
        return "the length of a txn does not match"
    return ""


def judge_tail(rest: bytes, offset: i64, file_size: i64, last_zxid: i64) -> Tail:
    """Tells a torn tail from rot.

    Args:
        rest: the bytes from the first thing that is not an entry, without the zeros at the end of the file.
        offset: where they begin in the file, in bytes.
        file_size: of the file, in bytes.
        last_zxid: of the last valid entry before them (any number below the next zxid if there is none).
    """
    if not rest:
        return Tail(CLEAN, "")
    follows = find_entry(rest, 1, last_zxid)
    if follows >= 0:
        return Tail(ROTTEN, f"not an entry, but a valid one follows at byte {offset + follows}")
    problem = _torn_shape(rest, offset, file_size)
    if problem:
        return Tail(ROTTEN, problem)
    return Tail(TORN, "the last write was cut short")
