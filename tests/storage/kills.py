"""kill -9 under load: ``python -m tests.storage.kills --kills 200``.

One server on its own, several sessions that write as fast as they are answered, with requests under way at
all times.  The process is killed in the midst of it and started again on the same folder, again and again.
Judged after each start:

* every acknowledged write is there, with the data it was sent;
* what was sent and not acknowledged is there in whole or not at all, and per session without a hole: a server
  that is alone carries requests out in their order;
* nothing else is there, and nothing that was there before has changed;
* the server starts, which it refuses where the recovered tree has another digest than the log says, and the
  zxid never goes back.

Small log files and snapshots in short order make the kills fall into rolls and snapshots too.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.interop.processes import ServerProcess, free_ports
from tests.interop.session import Session

from zabra.client import calls
from zabra.proto import codes

SESSIONS = 4
WINDOW = 40
"""Requests under way per session."""


def data_of(session: int, number: int) -> bytes:
    """What write ``number`` of ``session`` puts into its node."""
    return f"{session}-{number}:".encode() + bytes([number % 251]) * (number % 300)


class Writer:
    """One session's writes: creates of its own nodes, in order, for as long as there is a server."""

    def __init__(self, number: int) -> None:
        self.number = number
        # Writes 0 to sent-1 were sent, 0 to acknowledged-1 were answered.
        self.sent = 0
        self.acknowledged = 0
        self.session = Session(wait_s=120)

    def path(self, number: int) -> str:
        """The node of one write."""
        return f"/kills/{self.number}/{number:07}"

    def open(self, address: str) -> None:
        """A new session."""
        self.session = Session(wait_s=120).connect_when_possible(address)

    def fill(self) -> None:
        """Sends until the window is full."""
        while self.sent < self.acknowledged + WINDOW:
            self.session.ask(calls.create(self.path(self.sent), data_of(self.number, self.sent)))
            self.sent += 1

    def take(self) -> bool:
        """One answer; False when the server is gone."""
        try:
            call = self.session.take()
        except OSError:
            return False
        assert call.err == codes.OK, f"write {self.acknowledged} of session {self.number}: {call.err}"
        self.acknowledged += 1
        return True

    def settle(self, names: list[str]) -> int:
        """Judges what the server has after a start; how many writes it has that nobody was told of."""
        found = sorted(int(name) for name in names)
        assert found == list(range(len(found))), f"session {self.number}: a hole"
        assert len(found) >= self.acknowledged, (
            f"session {self.number}: {self.acknowledged} were acknowledged and {len(found)} are there"
        )
        assert len(found) <= self.sent, f"session {self.number}: more than was sent"
        untold = len(found) - self.acknowledged
        self.sent = self.acknowledged = len(found)
        return untold


class Kills:
    """A server, its writers, and what was counted."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        config: dict[str, str | int] = {
            "clientPort": free_ports(1)[0],
            "tickTime": 2000,
            "snapCount": 400,
            "preAllocSize": 64,
            "autopurge.purgeInterval": 0,
        }
        self.server = ServerProcess([sys.executable, "-m", "zabra", "server", "{config}"], config, folder)
        self.writers = [Writer(number) for number in range(SESSIONS)]
        self.counts = {"kills": 0, "acknowledged": 0, "unacknowledged_kept": 0, "unacknowledged_lost": 0}
        self.zxid = 0

    def start(self) -> None:
        """The first start."""
        self.server.start()
        session = Session().connect_when_possible(self.server.address)
        session.do(calls.create("/kills", b""))
        for writer in self.writers:
            session.do(calls.create(f"/kills/{writer.number}", b""))
        session.drop()

    def round(self) -> None:
        """Load, a kill somewhere in it, a start, and the judgement."""
        for writer in self.writers:
            writer.open(self.server.address)
        wanted = self.random.randrange(1, 400)
        before = sum(writer.acknowledged for writer in self.writers)
        while sum(writer.acknowledged for writer in self.writers) < before + wanted:
            for writer in self.writers:
                writer.fill()
            for writer in self.writers:
                assert writer.take(), "the server went away by itself"
        for writer in self.writers:
            writer.fill()
        self.server.kill()
        for writer in self.writers:
            while writer.take():
                pass
            writer.session.drop()
        self.counts["acknowledged"] += sum(writer.acknowledged for writer in self.writers) - before
        self.counts["kills"] += 1
        self.server.start()
        self.judge()

    def judge(self) -> None:
        """Everything that must be there after a start, and nothing else."""
        session = Session(wait_s=120).connect_when_possible(self.server.address)
        for writer in self.writers:
            sent = writer.sent
            names = session.do(calls.get_children(f"/kills/{writer.number}"))
            old = self.random.sample(range(writer.acknowledged), min(20, writer.acknowledged))
            untold = writer.settle(names)
            self.counts["unacknowledged_kept"] += untold
            self.counts["unacknowledged_lost"] += sent - writer.sent
            newest = range(max(0, writer.sent - WINDOW - untold), writer.sent)
            for number in [*old, *newest]:
                data, _ = session.do(calls.get_data(writer.path(number)))
                assert data == data_of(writer.number, number), f"{writer.path(number)} has other data"
        assert session.zxid >= self.zxid, "the zxid went back"
        self.zxid = session.zxid
        session.drop()

    def stop(self) -> None:
        """The end."""
        for writer in self.writers:
            writer.session.drop()
        self.server.kill()


def run(kills: int, folder: Path, seed: int, say: bool = False) -> dict[str, int]:
    """So many kills; the counters.  Raises AssertionError where something was lost or made up."""
    world = Kills(folder, seed)
    try:
        world.start()
        for number in range(kills):
            world.round()
            if say and (number + 1) % 20 == 0:
                print(world.counts, flush=True)
    finally:
        world.stop()
    files = {name: len(list(folder.rglob(f"{name}.*"))) for name in ("snapshot", "log")}
    return {**world.counts, "snapshots": files["snapshot"], "logs": files["log"]}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        counts = run(arguments.kills, Path(folder), arguments.seed, say=True)
    print("kill-9", *(f"{name}={value}" for name, value in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
