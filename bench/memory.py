"""Memory and restart: a million small znodes through the wire, resident memory, and start-to-serving time.

    python -m bench.memory                       1,000,000 znodes of 100 B on both systems
    python -m bench.memory --nodes 100000 --systems apache

The first start is on an empty folder; the restart reads what the server itself left there on SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.compare import add_system_options, store
from bench.systems import (
    Options,
    System,
    banner,
    describe_machine,
    in_flight_setting,
    machine,
    rss_kib,
    work_folder,
)
from tests.interop.processes import ServerError, ServerProcess

from zabra.cli.bench import build_helper, run_helper

CONNECTIONS, WINDOW, PARENTS = 20, 200, 1000
START_LIMIT_S = 600.0
LOAD_LIMIT_S = 1800.0


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench.memory", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    add = parser.add_argument
    add("--systems", default="zabra,apache")
    add("--rounds", type=int, default=1)
    add("--nodes", type=int, default=1_000_000)
    add("--size", type=int, default=100, help="bytes of data in each")
    add_system_options(parser)
    return parser.parse_args(words)


def node_count(server: ServerProcess) -> int:
    """What ``srvr`` says."""
    for line in (server.four_letter("srvr") or "").splitlines():
        if line.startswith("Node count: "):
            return int(line.removeprefix("Node count: "))
    raise ServerError(f"{server.name} tells no node count")


def timed_start(server: ServerProcess) -> float:
    """Starts it; seconds until it serves (seen by polling every 20 ms)."""
    began = time.monotonic()
    server.start(START_LIMIT_S)
    return time.monotonic() - began


def fill(server: ServerProcess, helper: Path, nodes: int, size: int) -> dict[str, Any]:
    """Creates the nodes; the load generator's result."""
    words = ["--servers", server.address, "--mode", "pipelined", "--op", "create", "--keep"]
    words += ["--connections", str(CONNECTIONS), "--window", str(WINDOW), "--parents", str(PARENTS)]
    words += ["--count", str(nodes), "--size", str(size), "--pid", str(server.pid)]
    result = run_helper(helper, words, LOAD_LIMIT_S)
    if result["ops"] != nodes:
        raise ServerError(
            f"{server.name}: {result['ops']} of {nodes} nodes made; errors {result['error_codes']}"
        )
    return result


def measure(
    system: System, number: int, folder: Path, helper: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """One system from an empty folder to its restart."""
    group = system.standalone(folder / f"{system.name}-{number}")
    server = group.members[1]
    try:
        empty_start = timed_start(server)
        version, empty_rss = banner(server), rss_kib(server.pid)[0]
        created = fill(server, helper, args.nodes, args.size)
        rss, peak = rss_kib(server.pid)
        before = node_count(server)
        began = time.monotonic()
        server.stop(START_LIMIT_S)
        stopped = time.monotonic() - began
        restart = timed_start(server)
        if node_count(server) != before:
            raise ServerError(
                f"{server.name}: {before} nodes before the restart, {node_count(server)} after it"
            )
        rss_again, peak_again = rss_kib(server.pid)
    finally:
        group.kill()
    mib = {
        "rss_empty": empty_rss,
        "rss": rss,
        "peak": peak,
        "rss_restarted": rss_again,
        "peak_restarted": peak_again,
    }
    return {
        "system": system.name,
        "version": version,
        "round": number,
        "nodes": args.nodes,
        "size": args.size,
        "creates_per_s": created["ops_per_s"],
        "start_empty_s": round(empty_start, 3),
        "stop_s": round(stopped, 3),
        "restart_s": round(restart, 3),
        **{f"{name}_mib": round(kib / 1024, 1) for name, kib in mib.items()},
    }


COLUMNS = {
    "creates_per_s": "creates/s",
    "rss_empty_mib": "RSS empty MiB",
    "rss_mib": "RSS full MiB",
    "peak_mib": "peak MiB",
    "rss_restarted_mib": "RSS after restart MiB",
    "peak_restarted_mib": "peak in restart MiB",
    "start_empty_s": "start empty s",
    "restart_s": "restart s",
    "stop_s": "stop s",
}


def markdown(rows: Sequence[Mapping[str, Any]], systems: Sequence[str]) -> str:
    """Medians per system, and the ratio of the first system to the last."""
    values = {
        name: {key: statistics.median(row[key] for row in rows if row["system"] == name) for key in COLUMNS}
        for name in systems
    }
    head = ["", *systems]
    if len(systems) > 1:
        head.append(f"{systems[0]} : {systems[-1]}")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for key, title in COLUMNS.items():
        cells = [title, *(f"{values[name][key]:,.2f}" for name in systems)]
        if len(systems) > 1:
            below = values[systems[-1]][key]
            cells.append(f"{values[systems[0]][key] / below:.2f}" if below else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Measures each system in turn and prints the table."""
    args = parse_arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = Options(
        server_command=args.server_command,
        jvm_flags=args.jvm_flags,
        base_port=args.base_port,
        compiled=args.compiled,
        cfg=in_flight_setting(CONNECTIONS * WINDOW),
    )
    systems = [System(name, options) for name in args.systems.split(",")]
    helper = build_helper()
    rows = []
    with work_folder(args.work, args.keep_work) as folder:
        header: dict[str, Any] = {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "machine": machine(folder),
            "cfg": options.cfg,
        }
        header["flags"] = {system.name: system.flags() for system in systems}
        for number in range(1, args.rounds + 1):
            for system in systems:
                rows.append(measure(system, number, folder, helper, args))
                print(rows[-1], flush=True)
    print(f"\n{args.nodes:,} znodes of {args.size} B; {describe_machine(header['machine'])}\n")
    print(markdown(rows, [system.name for system in systems]))
    print(f"\nwritten to {store(header, rows, Path(args.results), 'memory')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
