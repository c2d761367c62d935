"""What the feed's HTTP door gives its subscribers, what it costs, and what publishing costs those who vote.

``python -m bench.feed [--part everything|own|voters] [--compiled]``: all three parts are

* ``everything``: a server with a door for every cell; N subscribers (``feedload.c``) of the whole tree;
  writes at a rate, or as fast as they are answered, through ``zabra bench``.  A row says what was delivered,
  the delay from sending a write to each sampled subscriber (beside that of the write's own reply), memory for
  each subscriber when it has begun and when the load has ended, CPU of server and door.
* ``own``: each subscriber has a node of its own, and writes go to all nodes in turn.
* ``voters``: writes through three voters beside so many observers, which publish (a door with a subscriber of
  everything, and jsonl) or do not.  Voters and their writers have the first core, observers and all that is
  theirs the others, at ``--nice`` (they would be on machines of their own), and that each has published
  everything is waited for and checked.  In rounds.  ``--shape leader``: all observers learn from the leader;
  ``tree``: the first does, the others from the first.

On one machine everybody shares its cores, subscribers too.
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
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.observers import cpu
from bench.systems import compiled_folder
from tests.interop.members import ZABRA, Mixed, make_member
from tests.interop.processes import ConfigValue, ServerProcess, poll

from zabra.client.aio import AsyncClient

HERE = Path(__file__).resolve().parent
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
READY_S = 120
ROOT = "/feed"
PROBE = "/probe"
PROBES_PER_S = 50
# Subscribers, writes/s (0: as fast as they are answered).
CELLS = {
    "everything": ((1, 1000), (1, 0), (100, 200), (100, 0), (10_000, 5), (10_000, 30)),
    "own": ((100, 1000), (10_000, 1000), (10_000, 0)),
}
HEAD = (
    "| subscribers | each has | writes/s | delivered, changes/s | per subscriber | MB/s "
    "| delay p50 / p99, ms | write's reply p50, ms | KB a subscriber, idle / after | server CPU "
    "| door CPU |\n"
    "| --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |"
)
VOTERS_HEAD = (
    "| observers | which | writes/s, median (least to most) | leader's CPU, us per write "
    "| published by each, txns |\n| --: | --- | --: | --: | --: |"
)
PUBLISHED_S = 300
SILENT_TICKS = 150
READ_BYTES = 1 << 20
# Once in each line.
SET_DATA = b'"op":"setData","changes"'


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


def place(pid: int, cores: set[int]) -> None:
    """Has a process, with every thread that it has by now, run there only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def rss_kb(pid: int) -> int:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB


def wait_door(port: int) -> None:
    """Until it gives the feed."""

    def is_ready() -> bool | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
                return True if answer.status == 200 else None
        except OSError:
            return None

    poll("the door is ready", READY_S, is_ready)


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

    def wait_for(self, events: int, within_s: float) -> int:
        """Until so many were delivered; returns how many were."""
        deadline = time.monotonic() + within_s
        there = 0
        while there < events and time.monotonic() < deadline:
            words = self.lines.readline().split()
            if words[:1] == ["events"]:
                there = int(words[1])
        return there

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
        wait_door(port + 1)
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
            after_kb = (rss_kb(door) - before_kb) / count
            found = subscribers.result()
            delays = probing.result() if probing is not None else found
            rate_of = found["events"] / found["seconds"] if found["seconds"] else 0.0
            row = {"own": own, "rate": rate, "writes": writes, "wanted": wanted, **found}
            row |= {
                "delays": delays,
                "kb": each_kb,
                "after_kb": after_kb,
                "reply_p50_ms": replies[len(replies) // 2],
            }
            row |= {"server_cpu": server_cpu, "door_cpu": door_cpu}
            write_json(options, row)
            missing = wanted - found["events"]
            lost = f" ({missing} late)" if missing > 0 else ""
            megabytes = found["bytes"] / found["seconds"] / 1e6
            return (
                f"| {count} | {'a node' if own else 'everything'} | {writes / options.seconds:.0f} "
                f"| {rate_of:,.0f}{lost} | {rate_of / count:,.1f} | {megabytes:.0f} "
                f"| {delays['p50_us'] / 1000:.2f} / {delays['p99_us'] / 1000:.2f} "
                f"| {replies[len(replies) // 2]:.2f} | {each_kb:.1f} / {after_kb:.1f} "
                f"| {server_cpu:.0%} | {door_cpu:.0%} |"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class VotersRun:
    """Three voters and ``count`` observers, which publish or do not, once."""

    def __init__(self, options: argparse.Namespace, program: Path, count: int, publishing: bool) -> None:
        self._options = options
        self._program = program
        self._count = count
        self._publishing = publishing
        self._folder = Path(tempfile.mkdtemp(prefix="zabra-feed-"))
        base = options.base_port
        self._door_port = base + 100
        # Observers at their niceness may be silent for as long as voters have all of the machine.
        cfg: dict[str, ConfigValue] = {"snapCount": 10_000_000, "tickTime": 2000, "maxClientCnxns": 0}
        cfg |= {"initLimit": SILENT_TICKS, "syncLimit": SILENT_TICKS}
        self._ensemble = Mixed([ZABRA] * (3 + count), self._folder, cfg=cfg, observers=count,
                               ports=range(base, base + 4 * (3 + count)))  # fmt: skip
        if options.shape == "tree" and count:
            first_master = base + 200
            self._ensemble.members[4].cfg["observerMasterPort"] = first_master
            for number in range(1, count):
                masters = f"127.0.0.1:{first_master}"
                self._ensemble.members[4 + number].cfg["zabra.observerMasters"] = masters
        for number in range(count if publishing else 0):
            self._ensemble.members[4 + number].cfg |= {
                "feed.port": self._door_port + number,
                "feed.address": "127.0.0.1",
                "publisher.log.class": "jsonl",
                "publisher.log.file": str(self._file(number)),
                "publisher.log.fsync": "false",
            }

    def _file(self, number: int) -> Path:
        return self._folder / f"out-{number}.jsonl"

    def run(self) -> dict[str, Any]:
        """What came out."""
        try:
            self._ensemble.start()
            return self._measure()
        finally:
            self._ensemble.kill()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _measure(self) -> dict[str, Any]:
        leader = self._ensemble.members[self._ensemble.wait_leader()]
        first, *others = sorted(os.sched_getaffinity(0))
        members = list(self._ensemble.members.values())
        for member in members[:3]:
            place(member.pid, {first})
        subscribers = []
        for number, member in enumerate(members[3:]):
            if self._publishing:
                port = self._door_port + number
                wait_door(port)
                subscribers.append(Subscribers(self._program, port, 1, "/feed?op=setData", 1))
                self._aside(subscribers[-1].process.pid, others)
            for pid in (member.pid, *children(member.pid)):
                self._aside(pid, others)
        leader_cpu = cpu(leader.pid)
        writers = load(leader, 0, self._options.seconds, 1000)
        place(writers.pid, {first})
        out, _ = writers.communicate()
        writes = int(json.loads(out)["ops"])
        used = cpu(leader.pid) - leader_cpu
        published = [self._published(one, number, writes) for number, one in enumerate(subscribers)]
        return {
            "observers": self._count,
            "publishing": self._publishing,
            "rate": writes / self._options.seconds,
            "us": used / writes * 1e6,
            "published": published,
        }

    def _aside(self, pid: int, cores: list[int]) -> None:
        os.setpriority(os.PRIO_PROCESS, pid, self._options.nice)
        if cores:
            place(pid, set(cores))

    def _published(self, subscribers: Subscribers, number: int, writes: int) -> int:
        """How many writes its subscriber and its file have; all of them, or this is no measurement."""
        delivered = subscribers.wait_for(writes, PUBLISHED_S)
        subscribers.result()

        if delivered < writes:
            member = self._ensemble.members[4 + number]
            raise RuntimeError(
                f"{delivered} of {writes} writes were delivered by {member.name}:\n{member.log_tail()}"
            )
        there, rest = 0, b""
        with self._file(number).open("rb") as file:

            def is_in_file() -> bool | None:
                nonlocal there, rest
                while data := file.read(READ_BYTES):
                    data = rest + data
                    there += data.count(SET_DATA)
                    rest = data[1 - len(SET_DATA) :]
                return True if there >= writes else None

            poll("all is in the file", PUBLISHED_S, is_in_file)
        return delivered


def voters(options: argparse.Namespace, program: Path) -> None:
    """The table of what publishing observers cost."""
    kinds = [
        (count, publishing)
        for count in [int(one) for one in options.observers.split(",")]
        for publishing in ((False, True) if count else (False,))
    ]
    found: dict[tuple[int, bool], list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for number in range(options.rounds):
        # Each round begins with another one: a machine that slows down is nobody's fault.
        for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
            row = VotersRun(options, program, *kind).run()
            found[kind].append(row)
            write_json(options, {"part": "voters", "shape": options.shape, **row})
    print(VOTERS_HEAD)
    for (count, publishing), rows in found.items():
        rates = [row["rate"] for row in rows]
        us = median([row["us"] for row in rows])
        kind = ("publish" if publishing else "do not publish") if count else ""
        published = min([min(row["published"]) for row in rows]) if publishing else 0
        print(
            f"| {count} | {kind} | {median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) | {us:.0f} "
            f"| {f'{published:,}' if publishing else ''} |",
            flush=True,
        )


def write_json(options: argparse.Namespace, row: dict[str, Any]) -> None:
    """A line more, where that is wanted."""
    if options.json:
        with options.json.open("a") as file:
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=("everything", "own", "voters"), help="only this one")
    parser.add_argument("--subscribers", type=int, help="instead of the cells of a part: this one")
    parser.add_argument(
        "--rate", type=int, default=1000, help="its writes/s; 0: as fast as they are answered"
    )
    parser.add_argument("--observers", default="0,1,5")
    parser.add_argument("--shape", choices=("leader", "tree"), default="leader", help="of the observers")
    parser.add_argument("--rounds", type=int, default=3, help="of the voters' part")
    parser.add_argument("--nice", type=int, default=19, help="observers have what voters leave of the CPU")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--base-port", type=int, default=13700)
    parser.add_argument("--compiled", action="store_true", help="run the compiled build")
    parser.add_argument("--json", type=Path, help="append a line per measurement to this file")
    options = parser.parse_args()
    if options.compiled:
        os.environ["PYTHONPATH"] = compiled_folder()
    folder = Path(tempfile.mkdtemp(prefix="zabra-feedload-"))
    try:
        program = build(folder)
        for part in [options.part] if options.part else ["everything", "own", "voters"]:
            if part == "voters":
                voters(options, program)
                continue
            print(HEAD)
            cells = [(options.subscribers, options.rate)] if options.subscribers else CELLS[part]
            for count, rate in cells:
                print(measure(options, program, count, rate, part == "own"), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
