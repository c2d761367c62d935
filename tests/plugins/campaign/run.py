"""One campaign: an ensemble with an observer that publishes, writers, kills, and the judgement."""

from __future__ import annotations

import argparse
import asyncio
import itertools
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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.systems import compiled_folder
from tests.interop.members import APACHE_39, ZABRA, Mixed, monitor, zxid_of
from tests.interop.members import ROOT as REPOSITORY
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
from tests.plugins.targets.target import children

from zabra.client.aio import AsyncClient

OBSERVER = 4
SERVING_S = 120
CAUGHT_UP_S = 1800
# Looks at whether publishers are open before something is killed, how often it is looked at all, and how long
# there is between two looks.
PATIENCE = 60
MOSTLY = 0.7
LOOK_S = 0.5
# Writers wait where the slowest publisher is further behind than that.
MAX_LAG = 30_000
THREADS = 32
ZABRA_VOTERS, APACHE_VOTERS = "Zabra", "Apache ZooKeeper 3.9"
LEDGER = Path(__file__).with_name("ledger.jsonl")
PAGE = REPOSITORY / "docs" / "publishers.md"
# What may be killed.  Of the publishers, the feed's door is one: a process of its own.
OBSERVER_KILL, PUBLISHER, DOOR, TARGET, LEADER = "observer", "publisher", "door", "target", "leader"


class Killer:
    """Kills one after the other, in an order that is random, and starts it again.

    Each round kills everything that can be killed once.  What was killed comes back in its own time, while
    the next one is killed already.
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
            self._what.append(DOOR)
        self._what += [f"{TARGET} {name}" for name, target in targets.items() if target.can_be_killed]
        self._returning: dict[str, asyncio.Task[None]] = {}

    async def run(self, until: Callable[[], bool], every_s: float) -> None:
        """Until there is nothing left to disturb."""
        try:
            while not until():
                self._rng.shuffle(self._what)
                for one in self._what:
                    await asyncio.sleep(self._rng.uniform(0.3, 1.7) * every_s)
                    # Mostly when all of them publish again: where nobody ever gets on, little can go wrong.
                    for _ in range(PATIENCE if self._rng.random() < MOSTLY else 0):
                        if until() or await asyncio.to_thread(self._are_open):
                            break
                        await asyncio.sleep(LOOK_S)
                    if until():
                        return
                    await self._kill(one)
                self.rounds += 1
        finally:
            await asyncio.gather(*self._returning.values())

    async def _kill(self, what: str) -> None:
        """SIGKILL; for publishers, the end of all of them wherever they are."""
        # (A process that has just begun does not know the signal yet, nor has it a door.)
        for one in (what, OBSERVER_KILL) if what in (PUBLISHER, DOOR) else (what,):
            returning = self._returning.pop(one, None)
            if returning is not None:
                await returning
        ensemble = self._ensemble
        observer = ensemble.members[OBSERVER]
        if what == PUBLISHER:
            observer.signal(signal.SIGUSR1)
        elif what == DOOR:
            for pid in children(observer.pid):
                os.kill(pid, signal.SIGKILL)
        elif what.startswith(TARGET):
            target = self._targets[what.split()[1]]
            await asyncio.to_thread(target.kill)
            self._returning[what] = asyncio.create_task(asyncio.to_thread(target.start))
        else:
            victim = observer
            if what == LEADER:
                victim = ensemble.members[await asyncio.to_thread(ensemble.wait_leader)]
            await asyncio.to_thread(victim.kill)
            self._returning[what] = asyncio.create_task(asyncio.to_thread(victim.start, SERVING_S))
        self.kills[what] += 1


class Campaign:
    """Everything of one; the targets run.

    Args:
        rate: txns a second, about, that are written.
        every_s: seconds between two kills, about.
        rounds: how often everything is killed at least.
    """

    def __init__(
        self,
        folder: Path,
        targets: dict[str, CampaignTarget],
        *,
        apache: bool = False,
        seed: int = 1,
        writers: int = 6,
        rate: int = 1000,
        every_s: float = 2.0,
        rounds: int = 1,
    ) -> None:
        self._rng = random.Random(seed)
        self._folder = folder
        self._targets = targets
        self._writers = writers
        self._rate = rate
        self._every_s = every_s
        self._rounds = rounds
        self._lag = 0
        self.apache = apache
        self.ensemble = make_ensemble(folder / "ensemble", apache, list(targets.values()))
        self.killer = Killer(self.ensemble, targets, self._rng, self._are_open)

    @property
    def observer(self) -> ServerProcess:
        """Publishes."""
        return self.ensemble.members[OBSERVER]

    def run(self, txns: int) -> list[dict[str, Any]]:
        """Figures, a row for each target; ``wrong`` is what its target does not hold as it should."""
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
                say(f"judging {name}")
                rows.append({"publisher": name, **target.judge(log, self.ensemble)})
        kills = self.killer.kills
        for row in rows:
            name = row["publisher"]
            of_publisher = kills[DOOR if name == DOOR else PUBLISHER]
            row["kills"] = {
                OBSERVER_KILL: kills[OBSERVER_KILL],
                PUBLISHER: of_publisher,
                TARGET: kills[f"{TARGET} {name}"],
                LEADER: kills[LEADER],
            }
            row |= {"all kills": kills.total()}
            row |= {"voters": APACHE_VOTERS if self.apache else ZABRA_VOTERS, "txns": len(log.zxids)}
            row |= {"minutes": minutes, "writing": round((wrote - began) / 60, 1)}
        return rows

    async def _write_and_kill(self, txns: int) -> None:
        """Until so many txns were answered, all is published, and everything was killed often enough."""
        # A thread for each process that is waited for.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
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
        began = time.monotonic()

        def written() -> int:
            return sum(one.answered for one in crowd)

        def allowed() -> float:
            return 0 if self._lag > MAX_LAG else self._rate * (time.monotonic() - began)

        def is_written() -> bool:
            return self.killer.rounds >= self._rounds and written() >= txns

        killing = asyncio.create_task(self.killer.run(lambda: is_over, self._every_s))
        telling = asyncio.create_task(self._tell(written))
        await until_any_fails(asyncio.gather(*[one.run(is_written) for one in crowd]), killing, telling)
        # Their last sessions end; the end of the log is a write that everybody waits for.
        async with AsyncClient(addresses, 20_000) as client:
            _, stat = await client.create2(f"{TOP}/end")
        # Whoever is behind is disturbed until it is not.
        published = until_published(self.observer, self._targets, int(stat.czxid))
        await until_any_fails(published, killing, telling)
        is_over = True
        telling.cancel()
        await killing

    async def _tell(self, written: Callable[[], int]) -> None:
        """Says where everybody is, and notes how far the slowest publisher is behind."""
        looked = 0
        while True:
            await asyncio.sleep(1)
            looked += 1
            last, cursors = await asyncio.to_thread(self._progress)
            behind = {name: distance(cursor, last) for name, cursor in cursors.items() if cursor >= 0}
            self._lag = max(behind.values(), default=0)
            if looked % 10 == 0:
                text = " ".join(f"{name}:{lag}" for name, lag in behind.items())
                say(f"{written()} written, {self.killer.kills.total()} kills; behind {text}")

    def _progress(self) -> tuple[int, dict[str, int]]:
        """The observer's last zxid, and the cursors."""
        return zxid_of(self.observer) or 0, self._cursors()

    def _cursors(self) -> dict[str, int]:
        return cursors_of(self.observer, self._targets)

    def _are_open(self) -> bool:
        return all(cursor >= 0 for cursor in self._cursors().values())

    def _final_log(self) -> Committed:
        """The log when nothing more comes: sessions that were given up end late."""
        poll("all sessions have ended", SERVING_S, lambda: self._sessions() == 0 or None)
        log = Committed(committed_log(self.ensemble), self._folder / "log")
        now = zxid_of(self.ensemble.members[self.ensemble.wait_leader()])
        # A leader that has led nothing yet is at the beginning of its epoch.
        assert now is not None and (now == log.last or now & 0xFFFFFFFF == 0), (now, log.last)
        asyncio.run(until_published(self.observer, self._targets, log.last))
        # Whoever looks at the ensemble from now on makes txns that are not in that log.
        self.observer.stop()
        return log

    def _sessions(self) -> int:
        leader = self.ensemble.leader()
        if leader is None:
            return -1
        return int(monitor(self.ensemble.members[leader]).get("global_sessions", -1))


def cursors_of(server: ServerProcess, targets: Mapping[str, CampaignTarget]) -> dict[str, int]:
    """Where each publisher is; -1 where that is not known."""
    values = monitor(server)
    names = [target.name for target in targets.values() if target.name]
    return {name: int(values.get(f"{name}_publisher_cursor", -1)) for name in names}


async def until_published(server: ServerProcess, targets: Mapping[str, CampaignTarget], zxid: int) -> None:
    """All targets have ``zxid``."""

    def is_published() -> bool:
        if any(cursor < zxid for cursor in cursors_of(server, targets).values()):
            return False
        return all(target.has(zxid) for target in targets.values() if not target.name)

    async with asyncio.timeout(CAUGHT_UP_S):
        while not await asyncio.to_thread(is_published):  # noqa: ASYNC110  others make it so
            await asyncio.sleep(LOOK_S)


def say(text: str) -> None:
    """For whoever waits."""
    print(text, file=sys.stderr, flush=True)


def distance(cursor: int, last: int) -> int:
    """Txns between two zxids, of the last one's epoch where they are of two."""
    same = cursor >> 32 == last >> 32
    return max(0, last - cursor) if same else last & 0xFFFFFFFF


async def until_any_fails(work: Awaitable[Any], *beside: asyncio.Task[Any]) -> None:
    """Awaits ``work``; raises at once what one of those beside it raises meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task, *beside], return_when=asyncio.FIRST_COMPLETED)
        for one in beside:
            if one.done():
                one.result()
                raise RuntimeError("the killer has ended early")
        await task
    finally:
        task.cancel()


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
    add = parser.add_argument
    add("--publisher", default="all", help=f"some of {', '.join(ALL)}, or all")
    add("--txns", type=int, default=100_000, help="of a chunk, which is an ensemble of its own")
    add("--upto", type=int, default=0, help="chunks until the ledger has so many txns with these voters")
    add("--rounds", type=int, default=4, help="how often everything is killed in a chunk at least")
    add("--rate", type=int, default=1000, help="txns a second that are written, about")
    add("--every", type=float, default=2.0, help="seconds between two kills, about")
    add("--batch", type=int, default=0, help="batchTxns of all publishers, in place of the default")
    add("--writers", type=int, default=6)
    add("--seed", type=int, default=1, help="of the first chunk that the ledger has not")
    add("--apache", action="store_true", help="Apache ZooKeeper's voters")
    add("--apache-target", action="store_true", help="the mirror's target is Apache's")
    add("--compiled", action="store_true", help="run the compiled build")
    add("--folder", help="keeps everything there; default: a temporary folder, kept where something is wrong")
    add("--ledger", action="store_true", help=f"adds the figures to {LEDGER.name}; --upto does")
    add("--table", action="store_true", help="only prints the ledger, and puts it into docs/publishers.md")
    return parser.parse_args(words)


def table(lines: Sequence[str]) -> str:
    """The ledger as a table: the chunks of each publisher, with the same voters, added up."""
    out = [
        "| publisher | voters | chunks | txns | killed: observer | publisher | target | leader | doubles "
        "| wrong | minutes |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
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
        wrong = sum(one.get("violations", 0) for one in runs)
        minutes = sum(one["minutes"] for one in runs)
        out.append(
            f"| `{publisher}` | {voters} | {len(runs)} | {txns:,} | {' | '.join(map(str, killed))} "
            f"| {duplicates:,} | {wrong} | {minutes:.0f} |"
        )
    return "\n".join(out)


def write_table() -> str:
    """The documentation has the ledger's table, between two marks."""
    text = table(LEDGER.read_text().splitlines())
    page = PAGE.read_text()
    begin, end = (f"<!-- campaign {word} -->\n" for word in ("begin", "end"))
    before, _, rest = page.partition(begin)
    PAGE.write_text(f"{before}{begin}{text}\n{end}{rest.partition(end)[2]}")
    return text


def txns_in(lines: Sequence[str], voters: str, names: Sequence[str]) -> int:
    """How many txns the ledger has with these voters, of the publisher that has had the fewest."""
    found = dict.fromkeys(names, 0)
    for line in lines:
        row = json.loads(line)
        if row["voters"] == voters and row["publisher"] in found and not row.get("violations"):
            found[row["publisher"]] += row["txns"]
    return min(found.values())


def run_chunk(arguments: argparse.Namespace, names: Sequence[str], seed: int) -> bool:
    """One ensemble, and its judgement, a line of JSON for each target; whether nothing was wrong."""
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="zabra-campaign-"))
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
            seed=seed,
            writers=arguments.writers,
            rate=arguments.rate,
            every_s=arguments.every,
            rounds=arguments.rounds,
        )
        if arguments.batch:
            for name in names:
                if targets[name].name:
                    run.observer.cfg[f"publisher.{name}.batchTxns"] = arguments.batch
        rows = run.run(arguments.txns)
    finally:
        for target in targets.values():
            target.close()
    is_right = True
    for row in rows:
        wrong = row.pop("wrong", [])
        row |= {"day": datetime.now(UTC).date().isoformat(), "seed": seed}
        row |= {"python": platform.python_version(), "compiled": arguments.compiled}
        row |= {"apache target": arguments.apache_target}
        print(json.dumps(row), flush=True)
        if arguments.ledger or arguments.upto:
            with LEDGER.open("a") as file:
                file.write(json.dumps(row) + "\n")
        for text in wrong:
            is_right = False
            print(f"WRONG at {row['publisher']}: {text}", flush=True)
    if arguments.ledger or arguments.upto:
        write_table()
    if not is_right:
        print(f"seed {seed}; all of it is in {folder}", flush=True)
    elif arguments.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return is_right


def main() -> int:
    """Chunks, until one is wrong; then it returns 1."""
    arguments = parse()
    if arguments.table:
        print(write_table())
        return 0
    if arguments.compiled:
        os.environ["PYTHONPATH"] = compiled_folder()
    names = ALL if arguments.publisher == "all" else tuple(arguments.publisher.split(","))
    voters = APACHE_VOTERS if arguments.apache else ZABRA_VOTERS
    for seed in itertools.count(arguments.seed):
        if arguments.upto:
            there = txns_in(LEDGER.read_text().splitlines(), voters, names)
            if there >= arguments.upto:
                break
            say(f"{there} of {arguments.upto} txns; seed {seed}")
        if not run_chunk(arguments, names, seed):
            return 1
        if not arguments.upto:
            break
    return 0
