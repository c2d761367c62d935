"""The frame of a snapshot: header, seals and what stands between them."""

import zlib

import pytest

from zabra.storage.snapshot_format import (
    SealChecker,
    SnapshotDecoder,
    SnapshotEncoder,
    ZxidDigest,
    ends_like_snapshot,
    header_problem,
    seal,
)

# The end of snapshot.0 as Apache ZooKeeper 3.8.0 wrote it, from the terminator of the body on.
JAVA_TAIL = bytes.fromhex(
    "000000012f" "000000000e9c68bf000000012f" "00000000000000000000000200000000" "00000000"
    "00000000c5056ac2000000012f"
)
BODY = bytes(range(200)) * 3


def encode(digest: ZxidDigest | None, last_zxid: int) -> bytes:
    encoder = SnapshotEncoder()
    parts = [encoder.begin(), encoder.body(BODY[:100]), encoder.body(BODY[100:])]
    return b"".join([*parts, encoder.end(digest, last_zxid)])


LAYOUTS = [(None, -1), (None, 7), (ZxidDigest(5, 2, -9), -1), (ZxidDigest(5, 2, 1 << 62), 0x500000000)]


def decode(data: bytes, piece: int) -> tuple[SnapshotDecoder, bytes]:
    """Feeds ``data`` in pieces to a decoder whose body reader knows that the body has len(BODY) bytes."""
    decoder = SnapshotDecoder()
    body = b""
    done = False
    for start in range(0, len(data), piece):
        got = decoder.feed(data[start : start + piece])
        if got and not done:
            take = got[: len(BODY) - len(body)]
            body += take
            done = len(body) == len(BODY)
            decoder.used(len(take), done)
    decoder.finish()
    return decoder, body


def check(data: bytes, piece: int = 64) -> str:
    checker = SealChecker()
    for start in range(0, len(data), piece):
        checker.feed(data[start : start + piece])
    return checker.finish()


def test_seals_and_digest_are_upstreams() -> None:
    encoder = SnapshotEncoder()
    encoder.checksum = 0x0E9C68BF
    assert encoder.end(ZxidDigest(0, 2, 0), -1) == JAVA_TAIL[5:]


def test_header_is_upstreams() -> None:
    assert SnapshotEncoder().begin() == bytes.fromhex("5a4b534e00000002ffffffffffffffff")


@pytest.mark.parametrize(("digest", "last_zxid"), LAYOUTS)
@pytest.mark.parametrize("piece", [1, 7, 64, 5000])
def test_round_trip_in_any_pieces(digest: ZxidDigest | None, last_zxid: int, piece: int) -> None:
    data = encode(digest, last_zxid)
    decoder, body = decode(data, piece)
    assert decoder.problem == ""
    assert body == BODY
    assert decoder.last_zxid == last_zxid
    assert repr(decoder.digest) == repr(digest)
    assert check(data, piece) == ""
    assert ends_like_snapshot(data[-5:])


@pytest.mark.parametrize(("digest", "last_zxid"), LAYOUTS)
def test_every_flipped_byte_is_found(digest: ZxidDigest | None, last_zxid: int) -> None:
    data = encode(digest, last_zxid)
    for at in range(len(data)):
        if 8 <= at < 16:
            # dbid: no reader looks at it, but the seals cover it.
            assert header_problem(data[:16]) == ""
        for mask in (0xFF, 1):
            broken = data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]
            decoder, _ = decode(broken, 97)
            assert decoder.problem, at
            assert check(broken), at


def test_every_cut_is_found_or_is_an_older_layout() -> None:
    data = encode(ZxidDigest(5, 2, 8), 6)
    whole = {len(encode(None, -1)), len(encode(ZxidDigest(5, 2, 8), -1)), len(data)}
    for cut in range(len(data) + 1):
        decoder, _ = decode(data[:cut], 50)
        assert (decoder.problem == "") == (cut in whole), cut
        assert (check(data[:cut]) == "") == (cut in whole), cut


def test_parts_of_a_later_release_are_passed_over_if_sealed() -> None:
    data = encode(ZxidDigest(5, 2, 8), 6) + b"something new"
    assert decode(data, 1000)[0].problem == "the last seal does not match"
    sealed = data + seal(zlib.adler32(data))
    decoder, _ = decode(sealed, 1000)
    assert (decoder.problem, decoder.last_zxid) == ("", 6)


def test_endless_trailers_are_refused() -> None:
    decoder, _ = decode(encode(None, -1) + bytes(5000), 100)
    assert "bytes behind the body" in decoder.problem


def test_other_files_are_refused() -> None:
    assert "magic" in header_problem(b"ZKLG\0\0\0\2" + bytes(8))
    assert "version 9" in header_problem(b"ZKSN\0\0\0\x09" + bytes(8))
    assert "header" in header_problem(b"ZKSN")
