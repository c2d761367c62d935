"""The pictures in docs/observers are what bench.plots makes of the results that are committed."""

from __future__ import annotations

import pytest
from bench.plots import PICTURES, chart, pictures, ticks


@pytest.mark.parametrize("highest", [0.5, 1, 7, 99, 1234, 65000])
def test_ticks_are_few_and_reach_beyond(highest: float) -> None:
    marks = ticks(highest)
    assert 2 <= len(marks) <= 7
    assert marks[0] == 0
    assert marks[-1] > highest


def test_a_chart_names_its_series() -> None:
    picture = chart("A & B", "x", "y", {"one": [(0, 1), (2, 3)], "other": [(0, 2), (2, 4)]})
    assert picture.startswith("<svg ")
    assert "A &amp; B" in picture
    assert picture.count("<polyline") == 2
    assert picture.count("<circle") == 4


def test_committed_pictures_are_up_to_date() -> None:
    made = pictures()
    # The other one is drawn by ``bench.relay_tree`` from a run of its own.
    found = {path.name: path.read_text() for path in PICTURES.glob("*.svg") if path.name != "relay-tree.svg"}
    assert found == made
