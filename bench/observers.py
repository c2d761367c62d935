"""What observers cost those who vote: the leader's bytes and CPU per write, by where observers stand.

``python -m bench.observers --counts 0,4,16 --shapes leader,followers,tree`` starts three voters for every
shape, has more and more observers join without a ``server.N`` line (Apache's are listed), writes through the
leader at a fixed pace and then as fast as is answered, and prints a table.  Bytes are those the kernel sent
on the leader's connections to its learners (``ss``), CPU is user and system time of the leader's process.

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
    """One measurement: a pace that is the same everywhere, then as many writes as get through."""

    def __init__(self, shape: str, count: int) -> None:
        self.shape = shape
        self.count = count
        self.learners = 0
        # At the pace.
        self.bytes_per_write = 0.0
        self.bytes_per_s = 0.0
        self.leader_us_per_write = 0.0
        self.leader_cpu_percent = 0.0
        self.p50_ms = 0.0
        self.p99_ms = 0.0
        # As fast as answered.
        self.writes_per_s = 0.0
        self.full_leader_us_per_write = 0.0
        self.full_bytes_per_s = 0.0
        self.behind_ms = 0.0

    def row(self) -> str:
        """For the table."""
        return (
            f"| {self.shape} | {self.count} | {self.learners} | {self.bytes_per_write:.0f} "
            f"| {self.bytes_per_s / 1000:.0f} | {self.leader_us_per_write:.0f} | {self.p50_ms:.2f} "
            f"| {self.p99_ms:.2f} | {self.writes_per_s:.0f} | {self.full_leader_us_per_write:.0f} "
            f"| {self.behind_ms:.0f} |"
        )


HEAD = (
    "| observers stand under | observers | leader's learners | leader sends, bytes per write | kB/s "
    "| leader's CPU, us per write | write p50, ms | write p99, ms | writes/s at most "
    "| leader's CPU then, us per write | last observer behind by, ms |\n"
    "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
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
    """One ensemble, and observers that are added to it bit by bit."""

    def __init__(self, options: argparse.Namespace, shape: str, most: int, folder: Path) -> None:
        self.options = options
        self.shape = shape
        base = options.base_port
        self.is_apache = options.voters != ZABRA
        self.master_port = base + PORTS_OF_VOTERS + 4 * (most if self.is_apache else 0)
        self.client_ports = self.master_port + 1
        self.relay_ports = self.client_ports + most
        cfg: dict[str, ConfigValue] = dict(CFG)
        if not self.is_apache or shape == "followers":
            cfg["observerMasterPort"] = self.master_port
        listed = most if self.is_apache else 0
        kinds = [options.voters] * (3 + listed)
        hosts = [*HOSTS, *[f"127.0.1.{number}" for number in range(1, listed + 1)]]
        ports = range(base, base + 4 * len(kinds))
        self.ensemble = Mixed(kinds, folder, observers=listed, cfg=cfg, ports=ports, hosts=hosts)
        self.observers: list[ServerProcess] = []
        self.folder = folder

    def start(self) -> None:
        """The voters."""
        for sid in (1, 2, 3):
            self.ensemble.members[sid].launch()
        for sid in (1, 2, 3):
            self.ensemble.members[sid].wait_serving(60)

    def grow(self, count: int) -> None:
        """More observers, up to ``count``; all at once, but a tree level by level."""
        leader = self.ensemble.wait_leader()
        followers = [f"{HOSTS[sid - 1]}:{self.master_port}" for sid in (1, 2, 3) if sid != leader]
        new = []
        for number in range(len(self.observers), count):
            if self.is_apache:
                observer = self.ensemble.members[4 + number]
            else:
                observer = self.joiner(number, followers, self.ensemble.members[leader].address)
            self.observers.append(observer)
            new.append(observer)
            observer.launch()
            if self.shape == "tree" and number < 8:
                observer.wait_serving(120)
        for observer in new:
            observer.wait_serving(120)

    def joiner(self, number: int, followers: list[str], address: str) -> ServerProcess:
        """An observer that no configuration lists."""
        masters = masters_of(self.shape, number, followers, self.relay_ports, self.options.fan_out)
        cfg: dict[str, ConfigValue] = {
            **CFG,
            "clientPort": self.client_ports + number,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            "zabra.join": address,
        }
        if masters:
            cfg["zabra.observerMasters"] = masters
        if self.shape == "tree":
            cfg["observerMasterPort"] = self.relay_ports + number
        return make_member(ZABRA, 0, cfg, self.folder / f"observer-{number}")

    def stop(self) -> None:
        """Everything."""
        for observer in self.observers:
            observer.kill()
        self.ensemble.kill()

    def measure(self) -> Cell:
        """Writes, and looks at the leader before and after."""
        sid = self.ensemble.wait_leader()
        leader = self.ensemble.members[sid]
        cell = Cell(self.shape, len(self.observers))
        cell.learners = int(monitor(leader)["learners"])
        options = self.options
        paced = self.write(leader, sid, options.seconds, options.rate)
        cell.bytes_per_write = paced.bytes / paced.writes
        cell.bytes_per_s = cell.bytes_per_write * paced.ops_per_s
        cell.leader_us_per_write = paced.cpu_s / paced.writes * 1e6
        cell.leader_cpu_percent = cell.leader_us_per_write * paced.ops_per_s / 1e4
        cell.p50_ms, cell.p99_ms = paced.p50_ms, paced.p99_ms
        full = self.write(leader, sid, options.seconds, 0)
        ended = time.monotonic()
        cell.writes_per_s = full.ops_per_s
        cell.full_leader_us_per_write = full.cpu_s / full.writes * 1e6
        cell.full_bytes_per_s = full.bytes / full.writes * full.ops_per_s
        target = zxid_of(leader) or 0
        for one in self.observers:
            poll("it has everything", 120, lambda one=one: True if (zxid_of(one) or 0) >= target else None)
        cell.behind_ms = (time.monotonic() - ended) * 1000 if self.observers else 0.0
        return cell

    def write(self, leader: ServerProcess, sid: int, seconds: int, rate: int) -> Load:
        """Writes for some seconds through the leader, at a pace or (0) as fast as answered."""
        port = self.options.base_port + 4 * (sid - 1) + 1
        command = [sys.executable, "-m", "zabra", "bench", "--connect", leader.address, "--op", "set"]
        command += ["--json", "--connections", "20", "--keys", "20", "--warmup", "0.5"]
        command += ["--duration", str(seconds), "--size", str(self.options.size)]
        if rate:
            command += ["--rate", str(rate)]
        load = Load()
        zxid, sent, cpu_s = zxid_of(leader) or 0, sent_bytes(port), cpu(leader.pid)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        # With the nodes and sessions that the generator makes and ends.
        load.writes = max(1, (zxid_of(leader) or 0) - zxid)
        load.bytes = sent_bytes(port) - sent
        load.cpu_s = cpu(leader.pid) - cpu_s
        result = json.loads(done.stdout)
        load.ops_per_s = float(result["ops_per_s"])
        load.p50_ms, load.p99_ms = percentiles(result["latency_us"])
        return load


class Load:
    """What one run of the generator did to the leader."""

    def __init__(self) -> None:
        self.writes = 0
        self.ops_per_s = 0.0
        self.bytes = 0
        self.cpu_s = 0.0
        self.p50_ms = 0.0
        self.p99_ms = 0.0


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
    parser.add_argument("--counts", default="0,1,2,4,8,16,32", help="numbers of observers, growing")
    parser.add_argument("--shapes", default="leader,followers,tree")
    parser.add_argument("--fan-out", type=int, default=4, help="observers under each observer in a tree")
    parser.add_argument("--voters", default=ZABRA, help="zabra, apache-3.9 or apache-3.8 (observers too)")
    parser.add_argument("--rate", type=int, default=200, help="writes per second")
    parser.add_argument("--size", type=int, default=100, help="bytes per write")
    parser.add_argument("--seconds", type=int, default=3, help="of each of the two loads of a cell")
    parser.add_argument("--base-port", type=int, default=13900)
    parser.add_argument("--json", type=Path, help="append a line per cell to this file")
    options = parser.parse_args()
    cells = []
    for shape in options.shapes.split(","):
        cells += run_shape(options, shape, [int(one) for one in options.counts.split(",")])
    print(HEAD)
    for cell in cells:
        print(cell.row())


def run_shape(options: argparse.Namespace, shape: str, counts: list[int]) -> list[Cell]:
    """One ensemble, from start to stop."""
    folder = Path(tempfile.mkdtemp(prefix="zabra-observers-"))
    bench = Bench(options, shape, max(counts), folder)
    cells = []
    try:
        bench.start()
        for count in counts:
            bench.grow(count)
            cell = bench.measure()
            cells.append(cell)
            print(cell.row(), file=sys.stderr, flush=True)
            if options.json:
                settings = {"voters": options.voters, "rate": options.rate, "size": options.size}
                with options.json.open("a") as out:
                    out.write(json.dumps({**vars(cell), **settings}) + "\n")
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return cells


if __name__ == "__main__":
    main()
