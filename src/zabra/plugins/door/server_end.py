"""The server's end of the link: runs the door's process, tells it what is committed, answers it.

All that a server pays for its door is one message a turn, and short answers.  A process that is slower than
its server is not told everything: it reads from the log what it was not told.  One that takes nothing at all
for a while is ended, and one that ends is started again.  The listening socket is the server's, so that the
port stays the same, and connections made meanwhile wait.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast

from zabra.plugins.changes import committed_txn
from zabra.plugins.door import link
from zabra.plugins.door.rights import NOTHING, UNKNOWN, Before, PlainAcl, plain, touched
from zabra.plugins.door.settings import DoorSettings, Status
from zabra.plugins.door.snapshots import PlainNode
from zabra.plugins.tree_snapshots import TreeSnapshots
from zabra.proto.txn import TxnEntry
from zabra.tree.acl_trail import is_readable_by_all
from zabra.tree.datatree import DataTree

log = logging.getLogger("zabra.feed")

BACKLOG: Final = 4096
# What may wait to be told: what comes beyond that the process reads from the log.
WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
# Without a byte taken for so long, it hangs.
HUNG_S: Final = 30.0
STATUS_EVERY_S: Final = 0.2
FIRST_BACKOFF_S: Final = 0.2
MAX_BACKOFF_S: Final = 10.0
STOP_S: Final = 3.0
# ACLs that are looked through for restricted ones each turn; with more, there are some.
ACLS_LOOKED_AT: Final = 64
SNAPSHOT_PART: Final = 1000
MODULE: Final = "zabra.plugins.door.process"


class DoorPort:
    """A listening socket, and what the door behind it is to be told.

    Raises OSError where it cannot listen.
    """

    def __init__(self, host: str, port: int, settings: DoorSettings) -> None:
        self.settings = settings
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self.socket.setblocking(False)
        self.port = int(self.socket.getsockname()[1])

    def close(self) -> None:
        """Closes it."""
        self.socket.close()


class ServerEnd(asyncio.Protocol):
    """One link to one process; answers what it asks.

    Args:
        tree: the server's tree of now.
        lost: called when the process has closed its end.
    """

    def __init__(
        self, tree: Callable[[], DataTree], snapshots: TreeSnapshots, max_nodes: int, lost: Callable[[], None]
    ) -> None:
        self._tree = tree
        self._snapshots = snapshots
        self._max_nodes = max_nodes
        self._lost = lost
        self._deframer = link.Deframer()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._writable = asyncio.Event()
        self._writable.set()
        self._written = self._taken = 0
        self._taken_at = 0.0
        self.left_out = 0
        """Txns that it was not told."""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # (uvloop's transports are not asyncio.Transports.)
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        for task in list(self._tasks):
            task.cancel()
        self._lost()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        for kind, number, what in self._deframer.feed(data):
            if kind == link.ASK_ACLS:
                self.tell((link.ANSWER, number, [self.before(zxid, paths) for zxid, paths in what]))
            else:
                assert kind == link.ASK_SNAP
                task = asyncio.create_task(self._send_snapshot(number, what))
                self._tasks[task] = None
                task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("a snapshot for the feed failed", exc_info=task.exception())

    def tell(self, message: link.Message) -> None:
        """Sends it, if the process takes it."""
        transport = self.transport
        if transport is None:
            return
        data = link.encode(message)
        self._written += len(data)
        transport.write(data)
        waiting = transport.get_write_buffer_size()
        now = asyncio.get_running_loop().time()
        if not waiting or self._written - waiting > self._taken:
            self._taken = self._written - waiting
            self._taken_at = now
        elif now - self._taken_at > HUNG_S:
            log.error("the feed's process does not take what it is told: it is started anew")
            transport.abort()

    def tell_txns(self, entries: Sequence[TxnEntry]) -> None:
        """Committed txns, each with the ACLs that matter; not to a process that has enough to take."""
        if self.transport is not None and self.transport.get_write_buffer_size() > WAITING_BYTES_MAX:
            self.left_out += len(entries)
            return
        tree = self._tree()
        if not restricts(tree):
            self.tell((link.TXNS, [(entry.raw, NOTHING) for entry in entries]))
            return
        rows = []
        for entry in entries:
            paths = touched(committed_txn(entry).changes)
            rows.append((entry.raw, self.before(int(entry.header.zxid), paths)))
        self.tell((link.TXNS, rows))

    def before(self, zxid: int, paths: Sequence[str]) -> Before | None:
        """The restricted ACLs on the paths just before the txn; UNKNOWN where it is too long ago."""
        tree = self._tree()
        trail = tree.acl_trail
        if trail is None or zxid <= trail.floor:
            return UNKNOWN
        found: Before = {}
        for path in paths:
            acl = tree.acl_before(path, zxid)
            if acl is not None:
                found[path] = plain(acl)
        return found

    async def _send_snapshot(self, number: int, path: str) -> None:
        tree = self._tree()
        if tree.count_descendants(path) >= self._max_nodes:
            self.tell(
                (
                    link.ANSWER,
                    number,
                    f"{path} has more than {self._max_nodes} nodes: ask for a part of it"
                    " (feed.maxSnapshotNodes)",
                )
            )
            return
        snap = await self._snapshots.take(path)
        places: dict[PlainAcl, int] = {}
        nodes: list[PlainNode] = []
        acls: list[PlainAcl] = []
        async for node in snap.nodes:
            acl = plain(node.acl)
            if acl not in places:
                places[acl] = len(places)
                acls.append(acl)
            nodes.append(
                (node.path, node.data, node.version, places[acl], node.owner, node.czxid, node.mzxid)
            )
            if len(nodes) >= SNAPSHOT_PART:
                self.tell((link.ANSWER, number, (snap.zxid, False, nodes, acls)))
                nodes, acls = [], []
                await self._writable.wait()
                await asyncio.sleep(0)
        self.tell((link.ANSWER, number, (snap.zxid, True, nodes, acls)))


def restricts(tree: DataTree) -> bool:
    """Whether some ACL, now or in what is remembered, keeps anybody from reading (if in doubt: yes)."""
    trail = tree.acl_trail
    if trail is None or trail.size() > 0 or tree.acls.size() > ACLS_LOOKED_AT:
        return True
    return not all(is_readable_by_all(acl) for _, acl in tree.acls.items())


class DoorProcess:
    """The door of one server: the process, started anew as long as the server wants it.

    Args:
        status: the server's state; its ``committed`` may be told once this turn's txns were.
    """

    def __init__(
        self,
        port: DoorPort,
        tree: Callable[[], DataTree],
        snapshots: TreeSnapshots,
        status: Callable[[], Status],
    ) -> None:
        self._port = port
        self._tree = tree
        self._snapshots = snapshots
        self._status = status
        self._end: ServerEnd | None = None
        self._task: asyncio.Task[None] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def informed(self, entries: list[TxnEntry]) -> None:
        """Committed txns."""
        if self._end is not None:
            self._end.tell_txns(entries)

    def start(self) -> None:
        """Begins; needs the running loop."""
        self._task = asyncio.create_task(self._run(), name="feed-door")

    async def stop(self) -> None:
        """Ends the process and gives up the port."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._port.close()

    async def _run(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._run_once()
            if loop.time() - began > MAX_BACKOFF_S:
                backoff_s = FIRST_BACKOFF_S
            log.warning("the feed's process has ended; started again in %.1f s", backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def _run_once(self) -> None:
        """One process from its start to its end."""
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        lost = loop.create_future()
        process: subprocess.Popen[bytes] | None = None
        end = ServerEnd(
            self._tree,
            self._snapshots,
            self._port.settings.max_snapshot_nodes,
            lambda: None if lost.done() else lost.set_result(None),
        )
        try:
            process = self.process = await asyncio.to_thread(self._launch, theirs)
            theirs.close()
            await loop.create_connection(lambda: end, sock=ours)
            self.starts += 1
            end.tell((link.HELLO, self._port.settings.message()))
            self._end = end
            await self._tell_status(end, lost)
        finally:
            self._end = None
            theirs.close()
            if end.transport is not None:
                # It closes the socket too.
                end.transport.abort()
            elif not lost.done():
                ours.close()
            if process is not None:
                await asyncio.shield(asyncio.to_thread(_finish, process))

    def _launch(self, theirs: socket.socket) -> "subprocess.Popen[bytes]":
        fds = (theirs.fileno(), self._port.socket.fileno())
        return subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, *[str(fd) for fd in fds]],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            # What this process has found, that one must find too.
            env={**os.environ, "PYTHONPATH": os.pathsep.join([path for path in sys.path if path])},
        )

    async def _tell_status(self, end: ServerEnd, lost: "asyncio.Future[None]") -> None:
        status = self._status()
        while not lost.done():
            await asyncio.wait([lost], timeout=STATUS_EVERY_S)
            # What was committed then has been told by now, if it was told at all.
            committed = status.committed
            status = self._status()
            end.tell((link.STATUS, replace(status, committed=committed).message()))


def _finish(process: "subprocess.Popen[bytes]") -> None:
    """It ends by itself when the link is closed; if not, it is killed."""
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
