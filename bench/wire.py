"""A blocking ZooKeeper session of the few calls that ``bench.failover`` needs, on the generated records."""

from __future__ import annotations

import socket

from zabra.jute.primitives import Reader, Writer
from zabra.proto import records

CREATE, SET_DATA, PING_XID, EVENT_XID = 1, 5, -2, -1
NODE_EXISTS = -110
MAX_FRAME_BYTES = 1 << 20


class Closed(OSError):
    """The server closed the connection or refused the session."""


class Session:
    """One session; ``connect`` may be called again, also towards another server, and then resumes it.

    Calls block for at most ``timeout_s``; any OSError means: close, and connect again.
    """

    def __init__(self, timeout_s: float = 30.0, session_timeout_ms: int = 30000) -> None:
        self.session_id = 0
        self.expired = 0
        """How often a server said that the session is gone; a new one is opened then."""
        self._password = bytes(16)
        self._timeout_s = timeout_s
        self._session_timeout_ms = session_timeout_ms
        self._socket: socket.socket | None = None
        self._xid = 0

    def connect(self, address: str) -> None:
        """Connects to ``host:port`` and resumes the session, or opens one."""
        self.close()
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), self._timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked = Writer()
        # lastZxidSeen 0: a survivor that lags a little is welcome, the write itself goes through the leader.
        request = records.ConnectRequest(
            0, 0, self._session_timeout_ms, self.session_id, self._password, False
        )
        request.encode(asked)
        self._send(asked)
        answer = records.ConnectResponse.decode(self._receive())
        if answer.time_out <= 0:
            self.expired += 1
            self.session_id, self._password = 0, bytes(16)
            raise Closed("session expired")
        self.session_id, self._password = int(answer.session_id), answer.passwd or b""

    def create(self, path: str, data: bytes) -> int:
        """Creates a persistent node open to all; returns the error code, 0 for success."""
        body = Writer()
        acl = [records.ACL(31, records.Id("world", "anyone"))]
        records.CreateRequest(path, data, acl, 0).encode(body)
        return self._call(CREATE, body)

    def set(self, path: str, data: bytes) -> int:
        """Sets data whatever the version; returns the error code, 0 for success."""
        body = Writer()
        records.SetDataRequest(path, data, -1).encode(body)
        return self._call(SET_DATA, body)

    def _call(self, code: int, body: Writer) -> int:
        self._xid += 1
        whole = Writer()
        records.RequestHeader(self._xid, code).encode(whole)
        whole.write_raw(body.getvalue())
        self._send(whole)
        while True:
            header = records.ReplyHeader.decode(self._receive())
            if header.xid == self._xid:
                return int(header.err)
            if header.xid not in (PING_XID, EVENT_XID):
                raise Closed(f"reply with xid {header.xid} where {self._xid} was due")

    def _send(self, body: Writer) -> None:
        data = body.getvalue()
        self._connected().sendall(len(data).to_bytes(4, "big") + data)

    def _receive(self) -> Reader:
        length = int.from_bytes(self._exactly(4), "big")
        if length > MAX_FRAME_BYTES:
            raise Closed(f"frame of {length} bytes")
        return Reader(self._exactly(length))

    def _exactly(self, count: int) -> bytes:
        parts = b""
        while len(parts) < count:
            part = self._connected().recv(count - len(parts))
            if not part:
                raise Closed("closed by the server")
            parts += part
        return parts

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise Closed("not connected")
        return self._socket

    def close(self) -> None:
        """Drops the connection; the session lives on at the servers until it times out."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
