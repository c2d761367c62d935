"""OracleWatch: reads the oracle's file now and then, and tells the server what it says.

Source: upstream ``QuorumOracleMaj.askOracle``: the file's first character is 1, or the answer is no.
"""

import asyncio
import logging

from zabra.runtime.node import Node

log = logging.getLogger("zabra")

INTERVAL_S = 0.5


def read_oracle(path: str) -> bool:
    """What the file says; no where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(1) == b"1"
    except OSError as error:
        log.debug("the oracle cannot be read: %s", error)
        return False


class OracleWatch:
    """Watches ``path`` for one server; without a path it does nothing."""

    def __init__(self, node: Node, path: str, interval_s: float = INTERVAL_S) -> None:
        self._node = node
        self._path = path
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins, on the running loop."""
        if self._path:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        said = False
        while True:
            # The folder may be another machine's, which may be slow.
            says = await asyncio.to_thread(read_oracle, self._path)
            if says != said:
                said = says
                self._node.turn()
                self._node.server.oracle_says(says)
            await asyncio.sleep(self._interval_s)
