"""What stands between the servers of an ensemble in one process: links that can be cut, and delayed.

Every connection between two servers was dialled by one of them, so it is enough to watch those that dial.
"""

import asyncio
from collections import deque
from typing import Any

from zabra.runtime.node import Node
from zabra.runtime.os_disk import OsDisk, OsDiskFile
from zabra.runtime.ports import Port
from zabra.server.ready import PORT_QUORUM, Dial, Ready


class Doors:
    """One ensemble's network: where each server listens, which pairs are cut, who waits for what."""

    def __init__(self) -> None:
        # Ports of quorum, election and observer masters -> sid.
        self.places: dict[int, int] = {}
        self.nodes: dict[int, DoorNode] = {}
        self._cut: dict[tuple[int, int], None] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def is_cut(self, one: int, other: int) -> bool:
        """Whether nothing goes between the two."""
        return (min(one, other), max(one, other)) in self._cut

    def cut(self, pairs: list[tuple[int, int]], silently: bool) -> None:
        """Cuts links: connections break, or (silently) stay and carry nothing."""
        for one, other in pairs:
            self._cut[(min(one, other), max(one, other))] = None
        for node in self.nodes.values():
            node.cut_links(silently)

    def heal(self) -> None:
        """Everybody can reach everybody."""
        self._cut.clear()
        for node in self.nodes.values():
            node.drop_muted()

    async def next_change(self) -> None:
        """Returns when some server has done something."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def changed(self) -> None:
        """Some server has done something."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)


class Muted:
    """In the place of a transport whose link is cut silently: takes what is written, and drops it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Nothing is sent."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class DoorNode(Node):
    """A Node whose links to other servers go through ``doors``."""

    def __init__(self, sid: int, doors: Doors, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sid = sid
        self.doors = doors
        doors.nodes[sid] = self
        # Connections that this server has dialled: to whom.
        self._dialled: dict[int, int] = {}
        self._muted: dict[int, None] = {}
        # How late this server hears from its leader (or relay), in seconds; None: not at all for now.
        self._delay_s: float | None = 0.0
        self._late: deque[tuple[float, int, bytes]] = deque()
        self._pump: asyncio.TimerHandle | None = None

    # --- cutting -------------------------------------------------------------------------------------------

    async def _dial(self, dial: Dial) -> None:
        addresses = [one for one in dial.addresses if not self._is_beyond(one[1])]
        await super()._dial(Dial(dial.dial_id, dial.port, addresses, dial.timeout_ms))

    def _is_beyond(self, port: int) -> bool:
        sid = self.doors.places.get(port)
        return sid is not None and self.doors.is_cut(self.sid, sid)

    def port_opened(self, port: Port) -> None:
        """As in Node; remembers whom this server has reached."""
        super().port_opened(port)
        if port.dial_id != 0 and port.conn_id in self.ports and port.transport is not None:
            peer = port.transport.get_extra_info("peername")
            sid = self.doors.places.get(peer[1]) if peer else None
            if sid is not None:
                self._dialled[port.conn_id] = sid
                if self.doors.is_cut(self.sid, sid):
                    port.transport.abort()

    def cut_links(self, silently: bool) -> None:
        """Some pairs are cut: so are the connections between them."""
        for conn_id, sid in list(self._dialled.items()):
            port = self.ports.get(conn_id)
            if port is None or port.transport is None or not self.doors.is_cut(self.sid, sid):
                continue
            if not silently:
                port.transport.abort()
            elif conn_id not in self._muted:
                self._muted[conn_id] = None
                port.transport = Muted(port.transport)  # type: ignore[assignment]  # stands for a transport

    def drop_muted(self) -> None:
        """A stream out of which a piece is missing is of no use any more."""
        for conn_id in list(self._muted):
            port = self.ports.get(conn_id)
            if port is not None and port.transport is not None:
                port.transport.abort()

    def port_lost(self, port: Port) -> None:
        """As in Node."""
        self._dialled.pop(port.conn_id, None)
        self._muted.pop(port.conn_id, None)
        super().port_lost(port)

    # --- delaying ------------------------------------------------------------------------------------------

    def port_data(self, conn_id: int, data: bytes) -> None:
        """As in Node; perhaps later, perhaps never."""
        if conn_id in self._muted:
            return
        if (self._delay_s != 0.0 or self._late) and self._is_from_leader(conn_id):
            due = 0.0 if self._delay_s is None else self.loop.time() + self._delay_s
            self._late.append((due, conn_id, data))
            self._arm()
        else:
            super().port_data(conn_id, data)

    def _is_from_leader(self, conn_id: int) -> bool:
        port = self.ports.get(conn_id)
        return port is not None and port.dial_id != 0 and port.port == PORT_QUORUM

    def set_delay(self, seconds: float | None) -> None:
        """How late it hears; None: nothing until this is called again."""
        self._delay_s = seconds
        self._arm()

    def _arm(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        if self._late and self._delay_s is not None and not self.ended:
            self._pump = self.loop.call_at(self._late[0][0], self._deliver)

    def _deliver(self) -> None:
        self._pump = None
        now = self.loop.time()
        while self._late and self._delay_s is not None and self._late[0][0] <= now:
            _, conn_id, data = self._late.popleft()
            if conn_id in self.ports:
                super().port_data(conn_id, data)
        self._arm()

    # --- the rest ------------------------------------------------------------------------------------------

    def _carry_out(self, ready: Ready) -> None:
        super()._carry_out(ready)
        self.doors.changed()

    def end(self) -> None:
        """As in Node."""
        super().end()
        self._late.clear()
        if self._pump is not None:
            self._pump.cancel()
        if self.doors.nodes.get(self.sid) is self:
            del self.doors.nodes[self.sid]


class UnsyncedFile(OsDiskFile):
    """A file that trusts the operating system to survive."""

    __slots__ = ()

    def sync(self) -> None:
        """Nothing: a test's data need not survive a power cut."""


class UnsyncedDisk(OsDisk):
    """A folder whose files are never fsynced."""

    def _open(self, name: str, flags: int) -> OsDiskFile:
        file = super()._open(name, flags)
        file.__class__ = UnsyncedFile
        return file

    def _sync_folder(self, path: str) -> None:
        return
