"""Kill campaigns: a target holds exactly what was committed, whatever was killed while it was.

    python -m tests.plugins.campaign --publisher jsonl --txns 1000000

Three voters (ours, or Apache's with ``--apache``) and an observer of ours that publishes, all as processes;
pipelined writers; and at random moments a SIGKILL for the observer, the target or the leader, or the end of
the publisher wherever it is.  Afterwards everything that the voters have logged is compared with what the
target holds.  Needs no quiet machine: nothing is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from tests.interop.members import APACHE_39, ROOT, ZABRA, Mixed, make_member, zxid_of
from tests.interop.processes import ServerError, ServerProcess, free_ports, poll
from tests.plugins.targets.target import Row, Target

from zabra.client import calls
from zabra.client.aio import AsyncClient
from zabra.plugins.changes import committed_txn
from zabra.plugins.jsontext import txn_object
from zabra.plugins.mirror_check import Side, compare
from zabra.plugins.mirror_plan import CURSOR_FOLDER, Choices, Cursor
from zabra.plugins.mirror_session import connect
from zabra.plugins.publisher import CommittedTxn
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, Id
from zabra.proto.txn import decode_txn
from zabra.runtime.os_disk import OsDisk
from zabra.storage.log_reader import LogFileReader, list_logs
from zabra.storage.names import VERSION_FOLDER

TOP = "/c"
PLACE = "campaign"
FIRST_PORT, END_PORT = 16400, 17400
WINDOW = 60
SESSION_OPS = 4000
NODES = 50
CAUGHT_UP_S = 1800
KINDS = ("observer", "publisher", "target", "leader")
READ_ONLY = [ACL(codes.PERM_READ | codes.PERM_WRITE | codes.PERM_ADMIN, Id("world", "anyone"))]


class CampaignTarget(Protocol):
    """Where it is published to, and how what is there is judged."""

    def options(self) -> dict[str, str]:
        """Of the publisher."""

    def start(self) -> None:
        """Starts it, again after ``kill``."""

    def kill(self) -> None:
        """SIGKILL; nothing where there is no process."""

    def has(self, zxid: int) -> bool:
        """Whether all up to ``zxid`` is there."""

    def wants(self, txn: CommittedTxn) -> bool:
        """Whether there is anything of the txn in what is published."""

    def judge(self, log: list[bytes], ensemble: Mixed) -> dict[str, Any]:
        """Raises AssertionError unless what is there is the log; returns figures."""

    def close(self) -> None:
        """Ends it for good."""


# --- writers ------------------------------------------------------------------------------------------------


class PipelinedWriter:
    """Sessions of many writes, with a window of them under way; ``answered`` counts what became a txn."""

    def __init__(self, addresses: str, rng: random.Random, number: int) -> None:
        self._addresses = addresses
        self._rng = rng
        self._number = number
        self._lives = 0
        self.answered = 0

    async def run(self, until: Callable[[], bool]) -> None:
        while not until():
            with contextlib.suppress(OSError, KeeperError, TimeoutError):
                async with AsyncClient(self._addresses, 10_000) as client:
                    await self._session(client, until)

    async def _session(self, client: AsyncClient, until: Callable[[], bool]) -> None:
        self._lives += 1
        base = f"{TOP}/w{self._number}-{self._lives}"
        there: dict[int, None] = {}
        await client.create(base)
        waiting: deque[tuple[asyncio.Future[None], calls.Call[Any]]] = deque()
        for _ in range(SESSION_OPS):
            if until():
                break
            call = self._next(base, there)
            waiting.append((client.submit(call), call))
            if len(waiting) >= WINDOW:
                await self._take(waiting)
        while waiting:
            await self._take(waiting)

    async def _take(self, waiting: deque[tuple[asyncio.Future[None], calls.Call[Any]]]) -> None:
        future, call = waiting.popleft()
        await future
        self.answered += call.answered

    def _next(self, base: str, there: dict[int, None]) -> calls.Call[Any]:
        rng = self._rng
        what, place = rng.random(), rng.randrange(NODES)
        path = f"{base}/n{place}"
        if place not in there:
            there[place] = None
            return calls.create(path, rng.randbytes(rng.randrange(60)))
        if what < 0.03:
            del there[place]
            return calls.delete(path)
        if what < 0.08:
            parts = [calls.set_data(path, b"m"), calls.set_data(base, b"%d" % place)]
            return calls.multi([calls.check_part(base, -1), *map(calls.part_of, parts)])
        if what < 0.09:
            return calls.create(f"{base}/e-", b"ephemeral", flags=codes.MODE_EPHEMERAL_SEQUENTIAL)
        if what < 0.10:
            return calls.set_acl(path, rng.choice([calls.OPEN_ACL, READ_ONLY]))
        if what < 0.11:
            return calls.set_data(path, b"refused", 1 << 30)
        return calls.set_data(path, rng.randbytes(rng.randrange(60)))


# --- what was committed -------------------------------------------------------------------------------------


def entries_of(data: Path) -> Iterator[tuple[int, bytes]]:
    """Everything in the log files of a folder, gaps (behind a SNAP) and all."""
    disk = OsDisk(data)
    for file in list_logs(disk, VERSION_FOLDER):
        reader = LogFileReader(disk, file.path)
        while entries := reader.next_slice():
            for entry in entries:
                yield entry.zxid, entry.raw


def committed_log(ensemble: Mixed) -> list[bytes]:
    """What the voters have logged, each zxid once; they agree on every one, and nothing is missing."""
    found: dict[int, bytes] = {}
    for sid in ensemble.voters():
        for zxid, raw in entries_of(ensemble.members[sid].data_dir):
            other = found.setdefault(zxid, raw)
            # Of a refused multi Apache's leader may log the parts as refused that its followers log as asked.
            same = other == raw or txn_object(as_txn(other)) == txn_object(as_txn(raw))
            assert same, f"0x{zxid:x} differs on server {sid}"
    zxids = sorted(found)
    for zxid, before in zip(zxids[1:], zxids, strict=False):
        assert zxid == before + 1 or zxid & 0xFFFFFFFF == 1, f"0x{zxid:x} follows 0x{before:x}"
    return [found[zxid] for zxid in zxids]


def judge_rows(rows: Iterator[Row], log: list[bytes], exact: bool, has_refusals: bool) -> dict[str, int]:
    """Rows in order: each txn once, or again only where *at least once* was promised."""
    figures = Counter({"snapshots": 0, "published": 0, "duplicates": 0})
    wanted = [txn for txn in map(as_txn, log) if has_refusals or txn.changes]
    places = {txn.zxid: place for place, txn in enumerate(wanted)}
    zxids = [txn.zxid for txn in wanted]
    reached = farthest = -1
    for row in rows:
        if "snapshotEnd" in row:
            figures["snapshots"] += 1
            end = int(row["snapshotEnd"], 16)
            reached = sum(zxid <= end for zxid in zxids) - 1
            assert reached >= farthest, f"a snapshot of 0x{end:x} behind 0x{zxids[farthest]:x}"
        elif "zxid" in row:
            place = places[int(row["zxid"], 16)]
            assert row == txn_object(wanted[place]), row
            assert place <= reached + 1, f"{row['zxid']} behind 0x{zxids[reached]:x}: a gap"
            if place <= farthest:
                figures["duplicates"] += 1
            reached = place
            figures["published"] += 1
        farthest = max(farthest, reached)
    assert reached == len(wanted) - 1, f"ends at 0x{zxids[reached]:x}, not 0x{zxids[-1]:x}"
    assert not (exact and figures["duplicates"]), figures
    return dict(figures)


def as_txn(raw: bytes) -> CommittedTxn:
    return committed_txn(decode_txn(raw))


# --- targets ------------------------------------------------------------------------------------------------


class JsonlTarget:
    """A file; nobody serves it, so nobody can be killed."""

    def __init__(self, folder: Path, apache: bool) -> None:
        self._file = folder / "out.jsonl"

    def options(self) -> dict[str, str]:
        return {"class": "jsonl", "file": str(self._file)}

    def start(self) -> None:
        pass

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass

    def has(self, zxid: int) -> bool:
        if not self._file.exists():
            return False
        with self._file.open("rb") as file:
            file.seek(max(0, self._file.stat().st_size - 100_000))
            return f'{{"zxid":"0x{zxid:x}"'.encode() in file.read()

    def wants(self, txn: CommittedTxn) -> bool:
        return True

    def judge(self, log: list[bytes], ensemble: Mixed) -> dict[str, Any]:
        with self._file.open("rb") as file:
            return judge_rows((json.loads(line) for line in file), log, True, True)


class ServerTarget:
    """A server of ``tests.plugins.targets``."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def options(self) -> dict[str, str]:
        return self._target.options(PLACE)

    def start(self) -> None:
        self._target.start()

    def kill(self) -> None:
        self._target.kill()

    def close(self) -> None:
        self._target.close()

    def has(self, zxid: int) -> bool:
        rows = self._target.rows(PLACE)
        return bool(rows) and int(rows[-1].get("zxid") or rows[-1].get("snapshotEnd") or "0", 16) >= zxid

    def wants(self, txn: CommittedTxn) -> bool:
        return bool(txn.changes) or self._target.has_refusals

    def judge(self, log: list[bytes], ensemble: Mixed) -> dict[str, Any]:
        target = self._target
        return judge_rows(iter(target.rows(PLACE)), log, target.exact, target.has_refusals)


class MirrorTarget:
    """Another ZooKeeper, a server on its own; ``apache``: it is Apache's."""

    def __init__(self, folder: Path, apache: bool) -> None:
        (port,) = free_ports(1, FIRST_PORT, END_PORT)
        cfg = {"clientPort": port, "tickTime": 500, "admin.enableServer": "false", "forceSync": "no"}
        self._server: ServerProcess = make_member(APACHE_39 if apache else ZABRA, 0, cfg, folder / "target")
        self._choices = Choices(TOP, "/copy", "persistent")

    def options(self) -> dict[str, str]:
        own = {"class": "zookeeper", "connect": self._server.address, "path": TOP, "target": "/copy"}
        return {**own, "ephemerals": "persistent"}

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def close(self) -> None:
        self._server.kill()

    def has(self, zxid: int) -> bool:
        return asyncio.run(self._has(zxid))

    async def _has(self, zxid: int) -> bool:
        session = await connect(self._server.address, "", 30_000)
        try:
            data, _ = await session.call(calls.get_data(f"{CURSOR_FOLDER}/{PLACE}"))
        except KeeperError:
            return False
        finally:
            await session.close()
        cursor = Cursor.decode(data)
        return not cursor.is_copying and cursor.zxid >= zxid

    def wants(self, txn: CommittedTxn) -> bool:
        return any(change.path.startswith(TOP) for change in txn.changes)

    def judge(self, log: list[bytes], ensemble: Mixed) -> dict[str, Any]:
        """Both sides have one hash; and the target's own log has every change once, in order."""
        compared = asyncio.run(self._compare(ensemble))
        assert not compared.differences, compared.differences[:5]
        self._server.stop()
        copies = since = 0
        made: list[tuple[Any, ...]] = []
        is_copying = True
        for _, raw in entries_of(self._server.data_dir):
            for change in as_txn(raw).changes:
                if change.path.startswith("/copy"):
                    made.append((change.op, change.path, change.data, change.acl))
                elif change.path == f"{CURSOR_FOLDER}/{PLACE}" and change.op != "delete":
                    cursor = Cursor.decode(change.data)
                    if is_copying and not cursor.is_copying:
                        # A snapshot is there: what follows is judged change by change.
                        copies, since, made = copies + 1, cursor.zxid, []
                    is_copying = cursor.is_copying
        wanted = [
            (change.op, self._choices.target_path(change.path), change.data, change.acl)
            for change in (one for txn in map(as_txn, log) if txn.zxid > since for one in txn.changes)
            if change.path.startswith(TOP)
        ]
        # A setACL is repeated where a crash hides that it was done: it changes nothing then.
        doubles = sum(
            one == before and one[0] == "setACL" for one, before in zip(made[1:], made, strict=False)
        )
        made = [one for place, one in enumerate(made) if one[0] != "setACL" or one != made[place - 1]]
        wanted = [one for place, one in enumerate(wanted) if one[0] != "setACL" or one != wanted[place - 1]]
        for place, (one, other) in enumerate(zip(made, wanted, strict=False)):
            assert one == other, f"change {place}: {one}, not {other}"
        assert len(made) == len(wanted), (len(made), len(wanted))
        return {
            "changes": len(made),
            "repeated setACLs": doubles,
            "hash": compared.source.hash,
            "copies": copies,
        }

    async def _compare(self, ensemble: Mixed) -> Any:
        one = await connect(ensemble.members[ensemble.wait_leader()].address, "", 30_000)
        other = await connect(self._server.address, "", 30_000)
        try:
            sides = Side(one, TOP, self._choices, True), Side(other, "/copy", self._choices, False)
            return await compare(*sides, 5.0)
        finally:
            await one.close()
            await other.close()


def make_target(name: str, folder: Path, apache_target: bool) -> CampaignTarget:
    own: dict[str, Callable[[Path, bool], CampaignTarget]] = {
        "jsonl": JsonlTarget,
        "zookeeper": MirrorTarget,
    }
    if name in own:
        return own[name](folder, apache_target)
    from tests.plugins.targets.kinds import KINDS as SERVERS

    return ServerTarget(SERVERS[name]())


# --- the campaign -------------------------------------------------------------------------------------------


class Killer:
    """Kills one of ``kinds`` after the other, at random, and starts it again."""

    def __init__(
        self, ensemble: Mixed, target: CampaignTarget, rng: random.Random, kinds: tuple[str, ...]
    ) -> None:
        self._ensemble = ensemble
        self._target = target
        self._rng = rng
        self._kinds = kinds
        self.kills: Counter[str] = Counter()

    async def run(self, until: Callable[[], bool], every_s: float) -> None:
        while not until():
            await asyncio.sleep(self._rng.uniform(0.3, 1.7) * every_s)
            kind = self._rng.choice(self._kinds)
            await asyncio.to_thread(self.kill, kind)
            self.kills[kind] += 1

    def kill(self, kind: str) -> None:
        ensemble = self._ensemble
        observer = ensemble.members[ensemble.observer_ids[0]]
        if kind == "publisher":
            if observer.running:
                observer.signal(signal.SIGUSR1)
        elif kind == "target":
            self._target.kill()
            self._target.start()
        else:
            victim = observer if kind == "observer" else ensemble.members[ensemble.wait_leader()]
            victim.kill()
            victim.launch()
            victim.wait_serving(120)


def make_ensemble(folder: Path, apache: bool, options: dict[str, str]) -> Mixed:
    """Three voters and the observer that publishes."""
    path = os.pathsep.join(
        [part for part in (os.environ.get("PYTHONPATH"), str(ROOT / "src"), str(ROOT)) if part]
    )
    kinds = [APACHE_39 if apache else ZABRA] * 3 + [ZABRA]
    ensemble = Mixed(
        kinds,
        folder,
        observers=1,
        cfg={"forceSync": "no", "4lw.commands.whitelist": "*"},
        ports=free_ports(4 * 4, FIRST_PORT, END_PORT),
        environments={4: {"PYTHONPATH": path}},
    )
    observer = ensemble.members[4]
    observer._argv = [sys.executable, "-m", "tests.plugins.campaign_server", str(observer.config_path)]
    observer.cfg |= {f"publisher.{PLACE}.{key}": value for key, value in options.items()}
    observer.cfg |= {f"publisher.{PLACE}.maxBackoffMs": "500"}
    return ensemble


async def write_and_kill(
    ensemble: Mixed, killer: Killer, txns: int, every_s: float, rng: random.Random, writers: int
) -> int:
    """Until so many txns were answered; returns the zxid of the last write."""
    addresses = ",".join(ensemble.members[sid].address for sid in ensemble.voters())
    async with AsyncClient(addresses, 20_000) as client:
        await client.create(TOP)
    crowd = [PipelinedWriter(addresses, random.Random(rng.random()), number) for number in range(writers)]

    def is_done() -> bool:
        return sum(one.answered for one in crowd) >= txns

    killing = asyncio.ensure_future(killer.run(is_done, every_s))
    await asyncio.gather(*[one.run(is_done) for one in crowd])
    await killing
    # Their last sessions end; the end of the log is a write that everybody waits for.
    async with AsyncClient(addresses, 20_000) as client:
        _, stat = await client.create2(f"{TOP}/end")
    return int(stat.czxid)


def campaign(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One campaign; returns its figures.  Raises AssertionError with what was wrong."""
    rng = random.Random(arguments.seed)
    target = make_target(arguments.publisher, folder, arguments.apache_target)
    target.start()
    began = time.monotonic()
    kinds = tuple(kind for kind in KINDS if kind != "target" or not isinstance(target, JsonlTarget))
    ensemble = make_ensemble(folder / "ensemble", arguments.apache, target.options())
    try:
        with ensemble:
            killer = Killer(ensemble, target, rng, kinds)
            last = asyncio.run(
                write_and_kill(ensemble, killer, arguments.txns, arguments.every, rng, arguments.writers)
            )
            poll("everything is published", CAUGHT_UP_S, lambda: _has(target, last) or None)
            for sid in ensemble.voters():
                ensemble.members[sid].wait_serving(120)
            log = final_log(ensemble, target)
            figures = target.judge(log, ensemble)
    finally:
        target.close()
    return {
        "publisher": arguments.publisher,
        "voters": "Apache ZooKeeper 3.9" if arguments.apache else "Zabra",
        "txns": len(log),
        "kills": dict(killer.kills),
        **figures,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


def final_log(ensemble: Mixed, target: CampaignTarget) -> list[bytes]:
    """The log when nothing more comes (sessions that were given up end late), and all of it is published."""
    for _ in range(20):
        log = committed_log(ensemble)
        last = max(txn.zxid for txn in map(as_txn, log[-10_000:]) if target.wants(txn))
        poll("all of it is published", CAUGHT_UP_S, lambda: _has(target, last) or None)  # noqa: B023  at once
        now = zxid_of(ensemble.members[ensemble.wait_leader()])
        # A leader that has led nothing yet is at the beginning of its epoch.
        if now is not None and (now == as_txn(log[-1]).zxid or now & 0xFFFFFFFF == 0):
            ensemble.members[4].stop()
            return log
    raise TimeoutError("the ensemble does not come to rest")


def _has(target: CampaignTarget, zxid: int) -> bool:
    try:
        return target.has(zxid)
    except (OSError, TimeoutError, ServerError, KeeperError):
        return False


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--publisher", default="jsonl", help="jsonl, zookeeper, or one of targets.kinds")
    parser.add_argument("--txns", type=int, default=1_000_000)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two kills, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--apache", action="store_true", help="Apache ZooKeeper's voters")
    parser.add_argument("--apache-target", action="store_true", help="the mirror's target is Apache's")
    parser.add_argument("--folder", help="keeps everything there; default: a temporary folder")
    return parser.parse_args(words)


def main() -> int:
    """Prints the figures as a line of JSON."""
    arguments = parse()
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="zabra-campaign-"))
    figures = campaign(arguments, folder)
    print(json.dumps(figures), flush=True)
    if arguments.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
