"""Fifty observers join and leave under write load: what those who vote notice of it.

``python -m bench.crowd`` starts three voters and, while writes go on at a fixed pace through the leader,
has observers join: half get a ``server.N`` line by reconfiguration, half have none; they stand under the
leader, followers and relays in turn.  Then the leader is killed, and then half of the observers leave.
Observers run at a low priority (nice): elsewhere they would have machines of their own.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

from bench.observers import cpu, percentiles
from kazoo.client import KazooClient
from tests.interop.members import ZABRA, Mixed, make_member, monitor
from tests.interop.processes import ConfigValue, ServerProcess, poll

HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
BASE, MASTER_PORT, CLIENTS, RELAYS = 14700, 14720, 14730, 14800
CFG: dict[str, ConfigValue] = {
    "tickTime": 2000, "initLimit": 30, "syncLimit": 15, "snapCount": 1000000, "admin.enableServer": "false",
    "4lw.commands.whitelist": "*", "reconfigEnabled": "true", "skipACL": "yes", "maxClientCnxns": 0,
}  # fmt: skip
SERVING = re.compile(r"^(\S+ \S+) INFO +observer: serving", re.MULTILINE)


class Phase(threading.Thread):
    """Writes at the pace in the background, until told to stop; then there are latencies."""

    def __init__(self, address: str, rate: int, seconds: int) -> None:
        super().__init__()
        command = [sys.executable, "-m", "zabra", "bench", "--connect", address, "--op", "set", "--json"]
        command += ["--connections", "20", "--rate", str(rate), "--warmup", "0.5", "--duration", str(seconds)]
        self.command = command
        self.p50_ms = self.p99_ms = 0.0

    def run(self) -> None:
        """The thread."""
        done = subprocess.run(self.command, capture_output=True, text=True, check=True)
        self.p50_ms, self.p99_ms = percentiles(json.loads(done.stdout)["latency_us"])


class Bench:
    """The ensemble and its crowd."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        cfg = {**CFG, "observerMasterPort": MASTER_PORT}
        self.ensemble = Mixed([ZABRA] * 3, folder, cfg=cfg, ports=range(BASE, BASE + 12), hosts=HOSTS)
        self.observers: list[ServerProcess] = []
        self.lines: dict[int, str] = {}
        self.rows: list[dict[str, object]] = []

    def leader(self) -> ServerProcess:
        """Who leads."""
        return self.ensemble.members[self.ensemble.wait_leader()]

    def phase(self, name: str, seconds: int, work: object = None) -> None:
        """One phase of the writes, with ``work`` done meanwhile."""
        leader = self.leader()
        before, began = cpu(leader.pid), time.monotonic()
        phase = Phase(leader.address, self.options.rate, seconds)
        phase.start()
        if callable(work):
            work()
        took_work = time.monotonic() - began
        phase.join()
        seen = monitor(leader)
        row: dict[str, object] = {
            "phase": name,
            "observers": sum(one.running for one in self.observers),
            "p50_ms": phase.p50_ms,
            "p99_ms": phase.p99_ms,
            "leader_cpu_percent": 100 * (cpu(leader.pid) - before) / (time.monotonic() - began),
            "work_s": took_work,
            "most_diffs_at_once": seen.get("max_inflight_diff_count", "0"),
            "most_snaps_at_once": seen.get("max_inflight_snap_count", "0"),
            "learners": seen.get("learners"),
        }
        self.rows.append(row)
        print(json.dumps(row), flush=True)

    def join(self, first: int, end: int) -> None:
        """Observers come."""
        leader = self.leader()
        others = [sid for sid, one in self.ensemble.members.items() if one is not leader]
        followers = [f"{HOSTS[sid - 1]}:{MASTER_PORT}" for sid in others]
        new = []
        for number in range(first, end):
            cfg: dict[str, ConfigValue] = {**CFG, "clientPort": CLIENTS + number}
            under = [[], followers, [f"127.0.0.1:{RELAYS + 1}", *followers]][number % 3]
            if number > 1 and under:
                cfg["zabra.observerMasters"] = ",".join(under)
            elif number == 1:
                # The relay.
                cfg["zabra.observerMasters"] = ",".join(followers)
                cfg["observerMasterPort"] = RELAYS + 1
            if number % 2:
                cfg["zabra.join"] = leader.address
            else:
                sid = 10 + number
                place = f"127.0.0.1:{RELAYS + 60 + 2 * number}:{RELAYS + 61 + 2 * number}:observer"
                self.lines[number] = f"server.{sid}={place};127.0.0.1:{CLIENTS + number}"
                del cfg["clientPort"]
                key, _, value = self.lines[number].partition("=")
                voters = {name: text for name, text in leader.cfg.items() if name.startswith("server.")}
                cfg |= {**voters, key: value, "myid": sid, "peerType": "observer"}
            folder = self.folder / f"observer-{number}"
            observer = make_member(ZABRA, 0, cfg, folder, prefix=["nice", "-n", "10"])
            self.observers.append(observer)
            observer.launch()
            new.append((number, observer))
        joining = ",".join(self.lines[number] for number, _ in new if number in self.lines)
        self.reconfigure(joining=joining)
        for _, observer in new:
            observer.wait_serving(170)

    def reconfigure(self, joining: str | None = None, leaving: str | None = None) -> None:
        """Through the leader."""
        client = KazooClient(self.leader().address, timeout=20)
        client.start(30)
        client.reconfig(joining=joining, leaving=leaving, new_members=None)
        client.stop()
        client.close()

    def leave(self) -> None:
        """Every other one of each kind."""
        gone = [number for number in range(len(self.observers)) if number % 4 in (2, 3)]
        self.reconfigure(leaving=",".join(str(10 + number) for number in gone if number in self.lines))
        for number in gone:
            self.observers[number].kill()

    def lose_leader(self) -> dict[str, object]:
        """Kills the leader: when is there another, and when does each observer serve again?"""
        leader = self.leader()
        marks = [len(SERVING.findall(one.log_path.read_text())) for one in self.observers]
        killed_at = datetime.now()  # noqa: DTZ005 - as in the logs
        began = time.monotonic()
        leader.kill()
        client = KazooClient(",".join(one.address for one in self.ensemble.members.values() if one.running))
        poll("there is a leader", 30, self.ensemble.leader)
        led_ms = (time.monotonic() - began) * 1000
        times = []
        for mark, one in zip(marks, self.observers, strict=True):
            line = poll(
                "it serves again", 60,
                lambda mark=mark, one=one: (SERVING.findall(one.log_path.read_text())[mark:] or [None])[0],
            )  # fmt: skip
            at = datetime.strptime(line, "%Y-%m-%d %H:%M:%S,%f")  # noqa: DTZ007 - as above
            times.append((at - killed_at).total_seconds() * 1000)
        client.close()
        slowest = max(range(len(times)), key=times.__getitem__)
        print(f"the slowest: observer-{slowest}")
        times.sort()
        row: dict[str, object] = {
            "phase": "leader killed",
            "observers": len(times),
            "led_again_ms": led_ms,
            "first_back_ms": times[0],
            "median_back_ms": times[len(times) // 2],
            "last_back_ms": times[-1],
        }
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        leader.start(60)
        return row

    def session_ids(self) -> None:
        """A session at each: no two servers make ids alike."""
        ids = []
        for one in self.observers:
            if one.running:
                client = KazooClient(one.address, timeout=20)
                client.start(30)
                ids.append(client.client_id[0])
                client.stop()
                client.close()
        assert len({one >> 26 for one in ids}) == len(ids), "session ids overlap"
        print(f"{len(ids)} observers, {len(ids)} ranges of session ids")

    def stop(self) -> None:
        """Everything."""
        for one in self.observers:
            one.kill()
        self.ensemble.kill()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--observers", type=int, default=50)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--join-seconds", type=int, default=50)
    parser.add_argument("--kills", type=int, default=1, help="of leaders, one after another")
    parser.add_argument("--json", type=Path, help="append a line per phase to this file")
    parser.add_argument("--keep", action="store_true", help="leave logs and data where they are")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="zabra-crowd-"))
    bench = Bench(options, folder)
    try:
        bench.ensemble.start()
        bench.phase("nobody observes", 8)
        bench.phase("they join", options.join_seconds, lambda: bench.join(0, options.observers))
        bench.phase("all are there", 8)
        bench.session_ids()
        for _ in range(options.kills):
            bench.lose_leader()
        bench.phase("after the leader's death", 8)
        bench.phase("half of them leave", 8, bench.leave)
    finally:
        bench.stop()
        if options.json:
            with options.json.open("a") as out:
                out.write("".join(json.dumps(row) + "\n" for row in bench.rows))
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
