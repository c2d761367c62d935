"""Asyncio protocols for the server's doors: bytes in, bytes out, nothing decided here."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zabra.runtime.node import Node


class Port(asyncio.Protocol):
    """One connection of ``node``, accepted on ``port`` or (``dial_id`` not 0) dialled for it."""

    __slots__ = ("conn_id", "dial_id", "node", "port", "transport", "writes_paused")

    def __init__(self, node: "Node", port: int, dial_id: int = 0) -> None:
        self.node = node
        self.port = port
        self.dial_id = dial_id
        self.conn_id = 0
        self.transport: asyncio.Transport | None = None
        self.writes_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass
        self.node.port_opened(self)

    def data_received(self, data: bytes) -> None:
        self.node.port_data(self.conn_id, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.node.port_lost(self)

    def eof_received(self) -> bool:
        """The peer writes no more: as upstream, that ends the connection."""
        return False

    def pause_writing(self) -> None:
        self.writes_paused = True
        self.node.port_congested(self)

    def resume_writing(self) -> None:
        self.writes_paused = False
        self.node.port_drained(self)
