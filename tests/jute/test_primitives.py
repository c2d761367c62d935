"""The primitive types against struct, an encoder nobody here wrote."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.jute.primitives import EndOfData, JuteError, Reader, Writer, encode_ustring

INTS = st.integers(-(2**31), 2**31 - 1)
LONGS = st.integers(-(2**63), 2**63 - 1)


@given(INTS, LONGS, st.booleans(), st.none() | st.binary(max_size=50))
def test_values_are_written_as_struct_writes_them(number, long, flag, data):
    w = Writer()
    w.write_int(number)
    w.write_long(long)
    w.write_bool(flag)
    w.write_buffer(data)
    tail = struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
    assert w.getvalue() == struct.pack(">iq?", number, long, flag) + tail


@given(INTS, LONGS, st.booleans(), st.none() | st.binary(max_size=50), st.text(max_size=20))
def test_what_is_written_is_read(number, long, flag, data, text):
    text = text.encode("utf-8", "ignore").decode()
    text = "".join(char for char in text if char <= "\uffff")
    w = Writer()
    w.write_int(number)
    w.write_long(long)
    w.write_bool(flag)
    w.write_buffer(data)
    w.write_ustring(text)
    w.write_ustrings([text, ""])
    r = Reader(w.getvalue())
    assert r.read_int() == number
    assert r.read_long() == long
    assert r.read_bool() is flag
    assert r.read_buffer() == data
    assert r.read_ustring() == text
    assert r.read_ustrings() == [text, ""]
    assert r.remaining() == 0


@given(st.binary(max_size=40))
def test_no_bytes_make_a_reader_read_past_the_end(data):
    for read in (
        Reader.read_int,
        Reader.read_long,
        Reader.read_bool,
        Reader.read_byte,
        Reader.read_buffer,
        Reader.read_ustring,
        Reader.read_nullable_ustring,
        Reader.read_ustrings,
    ):
        r = Reader(data)
        try:
            read(r)
        except JuteError:
            continue
        assert r.pos <= r.end


def test_null_strings():
    r = Reader(struct.pack(">ii", -1, -1))
    assert r.read_ustring() == ""
    assert r.read_nullable_ustring() is None


@pytest.mark.parametrize("length", [-2, 2**31 - 1, 2 * 0xFFFFF + 1])
def test_an_unreasonable_length_is_refused_whatever_follows(length):
    with pytest.raises(JuteError, match="unreasonable"):
        Reader(struct.pack(">i", length) + bytes(100)).read_buffer()


def test_a_huge_vector_is_refused_before_anything_is_allocated():
    with pytest.raises(EndOfData):
        Reader(struct.pack(">i", 2**31 - 1) + bytes(36)).read_ustrings()
    with pytest.raises(JuteError, match="vector"):
        Reader(struct.pack(">i", -5)).read_count()


def test_characters_beyond_the_bmp_go_out_as_java_writes_them():
    assert encode_ustring("a\U0001f600") == b"a\xed\xa0\xbd\xed\xb8\x80"
    assert encode_ustring("é") == "é".encode()


def test_a_length_is_patched_in_and_a_tail_taken_back():
    w = Writer()
    w.write_int(0)
    w.write_raw(b"abc")
    mark = w.size()
    w.write_raw(b"refused")
    w.truncate(mark)
    w.patch_int(0, w.size() - 4)
    assert w.getvalue() == b"\0\0\0\3abc"
    w.patch_int(0, -2)
    assert w.getvalue()[:4] == struct.pack(">i", -2)


def test_a_reader_of_a_part_stops_where_the_part_ends():
    r = Reader(b"\0\0\0\1\0\0\0\2", 0, 4)
    assert r.read_int() == 1
    with pytest.raises(EndOfData):
        r.read_int()


def test_the_low_32_bits_are_written():
    w = Writer()
    w.write_int(2**31)
    assert w.getvalue() == struct.pack(">i", -(2**31))
