"""The door's process: ``python -m zabra.plugins.door.process LINK LISTENER``, two sockets by number.

Started by ``server_end``; ends when the server does.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
from typing import Final

from zabra.auth.registry import Providers, default_providers
from zabra.plugins.door.connection import Connection, Door
from zabra.plugins.door.far_server import FarServer
from zabra.plugins.door.hub import Hub
from zabra.plugins.door.server_end import BACKLOG
from zabra.plugins.door.settings import DoorSettings
from zabra.plugins.door.snapshots import Snapshots
from zabra.plugins.feed import Feed
from zabra.plugins.log_history import LogHistory
from zabra.runtime import descriptors, loop
from zabra.runtime.os_disk import OsDisk

# Descriptors for other things than subscribers.
SPARE_FDS: Final = 128
# The collector looks less often: what the door holds is thousands of connections and txns, for long, and
# hardly any of it is ever a cycle.  At the usual thresholds it takes a seventh of the door's time.
GC_THRESHOLDS: Final = (20_000, 20, 50)


def raise_limit(wanted: int) -> int:
    """As many descriptors as may be had; returns how many subscribers that allows."""
    limit = descriptors.raise_limit()
    if limit == descriptors.UNLIMITED:
        return wanted
    if wanted > limit - SPARE_FDS:
        logging.getLogger("zabra.feed").warning(
            "%d descriptors may be open: %d subscribers at most", limit, limit - SPARE_FDS
        )
    return min(wanted, limit - SPARE_FDS)


class Process:
    """All parts of the door, once the server has said what it is to be."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._tasks: list[asyncio.Task[None]] = []
        self.lost = asyncio.get_running_loop().create_future()
        self.server = FarServer(self._begin, self._lose)

    def _lose(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def _begin(self, settings: DoorSettings) -> Feed:
        data, logs = OsDisk(settings.data_dir), OsDisk(settings.data_log_dir)
        feed = Feed(
            (lambda since: LogHistory(logs, data, since)) if settings.keeps_log else None,
            lambda: self.server.status.synced,
        )
        hub = Hub(feed, self.server, Snapshots(self.server.snapshot), settings, lambda: self.server.status)
        providers = Providers(
            default_providers(settings.digest_algorithm, settings.super_digest, settings.digest_enabled),
            settings.skip_acl,
        )
        door = Door(settings, hub, providers, self.server.acl_now)
        door.limit = raise_limit(settings.max_subscribers)
        for work in (hub.run(), hub.keep_in_touch(), self._listen(door)):
            task = asyncio.ensure_future(work)
            task.add_done_callback(self._failed)
            self._tasks.append(task)
        return feed

    async def _listen(self, door: Door) -> None:
        await asyncio.get_running_loop().create_server(
            lambda: Connection(door), sock=self._listener, backlog=BACKLOG
        )

    def _failed(self, task: "asyncio.Task[None]") -> None:
        """A part that ends with an error takes the process with it; the server starts another."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.lost.done():
            self.lost.set_exception(error)


async def run(link: socket.socket, listener: socket.socket) -> int:
    """Until the server is gone."""
    process = Process(listener)
    await asyncio.get_running_loop().create_connection(lambda: process.server, sock=link)
    await process.lost
    return 0


def main(arguments: list[str]) -> int:
    """The process."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)-7s feed: %(message)s")
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    # A terminal's Ctrl-C is for the server, which closes the link.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link, listener = [socket.socket(fileno=int(number)) for number in arguments]
    link.setblocking(False)
    listener.setblocking(False)
    return loop.run(run(link, listener))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
