"""Servers as processes that publish to all targets at once, and are killed, as the targets are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.interop.members import ZABRA, make_member
from tests.interop.processes import ServerProcess, free_ports, poll
from tests.plugins.targets.harness import deduplicated, without_refusals, zxid_of
from tests.plugins.targets.target import Row, Target

from zabra.client.aio import AsyncClient
from zabra.client.calls import create, part_of, set_data
from zabra.plugins.changes import committed_txn
from zabra.plugins.jsontext import txn_object
from zabra.plugins.log_history import LogHistory
from zabra.proto.errors import KeeperError
from zabra.proto.txn import decode_txn
from zabra.runtime.os_disk import OsDisk

PUBLISHED_WITHIN_S = 180
FIRST_PORT, END_PORT = 16000, 16400
MAX_BACKOFF_MS = 500


def publisher_options(targets: Mapping[str, Target], place: str) -> dict[str, str]:
    """Keys of zoo.cfg: a publisher for each target, with the target's name."""
    found = {}
    for name, target in targets.items():
        own = {**target.options(place), "maxBackoffMs": str(MAX_BACKOFF_MS)}
        found |= {f"publisher.{name}.{key}": value for key, value in own.items()}
    return found


def standalone(folder: Path, options: Mapping[str, str]) -> ServerProcess:
    """A server on its own, not started."""
    (port,) = free_ports(1, FIRST_PORT, END_PORT)
    cfg = {"clientPort": port, "tickTime": 500, "admin.enableServer": "false", "4lw.commands.whitelist": "*"}
    return make_member(ZABRA, 0, {**cfg, **options}, folder)


def logged(data: Path) -> list[Row]:
    """What is in a server's log, as publishers tell it."""
    disk = OsDisk(data)
    history = LogHistory(disk, disk, LogHistory(disk, disk, 0).oldest() - 1)
    return [txn_object(committed_txn(decode_txn(raw))) for raw in history.read(1 << 62, 1 << 30)]


class Writer:
    """Writes as fast as it is answered, whatever dies; ``zxid`` is the last that was acknowledged."""

    def __init__(self, addresses: str, rng: random.Random) -> None:
        self._addresses = addresses
        self._rng = rng
        self.zxid = 0
        self.acknowledged = 0

    async def run(self, until: Callable[[], bool]) -> None:
        """Sessions of some writes each, of which some leave an ephemeral behind."""
        while not until():
            try:
                async with AsyncClient(self._addresses, 5000) as client:
                    await self._write(client, until)
            except (OSError, KeeperError, TimeoutError):
                # The next session waits until somebody serves.
                continue

    async def _write(self, client: AsyncClient, until: Callable[[], bool]) -> None:
        name = f"/w{self._rng.randrange(1 << 32):x}"
        await client.create(name, b"\xff\x00")
        for number in range(self._rng.randrange(20, 60)):
            if until():
                return
            if number % 10 == 3:
                await client.create(f"{name}/e{number}", b"e", flags=1)
            elif number % 10 == 7:
                parts = [part_of(create(f"{name}/{number}-{part}", b"m")) for part in range(3)]
                await client.multi([*parts, part_of(set_data(name, b"in a multi"))])
            stat = await client.set_data(name, self._rng.randbytes(self._rng.randrange(200)))
            self.zxid = max(self.zxid, stat.mzxid)
            self.acknowledged += 1


async def until_published(targets: Mapping[str, Target], place: str, zxid: int) -> None:
    """All targets have the txn ``zxid``."""
    for name, target in targets.items():
        what = f"{name} has 0x{zxid:x}"
        await asyncio.to_thread(poll, what, PUBLISHED_WITHIN_S, lambda: _has(target, place, zxid) or None)  # noqa: B023  ends before the next


def _has(target: Target, place: str, zxid: int) -> bool:
    rows = target.rows(place)
    return bool(rows) and zxid_of(rows[-1]) >= zxid


def assert_is_log(target: Target, rows: list[Row], log: list[Row]) -> int:
    """Every txn of ``log``, in order, once; behind a snapshot at most.  Returns how many txns are there."""
    if not target.exact:
        rows = deduplicated(rows)
    ends = [index for index, row in enumerate(rows) if "snapshotEnd" in row]
    behind = 0
    if ends:
        behind = zxid_of(rows[ends[-1]])
        rows = rows[ends[-1] + 1 :]
    wanted = [row for row in log if zxid_of(row) > behind]
    if not target.has_refusals:
        wanted = without_refusals(wanted)
    there = {row.get("zxid") for row in rows}
    missing = [row["zxid"] for row in wanted if row["zxid"] not in there]
    assert not missing, (target.kind, "missing", missing[:5], len(missing))
    assert [row.get("zxid") for row in rows] == [row["zxid"] for row in wanted], target.kind
    assert rows == wanted, target.kind
    return len(rows)
