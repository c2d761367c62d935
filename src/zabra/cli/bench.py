"""``zabra bench``: load against a running ensemble, from a C program so cheap that the server gets measured.

The program's source, ``zkload.c``, lies beside this module; it is compiled on first use into a cache folder
under a name that holds the hash of the source, so an old build is never run by mistake.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

SOURCE = Path(__file__).with_name("zkload.c")
COMPILERS = ("cc", "gcc", "clang")
COMPILE_TIMEOUT_S = 120
COMPILE_FLAGS = ("-std=gnu11", "-O2")

MODES = ("closed", "pipelined", "watch")
OPERATIONS = ("get", "set", "create", "exists", "children", "sync", "mixed")


class BenchError(Exception):
    """The load generator cannot be built or did not measure; the text says why."""


class _Subparsers(Protocol):
    def add_parser(self, name: str, *, help: str, description: str) -> argparse.ArgumentParser: ...


def cache_folder() -> Path:
    """Where built helpers are kept: XDG_CACHE_HOME or ~/.cache, then zabra."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "zabra"


def build_helper(folder: Path | None = None) -> Path:
    """The compiled load generator, built into ``folder`` (``cache_folder()``) when it is not there yet.

    BenchError when the platform or a compiler is missing or the compiler fails.
    """
    if not sys.platform.startswith("linux"):
        raise BenchError("the load generator needs Linux (it is built on epoll)")
    source = SOURCE.read_bytes()
    target = (folder or cache_folder()) / f"zkload-{hashlib.sha256(source).hexdigest()[:16]}"
    if target.exists():
        return target
    compiler = find_compiler()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        fresh = Path(scratch) / "zkload"
        command = [compiler, *COMPILE_FLAGS, "-o", str(fresh), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
        if done.returncode != 0:
            raise BenchError(f"{compiler} could not build the load generator:\n{done.stderr.strip()}")
        # Renaming is atomic: two builds at once leave one whole program.
        fresh.replace(target)
    return target


def find_compiler() -> str:
    """A C compiler: $CC, else the first of COMPILERS on PATH; BenchError when there is none."""
    named = os.environ.get("CC")
    for name in [named] if named else COMPILERS:
        found = shutil.which(name)
        if found is not None:
            return found
    if named:
        raise BenchError(f"the C compiler named by CC, {named}, is not on PATH")
    raise BenchError(
        "the load generator is a C program and no C compiler (cc, gcc or clang) is on PATH; "
        "install one, or give a built program with --helper"
    )


def run_helper(helper: Path, arguments: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """Runs the load generator and returns its result (the JSON object ``zkload.c`` prints).

    BenchError when it measured nothing, did not come to its end, or took longer than ``timeout_s``.
    """
    with subprocess.Popen([str(helper), *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            output = _output_of(process, timeout_s)
        except subprocess.TimeoutExpired:
            raise BenchError(f"the load generator did not end within {timeout_s:g} s") from None
        finally:
            if process.poll() is None:
                process.kill()
    if not output.strip():
        raise BenchError(f"the load generator ended with {process.returncode} and no result")
    result: dict[str, Any] = json.loads(output)
    return result


def _output_of(process: subprocess.Popen[str], timeout_s: float) -> str:
    try:
        return process.communicate(timeout=timeout_s)[0]
    except KeyboardInterrupt:
        # The terminal sent the same signal to the generator, which now removes its nodes.
        return process.communicate(timeout=timeout_s)[0]


def helper_arguments(args: argparse.Namespace) -> list[str]:
    """The load generator's command line for the parsed options of ``zabra bench``."""
    values = {
        "servers": args.connect,
        "mode": args.mode,
        "op": args.op,
        "mix": args.mix,
        "connections": args.connections,
        "window": args.window,
        "rate": args.rate,
        "size": args.size,
        "keys": args.keys,
        "children": args.children,
        "warmup": args.warmup,
        "duration": args.duration,
        "count": args.count,
        "root": args.root,
        "session-timeout": args.session_timeout,
        "connect-timeout": args.connect_timeout,
        "seed": args.seed,
    }
    words = [word for key, value in values.items() if value is not None for word in (f"--{key}", str(value))]
    words += [word for pid in args.pid for word in ("--pid", str(pid))]
    for flag in ("keep", "ephemeral"):
        if getattr(args, flag):
            words.append(f"--{flag}")
    return words


def render(result: dict[str, Any]) -> str:
    """A result as lines for people."""
    mix = ", ".join(f"{name} {weight}" for name, weight in result["mix"].items()) or "watch fan-out"
    shape = f"{result['mode']}: {mix}; {result['connections']} connections"
    if result["mode"] == "pipelined":
        shape += f" x {result['window']} in flight"
    lines = [
        f"{shape}; {result['payload_bytes']} B payload; {', '.join(result['servers'])}",
        f"{result['ops_per_s']:,.0f} per second ({result['ops']:,} in {result['elapsed_s']:.2f} s)",
        "latency, us: " + _percentiles(result["latency_us"]),
    ]
    for name, summary in result["latency_by_op_us"].items():
        lines.append(f"  {name}: {_percentiles(summary)}")
    if "last_event_us" in result:
        lines.append("last watcher told, us: " + _percentiles(result["last_event_us"]))
    if result["errors"] or result["disconnects"]:
        codes = ", ".join(f"{code}: {count}" for code, count in result["error_codes"].items())
        lost = f"{result['disconnects']} connections lost with {result['lost_in_flight']} requests in flight"
        lines.append(f"errors: {result['errors']} ({codes}); {lost}")
    for number, seconds in enumerate(result["server_cpu_s"]):
        if seconds is not None and result["ops"]:
            lines.append(
                f"server process {number + 1}: {seconds / result['ops'] * 1e6:.2f} CPU us per operation"
            )
    lines.append(f"the load generator itself used {result['self_cpu_s']:.2f} CPU s")
    if result["left"] is not None:
        lines.append(f"nodes left behind below {result['left']}")
    if not result["complete"]:
        lines.append("the run ended early")
    return "\n".join(lines)


def _percentiles(summary: dict[str, float]) -> str:
    names = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "max"}
    return "  ".join(f"{shown} {summary[key]:,.0f}" for key, shown in names.items())


def run(args: argparse.Namespace) -> int:
    """Carries out ``zabra bench``; 0 when the load ran to its end, 1 otherwise."""
    try:
        helper = Path(args.helper) if args.helper else build_helper()
        if not helper.is_file():
            raise BenchError(f"{helper} is no file")
        result = run_helper(helper, helper_arguments(args), _time_limit_s(args))
    except BenchError as error:
        print(f"zabra bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result) if args.json else render(result))
    return 0 if result["complete"] else 1


def _time_limit_s(args: argparse.Namespace) -> float:
    """Longer than the generator's own limit, which is the one that should be met."""
    own = 3600.0 if args.count else 180.0
    return own + float(args.warmup) + float(args.duration) + 300.0


def register(subparsers: _Subparsers) -> None:
    """Adds ``bench`` to the sub-commands of ``zabra``; its handler is the parser's default ``run``."""
    parser = subparsers.add_parser(
        "bench",
        help="load against a running ensemble",
        description="Load against a running ensemble. Works below one new node and removes it again.",
    )
    add = parser.add_argument
    add("--connect", required=True, metavar="HOST:PORT,...", help="servers; connections are spread over them")
    add(
        "--mode",
        choices=MODES,
        default="closed",
        help="one request in flight per connection, many, or watches",
    )
    add("--op", choices=OPERATIONS, default="get")
    add("--mix", metavar="OP:WEIGHT,...", help="for --op mixed (get:90,set:10)")
    add("--connections", type=int, default=50, metavar="N", help="sessions (50)")
    add("--window", type=int, default=100, metavar="W", help="in flight per connection when pipelined (100)")
    add("--rate", type=float, metavar="R", help="requests per second that fall due (as fast as answered)")
    add("--size", type=int, default=100, metavar="BYTES", help="payload (100)")
    add("--keys", type=int, default=1000, metavar="K", help="nodes that are read and set (1000)")
    add("--children", type=int, default=10, metavar="C", help="children of the node that is listed (10)")
    add("--warmup", type=float, default=2, metavar="S", help="seconds before counting (2)")
    add("--duration", type=float, default=10, metavar="S", help="seconds that count (10)")
    add("--count", type=int, metavar="N", help="count N requests instead of a duration")
    add("--root", metavar="PATH", help="node to create and to work below")
    add("--keep", action="store_true", help="leave the nodes there")
    add("--ephemeral", action="store_true", help="creates make ephemerals")
    add("--connect-timeout", type=int, default=15, metavar="S", help="until all have sessions (15)")
    add("--session-timeout", type=int, default=30000, metavar="MS", help="asked of the servers (30000)")
    add("--seed", type=int, default=1, help="of the choice of keys and operations (1)")
    add(
        "--pid", type=int, action="append", default=[], help="also tell CPU time of this local server process"
    )
    add("--helper", metavar="PROGRAM", help="a built load generator, instead of building one")
    add("--json", action="store_true", help="print the result as one JSON object")
    parser.set_defaults(run=run)
