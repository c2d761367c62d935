"""What observers cost those who vote: the leader's bytes and CPU per write, by where observers stand.

``python -m bench.observers --counts 0,4,16 --shapes leader,followers,tree`` starts three voters for every
cell, has the observers join without a ``server.N`` line, writes at a fixed pace through the leader, and
prints a table.  Bytes are those the kernel sent on the leader's connections to its learners (``ss``), CPU is
user and system time of the leader's process.

Shapes: ``leader``: all under the leader; ``followers``: under the two followers in turn; ``tree``: one under
a follower, the others under each other, ``--fan-out`` under each.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.interop.members import ZABRA, Mixed, make_member, monitor, zxid_of
from tests.interop.processes import ConfigValue, ServerProcess, poll

HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
CFG: dict[str, ConfigValue] = {"tickTime": 2000, "initLimit": 10, "syncLimit": 5, "snapCount": 1000000}
PORTS_OF_VOTERS = 12
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Cell:
    """One measurement."""

    def __init__(self, shape: str, count: int) -> None:
        self.shape = shape
        self.count = count
        self.learners = 0
        self.bytes_per_write = 0.0
        self.leader_us_per_write = 0.0
        self.p50_ms = 0.0
        self.p99_ms = 0.0
        self.rate = 0.0
        self.behind_ms = 0.0

    def row(self) -> str:
        """For the table."""
        return (
            f"| {self.shape} | {self.count} | {self.learners} | {self.bytes_per_write:.0f} "
            f"| {self.leader_us_per_write:.0f} | {self.p50_ms:.2f} | {self.p99_ms:.2f} "
            f"| {self.behind_ms:.0f} |"
        )


HEAD = (
    "| observers stand under | observers | leader's learners | leader sends, bytes per write "
    "| leader's CPU, us per write | write p50, ms | write p99, ms | behind at the end, ms |\n"
    "| --- | --: | --: | --: | --: | --: | --: | --: |"
)


def masters_of(shape: str, number: int, followers: list[str], first_port: int, fan_out: int) -> str:
    """``zabra.observerMasters`` of observer ``number``; "" for the leader itself."""
    if shape == "leader":
        return ""
    if shape == "followers" or number == 0:
        turned = followers[number % len(followers) :] + followers[: number % len(followers)]
        return ",".join(turned)
    return f"127.0.0.1:{first_port + (number - 1) // fan_out}"


class Bench:
    """One ensemble with its observers."""

    def __init__(self, options: argparse.Namespace, shape: str, count: int, folder: Path) -> None:
        self.options = options
        self.cell = Cell(shape, count)
        base = options.base_port
        self.master_port = base + PORTS_OF_VOTERS
        self.client_ports = base + PORTS_OF_VOTERS + 1
        self.relay_ports = self.client_ports + count
        cfg = {**CFG, "observerMasterPort": self.master_port}
        kinds = [options.voters] * 3
        self.ensemble = Mixed(kinds, folder, cfg=cfg, ports=range(base, base + PORTS_OF_VOTERS), hosts=HOSTS)
        self.observers: list[ServerProcess] = []
        self.folder = folder

    def start(self) -> None:
        """Voters, then observers one level after the other."""
        self.ensemble.start()
        leader = self.ensemble.wait_leader()
        followers = [f"{HOSTS[sid - 1]}:{self.master_port}" for sid in (1, 2, 3) if sid != leader]
        for number in range(self.cell.count):
            masters = masters_of(
                self.cell.shape, number, followers, self.relay_ports, self.options.fan_out
            )
            cfg: dict[str, ConfigValue] = {
                **CFG,
                "clientPort": self.client_ports + number,
                "admin.enableServer": "false",
                "4lw.commands.whitelist": "*",
                "zabra.join": self.ensemble.members[leader].address,
            }
            if masters:
                cfg["zabra.observerMasters"] = masters
            if self.cell.shape == "tree":
                cfg["observerMasterPort"] = self.relay_ports + number
            observer = make_member(ZABRA, 0, cfg, self.folder / f"observer-{number}")
            self.observers.append(observer)
            observer.start(60)

    def stop(self) -> None:
        """Everything."""
        for observer in self.observers:
            observer.kill()
        self.ensemble.kill()

    def measure(self) -> Cell:
        """Writes at the set pace, and looks at the leader before and after."""
        sid = self.ensemble.wait_leader()
        leader = self.ensemble.members[sid]
        cell = self.cell
        cell.learners = int(monitor(leader)["learners"])
        port = self.options.base_port + 4 * (sid - 1) + 1
        command = [sys.executable, "-m", "zabra", "bench", "--connect", leader.address, "--op", "set"]
        command += ["--json", "--connections", "20", "--rate", str(self.options.rate), "--warmup", "2"]
        command += ["--duration", str(self.options.seconds), "--size", str(self.options.size)]
        zxid, sent, cpu_s = zxid_of(leader) or 0, sent_bytes(port), cpu(leader.pid)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        ended = time.monotonic()
        target = zxid_of(leader) or 0
        writes = target - zxid
        cell.bytes_per_write = (sent_bytes(port) - sent) / writes
        cell.leader_us_per_write = (cpu(leader.pid) - cpu_s) / writes * 1e6
        result = json.loads(done.stdout)
        latency = result["latency_us"] if "latency_us" in result else result["latency"]
        cell.p50_ms, cell.p99_ms = percentiles(latency)
        cell.rate = writes / (self.options.seconds + 2)
        poll(
            "all observers have everything",
            120,
            lambda: True if all((zxid_of(one) or 0) >= target for one in self.observers) else None,
        )
        cell.behind_ms = (time.monotonic() - ended) * 1000
        return cell


def percentiles(latency: dict[str, float]) -> tuple[float, float]:
    """Median and 99th percentile in ms, from the generator's microseconds."""
    return latency["p50"] / 1000, latency["p99"] / 1000


def cpu(pid: int) -> float:
    """Seconds of CPU a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def sent_bytes(port: int) -> int:
    """Bytes sent on the connections to a leader's learners: those at its quorum port."""
    found = subprocess.run(["ss", "-tinH", f"sport = :{port}"], capture_output=True, text=True, check=True)
    return sum(int(one) for one in re.findall(r"bytes_sent:(\d+)", found.stdout))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--counts", default="0,1,4,8,16", help="numbers of observers")
    parser.add_argument("--shapes", default="leader,followers,tree")
    parser.add_argument("--fan-out", type=int, default=4, help="observers under each observer in a tree")
    parser.add_argument("--voters", default=ZABRA, help="zabra, apache-3.9 or apache-3.8")
    parser.add_argument("--rate", type=int, default=300, help="writes per second")
    parser.add_argument("--size", type=int, default=100, help="bytes per write")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--base-port", type=int, default=13900)
    parser.add_argument("--json", type=Path, help="append a line per cell to this file")
    options = parser.parse_args()
    cells = []
    for shape in options.shapes.split(","):
        for count in [int(one) for one in options.counts.split(",")]:
            if count == 0 and shape != options.shapes.split(",")[0]:
                continue
            cells.append(run_cell(options, shape, count))
    print(HEAD)
    for cell in cells:
        print(cell.row())


def run_cell(options: argparse.Namespace, shape: str, count: int) -> Cell:
    """One ensemble, from start to stop."""
    folder = Path(tempfile.mkdtemp(prefix="zabra-observers-"))
    bench = Bench(options, shape, count, folder)
    try:
        bench.start()
        cell = bench.measure()
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(cell.row(), file=sys.stderr, flush=True)
    if options.json:
        with options.json.open("a") as out:
            settings = {"voters": options.voters, "rate": options.rate, "size": options.size}
            out.write(json.dumps({**vars(cell), **settings}) + "\n")
    return cell


if __name__ == "__main__":
    main()
