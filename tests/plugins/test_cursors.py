"""Cursors survive; what is none is said."""

import pytest

from zabra.plugins.cursors import NO_CURSOR, CursorError, CursorStore, Reached
from zabra.runtime.os_disk import OsDisk


def test_written_and_read(tmp_path):
    store = CursorStore(OsDisk(tmp_path))
    assert store.read("a") == NO_CURSOR
    for zxid in (0, 0x5_0000_0001, (1 << 63) - 1):
        store.write("a", zxid)
        assert CursorStore(OsDisk(tmp_path)).read("a") == zxid
    assert store.read("b") == NO_CURSOR
    assert [path.name for path in (tmp_path / "publishers").iterdir()] == ["a.cursor"]


def test_how_far_it_was_read(tmp_path):
    store = CursorStore(OsDisk(tmp_path))
    assert store.read_reached("a") is None
    reached = Reached(0x1_0000_0005, 0x2_0000_0001, "/a b/ü create,delete")
    store.write_reached("a", reached)
    assert store.read_reached("a") == reached
    (tmp_path / "publishers" / "a.reached").write_text("nonsense")
    assert store.read_reached("a") is None


@pytest.mark.parametrize("text", ["", "next week", "0x"])
def test_not_a_cursor(tmp_path, text):
    (tmp_path / "publishers").mkdir()
    (tmp_path / "publishers" / "a.cursor").write_text(text)
    with pytest.raises(CursorError, match=r"publishers/a\.cursor: .* is no zxid"):
        CursorStore(OsDisk(tmp_path)).read("a")
