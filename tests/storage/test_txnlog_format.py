"""The bytes of a log: layout, what upstream wrote, and the judgement of tails."""

import zlib

from hypothesis import given
from hypothesis import strategies as st
from tests.storage.folders import simple_txn

from zabra.storage import txnlog_format as fmt

# Head and first record of a log that Apache ZooKeeper 3.8.0 wrote.
JAVA_LOG = bytes.fromhex(
    "5a4b4c47000000020000000000000000"
    "00000000a8a8099f00000030"
    "0300000001234567000000000000000100000001000001a2021caee1fffffff6"
    "00002710"
    "000000020000000051c6d660"
    "42"
)
TXNS = [simple_txn(0x100000001 + i, bytes([i + 1]) * (40 * i)) for i in range(5)]
ENTRIES = fmt.encode_entries(TXNS)


def judge(content: bytes, size: int = 0) -> fmt.Tail:
    """Scans ``content`` as a whole file of ``size`` bytes without its header, and judges the rest."""
    size = max(size, len(content))
    found = fmt.scan(content, True)
    rest = content[found.consumed :].rstrip(b"\0")
    return fmt.judge_tail(rest, found.consumed, size, found.zxids[-1] if found.zxids else 0)


def test_header_and_first_entry_are_upstreams() -> None:
    assert fmt.encode_file_header() == JAVA_LOG[:16]
    found = fmt.scan(JAVA_LOG[16:], True)
    assert found.zxids == [0x100000001]
    assert found.stop == fmt.END
    assert fmt.encode_entries(found.txns) == JAVA_LOG[16:]


def test_header_problems_are_named() -> None:
    assert fmt.file_header_problem(JAVA_LOG) == ""
    assert "header" in fmt.file_header_problem(JAVA_LOG[:9])
    assert "magic" in fmt.file_header_problem(b"ZKSN" + JAVA_LOG[4:])
    assert "version 3" in fmt.file_header_problem(JAVA_LOG[:7] + b"\x03" + JAVA_LOG[8:])


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(0, 40))
def test_entries_round_trip(datas: list[bytes], padding: int) -> None:
    txns = [simple_txn(0x500000001 + i, data) for i, data in enumerate(datas)]
    found = fmt.scan(fmt.encode_entries(txns) + bytes(12 + padding), True)
    assert found.txns == txns
    assert found.zxids == [0x500000001 + i for i in range(len(txns))]
    assert found.stop == fmt.END


@given(st.integers(0, len(ENTRIES)))
def test_a_cut_buffer_asks_for_more(cut: int) -> None:
    found = fmt.scan(ENTRIES[:cut], False)
    assert found.stop == fmt.MORE
    again = fmt.scan(ENTRIES[found.consumed :], True)
    assert found.txns + again.txns == TXNS


def test_zeros_are_the_end() -> None:
    found = fmt.scan(ENTRIES + bytes(5000), True)
    assert (found.stop, found.consumed) == (fmt.END, len(ENTRIES))
    assert judge(ENTRIES + bytes(5000)).verdict == fmt.CLEAN


def test_a_write_cut_at_any_sector_is_torn() -> None:
    big = fmt.encode_entries([*TXNS, simple_txn(0x100000006, b"z" * 3000)])
    for cut in range(512, len(big), 512):
        kept = big[:cut] + bytes(len(big) - cut + 700)
        found = fmt.scan(kept, True)
        assert found.txns == TXNS[: len(found.txns)]
        verdict = judge(kept).verdict
        assert verdict in (fmt.TORN, fmt.CLEAN)


def test_a_file_that_ends_anywhere_is_torn() -> None:
    for cut in range(len(ENTRIES)):
        found = fmt.scan(ENTRIES[:cut], True)
        # The upper half of a checksum is zeros, as padding is.
        clean = not ENTRIES[found.consumed : cut].strip(b"\0")
        assert judge(ENTRIES[:cut]).verdict == (fmt.CLEAN if clean else fmt.TORN)


def test_a_write_that_happened_in_part_is_torn() -> None:
    """A full disk takes part of a write, and the process dies before it can cut that off."""
    for cut in range(len(ENTRIES)):
        kept = ENTRIES[:cut] + bytes(8192 - cut)
        found = fmt.scan(kept, True)
        there = ENTRIES[found.consumed : cut].rstrip(b"\0")
        if not there:
            assert judge(kept).verdict == fmt.CLEAN
        elif found.consumed + fmt.ENTRY_HEAD_BYTES > cut or there[-1] == fmt.END_BYTE:
            # Its length is not all there, or something else is wrong with it: this may be rot.
            assert judge(kept).verdict in (fmt.TORN, fmt.ROTTEN)
        else:
            assert judge(kept).verdict == fmt.TORN, cut


def test_a_tear_inside_the_head_of_an_entry() -> None:
    """What is there of its length may end with 0x42; compiled, that was an error of slicing once."""
    head = bytes.fromhex("00000000cc541fe7 0042")
    assert fmt.judge_tail(head, 512 - fmt.ENTRY_HEAD_BYTES, 8192, 7).verdict == fmt.TORN


def test_zeroed_bytes_before_valid_entries_are_rot() -> None:
    """Upstream takes the zeros for the end of the log and loses what follows."""
    second = len(fmt.encode_entries(TXNS[:1]))
    zeroed = ENTRIES[:second] + bytes(12) + ENTRIES[second + 12 :]
    tail = judge(zeroed + bytes(600))
    assert tail.verdict == fmt.ROTTEN
    assert "a valid one follows" in tail.reason


def test_every_flipped_byte_is_rot_or_mended() -> None:
    """In the last entry too: it is all there, so no crash cut it."""
    padded = ENTRIES + bytes(2000)
    for at in range(len(ENTRIES)):
        for mask in (0xFF, 0x01, 0x80, padded[at]):
            if mask == 0:
                continue
            broken = padded[:at] + bytes((padded[at] ^ mask,)) + padded[at + 1 :]
            found = fmt.scan(broken, True)
            if found.bad_ends:
                assert found.bad_ends == [at]
                assert found.txns == TXNS
            else:
                assert judge(broken).verdict == fmt.ROTTEN, (at, mask)


def test_an_entry_with_a_wrong_length_is_rot() -> None:
    at = len(fmt.encode_entries(TXNS[:4])) + 8
    longer = ENTRIES[:at] + (100_000).to_bytes(4, "big") + ENTRIES[at + 4 :]
    tail = judge(longer + bytes(4000))
    assert (tail.verdict, tail.reason) == (fmt.ROTTEN, "the length of a txn does not match")


def test_unreasonable_lengths_do_not_read_memory() -> None:
    for length in (-1, 0, 31, fmt.MAX_TXN_BYTES + 1, 0x7FFFFFFF):
        head = (1234).to_bytes(8, "big") + (length & 0xFFFFFFFF).to_bytes(4, "big")
        found = fmt.scan(head + bytes(100), True)
        assert found.stop == fmt.BAD
        assert "unreasonable length" in found.reason


def test_a_nested_copy_of_old_entries_is_not_taken_for_what_follows() -> None:
    """A node may hold a piece of a log; a torn txn with older zxids in its data stays a torn txn."""
    outer = simple_txn(0x100000009, fmt.encode_entries(TXNS) + bytes(2000))
    written = fmt.encode_entries([*TXNS, outer])
    cut = (len(ENTRIES) + 600 + 511) // 512 * 512
    assert judge(written[:cut] + bytes(4000)).verdict == fmt.TORN


def test_find_entry_skips_long_zeros() -> None:
    buf = bytes(70_000) + ENTRIES
    assert fmt.find_entry(buf, 1, 0) == 70_000
    assert fmt.find_entry(buf, 70_001, 0) == 70_000 + len(fmt.encode_entries(TXNS[:1]))
    assert fmt.find_entry(buf, 0, 0x100000005) == -1


def test_checksum_is_adler32_of_the_txn_alone() -> None:
    entry = fmt.encode_entries([TXNS[1]])
    assert int.from_bytes(entry[:8], "big") == zlib.adler32(TXNS[1])
    assert entry[-1:] == b"B"
