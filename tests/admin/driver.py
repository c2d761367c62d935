"""A server without a driver's world: disk commands are done at once, time is a number, clients are bytes."""

from __future__ import annotations

from collections.abc import Callable

from zabra.auth.registry import Providers, default_providers
from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    ConnectRequest,
    CreateRequest,
    DeleteRequest,
    GetDataRequest,
    Id,
    ReplyHeader,
    SetDataRequest,
)
from zabra.server.ready import PORT_CLIENT, Ready
from zabra.server.recovery import Recovered
from zabra.server.server import Server
from zabra.server.settings import Settings
from zabra.tree.datatree import DataTree

START_WALL_MS = 1_700_000_000_000


class Drive:
    """Drives one standalone server."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.now_ms = 1_000_000
        recovered = Recovered(DataTree())
        recovered.last_zxid = 0
        self.server = Server(
            settings or Settings(),
            Providers(default_providers()),
            recovered,
            1,
            self.now_ms,
            self.wall_ms,
        )
        self.sent: dict[int, bytearray] = {}
        self.words: list[tuple[int, str, bytes]] = []
        self.closed: list[int] = []
        self._next_conn = 100
        self.turn()

    @property
    def wall_ms(self) -> int:
        return START_WALL_MS + self.now_ms

    def begin(self) -> None:
        self.server.begin_turn(self.now_ms, self.wall_ms)

    def end(self, took_ms: int = 0) -> Ready:
        """Carries out the turn and those that its disk work leads to."""
        ready = self._carry_out()
        self.server.turn_took(took_ms)
        more = ready
        while more.disk or more.snapshot:
            self.begin()
            if more.disk:
                self.server.disk_done(more.disk[-1].token)
            if more.snapshot:
                self.server.snapshot_done(more.snapshot[-1].token)
            more = self._carry_out()
            self.server.turn_took(0)
        return ready

    def turn(self, took_ms: int = 0) -> None:
        self.begin()
        self.end(took_ms)

    def _carry_out(self) -> Ready:
        ready = self.server.ready()
        for conn_id, data in ready.sends:
            self.sent[int(conn_id)].extend(data)
        self.words.extend(ready.words)
        self.closed.extend(ready.closes)
        assert ready.stop_code < 0, ready.stop_reason
        return ready

    def open(self, host: str = "127.0.0.1", port: int = 40000) -> int:
        """A TCP connection."""
        conn_id = self._next_conn
        self._next_conn += 1
        self.sent[conn_id] = bytearray()
        self.begin()
        self.server.connection_made(conn_id, PORT_CLIENT, host, port)
        self.end()
        return conn_id

    def receive(self, conn_id: int, data: bytes, took_ms: int = 0) -> bytes:
        """Sends bytes to the server; returns what came back since (watch events from before are dropped)."""
        self.sent[conn_id].clear()
        self.begin()
        self.server.data_received(conn_id, data)
        self.end(took_ms)
        return bytes(self.sent[conn_id])

    def connect(self, host: str = "127.0.0.1", port: int = 40000, timeout_ms: int = 10_000) -> int:
        """A client with a session."""
        conn_id = self.open(host, port)
        w = Writer()
        ConnectRequest(0, 0, timeout_ms, 0, bytes(16), False).encode(w)
        assert len(self.receive(conn_id, framed(w.getvalue()))) == 4 + 37
        return conn_id

    def ask(self, conn_id: int, xid: int, op: int, body: bytes = b"", took_ms: int = 0) -> tuple[int, bytes]:
        """One request; returns the error code and the reply's body."""
        frame = framed(xid.to_bytes(4, "big", signed=True) + op.to_bytes(4, "big", signed=True) + body)
        answer = self.receive(conn_id, frame, took_ms)
        reader = Reader(answer[4:])
        header = ReplyHeader.decode(reader)
        assert header.xid == xid
        return header.err, reader.read_rest()

    def create(self, conn_id: int, path: str, data: bytes = b"", flags: int = 0, xid: int = 1) -> None:
        w = Writer()
        CreateRequest(path, data, [ACL(codes.PERM_ALL, Id("world", "anyone"))], flags).encode(w)
        assert self.ask(conn_id, xid, codes.OP_CREATE, w.getvalue())[0] == codes.OK

    def set_data(self, conn_id: int, path: str, data: bytes, xid: int = 2) -> None:
        w = Writer()
        SetDataRequest(path, data, -1).encode(w)
        assert self.ask(conn_id, xid, codes.OP_SET_DATA, w.getvalue())[0] == codes.OK

    def delete(self, conn_id: int, path: str, xid: int = 2) -> None:
        w = Writer()
        DeleteRequest(path, -1).encode(w)
        assert self.ask(conn_id, xid, codes.OP_DELETE, w.getvalue())[0] == codes.OK

    def read(
        self, conn_id: int, op: int, path: str, watch: bool = False, xid: int = 3, took_ms: int = 0
    ) -> tuple[int, bytes]:
        """A read whose request is path and watch: getData, exists, getChildren, getChildren2."""
        w = Writer()
        GetDataRequest(path, watch).encode(w)
        return self.ask(conn_id, xid, op, w.getvalue(), took_ms)

    def get(self, conn_id: int, path: str, watch: bool = False, took_ms: int = 0) -> tuple[int, bytes]:
        return self.read(conn_id, codes.OP_GET_DATA, path, watch, took_ms=took_ms)

    def ping(self, conn_id: int) -> None:
        assert self.ask(conn_id, codes.XID_PING, codes.OP_PING) == (codes.OK, b"")

    def word(self, answer: Callable[[str, bytes], bytes], word: str, rest: bytes = b"") -> str:
        """A four-letter word on a connection of its own, answered as the runtime does."""
        conn_id = self.open(port=50_000 + self._next_conn)
        self.receive(conn_id, word.encode() + rest)
        asked, asked_word, asked_rest = self.words.pop()
        assert (asked, asked_word) == (conn_id, word)
        text = answer(asked_word, asked_rest).decode()
        self.lose(conn_id)
        return text

    def lose(self, conn_id: int) -> None:
        """The connection breaks."""
        self.begin()
        self.server.connection_lost(conn_id)
        self.end()


def framed(payload: bytes) -> bytes:
    """With its length in front."""
    return len(payload).to_bytes(4, "big") + payload
