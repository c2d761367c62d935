"""The memory benchmark on a small number of nodes, against Apache ZooKeeper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.interop import apache

from bench import memory


def test_table_has_medians_and_ratios() -> None:
    rows = [
        {"system": name, **{key: number * factor for number, key in enumerate(memory.COLUMNS, 1)}}
        for name, factors in {"zabra": (1.0, 2.0, 9.0), "apache": (4.0, 4.0, 4.0)}.items()
        for factor in factors
    ]
    lines = memory.markdown(rows, ["zabra", "apache"]).splitlines()
    assert lines[0] == "|  | zabra | apache | zabra : apache |"
    assert lines[2] == "| creates/s | 2.00 | 4.00 | 0.50 |"
    assert len(lines) == 2 + len(memory.COLUMNS)


@pytest.mark.java
@pytest.mark.slow
def test_nodes_survive_the_restart_and_memory_is_told(tmp_path: Path) -> None:
    apache.require_java()
    places = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    words = ["--systems", "apache", "--nodes", "3000", "--jvm-flags=-Xmx256m", *places]
    assert memory.main(words) == 0
    [path] = (tmp_path / "results").iterdir()
    _, row = [json.loads(line) for line in path.read_text().splitlines()]
    assert row["nodes"] == 3000
    assert row["peak_mib"] >= row["rss_empty_mib"] > 0
    assert row["restart_s"] > 0
