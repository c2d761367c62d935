"""Reading and writing the primitive types of jute, ZooKeeper's encoding.

Everything is big-endian; a buffer, string or vector is an int length followed by its contents, and a
length of -1 stands for null.  Source: upstream ``BinaryInputArchive`` and ``BinaryOutputArchive``.

``Reader`` is a cursor over one ``bytes`` object.  It never reads past ``end``: it raises ``EndOfData``
and the caller decides whether that means "wait for more" (the unframed quorum stream) or "malformed"
(a framed request).  ``Writer`` collects one message.
"""

from typing import Final

from librt.strings import (
    BytesWriter,
    read_i32_be,
    read_i64_be,
    write_i32_be,
    write_i64_be,
)
from mypy_extensions import i64, mypyc_attr

# jute.maxbuffer and its extrasize (both 0xfffff bytes by default) together bound one string or buffer.
DEFAULT_MAX_BUFFER: Final = 0xFFFFF
DEFAULT_LENGTH_LIMIT: Final = 2 * DEFAULT_MAX_BUFFER


class JuteError(ValueError):
    """The bytes are not a valid encoding of what was asked for."""


class EndOfData(JuteError):
    """The bytes end before the value does."""


@mypyc_attr(acyclic=True)
class Reader:
    """A cursor over ``buf[pos:end]``; ``limit`` bounds the length (bytes) of one string or buffer.

    Without one it is the default of upstream's servers, or what there is to read, if that is more: who took a
    longer record in has been told to (jute.maxbuffer).
    """

    __slots__ = ("buf", "end", "limit", "pos")

    def __init__(self, buf: bytes, pos: i64 = 0, end: i64 = -1, limit: i64 = -1) -> None:
        if end < 0:
            end = len(buf)
        if limit < 0:
            limit = DEFAULT_LENGTH_LIMIT
            if end - pos > limit:
                limit = end - pos
        self.buf: bytes = buf
        self.pos: i64 = pos
        self.end: i64 = end
        self.limit: i64 = limit

    def remaining(self) -> i64:
        """Bytes not read yet."""
        return self.end - self.pos

    def read_bool(self) -> bool:
        """One byte; anything but zero is true."""
        pos = self.pos
        if pos >= self.end:
            raise EndOfData("boolean")
        self.pos = pos + 1
        return self.buf[pos] != 0

    def read_byte(self) -> i64:
        """One unsigned byte."""
        pos = self.pos
        if pos >= self.end:
            raise EndOfData("byte")
        self.pos = pos + 1
        return self.buf[pos]

    def read_int(self) -> i64:
        """A signed 32-bit integer."""
        pos = self.pos
        if pos + 4 > self.end:
            raise EndOfData("int")
        self.pos = pos + 4
        value: int = read_i32_be(self.buf, pos)
        return value

    def read_long(self) -> i64:
        """A signed 64-bit integer."""
        pos = self.pos
        if pos + 8 > self.end:
            raise EndOfData("long")
        self.pos = pos + 8
        return read_i64_be(self.buf, pos)

    def read_length(self) -> i64:
        """The length of a string or buffer: -1 for null, else 0 to ``limit`` bytes."""
        size = self.read_int()
        if size < -1 or size > self.limit:
            raise JuteError(f"unreasonable length = {size}")
        if size > self.end - self.pos:
            raise EndOfData("buffer")
        return size

    def read_buffer(self) -> bytes | None:
        """Bytes, or None for null."""
        size = self.read_length()
        if size < 0:
            return None
        pos = self.pos
        self.pos = pos + size
        return self.buf[pos : pos + size]

    def read_ustring(self) -> str:
        """A string; null reads as the empty string."""
        size = self.read_length()
        if size <= 0:
            return ""
        pos = self.pos
        self.pos = pos + size
        return self.buf[pos : pos + size].decode("utf-8", "replace")

    def read_path(self) -> str:
        """A path that is looked up: null is malformed, as upstream finds only when it looks it up."""
        pos = self.pos
        path = self.read_ustring()
        if path == "" and self.buf[pos] != 0:
            raise JuteError("a null path")
        return path

    def read_nullable_ustring(self) -> str | None:
        """A string, or None for null."""
        size = self.read_length()
        if size < 0:
            return None
        pos = self.pos
        self.pos = pos + size
        return self.buf[pos : pos + size].decode("utf-8", "replace")

    def read_count(self) -> i64:
        """The number of elements of a vector, -1 for null.

        Every element takes at least a byte, so a count over the bytes that remain is refused here,
        before anything is allocated for it.
        """
        count = self.read_int()
        if count < -1:
            raise JuteError(f"unreasonable vector length = {count}")
        if count > self.end - self.pos:
            raise EndOfData("vector")
        return count

    def read_ustrings(self) -> list[str]:
        """A vector of strings; null reads as empty."""
        count = self.read_count()
        out: list[str] = []
        while count > 0:
            out.append(self.read_ustring())
            count -= 1
        return out

    def read_rest(self) -> bytes:
        """All bytes up to ``end``."""
        pos = self.pos
        self.pos = self.end
        return self.buf[pos : self.end]


def encode_ustring(text: str) -> bytes:
    """UTF-8 as Java's jute writes it: characters beyond the BMP as two surrogates of three bytes."""
    if text.isascii():
        return text.encode("ascii")
    if max(text) <= "\uffff":
        return text.encode("utf-8", "surrogatepass")
    units = text.encode("utf-16-be", "surrogatepass")
    chars = [chr(units[i] << 8 | units[i + 1]) for i in range(0, len(units), 2)]
    return "".join(chars).encode("utf-8", "surrogatepass")


def hex64(value: int) -> str:
    """``0x`` and the digits of a 64-bit number, negative ones as unsigned: sessions and zxids for people.

    Takes ``int``, not ``i64``: the mask does not fit a signed word.
    """
    return f"0x{value & 0xFFFFFFFFFFFFFFFF:x}"


@mypyc_attr(acyclic=True)
class Writer:
    """Collects the encoding of one message."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out: BytesWriter = BytesWriter()

    def write_bool(self, value: bool) -> None:
        """One byte, 0 or 1."""
        self._out.append(1 if value else 0)

    def write_byte(self, value: int) -> None:
        """One unsigned byte."""
        self._out.append(value)

    def write_int(self, value: i64) -> None:
        """The low 32 bits of ``value``."""
        low: i64 = value & 0xFFFFFFFF
        if low >= 0x80000000:
            low -= 0x100000000
        narrow: int = low
        write_i32_be(self._out, narrow)

    def write_long(self, value: i64) -> None:
        """A signed 64-bit integer."""
        write_i64_be(self._out, value)

    def write_buffer(self, value: bytes | None) -> None:
        """Length and bytes; None as null."""
        if value is None:
            self.write_int(-1)
        else:
            self.write_int(len(value))
            self._out.write(value)

    def write_ustring(self, value: str) -> None:
        """Length and encoded text."""
        raw = encode_ustring(value)
        self.write_int(len(raw))
        self._out.write(raw)

    def write_nullable_ustring(self, value: str | None) -> None:
        """As ``write_ustring``; None as null."""
        if value is None:
            self.write_int(-1)
        else:
            self.write_ustring(value)

    def write_ustrings(self, values: list[str]) -> None:
        """A vector of strings."""
        self.write_int(len(values))
        for value in values:
            self.write_ustring(value)

    def write_raw(self, value: bytes) -> None:
        """Bytes that are already encoded."""
        self._out.write(value)

    def patch_int(self, at: i64, value: i64) -> None:
        """Overwrites four bytes at ``at`` with the low 32 bits of ``value``: a length known only later."""
        out = self._out
        low: int = value & 0xFFFFFFFF
        part = (low >> 24) & 0xFF
        out[at] = part
        part = (low >> 16) & 0xFF
        out[at + 1] = part
        part = (low >> 8) & 0xFF
        out[at + 2] = part
        part = low & 0xFF
        out[at + 3] = part

    def truncate(self, size: i64) -> None:
        """Takes back everything after the first ``size`` bytes."""
        self._out.truncate(size)

    def size(self) -> i64:
        """Bytes written so far."""
        return len(self._out)

    def getvalue(self) -> bytes:
        """The bytes written so far."""
        return self._out.getvalue()
