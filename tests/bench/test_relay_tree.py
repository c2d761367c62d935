"""The simulated relay tree: it reaches everybody, costs the leader its first level only, and heals."""

from __future__ import annotations

import pytest
from bench.relay_tree import picture, run


@pytest.mark.slow
def test_a_tree_costs_the_leader_its_first_level_and_a_star_everybody() -> None:
    tree = run(30, 3, 2)
    star = run(30, 0, 2)
    assert (tree["depth"], star["depth"]) == (3, 1)
    assert tree["leaders_learners"] == 2 + 3
    assert star["leaders_learners"] == 2 + 30
    per_observer = (star["leader_bytes_per_commit"] - tree["leader_bytes_per_commit"]) / 27
    assert 100 < per_observer < 400
    assert tree["leader_is_the_same"]
    assert tree["leaders_learners_after"] <= tree["leaders_learners_before"]
    assert tree["servers_left"] == 3 + 30 - tree["relays_killed"]


def test_the_picture_has_both_lines_in_both_panels() -> None:
    row = {"observers": 100, "leader_bytes_per_commit": 5000, "commit_to_last_ms_mean": 2.0}
    text = picture([row, row | {"observers": 1000}], [row])
    assert text.count("<polyline") == 4
    assert text.startswith("<svg ")
    assert text.endswith("</svg>\n")
