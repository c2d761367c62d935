"""Where campaigns publish to: what is configured, what is killed, and how what is there is judged."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from tests.interop.members import APACHE_39, ROOT, ZABRA, Mixed, make_member
from tests.interop.processes import ServerProcess, free_ports
from tests.plugins.campaign.committed import Committed, Violations, as_txn, entries_of, judge_rows
from tests.plugins.campaign.writers import TOP
from tests.plugins.targets.target import Row, Target

from zabra.auth.schemes import generate_digest
from zabra.plugins.jsontext import acl_object
from zabra.plugins.mirror_check import Side, compare
from zabra.plugins.mirror_plan import CURSOR_FOLDER, Choices, Cursor
from zabra.plugins.mirror_session import connect

PLACE = "campaign"
# Nobody listens on a port that somebody else has been given: a range for each.
ENSEMBLE_PORTS, DOOR_PORTS, MIRROR_PORTS = (16400, 17200), (17200, 17300), (17300, 17400)
SUPER = "super:secret"


class CampaignTarget(Protocol):
    """One target.  ``name`` is that of its publisher, "" where none is configured for it."""

    name: str
    can_be_killed: bool

    def options(self) -> dict[str, str]:
        """Keys of the observer's zoo.cfg."""

    def start(self) -> None:
        """Starts it, again after ``kill``."""

    def kill(self) -> None:
        """SIGKILL."""

    def has(self, zxid: int) -> bool:
        """Whether all up to ``zxid`` is there, for a target without a publisher."""

    def judge(self, log: Committed, ensemble: Mixed) -> dict[str, Any]:
        """Whether what is there is the log: figures, ``violations``, and what is ``wrong``."""

    def close(self) -> None:
        """Ends it for good."""


def publisher_options(name: str, own: dict[str, str]) -> dict[str, str]:
    """Keys of zoo.cfg."""
    return {f"publisher.{name}.{key}": value for key, value in {**own, "maxBackoffMs": "500"}.items()}


def rows_of_file(path: Path) -> Iterator[Row]:
    """The lines of a file."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


class JsonlTarget:
    """A file; nobody serves it, so nobody can be killed."""

    name = "jsonl"
    can_be_killed = False

    def __init__(self, folder: Path) -> None:
        self._file = folder / "out.jsonl"

    def options(self) -> dict[str, str]:
        return publisher_options(self.name, {"class": "jsonl", "file": str(self._file)})

    def start(self) -> None:
        """Nothing."""

    def kill(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    def has(self, zxid: int) -> bool:
        raise NotImplementedError

    def judge(self, log: Committed, ensemble: Mixed) -> dict[str, Any]:
        return judge_rows(rows_of_file(self._file), log, True, True)


class DoorTarget:
    """A reader of the feed's door, with a file as its memory."""

    name = ""
    can_be_killed = True

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "read.jsonl"
        self._log = folder / "reader.log"
        (self._port,) = free_ports(1, *DOOR_PORTS)
        self._process: subprocess.Popen[bytes] | None = None

    def options(self) -> dict[str, str]:
        return {
            "feed.port": str(self._port),
            "feed.address": "127.0.0.1",
            "DigestAuthenticationProvider.superDigest": generate_digest(SUPER),
        }

    def start(self) -> None:
        module = "tests.plugins.campaign.reader"
        url = f"http://127.0.0.1:{self._port}/feed"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, url, str(self._file), SUPER],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": python_path()},
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self.kill()

    def has_begun(self) -> bool:
        """Whether the reader has written down anything."""
        return self._file.exists() and self._file.stat().st_size > 0

    def has(self, zxid: int) -> bool:
        if not self._file.exists():
            return False
        with self._file.open("rb") as file:
            file.seek(max(0, self._file.stat().st_size - 100_000))
            return f'{{"zxid":"0x{zxid:x}"'.encode() in file.read()

    def judge(self, log: Committed, ensemble: Mixed) -> dict[str, Any]:
        return judge_rows(rows_of_file(self._file), log, True, True)


class ServerTarget:
    """A server of ``tests.plugins.targets``; ``is_own``: nobody else uses it."""

    can_be_killed = True

    def __init__(self, name: str, target: Target, place: str = PLACE, is_own: bool = True) -> None:
        self.name = name
        self._target = target
        self._place = place
        self._is_own = is_own

    def options(self) -> dict[str, str]:
        return publisher_options(self.name, self._target.options(self._place))

    def start(self) -> None:
        if not self._target.running:
            self._target.start()

    def kill(self) -> None:
        self._target.kill()

    def close(self) -> None:
        if self._is_own:
            self._target.close()

    def has(self, zxid: int) -> bool:
        raise NotImplementedError

    def judge(self, log: Committed, ensemble: Mixed) -> dict[str, Any]:
        target = self._target
        figures = judge_rows(target.each(self._place), log, target.exact, target.has_refusals)
        if self.name == "postgres":
            self._judge_nodes(log, figures)
        return figures

    def _judge_nodes(self, log: Committed, figures: dict[str, Any]) -> None:
        """The table of nodes is the tree that the log makes."""
        from tests.plugins.targets.postgres import Postgres

        assert isinstance(self._target, Postgres)
        there = self._target.nodes(self._place)
        tree = log.tree()
        violations = Violations()
        for path, node in tree.nodes.items():
            wanted = (node.data, node.version, acl_object(tuple(tree.acl_of(node))))
            found = there.pop(path, ())
            # The configuration is in every tree, and in no txn.
            if found[:3] != wanted and path != "/zookeeper/config":
                violations.add("nodes", f"{path} is {found}, and should be {wanted}")
        for path in there:
            violations.add("nodes", f"{path} should not be there")
        figures["nodes"] = len(tree.nodes)
        if violations.told:
            figures["violations"] += violations.counts.total()
            figures["wrong"] = [*figures.get("wrong", []), *violations.told]


class MirrorTarget:
    """Another ZooKeeper, a server on its own; ``apache``: it is Apache's."""

    name = "zookeeper"
    can_be_killed = True

    def __init__(self, folder: Path, apache: bool) -> None:
        (port,) = free_ports(1, *MIRROR_PORTS)
        # Without fsync what it has acknowledged still outlives its own death: nobody cuts the power.
        cfg = {"clientPort": port, "tickTime": 500, "admin.enableServer": "false", "forceSync": "no"}
        cfg["4lw.commands.whitelist"] = "*"
        self._server: ServerProcess = make_member(APACHE_39 if apache else ZABRA, 0, cfg, folder / "target")
        self._choices = Choices(TOP, "/copy", "persistent")

    def options(self) -> dict[str, str]:
        own = {"class": "zookeeper", "connect": self._server.address, "path": TOP, "target": "/copy"}
        return publisher_options(self.name, {**own, "ephemerals": "persistent"})

    def start(self) -> None:
        self._server.start()

    def kill(self) -> None:
        self._server.kill()

    def close(self) -> None:
        self._server.kill()

    def has(self, zxid: int) -> bool:
        raise NotImplementedError

    def judge(self, log: Committed, ensemble: Mixed) -> dict[str, Any]:
        """Both sides have one hash; and the target's own log has every change once, in order."""
        violations = Violations()
        compared = asyncio.run(self._compare(ensemble))
        for difference in compared.differences:
            violations.add("nodes", str(difference))
        self._server.stop()
        since, copies = self._last_copy()
        made, wanted = _Changes(self._made(since)), _Changes(self._wanted(log, since))
        for one, other in itertools.zip_longest(made, wanted):
            if one != other:
                # Where they part; nothing can be told of what follows.
                where = f"change {made.count}, where the source is at 0x{wanted.zxid:x}"
                violations.add("gap, double or out of order", f"{where}: {one}, not {other}")
                break
        figures = {
            "published": made.count,
            "changes": made.count,
            "duplicates": 0,
            "snapshots": copies,
            "repeated setACLs": made.repeated - wanted.repeated,
            "hash": compared.source.hash,
        }
        violations.into(figures)
        return figures

    def _last_copy(self) -> tuple[int, int]:
        """The zxid of the last snapshot that was made here, and how many there were."""
        since = copies = 0
        is_copying = True
        for cursor in self._cursors():
            if is_copying and not cursor.is_copying:
                copies, since = copies + 1, cursor.zxid
            is_copying = cursor.is_copying
        return since, copies

    def _cursors(self) -> Iterator[Cursor]:
        for _, raw in entries_of(self._server.data_dir):
            for change in as_txn(raw).changes:
                if change.path == f"{CURSOR_FOLDER}/{self.name}" and change.op != "delete":
                    yield Cursor.decode(change.data)

    def _made(self, since: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """The changes in the target's log behind its last snapshot, each with the txn it is in."""
        begun = since == 0
        for zxid, raw in entries_of(self._server.data_dir):
            for change in as_txn(raw).changes:
                if change.path == f"{CURSOR_FOLDER}/{self.name}" and change.op != "delete":
                    cursor = Cursor.decode(change.data)
                    begun = begun or (cursor.zxid == since and not cursor.is_copying)
                elif begun and change.path.startswith("/copy"):
                    yield zxid, (change.op, change.path, change.data, change.acl)

    def _wanted(self, log: Committed, since: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
        for zxid, raw in log.each_raw():
            if zxid <= since:
                continue
            for change in as_txn(raw).changes:
                if change.path == TOP or change.path.startswith(TOP + "/"):
                    path = self._choices.target_path(change.path)
                    yield zxid, (change.op, path, change.data, change.acl)

    async def _compare(self, ensemble: Mixed) -> Any:
        one = await connect(ensemble.members[ensemble.wait_leader()].address, "", 30_000)
        other = await connect(self._server.address, "", 30_000)
        try:
            sides = Side(one, TOP, self._choices, True), Side(other, "/copy", self._choices, False)
            return await compare(*sides, 5.0)
        finally:
            await one.close()
            await other.close()


class _Changes:
    """Changes without repeated setACLs: a crash may hide that one was done, and once more changes nothing."""

    def __init__(self, changes: Iterator[tuple[int, tuple[Any, ...]]]) -> None:
        self._changes = changes
        self.zxid = self.count = self.repeated = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        before: tuple[Any, ...] = ()
        for zxid, one in self._changes:
            if one[0] == "setACL" and one == before:
                self.repeated += 1
                continue
            self.zxid = zxid
            self.count += 1
            before = one
            yield one


def python_path() -> str:
    """For processes of this checkout that need the tests' modules too."""
    parts = (os.environ.get("PYTHONPATH"), str(ROOT / "src"), str(ROOT))
    return os.pathsep.join([part for part in parts if part])


ALL = ("door", "jsonl", "webhook", "kafka", "nats", "redis", "postgres", "zookeeper")


def make_target(name: str, folder: Path, apache_target: bool) -> CampaignTarget:
    """One of ``ALL``.  Raises TargetUnavailable."""
    if name == "jsonl":
        return JsonlTarget(folder)
    if name == "door":
        return DoorTarget(folder)
    if name == "zookeeper":
        return MirrorTarget(folder, apache_target)
    from tests.plugins.targets.kinds import KINDS

    return ServerTarget(name, KINDS[name]())
