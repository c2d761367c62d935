"""Tables for a terminal: columns that fit, and one that is drawn again in its own place.

Nothing here knows what is shown.  A live table needs a terminal that understands four ANSI sequences (cursor
up, erase to the end of the screen, bold, plain).
"""

from collections.abc import Sequence
from typing import Final, TextIO

UP: Final = "\x1b[{}A"
ERASE_BELOW: Final = "\x1b[J"
BOLD: Final = "\x1b[1m"
PLAIN: Final = "\x1b[0m"
GAP: Final = "  "


class Column:
    """One column: its heading, and whether it holds numbers (which stand to the right)."""

    __slots__ = ("heading", "is_number")

    def __init__(self, heading: str, is_number: bool = False) -> None:
        self.heading = heading
        self.is_number = is_number


def layout(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The lines of a table, headings first, cut to ``width`` characters."""
    widths = [len(column.heading) for column in columns]
    for row in rows:
        assert len(row) == len(columns), f"a row of {len(row)} cells, not {len(columns)}"
        widths = [max(known, len(cell)) for known, cell in zip(widths, row, strict=True)]
    lines = []
    for row in ([column.heading for column in columns], *rows):
        cells = [
            cell.rjust(room) if column.is_number else cell.ljust(room)
            for cell, room, column in zip(row, widths, columns, strict=True)
        ]
        lines.append(GAP.join(cells).rstrip()[:width])
    return lines


class LiveTable:
    """Draws a table over the one drawn before; ``say`` puts a line above it."""

    def __init__(self, out: TextIO, columns: Sequence[Column], width: int = 80) -> None:
        self.width = width
        self._out = out
        self._columns = columns
        self._lines: list[str] = []
        self._drawn = 0

    def draw(self, rows: Sequence[Sequence[str]], footer: str = "") -> None:
        """Shows these rows from now on, and a line below them."""
        self._lines = layout(self._columns, rows, self.width)
        if footer:
            self._lines.append(footer[: self.width])
        self._write("")

    def say(self, line: str) -> None:
        """A line that stays, above the table."""
        self._write(line + "\n")

    def _write(self, above: str) -> None:
        text = (UP.format(self._drawn) + "\r" if self._drawn else "") + ERASE_BELOW + above
        for index, line in enumerate(self._lines):
            text += f"{BOLD}{line}{PLAIN}\n" if index == 0 else f"{line}\n"
        self._drawn = len(self._lines)
        self._out.write(text)
        self._out.flush()
