"""SVG pictures of what ``observers``, ``reads`` and ``crowd`` have measured, for docs/observers.md.

``python -m bench.plots`` reads bench/results/observers.jsonl and reads.jsonl, writes docs/observers/*.svg.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PICTURES = ROOT / "docs" / "observers"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 72, 190, 40, 48
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8d5b9b", "#b8860b", "#555555")

Points = list[tuple[float, float]]


def load(name: str) -> list[dict[str, Any]]:
    """The rows of a file of results; none where there is no such file."""
    path = RESULTS / name
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in rows if "machine" not in row]


def ticks(highest: float) -> list[float]:
    """Four or so round numbers up to a little above ``highest``."""
    step, factors = 1.0, itertools.cycle((2.0, 2.5, 2.0))
    while highest / step > 5:
        step *= next(factors)
    return [step * number for number in range(int(highest / step) + 2)]


def chart(title: str, x_label: str, y_label: str, series: Mapping[str, Points]) -> str:
    """A picture of lines, one per series; x is spread evenly over the values that occur."""
    xs = sorted({x for points in series.values() for x, _ in points})
    marks = ticks(max(y for points in series.values() for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        across = xs.index(x) / max(1, len(xs) - 1)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / marks[-1] * (HEIGHT - TOP - BOTTOM),
        )

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 22, title, "start", 14),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_label),
        f'<g transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2:.1f}) rotate(-90)">',
        text(0, 0, y_label) + "</g>",
    ]
    for mark in marks:
        _, y = place(xs[0], mark)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        out.append(text(LEFT - 6, y + 4, f"{mark:g}", "end"))
    for x in xs:
        out.append(text(place(x, 0)[0], HEIGHT - BOTTOM + 16, f"{x:g}"))
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in [place(*point) for point in points])
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in points:
            x, y = place(*point)
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        y = TOP + 18 * number
        out.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y}" width="12" height="3" fill="{colour}"/>')
        out.append(text(WIDTH - RIGHT + 32, y + 6, name, "start"))
    return "\n".join([*out, "</svg>", ""])


def text(x: float, y: float, words: str, anchor: str = "middle", size: int = 12) -> str:
    """Some words."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def by_shape(rows: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> dict[str, Points]:
    """A series per kind of voters and shape."""
    words = {"leader": "under the leader", "followers": "under followers", "tree": "a tree"}
    series: dict[str, Points] = {}
    for row in rows:
        kind = "Zabra" if row["voters"] == "zabra" else row["voters"].replace("apache-", "Apache ")
        name = f"{kind}, {words[row['shape']]}"
        series.setdefault(name, []).append((float(row["count"]), value(row)))
    return series


def pictures() -> dict[str, str]:
    """Every picture there are results for, by file name."""
    out = {}
    rows = load("observers.jsonl")
    if rows:
        for name, title, label, value in (
            ("leader-bytes", "What the leader sends to its learners", "bytes per write",
             lambda row: row["bytes_per_write"]),
            ("leader-cpu", "The leader's CPU as fast as is answered", "us per write",
             lambda row: row["full_leader_us_per_write"]),
            ("write-throughput", "Writes through the leader", "writes per second",
             lambda row: row["writes_per_s"]),
        ):  # fmt: skip
            out[f"{name}.svg"] = chart(title, "observers", label, by_shape(rows, value))
    reads = load("reads.jsonl")
    if reads:
        points = [(float(row["observers"]), row["reads_per_s"]) for row in reads]
        title = f"Reads from all servers, each with {reads[0]['percent']} % of a core"
        out["reads.svg"] = chart(title, "observers", "reads per second", {"Zabra": points})
    return out


def main() -> None:
    """Writes them."""
    PICTURES.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        (PICTURES / name).write_text(picture)
        print(PICTURES / name)


if __name__ == "__main__":
    main()
