"""One campaign: an ensemble with an observer that publishes, writers, kills, and the judgement."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.interop.members import APACHE_39, ZABRA, Mixed, monitor, zxid_of
from tests.interop.processes import ServerProcess, free_ports, poll
from tests.plugins.campaign.committed import Committed, committed_log
from tests.plugins.campaign.targets import (
    ALL,
    ENSEMBLE_PORTS,
    CampaignTarget,
    make_target,
    python_path,
)
from tests.plugins.campaign.writers import TOP, PipelinedWriter

from zabra.client.aio import AsyncClient

OBSERVER = 4
SERVING_S = 120
CAUGHT_UP_S = 1800
# Looks at whether publishers are open before something is killed, and how often it is looked at all.
PATIENCE = 120
MOSTLY = 0.7
LEDGER = Path(__file__).with_name("ledger.jsonl")
# What may be killed.  Of the publishers, the feed's door is one: a process of its own.
OBSERVER_KILL, PUBLISHER, TARGET, LEADER = "observer", "publisher", "target", "leader"


def children(pid: int) -> list[int]:
    """Processes that ``pid`` has started (each thread has those that it started)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(one) for one in (task / "children").read_text().split()]
    return found


class Killer:
    """Kills one after the other, in an order that is random, and starts it again.

    Each round kills everything that can be killed once.
    """

    def __init__(
        self,
        ensemble: Mixed,
        targets: dict[str, CampaignTarget],
        rng: random.Random,
        are_open: Callable[[], bool],
    ) -> None:
        self._are_open = are_open
        self._ensemble = ensemble
        self._targets = targets
        self._rng = rng
        self.kills: Counter[str] = Counter()
        self.rounds = 0
        self._what = [OBSERVER_KILL, PUBLISHER, LEADER]
        if "door" in targets:
            self._what.append("door")
        self._what += [f"{TARGET} {name}" for name, target in targets.items() if target.can_be_killed]

    @property
    def progress(self) -> float:
        """How much of the first round has begun, up to 1."""
        return min(1.0, (self.kills.total() + 1) / len(self._what))

    async def run(self, until: Callable[[], bool], every_s: float) -> None:
        """Until there is nothing left to disturb."""
        while not until():
            self._rng.shuffle(self._what)
            for one in self._what:
                await asyncio.sleep(self._rng.uniform(0.3, 1.7) * every_s)
                # Mostly when all of them publish again: where nobody ever gets on, little can go wrong.
                for _ in range(PATIENCE if self._rng.random() < MOSTLY else 0):
                    if until() or await asyncio.to_thread(self._are_open):
                        break
                    await asyncio.sleep(0.5)
                if until():
                    return
                await asyncio.to_thread(self.kill, one)
                self.kills[one] += 1
            self.rounds += 1

    def kill(self, what: str) -> None:
        """SIGKILL, and a new start; for publishers, the end of all of them wherever they are."""
        ensemble = self._ensemble
        observer = ensemble.members[OBSERVER]
        if what == PUBLISHER:
            observer.signal(signal.SIGUSR1)
        elif what == "door":
            for pid in children(observer.pid):
                os.kill(pid, signal.SIGKILL)
        elif what.startswith(TARGET):
            target = self._targets[what.split()[1]]
            target.kill()
            target.start()
        else:
            victim = observer if what == OBSERVER_KILL else ensemble.members[ensemble.wait_leader()]
            victim.kill()
            victim.launch()
            victim.wait_serving(SERVING_S)


class Campaign:
    """Everything of one; the targets run."""

    def __init__(
        self,
        folder: Path,
        targets: dict[str, CampaignTarget],
        *,
        apache: bool = False,
        seed: int = 1,
        writers: int = 6,
        every_s: float = 5.0,
        rounds: int = 1,
    ) -> None:
        self._rng = random.Random(seed)
        self._targets = targets
        self._writers = writers
        self._every_s = every_s
        self._rounds = rounds
        self.apache = apache
        self.ensemble = make_ensemble(folder / "ensemble", apache, list(targets.values()))
        self.killer = Killer(self.ensemble, targets, self._rng, self._are_open)

    @property
    def observer(self) -> ServerProcess:
        """Publishes."""
        return self.ensemble.members[OBSERVER]

    def run(self, txns: int) -> list[dict[str, Any]]:
        """Figures, a row for each target.  Raises AssertionError with what was wrong."""
        began = time.monotonic()
        with self.ensemble:
            asyncio.run(self._write_and_kill(txns))
            wrote = time.monotonic()
            for sid in self.ensemble.voters():
                self.ensemble.members[sid].wait_serving(SERVING_S)
            log = self._final_log()
            minutes = round((time.monotonic() - began) / 60, 1)
            rows = []
            for name, target in self._targets.items():
                print(f"judging {name}", file=sys.stderr, flush=True)
                rows.append({"publisher": name, **target.judge(log, self.ensemble)})
        kills = self.killer.kills
        for row in rows:
            name = row["publisher"]
            of_publisher = kills["door" if name == "door" else PUBLISHER]
            row["kills"] = {
                OBSERVER_KILL: kills[OBSERVER_KILL],
                PUBLISHER: of_publisher,
                TARGET: kills[f"{TARGET} {name}"],
                LEADER: kills[LEADER],
            }
            row |= {"voters": "Apache ZooKeeper 3.9" if self.apache else "Zabra", "txns": len(log.raws)}
            row |= {"minutes": minutes, "writing": round((wrote - began) / 60, 1)}
        return rows

    async def _write_and_kill(self, txns: int) -> None:
        """Until so many txns were answered, all is published, and everything was killed often enough."""
        addresses = ",".join(self.ensemble.members[sid].address for sid in self.ensemble.voters())
        async with AsyncClient(addresses, 20_000) as client:
            await client.create(TOP)
        crowd = [
            PipelinedWriter(
                addresses, random.Random(self._rng.random()), number, lambda: written() >= allowed()
            )
            for number in range(self._writers)
        ]
        is_over = False

        def written() -> int:
            return sum(one.answered for one in crowd)

        def allowed() -> float:
            # So that there is something to write at each kill of the first round.
            return txns * self.killer.progress if self.killer.rounds < 1 else txns

        def is_written() -> bool:
            return self.killer.rounds >= self._rounds and written() >= txns

        killing = asyncio.ensure_future(self.killer.run(lambda: is_over, self._every_s))
        telling = asyncio.ensure_future(self._tell(crowd))
        await asyncio.gather(*[one.run(is_written) for one in crowd])
        # Their last sessions end; the end of the log is a write that everybody waits for.
        async with AsyncClient(addresses, 20_000) as client:
            _, stat = await client.create2(f"{TOP}/end")
        # Whoever is behind is disturbed until it is not.
        await asyncio.to_thread(self._wait_published, int(stat.czxid))
        is_over = True
        telling.cancel()
        await killing

    async def _tell(self, crowd: Sequence[PipelinedWriter]) -> None:
        while True:
            await asyncio.sleep(10)
            cursors = await asyncio.to_thread(self._cursors)
            text = " ".join(f"{name}:{cursor & 0xFFFFFFFF}" for name, cursor in cursors.items())
            print(f"{sum(one.answered for one in crowd)} {text}", file=sys.stderr, flush=True)

    def _cursors(self) -> dict[str, int]:
        values = monitor(self.observer)
        names = [target.name for target in self._targets.values() if target.name]
        return {name: int(values.get(f"{name}_publisher_cursor", -1)) for name in names}

    def _are_open(self) -> bool:
        return all(cursor >= 0 for cursor in self._cursors().values())

    def _wait_published(self, zxid: int) -> None:
        poll(f"0x{zxid:x} is published", CAUGHT_UP_S, lambda: self._is_published(zxid) or None)

    def _is_published(self, zxid: int) -> bool:
        if any(cursor < zxid for cursor in self._cursors().values()):
            return False
        return all(target.has(zxid) for target in self._targets.values() if not target.name)

    def _final_log(self) -> Committed:
        """The log when nothing more comes: sessions that were given up end late."""
        poll("all sessions have ended", SERVING_S, lambda: self._sessions() == 0 or None)
        log = Committed(committed_log(self.ensemble))
        now = zxid_of(self.ensemble.members[self.ensemble.wait_leader()])
        # A leader that has led nothing yet is at the beginning of its epoch.
        assert now is not None and (now == log.last or now & 0xFFFFFFFF == 0), (now, log.last)
        self._wait_published(log.last)
        # Whoever looks at the ensemble from now on makes txns that are not in that log.
        self.observer.stop()
        return log

    def _sessions(self) -> int:
        leader = self.ensemble.leader()
        if leader is None:
            return -1
        return int(monitor(self.ensemble.members[leader]).get("global_sessions", -1))


def make_ensemble(folder: Path, apache: bool, targets: Sequence[CampaignTarget]) -> Mixed:
    """Three voters and the observer that publishes."""
    ensemble = Mixed(
        [APACHE_39 if apache else ZABRA] * 3 + [ZABRA],
        folder,
        observers=1,
        # An observer that comes back gets what it has missed, not a snapshot that hides it.
        cfg={"forceSync": "no", "4lw.commands.whitelist": "*", "commitLogCount": "100000"},
        ports=free_ports(4 * 4, *ENSEMBLE_PORTS),
        environments={OBSERVER: {"PYTHONPATH": python_path()}},
    )
    observer = ensemble.members[OBSERVER]
    observer._argv = [sys.executable, "-m", "tests.plugins.campaign.server", str(observer.config_path)]
    for target in targets:
        observer.cfg |= target.options()
    return ensemble


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--publisher", default="all", help=f"some of {', '.join(ALL)}, or all")
    parser.add_argument("--txns", type=int, default=1_000_000)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two kills, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--apache", action="store_true", help="Apache ZooKeeper's voters")
    parser.add_argument("--apache-target", action="store_true", help="the mirror's target is Apache's")
    parser.add_argument("--folder", help="keeps everything there; default: a temporary folder")
    parser.add_argument("--ledger", action="store_true", help=f"adds the figures to {LEDGER.name}")
    parser.add_argument("--table", action="store_true", help="only prints the ledger, for the documentation")
    return parser.parse_args(words)


def table(lines: Sequence[str]) -> str:
    """The ledger as a table: the runs of each publisher, with the same voters, added up."""
    out = [
        "| publisher | voters | runs | txns | observer, publisher, target, leader killed | duplicates "
        "| minutes |",
        "| --- | --- | --: | --: | --- | --: | --: |",
    ]
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        row = json.loads(line)
        rows.setdefault((row["voters"], row["publisher"]), []).append(row)
    for (voters, publisher), runs in sorted(rows.items(), reverse=True):
        killed = [
            sum(one["kills"][kind] for one in runs) for kind in (OBSERVER_KILL, PUBLISHER, TARGET, LEADER)
        ]
        txns, duplicates = (sum(one[key] for one in runs) for key in ("txns", "duplicates"))
        minutes = sum(one["minutes"] for one in runs)
        out.append(
            f"| `{publisher}` | {voters} | {len(runs)} | {txns:,} | {', '.join(map(str, killed))} "
            f"| {duplicates:,} | {minutes:.0f} |"
        )
    return "\n".join(out)


def main() -> int:
    """Prints the figures, a line of JSON for each target."""
    arguments = parse()
    if arguments.table:
        print(table(LEDGER.read_text().splitlines()))
        return 0
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="zabra-campaign-"))
    names = ALL if arguments.publisher == "all" else arguments.publisher.split(",")
    targets: dict[str, CampaignTarget] = {}
    try:
        for name in names:
            # At once: the next one must not be given the same port.
            targets[name] = make_target(name, folder / name, arguments.apache_target)
            targets[name].start()
        run = Campaign(
            folder,
            targets,
            apache=arguments.apache,
            seed=arguments.seed,
            writers=arguments.writers,
            every_s=arguments.every,
        )
        rows = run.run(arguments.txns)
    finally:
        for target in targets.values():
            target.close()
    for row in rows:
        row |= {"day": datetime.now(UTC).date().isoformat(), "seed": arguments.seed}
        row |= {"python": platform.python_version(), "apache target": arguments.apache_target}
        print(json.dumps(row), flush=True)
        if arguments.ledger:
            with LEDGER.open("a") as file:
                file.write(json.dumps(row) + "\n")
    if arguments.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0
