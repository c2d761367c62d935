"""Tables: what fits where, and a live one drawn over itself (read back through a terminal of a few lines)."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.cli.table import Column, LiveTable, layout

COLUMNS = (Column("id", True), Column("role"), Column("zxid", True))


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert layout(COLUMNS, [["1", "leader", "0x10"], ["12", "-", ""]], 80) == [
        "id  role    zxid",
        " 1  leader  0x10",
        "12  -",
    ]


def test_a_narrow_terminal_cuts_lines() -> None:
    assert layout(COLUMNS, [["1", "leader", "0x10"]], 9) == ["id  role ", " 1  leade"]


def test_a_row_of_another_length_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="a row of 1 cells"):
        layout(COLUMNS, [["1"]], 80)


@given(st.lists(st.tuples(*[st.text("abc", max_size=9)] * 3), max_size=5), st.integers(1, 40))
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, str, str]], width: int) -> None:
    lines = layout(COLUMNS, rows, width)
    assert len(lines) == len(rows) + 1
    assert all(len(line) <= width for line in lines)


def screen(output: str) -> list[str]:
    """What a terminal shows that understands cursor-up, erase-below, carriage return and new lines."""
    lines: list[str] = []
    at = 0
    for part in re.split(r"(\x1b\[\d*[A-Za-z]|\n|\r)", output):
        if part == "\n":
            at += 1
        elif part.endswith("A") and part.startswith("\x1b"):
            at -= int(part[2:-1])
        elif part == "\x1b[J":
            del lines[at:]
        elif part and not part.startswith("\x1b") and part != "\r":
            lines += [""] * (at + 1 - len(lines))
            lines[at] += part
        assert at >= 0, "the table was drawn above the screen"
    return lines


def test_a_live_table_is_drawn_over_itself_and_lines_stay_above() -> None:
    out = io.StringIO()
    table = LiveTable(out, COLUMNS)
    table.say("first")
    table.draw([["1", "leader", "0x1"], ["2", "follower", "0x1"]], "all is well")
    table.say("second")
    table.draw([["1", "leader", "0x2"]], "one is gone")
    table.say("third")
    assert screen(out.getvalue()) == [
        "first",
        "second",
        "third",
        "id  role    zxid",
        " 1  leader   0x2",
        "one is gone",
    ]
