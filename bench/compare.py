"""Zabra and Apache ZooKeeper under the same load, in turn: rates, latencies, CPU and memory.

    python -m bench.compare                                   standalone servers
    python -m bench.compare --ensemble 3 --observers 1        ensembles
    python -m bench.compare --systems apache --duration 3     one system only

One system runs at a time (A B A B …), each time from empty folders on the same disk, and every figure is the
median over the rounds, with the ratio of each round beside it.  Results go to bench/results/ as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.systems import (
    DEFAULT_JVM_FLAGS,
    DEFAULT_SERVER_COMMAND,
    ROOT,
    Options,
    System,
    banner,
    describe_machine,
    in_flight_setting,
    machine,
    rss_kib,
    work_folder,
)
from tests.interop.processes import Ensemble, ServerProcess

from zabra.cli.bench import build_helper, run_helper

RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
SLACK_S = 240
"""Time a run of the load generator may take beyond its warm-up and duration: set-up, clean-up, stalls."""

CELLS = {
    "closed get": ("closed", "get", None),
    "closed set": ("closed", "set", None),
    "pipelined get": ("pipelined", "get", None),
    "pipelined set": ("pipelined", "set", None),
    "pipelined create": ("pipelined", "create", None),
    "pipelined mixed": ("pipelined", "mixed", "get:80,set:15,create:5"),
    "watch fan-out": ("watch", "set", None),
}
"""Name of a load to the generator's mode, operation and mix."""

DEFAULT_CELLS = [name for name in CELLS if name != "watch fan-out"]


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench.compare", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    add = parser.add_argument
    add("--systems", default="zabra,apache", help="in turn; ratios are of the first to the last")
    add("--rounds", type=int, default=3)
    add("--cells", default=",".join(DEFAULT_CELLS), help="of: " + ", ".join(CELLS))
    add("--payloads", default="100", help="bytes, comma separated")
    add("--connections", type=int, default=50)
    add("--window", type=int, default=100, help="in flight per connection when pipelined")
    add("--warmup", type=float, default=3.0)
    add("--duration", type=float, default=8.0)
    add("--burn-in", type=float, default=5.0, help="seconds of mixed load after each start, for both")
    add("--ensemble", type=int, default=0, metavar="N", help="participants; 0 is a standalone server")
    add("--observers", type=int, default=0, metavar="M")
    add("--targets", choices=["all", "leader", "followers", "observers"], default="all")
    add_system_options(parser)
    add("--label", help="name of the section in docs/performance.md, which is then rewritten")
    return parser.parse_args(words)


def add_system_options(parser: argparse.ArgumentParser) -> None:
    """Options that all scripts of this folder share."""
    add = parser.add_argument
    add("--server-command", default=DEFAULT_SERVER_COMMAND, help="starts a Zabra server ({python}, {config})")
    add("--compiled", action="store_true", help="run the compiled build of Zabra")
    add("--jvm-flags", default=DEFAULT_JVM_FLAGS, help="for Apache ZooKeeper")
    add("--base-port", type=int, help="first of four ports per member (free ones)")
    add("--work", help="folder for data and logs, on the disk to measure (.zabra/bench)")
    add("--keep-work", action="store_true", help="leave that folder there")
    add("--results", default=str(RESULTS), help="folder for the JSON lines (bench/results)")


def targets(group: Ensemble, which: str) -> str:
    """Addresses the load goes to."""
    chosen: list[ServerProcess] = []
    for sid, member in group.members.items():
        observer = sid in group.observer_ids
        mode = member.mode()
        wanted = {
            "all": True,
            "observers": observer,
            "leader": mode == "leader",
            "followers": mode == "follower",
        }
        if wanted[which]:
            chosen.append(member)
    if not chosen:
        raise SystemExit(f"no member for --targets {which}")
    return ",".join(member.address for member in chosen)


def cell_arguments(args: argparse.Namespace, cell: str, payload: int) -> list[str]:
    """The load generator's options for one cell."""
    mode, op, mix = CELLS[cell]
    words = ["--mode", mode, "--op", op, "--size", str(payload)]
    words += ["--connections", str(args.connections), "--window", str(args.window)]
    if mix:
        words += ["--mix", mix]
    return words


def measure(
    helper: Path, group: Ensemble, addresses: str, words: Sequence[str], warmup: float, duration: float
) -> dict[str, Any]:
    """One run against a serving group; adds memory of each member to the generator's result."""
    members = list(group.members.values())
    pids = [word for member in members for word in ("--pid", str(member.pid))]
    limits = ["--warmup", str(warmup), "--duration", str(duration)]
    arguments = ["--servers", addresses, *words, *limits, *pids]
    result = run_helper(helper, arguments, warmup + duration + SLACK_S)
    memory = [rss_kib(member.pid) for member in members]
    result["rss_kib"] = [now for now, _ in memory]
    result["peak_rss_kib"] = [peak for _, peak in memory]
    return result


def run_round(
    args: argparse.Namespace, system: System, number: int, folder: Path, helper: Path
) -> list[dict[str, Any]]:
    """All cells against one freshly started system."""
    rows = []
    home = folder / f"{system.name}-{number}"
    with system.group(args.ensemble, args.observers, home) as group:
        version = banner(next(iter(group.members.values())))
        addresses = targets(group, args.targets)
        if args.burn_in > 0:
            words = cell_arguments(args, "pipelined mixed", 100)
            measure(helper, group, addresses, words, 0, args.burn_in)
        for payload in args.payload_list:
            for cell in args.cell_list:
                words = cell_arguments(args, cell, payload)
                result = measure(helper, group, addresses, words, args.warmup, args.duration)
                row = {"system": system.name, "version": version, "round": number, "cell": cell}
                row |= {"payload": payload, "load_average": round(os.getloadavg()[0], 2), "result": result}
                rows.append(row)
                print(progress(row), flush=True)
    return rows


def progress(row: Mapping[str, Any]) -> str:
    """One line while it runs."""
    result = row["result"]
    text = f"round {row['round']}  {row['system']:10} {row['cell']:17} {row['payload']:7} B"
    text += f" {result['ops_per_s']:12,.0f}/s  p99 {result['latency_us']['p99']:10,.0f} us"
    trouble = result["errors"] or result["disconnects"] or not result["complete"]
    return text + (f"  ERRORS {result['error_codes']} {result['disconnects']}" if trouble else "")


def cpu_us_per_op(result: Mapping[str, Any]) -> float:
    """Server CPU of all members per operation, in microseconds."""
    spent = sum(seconds for seconds in result["server_cpu_s"] if seconds is not None)
    return spent / result["ops"] * 1e6 if result["ops"] else float("nan")


def summarise(rows: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> list[dict[str, Any]]:
    """One entry per cell and payload: medians per system, and the ratio of rates of each round."""
    entries = []
    for cell, payload in dict.fromkeys((row["cell"], row["payload"]) for row in rows):
        own = [row for row in rows if (row["cell"], row["payload"]) == (cell, payload)]
        entry: dict[str, Any] = {"cell": cell, "payload": payload, "systems": {}}
        for name in systems:
            results = [row["result"] for row in own if row["system"] == name]
            if results:
                entry["systems"][name] = medians(results)
        entry["ratios"] = round_ratios(own, systems[0], systems[-1]) if len(systems) > 1 else []
        entries.append(entry)
    return entries


def medians(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The median over rounds of each figure of one cell."""
    figures = {
        "ops_per_s": [result["ops_per_s"] for result in results],
        "p50": [result["latency_us"]["p50"] for result in results],
        "p99": [result["latency_us"]["p99"] for result in results],
        "p999": [result["latency_us"]["p999"] for result in results],
        "cpu_us": [cpu_us_per_op(result) for result in results],
        "rss_mib": [sum(result["rss_kib"]) / 1024 for result in results],
        "errors": [result["errors"] + result["disconnects"] for result in results],
    }
    return {name: statistics.median(values) for name, values in figures.items()}


def round_ratios(rows: Sequence[Mapping[str, Any]], first: str, last: str) -> list[float]:
    """Rate of the first system over that of the last, round by round."""
    rates: dict[int, dict[str, float]] = {}
    for row in rows:
        rates.setdefault(row["round"], {})[row["system"]] = row["result"]["ops_per_s"]
    return [
        round(own[first] / own[last], 3)
        for _, own in sorted(rates.items())
        if own.get(last) and own.get(first) is not None
    ]


def markdown(entries: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> str:
    """The table for docs/performance.md."""
    head = ["load", "payload"]
    for name in systems:
        head += [f"{name} ops/s", "p50 / p99 / p99.9 ms", "CPU us/op", "RSS MiB"]
    if len(systems) > 1:
        head.append(f"{systems[0]} : {systems[-1]}, median (each round)")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for entry in entries:
        cells = [entry["cell"], f"{entry['payload']} B"]
        for name in systems:
            cells += _system_cells(entry["systems"].get(name))
        if len(systems) > 1:
            cells.append(_ratio_cell(entry["ratios"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _system_cells(figures: Mapping[str, float] | None) -> list[str]:
    if figures is None:
        return ["–"] * 4
    latency = " / ".join(f"{figures[name] / 1e3:.2f}" for name in ("p50", "p99", "p999"))
    rate = f"{figures['ops_per_s']:,.0f}" + (
        f" ({figures['errors']:.0f} errors)" if figures["errors"] else ""
    )
    return [rate, latency, f"{figures['cpu_us']:.1f}", f"{figures['rss_mib']:,.0f}"]


def _ratio_cell(ratios: Sequence[float]) -> str:
    if not ratios:
        return "–"
    return f"**{statistics.median(ratios):.2f}** (" + ", ".join(f"{ratio:.2f}" for ratio in ratios) + ")"


def report(header: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> str:
    """The section of docs/performance.md: what ran, where, and the table."""
    shape = header["shape"]
    what = "Standalone servers" if not shape["ensemble"] else f"{shape['ensemble']} participants"
    if shape["observers"]:
        what += f" and {shape['observers']} observers"
    load = f"{shape['connections']} connections, {shape['window']} in flight on each when pipelined"
    timing = f"{shape['rounds']} rounds of {shape['duration']:g} s after {shape['warmup']:g} s of warm-up"
    lines = [
        f"{what}; load on {shape['targets']}; {load}; {timing}; {header['started'][:10]}.",
        "",
        f"Machine: {describe_machine(header['machine'])}.",
        "",
        *(f"* {name}: {facts['version']}, `{facts['flags']}`" for name, facts in header["systems"].items()),
        "* zoo.cfg beside the defaults, the same for both: "
        + ", ".join(f"`{key}={value}`" for key, value in header["cfg"].items()),
        "",
        markdown(entries, list(header["systems"])),
    ]
    return "\n".join(lines)


def rewrite_section(text: str, label: str, section: str) -> str:
    """``text`` with the section between the label's markers replaced, or added at the end."""
    begin, end = f"<!-- compare {label} begin -->", f"<!-- compare {label} end -->"
    block = f"{begin}\n{section}\n{end}"
    if begin in text and end in text:
        before, rest = text.split(begin, 1)
        return before + block + rest.split(end, 1)[1]
    return text.rstrip("\n") + f"\n\n## {label}\n\n{block}\n"


def prepare(args: argparse.Namespace) -> tuple[Options, list[System]]:
    """Checks the arguments and makes the systems."""
    args.payload_list = [int(size) for size in args.payloads.split(",")]
    args.cell_list = args.cells.split(",")
    unknown = [cell for cell in args.cell_list if cell not in CELLS]
    if unknown:
        raise SystemExit(f"no such cell: {', '.join(unknown)}; there are {', '.join(CELLS)}")
    pipelined = any(CELLS[cell][0] == "pipelined" for cell in args.cell_list)
    cfg = in_flight_setting(args.connections * args.window if pipelined else args.connections)
    options = Options(
        server_command=args.server_command,
        jvm_flags=args.jvm_flags,
        base_port=args.base_port,
        compiled=args.compiled,
        cfg=cfg,
    )
    return options, [System(name, options) for name in args.systems.split(",")]


def make_header(
    args: argparse.Namespace, options: Options, systems: Sequence[System], folder: Path
) -> dict[str, Any]:
    """The first line of the results."""
    names = (
        "rounds",
        "connections",
        "window",
        "warmup",
        "duration",
        "burn_in",
        "ensemble",
        "observers",
        "targets",
    )
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "machine": machine(folder),
        "cfg": options.cfg,
        "shape": {name: getattr(args, name) for name in names},
        "systems": {system.name: {"flags": system.flags(), "version": "?"} for system in systems},
    }


def main(words: Sequence[str] | None = None) -> int:
    """Runs the comparison; 1 when a run had errors."""
    args = parse_arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options, systems = prepare(args)
    helper = build_helper()
    rows: list[dict[str, Any]] = []
    with work_folder(args.work, args.keep_work) as folder:
        header = make_header(args, options, systems, folder)
        for number in range(1, args.rounds + 1):
            for system in systems:
                fresh = run_round(args, system, number, folder, helper)
                header["systems"][system.name]["version"] = fresh[0]["version"]
                rows += fresh
    entries = summarise(rows, [system.name for system in systems])
    section = report(header, entries)
    path = store(header, rows, Path(args.results), "compare")
    print(f"\n{section}\n\nwritten to {path}")
    if args.label:
        old = DOCUMENT.read_text() if DOCUMENT.exists() else "# Performance\n"
        DOCUMENT.write_text(rewrite_section(old, args.label, section))
    return 1 if any(row["result"]["errors"] or row["result"]["disconnects"] for row in rows) else 0


def store(header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], folder: Path, kind: str) -> Path:
    """Writes a header and its rows as JSON lines into ``folder``; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{header['started'].replace(':', '')}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [header, *rows]))
    return path


if __name__ == "__main__":
    sys.exit(main())
