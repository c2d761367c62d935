"""Thousands of observers in a tree of relays under one leader, simulated, beside all of them on the leader.

    python -m bench.relay_tree --observers 10000 --fan-out 22 --svg docs/relay_tree.svg

Every server is the shipped one, on simulated links, disks and time (``zabra.sim``).  What is modelled is the
machine around it, and it is written here: a packet takes 0.2 to 0.3 ms; a host sends
at 1 Gbit/s and needs 5 us for each write to a connection; a turn of a server takes 30 us and 5 us for each
thing that came in.  So times are the model's, and say how shapes compare; bytes and counts are exact.

The stars are smaller than the tree: what 10 000 observers cost on the leader is drawn as the line through
them, for each observer costs the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from zabra.client import calls
from zabra.proto.txn import TxnEntry
from zabra.server.settings import Settings
from zabra.sim.client import SimClient
from zabra.sim.cluster import OBSERVER_MASTER_PORT, QUORUM_PORT, RELAYS_UNLISTED, Cluster, Shape
from zabra.sim.machine import Machine, Process, host_address
from zabra.sim.network import End, Network
from zabra.sim.prng import Prng

VOTERS = [1, 2, 3]
# Above the hosts of clients.
FIRST_SID = 10_001
BYTES_PER_US = 125.0
WRITE_US = 5
DATA_BYTES = 100
TICK_MS = 2000


class Nic(Network):
    """Links whose hosts send one write after the other."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.free_us: dict[int, float] = {}
        # Bytes between servers, by sending host.
        self.sent: dict[int, int] = {}

    def send_on(self, end: End, data: bytes) -> None:
        """Waits until the host has sent what it was given before."""
        host = end.host
        if end.port in (QUORUM_PORT, OBSERVER_MASTER_PORT):
            self.sent[host] = self.sent.get(host, 0) + len(data)
        now = self.scheduler.now_us
        free = max(now, self.free_us.get(host, 0.0)) + WRITE_US + len(data) / BYTES_PER_US
        self.free_us[host] = free
        end.last_us = max(end.last_us, int(free) + self.base_us)
        super().send_on(end, data)


class Watch:
    """Who has which txn when (``machine.Monitor``)."""

    def __init__(self) -> None:
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.count: dict[int, int] = {}
        self.problems: list[str] = []

    def informed(self, process: Process, entries: list[TxnEntry]) -> None:
        """A server has delivered."""
        now = process.machine.scheduler.now_us
        for entry in entries:
            zxid = entry.header.zxid
            self.first.setdefault(zxid, now)
            self.last[zxid] = now
            self.count[zxid] = self.count.get(zxid, 0) + 1

    def refused(self, machine: Machine, reason: str) -> None:
        """Must not happen."""
        self.problems.append(reason)

    def stopped(self, process: Process, code: int, reason: str) -> None:
        """Must not happen."""
        self.problems.append(reason)

    def failed(self, process: Process, error: BaseException) -> None:
        """Must not happen."""
        self.problems.append(repr(error))

    def started(self, *_: object) -> None:
        """Not asked for."""

    turned = said = voted = submitted = logged = snapshotted = ended = started


class Writer:
    """A client program that does nothing of its own."""

    def connected(self, *_: object) -> None:
        """Nothing to do."""

    answered = fired = over = wake = connected


class Forest:
    """A leader, its followers, and observers below."""

    def __init__(self, observers: int, fan_out: int) -> None:
        """``fan_out`` 0: all on the leader."""
        self.fan_out = fan_out
        self.sids = [FIRST_SID + i for i in range(observers)]
        self.watch = Watch()
        settings = Settings()
        settings.tick_ms = TICK_MS
        settings.init_limit_ticks = 30
        settings.sync_limit_ticks = 5
        settings.max_concurrent_snap_syncs = settings.max_concurrent_diff_syncs = 1000
        shape = Shape(VOTERS, self.sids, relays=RELAYS_UNLISTED)
        self.cluster = Cluster(shape, settings, Prng(1, "tree"), self.watch)
        network = self.cluster.network
        self.network = Nic(network.scheduler, network.prng)
        self.cluster.network = self.network
        self.levels = self._levels()
        for machine in self.cluster.machines.values():
            machine.network = self.network
            if machine.sid not in VOTERS:
                self._place(machine)

    def _levels(self) -> list[list[int]]:
        if self.fan_out == 0:
            return [self.sids]
        levels: list[list[int]] = []
        rest, size = self.sids, self.fan_out
        while rest:
            levels.append(rest[:size])
            rest, size = rest[size:], size * self.fan_out
        return levels

    def _place(self, machine: Machine) -> None:
        """Parent first, then two others of the parent's level: never the leader, but for the first level."""
        settings = machine.plan.settings
        settings.claims_session_ids = False
        # The greatest of the voters leads.
        settings.observer_masters = [(host_address(VOTERS[-1]), QUORUM_PORT)]
        level = next(i for i, sids in enumerate(self.levels) if machine.sid in (sids[0], sids[-1]) or
                     sids[0] < machine.sid < sids[-1])  # fmt: skip
        if level > 0:
            above = self.levels[level - 1]
            place = (machine.sid - self.levels[level][0]) // self.fan_out % len(above)
            masters = [above[(place + i) % len(above)] for i in range(min(3, len(above)))]
            settings.observer_masters = [(host_address(sid), OBSERVER_MASTER_PORT) for sid in masters]

    def until(self, what: str, done: Any, limit_ms: int = 120_000, step_ms: int = 20) -> None:
        """Lets time pass."""
        waited = 0
        while not done():
            if waited > limit_ms:
                raise TimeoutError(what)
            self.cluster.run_ms(step_ms)
            waited += step_ms

    def serves(self, sids: list[int]) -> bool:
        """Whether all of them do."""
        processes = [self.cluster.machines[sid].process for sid in sids]
        return all(process is not None and process.server.role.serves() for process in processes)

    def start(self) -> None:
        """Voters, then level after level."""
        for sids in [VOTERS, *self.levels]:
            for sid in sids:
                self.cluster.machines[sid].start()
            self.until(f"{len(sids)} servers serve", lambda sids=sids: self.serves(sids))
            print(f"  {len(sids)} serve at {self.cluster.scheduler.now_us // 1000} ms", file=sys.stderr)

    def leader(self) -> Process:
        """Who leads."""
        return next(p for p in self.cluster.processes() if p.server.leading is not None)

    def learners_of(self, process: Process) -> int:
        """How many learn from the leader."""
        leading = process.server.leading
        assert leading is not None
        return len(leading.handlers)

    def write(self, client: SimClient, count: int) -> list[int]:
        """So many writes, one after the other; the zxids."""
        zxids: list[int] = []
        for _ in range(count):
            call = calls.create("/w-", bytes(DATA_BYTES), flags=2)
            client.ask(call)
            self.until("a write is acknowledged", lambda call=call: call.done, step_ms=1)
            call.result()
            zxids.append(call.zxid)
        return zxids

    def measure(self, commits: int) -> dict[str, Any]:
        """Writes, and what becomes of them."""
        leader = self.leader()
        client = self.cluster.add_client(Writer(), 40_000, [leader.sid])
        client.start()
        self.until("the client is connected", client.is_connected)
        everybody = len(self.cluster.processes())
        self.write(client, 1)
        self.cluster.run_ms(500)
        before = self.network.sent.get(leader.sid, 0)
        began_us = self.cluster.scheduler.now_us
        zxids = self.write(client, commits)
        self.until("everybody has everything", lambda: self.watch.count[zxids[-1]] >= everybody, step_ms=1)
        took_us = self.cluster.scheduler.now_us - began_us
        busy = self.network.sent[leader.sid] - before
        # What the leader sends when nobody writes: pings.
        before = self.network.sent[leader.sid]
        self.cluster.run_ms(TICK_MS)
        idle = (self.network.sent[leader.sid] - before) * took_us / (TICK_MS * 1000)
        spread = [(self.watch.last[zxid] - self.watch.first[zxid]) / 1000 for zxid in zxids]
        return {
            "observers": len(self.sids),
            "fan_out": self.fan_out,
            "depth": len(self.levels),
            "leaders_learners": self.learners_of(leader),
            "leader_bytes_per_commit": round((busy - idle) / commits),
            "commit_to_last_ms_mean": round(sum(spread) / len(spread), 2),
            "commit_to_last_ms_max": round(max(spread), 2),
        }

    def kill_relays(self, share: float) -> dict[str, Any]:
        """A share of the first level dies; how soon is everybody else served again, and by whom."""
        leader = self.leader()
        learners = self.learners_of(leader)
        first = self.levels[0]
        dead = first[:: max(1, round(1 / share))]
        for sid in dead:
            self.cluster.machines[sid].kill()
        began_us = self.cluster.scheduler.now_us
        alive = [sid for sid in self.sids if sid not in dead]
        client = self.cluster.clients[0]
        zxid = self.write(client, 1)[0]
        due = len(alive) + len(VOTERS)
        self.until("the orphans have new masters", lambda: self.watch_reached(alive, zxid), step_ms=5)
        return {
            "relays_killed": len(dead),
            "servers_left": due,
            "reparented_ms": (self.cluster.scheduler.now_us - began_us) // 1000,
            "leaders_learners_before": learners,
            "leaders_learners_after": self.learners_of(leader),
            "leader_is_the_same": self.leader() is leader,
        }

    def watch_reached(self, sids: list[int], zxid: int) -> bool:
        """Whether they all have a txn, and serve."""
        for sid in sids:
            process = self.cluster.machines[sid].process
            if process is None or not process.server.role.serves():
                return False
            if process.server.tree.last_processed_zxid < zxid:
                return False
        return True


def run(observers: int, fan_out: int, commits: int) -> dict[str, Any]:
    """One shape, measured."""
    began = time.process_time()
    forest = Forest(observers, fan_out)
    forest.start()
    row = forest.measure(commits)
    if fan_out:
        row |= forest.kill_relays(0.1)
    if forest.watch.problems:
        raise AssertionError(forest.watch.problems[0])
    row["cpu_s"] = round(time.process_time() - began)
    row["rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return row


def picture(trees: list[dict[str, Any]], stars: list[dict[str, Any]]) -> str:
    """The leader's bytes per commit, and the time to the last observer; axes by decades."""
    return _svg(
        [
            ("bytes the leader sends per commit", "leader_bytes_per_commit", 100, 10_000_000),
            ("ms from commit to the last observer", "commit_to_last_ms_mean", 0.1, 1000),
        ],
        trees,
        stars,
    )


def _svg(panels: list[tuple[str, str, float, float]], trees: Any, stars: Any) -> str:
    from math import log10

    width, height, left, top = 300, 200, 60, 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * (width + 90)}" height="{height + 80}" '
        'font-family="sans-serif" font-size="11">'
    ]
    for number, (title, field, low, high) in enumerate(panels):
        x0 = left + number * (width + 90)

        def x(observers: float, x0: int = x0) -> float:
            return x0 + width * (log10(observers) - 1) / 3

        def y(value: float, low: float = low, high: float = high) -> float:
            return top + height - height * (log10(value) - log10(low)) / (log10(high) - log10(low))

        out.append(f'<text x="{x0}" y="{top - 12}" font-weight="bold">{title}</text>')
        out.append(
            f'<rect x="{x0}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>'
        )
        for power in range(1, 5):
            at = x(10.0**power)
            out.append(f'<text x="{at:.0f}" y="{top + height + 15}" text-anchor="middle">{10**power}</text>')
        value = low
        while value <= high * 1.01:
            out.append(f'<text x="{x0 - 5}" y="{y(value) + 4:.0f}" text-anchor="end">{value:g}</text>')
            value *= 10
        for rows, colour, name, dy in ((stars, "#c33", "all on the leader", 32), (trees, "#36c", "tree", 47)):
            points = [(x(row["observers"]), y(max(low, row[field]))) for row in rows]
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
            out.append(f'<text x="{x0}" y="{top + height + dy}" fill="{colour}">{name}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main() -> int:
    """Measures, prints JSON lines, draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--observers", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--fan-out", type=int, default=22)
    parser.add_argument("--stars", type=int, nargs="*", default=[10, 100, 300])
    parser.add_argument("--commits", type=int, default=5)
    parser.add_argument("--svg", type=Path)
    given = parser.parse_args()
    stars = [run(count, 0, given.commits) for count in given.stars]
    for row in stars:
        print(json.dumps(row), flush=True)
    trees = []
    for count in given.observers:
        trees.append(run(count, given.fan_out, given.commits))
        print(json.dumps(trees[-1]), flush=True)
    if given.svg:
        given.svg.write_text(picture(trees, stars))
    return 0


if __name__ == "__main__":
    sys.exit(main())
