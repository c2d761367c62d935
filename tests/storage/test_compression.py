"""Streams: gzip, and xerial's snappy framing."""

import gzip

import cramjam
import pytest

from zabra.storage.compression import SNAPPY_HEADER, CompressionError, compressor, decompressor

DATA = bytes(range(256)) * 1000 + b"tail"


def unpack(method: str, packed: bytes, piece: int) -> bytes:
    stream = decompressor(method)
    out = [stream.decompress(packed[at : at + piece]) for at in range(0, len(packed), piece)]
    stream.finish()
    return b"".join(out)


@pytest.mark.parametrize("method", ["", "gz", "snappy"])
@pytest.mark.parametrize("piece", [1, 17, 100_000, 1 << 20])
def test_round_trip_in_any_pieces(method: str, piece: int) -> None:
    stream = compressor(method)
    data = DATA[: 3000 if piece == 1 else None]
    packed = b"".join(stream.compress(data[at : at + piece]) for at in range(0, len(data), piece))
    packed += stream.finish()
    assert unpack(method, packed, piece) == data


def test_snappy_framing_is_xerials() -> None:
    stream = compressor("snappy")
    packed = stream.compress(DATA) + stream.finish()
    assert packed.startswith(b"\x82SNAPPY\0\0\0\0\1\0\0\0\1")
    size = int.from_bytes(packed[16:20], "big")
    assert bytes(cramjam.snappy.decompress_raw(packed[20 : 20 + size])) == DATA[: 32 * 1024]


def test_snappy_streams_may_be_joined() -> None:
    one = compressor("snappy")
    packed = one.compress(b"abc") + one.finish()
    assert unpack("snappy", packed + packed, 5) == b"abcabc"


@pytest.mark.parametrize(
    ("method", "packed", "problem"),
    [
        ("gz", b"ZKSN" * 9, "not gzip"),
        ("gz", gzip.compress(DATA)[:-3], "cut short"),
        ("gz", gzip.compress(DATA) + b"x", "behind the end"),
        ("snappy", b"ZKSN" * 9, "not a snappy stream"),
        ("snappy", SNAPPY_HEADER[:9], "cut short"),
        ("snappy", SNAPPY_HEADER + b"\0\0\0\x09abc", "cut short"),
        ("snappy", SNAPPY_HEADER + b"\xff\xff\xff\xffabc", "unreasonable length -1"),
        ("snappy", SNAPPY_HEADER + b"\0\0\0\x05\xff\xff\xff\xff\x0f", "damaged"),
        ("zip", b"", "unknown compression method"),
    ],
)
def test_damage_is_told(method: str, packed: bytes, problem: str) -> None:
    with pytest.raises(CompressionError, match=problem):
        unpack(method, packed, 1000)
