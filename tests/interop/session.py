"""A blocking session for tests that say step by step what is asked where; and whole trees over the wire.

Calls are those of ``zabra.client.calls``.  Nothing is sent that the test does not ask for (no pings, no
watches set again), a session moves when the test says so, and every wait is bounded.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Any, TypeVar

from tests.interop.processes import poll

from zabra.client import calls
from zabra.client.calls import Call
from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import (
    ACL,
    AuthPacket,
    ConnectRequest,
    ConnectResponse,
    ReplyHeader,
    RequestHeader,
    Stat,
    WatcherEvent,
)

T = TypeVar("T")

CONFIG_PATH = "/zookeeper/config"


class Closed(OSError):
    """The server has closed the connection."""


class Session:
    """One session; ``events`` are (type, path) in the order in which they came."""

    def __init__(self, timeout_ms: int = 30_000, wait_s: float = 30.0) -> None:
        self.timeout_ms = timeout_ms
        self.wait_s = wait_s
        self.session_id = 0
        self.password = bytes(16)
        self.zxid = 0
        """The highest zxid of any reply."""
        self.events: list[tuple[int, str]] = []
        self._socket: socket.socket | None = None
        self._input = b""
        self._xid = 0
        self._asked: deque[Call[Any]] = deque()

    # Connections.

    def connect(self, address: str) -> Session:
        """Opens the session at ``host:port``, or goes on with it there.

        Raises Closed or OSError, KeeperError for a session that has expired; no connection is kept then.
        """
        self.drop()
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), self.wait_s)
        try:
            return self._introduce()
        except (OSError, KeeperError):
            self.drop()
            raise

    def _introduce(self) -> Session:
        self._connected().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        w = Writer()
        asked = ConnectRequest(0, self.zxid, self.timeout_ms, self.session_id, self.password, False)
        asked.encode(w)
        self._send(w)
        granted = ConnectResponse.decode(Reader(self._frame()))
        if granted.time_out <= 0:
            raise KeeperError(codes.ERR_SESSION_EXPIRED, f"session 0x{self.session_id:x}")
        self.timeout_ms = granted.time_out
        self.session_id = granted.session_id
        self.password = granted.passwd or b""
        return self

    def connect_when_possible(self, address: str, timeout_s: float = 60.0) -> Session:
        """``connect``, as often as it takes."""

        def attempt() -> Session | None:
            try:
                return self.connect(address)
            except OSError:
                return None

        return poll(f"a session at {address}", timeout_s, attempt)

    def drop(self) -> None:
        """Closes the connection; the session goes on, unanswered requests are forgotten."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._input = b""
        self._asked.clear()

    def end(self) -> None:
        """closeSession, and the end of the connection."""
        self.do(calls.close_session())
        self.drop()

    def peer(self) -> tuple[str, int]:
        """The address of the server that it speaks to."""
        host, port = self._connected().getpeername()
        return str(host), int(port)

    # Requests.

    def ask(self, call: Call[Any]) -> None:
        """Sends a request without waiting for its reply."""
        self._xid += 1
        call.xid = self._xid
        w = Writer()
        RequestHeader(call.xid, call.op).encode(w)
        w.write_raw(call.body)
        self._asked.append(call)
        self._send(w)

    def take(self) -> Call[Any]:
        """Waits for the reply of the oldest request; events are put aside."""
        while True:
            r = Reader(self._frame(), limit=0x7FFFFFFF)
            header = ReplyHeader.decode(r)
            if header.xid == codes.XID_NOTIFICATION:
                event = WatcherEvent.decode(r)
                self.events.append((event.type, event.path))
                continue
            call = self._asked.popleft()
            assert header.xid == call.xid, f"a reply with xid {header.xid} where {call!r} was due"
            assert header.zxid <= 0 or header.zxid >= self.zxid, "the zxid of replies went down"
            self.zxid = max(self.zxid, header.zxid)
            call.zxid, call.err, call.answered, call.done = header.zxid, header.err, True, True
            if header.err == codes.OK:
                call.value = call.decode(r)
            return call

    def do(self, call: Call[T]) -> T:
        """Asks and waits.  Raises KeeperError for a refusal, OSError where no answer comes."""
        self.ask(call)
        self.take()
        return call.result()

    def error_of(self, call: Call[Any]) -> int:
        """Asks, waits, and returns the error code (0 for none)."""
        self.ask(call)
        return self.take().err

    def auth(self, scheme: str, data: bytes) -> int:
        """Authenticates; the error code."""
        w = Writer()
        RequestHeader(codes.XID_AUTH, codes.OP_AUTH).encode(w)
        AuthPacket(0, scheme, data).encode(w)
        self._send(w)
        header = ReplyHeader.decode(Reader(self._frame()))
        assert header.xid == codes.XID_AUTH
        return int(header.err)

    def wait_event(self) -> tuple[int, str]:
        """The next watch event, taken off ``events``."""
        while not self.events:
            r = Reader(self._frame())
            header = ReplyHeader.decode(r)
            assert header.xid == codes.XID_NOTIFICATION, f"a reply with xid {header.xid}, not an event"
            event = WatcherEvent.decode(r)
            self.events.append((event.type, event.path))
        return self.events.pop(0)

    # Bytes.

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise Closed("not connected")
        return self._socket

    def _send(self, w: Writer) -> None:
        data = w.getvalue()
        self._connected().sendall(len(data).to_bytes(4, "big") + data)

    def _frame(self) -> bytes:
        while True:
            if len(self._input) >= 4:
                end = 4 + int.from_bytes(self._input[:4], "big")
                if len(self._input) >= end:
                    frame = self._input[4:end]
                    self._input = self._input[end:]
                    return frame
            part = self._connected().recv(1 << 18)
            if not part:
                raise Closed("closed by the server")
            self._input += part


class WireNode:
    """A znode as a client sees it."""

    def __init__(self, data: bytes | None, stat: Stat, acl: list[ACL]) -> None:
        self.data = data
        self.stat = stat
        self.acl = acl

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WireNode) and repr(self) == repr(other)

    def __hash__(self) -> int:
        raise TypeError("not hashable")

    def __repr__(self) -> str:
        return f"({self.data!r}, {self.stat!r}, {self.acl!r})"


def tree_over_wire(address: str, session: Session | None = None) -> dict[str, WireNode]:
    """Every znode of a server, data, Stat and ACL, by path; of nodes that may not be read, what is seen.

    The times and zxids of /zookeeper/config are each server's own: only its data is kept.
    """
    mine = session is None
    one = Session().connect(address) if session is None else session
    found: dict[str, WireNode] = {}
    level = ["/"]
    while level:
        below: list[str] = []
        for path in level:
            one.ask(calls.get_data(path))
            one.ask(calls.get_acl(path))
            one.ask(calls.get_children(path))
        for path in level:
            got, acl, children = (one.take() for _ in range(3))
            data, stat = got.value if got.err == codes.OK else (b"?", _NO_STAT)
            entries, acl_stat = acl.value if acl.err == codes.OK else ([], _NO_STAT)
            found[path] = WireNode(data, acl_stat if got.err else stat, entries)
            if path == CONFIG_PATH:
                found[path] = WireNode(data, _NO_STAT, entries)
            names = sorted(children.value) if children.err == codes.OK else []
            below += [f"{path.rstrip('/')}/{name}" for name in names]
        level = below
    if mine:
        one.end()
    return found


_NO_STAT = Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def differences(left: dict[str, WireNode], right: dict[str, WireNode]) -> list[str]:
    """What two trees do not agree on; empty for equal trees."""
    out = []
    for path in sorted(left.keys() | right.keys()):
        one, other = left.get(path), right.get(path)
        if one != other:
            out.append(f"{path}: {one!r} and {other!r}")
    return out
