"""Snapshot compression: the whole file as one stream, by the file name's ending.

``gz`` is gzip (zlib's container).  ``snappy`` is the framing of xerial's SnappyOutputStream, which upstream's
``SnapStream`` writes: a 16-byte header, then blocks, each an int length and a raw snappy block; raw blocks
need the package cramjam (extra ``snappy``).  The checksums of the snapshot format are of the bytes inside.
"""

import zlib
from importlib import import_module
from typing import Final, Protocol

from librt.strings import read_i32_be

from zabra.jute.primitives import Writer
from zabra.storage.errors import StorageError

METHODS: Final = ("", "gz", "snappy")
# Java's GZIPOutputStream uses zlib's default level too.
_GZIP_LEVEL: Final = -1
_GZIP_WINDOW: Final = 31
# Magic, version 1, lowest compatible version 1.
SNAPPY_HEADER: Final = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
SNAPPY_MAGIC: Final = SNAPPY_HEADER[:8]
GZIP_MAGIC: Final = b"\x1f\x8b"
# What xerial puts in a block, and the most we accept in one (it can be configured upwards).
SNAPPY_BLOCK_BYTES: Final = 32 * 1024
_MAX_SNAPPY_BLOCK_BYTES: Final = 64 * 1024 * 1024


class CompressionError(StorageError):
    """The bytes are not a stream of this kind, or the stream is cut short."""


class Compressor(Protocol):
    """Turns the bytes of a snapshot into the bytes of its file."""

    def compress(self, data: bytes) -> bytes:
        """Takes more; returns what can be written already."""

    def finish(self) -> bytes:
        """The rest."""


class Decompressor(Protocol):
    """Turns the bytes of a file into those of the snapshot.  Both methods raise CompressionError."""

    def decompress(self, data: bytes) -> bytes:
        """Takes more; returns what can be read already."""

    def finish(self) -> None:
        """The file has ended: raises if the stream has not."""


class PlainCompressor:
    """No compression."""

    __slots__ = ()

    def compress(self, data: bytes) -> bytes:
        """``data``."""
        return data

    def finish(self) -> bytes:
        """Nothing."""
        return b""


class PlainDecompressor:
    """No compression."""

    __slots__ = ()

    def decompress(self, data: bytes) -> bytes:
        """``data``."""
        return data

    def finish(self) -> None:
        """Any end will do."""


class GzipCompressor:
    """gzip, without a time stamp: the same snapshot gives the same bytes."""

    __slots__ = ("_z",)

    def __init__(self) -> None:
        self._z = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def compress(self, data: bytes) -> bytes:
        """Takes more."""
        return self._z.compress(data)

    def finish(self) -> bytes:
        """The rest and gzip's own checksum."""
        return self._z.flush()


class GzipDecompressor:
    """One gzip member; anything behind it is refused."""

    __slots__ = ("_z",)

    def __init__(self) -> None:
        self._z = zlib.decompressobj(_GZIP_WINDOW)

    def decompress(self, data: bytes) -> bytes:
        """Takes more."""
        if self._z.eof and data:
            raise CompressionError("bytes behind the end of the gzip stream")
        try:
            out = self._z.decompress(data)
        except zlib.error as error:
            raise CompressionError(f"not gzip: {error}") from error
        if self._z.unused_data:
            raise CompressionError("bytes behind the end of the gzip stream")
        return out

    def finish(self) -> None:
        """gzip marks its end."""
        if not self._z.eof:
            raise CompressionError("the gzip stream is cut short")


class _RawSnappy(Protocol):
    """What of cramjam.snappy is used."""

    def compress_raw(self, data: bytes) -> bytes: ...

    def decompress_raw(self, data: bytes) -> bytes: ...


def _raw_snappy() -> _RawSnappy:
    """cramjam's snappy, imported on first use: most servers never read or write a .snappy file."""
    try:
        module: _RawSnappy = import_module("cramjam").snappy
    except ImportError as error:
        raise CompressionError("snappy snapshots need cramjam: pip install zabra[snappy]") from error
    return module


class SnappyCompressor:
    """xerial framing."""

    __slots__ = ("_pending", "_raw", "_started")

    def __init__(self) -> None:
        self._raw = _raw_snappy()
        self._pending = b""
        self._started = False

    def _blocks(self, everything: bool) -> bytes:
        w = Writer()
        if not self._started:
            self._started = True
            w.write_raw(SNAPPY_HEADER)
        pos = 0
        data = self._pending
        while len(data) - pos >= SNAPPY_BLOCK_BYTES or (everything and pos < len(data)):
            w.write_buffer(bytes(self._raw.compress_raw(data[pos : pos + SNAPPY_BLOCK_BYTES])))
            pos += SNAPPY_BLOCK_BYTES
        self._pending = data[pos:]
        return w.getvalue()

    def compress(self, data: bytes) -> bytes:
        """Takes more; whole blocks come out."""
        self._pending += data
        return self._blocks(everything=False)

    def finish(self) -> bytes:
        """The last, shorter block."""
        return self._blocks(everything=True)


class SnappyDecompressor:
    """xerial framing; a further 16-byte header may stand where a block could (concatenated streams)."""

    __slots__ = ("_pending", "_raw", "_started")

    def __init__(self) -> None:
        self._raw = _raw_snappy()
        self._pending = b""
        self._started = False

    def decompress(self, data: bytes) -> bytes:
        """Takes more; whole blocks come out."""
        self._pending += data
        buf = self._pending
        pos = 0
        out: list[bytes] = []
        while len(buf) - pos >= 4:
            if not self._started or buf[pos : pos + 4] == SNAPPY_MAGIC[:4]:
                if len(buf) - pos < len(SNAPPY_HEADER):
                    break
                if buf[pos : pos + 8] != SNAPPY_MAGIC:
                    raise CompressionError("not a snappy stream")
                self._started = True
                pos += len(SNAPPY_HEADER)
                continue
            size = read_i32_be(buf, pos)
            if not 0 <= size <= _MAX_SNAPPY_BLOCK_BYTES:
                raise CompressionError(f"unreasonable length {size} of a snappy block")
            if len(buf) - pos - 4 < size:
                break
            out.append(self._block(buf[pos + 4 : pos + 4 + size]))
            pos += 4 + size
        self._pending = buf[pos:]
        return b"".join(out)

    def _block(self, block: bytes) -> bytes:
        try:
            return bytes(self._raw.decompress_raw(block))
        except Exception as error:  # cramjam is optional, so its exception type cannot be named here
            raise CompressionError(f"a snappy block is damaged: {error}") from error

    def finish(self) -> None:
        """The file must end between blocks."""
        if not self._started or self._pending:
            raise CompressionError("the snappy stream is cut short")


def compressor(method: str) -> Compressor:
    """The compressor for ``snapshot.compression.method``: "" (none), "gz" or "snappy"."""
    if method == "gz":
        return GzipCompressor()
    if method == "snappy":
        return SnappyCompressor()
    if method:
        raise CompressionError(f"unknown compression method {method}")
    return PlainCompressor()


def decompressor(method: str) -> Decompressor:
    """The decompressor for a file name's ending."""
    if method == "gz":
        return GzipDecompressor()
    if method == "snappy":
        return SnappyDecompressor()
    if method:
        raise CompressionError(f"unknown compression method {method}")
    return PlainDecompressor()
