"""What the feed's HTTP door gives its subscribers, and what it costs.

``python -m bench.feed [--subscribers 1,100,10000] [--rates 1000] [--own]`` starts a server with a door for
every cell, opens the subscribers (``feedload.c``), writes at the rate through ``zabra bench``, and prints a
row: what was delivered, the delay from sending a write to each sampled subscriber (beside that of the
write's own reply), memory for each subscriber, CPU of server and door.  ``--own``: each subscriber has a node
of its own, and writes go to all nodes in turn; else all have the same subtree.

``python -m bench.feed --voters [--observers 0,1,5]`` writes as fast as it goes through three voters, beside
so many observers, that publish (a door with a subscriber, and jsonl) or do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.observers import cpu
from tests.interop.members import ZABRA, Mixed, make_member
from tests.interop.processes import ConfigValue, ServerProcess, poll

from zabra.client.aio import AsyncClient

HERE = Path(__file__).resolve().parent
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
READY_S = 120
ROOT = "/feed"
PROBE = "/probe"
PROBES_PER_S = 50
HEAD = (
    "| subscribers | each has | writes/s | delivered, changes/s | per subscriber | MB/s "
    "| delay p50 / p99, ms | write's reply p50, ms | KB a subscriber | server CPU | door CPU |\n"
    "| --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
)


def build(folder: Path) -> Path:
    """The subscribers' program."""
    out = folder / "feedload"
    subprocess.run(["cc", "-O2", "-std=gnu11", "-o", str(out), str(HERE / "feedload.c")], check=True)
    return out


def children(pid: int) -> list[int]:
    """Processes that ``pid`` has started."""
    # (Each thread has those that it started.)
    lists = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
    return [int(one) for some in lists for one in some.read_text().split()]


def rss_kb(pid: int) -> int:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB


class Subscribers:
    """A running ``feedload``."""

    def __init__(self, program: Path, port: int, count: int, target: str, sampled: int) -> None:
        arguments = [str(program), "127.0.0.1", str(port), str(count), target, str(sampled)]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self.process.stdout is not None
        self.lines = self.process.stdout
        if self.lines.readline() != "ready\n":
            raise RuntimeError("the subscribers could not connect")

    def wait_for(self, events: int, within_s: float) -> None:
        """Until so many were delivered."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            words = self.lines.readline().split()
            if words[:1] == ["events"] and int(words[1]) >= events:
                return

    def result(self) -> dict[str, Any]:
        """Ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        for line in self.lines:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                self.process.wait()
                return found
        raise RuntimeError("the subscribers have ended without a result")


@contextmanager
def server(options: argparse.Namespace, folder: Path) -> Iterator[tuple[ServerProcess, int]]:
    """One server on its own, with a door; and the door's port."""
    port = options.base_port
    cfg: dict[str, ConfigValue] = {
        "clientPort": port,
        "admin.enableServer": "false",
        "4lw.commands.whitelist": "*",
        "maxClientCnxns": 0,
        "snapCount": 10_000_000,
        "feed.port": port + 1,
        "feed.address": "127.0.0.1",
        "feed.maxSubscribers": 19_000,
    }
    member = make_member(ZABRA, 0, cfg, folder)
    member.start(READY_S)
    try:
        poll("the door is there", READY_S, lambda: True if children(member.pid) else None)
        yield member, port + 1
    finally:
        member.kill()


async def probe(address: str, seconds: float) -> list[float]:
    """Writes its time to the probe's node now and then; returns how long the replies took, in ms."""
    took = []
    async with AsyncClient(address) as client:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began = time.monotonic_ns()
            await client.set_data(PROBE, b"T%dT" % began)
            took.append((time.monotonic_ns() - began) / 1e6)
            await asyncio.sleep(1 / PROBES_PER_S)
    return sorted(took)


async def make_probe(address: str) -> None:
    """The probe's node."""
    async with AsyncClient(address) as client:
        await client.create(PROBE)


def load(member: ServerProcess, rate: int, seconds: int, keys: int) -> subprocess.Popen[str]:
    """Writers that need little themselves."""
    command = [sys.executable, "-m", "zabra", "bench", "--connect", member.address, "--op", "set", "--json"]
    command += ["--connections", "10", "--warmup", "0", "--duration", str(seconds), "--keys", str(keys)]
    command += ["--root", ROOT, "--size", "100"]
    command += ["--rate", str(rate)] if rate else ["--mode", "pipelined", "--window", "20"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measure(options: argparse.Namespace, program: Path, count: int, rate: int, own: bool) -> str:
    """One cell, as a row."""
    folder = Path(tempfile.mkdtemp(prefix="zabra-feed-"))
    try:
        with server(options, folder) as (member, port):
            (door,) = children(member.pid)
            asyncio.run(make_probe(member.address))
            keys = count if own else 1000
            # The probe is every hundredth's, or everybody's.
            target = f"/feed?op=setData&path={ROOT}/k/%07u" if own else "/feed?op=setData"
            probing = Subscribers(program, port, 1, f"/feed?path={PROBE}&op=setData", 1) if own else None
            before_kb = rss_kb(door)
            subscribers = Subscribers(program, port, count, target, min(count, 200))
            each_kb = (rss_kb(door) - before_kb) / count
            server_cpu, door_cpu, began = cpu(member.pid), cpu(door), time.monotonic()
            writers = load(member, rate, options.seconds, keys)
            replies = asyncio.run(probe(member.address, options.seconds))
            out, _ = writers.communicate()
            done = json.loads(out)
            writes = int(done["ops"])
            wanted = writes if own else (writes + len(replies)) * count
            subscribers.wait_for(wanted, 30)
            took = time.monotonic() - began
            server_cpu, door_cpu = (cpu(member.pid) - server_cpu) / took, (cpu(door) - door_cpu) / took
            found = subscribers.result()
            delays = probing.result() if probing is not None else found
            rate_of = found["events"] / found["seconds"] if found["seconds"] else 0.0
            if options.json:
                with options.json.open("a") as file:
                    row = {"own": own, "rate": rate, "writes": writes, "wanted": wanted, **found}
                    row |= {"delays": delays, "kb": each_kb, "reply_p50_ms": replies[len(replies) // 2]}
                    row |= {"server_cpu": server_cpu, "door_cpu": door_cpu}
                    file.write(json.dumps(row) + "\n")
            missing = wanted - found["events"]
            lost = f" ({missing} late)" if missing > 0 else ""
            megabytes = found["bytes"] / found["seconds"] / 1e6
            return (
                f"| {count} | {'a node' if own else 'everything'} | {writes / options.seconds:.0f} "
                f"| {rate_of:,.0f}{lost} | {rate_of / count:,.1f} | {megabytes:.0f} "
                f"| {delays['p50_us'] / 1000:.2f} / {delays['p99_us'] / 1000:.2f} "
                f"| {replies[len(replies) // 2]:.2f} | {each_kb:.1f} | {server_cpu:.0%} | {door_cpu:.0%} |"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def voters(options: argparse.Namespace, count: int, publishing: bool) -> str:
    """Writes through three voters beside ``count`` observers, as a row."""
    folder = Path(tempfile.mkdtemp(prefix="zabra-feed-"))
    base = options.base_port
    cfg: dict[str, ConfigValue] = {"snapCount": 10_000_000}
    ensemble = Mixed([ZABRA] * (3 + count), folder, cfg=cfg, observers=count,
                     ports=range(base, base + 4 * (3 + count)))  # fmt: skip
    try:
        for number in range(count if publishing else 0):
            ensemble.members[4 + number].cfg |= {
                "feed.port": base + 100 + number,
                "feed.address": "127.0.0.1",
                "publisher.log.class": "jsonl",
                "publisher.log.file": str(folder / f"out-{number}.jsonl"),
                "publisher.log.fsync": "false",
            }
        ensemble.start()
        leader = ensemble.members[ensemble.wait_leader()]
        for member in list(ensemble.members.values())[3:]:
            for pid in (member.pid, *children(member.pid)):
                os.setpriority(os.PRIO_PROCESS, pid, options.nice)
        began, leader_cpu = time.monotonic(), cpu(leader.pid)
        writers = load(leader, 0, options.seconds, 1000)
        out, _ = writers.communicate()
        took = time.monotonic() - began
        done = json.loads(out)
        writes = int(done["ops"])
        used = (cpu(leader.pid) - leader_cpu) / writes * 1e6
        kind = "publish" if publishing else "do not publish"
        return (
            f"| {count} | {kind if count else ''} | {writes / options.seconds:,.0f} | {used:.0f} |"
            f"  ({took:.1f} s)"
        )
    finally:
        ensemble.kill()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subscribers", default="1,100,10000")
    parser.add_argument("--rates", default="1000", help="writes per second; 0: as fast as they are answered")
    parser.add_argument("--own", action="store_true", help="a node for each subscriber")
    parser.add_argument("--voters", action="store_true", help="what publishing observers cost voters")
    parser.add_argument("--observers", default="0,1,5")
    parser.add_argument("--nice", type=int, default=19, help="observers have what voters leave of the CPU")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--base-port", type=int, default=13700)
    parser.add_argument("--json", type=Path, help="append a line per cell to this file")
    options = parser.parse_args()
    if options.voters:
        print("| observers | which | writes/s | leader's CPU, us per write |\n| --: | --- | --: | --: |")
        for count in [int(one) for one in options.observers.split(",")]:
            for publishing in (False, True) if count else (False,):
                print(voters(options, count, publishing), flush=True)
        return
    folder = Path(tempfile.mkdtemp(prefix="zabra-feedload-"))
    try:
        program = build(folder)
        print(HEAD)
        for count in [int(one) for one in options.subscribers.split(",")]:
            for rate in [int(one) for one in options.rates.split(",")]:
                print(measure(options, program, count, rate, options.own), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
